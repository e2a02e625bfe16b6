// Many calls at a time, many sandboxes: what is reused, what is replaced, what waits, what is told.
#include <sys/wait.h>

#include <csignal>

#include "isolation/process_tree.h"
#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using testing::Each;
using testing::ElementsAre;

using OfPool = PoolTest;

TEST_F(OfPool, CallsAtATimeShareAsManySandboxesAndNoMore) {
  Service service(context().get_executor(), *launcher, greedy(), lines());
  const auto done = storm(service, 8, 25, hello);
  EXPECT_EQ(done.size(), 200U);
  EXPECT_THAT(outcomes_of(done), Each(Outcome::kOk));
  EXPECT_LE(sandboxes_of(done).size(), 4U);
}

TEST_F(OfPool, EachCallerGetsItsOwnAnswer) {
  Service service(context().get_executor(), *launcher, greedy(), lines());
  const auto done = storm(service, 8, 25, [](int i) { return "nonce-" + std::to_string(i); });
  std::set<std::string> answers;
  for (const Invocation& one : done) {
    ASSERT_TRUE(one.result) << to_json(one.report);
    answers.insert(one.result->data);
  }
  EXPECT_EQ(answers.size(), 200U);
}

TEST_F(OfPool, WithOneCallASandboxEachCallHasItsOwn) {
  strict.reuse.mode = policies::Reuse::Mode::kNever;
  ServiceOptions options = lines({.places = 2, .waiting_max = 64});
  options.ready = 2;
  Service service(context().get_executor(), *launcher, greedy(), options);
  ASSERT_TRUE(service.warm_up());
  const auto done = storm(service, 2, 10, hello);
  EXPECT_THAT(outcomes_of(done), Each(Outcome::kOk));
  EXPECT_EQ(sandboxes_of(done).size(), 20U);
}

TEST_F(OfPool, ASandboxEndsAfterItsNumberOfCalls) {
  strict.reuse.calls_max = 3;
  Service service(context().get_executor(), *launcher, greedy(), lines({.places = 1}));
  std::vector<std::uint64_t> served;
  for (const Invocation& one : storm(service, 1, 7, hello))
    served.push_back(one.report.sandbox.calls_served);
  EXPECT_THAT(served, ElementsAre(1, 2, 3, 1, 2, 3, 1));
}

TEST_F(OfPool, AnOldSandboxIsNotUsedAgain) {
  strict.reuse.age_max = 1ms;  // Any call outlasts that.
  Service service(context().get_executor(), *launcher, greedy(), lines({.places = 1}));
  const auto done = storm(service, 1, 3, [](int) { return "burn 5"; });
  EXPECT_THAT(outcomes_of(done), Each(Outcome::kOk));
  EXPECT_EQ(sandboxes_of(done).size(), 3U);
}

TEST_F(OfPool, FailuresTakeTheirSandboxAndNobodyElses) {
  // Every third call crashes, or lies; the others count on.
  Service service(context().get_executor(), *launcher, hostile({"count_calls", "/dev/null"}),
                  frames({.places = 3, .waiting_max = 64}));
  const auto done = storm(service, 6, 20, [](int i) {
    return i % 3 == 0 ? std::string(i % 2 == 0 ? "crash" : "twice") : std::string("count");
  });
  int ok = 0;
  for (const Invocation& one : done) {
    EXPECT_EQ(one.result.has_value(), one.report.outcome == Outcome::kOk);
    if (one.result) {
      EXPECT_NE(one.result->data, "stolen");
      ++ok;
    }
  }
  EXPECT_GE(ok, 80) << "two thirds did nothing wrong";
  EXPECT_EQ(done.size(), 120U);
  EXPECT_EQ(service.status().busy, 0U);
}

TEST_F(OfPool, AReadySandboxServesTheCallAfterAFailure) {
  ServiceOptions options;
  options.ready = 1;
  Service service(context().get_executor(), *launcher, hostile({"count_calls", "/dev/null"}),
                  options);
  ASSERT_TRUE(service.warm_up());
  std::vector<Invocation> done;
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        for (const char* event : {"crash", "count"}) {
          // Until the spare is there; each look is a turn of the loop in which it may come.
          while (service.status().idle == 0) co_await asio::post(context(), asio::use_awaitable);
          Input input;
          input.data = event;
          done.push_back(co_await service.invoke(std::move(input)));
        }
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
  EXPECT_THAT(outcomes_of(done), ElementsAre(Outcome::kCrashed, Outcome::kOk));
  EXPECT_EQ(done.at(1).report.timings.start_us, 0) << "none of this call's time";
}

// It waits a moment, for the call may be short; but never for the call.
TEST_F(OfPool, ASpareIsReplacedThoughItsCallGoesOn) {
  ServiceOptions options;
  options.ready = 2;
  options.admission.places = 2;
  Service service(context().get_executor(), *launcher, hostile({"never_read"}), options);
  ASSERT_TRUE(service.warm_up());
  std::vector<Outcome> outcomes;
  const auto call = [&]() -> asio::awaitable<void> {
    Input input;
    outcomes.push_back((co_await service.invoke(std::move(input))).report.outcome);
  };
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        for (const std::size_t calls : {1U, 2U}) {
          asio::co_spawn(context(), call(), asio::detached);
          for (auto now = service.status(); now.busy < calls || now.idle < 2;
               now = service.status())
            co_await asio::post(context(), asio::use_awaitable);
        }
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
  EXPECT_THAT(outcomes, ElementsAre(Outcome::kShuttingDown, Outcome::kShuttingDown));
}

