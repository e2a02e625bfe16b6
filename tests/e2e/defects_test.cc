// What the first fnrun got wrong, one test a defect; each would fail with its way of doing it.
//
// Those of a pool of invokers are not here. Names: Original, what it did, _Ours, what we do.
#include <gmock/gmock.h>

#include "tests/e2e/fixture.h"

namespace fnrun::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Strings = std::vector<std::string>;

constexpr std::size_t kResponseMax = 6'291'556;  // strict's
// Far below the 2 GiB that a hostile length promises, far above what the command needs.
constexpr long kMemoryMaxKib = 256 * 1024;

class Original : public CommandTest {
 protected:
  // One call of `verb` that fails, is answered with one line of JSON, and its end: the outcome. The
  // call after it must find a new sandbox, whatever that one then does.
  std::string outcome_of(const Strings& verb, const std::string& timeout = "30s") {
    Strings argv{handler("hostile")};
    argv.insert(argv.end(), verb.begin(), verb.end());
    std::filesystem::remove(report_file());
    const Finished ran = run(supervise({"--lines", "--on-error", "result", "--timeout", timeout,
                                        "--report", report_file()},
                                       argv),
                             "first\nsecond\n");
    EXPECT_EQ(ran.code, 0) << verb[0] << ": " << ran.err;
    EXPECT_LT(ran.max_rss_kib, kMemoryMaxKib) << verb[0];
    const auto calls = reports();
    if (calls.size() != 2) return "not two calls";
    // One line for each caller: exactly one answer.
    EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 2) << verb[0] << ": " << ran.out;
    const auto answer = nlohmann::json::parse(ran.out.substr(0, ran.out.find('\n')));
    EXPECT_EQ(answer["outcome"], calls[0]["outcome"]);
    EXPECT_NE(calls[0]["sandbox"]["pid"], calls[1]["sandbox"]["pid"]) << verb[0];
    EXPECT_EQ(calls[1]["sandbox"]["calls_served"], 1) << verb[0];
    return calls[0]["outcome"];
  }

  // An event that makes count_calls write more than its answer, then another event: the second
  // caller gets "1" of a sandbox that has answered nobody yet, not what is still in the pipe.
  // Under `reuse: always`: the other modes would not let it live to write.
  void next_caller_gets_no_leftovers(const std::string& event, const std::string& sign) {
    const std::string when = temp.file("when", "wait");
    const std::string policy = temp.file(
        "always.json", R"({"version": 1, "extends": "strict", "reuse": {"mode": "always"}})");
    Command command(supervise({"--lines", "--policy", policy, "--bind", when + ":/data/when"},
                              {handler("hostile"), "count_calls", "/data/when"}));
    command.feed(event + "\n");
    EXPECT_EQ(command.next_line(), "1");  // Taken: what comes now is not part of it.
    temp.file("when", "go");
    ASSERT_TRUE(command.wait_for_stderr(sign));  // The bytes are in the pipe: no race.
    command.feed("innocent\n");
    EXPECT_EQ(command.next_line(), "1");
    command.feed("innocent\n");
    EXPECT_EQ(command.next_line(), "2");  // And that one is kept: the other side.
    command.close_stdin();
    const Finished ran = command.finish();
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, Not(HasSubstr("stolen")));
  }
};

// ---- 1 ----

TEST_F(Original, WritingTheRequestIsOutsideTheTimeout_OursIsInside) {
  const std::string much(6 << 20, 'x');  // No pipe holds it.
  const Finished ran =
      hostile({"never_read"}, {"--timeout", "500ms", "--report", report_file()}, much);
  EXPECT_EQ(ran.code, 124);
  EXPECT_EQ(reports().at(0)["outcome"], "timed_out");
}

// ---- 2 ----

TEST_F(Original, DescendantsOutliveTheKill_OursAreAllGone) {
  const std::string marker = "fnrun-defect-2-" + std::to_string(::getpid());
  // compat lets handlers detach by setsid(); strict does not.
  for (const char* policy : {"strict", "compat"}) {
    Command command(supervise({"--policy", policy, "--timeout", "5s"},
                              {handler("hostile"), "fork_and_hold", marker}));
    command.feed("event");
    command.close_stdin();
    ASSERT_TRUE(command.wait_for_stderr("holding"));
    EXPECT_GT(processes_marked(marker).size(), 1U) << policy;  // The control.
    EXPECT_EQ(command.finish().code, 124) << policy;
    EXPECT_THAT(processes_marked(marker), IsEmpty()) << policy;
  }
}

// ---- 4 ----

TEST_F(Original, NegativeLengthPanics_OursIsAProtocolError) {
  EXPECT_EQ(outcome_of({"negative_length"}), "protocol_error");
}

TEST_F(Original, HugeLengthAllocatesTwoGibibytes_OursIsRefusedUnallocated) {
  EXPECT_EQ(outcome_of({"huge_length"}), "output_too_large");
}

TEST_F(Original, HasNoLimit_OursIsThePolicysToTheByte) {
  const Finished at_limit = hostile({"body_of", std::to_string(kResponseMax)});
  EXPECT_EQ(at_limit.code, 0) << at_limit.err;
  EXPECT_GT(at_limit.out.size(), kResponseMax - 16);
  EXPECT_LT(at_limit.max_rss_kib, kMemoryMaxKib);
  const Finished over = hostile({"body_of", std::to_string(kResponseMax + 1)});
  EXPECT_EQ(over.code, 76);
  EXPECT_EQ(over.out, "");
  EXPECT_THAT(over.err, HasSubstr("output_too_large"));
}

