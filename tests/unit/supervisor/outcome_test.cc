// One table, one decision: that numbers, names, codes and types agree, that the first cause wins,
// and that the words name the evidence.
#include "supervisor/outcome.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>
#include <vector>

namespace fnrun::supervisor {
namespace {

using isolation::SetupError;
using isolation::SetupStep;
using ::testing::HasSubstr;

// What the public names are, written down a second time: changing one breaks who reads them.
const std::vector<std::string_view> kNames{"ok",
                                           "timed_out",
                                           "init_timed_out",
                                           "crashed",
                                           "out_of_memory",
                                           "pids_exceeded",
                                           "cpu_exceeded",
                                           "policy_violation",
                                           "output_too_large",
                                           "request_too_large",
                                           "protocol_error",
                                           "unavailable",
                                           "cancelled",
                                           "setup_failed",
                                           "shutting_down"};

// AWS Lambda's closed set, with the names that its newer runtimes add.
const std::set<std::string_view> kLambdaTypes{"Extension.InitError",
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
                                              "Function.ResponseSizeTooLarge",
                                              "Function.Unknown",
                                              "Sandbox.Failure",
                                              "Sandbox.Timeout",
                                              "Runtime.InitError",
                                              "Runtime.OutOfMemory",
                                              "Runtime.InvokeTimeout",
                                              "Runtime.InvalidInvokeId",
                                              "Runtime.InvokeResponseWasSent",
                                              "Runtime.InvokeResponseInProgress",
                                              "Runtime.ErrorResponseInProgress",
                                              "Runtime.Unavailable",
                                              "Sandbox.Timedout",
                                              "Sandbox.TimeoutResponseTrailer"};

constexpr int exited(int code) {
  return W_EXITCODE(code, 0);
}
constexpr int killed(int signal) {
  return W_EXITCODE(0, signal);
}
Evidence with_status(int status) {
  Evidence evidence;
  evidence.wait_status = status;
  return evidence;
}
Evidence with_limits(const LimitEvidence& limits) {
  Evidence evidence;
  evidence.limits = limits;
  return evidence;
}
Evidence with_setup(SetupStep step, int os_errno = 0) {
  Evidence evidence;
  evidence.setup = SetupError{step, 0, os_errno, "/opt/handler"};
  return evidence;
}

TEST(Outcome, NumbersAndNamesAreWhatTheyWere) {
  ASSERT_EQ(kOutcomes.size(), kNames.size());
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(kOutcomes[i].outcome), i);
    EXPECT_EQ(kOutcomes[i].name, kNames[i]);
    EXPECT_EQ(name_of(kOutcomes[i].outcome), kNames[i]);
    EXPECT_EQ(&info_of(kOutcomes[i].outcome), &kOutcomes[i]);
  }
}

TEST(Outcome, NamesAreUniqueAndFitMetricLabels) {
  std::set<std::string_view> names;
  for (const OutcomeInfo& info : kOutcomes) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(info.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos);
    EXPECT_FALSE(info.name.empty());
  }
}

TEST(Outcome, EachHasAMeaningOfItsOwnOnOneLine) {
  std::set<std::string_view> meanings;
  for (const OutcomeInfo& info : kOutcomes) {
    EXPECT_TRUE(meanings.insert(info.meaning).second) << info.name;
    EXPECT_GT(info.meaning.size(), 10U) << info.name;
    EXPECT_EQ(info.meaning.find('\n'), std::string_view::npos) << info.name;
  }
}

TEST(Outcome, OnlyOkLooksLikeSuccessAnywhere) {
  for (const OutcomeInfo& info : kOutcomes) {
    const bool ok = info.outcome == Outcome::kOk;
    EXPECT_EQ(info.exit_code == 0, ok) << info.name;
    EXPECT_EQ(info.http_status == 200, ok) << info.name;
    EXPECT_EQ(info.lambda_error_type.empty(), ok) << info.name;
    if (!ok) {
      EXPECT_GE(info.http_status, 400) << info.name;
      EXPECT_LE(info.http_status, 599) << info.name;
    }
  }
}

TEST(Outcome, ExitCodesStayClearOfThoseOfTheCommandItself) {
  for (const OutcomeInfo& info : kOutcomes) {
    EXPECT_GE(info.exit_code, 0) << info.name;
    EXPECT_LE(info.exit_code, 255) << info.name;
    EXPECT_NE(info.exit_code, 2) << info.name << ": usage";
    EXPECT_NE(info.exit_code, 78) << info.name << ": bad policy";
  }
}

