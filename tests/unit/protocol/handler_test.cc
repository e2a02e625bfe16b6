// serve(), in a process of its own with real descriptors: answers, guards, ends.
#include "protocol/handler.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "channel_fixture.h"
#include "protocol/message.h"

namespace fnrun::protocol {
namespace {

struct Served {
  std::string out;
  std::string err;
  int status = 0;  // As waitpid(2) gives it.
};

std::string read_all(int fd) {
  std::string all;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 1; n > 0;) {
    n = ::read(fd, buffer.data(), buffer.size());
    if (n > 0) all.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return all;
}

// Forks, so that descriptors 0, 1 and 2 are the handler's. All three streams fit into pipes.
Served serve_process(const Handler& handler, std::string_view input) {
  Ends ends(Kind::kPipes);
  Ends log(Kind::kPipes);
  std::fflush(nullptr);  // What stdio holds would be written by both.
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(ends.peer_in.get(), 0);
    ::dup2(ends.peer_out.get(), 1);
    ::dup2(log.peer_out.get(), 2);
    ends.channel_out.close();  // Else our own copy keeps stdin open.
    const int status = serve(handler);
    std::fflush(stdout);
    ::_exit(status);
  }
  EXPECT_GT(pid, 0);
  ends.peer_closes();
  log.peer_closes();
  EXPECT_EQ(::write(ends.channel_out.get(), input.data(), input.size()),
            static_cast<ssize_t>(input.size()));
  ends.channel_out.close();
  Served served;
  served.out = read_all(ends.channel_in.get());
  served.err = read_all(log.channel_in.get());
  EXPECT_EQ(::waitpid(pid, &served.status, 0), pid);
  return served;
}

std::string request(const std::string& data, const std::vector<EnvVar>& env = {}) {
  ExecutionContext context;
  context.stop_time += std::chrono::seconds(1'900'000'000);
  context.env_vars = env;
  return encode_event({data}).value() + encode_execution_context(context).value();
}

std::string answer(const Result& result) {
  return encode_result(result).value();
}

Result echo(const Event& event, const Context&) {
  return {.status = 0, .data = event.data, .env = {}};
}

TEST(Serve, AnswersOneEventAfterAnotherUntilStdinEnds) {
  const Served served = serve_process(echo, request("a") + request("") + request("c"));
  EXPECT_EQ(served.out, answer({0, "a", {}}) + answer({}) + answer({0, "c", {}}));
  EXPECT_EQ(served.status, 0);
  EXPECT_EQ(served.err, "");
}

TEST(Serve, ContextHasStopTimeAndVariables) {
  const Handler handler = [](const Event&, const Context& context) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(context.stop_time);
    return Result{.status = static_cast<std::int32_t>(seconds.time_since_epoch().count()),
                  .data = *find_env(context.env_vars, "A"),
                  .env = context.env_vars};
  };
  const Served served = serve_process(handler, request("", {{"A", "1"}}));
  EXPECT_EQ(served.out, answer({1'900'000'000, "1", {{"A", "1"}}}));
}

TEST(Serve, StrayOutputGoesToTheLogAndNotIntoTheAnswers) {
  const Handler handler = [](const Event& event, const Context& context) {
    std::printf("debug\n");
    std::fflush(stdout);
    EXPECT_EQ(::write(1, "raw\n", 4), 4);
    return echo(event, context);
  };
  const Served served = serve_process(handler, request("a"));
  EXPECT_EQ(served.out, answer({0, "a", {}}));
  EXPECT_EQ(served.err, "debug\nraw\n");
}

TEST(Serve, StrayOutputThatIsStillBufferedAtTheEndGoesToTheLogToo) {
  const Handler handler = [](const Event& event, const Context& context) {
    std::printf("held back");
    return echo(event, context);
  };
  const Served served = serve_process(handler, request("a"));
  EXPECT_EQ(served.out, answer({0, "a", {}}));
  EXPECT_EQ(served.err, "held back");
}

TEST(Serve, ExceptionIsStatus500WithItsTextAndTheNextEventIsServed) {
  const Handler handler = [](const Event& event, const Context& context) {
    if (event.data == "bad") throw std::runtime_error("no such thing");
    return echo(event, context);
  };
  const Served served = serve_process(handler, request("bad") + request("good"));
  EXPECT_EQ(served.out,
            answer({kStatusHandlerThrew, "no such thing", {}}) + answer({0, "good", {}}));
  EXPECT_EQ(served.err, "fnrun: the function threw: no such thing\n");
  EXPECT_EQ(served.status, 0);
}

TEST(Serve, InputThatIsNotTheProtocolEndsItWithAReason) {
  const std::string event = encode_event({"a"}).value();
  const std::string bad_body = framed("\x0c");
  for (const auto& [input, reason] :
       std::vector<std::pair<std::string, std::string>>{{"\xff\xff\xff\xff", "negative_length"},
                                                        {event.substr(0, 6), "truncated"},
                                                        {event, "truncated"},
                                                        {bad_body, "invalid_message"},
                                                        {event + bad_body, "invalid_message"},
                                                        {event + framed(""), "no stop time"}}) {
    const Served served = serve_process(echo, input);
    EXPECT_EQ(WEXITSTATUS(served.status), 1) << reason;
    EXPECT_EQ(served.out, "");
    EXPECT_NE(served.err.find(reason), std::string::npos) << served.err;
  }
}

TEST(Serve, AnswerThatCannotBeSaidEndsItWithAReason) {
  const Handler handler = [](const Event&, const Context&) {
    return Result{.status = 0, .data = "", .env = {{"A", "\xff"}}};
  };
  const Served served = serve_process(handler, request("a"));
  EXPECT_EQ(WEXITSTATUS(served.status), 1);
  EXPECT_EQ(served.out, "");
  EXPECT_NE(served.err.find("UTF-8"), std::string::npos) << served.err;
}

}  // namespace
}  // namespace fnrun::protocol
