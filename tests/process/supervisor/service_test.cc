// A Service over real sandboxes: what its failures leave behind, counted in this very process.
#include "supervisor/service.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <fstream>

#include "isolation/handler_file.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

class OfService : public test::SandboxTest {
 protected:
  std::shared_ptr<const isolation::Plan> hostile(const Strings& verb,
                                                 std::chrono::milliseconds timeout = 60s) {
    policies::Policy policy = strict;
    policy.limits.invoke_timeout = timeout;
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    Strings argv{told != nullptr ? std::string(told) + "/handlers/hostile" : FNRUN_HOSTILE};
    argv.insert(argv.end(), verb.begin(), verb.end());
    return std::make_shared<const isolation::Plan>(plan(argv, policy));
  }

  static Input event() {
    Input input;
    input.data = "event";
    return input;
  }

  // So many calls, one after another, and the service shut down; the outcomes.
  std::vector<Outcome> calls(const std::shared_ptr<const isolation::Plan>& plan, int count) {
    std::vector<Outcome> outcomes;
    asio::io_context context(1);
    Service service(context.get_executor(), *launcher, plan, {});
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
          for (int i = 0; i < count; ++i) {
            const auto invocation = co_await service.invoke(event());
            outcomes.push_back(invocation.report.outcome);
            EXPECT_EQ(invocation.result.has_value(), outcomes.back() == Outcome::kOk);
          }
          co_await service.shut_down();
        },
        [](const std::exception_ptr& failure) {
          if (failure) std::rethrow_exception(failure);
        });
    context.run();
    return outcomes;
  }

  // No child of any thread of ours, living or dead. The launcher's janitor is one, as long as
  // the launcher lives.
  static std::string children() {
    std::string all;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream file(task.path() / "children");
      all.append(std::istreambuf_iterator<char>(file), {});
    }
    return all;
  }
};

TEST_F(OfService, FiftyFailuresLeaveNoZombieNoDescriptorAndNoProcess) {
  const auto crash = hostile({"crash_signal", "11"});
  const auto hang = hostile({"never_read"}, 20ms);
  const auto lie = hostile({"reply_twice"});
  calls(crash, 1);  // Whatever is made once, is made now.
  const test::Ledger before = test::take_ledger(host.cgroup.dir);
  const std::string children_before = children();
  EXPECT_THAT(calls(crash, 20), testing::Each(Outcome::kCrashed));
  // By fives: dying sandboxes keep their uids, and there are kTestUids.
  for (int i = 0; i < 3; ++i) {
    // On a busy machine the start alone outlasts the deadline, which covers it too.
    EXPECT_THAT(calls(hang, 5),
                testing::Each(testing::AnyOf(Outcome::kTimedOut, Outcome::kInitTimedOut)));
    EXPECT_THAT(calls(lie, 5), testing::Each(Outcome::kProtocolError));
  }
  EXPECT_EQ(test::take_ledger(host.cgroup.dir), before);
  EXPECT_EQ(children(), children_before);
  launcher.reset();
  EXPECT_EQ(children(), "");
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(OfService, GoodCallsShareASandboxAndLeaveNothingEither) {
  const auto count = hostile({"count_calls"});
  calls(count, 1);
  const test::Ledger before = test::take_ledger(host.cgroup.dir);
  EXPECT_THAT(calls(count, 50), testing::Each(Outcome::kOk));
  EXPECT_EQ(test::take_ledger(host.cgroup.dir), before);
}

TEST_F(OfService, StopEndsTheCallInFlightAndRefusesLaterOnes) {
  asio::io_context context(1);
  Service* running = nullptr;
  ServiceOptions options;
  options.log = [&](std::uint64_t, std::string_view line) {
    if (line == "not reading") running->stop();  // It runs, and will never answer.
  };
  Service service(context.get_executor(), *launcher, hostile({"never_read"}), std::move(options));
  running = &service;
  std::vector<Outcome> outcomes;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 2; ++i) {
          const auto invocation = co_await service.invoke(event());
          outcomes.push_back(invocation.report.outcome);
        }
        co_await service.shut_down();
      },
      [](const std::exception_ptr&) {});
  context.run();
  EXPECT_THAT(outcomes, testing::Each(Outcome::kShuttingDown));
  EXPECT_EQ(outcomes.size(), 2U);
}

TEST_F(OfService, SecondCallerAtTheSameTimeIsRefusedAndTheFirstGoesOn) {
  asio::io_context context(1);
  Service service(context.get_executor(), *launcher, hostile({"never_read"}), {});
  std::vector<Outcome> outcomes;
  for (int i = 0; i < 2; ++i)
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
          const auto invocation = co_await service.invoke(event());
          outcomes.push_back(invocation.report.outcome);
          service.stop();  // By the refused one: nothing else ends the first.
          if (outcomes.size() == 2) co_await service.shut_down();
        },
        [](const std::exception_ptr&) {});
  context.run();
  EXPECT_THAT(outcomes, testing::ElementsAre(Outcome::kUnavailable, Outcome::kShuttingDown));
}

}  // namespace
}  // namespace fnrun::supervisor
