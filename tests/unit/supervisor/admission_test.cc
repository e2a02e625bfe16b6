// Who comes in, who waits, who is turned away: Admission and StartBackoff, without any sandbox.
#include "supervisor/admission.h"

#include <gmock/gmock.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "supervisor/start_backoff.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using testing::ElementsAre;
using Answer = std::optional<Cause>;

class Door : public ::testing::Test {
 protected:
  Admission& door(AdmissionLimits limits) {
    admission_.emplace(context.get_executor(), limits);
    return *admission_;
  }
  // Somebody comes; what becomes of it is in `answers` under the name once it is known.
  void comes(const std::string& name, const std::string& client = "",
             Deadline deadline = Deadline::max()) {
    asio::co_spawn(
        context,
        [this, name, client, deadline]() -> asio::awaitable<void> {
          const Answer answer = co_await admission_->enter(client, deadline);
          answers[name] = answer;
          if (!answer) inside.push_back(name);
        },
        asio::detached);
    run();
  }
  void leaves(const std::string& client = "") {
    admission_->leave(client);
    run();
  }
  // Whatever can happen now.
  void run() {
    context.restart();
    context.poll();
  }
  [[nodiscard]] bool waits(const std::string& name) const { return !answers.contains(name); }

  asio::io_context context{1};
  std::map<std::string, Answer> answers;
  std::vector<std::string> inside;  // In the order of coming in.

 private:
  std::optional<Admission> admission_;
};

TEST_F(Door, ACallThatIsTakenBackNoLongerWaitsAndTheOthersDo) {
  Admission& admission = door({.places = 1, .waiting_max = 8});
  comes("first");
  for (const std::uint64_t call : {1U, 2U})
    asio::co_spawn(
        context,
        [this, &admission, call]() -> asio::awaitable<void> {
          const Answer answer = co_await admission.enter("", Deadline::max(), call);
          answers[std::to_string(call)] = answer;
        },
        asio::detached);
  run();
  admission.cancel(1);
  admission.cancel(7);  // Nobody's.
  run();
  EXPECT_EQ(answers["1"], Cause::kCancelled);
  EXPECT_TRUE(waits("2"));
  leaves();
  EXPECT_EQ(answers.at("2"), Answer());
}

TEST_F(Door, WaitsNoLongerThanItIsToldTo) {
  door({.places = 1, .waiting_max = 8, .wait_max = 1ms});
  comes("first");
  comes("second");
  context.restart();
  context.run();  // Until nothing is left to happen.
  EXPECT_EQ(answers.at("second"), Cause::kNoSandboxFree);
}

TEST_F(Door, LetsInAsManyAsThereArePlacesThenInTheOrderOfComing) {
  door({.places = 2, .waiting_max = 8});
  for (const char* name : {"a", "b", "c", "d", "e"}) comes(name);
  EXPECT_THAT(inside, ElementsAre("a", "b"));
  leaves();
  EXPECT_THAT(inside, ElementsAre("a", "b", "c"));
  comes("f");  // Does not overtake.
  leaves();
  leaves();
  leaves();
  EXPECT_THAT(inside, ElementsAre("a", "b", "c", "d", "e", "f"));
}

TEST_F(Door, TurnsAwayAtOnceWhenTheQueueIsFull) {
  Admission& admission = door({.places = 1, .waiting_max = 1});
  comes("a");
  comes("b");
  comes("c");
  EXPECT_EQ(answers.at("c"), Cause::kNoSandboxFree);
  EXPECT_TRUE(waits("b"));
  EXPECT_EQ(admission.inside(), 1U);
  EXPECT_EQ(admission.waiting(), 1U);
}

TEST_F(Door, AWaitEndsAtItsOwnDeadlineAndHoldsUpNobody) {
  Admission& admission = door({.places = 1, .waiting_max = 8});
  comes("a");
  comes("late", "", Deadline::min());
  comes("b");
  EXPECT_EQ(answers.at("late"), Cause::kNoSandboxFree);
  EXPECT_EQ(admission.waiting(), 1U);
  leaves();
  EXPECT_THAT(inside, ElementsAre("a", "b"));
}

TEST_F(Door, AClientWithItsShareDoesNotFillTheQueue) {
  door({.places = 1, .waiting_max = 8, .per_client_max = 2});
  comes("1", "greedy");
  comes("2", "greedy");
  comes("3", "greedy");
  EXPECT_EQ(answers.at("3"), Cause::kNoSandboxFree);
  comes("4", "other");
  leaves("greedy");
  leaves("greedy");
  EXPECT_THAT(inside, ElementsAre("1", "2", "4"));
  comes("5", "greedy");  // Its share is free again.
  leaves("other");
  EXPECT_THAT(inside, ElementsAre("1", "2", "4", "5"));
}

TEST_F(Door, StopEndsTheWaitsAndTurnsAwayWhoComes) {
  Admission& admission = door({.places = 1, .waiting_max = 8});
  comes("a");
  comes("b");
  admission.stop();
  run();
  comes("c");
  EXPECT_EQ(answers.at("b"), Cause::kShutdown);
  EXPECT_EQ(answers.at("c"), Cause::kShutdown);
  leaves();
  EXPECT_THAT(inside, ElementsAre("a"));
}

TEST_F(Door, MorePlacesLetWaitersInAndFewerDriveNobodyOut) {
  Admission& admission = door({.places = 1, .waiting_max = 8});
  for (const char* name : {"a", "b", "c", "d"}) comes(name);
  admission.resize(3);
  run();
  EXPECT_THAT(inside, ElementsAre("a", "b", "c"));
  admission.resize(1);
  leaves();
  leaves();
  EXPECT_TRUE(waits("d"));
  leaves();
  EXPECT_THAT(inside, ElementsAre("a", "b", "c", "d"));
}

TEST_F(Door, AdmitsWhoWasLetInWhileItsTimeRanOut) {
  Admission& admission = door({.places = 1, .waiting_max = 8});
  comes("a");
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        // The place is left between the timer's end and the waiter's waking.
        asio::post(context, [&] { admission.leave(""); });
        answers["b"] = co_await admission.enter("", Deadline::min());
      },
      asio::detached);
  run();
  ASSERT_TRUE(answers.contains("b"));
  EXPECT_EQ(admission.inside(), answers.at("b") ? 0U : 1U) << "no place is lost either way";
}

// Starting again

constexpr StartBackoff::TimePoint kNow{1h};

TEST(Backoff, DoublesFromATenthOfASecondToHalfAMinuteWithJitter) {
  StartBackoff backoff;
  auto full = StartBackoff::kFirst;
  for (int i = 0; i < 20; ++i) {
    backoff.failed(kNow);
    EXPECT_GE(backoff.not_before() - kNow, full / 2) << i;
    EXPECT_LE(backoff.not_before() - kNow, full) << i;
    full = std::min<std::chrono::milliseconds>(full * 2, StartBackoff::kLongest);
  }
  backoff.succeeded();
  EXPECT_LE(backoff.not_before(), kNow);
}

TEST(Backoff, FiveFailuresWithinTenSecondsAreDegraded) {
  StartBackoff quick;
  for (int i = 0; i < 4; ++i) quick.failed(kNow + i * 1s);
  EXPECT_FALSE(quick.degraded());
  quick.failed(kNow + 4s);
  EXPECT_TRUE(quick.degraded());
  quick.succeeded();
  EXPECT_FALSE(quick.degraded());
  StartBackoff slow;
  for (int i = 0; i < 20; ++i) slow.failed(kNow + i * 100s);
  EXPECT_FALSE(slow.degraded());
}

}  // namespace
}  // namespace fnrun::supervisor
