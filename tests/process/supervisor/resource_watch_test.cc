// How a sandbox is looked at where no controller counts: never on the executor, whose other work
// goes on meanwhile; one look at a time; and nobody hears of a look who does not ask any more.
//
// Each look is held until the test lets it go. On the executor's own thread it would have to wait
// for itself: such a look gives up after a generous bound, and the test fails.
#include "supervisor/resource_watch.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "tests/support/sandbox_fixture.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using isolation::ProcessSample;
using testing::ElementsAre;
using testing::Not;

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr auto kBound = std::chrono::milliseconds(test::kBoundMs);

// A sampler that says what it is told to, when it is told to.
class HeldLooks {
 public:
  using Say = std::function<ProcessSample(int number)>;  // The first is 1.
  HeldLooks(asio::io_context& context, Say say) : context_(context), say_(std::move(say)) {}

  // `begun` runs on the executor for each look.
  ResourceWatch::Sampler sampler(std::function<void(int number)> begun) {
    return [this, begun = std::move(begun)](
               pid_t, std::uint64_t,
               const std::atomic<bool>* given_up) -> std::optional<ProcessSample> {
      std::unique_lock lock(mutex_);
      const int number = ++begun_;
      overlapped = overlapped || inside_;
      inside_ = true;
      threads.insert(std::this_thread::get_id());
      thread_of.push_back(std::this_thread::get_id());
      asio::post(context_, [begun, number] { begun(number); });
      if (!changed_.wait_for(lock, kBound, [&] { return allowed_ >= number; })) ++waited_in_vain;
      was_given_up = *given_up;
      inside_ = false;
      return say_(number);
    };
  }
  void let_go(int number) {
    const std::lock_guard lock(mutex_);
    allowed_ = std::max(allowed_, number);
    changed_.notify_all();
  }

  // To be read when no look is under way.
  bool overlapped = false;
  bool was_given_up = false;
  int waited_in_vain = 0;
  std::set<std::thread::id> threads;
  std::vector<std::thread::id> thread_of;  // Each look.

 private:
  asio::io_context& context_;
  Say say_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool inside_ = false;
  int begun_ = 0;
  int allowed_ = 0;
};

class Watching : public test::SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    strict.limits.memory_max = policies::mebibytes(64);
    strict.limits.cpu_time_max = 0ms;
    context.emplace(1);
    work.emplace(context->get_executor());  // A look is none of the loop's.
  }
  void TearDown() override {
    running.reset();
    of.reset();
    work.reset();
    context.reset();
    SandboxTest::TearDown();
  }

  // A handler that waits, without a cgroup to count anything.
  void start() {
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    of.emplace(
        plan({told != nullptr ? std::string(told) + "/handlers/greedy" : FNRUN_HANDLERS "/greedy"},
             strict));
    of->use_cgroup = false;
    of->sample_memory = of->sample_processes = true;
    running.emplace(launch(*of));
  }
  std::shared_ptr<ResourceWatch> watch(ResourceWatch::Sampler sampler) {
    return std::make_shared<ResourceWatch>(
        context->get_executor(), running->sandbox, *of,
        [this](Cause cause) {
          causes.push_back(cause);
          context->stop();
        },
        std::move(sampler));
  }
  static ProcessSample holding(std::uint64_t bytes) {
    ProcessSample sample;
    sample.resident_bytes = bytes;
    return sample;
  }
  static ProcessSample having_used(std::chrono::microseconds cpu) {
    ProcessSample sample;
    sample.cpu = cpu;
    return sample;
  }
  static ResourceWatch::TimePoint in_an_hour() { return std::chrono::steady_clock::now() + 1h; }

  std::optional<asio::io_context> context;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
  std::optional<isolation::Plan> of;
  std::optional<test::Running> running;
  std::vector<Cause> causes;
};

TEST_F(Watching, TheExecutorWorksOnWhileEachLookTakesItsTimeOneAtATime) {
  start();
  constexpr int kLooks = 20;
  HeldLooks looks(*context,
                  [](int number) { return holding(number < kLooks ? 63 * kMiB : 1UL << 40); });
  // Only the executor lets a look go on.
  const auto watching = watch(looks.sampler([&](int number) { looks.let_go(number); }));
  watching->start();
  watching->begin_call(std::nullopt, in_an_hour());
  context->run();
  EXPECT_THAT(causes, ElementsAre(Cause::kOverMemory)) << "what the last one saw was heard";
  EXPECT_EQ(watching->resident_peak(), 1UL << 40);
  EXPECT_EQ(looks.waited_in_vain, 0);
  EXPECT_FALSE(looks.overlapped);
  EXPECT_THAT(looks.threads, Not(testing::Contains(std::this_thread::get_id())));
}

// Or whoever is slow to be looked at every other time would be so on the thread of the quick ones.
TEST_F(Watching, WhoTookLongOnceStaysAmongThoseThatDo) {
  start();
  constexpr int kLooks = 4;
  HeldLooks looks(*context,
                  [](int number) { return holding(number < kLooks ? 63 * kMiB : 1UL << 40); });
  asio::steady_timer long_enough(*context);
  const auto watching = watch(looks.sampler([&](int number) {
    if (number != 1) return looks.let_go(number);
    long_enough.expires_after(60ms);  // Beyond what counts as quick.
    long_enough.async_wait([&](const boost::system::error_code&) { looks.let_go(1); });
  }));
  watching->start();
  watching->begin_call(std::nullopt, in_an_hour());
  context->run();
  ASSERT_EQ(looks.thread_of.size(), static_cast<std::size_t>(kLooks));
  EXPECT_NE(looks.thread_of[0], looks.thread_of[1]);
  EXPECT_EQ(looks.thread_of[1], looks.thread_of[2]);
  EXPECT_EQ(looks.thread_of[1], looks.thread_of[3]);
}

