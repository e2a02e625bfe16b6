// The command with many events: line by line, and as frames of the protocol itself.
#include <gmock/gmock.h>

#include <csignal>

#include "protocol/message.h"
#include "tests/e2e/fixture.h"

namespace fnrun::test {
namespace {

using protocol::EnvVar;
using protocol::ExecutionContext;
using protocol::Result;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::system_clock;
using testing::HasSubstr;
using Strings = std::vector<std::string>;

class Lines : public CommandTest {};
class Frames : public CommandTest {
 protected:
  static std::string request(const std::string& data, nanoseconds from_now,
                             std::vector<EnvVar> env = {}) {
    ExecutionContext context;
    context.stop_time = system_clock::now() + from_now;
    context.env_vars = std::move(env);
    return protocol::encode_event({data}).value() +
           protocol::encode_execution_context(context).value();
  }
  // All of `bytes` as Results; a failure of the test if they are anything else.
  static std::vector<Result> results(std::string_view bytes) {
    std::vector<Result> all;
    while (bytes.size() >= 4) {
      std::size_t size = 0;
      for (const char byte : bytes.substr(0, 4))
        size = size << 8 | static_cast<unsigned char>(byte);
      const auto parsed = protocol::parse_result(bytes.substr(4, size));
      if (!parsed || bytes.size() < 4 + size) break;
      all.push_back(*parsed);
      bytes.remove_prefix(4 + size);
    }
    EXPECT_EQ(bytes.size(), 0U) << "not frames";
    return all;
  }
};

const Strings& counter() {
  static const Strings argv{handler("hostile"), "count_calls"};
  return argv;
}

// ---- Lines ----

TEST_F(Lines, OneSandboxAnswersThemAll) {
  const Finished ran = run(supervise({"--lines"}, counter()), "a\nb\nc\nd\ne\n");
  EXPECT_EQ(ran.out, "1\n2\n3\n4\n5\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
}

TEST_F(Lines, AnswerComesBeforeTheNextLineIsThere) {
  Command command(supervise({"--lines"}, counter()));
  for (int i = 1; i <= 3; ++i) {
    command.feed("event\n");
    EXPECT_EQ(command.next_line(), std::to_string(i));
  }
  command.close_stdin();
  EXPECT_EQ(command.finish().code, 0);
}

TEST_F(Lines, LastLineNeedsNoEndAndNoInputIsNoFailure) {
  EXPECT_EQ(run(supervise({"--lines"}, {handler("greeter")}), "one\ntwo").out,
            "Hello, one!\nHello, two!\n");
  const Finished nothing = run(supervise({"--lines"}, {handler("greeter")}), "");
  EXPECT_EQ(nothing.out, "");
  EXPECT_EQ(nothing.code, 0);
}

TEST_F(Lines, SpeakToHandlersOfLinesAndToProcesses) {
  EXPECT_EQ(
      run(supervise({"--lines", "--protocol", "lines"}, {handler("greeter.sh")}), "a\nb\n").out,
      "Hello, a!\nHello, b!\n");
  EXPECT_EQ(run(supervise({"--lines", "--protocol", "exec"}, {"tr", "a-z", "A-Z"}), "a\nb\n").out,
            "A\nB\n");
}

TEST_F(Lines, FailureStopsWithItsExitCode) {
  const Finished ran = run(supervise({"--lines"}, counter()), "a\ncrash\nb\n");
  EXPECT_EQ(ran.out, "1\n");
  EXPECT_EQ(ran.code, 128 + SIGABRT);
  EXPECT_THAT(ran.err, HasSubstr("crashed"));
}

TEST_F(Lines, FailureAnsweredIsOneLineOfJsonAndANewSandboxServesTheNext) {
  const Finished ran =
      run(supervise({"--lines", "--on-error", "result"}, counter()), "a\ncrash\nb\nc\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  Strings lines;
  std::istringstream text(ran.out);
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 4U) << ran.out;
  EXPECT_EQ(lines[0], "1");
  const auto error = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(error["outcome"], "crashed");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("SIGABRT"));
  EXPECT_EQ(lines[2], "1");  // A sandbox that has answered nobody yet.
  EXPECT_EQ(lines[3], "2");
}

TEST_F(Lines, AnswerOfSeveralLinesIs76) {
  const Finished ran =
      run(supervise({"--lines", "--protocol", "exec"}, {"printf", "one\\ntwo\\n"}), "a\n");
  EXPECT_EQ(ran.code, 76);
  EXPECT_EQ(ran.out, "");
}

// ---- Frames ----

TEST_F(Frames, TwoCallsAreTwoResultsByteForByte) {
  const std::string calls = request("one", hours(1)) + request("two", hours(1));
  const Finished ran = run(supervise({"--frames"}, {handler("greeter")}), calls);
  // By hand: length, tag of field 2, length of the text, text; status 0 is not written.
  const std::string head("\0\0\0\x0d\x12\x0b", 6);
  EXPECT_EQ(ran.out, head + "Hello, one!" + head + "Hello, two!");
  EXPECT_EQ(ran.code, 0) << ran.err;
}

TEST_F(Frames, HandlerSeesTheVariablesOfOptionsAndCallAndTheSoonerStopTime) {
  const Strings echo{handler("hostile"), "echo_context"};
  const Strings options{"--frames", "--env", "OPTION=1", "--timeout", "20s"};
  for (const auto& [asked, most] : {std::pair{hours(1), std::chrono::seconds(20)},
                                    std::pair{hours(0), std::chrono::seconds(15)}}) {
    const auto before = system_clock::now();
    const nanoseconds ahead = asked.count() != 0 ? nanoseconds(asked) : nanoseconds(most);
    const Finished ran =
        run(supervise(options, echo), request("", ahead, {{"CALL", "2"}, {"OPTION", "call's"}}));
    const auto after = system_clock::now();
    const auto all = results(ran.out);
    ASSERT_EQ(all.size(), 1U) << ran.err;
    // The handler sends back the frame's body that it was given.
    const auto context = protocol::parse_execution_context(all[0].data);
    ASSERT_TRUE(context);
    EXPECT_EQ(*protocol::find_env(context->env_vars, "CALL"), "2");
    EXPECT_EQ(*protocol::find_env(context->env_vars, "OPTION"), "call's");
    // Between the two clock readings, but for the difference of the two clocks.
    EXPECT_GT(context->stop_time, before + most - milliseconds(500));
    EXPECT_LT(context->stop_time, after + most + milliseconds(500));
  }
}

TEST_F(Frames, StopTimeThatHasPassedIsATimeout) {
  const std::string late = request("world", -hours(1));
  const Finished ran = run(supervise({"--frames"}, {handler("greeter")}), late);
  EXPECT_EQ(ran.code, 124) << ran.err;
  EXPECT_EQ(ran.out, "");
}

TEST_F(Frames, SoonerOfStopTimeAndPolicyCounts) {
  const Strings silent{handler("hostile"), "never_read"};
  // Either deadline alone would outlast the runner's hard limit.
  EXPECT_EQ(
      run(supervise({"--frames", "--timeout", "60m"}, silent), request("world", milliseconds(300)))
          .code,
      124);
  EXPECT_EQ(
      run(supervise({"--frames", "--timeout", "300ms"}, silent), request("world", hours(1))).code,
      124);
}

TEST_F(Frames, FailureAnsweredIsAResultThatSaysSo) {
  const Strings options{"--frames", "--on-error", "result"};
  const std::string calls =
      request("a", hours(1)) + request("crash", hours(1)) + request("b", hours(1));
  const Finished ran = run(supervise(options, counter()), calls);
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto all = results(ran.out);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].data, "1");
  EXPECT_EQ(all[1].status, 502);
  EXPECT_EQ(*protocol::find_env(all[1].env, "FNRUN_OUTCOME"), "crashed");
  EXPECT_EQ(all[2].data, "1");
  EXPECT_EQ(protocol::find_env(all[2].env, "FNRUN_OUTCOME"), nullptr);
}

