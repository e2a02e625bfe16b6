// A host that gives out nothing more, a thousand callers at once, a handler that only crashes: each
// caller is told, and all is well again once the cause is gone.
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>

#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using testing::AnyOf;
using testing::Each;

// So few descriptors that no sandbox can be started.
class FewDescriptors {
 public:
  FewDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit few = before_;
    const auto open = std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    few.rlim_cur = static_cast<rlim_t>(open) + 2;
    ::setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

class FaultyHost : public PoolTest {
 protected:
  static asio::awaitable<void> call(Service& service, std::vector<Invocation>& done) {
    Input input;
    input.data = "hello";
    done.push_back(co_await service.invoke(std::move(input)));
  }
  // The loop may have run dry before.
  void turn() {
    context().restart();
    context().run_one();
  }
  // So many at once, to the end of all.
  std::vector<Invocation> at_once(Service& service, std::size_t count) {
    std::vector<Invocation> done;
    for (std::size_t i = 0; i < count; ++i)
      asio::co_spawn(context(), call(service, done), asio::detached);
    while (done.size() < count) turn();
    return done;
  }
  void shut_down(Service& service) {
    asio::co_spawn(context(), service.shut_down(), asio::detached);
    context().restart();
    context().run();
  }
};

TEST_F(FaultyHost, PlacesSurviveFailingStarts) {
  Service service(context().get_executor(), *launcher, greedy(), lines());
  // What the loop opens once is opened now.
  EXPECT_THAT(outcomes_of(at_once(service, 1)), Each(Outcome::kOk));
  service.use_plan(greedy());  // The idle one goes, the next call needs another.
  while (service.status().dying > 0) turn();
  {
    const FewDescriptors few;
    for (const Invocation& one : at_once(service, 3)) {
      EXPECT_EQ(one.report.outcome, Outcome::kSetupFailed) << to_json(one.report);
      EXPECT_EQ(one.report.evidence.setup.value().os_errno, EMFILE) << to_json(one.report);
    }
  }
  EXPECT_THAT(outcomes_of(at_once(service, 8)), Each(Outcome::kOk)) << "all of the four places";
  EXPECT_EQ(service.status().failed_starts, 3U);
  EXPECT_FALSE(service.status().degraded);
  shut_down(service);
}

TEST_F(FaultyHost, DegradedItRecoversWithoutARestart) {
  std::vector<PoolEvent::Kind> events;
  ServiceOptions options = lines();
  options.on_event = [&](const PoolEvent& event) { events.push_back(event.kind); };
  Service service(context().get_executor(), *launcher, greedy(), options);
  {
    const FewDescriptors few;
    EXPECT_THAT(outcomes_of(at_once(service, 5)), Each(Outcome::kSetupFailed));
    EXPECT_TRUE(service.status().degraded);
  }
  asio::steady_timer pause(context());
  while (service.status().degraded) {
    pause.expires_after(std::max(service.status().retry_in, 1ms));
    bool over = false;
    pause.async_wait([&](const auto&) { over = true; });
    while (!over) turn();
    (void)at_once(service, 1);
  }
  EXPECT_THAT(outcomes_of(at_once(service, 8)), Each(Outcome::kOk));
  EXPECT_THAT(events,
              testing::ElementsAre(PoolEvent::Kind::kDegraded, PoolEvent::Kind::kRecovered));
  shut_down(service);
}

TEST_F(FaultyHost, AThousandCallersOfHungPlacesAreRefusedAtOnceOrEndWithTheirTime) {
  strict.limits.invoke_timeout = test::emulated() ? 60s : 3s;
  const AdmissionLimits limits{.places = 2, .waiting_max = 16};
  Service service(context().get_executor(), *launcher, hostile({"never_read"}), frames(limits));
  const std::vector<Invocation> done = at_once(service, 1'000);
  const auto had_to_wait = std::ranges::find_if(
      done, [](const Invocation& one) { return one.report.outcome != Outcome::kUnavailable; });
  EXPECT_GE(had_to_wait - done.begin(), 1'000 - 2 - 16) << "before anybody's time was over";
  for (const Invocation& one : done)
    EXPECT_THAT(one.report.outcome,
                AnyOf(Outcome::kUnavailable, Outcome::kTimedOut, Outcome::kInitTimedOut));
  EXPECT_EQ(service.waiting(), 0U);
  strict.limits.invoke_timeout = 10min;
  service.use_plan(hostile({"count_calls", "/dev/null"}));
  EXPECT_THAT(outcomes_of(at_once(service, 2)), Each(Outcome::kOk)) << "once the handler answers";
  shut_down(service);
}

TEST_F(FaultyHost, AHandlerThatEndsAtOnceIsStartedNoMoreThanItIsAskedFor) {
  ServiceOptions options = lines({.places = 2, .waiting_max = 64});
  options.ready = 2;
  options.on_event = [](const PoolEvent&) {};
  Service service(context().get_executor(), *launcher, hostile({"leave_unread", "1"}), options);
  constexpr int kCalls = 100;
  const auto done = storm(service, 2, kCalls / 2, hello);
  EXPECT_THAT(outcomes_of(done), Each(AnyOf(Outcome::kCrashed, Outcome::kSetupFailed)));
  EXPECT_LE(service.status().started, 2U * kCalls + 2) << "a call uses up one, a spare replaces it";
}

}  // namespace
}  // namespace fnrun::supervisor
