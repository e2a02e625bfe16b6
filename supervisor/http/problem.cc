#include "supervisor/http/problem.h"

#include <nlohmann/json.hpp>

namespace fnrun::supervisor::http {
namespace {

using Json = nlohmann::ordered_json;

Response of(Status status, const Json& json) {
  return answer(status, "application/problem+json",
                json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace));
}

}  // namespace

Response answer(Status status, std::string_view content_type, std::string body) {
  Response response(status, 11);
  if (!content_type.empty()) {
    response.set(beast::http::field::content_type, view(content_type));
    response.set("X-Content-Type-Options", "nosniff");
  }
  response.body() = std::move(body);
  return response;
}

Response problem(Status status, std::string_view detail) {
  return of(status, {{"type", "about:blank"},
                     {"title", std::string(beast::http::obsolete_reason(status))},
                     {"status", static_cast<unsigned>(status)},
                     {"detail", detail}});
}

Response problem(const InvocationReport& report, std::string_view request_id) {
  const OutcomeInfo& info = info_of(report.outcome);
  const int status = http_status(report.outcome, report.evidence);
  Response response =
      of(static_cast<Status>(status), {{"type", "urn:fnrun:outcome:" + std::string(info.name)},
                                       {"title", info.meaning},
                                       {"status", status},
                                       {"detail", describe(report.outcome, report.evidence)},
                                       {"outcome", info.name},
                                       {"evidence", Json::parse(evidence_to_json(report.evidence))},
                                       {"request_id", request_id}});
  if (report.outcome == Outcome::kUnavailable || report.outcome == Outcome::kShuttingDown)
    response.set(beast::http::field::retry_after, "1");
  return response;
}

}  // namespace fnrun::supervisor::http
