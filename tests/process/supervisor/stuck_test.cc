// Sandboxes that hang while they start, and sandboxes that hang while they end: nobody waits for
// them beyond its own time, and the pool goes on without them.
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <csignal>
#include <fstream>

#include "isolation/process_tree.h"
#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using testing::Each;
using testing::HasSubstr;

constexpr std::uint32_t kUids = 64;

// A zombie of ours in somebody's PID namespace: until we wait for it, nothing there can end.
class Hold {
 public:
  explicit Hold(pid_t init) {
    const isolation::UniqueFd ours(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
    const isolation::UniqueFd theirs(
        ::open(("/proc/" + std::to_string(init) + "/ns/pid").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(::setns(theirs.get(), CLONE_NEWPID), 0);
    zombie_ = ::fork();
    if (zombie_ == 0) ::_exit(0);
    EXPECT_EQ(::setns(ours.get(), CLONE_NEWPID), 0);
    siginfo_t ended{};
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(zombie_), &ended, WEXITED | WNOWAIT), 0);
  }
  ~Hold() {
    if (zombie_ > 0) ::waitpid(zombie_, nullptr, 0);
  }
  Hold(Hold&& other) noexcept : zombie_(std::exchange(other.zombie_, -1)) {}
  Hold& operator=(Hold&&) = delete;

 private:
  pid_t zombie_ = -1;
};

class OfStuck : public PoolTest {
 protected:
  std::uint32_t uids() const override { return kUids; }
  void TearDown() override {
    last_ = {};  // Its plan holds descriptors.
    PoolTest::TearDown();
  }

  asio::awaitable<Outcome> call(Service& service, std::string event, Deadline deadline) {
    Input input;
    input.data = std::move(event);
    last_ = co_await service.invoke(std::move(input), deadline);
    co_return last_.report.outcome;
  }
  // Turns of the loop until it is so.
  template <class Condition>
  asio::awaitable<void> until(Condition condition) {
    while (!condition()) co_await asio::post(context(), asio::use_awaitable);
  }
  template <class Story>
  void run(Story story) {
    asio::co_spawn(context(), std::move(story), [](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);
    });
    context().run();
  }

  // Its sandboxes are born frozen: a launch lasts until somebody thaws them.
  Plan born_frozen() const {
    isolation::Plan plan = plan_of("greedy", {});
    plan.cgroup_settings.push_back({"cgroup.freeze", "1"});
    return std::make_shared<const isolation::Plan>(std::move(plan));
  }
  // The launch is under way, and goes no further.
  asio::awaitable<void> until_one_hangs() {
    co_await until([&] { return !frozen_group().empty(); });
  }
  void thaw_one() { std::ofstream(frozen_group()) << 0; }
  std::string frozen_group() const {
    std::vector<isolation::Process> inits;
    isolation::add_children(::getpid(), inits);
    for (const isolation::Process& init : inits) {
      const std::string file = group_file(init.pid, "cgroup.freeze");
      std::string state;
      if (std::ifstream(file) >> state && state == "1") return file;
    }
    return "";
  }

  Invocation last_;
};

TEST_F(OfStuck, ACallThatIsTakenBackDoesNotWaitForItsStart) {
  if (host.cgroup.dir.empty()) GTEST_SKIP() << "no cgroup of our own to freeze a start with";
  Service service(context().get_executor(), *launcher, born_frozen(), lines({.places = 1}));
  asio::cancellation_signal take_back;
  run([&]() -> asio::awaitable<void> {
    bool over = false;
    service.async_invoke({}, Deadline::max(), "",
                         asio::bind_cancellation_slot(take_back.slot(), [&](Invocation done) {
                           EXPECT_EQ(done.report.outcome, Outcome::kCancelled);
                           over = true;
                         }));
    co_await until_one_hangs();
    take_back.emit(asio::cancellation_type::terminal);
    co_await until([&] { return over; });
    EXPECT_EQ(service.status().starting, 1U) << "the launch itself goes on";
    thaw_one();
    co_await until([&] { return service.status().idle == 1; });
    const Outcome next = co_await call(service, "burn 1", Deadline::max());
    EXPECT_EQ(next, Outcome::kOk);
    EXPECT_EQ(service.status().started, 1U) << "what nobody waited for served the next";
    co_await service.shut_down();
  });
}

// However often: each deadline ends one call, and the first launch that is done serves the next.
TEST_F(OfStuck, ALaunchThatOutlastsItsCallersDeadlineServesTheNext) {
  if (host.cgroup.dir.empty()) GTEST_SKIP() << "no cgroup of our own to freeze a start with";
  strict.limits.start_timeout = 10min;
  Service service(context().get_executor(), *launcher, born_frozen(), lines({.places = 1}));
  run([&]() -> asio::awaitable<void> {
    // Until a launch is under way when its caller's time is up: the machine may be slow.
    for (auto time = 50ms; frozen_group().empty(); time *= 2) {
      const auto soon = std::chrono::steady_clock::now() + time;
      const Outcome late = co_await call(service, "burn 1", soon);
      EXPECT_THAT(late, testing::AnyOf(Outcome::kInitTimedOut, Outcome::kTimedOut));
    }
    EXPECT_EQ(service.status().starting, 1U);
    thaw_one();
    co_await until([&] { return service.status().idle == 1; });
    const Outcome next = co_await call(service, "burn 1", Deadline::max());
    EXPECT_EQ(next, Outcome::kOk);
    EXPECT_EQ(service.status().started, 1U);
    co_await service.shut_down();
  });
}

