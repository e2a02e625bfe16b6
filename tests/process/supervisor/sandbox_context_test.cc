// A sandbox's life over real sandboxes: each operation, each kind of token, and what is left
// behind.
#include <poll.h>
#include <sys/syscall.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <thread>

#include "sandbox_life.h"
#include "tests/support/thread_filter.h"

namespace fnrun::supervisor {
namespace {

using testing::ElementsAreArray;
using Kind = LifecycleFailure::Kind;

TEST_F(SandboxLife, ServesInvocationsOneAfterAnotherInOneProcess) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto first = co_await call(init, "a");
    const auto second = co_await call(init, "b");
    EXPECT_EQ(answer_of(first), "1");
    EXPECT_EQ(answer_of(second), "2");
    const auto status = co_await status_of(box);
    EXPECT_EQ(status.generation, 1U);
    EXPECT_EQ(status.state, lifecycle::State::kIdle);
    EXPECT_FALSE(status.reserved);
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents + kServedEvents));
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("requestId":"id-a","status":"success")"));
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("producedBytes":1)"));
}

TEST_F(SandboxLife, InitOfAHandlerThatIsNotThereFailsAndIsToldOnce) {
  auto& box = sandbox(vanished());
  run([&]() -> asio::awaitable<void> {
    auto init = co_await box.init({}, asio::use_awaitable);
    const auto told = co_await init->wait(asio::use_awaitable);
    EXPECT_EQ(told.error().kind, Kind::kInitFailed);
    EXPECT_EQ(told.error().error_type, "Runtime.InvalidEntrypoint");
    EXPECT_FALSE(told.error().reset_received);
    const auto again = co_await init->wait(asio::use_awaitable);
    EXPECT_TRUE(again && again->told_before);
    // One more try, inside the invocation, and then the caller must reset.
    const auto called = co_await call(*init, "a");
    EXPECT_EQ(called.error().kind, Kind::kInvokeFailed);
    EXPECT_EQ(called.error().error_type, "Runtime.InvalidEntrypoint");
    EXPECT_TRUE(called.error().request_reset);
    EXPECT_THAT(called.error().body,
                testing::StartsWith(R"({"errorType":"Runtime.InvalidEntrypoint","errorMessage":)"
                                    R"("RequestId: id-a Error: )"));
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kInitEvents + Strings{"invoke.start"}));
}

TEST_F(SandboxLife, SuppressedInitIsWithinTheInvocation) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    InitRequest later;
    later.suppress = true;
    const InitContext init = co_await up(box, later);
    EXPECT_TRUE(events.empty());
    const auto called = co_await call(init, "a");
    EXPECT_EQ(answer_of(called), "1");
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents));
  EXPECT_THAT(lines.front(), testing::HasSubstr(R"("phase":"invoke")"));
}

TEST_F(SandboxLife, CrashAsksForAResetAndTheNextProcessIsNew) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto first = co_await call(init, "a");
    EXPECT_EQ(answer_of(first), "1");
    const auto crashed = co_await call(init, "crash");
    EXPECT_EQ(crashed.error().error_type, "Runtime.ExitError");
    EXPECT_THAT(crashed.error().message,
                testing::StartsWith("Runtime exited with error: signal: aborted"));
    EXPECT_TRUE(crashed.error().request_reset);
    EXPECT_EQ(crashed.error().report->outcome, Outcome::kCrashed);
    const auto refused = co_await call(init, "b");
    EXPECT_EQ(refused.error().refused, Refusal::kAlreadyReserved);
    const auto reset = co_await box.reset(ResetReason::kFailure, asio::use_awaitable);
    EXPECT_EQ(reset->error_type, "Runtime.ExitError");
    EXPECT_EQ(reset->left_behind, 0U);
    const auto next = co_await call(init, "c");
    EXPECT_EQ(answer_of(next), "1");
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents + kServedEvents + kInitEvents +
                                       kServedEvents));
  EXPECT_THAT(lines.at(8),
              testing::HasSubstr(R"("status":"error","errorType":"Runtime.ExitError")"));
}

