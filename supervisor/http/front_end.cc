#include "supervisor/http/front_end.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "supervisor/http/problem.h"

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;
using beast::http::verb;

// The name or address of "host:port", without the brackets of IPv6.
std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('['))
    return authority.substr(1, std::max<std::size_t>(authority.find(']'), 1) - 1);
  return authority.substr(0, authority.find(':'));
}

// A name that no DNS can point elsewhere.
bool is_own_name(std::string_view host) {
  boost::system::error_code error;
  (void)asio::ip::make_address(std::string(host), error);
  return !error || host == "localhost";
}

// Whose page made a browser send it; other programs do not say.
bool is_own_or_none(std::string_view fetch_site) {
  return fetch_site.empty() || fetch_site == "same-origin" || fetch_site == "none";
}

// Not a browser, or one that was led here by no name that could be somebody else's: his page could
// read what it gets from a name that he points at us.
bool is_own_reader(const RequestHead& head) {
  const std::string_view site = field(head, "Sec-Fetch-Site");
  return site.empty() || (is_own_or_none(site) && is_own_name(host_of(field(head, "Host"))));
}

Response wrong_method(const RequestHead& head, std::string_view allowed) {
  Response response = problem(Status::method_not_allowed, std::string(text(head.method_string())) +
                                                              " is not for this path; it takes " +
                                                              std::string(allowed));
  response.set(beast::http::field::allow, view(allowed));
  return response;
}

// Of a drain: somebody else serves it, or we do when we are back.
Response stopping(bool as_lambda) {
  constexpr std::string_view kWhy = "the service is stopping; send it again to one that runs";
  Response response = as_lambda
                          ? lambda_error(Status::service_unavailable, "ServiceException", kWhy)
                          : problem(Status::service_unavailable, kWhy);
  response.set(beast::http::field::retry_after, "1");
  return response;
}

std::string listing(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

}  // namespace

FrontEnd::FrontEnd(FrontEndOptions options) : options_(std::move(options)) {}
FrontEnd::~FrontEnd() = default;

void FrontEnd::serve(const std::vector<std::shared_ptr<Served>>& functions) {
  served_.clear();
  for (const auto& one : functions) served_.emplace(one->function->name(), one);
}

void FrontEnd::show(std::string path, Show page) {
  pages_.insert_or_assign(std::move(path), std::move(page));
}

std::shared_ptr<Served> FrontEnd::find(std::string_view name) const {
  // With one function there is no need to know what it is called: callers of the emulator say
  // "function".
  const bool the_only_one = served_.size() == 1 && (name.empty() || name == "function");
  if (the_only_one) return served_.begin()->second;
  const auto found = served_.find(name);
  return found == served_.end() ? nullptr : found->second;
}

// A page of whatever site can make its reader's browser send requests here. The browser then says
// where the page came from, in Origin; it is our own page's only if that is the Host it was sent
// to, and then only if Host is no name that somebody else's DNS has pointed at us.
bool FrontEnd::may_call(const RequestHead& head) const {
  const std::string_view origin = field(head, "Origin");
  // Of an image, a link or a form's GET there is no origin, but browsers say whose it is.
  if (origin.empty()) return is_own_or_none(field(head, "Sec-Fetch-Site"));
  const auto& allowed = options_.allow_origins;
  if (std::find(allowed.begin(), allowed.end(), origin) != allowed.end()) return true;
  const std::string_view host = field(head, "Host");
  const auto scheme = origin.find("://");
  return scheme != std::string_view::npos && origin.substr(scheme + 3) == host &&
         is_own_name(host_of(host));
}

Site::Verdict FrontEnd::admit(const RequestHead& head) {
  const auto target = parse_target(text(head.target()));
  if (!target) return problem(Status::bad_request, "the target is no path of this service");
  const std::string_view first = target->path.empty() ? std::string_view() : target->path.front();
  const bool is_invoke = first == "invoke" && target->path.size() <= 2;
  const bool is_lambda = first == "2015-03-31" && target->path.size() == 4 &&
                         target->path[1] == "functions" && target->path[3] == "invocations";
  if (!is_invoke && !is_lambda) return page(head, *target);
  if (!may_call(head))
    return problem(Status::forbidden,
                   "this comes from a web page that may not call here; --allow-origin names those "
                   "that may");
  if (head.method() != verb::post && !(is_lambda && options_.rie_compat))
    return wrong_method(head, "POST");
  if (draining_) return stopping(is_lambda);
  return is_invoke ? invoke(*target) : lambda(*target);
}

Site::Verdict FrontEnd::invoke(const Target& target) const {
  const std::string name = target.path.size() == 2 ? target.path[1] : "";
  if (const auto served = find(name)) return served->invoke;
  return problem(Status::not_found, name.empty()
                                        ? "there are several functions; POST /invoke/NAME"
                                        : "no function is called so; GET /status lists them");
}

Site::Verdict FrontEnd::lambda(const Target& target) const {
  LambdaName name = parse_lambda_name(target.path[2]);
  if (const std::string* const said = target.parameter("Qualifier")) {
    if (!name.qualifier.empty() && name.qualifier != *said)
      return lambda_error(Status::bad_request, "InvalidParameterValueException",
                          "The derived qualifier from the function name does not match the "
                          "specified qualifier.");
    name.qualifier = *said;
  }
  const auto served = name.name.empty() ? nullptr : find(name.name);
  const bool is_latest = name.qualifier.empty() || name.qualifier == "$LATEST";
  if (served == nullptr || (!is_latest && !options_.rie_compat)) return lambda_not_found(name);
  return served->lambda;
}

Site::Verdict FrontEnd::page(const RequestHead& head, const Target& target) const {
  std::string path;
  for (const std::string& segment : target.path) path += "/" + segment;
  if (path.empty()) path = "/";
  const bool is_health = path == "/healthz" || path == "/_/health";
  const bool is_ready = path == "/readyz" || path == "/_/ready";
  const auto found = pages_.find(path);
  if (!is_health && !is_ready && found == pages_.end())
    return problem(Status::not_found, "nothing is here; POST /invoke calls the function");
  if (head.method() != verb::get && head.method() != verb::head)
    return wrong_method(head, "GET, HEAD");
  if (!is_health && !is_ready && !is_own_reader(head))
    return problem(Status::forbidden, "this is shown under an address of this service only");
  if (is_health) return answer(Status::ok, "text/plain", "ok\n");
  if (is_ready) return ready(/*full_is_429=*/path == "/_/ready");
  return found->second();
}

std::vector<std::string> FrontEnd::not_ready() const {
  std::vector<std::string> reasons;
  if (draining_) reasons.emplace_back("draining");
  for (const auto& [name, served] : served_) {
    const PoolStatus status = served->function->service().status();
    if (status.degraded) {
      reasons.push_back(name + ": degraded, its handler does not start");
      continue;
    }
    if (served->function->options().ready != 0 && status.started == 0)
      reasons.push_back(name + ": no sandbox has started yet");
  }
  return reasons;
}

Response FrontEnd::ready(bool full_is_429) const {
  const std::vector<std::string> reasons = not_ready();
  if (!reasons.empty()) return problem(Status::service_unavailable, listing(reasons));
  const bool full =
      !served_.empty() && std::all_of(served_.begin(), served_.end(), [](const auto& entry) {
        const Function& function = *entry.second->function;
        const AdmissionLimits& limits = function.options().admission;
        return function.in_flight() >= limits.places + limits.waiting_max;
      });
  if (full && full_is_429) return problem(Status::too_many_requests, "every place is taken");
  return answer(Status::ok, "text/plain", "ready\n");
}

}  // namespace fnrun::supervisor::http