TEST(Outcome, CodesAreAsDocumented) {
  struct Row {
    Outcome outcome;
    int exit_code;
    int http_status;
    std::string_view lambda;
  };
  const Row rows[] = {
      {Outcome::kOk, 0, 200, ""},
      {Outcome::kTimedOut, 124, 504, "Sandbox.Timedout"},
      {Outcome::kInitTimedOut, 124, 504, "Sandbox.Timedout"},
      {Outcome::kCrashed, 70, 502, "Runtime.ExitError"},
      {Outcome::kOutOfMemory, 137, 502, "Runtime.OutOfMemory"},
      {Outcome::kPidsExceeded, 137, 502, "Runtime.ExitError"},
      {Outcome::kCpuExceeded, 137, 502, "Runtime.ExitError"},
      {Outcome::kPolicyViolation, 159, 502, "Runtime.ExitError"},
      {Outcome::kOutputTooLarge, 76, 502, "Function.ResponseSizeTooLarge"},
      {Outcome::kRequestTooLarge, 65, 413, "Sandbox.Failure"},
      {Outcome::kProtocolError, 76, 502, "Runtime.Unknown"},
      {Outcome::kUnavailable, 75, 429, "Runtime.Unavailable"},
      {Outcome::kCancelled, 130, 499, "Sandbox.Failure"},
      {Outcome::kSetupFailed, 125, 500, "Sandbox.Failure"},
      {Outcome::kShuttingDown, 75, 503, "Runtime.Unavailable"},
  };
  ASSERT_EQ(std::size(rows), kOutcomes.size());
  for (const Row& row : rows) {
    EXPECT_EQ(exit_code(row.outcome, {}), row.exit_code) << name_of(row.outcome);
    EXPECT_EQ(info_of(row.outcome).http_status, row.http_status) << name_of(row.outcome);
    EXPECT_EQ(lambda_error_type(row.outcome, {}), row.lambda) << name_of(row.outcome);
  }
}

TEST(Outcome, LambdaTypesAreOfTheClosedSetWhateverTheEvidence) {
  std::vector<Evidence> evidence{{}, with_status(exited(1)), with_status(killed(SIGKILL))};
  for (int step = 0; step <= static_cast<int>(SetupStep::kExec); ++step)
    for (const int os_errno : {0, ENOENT, EACCES})
      evidence.push_back(with_setup(static_cast<SetupStep>(step), os_errno));
  for (const OutcomeInfo& info : kOutcomes)
    for (const Evidence& each : evidence)
      if (info.outcome != Outcome::kOk) {
        EXPECT_TRUE(kLambdaTypes.contains(lambda_error_type(info.outcome, each))) << info.name;
      }
}

TEST(Outcome, EachCauseHasItsOutcome) {
  const std::pair<Cause, Outcome> rows[] = {
      {Cause::kAnswered, Outcome::kOk},
      {Cause::kDeadline, Outcome::kTimedOut},
      {Cause::kHandlerEnded, Outcome::kProtocolError},  // It lives: no wait status.
      {Cause::kNegativeLength, Outcome::kProtocolError},
      {Cause::kTooLarge, Outcome::kOutputTooLarge},
      {Cause::kInvalidMessage, Outcome::kProtocolError},
      {Cause::kUnsolicited, Outcome::kProtocolError},
      {Cause::kRequestTooLarge, Outcome::kRequestTooLarge},
      {Cause::kNoSandboxFree, Outcome::kUnavailable},
      {Cause::kCancelled, Outcome::kCancelled},
      {Cause::kShutdown, Outcome::kShuttingDown},
      {Cause::kSetup, Outcome::kSetupFailed},
      {Cause::kIo, Outcome::kProtocolError},
      {Cause::kOverMemory, Outcome::kOutOfMemory},
      {Cause::kOverCpuTime, Outcome::kCpuExceeded},
  };
  for (const auto& [cause, outcome] : rows)
    EXPECT_EQ(decide(cause, {}), outcome) << static_cast<int>(cause);
}

