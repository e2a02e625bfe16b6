#include "supervisor/outcome.h"

#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "supervisor/stderr_log.h"

namespace fnrun::supervisor {
namespace {

using isolation::ForbiddenCall;
using isolation::SetupStep;

constexpr int kSignalBase = 128;  // What shells add to the signal that ended a program.
constexpr int kNotFound = 127;
constexpr int kNotExecutable = 126;

// A limit that was hit before the call failed, or `otherwise`. Where nobody counts refusals, as
// many processes as may be are no reason to die of a signal; to say nothing, or to leave, they are.
Outcome limit_hit_or(const Evidence& evidence, Outcome otherwise) noexcept {
  const LimitEvidence& limits = evidence.limits;
  if (limits.oom_kills != 0) return Outcome::kOutOfMemory;
  if (limits.refused_forks != 0) return Outcome::kPidsExceeded;
  const bool by_signal = evidence.wait_status && WIFSIGNALED(*evidence.wait_status);
  if (limits.processes_at_max && !by_signal) return Outcome::kPidsExceeded;
  return otherwise;
}

bool made_by(const Evidence& evidence, ForbiddenCall::By by) noexcept {
  return evidence.forbidden && evidence.forbidden->by == by;
}

bool killed_by_sigsys(const Evidence& evidence) noexcept {
  const std::optional<int>& status = evidence.wait_status;
  return status && WIFSIGNALED(*status) && WTERMSIG(*status) == SIGSYS;
}

Outcome outcome_of_end(const Evidence& evidence) noexcept {
  const std::optional<int>& status = evidence.wait_status;
  if (made_by(evidence, ForbiddenCall::By::kHandler) || killed_by_sigsys(evidence))
    return Outcome::kPolicyViolation;
  // Without a status it hung up on us and lives, if the kernel did not kill all of it.
  return limit_hit_or(evidence, status ? Outcome::kCrashed : Outcome::kProtocolError);
}

int exit_code_of_setup(const std::optional<isolation::SetupError>& setup) noexcept {
  if (!setup) return info_of(Outcome::kSetupFailed).exit_code;
  if (setup->step == SetupStep::kRequest) return info_of(Outcome::kRequestTooLarge).exit_code;
  if (setup->step == SetupStep::kHandlerNotFound) return kNotFound;
  if (setup->step == SetupStep::kHandlerNotExecutable) return kNotExecutable;
  if (setup->step == SetupStep::kExec && setup->os_errno != E2BIG)
    return setup->os_errno == ENOENT ? kNotFound : kNotExecutable;
  return info_of(Outcome::kSetupFailed).exit_code;
}

// A shell hands on what happened to its last command; without this its handler's violations look
// like plain exits.
std::string hint_for_exit(int code) {
  if (code == kNotFound) return " (from a shell: a command was not found)";
  if (code == kNotExecutable) return " (from a shell: a command could not be executed)";
  if (code > kSignalBase && ::sigabbrev_np(code - kSignalBase) != nullptr)
    return " (from a shell: a command was killed by " + signal_name(code - kSignalBase) + ")";
  return {};
}

// "the handler exited with status 3", in words that fit the middle of a sentence.
std::string end_in_words(const Evidence& evidence) {
  if (!evidence.wait_status) return "the handler left no exit status";
  const int status = *evidence.wait_status;
  if (WIFEXITED(status))
    return "the handler exited with status " + std::to_string(WEXITSTATUS(status)) +
           hint_for_exit(WEXITSTATUS(status));
  if (WIFSIGNALED(status))
    return "the handler was killed by " + signal_name(WTERMSIG(status)) +
           (WCOREDUMP(status) ? " and dumped core" : "");
  return "the handler ended with wait status " + std::to_string(status);
}

std::string describe_crash(const Evidence& evidence) {
  std::string text = end_in_words(evidence) + " before it answered";
  if (evidence.wait_status && WIFSIGNALED(*evidence.wait_status) &&
      WTERMSIG(*evidence.wait_status) == SIGKILL)
    return text +
           "; the supervisor did not send that: look for the kernel's OOM killer in the kernel "
           "log (dmesg), or for somebody with the right to signal it";
  if (evidence.wait_status && WIFEXITED(*evidence.wait_status) &&
      WEXITSTATUS(*evidence.wait_status) == 0)
    return text +
           "; it seems to think that it is done: an answer must be written, and flushed, before "
           "the exit";
  return text + "; its stderr may say why";
}

std::string describe_setup(const Evidence& evidence, std::string_view what) {
  std::string text(what);
  if (evidence.setup) text += " at step " + evidence.setup->to_string();
  return text;
}

// Where the sandbox is not to blame, it is not named.
std::string describe_setup_failed(const Evidence& evidence) {
  const SetupStep step = evidence.setup ? evidence.setup->step : SetupStep::kNone;
  if (step == SetupStep::kHandlerNotFound) return "handler not found: " + evidence.setup->subject;
  if (step == SetupStep::kHandlerNotExecutable)
    return "handler cannot be executed: " + evidence.setup->subject;
  if (step == SetupStep::kRequest)
    return "this request cannot be given to this handler: " + evidence.setup->subject;
  return describe_setup(evidence, "the handler did not run: its sandbox could not be made");
}

// By what a limit is known to have been hit.
std::string how_known(const Evidence& evidence) {
  const LimitEvidence& limits = evidence.limits;
  if (limits.oom_kills != 0)
    return ": the kernel's OOM killer took " + std::to_string(limits.oom_kills) +
           (limits.oom_kills == 1 ? " process" : " processes");
  if (evidence.killed_for == isolation::KillReason::kMemory)
    return ": sampling found more, no controller counts here";
  if (limits.refused_forks != 0)
    return ": the kernel refused " + std::to_string(limits.refused_forks) +
           (limits.refused_forks == 1 ? " fork" : " forks");
  if (limits.processes_at_max) return ": sampling found as many, no controller counts here";
  return "";
}

std::string describe_out_of_memory(const Evidence& evidence) {
  const LimitEvidence& limits = evidence.limits;
  if (limits.oom_kills != 0 && limits.memory_max_hits == 0)
    return "the host, or a group above the sandbox, ran out of memory" + how_known(evidence) +
           " of the sandbox, which had not reached its own limits.memory_max_bytes (" +
           std::to_string(limits.memory_max_bytes) +
           "); give the supervisor's group more memory, or fewer sandboxes at a time";
  return "the sandbox reached limits.memory_max_bytes (" + std::to_string(limits.memory_max_bytes) +
         ") and was killed" + how_known(evidence) +
         "; give the policy more memory, or the handler smaller work";
}

// "ptrace(0x10, …), which the policy forbids (rule 'x'; …)".
std::string forbidden_in_words(const Evidence& evidence) {
  const std::string& rule = evidence.forbidden_rule;
  return evidence.forbidden->to_string() + ", which the policy forbids (" +
         (rule.empty() ? "its default action" : "rule '" + rule + "'") +
         "; seen by seccomp user notification)";
}

std::string describe_violation(const Evidence& evidence) {
  if (made_by(evidence, ForbiddenCall::By::kHandler))
    return "the handler called " + forbidden_in_words(evidence) +
           " and was killed for it; --explain lists the rules";
  return end_in_words(evidence) +
         ": it made a system call that the policy forbids; only the kernel's log names it (dmesg, "
         "audit type=1326), --explain lists the rules";
}

// The handler may have failed, or waited for ever, because a process that it made was killed.
std::string child_in_words(const Evidence& evidence) {
  const std::uint64_t count = evidence.forbidden->count;
  return "; inside, " +
         (count == 1 ? std::string("a process that the handler made was")
                     : std::to_string(count) + " processes that the handler made were") +
         " killed, the first for calling " + forbidden_in_words(evidence);
}

// What happened and what to do. Of the evidence only what the words need: describe() adds the rest.
std::string sentence_for(Outcome outcome, const Evidence& evidence) {
  switch (outcome) {
    case Outcome::kOk:
      return "the handler answered in time";
    case Outcome::kTimedOut:
      return "no whole answer came before the deadline, so everything in the sandbox was killed; "
             "if the work really takes longer, raise limits.invoke_timeout_ms or the caller's own "
             "timeout";
    case Outcome::kInitTimedOut:
      return describe_setup(evidence, "the sandbox was not ready in time") +
             "; a busy host may need a higher limits.start_timeout_ms";
    case Outcome::kCrashed:
      return describe_crash(evidence);
    case Outcome::kOutOfMemory:
      return describe_out_of_memory(evidence);
    case Outcome::kPidsExceeded:
      return "the sandbox reached limits.processes_max (" +
             std::to_string(evidence.limits.processes_max) + ", threads included)" +
             how_known(evidence) + "; then " +
             (evidence.wait_status ? end_in_words(evidence) : "no answer came") +
             "; raise the limit if the handler needs more";
    case Outcome::kCpuExceeded:
      return "the call used up limits.cpu_time_max_ms (" +
             std::to_string(evidence.limits.cpu_time_max_ms) +
             " ms, of all its processes together), so everything in the sandbox was killed; look "
             "for an endless loop, or raise the limit";
    case Outcome::kPolicyViolation:
      return describe_violation(evidence);
    case Outcome::kOutputTooLarge:
      return "the answer is over limits.response_max_bytes, so nothing of it was kept; raise the "
             "limit or let the handler answer less";
    case Outcome::kRequestTooLarge:
      return "the request is over limits.request_max_bytes, so no handler saw it; raise the limit "
             "or send less";
    case Outcome::kProtocolError:
      return "what the handler said is not an answer; its stdout must carry the protocol and "
             "nothing else: log to stderr, and check that the handler speaks the protocol that "
             "the command names";
    case Outcome::kUnavailable:
      return "no sandbox was free in time and no handler saw the request; try again later, or "
             "give the pool more sandboxes";
    case Outcome::kCancelled:
      return "the caller took the request back before an answer came";
    case Outcome::kSetupFailed:
      return describe_setup_failed(evidence);
    case Outcome::kShuttingDown:
      return "the supervisor is stopping and the request was not finished; send it again to one "
             "that runs";
  }
  return "?";
}

}  // namespace

Outcome decide(Cause cause, const Evidence& evidence) noexcept {
  switch (cause) {
    case Cause::kAnswered:
      return Outcome::kOk;
    case Cause::kDeadline:
      return limit_hit_or(evidence, Outcome::kTimedOut);
    case Cause::kHandlerEnded:
    case Cause::kIo:  // Mostly how the other end's death looks from here.
      return outcome_of_end(evidence);
    case Cause::kOverMemory:
      return Outcome::kOutOfMemory;
    case Cause::kOverCpuTime:
      return Outcome::kCpuExceeded;
    case Cause::kNegativeLength:
    case Cause::kInvalidMessage:
    case Cause::kUnsolicited:
      return Outcome::kProtocolError;
    case Cause::kTooLarge:
      return Outcome::kOutputTooLarge;
    case Cause::kRequestTooLarge:
      return Outcome::kRequestTooLarge;
    case Cause::kNoSandboxFree:
      return Outcome::kUnavailable;
    case Cause::kCancelled:
      return Outcome::kCancelled;
    case Cause::kShutdown:
      return Outcome::kShuttingDown;
    case Cause::kSetup:
      return evidence.setup && evidence.setup->step == SetupStep::kStartTimeout
                 ? Outcome::kInitTimedOut
                 : Outcome::kSetupFailed;
  }
  return Outcome::kProtocolError;
}

std::string_view forbidden_source(const Evidence& evidence) noexcept {
  if (evidence.forbidden) return "user_notification";
  return killed_by_sigsys(evidence) ? "kernel_log" : "";
}

int exit_code(Outcome outcome, const Evidence& evidence) noexcept {
  if (outcome == Outcome::kCrashed && evidence.wait_status && WIFSIGNALED(*evidence.wait_status))
    return kSignalBase + WTERMSIG(*evidence.wait_status);
  if (outcome == Outcome::kSetupFailed) return exit_code_of_setup(evidence.setup);
  return info_of(outcome).exit_code;
}

int http_status(Outcome outcome, const Evidence& evidence) noexcept {
  constexpr int kBadRequest = 400;
  if (outcome == Outcome::kSetupFailed && evidence.setup &&
      evidence.setup->step == SetupStep::kRequest)
    return kBadRequest;
  return info_of(outcome).http_status;
}

std::string_view lambda_error_type(Outcome outcome, const Evidence& evidence) noexcept {
  if (outcome == Outcome::kSetupFailed) {
    const int code = exit_code_of_setup(evidence.setup);
    if (code == kNotFound || code == kNotExecutable) return "Runtime.InvalidEntrypoint";
    if (evidence.setup && evidence.setup->step == SetupStep::kWorkingDirectory)
      return "Runtime.InvalidWorkingDir";
  }
  return info_of(outcome).lambda_error_type;
}

std::string describe(Outcome outcome, const Evidence& evidence) {
  std::string text = sentence_for(outcome, evidence);
  if (outcome != Outcome::kOk && made_by(evidence, ForbiddenCall::By::kChild))
    text += child_in_words(evidence);
  if (!evidence.detail.empty()) text += " (" + evidence.detail + ")";
  // Paths and details are as their authors made them.
  return escape_for_terminal(text);
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

}  // namespace fnrun::supervisor
