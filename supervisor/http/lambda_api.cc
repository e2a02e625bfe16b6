#include "supervisor/http/lambda_api.h"

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "supervisor/http/base64.h"
#include "supervisor/http/lambda_answer.h"
#include "supervisor/http/request_id.h"

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;

// Handed on as it is, so long as a variable can hold it.
bool is_trace_id(std::string_view text) {
  constexpr std::size_t kTraceIdMax = 512;
  return !text.empty() && text.size() <= kTraceIdMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// What is wrong with them: the type as SDKs know it.
struct Fault {
  std::string_view type;
  std::string_view message;
};

// What the headers of a request say.
struct Asked {
  enum class Kind { kRequestResponse, kEvent, kDryRun };
  Kind kind = Kind::kRequestResponse;
  bool tail = false;
  std::string request_id;
  std::vector<protocol::EnvVar> env;
  std::optional<Fault> fault;
};

void read_client_context(const RequestHead& head, Asked& asked) {
  const std::string_view encoded = field(head, "X-Amz-Client-Context");
  if (encoded.empty()) return;
  constexpr std::string_view kType = "InvalidRequestContentException";
  if (encoded.size() > kLambdaClientContextMax) {
    asked.fault = {kType, "Client context must be at most 3583 bytes when encoded"};
    return;
  }
  const auto context = decode_base64(encoded);
  if (context && nlohmann::json::parse(*context, nullptr, /*allow_exceptions=*/false).is_object())
    asked.env.push_back({"FNRUN_CLIENT_CONTEXT", *context});
  else
    asked.fault = {kType, "Client context must be a valid Base64-encoded JSON object."};
}

Asked read_header(const RequestHead& head, bool rie_compat) {
  Asked asked;
  asked.request_id = request_id_or_new(field(head, "X-Amzn-RequestId"));
  asked.env.push_back({"FNRUN_REQUEST_ID", asked.request_id});
  if (const auto trace = field(head, "X-Amzn-Trace-Id"); is_trace_id(trace))
    asked.env.push_back({"_X_AMZN_TRACE_ID", std::string(trace)});
  read_client_context(head, asked);
  if (rie_compat) return asked;  // It looks at no other.
  constexpr std::string_view kType = "InvalidParameterValueException";
  const std::string_view kind = field(head, "X-Amz-Invocation-Type");
  if (kind == "Event")
    asked.kind = Asked::Kind::kEvent;
  else if (kind == "DryRun")
    asked.kind = Asked::Kind::kDryRun;
  else if (!kind.empty() && kind != "RequestResponse")
    asked.fault = {kType, "InvocationType must be one of RequestResponse, Event, DryRun"};
  const std::string_view log = field(head, "X-Amz-Log-Type");
  asked.tail = log == "Tail" && asked.kind == Asked::Kind::kRequestResponse;
  if (!log.empty() && log != "Tail" && log != "None")
    asked.fault = {kType, "LogType must be one of None, Tail"};
  return asked;
}

class InvocationsEndpoint : public Endpoint {
 public:
  InvocationsEndpoint(std::shared_ptr<Function> function, std::shared_ptr<EventQueue> events,
                      bool rie_compat)
      : function_(std::move(function)), events_(std::move(events)), rie_compat_(rie_compat) {}

  [[nodiscard]] std::shared_ptr<void> hold() override { return function_->hold(); }
  [[nodiscard]] std::size_t body_max() const override {
    return static_cast<std::size_t>(function_->limits().request_max.bytes);
  }
  [[nodiscard]] Response too_large() const override {
    const std::string id = new_request_id();
    (void)function_->refuse(Cause::kRequestTooLarge, id);
    Response response = too_large(body_max());
    if (!rie_compat_) response.set("X-Amzn-RequestId", id);
    return response;
  }
  [[nodiscard]] asio::awaitable<Response> serve(Request request, const Peer& peer,
                                                asio::cancellation_slot gone) override;

 private:
  static Response too_large(std::size_t most) {
    return lambda_error(Status::payload_too_large, "RequestTooLargeException",
                        "Request must be smaller than " + std::to_string(most) +
                            " bytes for the InvokeFunction operation");
  }
  Response accept(Asked asked, Function::Call call);
  asio::awaitable<Response> call(Asked asked, Function::Call call);

  std::shared_ptr<Function> function_;
  std::shared_ptr<EventQueue> events_;
  bool rie_compat_;
};

asio::awaitable<Response> InvocationsEndpoint::serve(Request request, const Peer& peer,
                                                     asio::cancellation_slot gone) {
  Asked asked = read_header(request, rie_compat_);
  const std::string id = asked.request_id;
  Response response;
  std::string& body = request.body();
  // Without a payload a function gets an empty object.
  if (body.empty() && !rie_compat_) body = "{}";
  if (asked.fault) {
    response = lambda_error(rie_compat_ ? Status::internal_server_error : Status::bad_request,
                            asked.fault->type, asked.fault->message);
  } else if (!rie_compat_ && !nlohmann::json::accept(body)) {
    response = lambda_error(Status::bad_request, "InvalidRequestContentException",
                            "Could not parse request body into json: the payload is not JSON");
  } else if (asked.kind == Asked::Kind::kDryRun) {
    response = answer(Status::no_content);
  } else {
    Function::Call call;
    call.input = {std::move(body), std::move(asked.env)};
    call.caller = Caller(peer.client);
    call.caller.request_id = id;
    if (asked.kind == Asked::Kind::kEvent) {
      response = accept(std::move(asked), std::move(call));
    } else {
      call.cancelled = gone;
      auto served = this->call(std::move(asked), std::move(call));
      response = co_await std::move(served);
    }
  }
  if (!rie_compat_) response.set("X-Amzn-RequestId", id);
  co_return response;
}

Response InvocationsEndpoint::accept(Asked asked, Function::Call call) {
  if (call.input.data.size() > kLambdaEventMax) return too_large(kLambdaEventMax);
  if (events_->offer(call)) return answer(Status::accepted);
  auto refused = function_->refuse(Cause::kNoSandboxFree, asked.request_id);
  return lambda_answer({asked.request_id, function_->limits()}, std::move(refused), false);
}

asio::awaitable<Response> InvocationsEndpoint::call(Asked asked, Function::Call call) {
  const LambdaCall of{asked.request_id, function_->limits()};
  LogTail tail(kLambdaLogTail);
  const auto log = [&](const std::string& line) {
    tail.add(line);
    if (rie_compat_) function_->say(asked.request_id, line);  // The emulator prints these.
  };
  // Called during the call only, which this coroutine waits for.
  if (asked.tail) call.caller.log = [&tail](std::string_view line) { tail.add(line); };
  log(start_line(of));
  auto made = function_->call(std::move(call));
  Invocation invocation = co_await std::move(made);
  log(end_line(of));
  log(report_line(of, invocation.report));
  if (rie_compat_) co_return rie_answer(of, std::move(invocation));
  const bool failed = invocation.result && function_->failed(*invocation.result);
  Response response = lambda_answer(of, std::move(invocation), failed);
  if (asked.tail && response.result() == Status::ok)
    response.set("X-Amz-Log-Result", tail.base64());
  co_return response;
}

}  // namespace