TEST(Outcome, ALimitThatWasHitExplainsAMissingAnswer) {
  const LimitEvidence oom{.oom_kills = 1, .refused_forks = 1, .processes_at_max = true};
  const LimitEvidence refused{.refused_forks = 1};
  const LimitEvidence seen{.processes_at_max = true};
  for (const Cause cause : {Cause::kDeadline, Cause::kHandlerEnded, Cause::kIo}) {
    EXPECT_EQ(decide(cause, with_limits(oom)), Outcome::kOutOfMemory);
    EXPECT_EQ(decide(cause, with_limits(refused)), Outcome::kPidsExceeded);
    EXPECT_EQ(decide(cause, with_limits(seen)), Outcome::kPidsExceeded);
  }
  for (const Cause cause :
       {Cause::kAnswered, Cause::kTooLarge, Cause::kInvalidMessage, Cause::kUnsolicited,
        Cause::kCancelled, Cause::kShutdown, Cause::kOverMemory, Cause::kOverCpuTime})
    EXPECT_EQ(decide(cause, with_limits(oom)), decide(cause, {})) << static_cast<int>(cause);
  Evidence at_max = with_status(killed(SIGSEGV));
  at_max.limits = seen;
  EXPECT_EQ(decide(Cause::kHandlerEnded, at_max), Outcome::kCrashed) << "at the limit, not over it";
  at_max.limits = refused;
  EXPECT_EQ(decide(Cause::kHandlerEnded, at_max), Outcome::kPidsExceeded);
  EXPECT_NE(describe(Outcome::kPidsExceeded, at_max).find("SIGSEGV"), std::string::npos);
  Evidence forbidden = with_status(killed(SIGSYS));
  forbidden.limits = oom;
  EXPECT_EQ(decide(Cause::kHandlerEnded, forbidden), Outcome::kPolicyViolation);
}

TEST(Outcome, FirstCauseWinsOverWhateverTheHandlerThenDiedOf) {
  for (const int status : {killed(SIGKILL), killed(SIGSYS), killed(SIGXCPU), exited(0), exited(3)})
    for (const Cause cause :
         {Cause::kAnswered, Cause::kDeadline, Cause::kNegativeLength, Cause::kTooLarge,
          Cause::kInvalidMessage, Cause::kUnsolicited, Cause::kRequestTooLarge,
          Cause::kNoSandboxFree, Cause::kCancelled, Cause::kShutdown, Cause::kSetup})
      for (const auto reason : {isolation::KillReason::kNone, isolation::KillReason::kDeadline,
                                isolation::KillReason::kShutdown}) {
        Evidence evidence = with_status(status);
        evidence.killed_for = reason;
        EXPECT_EQ(decide(cause, evidence), decide(cause, {})) << static_cast<int>(cause);
      }
}

TEST(Outcome, EndOfTheHandlerIsReadFromItsWaitStatus) {
  struct Row {
    int status;
    Outcome outcome;
    int exit_code;
  };
  const Row rows[] = {
      {exited(0), Outcome::kCrashed, 70},
      {exited(1), Outcome::kCrashed, 70},
      {exited(255), Outcome::kCrashed, 70},
      {exited(159), Outcome::kCrashed, 70},  // A shell's word, not the kernel's.
      {killed(SIGSEGV), Outcome::kCrashed, 139},
      {killed(SIGKILL), Outcome::kCrashed, 137},
      {killed(SIGTERM), Outcome::kCrashed, 143},
      {killed(SIGABRT) | 0x80, Outcome::kCrashed, 134},  // With the core dump's bit.
      {killed(40), Outcome::kCrashed, 168},
      {killed(SIGSYS), Outcome::kPolicyViolation, 159},
      {killed(SIGSYS) | 0x80, Outcome::kPolicyViolation, 159},
      // Nobody here sends it for a limit: it is the handler's own doing.
      {killed(SIGXCPU), Outcome::kCrashed, 128 + SIGXCPU},
  };
  for (const Row& row : rows)
    for (const Cause cause : {Cause::kHandlerEnded, Cause::kIo}) {
      const Evidence evidence = with_status(row.status);
      EXPECT_EQ(decide(cause, evidence), row.outcome) << row.status;
      EXPECT_EQ(exit_code(row.outcome, evidence), row.exit_code) << row.status;
    }
}

isolation::ForbiddenCall ptrace_by(isolation::ForbiddenCall::By by) {
  isolation::ForbiddenCall call;
  call.by = by;
  call.number = 101;
  call.arch = 0xc000003e;  // x86_64
  call.args = {16, 1, 0, ~0ULL, 0, 0};
  call.count = 1;
  return call;
}

