// The public interface as programs use it: with futures, functions, coroutines, and no loop at all.
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

#include "supervisor/invoker_pool.h"
#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using testing::Each;
using testing::HasSubstr;

class OfApi : public PoolTest {
 protected:
  static Input event(std::string data) {
    Input input;
    input.data = std::move(data);
    return input;
  }
  [[nodiscard]] InvokerPoolOptions pool_options() const {
    InvokerPoolOptions options;
    options.protocol = HandlerProtocol::kLines;
    options.launcher.uid_lock_file = uid_lock_file();
    options.slot_uids = host.slot_uids;
    return options;
  }
  [[nodiscard]] InvokerPool pool_of(const std::string& name, InvokerPoolOptions options) const {
    auto pool = InvokerPool::start(strict, handler(name, {})->handler.argv, std::move(options));
    if (!pool) throw std::runtime_error(pool.error().to_string());
    return std::move(*pool);
  }
};

TEST_F(OfApi, AServiceTakesAnyCompletionToken) {
  Service service(context().get_executor(), *launcher, greedy(), lines({.places = 4}));
  std::optional<Invocation> by_function;
  service.async_invoke(event("hello"), Deadline::max(), "",
                       [&](Invocation done) { by_function = std::move(done); });
  EXPECT_FALSE(by_function) << "never from within the call that starts it";
  auto by_future = service.async_invoke(event("hello"), Deadline::max(), "", asio::use_future);
  std::optional<Invocation> by_coroutine;
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        Input input = event("hello");
        by_coroutine = co_await service.invoke(std::move(input));
        while (!by_function || by_future.wait_for(0s) != std::future_status::ready)
          co_await asio::post(context(), asio::use_awaitable);
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
  ASSERT_TRUE(by_function && by_coroutine);
  EXPECT_EQ(by_function->report.outcome, Outcome::kOk);
  EXPECT_EQ(by_coroutine->report.outcome, Outcome::kOk);
  EXPECT_EQ(by_future.get().report.outcome, Outcome::kOk);
}

TEST_F(OfApi, ACallerTakesBackWhatRunsAndWhatWaits) {
  Service service(context().get_executor(), *launcher, hostile({"never_read"}),
                  frames({.places = 1, .waiting_max = 4}));
  asio::cancellation_signal of_running;
  asio::cancellation_signal of_waiting;
  std::vector<Outcome> outcomes;
  const auto call = [&](asio::cancellation_signal& signal) {
    service.async_invoke(event("x"), Deadline::max(), "",
                         asio::bind_cancellation_slot(signal.slot(), [&](const Invocation& done) {
                           outcomes.push_back(done.report.outcome);
                         }));
  };
  call(of_running);
  call(of_waiting);
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        while (service.status().busy == 0 || service.waiting() == 0)
          co_await asio::post(context(), asio::use_awaitable);
        of_waiting.emit(asio::cancellation_type::total);
        while (outcomes.empty()) co_await asio::post(context(), asio::use_awaitable);
        EXPECT_EQ(service.status().busy, 1U) << "the other goes on";
        of_running.emit(asio::cancellation_type::terminal);
        while (outcomes.size() < 2) co_await asio::post(context(), asio::use_awaitable);
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
  EXPECT_THAT(outcomes, testing::ElementsAre(Outcome::kCancelled, Outcome::kCancelled));
}

TEST_F(OfApi, ACallWithoutADeadlineIsRefusedByTheInvokerItself) {
  auto launched = Invoker::launch(*launcher, greedy(), {});
  ASSERT_TRUE(launched) << launched.error().to_string();
  auto invoker =
      Invoker::serve(context().get_executor(), std::move(*launched), HandlerProtocol::kLines, {});
  ASSERT_TRUE(invoker);
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        const Input input = event("hello");
        const auto refused = co_await (*invoker)->invoke(input, 1, Deadline::max());
        EXPECT_EQ(refused.report.outcome, Outcome::kSetupFailed);
        EXPECT_THAT(refused.report.evidence.setup->subject, HasSubstr("deadline"));
        const Deadline soon = std::chrono::steady_clock::now() + 60s;
        const auto answered = co_await (*invoker)->invoke(input, 2, soon);
        EXPECT_EQ(answered.report.outcome, Outcome::kOk) << "nothing had been written";
        co_await (*invoker)->finish();
        invoker->reset();  // And with it the timer of its deadline.
      },
      asio::detached);
  context().run();
}