std::shared_ptr<Endpoint> make_lambda_endpoint(std::shared_ptr<Function> function,
                                               std::shared_ptr<EventQueue> events,
                                               bool rie_compat) {
  return std::make_shared<InvocationsEndpoint>(std::move(function), std::move(events), rie_compat);
}

Response lambda_error(Status status, std::string_view type, std::string_view message) {
  const bool theirs = static_cast<unsigned>(status) < 500;
  // The API's model spells it in both ways, and some SDKs show only what is spelt as there.
  const bool capital = type == "ResourceNotFoundException" || type == "ServiceException";
  const nlohmann::ordered_json json{{"Type", theirs ? "User" : "Service"},
                                    {capital ? "Message" : "message", message}};
  Response response = answer(
      status, "application/json",
      json.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::ordered_json::error_handler_t::replace));
  response.set("X-Amzn-ErrorType", view(type));
  return response;
}

Response lambda_not_found(const LambdaName& name) {
  std::string arn =
      "arn:aws:lambda:us-east-1:" + std::string(kLambdaAccount) + ":function:" + name.name;
  if (!name.qualifier.empty()) arn += ":" + name.qualifier;
  Response response =
      lambda_error(Status::not_found, "ResourceNotFoundException", "Function not found: " + arn);
  response.set("X-Amzn-RequestId", new_request_id());
  return response;
}

}  // namespace fnrun::supervisor::http
