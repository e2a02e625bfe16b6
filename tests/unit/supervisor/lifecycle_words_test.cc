// The words of a sandbox's life: error types, events, and what a runtime may call when.
#include <gmock/gmock.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "supervisor/lifecycle/error_type.h"
#include "supervisor/lifecycle/events.h"
#include "supervisor/lifecycle/runtime_state.h"
#include "supervisor/outcome.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

// ---- Error types. Original: TestGetValidRuntimeOrFunctionErrorType, ----------------------------
// TestValidRuntimeAndFunctionErrors.

TEST(ErrorType, OfARuntimeIsKeptOnlyWhole) {
  for (const char* kept : {"Runtime.ExitError", "Function.MyCustomErrorTypeHere", "Runtime.Ab"})
    EXPECT_EQ(sanitize_error_type(kept), kept);
  for (const char* replaced :
       {"", "MyCustomError", "MyCustomError.Error", "Runtime.", "Runtime.A", "Runtime.lower",
        "Runtime.With1", "Sandbox.Failure", "Extension.Crash", "runtime.ExitError",
        // The original looks for the pattern anywhere.
        "x Runtime.ExitError", "Runtime.ExitError\r\nX-Injected: yes", "Runtime.Exit.Error"})
    EXPECT_EQ(sanitize_error_type(replaced), "Runtime.Unknown") << replaced;
  for (const char* function : {"Function.", "Function.1", "Function.Bad\x1b[31m"})
    EXPECT_EQ(sanitize_error_type(function), "Function.Unknown") << function;
}

TEST(ErrorType, OfARuntimeHasABound) {
  const std::string fits = "Runtime." + std::string(kErrorTypeMax - 8, 'A');
  EXPECT_EQ(sanitize_error_type(fits), fits);
  EXPECT_EQ(sanitize_error_type(fits + "A"), "Runtime.Unknown");
  EXPECT_EQ(sanitize_error_type("Function." + std::string(1'000'000, 'A')), "Function.Unknown");
}

TEST(ErrorType, MessageIsCutAndSafe) {
  EXPECT_EQ(sanitize_error_message("plain"), "plain");
  EXPECT_EQ(sanitize_error_message("two\nlines\x1b[31m").find_first_of("\n\x1b"),
            std::string::npos);
  EXPECT_LE(sanitize_error_message(std::string(1'000'000, 'x')).size(), kErrorMessageMax);
}

TEST(ErrorType, SetHoldsWhatEveryOutcomeSays) {
  for (const OutcomeInfo& info : kOutcomes) {
    if (!info.lambda_error_type.empty()) {
      EXPECT_TRUE(is_error_type(info.lambda_error_type)) << info.lambda_error_type;
    }
  }
  EXPECT_FALSE(is_error_type("Runtime.MyOwn"));
  EXPECT_FALSE(is_error_type(""));
}

// How the kernel packs them: the code in the second byte, the signal in the first.
constexpr int exited(int code) {
  return code << 8;
}

TEST(ErrorType, ExitIsWordedAsClientsKnowIt) {
  EXPECT_EQ(exit_message(exited(0)), "Runtime exited without providing a reason");
  EXPECT_EQ(exit_message(exited(3)), "Runtime exited with error: exit status 3");
  EXPECT_EQ(exit_message(SIGKILL), "Runtime exited with error: signal: killed");
  EXPECT_EQ(exit_message(SIGSEGV | 0x80),
            "Runtime exited with error: signal: segmentation fault (core dumped)");
  EXPECT_EQ(exit_message(SIGSYS), "Runtime exited with error: signal: signal 31");
}

TEST(ErrorType, DefaultBodyIsJsonWhateverIsInIt) {
  EXPECT_EQ(default_error_body("id-1", "Runtime.ExitError", "it \"ended\""),
            R"({"errorType":"Runtime.ExitError","errorMessage":)"
            R"("RequestId: id-1 Error: it \"ended\""})");
  EXPECT_FALSE(nlohmann::json::parse(default_error_body("\xff", "a", "\x01")).empty());
}

// ---- Events -----------------------------------------------------------------------------------

TEST(LifecycleEvents, AreOneLineOfJsonEach) {
  EXPECT_EQ(to_json(event::InitStart{InitType::kSnapStart, lifecycle::Phase::kInvoke, 3}),
            R"({"event":"init.start","initializationType":"snap-start","phase":"invoke",)"
            R"("generation":3})");
  EXPECT_EQ(
      to_json(event::InitRuntimeDone{{}, {}, lifecycle::DoneStatus::kError, "Runtime.ExitError"}),
      R"({"event":"init.runtimeDone","initializationType":"on-demand","phase":"init",)"
      R"("status":"error","errorType":"Runtime.ExitError"})");
  EXPECT_EQ(to_json(event::InitReport{{}, {}, 1.5ms}),
            R"({"event":"init.report","initializationType":"on-demand","phase":"init",)"
            R"("durationMs":1.5})");
  EXPECT_EQ(to_json(event::RestoreRuntimeDone{}),
            R"({"event":"restore.runtimeDone","status":"success","errorType":null})");
  EXPECT_EQ(to_json(event::InvokeStart{"id", "1", "Root=1", "t"}),
            R"({"event":"invoke.start","requestId":"id","version":"1","traceId":"Root=1",)"
            R"("tenantId":"t"})");
  EXPECT_EQ(to_json(event::Report{"id", lifecycle::DoneStatus::kTimeout, "", 2ms, 1ms}),
            R"({"event":"report","requestId":"id","status":"timeout","errorType":null,)"
            R"("durationMs":2.0,"initDurationMs":1.0})");
  EXPECT_EQ(to_json(event::End{"a\nb\xff"}), "{\"event\":\"end\",\"requestId\":\"a\\nb\\ufffd\"}");
}

