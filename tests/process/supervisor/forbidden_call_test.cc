// What a call's report says of a system call that the policy forbids: which, with what, by whom,
// and by what that is known.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <csignal>

#include "supervisor/service.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using isolation::ForbiddenCall;
using namespace std::chrono_literals;
using testing::HasSubstr;

class ForbiddenCallReport : public test::SandboxTest {
 protected:
  void SetUp() override {
    test::SandboxTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure() && !host.seccomp_listener)
      GTEST_SKIP() << "no seccomp user notification here: the kernel kills and says nothing";
    strict.limits.invoke_timeout = 60s;
  }
  // The report of one call to a handler that does `which` (tests/handlers/hostile.cc).
  InvocationReport report_of(const std::string& which) {
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    const std::string program =
        told != nullptr ? std::string(told) + "/handlers/hostile" : FNRUN_HOSTILE;
    const auto of_hostile =
        std::make_shared<const isolation::Plan>(plan({program, "forbidden_call", which}));
    InvocationReport report;
    asio::io_context context(1);
    Service service(context.get_executor(), *launcher, of_hostile, {});
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
          Input input;
          input.data = "event";
          const auto invocation = co_await service.invoke(std::move(input));
          report = invocation.report;
          co_await service.shut_down();
        },
        [](const std::exception_ptr& failure) {
          if (failure) std::rethrow_exception(failure);
        });
    context.run();
    return report;
  }
};

TEST_F(ForbiddenCallReport, TellsTheHandlersOwnByNameArgumentsAndRule) {
  const InvocationReport report = report_of("ptrace");
  EXPECT_EQ(report.outcome, Outcome::kPolicyViolation);
  const auto& call = report.evidence.forbidden;
  ASSERT_TRUE(call);
  // The C library sets four; the last two are what was in the registers.
  EXPECT_THAT(call->to_string(), testing::StartsWith("ptrace(0x0, 0x0, 0x0, 0x0, 0x"));
  EXPECT_EQ(call->by, ForbiddenCall::By::kHandler);
  EXPECT_EQ(call->count, 1U);
  EXPECT_EQ(report.evidence.forbidden_rule, "tripwire-other-processes");
  EXPECT_EQ(exit_code(report.outcome, report.evidence), 159);
  EXPECT_THAT(describe(report.outcome, report.evidence),
              testing::StartsWith("the handler called ptrace(0x0, "));
  // The twin: the same handler without the call.
  const InvocationReport quiet = report_of("none");
  EXPECT_EQ(quiet.outcome, Outcome::kOk);
  EXPECT_FALSE(quiet.evidence.forbidden);
}

TEST_F(ForbiddenCallReport, TellsPointersAsNumbersAndNeverFollowsThem) {
  const InvocationReport report = report_of("mount");
  EXPECT_EQ(report.outcome, Outcome::kPolicyViolation);
  const auto& call = report.evidence.forbidden;
  ASSERT_TRUE(call);
  EXPECT_EQ(call->name(), "mount");
  for (const std::size_t pointer : {0U, 1U, 2U, 4U}) EXPECT_GT(call->args[pointer], 0xffffU);
  EXPECT_EQ(call->args[3], std::uint64_t{MS_NOSUID});
  EXPECT_EQ(report.evidence.forbidden_rule, "tripwire-mounts");
}

TEST_F(ForbiddenCallReport, TellsAnUnknownNumberAndTheDefaultAction) {
  strict.seccomp.default_action = {};
  const InvocationReport report = report_of("9999");
  EXPECT_EQ(report.outcome, Outcome::kPolicyViolation);
  ASSERT_TRUE(report.evidence.forbidden);
  EXPECT_EQ(report.evidence.forbidden->to_string(),
            "syscall 9999(0x1, 0x2, 0x3, 0x4, 0x5, 0xffffffffffffffff)");
  EXPECT_EQ(report.evidence.forbidden_rule, "");
  EXPECT_THAT(describe(report.outcome, report.evidence), HasSubstr("default action"));
}

TEST_F(ForbiddenCallReport, OfAChildIsEvidenceAndTheHandlersEndIsTheOutcome) {
  const InvocationReport report = report_of("in_child");
  EXPECT_EQ(report.outcome, Outcome::kCrashed);
  ASSERT_TRUE(report.evidence.wait_status && WIFEXITED(*report.evidence.wait_status));
  EXPECT_EQ(WEXITSTATUS(*report.evidence.wait_status), 3);
  ASSERT_TRUE(report.evidence.forbidden);
  EXPECT_EQ(report.evidence.forbidden->by, ForbiddenCall::By::kChild);
  EXPECT_EQ(report.evidence.forbidden->name(), "ptrace");
  EXPECT_THAT(describe(report.outcome, report.evidence),
              HasSubstr("killed, the first for calling ptrace("));
}

TEST_F(ForbiddenCallReport, OfAChildIsKnownThoughTheCallTimedOut) {
  strict.limits.invoke_timeout = 300ms;
  const InvocationReport report = report_of("in_child_and_hang");
  if (report.outcome == Outcome::kInitTimedOut) GTEST_SKIP() << "too busy to start in time";
  EXPECT_EQ(report.outcome, Outcome::kTimedOut);
  ASSERT_TRUE(report.evidence.forbidden);
  EXPECT_EQ(report.evidence.forbidden->by, ForbiddenCall::By::kChild);
  EXPECT_EQ(report.evidence.forbidden->name(), "ptrace");
}

TEST_F(ForbiddenCallReport, WithoutAListenerSaysThatTheKernelsLogHasTheName) {
  host.seccomp_listener = false;
  const InvocationReport report = report_of("ptrace");
  EXPECT_EQ(report.outcome, Outcome::kPolicyViolation);
  ASSERT_TRUE(report.evidence.wait_status && WIFSIGNALED(*report.evidence.wait_status));
  EXPECT_EQ(WTERMSIG(*report.evidence.wait_status), SIGSYS);
  EXPECT_FALSE(report.evidence.forbidden);
  EXPECT_EQ(forbidden_source(report.evidence), "kernel_log");
  EXPECT_THAT(describe(report.outcome, report.evidence), HasSubstr("1326"));
  EXPECT_EQ(report.degraded->count("forbidden_calls"), 1U);
}

}  // namespace
}  // namespace fnrun::supervisor
