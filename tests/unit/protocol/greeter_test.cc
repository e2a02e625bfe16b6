// The five greeters, as processes, over the supervisor's own channel: no language's handler may
// differ by a byte. No sandbox here; the sandboxed runs are elsewhere.
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "channel_fixture.h"
#include "protocol/message.h"

namespace fnrun::protocol {
namespace {

struct Greeter {
  std::string program;
  std::string interpreter;  // "" for the native ones.
};

class Process {
 public:
  Process(const std::string& path, Ends& ends) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends.peer_in.get(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, ends.peer_out.get(), 1);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    sigset_t reset;
    sigemptyset(&reset);
    sigaddset(&reset, SIGPIPE);  // We ignore it; a handler must not.
    ::posix_spawnattr_setsigdefault(&attributes, &reset);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    std::string name = path;
    std::array<char*, 2> argv{name.data(), nullptr};
    spawned_ = ::posix_spawn(&pid_, path.c_str(), &actions, &attributes, argv.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    ends.peer_closes();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (spawned_ != 0 || waited_) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] bool spawned() const { return spawned_ == 0; }
  int wait() {
    int status = -1;
    waited_ = ::waitpid(pid_, &status, 0) == pid_;
    return status;
  }

 private:
  pid_t pid_ = -1;
  int spawned_ = -1;
  bool waited_ = false;
};

class Greeters : public ::testing::TestWithParam<Greeter> {
 protected:
  void SetUp() override {
    path_ = std::string(FNRUN_HANDLERS_DIR) + "/" + GetParam().program;
    if (!GetParam().interpreter.empty() && !std::filesystem::exists(GetParam().interpreter))
      GTEST_SKIP() << "needs " << GetParam().interpreter;
    if (GetParam().program == "greeter_static" && !std::filesystem::exists(path_))
      GTEST_SKIP() << "sanitizers cannot be linked statically";
    process_.emplace(path_, ends_);
    ASSERT_TRUE(process_->spawned()) << path_;
    channel_.emplace(
        Channel::adopt(io_.get_executor(), ends_.channel_in.release(), ends_.channel_out.release())
            .value());
  }
  std::string send(const std::vector<std::string>& pieces) {
    std::vector<asio::const_buffer> buffers;
    for (const std::string& piece : pieces) buffers.push_back(asio::buffer(piece));
    return outcome(run(io_, channel_->write(buffers, far_off())));
  }
  // One whole invocation, as the supervisor makes it.
  Result invoke(const std::string& data) {
    ExecutionContext context;
    context.stop_time += std::chrono::seconds(1'900'000'000);
    context.env_vars = {{"hello", "world"}};
    const EventHead head = encode_event_head(data.size()).value();
    EXPECT_FALSE(channel_->unsolicited());
    EXPECT_EQ(send({std::string(head.view()), data, encode_execution_context(context).value()}),
              "ok");
    const auto body = run(io_, channel_->read_frame(8 << 20, far_off()));
    EXPECT_TRUE(body.has_value()) << outcome(body);
    if (!body) return {-1, "", {}};
    Result result = parse_result(*body).value();
    // Byte for byte what protobuf would have written.
    EXPECT_TRUE(framed(*body) == encode_result(result).value());
    return result;
  }
  void expect_exit_0_at_end_of_input() {
    channel_->close_write();
    EXPECT_EQ(run(io_, channel_->read_to_end(100, far_off())).value(), "");
    EXPECT_EQ(process_->wait(), 0);
  }

  asio::io_context io_;
  Ends ends_{Kind::kPipes};
  std::string path_;
  std::optional<Process> process_;
  std::optional<Channel> channel_;
};

class FrameGreeters : public Greeters {};
INSTANTIATE_TEST_SUITE_P(In, FrameGreeters,
                         ::testing::Values(Greeter{"greeter", ""}, Greeter{"greeter_static", ""},
                                           Greeter{"greeter.py", "/usr/bin/python3"},
                                           Greeter{"greeter.mjs", "/usr/bin/node"}),
                         [](const auto& greeter) {
                           std::string name = greeter.param.program;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST_P(FrameGreeters, AnswerSeveralEventsAndEndWithTheirInput) {
  for (const std::string& who : {std::string("world"), std::string(), std::string("\0\xff\n", 3),
                                 std::string(120, 'x'), std::string(121, 'y')})
    EXPECT_EQ(invoke(who), (Result{0, "Hello, " + who + "!", {}}));
  expect_exit_0_at_end_of_input();
}

TEST_P(FrameGreeters, CarryAMebibyte) {
  const std::string who(1 << 20, 'm');
  EXPECT_TRUE(invoke(who).data == "Hello, " + who + "!");
  EXPECT_EQ(invoke("again").data, "Hello, again!");
  expect_exit_0_at_end_of_input();
}

TEST_P(FrameGreeters, DoNotTakeHalfARequestForAnEnd) {
  EXPECT_EQ(send({encode_event({"half"}).value()}), "ok");
  channel_->close_write();
  EXPECT_EQ(run(io_, channel_->read_to_end(100, far_off())).value(), "");
  const int status = process_->wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 0) << status;
}

class LineGreeters : public Greeters {};
INSTANTIATE_TEST_SUITE_P(In, LineGreeters, ::testing::Values(Greeter{"greeter.sh", "/bin/sh"}),
                         [](const auto&) { return "sh"; });

TEST_P(LineGreeters, AnswerALineWithALine) {
  for (const std::string& who : {std::string("world"), std::string(), std::string("  a\\b ")}) {
    EXPECT_EQ(send({who, "\n"}), "ok");
    EXPECT_EQ(run(io_, channel_->read_line(100, far_off())).value(), "Hello, " + who + "!");
    EXPECT_FALSE(channel_->unsolicited());
  }
  expect_exit_0_at_end_of_input();
}

}  // namespace
}  // namespace fnrun::protocol
