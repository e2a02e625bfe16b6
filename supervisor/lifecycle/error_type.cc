#include "supervisor/lifecycle/error_type.h"

#include <sys/wait.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "supervisor/stderr_log.h"

namespace fnrun::supervisor {
namespace {

constexpr std::array<std::string_view, 16> kGoSignals{"",
                                                      "hangup",
                                                      "interrupt",
                                                      "quit",
                                                      "illegal instruction",
                                                      "trace/breakpoint trap",
                                                      "aborted",
                                                      "bus error",
                                                      "floating point exception",
                                                      "killed",
                                                      "user defined signal 1",
                                                      "segmentation fault",
                                                      "user defined signal 2",
                                                      "broken pipe",
                                                      "alarm clock",
                                                      "terminated"};

// The C locale's letters: what a runtime sends must not depend on ours.
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_letter(char c) {
  return is_upper(c) || (c >= 'a' && c <= 'z');
}

bool is_name_behind(std::string_view prefix, std::string_view said) {
  if (!said.starts_with(prefix)) return false;
  const std::string_view name = said.substr(prefix.size());
  return name.size() >= 2 && is_upper(name.front()) &&
         std::all_of(name.begin(), name.end(), is_letter);
}

std::string go_signal(int signal) {
  const auto number = static_cast<std::size_t>(signal);
  if (number > 0 && number < kGoSignals.size()) return std::string(kGoSignals[number]);
  return "signal " + std::to_string(signal);
}

}  // namespace

bool is_error_type(std::string_view type) noexcept {
  return std::find(kErrorTypes.begin(), kErrorTypes.end(), type) != kErrorTypes.end();
}

std::string sanitize_error_type(std::string_view said) {
  const bool fits = said.size() <= kErrorTypeMax;
  if (fits && (is_name_behind("Runtime.", said) || is_name_behind("Function.", said)))
    return std::string(said);
  return std::string(said.starts_with("Function.") ? error_type::kFunctionUnknown
                                                   : error_type::kRuntimeUnknown);
}

std::string sanitize_error_message(std::string_view said) {
  return escape_for_terminal(said.substr(0, kErrorMessageMax));
}

std::string exit_message(int wait_status) {
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
    return "Runtime exited without providing a reason";
  std::string text = "Runtime exited with error: ";
  if (WIFSIGNALED(wait_status))
    return text + "signal: " + go_signal(WTERMSIG(wait_status)) +
           (WCOREDUMP(wait_status) ? " (core dumped)" : "");
  return text + "exit status " + std::to_string(WEXITSTATUS(wait_status));
}

std::string default_error_body(std::string_view request_id, std::string_view type,
                               std::string_view message) {
  nlohmann::ordered_json body;
  body["errorType"] = type;
  body["errorMessage"] =
      "RequestId: " + std::string(request_id) + " Error: " + std::string(message);
  return body.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
}

}  // namespace fnrun::supervisor