TEST_F(OfApi, APoolServesManyThreadsThatRunNoLoop) {
  InvokerPoolOptions options = pool_options();
  options.max_invoker_count = 3;
  InvokerPool pool = pool_of("greedy", options);
  EXPECT_EQ(pool.status().idle, 3U) << "all of them up front";
  std::vector<std::thread> threads;
  std::vector<std::vector<Invocation>> done(4);
  for (auto& mine : done)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) mine.push_back(pool.invoke(event("hello")));
    });
  for (std::thread& thread : threads) thread.join();
  std::set<pid_t> sandboxes;
  for (const auto& mine : done) {
    EXPECT_THAT(outcomes_of(mine), Each(Outcome::kOk));
    sandboxes.merge(sandboxes_of(mine));
  }
  EXPECT_LE(sandboxes.size(), 3U);
}

TEST_F(OfApi, NoFreeInvokerInTimeIsUnavailable) {
  InvokerPoolOptions options = pool_options();
  options.max_wait = 1ms;
  InvokerPool pool = pool_of("keeper", options);
  asio::cancellation_signal signal;
  std::promise<Outcome> ended;
  pool.async_invoke(event("await_signal"), Deadline::max(),
                    asio::bind_cancellation_slot(signal.slot(), [&](const Invocation& done) {
                      ended.set_value(done.report.outcome);
                    }));
  EXPECT_EQ(pool.invoke(event("pid")).report.outcome, Outcome::kUnavailable);
  signal.emit(asio::cancellation_type::terminal);
  EXPECT_EQ(ended.get_future().get(), Outcome::kCancelled);
}

TEST_F(OfApi, MaxRunnableTimeAndTheCallersDeadlineCountWhicheverIsSooner) {
  InvokerPoolOptions options = pool_options();
  options.max_runnable_time = 50ms;
  InvokerPool pool = pool_of("keeper", options);
  EXPECT_EQ(pool.invoke(event("await_signal")).report.outcome, Outcome::kTimedOut);
  const Deadline over = std::chrono::steady_clock::now();
  EXPECT_EQ(pool.invoke(event("pid"), over).report.outcome, Outcome::kTimedOut);
}

TEST_F(OfApi, AResizedPoolKeepsAsManySandboxes) {
  InvokerPoolOptions options = pool_options();
  options.max_invoker_count = 3;
  InvokerPool pool = pool_of("greedy", options);
  EXPECT_EQ(pool.status().idle, 3U);
  pool.resize(1);
  EXPECT_EQ(pool.status().idle, 1U);
}

TEST_F(OfApi, ANewPolicyHoldsForLaterCallsAndABrokenOneChangesNothing) {
  InvokerPool pool = pool_of("keeper", pool_options());
  EXPECT_EQ(pool.invoke(event("gibberish")).report.outcome, Outcome::kOk);
  policies::Policy broken = strict;
  broken.working_directory = "/not/there";
  EXPECT_FALSE(pool.use_policy(broken));
  EXPECT_EQ(pool.invoke(event("gibberish")).report.outcome, Outcome::kOk);
  policies::Policy terse = strict;
  terse.limits.response_max = {4};
  ASSERT_TRUE(pool.use_policy(terse));
  EXPECT_EQ(pool.invoke(event("gibberish")).report.outcome, Outcome::kOutputTooLarge);
}

TEST_F(OfApi, AHandlerThatCannotStartIsToldBeforeAnyCall) {
  policies::Policy policy = strict;
  policy.working_directory = "/not/there";
  const auto pool = InvokerPool::start(policy, {"/bin/true"}, pool_options());
  ASSERT_FALSE(pool);
  EXPECT_THAT(pool.error().to_string(), HasSubstr("/not/there"));
}

TEST_F(OfApi, APoolThatGoesEndsItsCalls) {
  std::promise<Outcome> ended;
  {
    InvokerPool pool = pool_of("keeper", pool_options());
    pool.async_invoke(event("await_signal"), Deadline::max(),
                      [&](const Invocation& done) { ended.set_value(done.report.outcome); });
    while (pool.status().busy == 0) std::this_thread::yield();
  }
  EXPECT_EQ(ended.get_future().get(), Outcome::kShuttingDown);
}

}  // namespace
}  // namespace fnrun::supervisor