TEST(Outcome, ForbiddenCallOfTheHandlerIsAViolationOfAnotherProcessIsNot) {
  using By = isolation::ForbiddenCall::By;
  for (const Cause cause : {Cause::kHandlerEnded, Cause::kIo}) {
    Evidence evidence = with_status(killed(SIGKILL));
    EXPECT_EQ(decide(cause, evidence), Outcome::kCrashed);
    EXPECT_EQ(forbidden_source(evidence), "");
    evidence.forbidden = ptrace_by(By::kHandler);
    evidence.limits.oom_kills = 1;
    EXPECT_EQ(decide(cause, evidence), Outcome::kPolicyViolation);
    EXPECT_EQ(exit_code(Outcome::kPolicyViolation, evidence), 159);
    EXPECT_EQ(forbidden_source(evidence), "user_notification");
    evidence.forbidden = ptrace_by(By::kChild);
    evidence.limits.oom_kills = 0;
    EXPECT_EQ(decide(cause, evidence), Outcome::kCrashed);
    EXPECT_EQ(forbidden_source(evidence), "user_notification");
  }
  // The first cause stays it, whatever is then known.
  Evidence late = with_status(killed(SIGKILL));
  late.forbidden = ptrace_by(By::kHandler);
  for (const Cause cause :
       {Cause::kAnswered, Cause::kDeadline, Cause::kTooLarge, Cause::kCancelled})
    EXPECT_EQ(decide(cause, late), decide(cause, {})) << static_cast<int>(cause);
  EXPECT_EQ(forbidden_source(with_status(killed(SIGSYS))), "kernel_log");
}

TEST(Outcome, DescriptionNamesTheForbiddenCallAndWhoMadeIt) {
  using By = isolation::ForbiddenCall::By;
  Evidence evidence = with_status(killed(SIGKILL));
  evidence.forbidden = ptrace_by(By::kHandler);
  evidence.forbidden_rule = "tripwire";
  EXPECT_THAT(describe(Outcome::kPolicyViolation, evidence),
              testing::StartsWith(
                  "the handler called ptrace(0x10, 0x1, 0x0, 0xffffffffffffffff, 0x0, 0x0), which "
                  "the policy forbids (rule 'tripwire'; seen by seccomp user notification)"));
  evidence.forbidden->number = 9999;
  evidence.forbidden_rule.clear();
  EXPECT_THAT(describe(Outcome::kPolicyViolation, evidence),
              testing::StartsWith("the handler called syscall 9999(0x10, "));
  EXPECT_THAT(describe(Outcome::kPolicyViolation, evidence), HasSubstr("(its default action;"));
  evidence = with_status(exited(137));
  evidence.forbidden = ptrace_by(By::kChild);
  for (const Outcome outcome : {Outcome::kCrashed, Outcome::kTimedOut, Outcome::kProtocolError})
    EXPECT_THAT(describe(outcome, evidence),
                HasSubstr("; inside, a process that the handler made was killed, the first for "
                          "calling ptrace(0x10, "));
  evidence.forbidden->count = 3;
  EXPECT_THAT(describe(Outcome::kCrashed, evidence), HasSubstr("3 processes that the handler"));
  EXPECT_THAT(describe(Outcome::kOk, evidence), testing::Not(HasSubstr("ptrace")));
}

TEST(Outcome, OnlyACrashTakesItsExitCodeFromTheSignal) {
  for (const OutcomeInfo& info : kOutcomes)
    if (info.outcome != Outcome::kCrashed) {
      EXPECT_EQ(exit_code(info.outcome, with_status(killed(SIGHUP))), info.exit_code) << info.name;
    }
}

TEST(Outcome, SetupStepTellsWhoIsToBlame) {
  struct Row {
    SetupStep step;
    int os_errno;
    Outcome outcome;
    int exit_code;
    std::string_view lambda;
  };
  const Row rows[] = {
      {SetupStep::kHandlerNotFound, ENOENT, Outcome::kSetupFailed, 127,
       "Runtime.InvalidEntrypoint"},
      {SetupStep::kHandlerNotExecutable, EACCES, Outcome::kSetupFailed, 126,
       "Runtime.InvalidEntrypoint"},
      {SetupStep::kExec, ENOENT, Outcome::kSetupFailed, 127, "Runtime.InvalidEntrypoint"},
      {SetupStep::kExec, EACCES, Outcome::kSetupFailed, 126, "Runtime.InvalidEntrypoint"},
      {SetupStep::kExec, ENOEXEC, Outcome::kSetupFailed, 126, "Runtime.InvalidEntrypoint"},
      {SetupStep::kWorkingDirectory, ENOENT, Outcome::kSetupFailed, 125,
       "Runtime.InvalidWorkingDir"},
      {SetupStep::kMountSource, ENOENT, Outcome::kSetupFailed, 125, "Sandbox.Failure"},
      {SetupStep::kClone, EPERM, Outcome::kSetupFailed, 125, "Sandbox.Failure"},
      {SetupStep::kNone, 0, Outcome::kSetupFailed, 125, "Sandbox.Failure"},
      {SetupStep::kStartTimeout, 0, Outcome::kInitTimedOut, 124, "Sandbox.Timedout"},
  };
  for (const Row& row : rows) {
    const Evidence evidence = with_setup(row.step, row.os_errno);
    const std::string_view step = isolation::name_of(row.step);
    EXPECT_EQ(decide(Cause::kSetup, evidence), row.outcome) << step;
    EXPECT_EQ(exit_code(row.outcome, evidence), row.exit_code) << step;
    EXPECT_EQ(lambda_error_type(row.outcome, evidence), row.lambda) << step;
  }
}

