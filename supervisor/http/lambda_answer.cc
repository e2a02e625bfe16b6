#include "supervisor/http/lambda_answer.h"

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "supervisor/http/base64.h"
#include "supervisor/http/lambda_api.h"

namespace fnrun::supervisor::http {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMiB = 1024L * 1024;

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string with_two_digits(double value) {
  std::array<char, 48> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.2f", value);
  return {text.data(), static_cast<std::size_t>(std::max(length, 0))};
}

std::string milliseconds(std::int64_t us) {
  return with_two_digits(static_cast<double>(us) / 1'000.0) + " ms";
}

// "2026-11-22T14:00:00.123Z"
std::string now() {
  std::timespec time{};
  (void)std::timespec_get(&time, TIME_UTC);
  std::tm parts{};
  ::gmtime_r(&time.tv_sec, &parts);
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string line(text.data(), length);
  const int rest = std::snprintf(text.data(), text.size(), ".%03ldZ", time.tv_nsec / 1'000'000);
  return line.append(text.data(), static_cast<std::size_t>(std::max(rest, 0)));
}

// As Go words it, in which both Lambda and its emulator are written: "exit status 3", "signal:
// killed".
std::string how_it_exited(const Evidence& evidence) {
  // Killed by us, or not yet collected: that is how it looks from there.
  const int status = evidence.wait_status.value_or(SIGKILL);
  if (WIFEXITED(status)) {
    if (WEXITSTATUS(status) == 0) return "Runtime exited without providing a reason";
    return "Runtime exited with error: exit status " + std::to_string(WEXITSTATUS(status));
  }
  const char* const name = ::sigdescr_np(WTERMSIG(status));
  std::string word = name != nullptr ? name : "signal " + std::to_string(WTERMSIG(status));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return "Runtime exited with error: signal: " + word;
}

std::string too_large(const LambdaCall& call) {
  return "Response payload size exceeded maximum allowed payload size (" +
         std::to_string(call.limits.response_max.bytes) + " bytes).";
}

// The body of a function's error.
std::string error_body(const LambdaCall& call, const InvocationReport& report) {
  const std::string id(call.request_id);
  std::string message = "RequestId: " + id + " Error: ";
  switch (report.outcome) {
    case Outcome::kTimedOut: {
      const double seconds = static_cast<double>(call.limits.invoke_timeout.count()) / 1'000.0;
      message = now() + " " + id + " Task timed out after " + with_two_digits(seconds) + " seconds";
      break;
    }
    case Outcome::kCrashed:
    case Outcome::kOutOfMemory:
      message += how_it_exited(report.evidence);
      break;
    case Outcome::kOutputTooLarge:
      message = too_large(call);
      break;
    default:
      message += describe(report.outcome, report.evidence);
  }
  return text_of({{"errorType", lambda_error_type(report.outcome, report.evidence)},
                  {"errorMessage", message}});
}

Response function_answer(std::string body, bool failed) {
  Response response = answer(Status::ok, "application/json", std::move(body));
  if (failed) response.set("X-Amz-Function-Error", "Unhandled");
  response.set("X-Amz-Executed-Version", "$LATEST");
  return response;
}

// Nothing of the request reached the function.
bool is_ours(const InvocationReport& report) {
  return report.outcome == Outcome::kSetupFailed &&
         lambda_error_type(report.outcome, report.evidence) == "Sandbox.Failure";
}

Response service_error(const InvocationReport& report) {
  const std::string why = describe(report.outcome, report.evidence);
  switch (report.outcome) {
    case Outcome::kUnavailable: {
      Response response =
          answer(Status::too_many_requests, "application/json",
                 text_of({{"Reason", "ReservedFunctionConcurrentInvocationLimitExceeded"},
                          {"Type", "User"},
                          {"message", "Rate Exceeded."}}));
      response.set("X-Amzn-ErrorType", "TooManyRequestsException");
      response.set(beast::http::field::retry_after, "1");
      return response;
    }
    case Outcome::kRequestTooLarge:
      return lambda_error(Status::payload_too_large, "RequestTooLargeException", why);
    case Outcome::kShuttingDown:
      return lambda_error(Status::service_unavailable, "ServiceException", why);
    default:
      if (http_status(report.outcome, report.evidence) == static_cast<int>(Status::bad_request))
        return lambda_error(Status::bad_request, "InvalidRequestContentException", why);
      return lambda_error(Status::internal_server_error, "ServiceException", why);
  }
}

}  // namespace

void LogTail::add(std::string_view line) {
  text_ += line;
  text_ += '\n';
  if (text_.size() > 2 * max_) text_.erase(0, text_.size() - max_);
}

std::string LogTail::base64() const {
  return encode_base64(std::string_view(text_).substr(text_.size() - std::min(text_.size(), max_)));
}

std::string start_line(const LambdaCall& call) {
  return "START RequestId: " + std::string(call.request_id) + " Version: $LATEST";
}

std::string end_line(const LambdaCall& call) {
  return "END RequestId: " + std::string(call.request_id);
}

std::string report_line(const LambdaCall& call, const InvocationReport& report) {
  const std::int64_t us = report.timings.invoke_us;
  std::string line =
      "REPORT RequestId: " + std::string(call.request_id) + "\tDuration: " + milliseconds(us) +
      "\tBilled Duration: " + std::to_string((us + 999) / 1'000) + " ms" +
      "\tMemory Size: " + std::to_string(call.limits.memory_max.bytes / kMiB) + " MB";
  if (const auto& peak = report.usage.memory_peak_bytes)
    line += "\tMax Memory Used: " + std::to_string((*peak + kMiB - 1) / kMiB) + " MB";
  if (report.timings.start_us != 0)
    line += "\tInit Duration: " + milliseconds(report.timings.start_us);
  return line + "\t";
}

Response lambda_answer(const LambdaCall& call, Invocation invocation, bool failed) {
  const InvocationReport& report = invocation.report;
  if (invocation.result) return function_answer(std::move(invocation.result->data), failed);
  switch (report.outcome) {
    case Outcome::kUnavailable:
    case Outcome::kRequestTooLarge:
    case Outcome::kShuttingDown:
    case Outcome::kCancelled:
      return service_error(report);
    default:
      if (is_ours(report)) return service_error(report);
      return function_answer(error_body(call, report), /*failed=*/true);
  }
}

Response rie_answer(const LambdaCall& call, Invocation invocation) {
  // Its proxy loses the headers of every answer, and Go's guess at JSON is plain text.
  constexpr std::string_view kGuess = "text/plain; charset=utf-8";
  const InvocationReport& report = invocation.report;
  if (invocation.result) return answer(Status::ok, kGuess, std::move(invocation.result->data));
  switch (report.outcome) {
    case Outcome::kTimedOut: {
      // Its timeouts are whole seconds.
      const auto seconds = std::chrono::ceil<std::chrono::seconds>(call.limits.invoke_timeout);
      return answer(Status::ok, kGuess,
                    "Task timed out after " + std::to_string(seconds.count()) + ".00 seconds");
    }
    case Outcome::kOutputTooLarge:
      return answer(Status::ok, kGuess, error_body(call, report));
    case Outcome::kUnavailable:
    case Outcome::kRequestTooLarge:
    case Outcome::kShuttingDown:
      return service_error(report);
    default:
      return answer(Status::bad_gateway, kGuess, error_body(call, report));
  }
}

}  // namespace fnrun::supervisor::http
