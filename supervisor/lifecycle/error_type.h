// Why an init or an invocation failed, in Lambda's words: a closed set of error types.
//
// What a runtime says of itself is taken into the set or replaced, never passed through. Words
// only; decides nothing. Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace fnrun::supervisor {

// The supervisor's own words. `kSandboxTimedOut` is that of the newer emulators: the older
// Sandbox.Timeout is a trailer of streamed answers only.
namespace error_type {
inline constexpr std::string_view kSandboxFailure = "Sandbox.Failure";  // Where nobody says better.
inline constexpr std::string_view kSandboxTimedOut = "Sandbox.Timedout";
inline constexpr std::string_view kRuntimeExitError = "Runtime.ExitError";
inline constexpr std::string_view kRuntimeUnknown = "Runtime.Unknown";
inline constexpr std::string_view kFunctionUnknown = "Function.Unknown";
inline constexpr std::string_view kResponseTooLarge = "Function.ResponseSizeTooLarge";
inline constexpr std::string_view kRestoreHookTimeout = "Runtime.RestoreHookUserTimeout";
}  // namespace error_type

// Everything that the supervisor itself may say. Extension.* come with the Extensions API, which
// is what makes them; they are in the set so that nobody else takes the words.
inline constexpr std::array<std::string_view, 20> kErrorTypes{
    "Extension.InitError",
    "Extension.ExitError",
    "Extension.Crash",
    "Extension.LaunchError",
    "Runtime.ExitError",
    "Runtime.InvalidEntrypoint",
    "Runtime.InvalidWorkingDir",
    "Runtime.InvalidTaskConfig",
    "Runtime.TruncatedResponse",
    "Runtime.InvalidResponseModeHeader",
    "Runtime.Unknown",
    "Runtime.InitError",
    "Runtime.OutOfMemory",
    "Runtime.Unavailable",
    "Runtime.RestoreHookUserTimeout",
    "Function.ResponseSizeTooLarge",
    "Function.Unknown",
    "Sandbox.Failure",
    "Sandbox.Timeout",
    "Sandbox.Timedout",
};
[[nodiscard]] bool is_error_type(std::string_view type) noexcept;

// A runtime's own word for its error: kept when the whole of it is Runtime.<Letters> or
// Function.<Letters>, begun by a capital, and short; else Function.Unknown for what begins with
// "Function.", else Runtime.Unknown. It never speaks for the sandbox or for an extension.
inline constexpr std::size_t kErrorTypeMax = 128;
[[nodiscard]] std::string sanitize_error_type(std::string_view said);

// A message of a runtime's, cut and escaped: it goes into answers and logs.
inline constexpr std::size_t kErrorMessageMax = 4'096;
[[nodiscard]] std::string sanitize_error_message(std::string_view said);

// "Runtime exited with error: signal: killed"; of a wait status as waitpid(2) gives it. Signals
// have the names that Go gives them: clients match on these texts.
[[nodiscard]] std::string exit_message(int wait_status);

// {"errorType":"…","errorMessage":"RequestId: <id> Error: <message>"}, the answer of an invocation
// that has none.
[[nodiscard]] std::string default_error_body(std::string_view request_id, std::string_view type,
                                             std::string_view message);

}  // namespace fnrun::supervisor
