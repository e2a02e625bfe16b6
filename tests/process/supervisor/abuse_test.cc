// What handlers do to their ends of the pipes, and who notices: at the level of Service, so that it
// runs wherever sandboxes do.
//
// The nine defects of the first fnrun ("What the original gets wrong", D1 to D9) and the probes of
// protocol abuse (S01 to S12), and the tests that hold them here; others are named in full.
//
//   D1 S07   Abuse.ARequestThatNobodyReadsEndsAtTheDeadline
//   D2       Abuse.DescendantsDieWithTheirSandbox
//   D3       OfService.FiftyFailuresLeaveNoZombieNoDescriptorAndNoProcess, OfRecreation
//   D4 S01   AbuseByOutcome: negative, most_negative, huge, over_the_limit, claims_and_is_silent;
//            Abuse.AClaimIsNotAllocated, Abuse.TheLimitIsToTheByte
//   D5       FaultyHost.PlacesSurviveFailingStarts, OfPool.AHandlerThatCannotBeStarted…
//   D6       api_test.cc and admission_test.cc: cancellation, deadline, first come first served
//   D7       Abuse.StderrIsTaggedWithItsCall
//   D8 S03   AbuseByOutcome: twice; Abuse.ReplyBeforeTheRequestReachesNobody,
//            Abuse.SecondReplyReachesNobody; OfStorm
//   D9       AbuseByOutcome: garbage, text, half_exit, half_hang, half_length
//   S04      Abuse.BackgroundChildIsGoneBeforeTheNextQuestion; OfStorm
//   S06      AbuseByOutcome: closed_stdout, half_exit, left_unread; Abuse.ADeafHandler…
//   S08      AbuseByOutcome: stopped, stopped_group
//   S09      Abuse.WhatACallChangedIsThereForTheNextOnlyUnderAlways; OfCleanReuse
//   S11      Abuse.AForkStormLeavesNobody
//   S12      Abuse.SpeculationIsNotLooserInside; calls_test.cc: the prctl is refused
#include <fstream>
#include <iterator>

#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using policies::Reuse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Strings = std::vector<std::string>;

long resident_kib() {
  std::ifstream file("/proc/self/statm");
  long pages = 0;
  file >> pages >> pages;
  return pages * (::sysconf(_SC_PAGESIZE) / 1024);
}

// "Speculation_Store_Bypass:\tthread vulnerable": what the kernel does for this process.
std::string speculation_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  std::string found;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("Speculation")) found += line + "\n";
  return found;
}

class Abuse : public PoolTest {
 protected:
  void SetUp() override {
    PoolTest::SetUp();
    marker_ = "fnrun-abuse-" + std::to_string(::getpid());
  }
  // One after another; `time` for each, once its sandbox is there.
  std::vector<Invocation> calls(const Plan& plan, const Strings& events,
                                std::chrono::milliseconds time = 10min,
                                HandlerProtocol protocol = HandlerProtocol::kFnrun) {
    ServiceOptions options;
    options.protocol = protocol;
    options.ready = 1;
    options.log = [this](std::uint64_t call, std::string_view line) {
      said_.push_back(std::to_string(call) + ": " + std::string(line));
    };
    Service service(context().get_executor(), *launcher, plan, options);
    std::vector<Invocation> done;
    asio::co_spawn(context(), call_each(service, events, time, done),
                   [](const std::exception_ptr& failure) {
                     if (failure) std::rethrow_exception(failure);
                   });
    context().run();
    context().restart();
    return done;
  }
  asio::awaitable<void> call_each(Service& service, const Strings& events,
                                  std::chrono::milliseconds time, std::vector<Invocation>& done) {
    for (const std::string& event : events) {
      EXPECT_TRUE(service.warm_up());
      Input input;
      input.data = event;
      const Deadline deadline = std::chrono::steady_clock::now() + time;
      done.push_back(co_await service.invoke(std::move(input), deadline));
    }
    co_await service.shut_down();
  }
  // Long enough to answer, short enough to wait for.
  static std::chrono::milliseconds a_moment() { return test::emulated() ? 5s : 300ms; }

