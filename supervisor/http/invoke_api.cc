#include "supervisor/http/invoke_api.h"

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <variant>

#include "policies/policy_check.h"
#include "supervisor/duration_text.h"
#include "supervisor/http/problem.h"
#include "supervisor/http/request_id.h"

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kEnvPrefix = "Fnrun-Env-";
constexpr std::string_view kRequestId = "X-Request-Id";

bool has_env_prefix(std::string_view name) {
  return name.size() > kEnvPrefix.size() &&
         beast::iequals(view(name.substr(0, kEnvPrefix.size())), view(kEnvPrefix));
}

// "00-<32 hex>-<16 hex>-<2 hex>"; later versions may have more behind it.
bool is_traceparent(std::string_view value) {
  constexpr std::size_t kLength = 55;
  if (value.size() < kLength || value.size() > 2 * kLength || value[2] != '-' || value[35] != '-' ||
      value[52] != '-')
    return false;
  return std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
  });
}

bool is_printable(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// RFC 8187: whatever bytes there are, as UTF-8 they were.
std::string percent_encoded(std::string_view value) {
  std::string out = "UTF-8''";
  for (const char c : value) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += "0123456789ABCDEF"[byte >> 4U];
    out += "0123456789ABCDEF"[byte & 15U];
  }
  return out;
}

// A handler's variables as header fields. What has no name that a field may have is left out: it
// could end our header.
void put_env(const std::vector<protocol::EnvVar>& env, Response& response) {
  std::size_t room = kEnvHeadersMax;
  std::size_t left_out = 0;
  for (const protocol::EnvVar& variable : env) {
    const bool plain = is_printable(variable.value) && !variable.value.starts_with(' ') &&
                       !variable.value.ends_with(' ');
    const std::string value = plain ? variable.value : percent_encoded(variable.value);
    const std::size_t size = kEnvPrefix.size() + variable.name.size() + value.size() + 5;  // "*: "…
    if (!policies::variable_name_fault(variable.name).empty() || size > room) {
      ++left_out;
      continue;
    }
    room -= size;
    response.insert(view(std::string(kEnvPrefix) + variable.name + (plain ? "" : "*")),
                    view(value));
  }
  if (left_out != 0) response.set("Fnrun-Env-Left-Out", std::to_string(left_out));
}

// The call that a header asks for, or why it is none.
struct Asked {
  Function::Call call;
  std::string fault;
};

// What the operator has set, and what says things of the call or steers the loader of programs.
bool is_reserved(const Function& function, std::string_view name) {
  for (const std::string_view prefix : {"FNRUN_", "LD_", "AWS_LAMBDA_"})
    if (name.starts_with(prefix)) return true;
  for (const std::string_view one : {"PATH", "TRACEPARENT", "TRACESTATE", "CREDENTIALS_DIRECTORY"})
    if (name == one) return true;
  const policies::Environment& environment = function.plan().policy.environment;
  const std::string key(name);
  return environment.set.contains(key) || environment.pass.contains(key) ||
         protocol::find_env(function.options().env, name) != nullptr;
}

Asked read_header(const Function& function, const RequestHead& head) {
  Asked asked;
  std::vector<protocol::EnvVar>& env = asked.call.input.env;
  asked.call.caller.request_id = request_id_or_new(field(head, kRequestId));
  env.push_back({"FNRUN_REQUEST_ID", asked.call.caller.request_id});
  if (const auto parent = field(head, "traceparent"); is_traceparent(parent)) {
    env.push_back({"TRACEPARENT", std::string(parent)});
    if (const auto state = field(head, "tracestate"); !state.empty() && is_printable(state))
      env.push_back({"TRACESTATE", std::string(state)});
  }
  for (const auto& line : head) {
    const std::string_view name = text(line.name_string());
    if (!has_env_prefix(name)) continue;
    protocol::EnvVar variable{std::string(name.substr(kEnvPrefix.size())),
                              std::string(text(line.value()))};
    if (const auto fault = policies::variable_name_fault(variable.name); !fault.empty())
      asked.fault = std::string(kEnvPrefix) + variable.name + ": " + fault;
    if (is_reserved(function, variable.name))
      asked.fault =
          std::string(kEnvPrefix) + variable.name + ": that variable is not the caller's to set";
    if (!is_printable(variable.value))
      asked.fault = std::string(kEnvPrefix) + variable.name +
                    ": only printable ASCII can be sent in a header; put the rest into the body";
    env.push_back(std::move(variable));
  }
  if (const auto timeout = field(head, "Fnrun-Timeout"); !timeout.empty()) {
    const auto time = parse_duration(timeout);
    if (time)
      asked.call.deadline = std::chrono::steady_clock::now() + *time;
    else
      asked.fault = "Fnrun-Timeout is no time; write 250ms, 2s, 1m or 1h, at most a day";
  }
  return asked;
}

class InvokeEndpoint : public Endpoint {
 public:
  explicit InvokeEndpoint(std::shared_ptr<Function> function) : function_(std::move(function)) {}

  [[nodiscard]] std::shared_ptr<void> hold() override { return function_->hold(); }
  [[nodiscard]] std::size_t body_max() const override {
    return static_cast<std::size_t>(function_->limits().request_max.bytes);
  }
  [[nodiscard]] Response too_large() const override {
    const std::string id = new_request_id();
    return problem(function_->refuse(Cause::kRequestTooLarge, id).report, id);
  }
  [[nodiscard]] asio::awaitable<Response> serve(Request request, const Peer& peer,
                                                asio::cancellation_slot gone) override;

 private:
  std::shared_ptr<Function> function_;
};

asio::awaitable<Response> InvokeEndpoint::serve(Request request, const Peer& peer,
                                                asio::cancellation_slot gone) {
  Asked asked = read_header(*function_, request);
  if (!asked.fault.empty()) co_return problem(Status::bad_request, asked.fault);
  const std::string id = asked.call.caller.request_id;
  asked.call.caller.client = peer.client;
  asked.call.input.data = std::move(request.body());
  asked.call.cancelled = gone;
  auto call = function_->call(std::move(asked.call));
  Invocation invocation = co_await std::move(call);
  Response response;
  if (invocation.result) {
    response = answer(Status::ok, "application/octet-stream", std::move(invocation.result->data));
    response.set("Fnrun-Status", std::to_string(invocation.result->status));
    put_env(invocation.result->env, response);
  } else {
    response = problem(invocation.report, id);
  }
  response.set("Fnrun-Outcome", view(name_of(invocation.report.outcome)));
  response.set(view(kRequestId), id);
  co_return response;
}

}  // namespace

std::shared_ptr<Endpoint> make_invoke_endpoint(std::shared_ptr<Function> function) {
  return std::make_shared<InvokeEndpoint>(std::move(function));
}

}  // namespace fnrun::supervisor::http