// One launch has begun; those behind it are not begun for nobody, and none gathers sandboxes.
TEST_F(OfStuck, ManyCallsThatAreTakenBackStartNothingMore) {
  if (host.cgroup.dir.empty()) GTEST_SKIP() << "no cgroup of our own to freeze a start with";
  Service service(context().get_executor(), *launcher, born_frozen(), lines({.places = 1}));
  constexpr int kCalls = 20;
  run([&]() -> asio::awaitable<void> {
    int over = 0;
    for (int i = 0; i < kCalls; ++i) {
      asio::cancellation_signal take_back;
      service.async_invoke({}, Deadline::max(), "",
                           asio::bind_cancellation_slot(take_back.slot(), [&](Invocation done) {
                             EXPECT_EQ(done.report.outcome, Outcome::kCancelled);
                             ++over;
                           }));
      if (i == 0) co_await until_one_hangs();
      co_await until([&] { return service.status().starting == static_cast<std::size_t>(i) + 1; });
      take_back.emit(asio::cancellation_type::terminal);
      co_await until([&] { return over == i + 1; });
    }
    thaw_one();
    co_await until([&] { return service.status().starting == 0; });
    EXPECT_EQ(service.status().started, 1U);
    EXPECT_EQ(service.status().idle, 1U);
    co_await service.shut_down();
  });
}

// Taken back before anything of it has run.
TEST_F(OfStuck, ACallThatIsTakenBackAtOnceStartsNothing) {
  Service service(context().get_executor(), *launcher, greedy(), lines({.places = 1}));
  asio::cancellation_signal take_back;
  std::optional<Outcome> outcome;
  service.async_invoke({}, Deadline::max(), "",
                       asio::bind_cancellation_slot(take_back.slot(), [&](Invocation done) {
                         outcome = done.report.outcome;
                       }));
  take_back.emit(asio::cancellation_type::terminal);
  context().run();
  EXPECT_EQ(outcome, Outcome::kCancelled);
  EXPECT_EQ(service.status().started, 0U);
}

TEST_F(OfStuck, ACallThatQueuesBehindAHungStartEndsAtItsDeadline) {
  if (host.cgroup.dir.empty()) GTEST_SKIP() << "no cgroup of our own to freeze a start with";
  Service service(context().get_executor(), *launcher, born_frozen(), lines({.places = 2}));
  run([&]() -> asio::awaitable<void> {
    bool first_over = false;
    asio::co_spawn(context(), call(service, "burn 1", Deadline::max()),
                   [&](const std::exception_ptr&, Outcome outcome) {
                     EXPECT_EQ(outcome, Outcome::kOk);
                     first_over = true;
                   });
    co_await until_one_hangs();
    const auto soon = std::chrono::steady_clock::now() + 20ms;
    const Outcome second = co_await call(service, "burn 1", soon);
    EXPECT_THAT(second, testing::AnyOf(Outcome::kInitTimedOut, Outcome::kTimedOut));
    EXPECT_FALSE(first_over);
    thaw_one();
    co_await until([&] { return first_over && service.status().starting == 0; });
    co_await service.shut_down();
  });
}

TEST_F(OfStuck, StopDoesNotWaitForAStartToTellItsCaller) {
  if (host.cgroup.dir.empty()) GTEST_SKIP() << "no cgroup of our own to freeze a start with";
  Service service(context().get_executor(), *launcher, born_frozen(), lines({.places = 1}));
  run([&]() -> asio::awaitable<void> {
    bool told = false;
    asio::co_spawn(context(), call(service, "burn 1", Deadline::max()),
                   [&](const std::exception_ptr&, Outcome outcome) {
                     EXPECT_EQ(outcome, Outcome::kShuttingDown);
                     told = true;
                   });
    co_await until_one_hangs();
    service.stop();
    co_await until([&] { return told; });
    EXPECT_EQ(service.status().starting, 1U);
    thaw_one();
    co_await service.shut_down();
  });
}

// The wait status of a handler that ended is told by its init, which ends last.
TEST_F(OfStuck, WhatAHandlerLeftStuckDoesNotHoldItsCallerBeyondTheDeadline) {
  if (!host.privileged) GTEST_SKIP() << "only root may enter a sandbox's PID namespace";
  strict.limits.kill_timeout = 10min;
  Service service(context().get_executor(), *launcher, hostile({"count_calls", "/dev/null"}),
                  frames({.places = 1}));
  run([&]() -> asio::awaitable<void> {
    const Outcome first = co_await call(service, "count", Deadline::max());
    EXPECT_EQ(first, Outcome::kOk);
    {
      const Hold stuck(last_.report.sandbox.pid);
      const auto soon = std::chrono::steady_clock::now() + 100ms;
      const Outcome second = co_await call(service, "crash", soon);
      EXPECT_EQ(second, Outcome::kTimedOut) << to_json(last_.report);
      EXPECT_EQ(service.status().dying, 1U);
    }
    co_await service.shut_down();
    EXPECT_EQ(service.status().quarantined, 0U);
  });
}