  std::string marker_;  // In the command line of whoever could survive.
  Strings said_;
};

struct Breach {
  const char* name;
  Strings verb;
  Outcome outcome;
};
void PrintTo(const Breach& breach, std::ostream* out) {
  *out << breach.name;
}
class AbuseByOutcome : public Abuse, public testing::WithParamInterface<Breach> {};

TEST_P(AbuseByOutcome, IsOneTypedFailureAndCostsTheSandbox) {
  const auto time = GetParam().outcome == Outcome::kTimedOut ? a_moment() : 10min;
  const auto done = calls(hostile(GetParam().verb), {"first", "second"}, time);
  EXPECT_EQ(done.at(0).report.outcome, GetParam().outcome) << to_json(done[0].report);
  EXPECT_FALSE(done[0].result);
  EXPECT_NE(done[0].report.sandbox.pid, done.at(1).report.sandbox.pid);
  EXPECT_EQ(done[1].report.sandbox.calls_served, 1U);
}

const Breach kBreaches[] = {
    {"negative", {"negative_length"}, Outcome::kProtocolError},
    {"most_negative", {"claim", "0x80000000"}, Outcome::kProtocolError},
    {"huge", {"huge_length"}, Outcome::kOutputTooLarge},
    {"over_the_limit", {"claim", "6291557"}, Outcome::kOutputTooLarge},
    {"claims_and_is_silent", {"claim", "6291556"}, Outcome::kTimedOut},
    {"claims_one_byte", {"claim", "1"}, Outcome::kTimedOut},
    {"twice", {"reply_twice"}, Outcome::kProtocolError},
    {"garbage", {"garbage"}, Outcome::kProtocolError},
    {"text", {"text"}, Outcome::kOutputTooLarge},
    {"half_exit", {"half_reply_exit"}, Outcome::kCrashed},
    {"half_hang", {"half_reply_hang"}, Outcome::kTimedOut},
    {"half_length", {"half_length_hang"}, Outcome::kTimedOut},
    {"closed_stdout", {"close_stdout"}, Outcome::kProtocolError},
    {"left_with_0", {"leave", "0"}, Outcome::kCrashed},
    {"stopped", {"stop_self"}, Outcome::kTimedOut},
    {"stopped_group", {"stop_group"}, Outcome::kTimedOut},
    {"forbidden_call", {"forbidden_call", "ptrace"}, Outcome::kPolicyViolation},
};
INSTANTIATE_TEST_SUITE_P(, AbuseByOutcome, testing::ValuesIn(kBreaches),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(Abuse, AnEmptyFrameIsAnAnswer) {
  const auto done = calls(hostile({"claim", "0"}), {"first"});
  ASSERT_TRUE(done.at(0).result) << to_json(done[0].report);
  EXPECT_EQ(done[0].result->data, "");
}

TEST_F(Abuse, TheLimitIsToTheByte) {
  const auto at = calls(hostile({"body_of", "6291556"}), {"first"});
  EXPECT_EQ(at.at(0).report.outcome, Outcome::kOk);
  const auto over = calls(hostile({"body_of", "6291557"}), {"first"});
  EXPECT_EQ(over.at(0).report.outcome, Outcome::kOutputTooLarge);
}

TEST_F(Abuse, AClaimIsNotAllocated) {
  strict.limits.response_max = policies::mebibytes(1'024);
  const long before = resident_kib();
  const auto done = calls(hostile({"claim", "0x3FFFFFFF"}), {"first"}, a_moment());
  EXPECT_EQ(done.at(0).report.outcome, Outcome::kTimedOut);
  EXPECT_LT(resident_kib() - before, 16 * 1'024) << "of the gibibyte that was promised";
}

TEST_F(Abuse, ARequestThatNobodyReadsEndsAtTheDeadline) {
  const std::string much(6 << 20, 'x');  // No pipe holds it.
  const auto done = calls(hostile({"never_read"}), {much}, a_moment());
  EXPECT_EQ(done.at(0).report.outcome, Outcome::kTimedOut);
}

TEST_F(Abuse, AHandlerThatLeavesWhileItIsWrittenToHasCrashed) {
  const std::string much(6 << 20, 'x');
  ServiceOptions options;
  Service service(context().get_executor(), *launcher, hostile({"leave_unread", "9"}), options);
  const auto done = storm(service, 1, 2, [&](int) { return much; });
  for (const Invocation& one : done) {
    EXPECT_EQ(one.report.outcome, Outcome::kCrashed) << to_json(one.report);
    EXPECT_TRUE(one.report.evidence.wait_status &&
                WEXITSTATUS(*one.report.evidence.wait_status) == 9);
  }
}

TEST_F(Abuse, ADeafHandlerAnswersOnceAndCostsNobodyAnAnswer) {
  const auto done = calls(hostile({"close_stdin"}), {"first", "second", "third"});
  EXPECT_EQ(done.at(0).result.value().data, "deaf");
  // It is noticed before the question could be known, so another one is asked.
  EXPECT_EQ(done.at(1).result.value().data, "deaf");
  EXPECT_EQ(sandboxes_of(done).size(), 3U);
}

TEST_F(Abuse, DescendantsDieWithTheirSandbox) {
  std::size_t lived = 0;
  ServiceOptions options;
  options.log = [&](std::uint64_t, std::string_view line) {
    if (line == "holding") lived = std::max(lived, test::processes_marked(marker_).size());
  };
  strict.limits.invoke_timeout = a_moment();
  Service service(context().get_executor(), *launcher, hostile({"fork_and_hold", marker_}),
                  options);
  ASSERT_TRUE(service.warm_up());
  const auto done = storm(service, 1, 1, hello);
  EXPECT_EQ(done.at(0).report.outcome, Outcome::kTimedOut);
  EXPECT_GT(lived, 1U) << "the control";
  EXPECT_THAT(test::processes_marked(marker_), IsEmpty());
}

TEST_F(Abuse, AForkStormLeavesNobody) {
  const char* told = ::secure_getenv("FNRUN_TEST_SANDBOXES");
  const int runs = told != nullptr ? std::atoi(told) : 20;
  bool stormed = false;
  for (int run = 0; run < runs; ++run) {
    said_.clear();
    // The kill falls into the storm: the deadline is a few milliseconds after its beginning.
    const auto time = test::emulated() ? 2s : std::chrono::milliseconds(20 + run % 20);
    const auto done = calls(hostile({"fork_storm", marker_}), {"event"}, time);
    const Outcome outcome = done.at(0).report.outcome;
    EXPECT_TRUE(outcome == Outcome::kTimedOut || outcome == Outcome::kPidsExceeded)
        << to_json(done[0].report);
    stormed = stormed || !said_.empty();
    ASSERT_THAT(test::processes_marked(marker_), IsEmpty()) << "run " << run;
  }
  EXPECT_TRUE(stormed) << "the control";
}

TEST_F(Abuse, StderrIsTaggedWithItsCall) {
  strict.reuse.mode = Reuse::Mode::kNever;  // It answers once.
  calls(hostile({"stderr_escapes"}), {"first", "second"});
  EXPECT_THAT(said_, testing::Contains("1: second line"));
  EXPECT_THAT(said_, testing::Contains("2: second line"));
  for (const std::string& line : said_) EXPECT_THAT(line, testing::Not(HasSubstr("\x1b")));
}

TEST_F(Abuse, ReplyBeforeTheRequestReachesNobody) {
  const test::TempDir temp;
  ASSERT_EQ(::chmod(temp.path().c_str(), 0755), 0);
  const auto tell = [&](char mode) { std::ofstream(temp.path() / "mode") << mode; };
  tell('e');
  policies::ReadOnlyPath path;
  path.source = temp.path().string();
  path.target = "/data";
  strict.filesystem.read_only.push_back(path);
  ServiceOptions options;
  // The next sandbox behaves, as soon as this one has not.
  bool early = false;
  options.log = [&](std::uint64_t, std::string_view line) { early = line.starts_with("wrote"); };
  Service service(context().get_executor(), *launcher, hostile({"early_reply", "/data/mode"}),
                  options);
  ASSERT_TRUE(service.warm_up());
  while (!early) context().run_one();
  tell('p');
  const auto done = storm(service, 1, 2, hello);
  EXPECT_EQ(done.at(0).result.value().data, "1") << "of one that has answered nobody";
  EXPECT_EQ(done.at(1).result.value().data, "2");
}

// Nobody waits between the two calls: the second reply comes whenever it comes.
TEST_F(Abuse, SecondReplyReachesNobody) {
  strict.reuse.mode = Reuse::Mode::kClean;
  Strings events;
  for (int i = 0; i < 20; ++i) {
    events.push_back("again " + std::to_string(i) + "a " + std::to_string(i * 100) + "\n");
    events.push_back("echo " + std::to_string(i) + "b 0\n");
  }
  const auto done = calls(handler("stormy", {}), events);
  for (std::size_t i = 1; i < done.size(); i += 2) {
    ASSERT_TRUE(done[i].result) << to_json(done[i].report);
    EXPECT_THAT(done[i].result->data, testing::StartsWith(std::to_string(i / 2) + "b "));
  }
}

TEST_F(Abuse, BackgroundChildIsGoneBeforeTheNextQuestion) {
  strict.reuse.mode = Reuse::Mode::kClean;
  for (const std::string verb : {"answerer", "reader"}) {
    Strings events;
    for (int i = 0; i < 10; ++i) {
      events.push_back(verb + " " + std::to_string(i) + "a " + std::to_string(i * 100) + "\n");
      events.push_back("echo " + std::to_string(i) + "b 0\n");
    }
    const auto done = calls(handler("stormy", {}), events);
    for (std::size_t i = 1; i < done.size(); i += 2) {
      ASSERT_TRUE(done[i].result) << to_json(done[i].report);
      EXPECT_THAT(done[i].result->data, testing::StartsWith(std::to_string(i / 2) + "b "));
      EXPECT_NE(done[i].report.sandbox.pid, done[i - 1].report.sandbox.pid);
    }
  }
}

TEST_F(Abuse, WhatACallChangedIsThereForTheNextOnlyUnderAlways) {
  for (const auto& [mode, seen] :
       {std::pair{Reuse::Mode::kNever, "no file in /tmp, at /tmp, no variable"},
        std::pair{Reuse::Mode::kClean, "no file in /tmp, at /tmp, no variable"},
        std::pair{Reuse::Mode::kAlways, "a file in /tmp, at /, a variable"}}) {
    strict.reuse.mode = mode;
    const auto done = calls(handler("keeper", {}), {"look", "move", "keep file", "look"}, 10min,
                            HandlerProtocol::kLines);
    ASSERT_TRUE(done.at(3).result) << to_json(done[3].report);
    EXPECT_EQ(done[0].result.value().data, "no file in /tmp, at /tmp, no variable");
    EXPECT_EQ(done[2].result.value().data, "kept");
    EXPECT_EQ(done[3].result->data, seen);
  }
}

TEST_F(Abuse, SpeculationIsNotLooserInside) {
  strict.reuse.mode = Reuse::Mode::kAlways;
  Service service(context().get_executor(), *launcher, hostile({"count_calls", "/dev/null"}),
                  frames({.places = 2}));
  ASSERT_TRUE(service.warm_up());
  const std::string ours = speculation_of(::getpid());
  std::string inside;
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        Input input;
        input.data = "count";
        const auto made = co_await service.invoke(std::move(input));
        const std::string init = std::to_string(made.report.sandbox.pid);
        std::ifstream children("/proc/" + init + "/task/" + init + "/children");
        pid_t handler = 0;
        children >> handler;
        inside = speculation_of(handler);
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
  EXPECT_FALSE(inside.empty());
  // The same, or the stricter that a kernel before 5.16 gives everybody with a seccomp filter.
  if (inside != ours) {
    EXPECT_THAT(inside, HasSubstr("mitigated"));
  }
}

}  // namespace
}  // namespace fnrun::supervisor