class RuntimeDone : public testing::Test {
 protected:
  const ResponseMetrics::Time start{1h};
  InvokeTimes times() const {
    InvokeTimes all;
    all.runtime_started = start;
    ResponseMetrics response;
    response.produced_bytes = 9;
    response.reading_started = start + 2ms;
    response.reading_finished = start + 5ms;
    all.response = response;
    all.overhead_started = start + 5ms;
    return all;
  }
};

TEST_F(RuntimeDone, CountsFromTheRequestToReadyAgain) {
  const Event done = runtime_done(times(), start + 6ms);
  EXPECT_EQ(to_json(done),
            R"({"event":"invoke.runtimeDone","requestId":"","status":"success","errorType":null,)"
            R"("producedBytes":9,"durationMs":6.0,"spans":[{"name":"responseLatency",)"
            R"("durationMs":2.0},{"name":"responseDuration","durationMs":3.0},)"
            R"({"name":"runtimeOverhead","durationMs":1.0}]})");
}

TEST_F(RuntimeDone, WithoutAStartHasNoDurationAndNoBytes) {
  InvokeTimes unknown = times();
  unknown.runtime_started.reset();
  const auto done = runtime_done(unknown, start + 6ms);
  EXPECT_EQ(done.duration.count(), 0);
  EXPECT_EQ(done.produced_bytes, 0U);
  EXPECT_TRUE(done.spans.empty());
}

TEST_F(RuntimeDone, WithoutAnAnswerHasNoBytes) {
  InvokeTimes silent = times();
  silent.response.reset();
  silent.overhead_started.reset();
  const auto done = runtime_done(silent, start + 6ms);
  EXPECT_EQ(done.duration, event::Milliseconds(6ms));
  EXPECT_EQ(done.produced_bytes, 0U);
  EXPECT_TRUE(done.spans.empty());
}

// ---- What a runtime may call when. Original: TestRuntimeStateTransitionsFrom…State, ------------
// TestRuntimeInitErrorAfterReady.

using enum RuntimeState;
constexpr std::array kAllStates{kStarted,
                                kInitError,
                                kReady,
                                kRunning,
                                kRestoreReady,
                                kRestoring,
                                kInvocationResponse,
                                kInvocationErrorResponse,
                                kResponseSent,
                                kRestoreError};
constexpr std::array kAllCalls{RuntimeCall::kNext,        RuntimeCall::kResponse,
                               RuntimeCall::kError,       RuntimeCall::kInitError,
                               RuntimeCall::kRestoreNext, RuntimeCall::kRestoreError};

struct Allowed {
  RuntimeState state;
  RuntimeCall call;
  CallRule rule;
};
const std::vector<Allowed> kAllowed{
    {kStarted, RuntimeCall::kNext, {CallEffect::kBlocks, kReady}},
    {kStarted, RuntimeCall::kInitError, {CallEffect::kAccepted, kInitError}},
    {kStarted, RuntimeCall::kRestoreNext, {CallEffect::kBlocks, kRestoreReady}},
    {kReady, RuntimeCall::kNext, {CallEffect::kBlocks, kReady}},
    {kRunning, RuntimeCall::kNext, {CallEffect::kRepeatsEvent, kRunning}},
    {kRunning, RuntimeCall::kResponse, {CallEffect::kAccepted, kInvocationResponse}},
    {kRunning, RuntimeCall::kError, {CallEffect::kAccepted, kInvocationErrorResponse}},
    {kRestoring, RuntimeCall::kNext, {CallEffect::kBlocks, kReady}},
    {kRestoring, RuntimeCall::kInitError, {CallEffect::kAccepted, kRestoreError}},
    {kRestoring, RuntimeCall::kRestoreError, {CallEffect::kAccepted, kRestoreError}},
    {kResponseSent, RuntimeCall::kNext, {CallEffect::kBlocks, kReady}},
};

TEST(RuntimeStateTable, AllowsTheseCallsAndNoOthers) {
  for (const RuntimeState state : kAllStates) {
    for (const RuntimeCall call : kAllCalls) {
      CallRule expected{CallEffect::kRefused, state};
      for (const Allowed& one : kAllowed)
        if (one.state == state && one.call == call) expected = one.rule;
      EXPECT_EQ(rule_for(state, call), expected)
          << name_of(state) << ", call " << static_cast<int>(call);
    }
  }
}

TEST(RuntimeStateTable, SupervisorsOwnStepsGoWhereTheyMay) {
  EXPECT_EQ(release_of(kReady), kRunning);
  EXPECT_EQ(release_of(kRestoreReady), kRestoring);
  EXPECT_EQ(release_of(kRunning), std::nullopt);
  EXPECT_EQ(response_sent(kInvocationResponse), kResponseSent);
  EXPECT_EQ(response_sent(kInvocationErrorResponse), kResponseSent);
  EXPECT_EQ(response_sent(kReady), std::nullopt);
}

TEST(RuntimeStateTable, RefusalIsWordedAsClientsKnowIt) {
  EXPECT_EQ(refusal_body(kResponseSent, RuntimeCall::kResponse),
            R"({"errorMessage":"State transition from RuntimeResponseSentState to )"
            R"(InvocationResponse failed for runtime. Error: State transition is not allowed",)"
            R"("errorType":"InvalidStateTransition"})");
  for (const RuntimeState state : kAllStates)
    for (const RuntimeCall call : kAllCalls)
      EXPECT_TRUE(nlohmann::json::parse(refusal_body(state, call)).contains("errorMessage"));
}

}  // namespace
}  // namespace fnrun::supervisor
