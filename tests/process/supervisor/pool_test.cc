// Many calls at a time, many sandboxes: what is reused, what is replaced, what waits, what is told.
#include <gmock/gmock.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <set>

#include "supervisor/service.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using testing::Each;
using testing::ElementsAre;
using Plan = std::shared_ptr<const isolation::Plan>;

class OfPool : public test::SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    strict.limits.invoke_timeout = 60s;
    strict.limits.start_timeout = 60s;
    own_context_.emplace(1);
  }
  void TearDown() override {
    own_context_.reset();  // Its descriptors are none of the launcher's.
    SandboxTest::TearDown();
  }
  Plan greedy() const { return handler("greedy", {}); }
  Plan hostile(std::vector<std::string> verb) const { return handler("hostile", std::move(verb)); }

  static ServiceOptions frames(AdmissionLimits admission) {
    ServiceOptions options;
    options.admission = admission;
    return options;
  }
  static ServiceOptions lines(AdmissionLimits admission = {.places = 4, .waiting_max = 64}) {
    ServiceOptions options;
    options.protocol = HandlerProtocol::kLines;
    options.admission = admission;
    return options;
  }

  // `clients` of them at a time, each making `calls` calls one after another, then a shut-down.
  // The event of a call is what `event` says of its number.
  template <class Event>
  std::vector<Invocation> storm(Service& service, int clients, int calls, Event event) {
    std::vector<Invocation> done;
    int left = clients;
    for (int client = 0; client < clients; ++client)
      asio::co_spawn(
          context(),
          [&, client]() -> asio::awaitable<void> {
            for (int i = 0; i < calls; ++i) {
              Input input;
              input.data = event(client * calls + i);
              done.push_back(co_await service.invoke(std::move(input)));
            }
            if (--left == 0) co_await service.shut_down();
          },
          [](const std::exception_ptr& failure) {
            if (failure) std::rethrow_exception(failure);
          });
    context().run();
    return done;
  }
  static std::string hello(int) { return "hello"; }
  static std::set<pid_t> sandboxes_of(const std::vector<Invocation>& done) {
    std::set<pid_t> pids;
    for (const Invocation& one : done) pids.insert(one.report.sandbox.pid);
    return pids;
  }
  static std::vector<Outcome> outcomes_of(const std::vector<Invocation>& done) {
    std::vector<Outcome> outcomes;
    for (const Invocation& one : done) outcomes.push_back(one.report.outcome);
    return outcomes;
  }

  asio::io_context& context() { return *own_context_; }

 private:
  std::optional<asio::io_context> own_context_;

  Plan handler(const std::string& name, std::vector<std::string> verb) const {
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    std::vector<std::string> argv{
        (told != nullptr ? std::string(told) + "/handlers/" : FNRUN_HANDLERS "/") + name};
    argv.insert(argv.end(), verb.begin(), verb.end());
    return std::make_shared<const isolation::Plan>(plan(argv, strict));
  }
};

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
  ServiceOptions options = lines({.places = 2, .waiting_max = 64});
  options.reuse.calls_max = 1;
  options.ready = 2;
  Service service(context().get_executor(), *launcher, greedy(), options);
  ASSERT_TRUE(service.warm_up());
  const auto done = storm(service, 2, 10, hello);
  EXPECT_THAT(outcomes_of(done), Each(Outcome::kOk));
  EXPECT_EQ(sandboxes_of(done).size(), 20U);
}

TEST_F(OfPool, ASandboxEndsAfterItsNumberOfCalls) {
  ServiceOptions options = lines({.places = 1});
  options.reuse.calls_max = 3;
  Service service(context().get_executor(), *launcher, greedy(), options);
  std::vector<std::uint64_t> served;
  for (const Invocation& one : storm(service, 1, 7, hello))
    served.push_back(one.report.sandbox.calls_served);
  EXPECT_THAT(served, ElementsAre(1, 2, 3, 1, 2, 3, 1));
}

TEST_F(OfPool, AnOldSandboxIsNotUsedAgain) {
  ServiceOptions options = lines({.places = 1});
  options.reuse.age_max = 1ms;  // Any call outlasts that.
  Service service(context().get_executor(), *launcher, greedy(), options);
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
  Service service(context().get_executor(), *launcher,
                  std::make_shared<const isolation::Plan>(std::move(broken)), options);
  const auto done = storm(service, 1, 200, hello);
  EXPECT_THAT(outcomes_of(done), Each(Outcome::kSetupFailed));
  for (const Invocation& one : done)
    EXPECT_EQ(one.report.evidence.setup->step, isolation::SetupStep::kExec) << "each is told why";
  EXPECT_TRUE(service.status().degraded);
  EXPECT_GT(service.status().retry_in.count(), 0);
  EXPECT_LT(service.status().failed_starts, 100U) << "of 200 calls";
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