// What processes have used is known to looks alone: a call's account begins with a look that began
// in the call, however late it is.
TEST_F(Watching, CpuTimeOfACallIsCountedFromTheFirstLookThatBeganInIt) {
  strict.limits.cpu_time_max = 400ms;
  start();
  HeldLooks looks(*context, [](int number) {
    const std::vector<std::chrono::microseconds> used{0ms, 1'000ms, 1'399ms, 1'400ms};
    return having_used(used.at(static_cast<std::size_t>(number) - 1));
  });
  std::vector<int> begun;
  std::shared_ptr<ResourceWatch> watching;
  watching = watch(looks.sampler([&](int number) {
    begun.push_back(number);
    if (number == 1) {  // Under way while the call ends and another begins.
      watching->end_call(std::nullopt);
      watching->begin_call(std::nullopt, in_an_hour());
    }
    looks.let_go(number);
  }));
  watching->begin_call(std::nullopt, in_an_hour());
  context->run();
  EXPECT_THAT(causes, ElementsAre(Cause::kOverCpuTime));
  EXPECT_THAT(begun, ElementsAre(1, 2, 3, 4)) << "neither the first nor the third was too much";
  EXPECT_EQ(looks.waited_in_vain, 0);
  EXPECT_FALSE(looks.overlapped);
}

TEST_F(Watching, AtTheDeadlineNobodyWaitsForALongLook) {
  start();
  HeldLooks looks(*context, [](int) { return holding(kMiB); });
  std::shared_ptr<ResourceWatch> watching;
  bool answered = false;
  watching = watch(looks.sampler([&](int) {
    asio::co_spawn(
        *context,
        [&]() -> asio::awaitable<void> {
          co_await watching->look_at_end();
          answered = looks.waited_in_vain == 0;
          looks.let_go(1);
          watching->stop();
          co_await watching->looked_away(in_an_hour());
        },
        [&](const std::exception_ptr& failure) {
          context->stop();
          if (failure) std::rethrow_exception(failure);
        });
  }));
  watching->begin_call(std::nullopt, in_an_hour());
  context->run();
  EXPECT_TRUE(answered) << "while that look was held";
}

TEST_F(Watching, WhatIsSeenAfterTheStopNobodyHears) {
  start();
  HeldLooks looks(*context, [](int) { return holding(1UL << 40); });
  std::shared_ptr<ResourceWatch> watching;
  watching = watch(looks.sampler([&](int number) {
    watching->stop();
    looks.let_go(number);
    asio::co_spawn(*context, watching->looked_away(in_an_hour()),
                   [&](const std::exception_ptr&) { context->stop(); });
  }));
  watching->begin_call(std::nullopt, in_an_hour());
  context->run();
  EXPECT_THAT(causes, testing::IsEmpty());
  EXPECT_EQ(watching->resident_peak(), std::nullopt);
  EXPECT_TRUE(looks.was_given_up);
  EXPECT_EQ(looks.waited_in_vain, 0);
}

TEST_F(Watching, EverythingMayGoWhileALookIsUnderWay) {
  start();
  HeldLooks looks(*context, [](int) { return holding(1UL << 40); });
  std::promise<void> over;
  {
    // Goes with the last copy of the sampler: when its thread is through with it.
    const std::shared_ptr<void> token(nullptr, [&](void*) { over.set_value(); });
    const auto watching = watch([token, look = looks.sampler([&](int) { context->stop(); })](
                                    auto... with) { return look(with...); });
    watching->begin_call(std::nullopt, in_an_hour());
    context->run();
  }
  running.reset();
  work.reset();
  context.reset();
  looks.let_go(1);
  ASSERT_EQ(over.get_future().wait_for(kBound), std::future_status::ready);
  EXPECT_TRUE(looks.was_given_up);
  EXPECT_THAT(causes, testing::IsEmpty());
}

TEST_F(Watching, PagesThatManyProcessesShareAreCountedOnceAndNotOnTheExecutor) {
  start();
  std::mutex mutex;
  std::set<std::thread::id> threads;
  const auto watching = watch([&](pid_t init, std::uint64_t exact_above, const auto* given_up) {
    {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    }
    return isolation::sample_processes(init, exact_above, given_up);
  });
  const std::string event = "share_with_forks 40 8 600000\n";
  ASSERT_EQ(::write(running->ends.to_stdin.get(), event.data(), event.size()),
            static_cast<ssize_t>(event.size()));
  watching->begin_call(std::nullopt, in_an_hour());
  asio::co_spawn(
      *context,
      [&]() -> asio::awaitable<void> {
        while (causes.empty() && watching->threads_peak().value_or(0) < 9)
          co_await asio::post(*context, asio::use_awaitable);
        watching->stop();
        co_await watching->looked_away(in_an_hour());
      },
      [&](const std::exception_ptr& failure) {
        context->stop();
        if (failure) std::rethrow_exception(failure);
      });
  context->run();
  EXPECT_THAT(causes, testing::IsEmpty());
  EXPECT_GT(watching->resident_peak().value_or(0), 40 * kMiB);
  EXPECT_LT(watching->resident_peak().value_or(UINT64_MAX), 60 * kMiB);
  EXPECT_THAT(threads, Not(testing::Contains(std::this_thread::get_id())));
}

}  // namespace
}  // namespace fnrun::supervisor