TEST_F(SandboxLife, TimeoutThenResetThenANewProcess) {
  auto& box = sandbox(hostile({"never_read"}));
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const pid_t before = (co_await status_of(box)).pid;
    const auto late = co_await call(init, "a", soon());
    EXPECT_EQ(late.error().error_type, "Sandbox.Timedout");
    const auto reset = co_await box.reset(ResetReason::kTimeout, asio::use_awaitable);
    EXPECT_EQ(reset->generation, 2U);
    const pid_t between = (co_await status_of(box)).pid;
    EXPECT_GT(before, 0);
    EXPECT_EQ(between, 0);
  });
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("status":"timeout","errorType":null)"));
}

// The counter starts at 1 again: what a call left in memory is gone.
TEST_F(SandboxLife, AfterATimeoutTheNextInvocationStartsAtOne) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    for (const std::string expected : {"1", "2"}) {
      const auto served = co_await call(init, "a");
      EXPECT_EQ(answer_of(served), expected);
    }
    // Its time is over before it begins: that ends as any other deadline.
    const auto late = co_await call(init, "b", steady_clock::now() - 1ms);
    EXPECT_EQ(late.error().error_type, "Sandbox.Timedout");
    const auto reset = co_await box.reset(ResetReason::kTimeout, asio::use_awaitable);
    EXPECT_TRUE(reset);
    const auto next = co_await call(init, "c");
    EXPECT_EQ(answer_of(next), "1");
    EXPECT_EQ((co_await status_of(box)).generation, 3U);
  });
}

TEST_F(SandboxLife, ResetInterruptsARunningInvocation) {
  auto& box = sandbox(hostile({"never_read"}));
  bool reset = false;
  // From inside, when the handler is known to run and will never answer.
  on_line = [&](std::string_view line) {
    if (line != "not reading") return;
    box.reset(ResetReason::kTimeout,
              [&](const LifecycleResult<ResetResult>& done) { reset = done.has_value(); });
  };
  run([&]() -> asio::awaitable<void> {
    InitRequest later;
    later.suppress = true;
    const InitContext init = co_await up(box, later);
    const auto interrupted = co_await call(init, "a");
    EXPECT_EQ(interrupted.error().kind, Kind::kInvokeFailed);
    EXPECT_TRUE(interrupted.error().reset_received);
    EXPECT_FALSE(interrupted.error().request_reset);
    const auto after = co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    EXPECT_TRUE(after);
  });
  EXPECT_TRUE(reset);
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents));
}

// Each start is held at a system call, for as long as the test wants.
class SandboxLifeHeldAtItsStart : public SandboxLife {
 protected:
  void SetUp() override {
    SandboxLife::SetUp();
    if (IsSkipped()) return;
    std::thread([&] {  // What the launching thread inherits, ours does not.
      held = test::hold_calls({SYS_pivot_root});
      threads.emplace(1);
    })
        .join();
  }
  void TearDown() override {
    end();
    threads.reset();
    held.reset();  // Nobody is held any more.
    SandboxLife::TearDown();
  }
  std::unique_ptr<SandboxContext> sandbox_of_ours() {
    return std::make_unique<SandboxContext>(
        context().get_executor(), starter(counter(), context().get_executor()), watched());
  }
  // With a start under way.
  std::unique_ptr<SandboxContext> starting() {
    auto box = sandbox_of_ours();
    run([&]() -> asio::awaitable<void> { co_await box->init({}, asio::use_awaitable); });
    EXPECT_TRUE(test::wait_readable(held.get()));
    return box;
  }

  isolation::UniqueFd held;
};

TEST_F(SandboxLifeHeldAtItsStart, DestroyedItWaitsForNothingAndItsLoopEndsWhatStarted) {
  auto box = starting();
  box.reset();  // To wait here would be to wait for the test.
  EXPECT_GT(test::held_process(held.get(), /*let_go=*/true), 0);
  end();  // The fixture counts.
}

TEST_F(SandboxLifeHeldAtItsStart, DestroyedWithItsLoopItLeavesTheEndToTheThread) {
  auto box = starting();
  box.reset();
  drop_loop();
  EXPECT_GT(test::held_process(held.get(), /*let_go=*/true), 0);
  threads.reset();
}

