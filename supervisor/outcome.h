// Why an invocation ended: one value, decided once from the first cause, with its evidence.
//
// The table below is the only place where an outcome's number, name, exit code, HTTP status and
// Lambda error type stand; a test holds them together. Decides and words; watches no process and
// keeps no state. Plain values, owned by whoever holds them; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "isolation/sandbox.h"
#include "isolation/setup_error.h"

namespace fnrun::supervisor {

// Numbers are for machines that keep them: never reused, new ones go at the end.
enum class Outcome : std::uint8_t {
  kOk = 0,
  kTimedOut = 1,
  kInitTimedOut = 2,
  kCrashed = 3,
  kOutOfMemory = 4,
  kPidsExceeded = 5,
  kCpuExceeded = 6,
  kPolicyViolation = 7,
  kOutputTooLarge = 8,
  kRequestTooLarge = 9,
  kProtocolError = 10,
  kUnavailable = 11,
  kCancelled = 12,
  kSetupFailed = 13,
  kShuttingDown = 14,
};

struct OutcomeInfo {
  Outcome outcome{};
  std::string_view name;  // Also the metric label.
  int exit_code = 0;      // Of the command, where the evidence says nothing better: exit_code().
  int http_status = 0;    // Where the evidence says nothing better: http_status().
  // Of AWS Lambda's closed set; empty for ok. See lambda_error_type().
  std::string_view lambda_error_type;
  std::string_view meaning;  // One line, for people.
};

// Exit codes are the field's own: 124-127 and 128+n as timeout(1), env(1) and shells use them, the
// others from sysexits.h. A request that is too large never reaches a function, so the closed set
// has no type for it: front ends that speak the Invoke API answer 413 before they look at it.
inline constexpr std::array kOutcomes{
    OutcomeInfo{Outcome::kOk, "ok", 0, 200, "", "the handler answered in time"},
    OutcomeInfo{Outcome::kTimedOut, "timed_out", 124, 504, "Sandbox.Timedout",
                "no whole answer came before the deadline"},
    OutcomeInfo{Outcome::kInitTimedOut, "init_timed_out", 124, 504, "Sandbox.Timedout",
                "the sandbox was not ready within its start timeout"},
    OutcomeInfo{Outcome::kCrashed, "crashed", 70, 502, "Runtime.ExitError",
                "the handler ended before it answered"},
    OutcomeInfo{Outcome::kOutOfMemory, "out_of_memory", 137, 502, "Runtime.OutOfMemory",
                "the sandbox reached its memory limit"},
    OutcomeInfo{Outcome::kPidsExceeded, "pids_exceeded", 137, 502, "Runtime.ExitError",
                "the sandbox reached its limit of processes"},
    OutcomeInfo{Outcome::kCpuExceeded, "cpu_exceeded", 137, 502, "Runtime.ExitError",
                "the handler used up its CPU time"},
    OutcomeInfo{Outcome::kPolicyViolation, "policy_violation", 159, 502, "Runtime.ExitError",
                "the handler made a system call that the policy forbids"},
    OutcomeInfo{Outcome::kOutputTooLarge, "output_too_large", 76, 502,
                "Function.ResponseSizeTooLarge", "the answer is over the policy's limit"},
    OutcomeInfo{Outcome::kRequestTooLarge, "request_too_large", 65, 413, "Sandbox.Failure",
                "the request is over the policy's limit; no handler saw it"},
    OutcomeInfo{Outcome::kProtocolError, "protocol_error", 76, 502, "Runtime.Unknown",
                "what the handler said is not an answer"},
    OutcomeInfo{Outcome::kUnavailable, "unavailable", 75, 429, "Runtime.Unavailable",
                "no sandbox was free; no handler saw the request"},
    OutcomeInfo{Outcome::kCancelled, "cancelled", 130, 499, "Sandbox.Failure",
                "the caller took the request back"},
    OutcomeInfo{Outcome::kSetupFailed, "setup_failed", 125, 500, "Sandbox.Failure",
                "the sandbox could not be made; the handler did not run"},
    OutcomeInfo{Outcome::kShuttingDown, "shutting_down", 75, 503, "Runtime.Unavailable",
                "the supervisor is stopping"},
};
static_assert(
    [] {
      for (std::size_t i = 0; i < kOutcomes.size(); ++i)
        if (static_cast<std::size_t>(kOutcomes[i].outcome) != i) return false;
      return true;
    }(),
    "info_of() finds an outcome by its number");

[[nodiscard]] constexpr const OutcomeInfo& info_of(Outcome outcome) noexcept {
  return kOutcomes[static_cast<std::size_t>(outcome)];
}
[[nodiscard]] constexpr std::string_view name_of(Outcome outcome) noexcept {
  return info_of(outcome).name;
}

// What a call's sandbox did to its limits: read from the counters before they go, or sampled where
// there are none; never guessed from a signal.
struct LimitEvidence {
  std::uint64_t oom_kills = 0;  // Processes that the kernel's OOM killer took (memory.events).
  // How often memory_max_bytes itself was met. With none, the OOM killer worked for a group above,
  // or for the host.
  std::uint64_t memory_max_hits = 0;
  std::uint64_t refused_forks = 0;  // Over the limit of processes (pids.events).
  bool processes_at_max = false;    // A look at /proc found as many as may be.
  std::uint64_t memory_max_bytes = 0;
  std::uint64_t processes_max = 0;
  std::int64_t cpu_time_max_ms = 0;
  friend bool operator==(const LimitEvidence&, const LimitEvidence&) = default;
};

// What is known about an end. Collected after the outcome is decided, it may say more than the
// outcome; it never changes it.
struct Evidence {
  // The handler's own, as waitpid(2) gives it; see isolation::Exit.
  std::optional<int> wait_status;
  isolation::KillReason killed_for = isolation::KillReason::kNone;
  std::optional<isolation::SetupError> setup;
  LimitEvidence limits;
  // As the kernel told it when it was made; the rule that forbids it, or "" for the default action.
  std::optional<isolation::ForbiddenCall> forbidden;
  std::string forbidden_rule;
  std::string detail;  // For people: what the exchange said, where it said something.
};

// What the exchange with the handler ended with. The first one is the cause; whoever saw it keeps
// it, because what follows (SIGKILL, end of stream) is our own doing.
enum class Cause : std::uint8_t {
  kAnswered,
  kDeadline,
  kHandlerEnded,    // stdout ended, inside a frame or not, or nobody reads stdin any more.
  kNegativeLength,  // A frame of fewer than no bytes.
  kTooLarge,        // The answer, not the request.
  kInvalidMessage,
  kUnsolicited,      // Bytes that nobody asked for: before the request or after the answer.
  kRequestTooLarge,  // Seen before anything was written.
  kNoSandboxFree,    // The queue is full, or its wait is over.
  kCancelled,
  kShutdown,
  kSetup,        // evidence.setup says at which step.
  kIo,           // A system call of ours failed on the way.
  kOverMemory,   // Sampled beyond memory_max_bytes, and killed for it.
  kOverCpuTime,  // Beyond cpu_time_max_ms, and killed for it.
};

// Pure. Of the evidence the wait status and the handler's own forbidden call (for kHandlerEnded and
// kIo), the step (for kSetup) and the limits count. A deadline stays a deadline, whatever signal
// the handler then died of; but where no answer came and a limit had been hit before, the limit is
// the cause: a fork bomb has no answer.
[[nodiscard]] Outcome decide(Cause cause, const Evidence& evidence) noexcept;

// By what a forbidden call of the handler, or of a process that it made, is known: "" if there was
// none, "user_notification" (then evidence.forbidden tells it), or "kernel_log": it died of the
// filter's SIGSYS, and which call it was only the kernel's own record says (audit type 1326).
[[nodiscard]] std::string_view forbidden_source(const Evidence& evidence) noexcept;

// The command's exit code: 128+n for a crash by signal n; 127 and 126 for a handler that is not
// there or cannot be executed; the table's otherwise.
[[nodiscard]] int exit_code(Outcome outcome, const Evidence& evidence) noexcept;
// 400 for a request that this kind of handler cannot be given; the table's otherwise.
[[nodiscard]] int http_status(Outcome outcome, const Evidence& evidence) noexcept;

// The table's, but for setup_failed: Runtime.InvalidEntrypoint where the handler is to blame,
// Runtime.InvalidWorkingDir where its folder is.
[[nodiscard]] std::string_view lambda_error_type(Outcome outcome,
                                                 const Evidence& evidence) noexcept;

// One line for people: what happened, by what it is known, what to do. Safe for a terminal.
[[nodiscard]] std::string describe(Outcome outcome, const Evidence& evidence);

// "SIGSEGV"; "signal 40" where the number has no name.
[[nodiscard]] std::string signal_name(int signal);

}  // namespace fnrun::supervisor