// ---- 7 ----

TEST_F(Original, StderrIsThrownAway_OursIsCapturedWithItsCall) {
  EXPECT_THAT(hostile({"stderr_escapes"}).err, HasSubstr("[handler 1] second line\n"));
  // The last words of one that fails are not lost either.
  const Finished crash =
      run(supervise({"--protocol", "exec"}, {"sh", "-c", "echo why >&2; kill -9 $$"}));
  EXPECT_EQ(crash.code, 137);
  EXPECT_THAT(crash.err, HasSubstr("[handler 1] why\n"));
}

// ---- 8 ----

TEST_F(Original, TwoRepliesAnswerTwoCallers_OursAnswerNobody) {
  EXPECT_EQ(outcome_of({"reply_twice"}), "protocol_error");
  const Finished ran =
      run(supervise({"--lines", "--on-error", "result"}, {handler("hostile"), "count_calls"}),
          "one\ntwice\ninnocent\n");
  EXPECT_THAT(ran.out, Not(HasSubstr("stolen")));
  EXPECT_THAT(ran.out, testing::StartsWith("1\n{"));
  EXPECT_THAT(ran.out, testing::EndsWith("}\n1\n"));  // A new sandbox's first answer.
}

TEST_F(Original, OutputAfterTheResultIsTheNextAnswer_OursNeverReachesACaller) {
  next_caller_gets_no_leftovers("late", "wrote after the answer");
}

TEST_F(Original, BackgroundChildAnswersTheNextCaller_OursNeverReachesACaller) {
  next_caller_gets_no_leftovers("background", "wrote from the background");
}

TEST_F(Original, BackgroundChildLivesOn_OursIsNamedAndEndsWithItsCall) {
  const std::string when = temp.file("when", "not yet");
  const Finished ran =
      run(supervise({"--lines", "--report", report_file(), "--bind", when + ":/data/when"},
                    {handler("hostile"), "count_calls", "/data/when"}),
          "background\ninnocent\ninnocent\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "1\n1\n2\n");
  const auto calls = reports();
  // It is made behind the answer: found there, or before the next question.
  EXPECT_THAT(calls.at(0)["leftovers"].dump() + ran.err, HasSubstr("(hostile)"));
  EXPECT_EQ(calls.at(1)["leftovers"].size(), 0U);
}

TEST_F(Original, ReplyBeforeTheRequestIsTaken_OursReplacesTheSandbox) {
  const std::string mode = temp.file("mode", "early");
  Command command(supervise({"--lines", "--bind", mode + ":/data/mode"},
                            {handler("hostile"), "early_reply", "/data/mode"}));
  ASSERT_TRUE(command.wait_for_stderr("wrote before the request"));
  temp.file("mode", "patient");  // In place: the next sandbox behaves.
  command.feed("innocent\n");
  EXPECT_EQ(command.next_line(), "1");
  command.close_stdin();
  const Finished ran = command.finish();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, Not(HasSubstr("stolen")));
}

// ---- 9 ----

TEST_F(Original, InvalidMessageIsUnnamed_OursIsOneNamedError) {
  EXPECT_EQ(outcome_of({"garbage"}), "protocol_error");
  EXPECT_EQ(outcome_of({"text"}), "output_too_large");  // "This" is a length of 1.4 GB.
}

TEST_F(Original, TruncatedFrameIsUnnamed_OursIsOneNamedError) {
  EXPECT_EQ(outcome_of({"half_reply_exit"}), "crashed");  // It exited, with 0 even.
  EXPECT_EQ(outcome_of({"half_reply_hang"}, "500ms"), "timed_out");
  EXPECT_EQ(outcome_of({"half_length_hang"}, "500ms"), "timed_out");
}

// ---- And what else handlers do with their ends of the pipes ----

TEST_F(Original, ClosedStdoutWaitsForEver_OursIsNoticedBeforeTheDeadline) {
  EXPECT_EQ(outcome_of({"close_stdout"}, "60m"), "protocol_error");
}

TEST_F(Original, ClosedStdinFailsLater_OursAnswersTheCallThatIsAnswered) {
  const Finished ran =
      run(supervise({"--lines", "--on-error", "result"}, {handler("hostile"), "close_stdin"}),
          "first\nsecond\nthird\n");
  EXPECT_THAT(ran.out, testing::StartsWith("deaf\n"));
  EXPECT_THAT(ran.out, testing::EndsWith("deaf\n"));  // After the second, which nobody could read.
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 3);
}

TEST_F(Original, StoppedHandlerStaysForEver_OursIsKilledAtTheDeadline) {
  EXPECT_EQ(outcome_of({"stop_self"}, "500ms"), "timed_out");
}

TEST_F(Original, ExitDuringTheWriteOfTheRequestIsAWriteError_OursIsACrash) {
  const std::string much(6 << 20, 'x');
  const Finished ran = hostile({"leave_unread", "9"}, {"--report", report_file()}, much);
  EXPECT_EQ(ran.code, 70) << ran.err;
  EXPECT_EQ(reports().at(0)["evidence"]["wait_status"]["exited"], 9);
}

}  // namespace
}  // namespace fnrun::test