TEST(Outcome, DescriptionNamesTheEvidence) {
  struct Row {
    Outcome outcome;
    Evidence evidence;
    std::vector<const char*> says;
  };
  const Row rows[] = {
      {Outcome::kPolicyViolation, with_status(killed(SIGSYS)), {"SIGSYS", "dmesg", "--explain"}},
      {Outcome::kCrashed, with_status(killed(SIGSEGV)), {"SIGSEGV", "stderr"}},
      {Outcome::kCrashed, with_status(killed(SIGABRT) | 0x80), {"SIGABRT", "core"}},
      {Outcome::kCrashed, with_status(killed(SIGKILL)), {"SIGKILL", "OOM"}},
      {Outcome::kCrashed, with_status(killed(40)), {"signal 40"}},
      {Outcome::kCrashed, with_status(exited(3)), {"status 3"}},
      {Outcome::kCrashed, with_status(exited(0)), {"status 0", "flushed"}},
      {Outcome::kCrashed, with_status(exited(127)), {"status 127", "not found"}},
      {Outcome::kCrashed, with_status(exited(159)), {"status 159", "SIGSYS"}},
      {Outcome::kOutOfMemory,
       with_limits({.oom_kills = 2, .memory_max_hits = 1, .memory_max_bytes = 4'096}),
       {"limits.memory_max_bytes (4096)", "OOM killer took 2 processes"}},
      {Outcome::kOutOfMemory,
       with_limits({.oom_kills = 1, .memory_max_bytes = 4'096}),
       {"group above", "took 1 process", "had not reached its own"}},
      {Outcome::kPidsExceeded,
       with_limits({.refused_forks = 1, .processes_max = 16}),
       {"limits.processes_max (16", "refused 1 fork"}},
      {Outcome::kPidsExceeded,
       with_limits({.processes_at_max = true, .processes_max = 16}),
       {"sampling found as many"}},
      {Outcome::kCpuExceeded,
       with_limits({.cpu_time_max_ms = 3'000}),
       {"limits.cpu_time_max_ms (3000 ms", "endless loop"}},
      {Outcome::kTimedOut, {}, {"deadline", "limits.invoke_timeout_ms"}},
      {Outcome::kInitTimedOut, with_setup(SetupStep::kStartTimeout), {"limits.start_timeout_ms"}},
      {Outcome::kSetupFailed,
       with_setup(SetupStep::kExec, ENOENT),
       {"exec-handler", "/opt/handler", "ENOENT", "hint"}},
      {Outcome::kOutputTooLarge, {}, {"limits.response_max_bytes"}},
      {Outcome::kRequestTooLarge, {}, {"limits.request_max_bytes"}},
      {Outcome::kPidsExceeded, {}, {"limits.processes_max"}},
      {Outcome::kProtocolError, {}, {"stdout", "stderr"}},
  };
  for (const Row& row : rows)
    for (const char* words : row.says)
      EXPECT_THAT(describe(row.outcome, row.evidence), HasSubstr(words)) << name_of(row.outcome);
}

TEST(Outcome, DescriptionIsOneSafeLineWhateverTheEvidenceHolds) {
  Evidence evidence = with_setup(SetupStep::kMountSource, ENOENT);
  evidence.setup->subject = "/a\n\x1b[2J";
  evidence.detail = "x\r\ny\xff";
  for (const OutcomeInfo& info : kOutcomes) {
    const std::string text = describe(info.outcome, evidence);
    EXPECT_TRUE(std::none_of(text.begin(), text.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e;
    })) << text;
    EXPECT_THAT(text, HasSubstr("x\\x0d\\x0ay\\xff"));
  }
}

TEST(Outcome, DescriptionOfMissingEvidenceStillIsASentence) {
  for (const OutcomeInfo& info : kOutcomes)
    EXPECT_GT(describe(info.outcome, {}).size(), 20U) << info.name;
}

TEST(SignalName, IsTheKernelsOrTheNumber) {
  EXPECT_EQ(signal_name(SIGKILL), "SIGKILL");
  EXPECT_EQ(signal_name(SIGSYS), "SIGSYS");
  EXPECT_EQ(signal_name(0), "signal 0");
  EXPECT_EQ(signal_name(4096), "signal 4096");
}

}  // namespace
}  // namespace fnrun::supervisor