TEST_F(SandboxLifeHeldAtItsStart, WhoseTurnComesTooLateIsNotStarted) {
  auto first = starting();
  auto gone = sandbox_of_ours();
  auto late = sandbox_of_ours();
  run([&]() -> asio::awaitable<void> {
    co_await gone->init({}, asio::use_awaitable);
    InitRequest with_the_call;
    with_the_call.suppress = true;
    const InitContext init = co_await up(*late, with_the_call);
    const auto failed = co_await call(init, "a", soon());  // It is still held by then.
    EXPECT_FALSE(failed);
  });
  gone.reset();
  int starts = 0;
  // Until nobody is left who could be held: before Linux 6.11 only poll(2) tells.
  const auto somebody = [&] {
    pollfd one{held.get(), POLLIN, 0};
    return ::poll(&one, 1, test::kBoundMs) == 1 && (one.revents & POLLIN) != 0;
  };
  std::thread lets_go([&] {
    while (somebody() && test::held_process(held.get(), /*let_go=*/true) > 0) ++starts;
  });
  run([&]() -> asio::awaitable<void> {
    co_await first->reset(ResetReason::kOther, asio::use_awaitable);
    co_await late->reset(ResetReason::kOther, asio::use_awaitable);
  });
  first.reset();
  late.reset();
  end();
  threads.reset();
  lets_go.join();
  EXPECT_EQ(starts, 1);
}

TEST_F(SandboxLifeHeldAtItsStart, ResetInterruptsTheInitAndWaitsForTheProcess) {
  const auto box = sandbox_of_ours();
  bool told = false;
  bool waited = false;
  bool reset = false;
  run([&]() -> asio::awaitable<void> {
    auto init = co_await box->init({}, asio::use_awaitable);
    box->reset(ResetReason::kOther,
               [&](const LifecycleResult<ResetResult>& done) { reset = done.has_value(); });
    const auto result = co_await init->wait(asio::use_awaitable);
    told = !result && result.error().reset_received;
    waited = !reset;
    EXPECT_GT(test::held_process(held.get(), /*let_go=*/true), 0);
    const auto after = co_await box->reset(ResetReason::kOther, asio::use_awaitable);
    EXPECT_TRUE(after);
  });
  EXPECT_TRUE(told);    // Cancelled first,
  EXPECT_TRUE(waited);  // and then waited.
  EXPECT_TRUE(reset);
  EXPECT_THAT(events, ElementsAreArray(kInitEvents));
}

TEST_F(SandboxLife, ThreadsAreAsManyForManySandboxesAsForOne) {
  const auto count = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  };
  auto& one = sandbox(counter());
  std::vector<std::unique_ptr<SandboxContext>> more;
  run([&]() -> asio::awaitable<void> {
    const InitContext first = co_await up(one);
    const auto threads_of_one = count();
    for (int i = 0; i < 50; ++i) {
      more.push_back(std::make_unique<SandboxContext>(
          context().get_executor(), starter(counter(), context().get_executor()), watched()));
      if (i >= 4) continue;  // A few that live: there are kTestUids.
      const InitContext init = co_await up(*more.back());
      const auto served = co_await call(init, "a");
      EXPECT_EQ(answer_of(served), "1");
    }
    EXPECT_EQ(count(), threads_of_one);
  });
}

TEST_F(SandboxLife, ShutdownOfARunningInvocationEndsByItsDeadline) {
  auto& box = sandbox(hostile({"never_read"}));
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto invocation = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request("a");
    co_await invocation->send_request(std::move(asked), asio::use_awaitable);
    const auto down = co_await box.shutdown(soon(), asio::use_awaitable);
    EXPECT_TRUE(down->cut_short);
    EXPECT_EQ(down->left_behind, 0U);
    const auto cut = co_await invocation->wait(asio::use_awaitable);
    EXPECT_EQ(cut.error().error_type, "Sandbox.Failure");
    // Terminal.
    const auto later = co_await init.reserve(asio::use_awaitable);
    EXPECT_EQ(later.error().refused, Refusal::kShutDown);
    const auto reset = co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    EXPECT_EQ(reset.error().refused, Refusal::kShutDown);
    const auto again = co_await box.shutdown(Deadline::max(), asio::use_awaitable);
    EXPECT_TRUE(again);
  });
}