// So that a call that needs a start of its own does not wait for all of them.
TEST_F(OfPool, SparesAreStartedAFewAtATime) {
  ServiceOptions options = lines({.places = 1});
  options.ready = 4;
  Service service(context().get_executor(), *launcher, greedy(), options);
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        std::size_t most = 0;
        service.keep(4, 0);
        for (auto now = service.status(); now.idle < 4; now = service.status()) {
          most = std::max(most, now.starting);
          co_await asio::post(context(), asio::use_awaitable);
        }
        EXPECT_EQ(most, 2U);
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
}

TEST_F(OfPool, NoSpareIsKeptBesideAsManySandboxesAsThereMayBe) {
  ServiceOptions options;
  options.ready = 3;
  options.sandboxes_max = 3;
  options.admission.places = 3;
  Service service(context().get_executor(), *launcher, hostile({"never_read"}), options);
  ASSERT_TRUE(service.warm_up(3));
  const auto call = [&]() -> asio::awaitable<void> {
    Input input;
    (void)co_await service.invoke(std::move(input));
  };
  const auto spares = [&] { return service.status().idle + service.status().starting; };
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        EXPECT_EQ(spares(), 3U);
        for (int i = 0; i < 2; ++i) asio::co_spawn(context(), call(), asio::detached);
        while (service.status().busy < 2) co_await asio::post(context(), asio::use_awaitable);
        service.keep(3, 3);  // What is missing is started at once.
        EXPECT_EQ(spares(), 1U);
        service.keep(3, 0);
        EXPECT_GT(spares(), 1U) << "without a bound: the control";
        service.keep(1, 1);
        EXPECT_EQ(service.status().idle, 0U);
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
}

TEST_F(OfPool, ANewPlanMakesTheNewSandboxesAndNoCallIsLost) {
  Service service(context().get_executor(), *launcher, greedy(), lines());
  const Plan other = [&] {
    strict.identity.hostname = "other";
    return greedy();
  }();
  const auto done = storm(service, 4, 20, [&](int i) {
    if (i == 10) service.use_plan(other);
    return std::string("hello");
  });
  EXPECT_THAT(outcomes_of(done), Each(Outcome::kOk));
  EXPECT_GT(sandboxes_of(done).size(), 1U);
}

TEST_F(OfPool, AHandlerThatCannotBeStartedIsNotTriedInAHotLoop) {
  isolation::Plan broken = plan({test::handlers_dir() + "/actor"}, strict);
  broken.handler.path = "/srv/not-there";  // What exec(2) in the sandbox will say.
  ServiceOptions options = lines({.places = 1});
  options.ready = 2;
  std::vector<PoolEvent::Kind> events;
  options.on_event = [&](const PoolEvent& event) { events.push_back(event.kind); };
  Service service(context().get_executor(), *launcher,
                  std::make_shared<const isolation::Plan>(std::move(broken)), options);
  const auto done = storm(service, 1, 200, hello);
  EXPECT_THAT(outcomes_of(done), Each(Outcome::kSetupFailed));
  for (const Invocation& one : done)
    EXPECT_EQ(one.report.evidence.setup->step, isolation::SetupStep::kExec) << "each is told why";
  EXPECT_TRUE(service.status().degraded);
  EXPECT_GT(service.status().retry_in.count(), 0);
  EXPECT_LT(service.status().failed_starts, 100U) << "of 200 calls";
  EXPECT_THAT(events, ElementsAre(PoolEvent::Kind::kDegraded)) << "told once";
}

// A handler that ends when it has been idle for long is none that cannot start.
TEST_F(OfPool, SparesThatDiedIdleAreReplacedAndNoCallIsRefused) {
  ServiceOptions options = lines({.places = 1});
  options.ready = 6;
  std::vector<PoolEvent::Kind> events;
  options.on_event = [&](const PoolEvent& event) { events.push_back(event.kind); };
  Service service(context().get_executor(), *launcher, greedy(), options);
  ASSERT_TRUE(service.warm_up(6));
  std::vector<isolation::Process> inits;
  isolation::add_children(::getpid(), inits);
  std::size_t killed = 0;
  for (const isolation::Process& init : inits) {
    const auto spare = isolation::handler_below(init.pid);  // Nothing below the janitor.
    if (!spare) continue;
    ASSERT_EQ(::kill(*spare, SIGKILL), 0);
    siginfo_t gone{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(init.pid), &gone, WEXITED | WNOWAIT), 0);
    ++killed;
  }
  EXPECT_EQ(killed, 6U);
  EXPECT_THAT(outcomes_of(storm(service, 1, 3, hello)), Each(Outcome::kOk));
  EXPECT_THAT(events, testing::IsEmpty());
}

TEST_F(OfPool, StopEndsThoseInFlightAndThoseThatWait) {
  Service service(context().get_executor(), *launcher, hostile({"never_read"}),
                  frames({.places = 2, .waiting_max = 8}));
  std::vector<Outcome> outcomes;
  for (int i = 0; i < 5; ++i)
    asio::co_spawn(
        context(),
        [&]() -> asio::awaitable<void> {
          Input input;
          input.data = "event";
          const auto invocation = co_await service.invoke(std::move(input));
          outcomes.push_back(invocation.report.outcome);
          if (outcomes.size() == 5) co_await service.shut_down();
        },
        asio::detached);
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        while (service.status().busy < 2) co_await asio::post(context(), asio::use_awaitable);
        service.stop();
      },
      asio::detached);
  context().run();
  EXPECT_EQ(outcomes.size(), 5U);
  EXPECT_THAT(outcomes, Each(Outcome::kShuttingDown));
}

}  // namespace
}  // namespace fnrun::supervisor