TEST_F(Frames, FailureStopsWithItsExitCode) {
  const std::string calls = request("crash", hours(1)) + request("b", hours(1));
  const Finished ran = run(supervise({"--frames"}, counter()), calls);
  EXPECT_EQ(ran.code, 128 + SIGABRT);
  EXPECT_EQ(ran.out, "");
}

TEST_F(Frames, EndOfInputBetweenCallsIs0) {
  const Finished ran = run(supervise({"--frames"}, {handler("greeter")}), "");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "");
}

TEST_F(Frames, InputCutAnywhereElseIs76) {
  const std::string whole = request("world", hours(1));
  const std::size_t event = protocol::encode_event({"world"}).value().size();
  for (const std::size_t cut : {std::size_t{1}, std::size_t{3}, std::size_t{4}, event - 1, event,
                                event + 2, whole.size() - 1}) {
    const Finished ran = run(supervise({"--frames"}, {handler("greeter")}), whole.substr(0, cut));
    EXPECT_EQ(ran.code, 76) << cut << ": " << ran.err;
    EXPECT_EQ(ran.out, "") << cut;
  }
  const Finished negative = run(supervise({"--frames"}, {handler("greeter")}), "\xff\xff\xff\xff");
  EXPECT_EQ(negative.code, 76);
}

}  // namespace
}  // namespace fnrun::test