TEST_F(SandboxLife, ShutdownLetsAnInvocationFinish) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto invocation = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request("a");
    co_await invocation->send_request(std::move(asked), asio::use_awaitable);
    const auto down = co_await box.shutdown(Deadline::max(), asio::use_awaitable);
    EXPECT_FALSE(down->cut_short);
    const auto finished = co_await invocation->wait(asio::use_awaitable);
    EXPECT_EQ(answer_of(finished), "1");
  });
}

TEST_F(SandboxLife, ReservationIsGivenBackUnused) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto unused = co_await init.reserve(asio::use_awaitable);
    EXPECT_EQ(unused->invoke_id().size(), 36U);
    EXPECT_NE(unused->invoke_id(), unused->reservation_token());
    const auto second = co_await init.reserve(asio::use_awaitable);
    EXPECT_EQ(second.error().refused, Refusal::kAlreadyReserved);
    EXPECT_TRUE(co_await unused->release(asio::use_awaitable));
    const auto gone = co_await unused->wait(asio::use_awaitable);
    EXPECT_EQ(gone.error().kind, Kind::kReservationDone);
    InvokeRequest asked = request("late");
    const auto late = co_await unused->send_request(std::move(asked), asio::use_awaitable);
    EXPECT_EQ(late.error().kind, Kind::kReservationDone);
    const auto next = co_await call(init, "a");
    EXPECT_EQ(answer_of(next), "1");
  });
}

TEST_F(SandboxLife, ReleaseInFlightNeverGivesItsAnswerToTheNext) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto left = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request("allowed");  // By nobody: it is in flight until it is killed.
    co_await left->send_request(std::move(asked), asio::use_awaitable);
    EXPECT_TRUE(co_await left->release(asio::use_awaitable));
    const auto next = co_await call(init, "b");
    EXPECT_EQ(answer_of(next), "1");
    EXPECT_EQ((co_await status_of(box)).generation, 3U);
  });
}

TEST_F(SandboxLife, WaitThatIsCancelledTakesNothingAway) {
  using namespace asio::experimental::awaitable_operators;
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    auto init = co_await box.init({}, asio::use_awaitable);
    asio::steady_timer at_once(context(), steady_clock::time_point::min());
    auto wait = init->wait(asio::use_awaitable);
    auto tick = at_once.async_wait(asio::use_awaitable);
    const auto first = co_await (std::move(wait) || std::move(tick));
    EXPECT_EQ(first.index(), 1U);
    const auto told = co_await init->wait(asio::use_awaitable);
    EXPECT_TRUE(told && !told->told_before);
  });
}

TEST_F(SandboxLife, RestoreHasNoHookHere) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto restored = co_await box.restore({}, asio::use_awaitable);
    EXPECT_EQ(restored->duration, 0ms);
    const auto served = co_await call(init, "a");
    EXPECT_EQ(answer_of(served), "1");
  });
  EXPECT_THAT(events,
              ElementsAreArray(kInitEvents + Strings{"restore.runtimeDone"} + kServedEvents));
}

TEST_F(SandboxLife, RequestOverTheLimitHarmsNobody) {
  strict.limits.request_max.bytes = 1'024;
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto invocation = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request(std::string(1'025, 'x'));
    co_await invocation->send_request(std::move(asked), asio::use_awaitable);
    const auto refused = co_await invocation->wait(asio::use_awaitable);
    EXPECT_EQ(refused.error().report->outcome, Outcome::kRequestTooLarge);
    EXPECT_FALSE(refused.error().request_reset);
    EXPECT_TRUE(co_await invocation->release(asio::use_awaitable));
    const auto next = co_await call(init, "a");
    EXPECT_EQ(answer_of(next), "1");
    EXPECT_EQ((co_await status_of(box)).generation, 1U);
  });
}

TEST_F(SandboxLife, AnsweringTwiceIsNotSuccess) {
  auto& box = sandbox(hostile({"reply_twice"}));
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto stolen = co_await call(init, "a");
    EXPECT_EQ(stolen.error().error_type, "Runtime.Unknown");
    EXPECT_TRUE(stolen.error().request_reset);
  });
}

TEST_F(SandboxLife, ClearForgetsOnlyWhatDoesNotLive) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto lives = co_await box.clear(asio::use_awaitable);
    EXPECT_EQ(lives.error().refused, Refusal::kResetRequired);
    co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    auto held = co_await init.reserve(asio::use_awaitable);
    EXPECT_TRUE(co_await box.clear(asio::use_awaitable));
    const auto gone = co_await held->wait(asio::use_awaitable);
    EXPECT_EQ(gone.error().kind, Kind::kReservationDone);
  });
}