TEST_F(OfStuck, WhatIsNotGoneInTimeIsKeptApartAndKilledAgain) {
  if (!host.privileged) GTEST_SKIP() << "only root may enter a sandbox's PID namespace";
  strict.limits.kill_timeout = 0ms;
  ServiceOptions options = frames({.places = 1});
  std::vector<PoolEvent::Kind> events;
  options.on_event = [&](const PoolEvent& event) { events.push_back(event.kind); };
  Service service(context().get_executor(), *launcher, hostile({"count_calls", "/dev/null"}),
                  options);
  run([&]() -> asio::awaitable<void> {
    const Outcome fine = co_await call(service, "count", Deadline::max());
    EXPECT_EQ(fine, Outcome::kOk);
    {
      const Hold stuck(last_.report.sandbox.pid);
      const Outcome crashed = co_await call(service, "crash", Deadline::max());
      EXPECT_NE(crashed, Outcome::kOk);
      co_await until([&] { return service.status().quarantined == 1; });
    }
    co_await until([&] { return service.status().quarantined == 0; });
    co_await service.shut_down();
  });
  EXPECT_THAT(events,
              testing::ElementsAre(PoolEvent::Kind::kQuarantined, PoolEvent::Kind::kReleased));
}

TEST_F(OfStuck, BesideTooManyThatAreStuckNothingIsStarted) {
  if (!host.privileged) GTEST_SKIP() << "only root may enter a sandbox's PID namespace";
  strict.limits.kill_timeout = 0ms;
  Service service(context().get_executor(), *launcher, hostile({"count_calls", "/dev/null"}),
                  frames({.places = 1}));
  constexpr std::size_t kMost = 32;  // As pool.cc has it.
  run([&]() -> asio::awaitable<void> {
    std::vector<Hold> stuck;
    while (stuck.size() < kMost) {
      const Outcome fine = co_await call(service, "count", Deadline::max());
      EXPECT_EQ(fine, Outcome::kOk);
      stuck.emplace_back(last_.report.sandbox.pid);
      (void)co_await call(service, "crash", Deadline::max());
      co_await until([&] { return service.status().quarantined == stuck.size(); });
    }
    const Outcome refused = co_await call(service, "count", Deadline::max());
    EXPECT_EQ(refused, Outcome::kSetupFailed);
    EXPECT_THAT(to_json(last_.report), HasSubstr("could not be killed"));
    EXPECT_EQ(service.status().started, kMost);
    stuck.clear();
    co_await until([&] { return service.status().quarantined == 0; });
    strict.limits.kill_timeout = 10min;
    service.use_plan(hostile({"count_calls", "/dev/null"}));
    const Outcome again = co_await call(service, "count", Deadline::max());
    EXPECT_EQ(again, Outcome::kOk);
    co_await service.shut_down();
  });
}

TEST_F(OfStuck, ASpareThatEndsIsReplacedBeforeSomebodyNeedsIt) {
  ServiceOptions options = lines({.places = 1});
  options.ready = 2;
  Service service(context().get_executor(), *launcher, greedy(), options);
  ASSERT_TRUE(service.warm_up(2));
  run([&]() -> asio::awaitable<void> {
    std::vector<isolation::Process> inits;
    isolation::add_children(::getpid(), inits);
    for (const isolation::Process& init : inits)
      if (const auto spare = isolation::handler_below(init.pid)) {
        EXPECT_EQ(::kill(*spare, SIGKILL), 0);
        break;
      }
    co_await until([&] { return service.status().started == 3 && service.status().idle == 2; });
    EXPECT_FALSE(service.status().degraded);
    co_await service.shut_down();
  });
}

// Nobody calls, and yet it is known that no spare stays.
TEST_F(OfStuck, SparesThatEndAtOnceAreStartedEverMoreSeldom) {
  ServiceOptions options = frames({.places = 1});
  options.ready = 1;
  std::vector<PoolEvent::Kind> events;
  options.on_event = [&](const PoolEvent& event) { events.push_back(event.kind); };
  Service service(context().get_executor(), *launcher, hostile({"leave_unread", "0"}), options);
  run([&]() -> asio::awaitable<void> {
    service.keep(1, 0);
    co_await until([&] { return !events.empty(); });
    EXPECT_THAT(events, testing::ElementsAre(PoolEvent::Kind::kDegraded));
    EXPECT_EQ(service.status().started, 5U);
    EXPECT_GT(service.status().retry_in.count(), 0);
    co_await service.shut_down();
  });
}

}  // namespace
}  // namespace fnrun::supervisor