TEST_F(SandboxLife, WhatAFrontEndMeasuredIsWhatIsReported) {
  auto& box = sandbox(hostile({"never_read"}));
  on_line = [&](std::string_view line) {
    if (line != "not reading") return;
    ResponseMetrics metrics;
    metrics.produced_bytes = 7'777;
    box.set_invoke_response_metrics(metrics);
    box.reset(ResetReason::kTimeout, [](const LifecycleResult<ResetResult>&) {});
  };
  run([&]() -> asio::awaitable<void> {
    InitRequest later;
    later.suppress = true;
    const InitContext init = co_await up(box, later);
    const auto interrupted = co_await call(init, "a");
    EXPECT_FALSE(interrupted);
  });
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("producedBytes":7777)"));
}

TEST_F(SandboxLife, ObserverMayCallBackFromTheMiddle) {
  auto& box = sandbox(hostile({"never_read"}));  // No answer can overtake the reset.
  on_event = [&](const Event& one) {
    if (std::holds_alternative<event::InvokeStart>(one))
      box.reset(ResetReason::kTimeout, [](const LifecycleResult<ResetResult>&) {});
  };
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto interrupted = co_await call(init, "a");
    EXPECT_TRUE(!interrupted && interrupted.error().reset_received);
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents));
}

TEST_F(SandboxLife, WithCallbacks) {
  auto& box = sandbox(counter());
  std::string answer;
  InvokeContext invocation;
  box.init({}, [&](const LifecycleResult<InitContext>& init) {
    init->wait([&, init = *init](const LifecycleResult<InitSuccess>& told) {
      ASSERT_TRUE(told);
      init.reserve([&](const LifecycleResult<InvokeContext>& reserved) {
        invocation = *reserved;
        invocation.send_request(request("a"), [&](const LifecycleResult<void>& sent) {
          ASSERT_TRUE(sent);
          invocation.wait([&](const LifecycleResult<InvokeSuccess>& done) {
            answer = answer_of(done);
            context().stop();
          });
        });
      });
    });
  });
  context().run();
  EXPECT_EQ(answer, "1");
}

TEST_F(SandboxLife, WithFuturesFromAnotherThread) {
  auto& box = sandbox(counter());
  auto work = asio::make_work_guard(context());
  std::thread loop([&] { context().run(); });
  const auto init = box.init({}, asio::use_future).get();
  EXPECT_TRUE(init->wait(asio::use_future).get());
  const auto invocation = init->reserve(asio::use_future).get();
  EXPECT_TRUE(invocation->send_request(request("a"), asio::use_future).get());
  const auto done = invocation->wait(asio::use_future).get();
  EXPECT_EQ(answer_of(done), "1");
  const auto twice = invocation->wait(asio::use_future).get();
  EXPECT_EQ(twice.error().kind, Kind::kAlreadyRead);
  EXPECT_TRUE(box.shutdown(Deadline::max(), asio::use_future).get());
  work.reset();
  loop.join();
}

TEST_F(SandboxLife, PolicyWithoutReuseGivesEachInvocationAProcess) {
  strict.reuse.mode = policies::Reuse::Mode::kNever;
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    for (int i = 0; i < 3; ++i) {
      const auto served = co_await call(init, "a");
      EXPECT_EQ(answer_of(served), "1");
    }
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents + kInitEvents + kServedEvents +
                                       kInitEvents + kServedEvents));
}

TEST_F(SandboxLife, FiftyResetsLeaveNoProcessAndNoDescriptor) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    const test::Ledger before = test::take_ledger(host.cgroup.dir);
    for (int i = 0; i < 50; ++i) {
      const auto ended = co_await call(init, i % 2 == 0 ? "crash" : "a");
      EXPECT_EQ(ended.has_value(), i % 2 != 0);
      co_await box.reset(ResetReason::kFailure, asio::use_awaitable);
    }
    EXPECT_EQ(test::take_ledger(host.cgroup.dir), before);
  });
}

}  // namespace
}  // namespace fnrun::supervisor
