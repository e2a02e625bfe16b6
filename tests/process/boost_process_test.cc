// Sandboxes in the shape of Boost.Process v2, and several launched at once.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <optional>
#include <thread>

#include "isolation/sandbox_launcher.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::test {
namespace {

class BoostProcess : public SandboxTest {
 protected:
  using Process = boost::process::v2::process;

  void TearDown() override {
    from_stdout_.reset();
    context_.reset();  // Has descriptors of its own; the ledger is of what stays.
    SandboxTest::TearDown();
  }

  Process start(isolation::SandboxLauncher& launch, std::vector<std::string> arguments) {
    Pipes pipes;
    from_stdout_ = std::move(pipes.ours.from_stdout);
    return launch(*context_, error_, handlers_dir() + "/actor", std::move(arguments),
                  std::move(pipes.theirs));
  }
  // What async_wait says; -1 if it never says anything.
  int wait(Process& process) {
    int told = -1;
    process.async_wait(
        [&](boost::system::error_code error, int code) { told = error ? -2 : code; });
    context_->restart();
    context_->run_for(std::chrono::milliseconds(kBoundMs));
    return told;
  }

  std::optional<boost::asio::io_context> context_{std::in_place};
  boost::system::error_code error_;
  isolation::UniqueFd from_stdout_;
};

TEST_F(BoostProcess, AsyncWaitGivesTheHandlersExitCodeAndSignal) {
  isolation::SandboxLauncher launch(*launcher, strict, host);
  for (const int code : {0, 7, 255}) {
    Process process = start(launch, {"exit", std::to_string(code)});
    ASSERT_FALSE(error_) << launch.last_error().to_string();
    EXPECT_EQ(wait(process), code);
  }
  Process killed = start(launch, {"signal", "11"});
  EXPECT_EQ(wait(killed), 128 + 11);
  Process forbidden = start(launch, {"trace"});
  EXPECT_EQ(wait(forbidden), 128 + SIGSYS) << "whoever killed it for that";
}

TEST_F(BoostProcess, TerminateEndsEverythingInside) {
  isolation::SandboxLauncher launch(*launcher, strict, host);
  Process process = start(launch, {"tree"});
  ASSERT_FALSE(error_);
  std::string said(6, '\0');
  for (std::size_t got = 0; got < said.size();) {
    ASSERT_TRUE(wait_readable(from_stdout_.get()));
    const ssize_t n = ::read(from_stdout_.get(), said.data() + got, said.size() - got);
    ASSERT_GT(n, 0);
    got += static_cast<std::size_t>(n);
  }
  EXPECT_EQ(said, "sigod.");
  process.terminate(error_);
  EXPECT_FALSE(error_) << error_.message();
  EXPECT_EQ(read_to_end(from_stdout_.get()), "");
}

TEST_F(BoostProcess, AFailedLaunchIsAnErrorAndNoProcess) {
  policies::Policy policy = strict;
  policy.working_directory = "/nonexistent";
  isolation::SandboxLauncher launch(*launcher, policy, host);
  {
    const Process process = start(launch, {"exit", "0"});
    EXPECT_EQ(error_, boost::system::errc::no_such_file_or_directory);
    EXPECT_EQ(launch.last_error().step, isolation::SetupStep::kWorkingDirectory);
    EXPECT_THAT(launch.last_error().to_string(), testing::HasSubstr("/nonexistent"));
    EXPECT_FALSE(process.is_open());
  }
  Pipes pipes;
  const Process none = launch(*context_, error_, "/nonexistent/handler", std::vector<std::string>{},
                              std::move(pipes.theirs));
  EXPECT_TRUE(error_);
  EXPECT_EQ(launch.last_error().step, isolation::SetupStep::kHandlerNotFound);
}

TEST_F(BoostProcess, RepeatedLaunchesLeaveNothing) {
  isolation::SandboxLauncher launch(*launcher, strict, host);
  for (int i = 0; i < 50; ++i) {  // Far more than there are uids.
    Process process = start(launch, {"exit", std::to_string(i)});
    ASSERT_FALSE(error_) << i << ": " << launch.last_error().to_string();
    ASSERT_EQ(wait(process), i);
  }
}

TEST_F(BoostProcess, DestroyingTheLauncherKillsWhatItStarted) {
  std::optional<Process> process;
  {
    isolation::SandboxLauncher launch(*launcher, strict, host);
    process.emplace(start(launch, {"pause"}));
    ASSERT_FALSE(error_);
    EXPECT_TRUE(process->running());
  }
  EXPECT_NE(wait(*process), -1);
}

class Concurrency : public SandboxTest {};

TEST_F(Concurrency, FourThreadsLaunchAtOnce) {
  const isolation::Plan echo = plan(actor({"echo"}));
  isolation::Plan broken = plan(actor({"echo"}));
  broken.policy.working_directory = "/nonexistent";
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 15; ++i) {
        const std::string nonce = std::to_string(thread) + "/" + std::to_string(i);
        EXPECT_EQ(run(echo, nonce).out, nonce);
        if (i % 5 == 0) {
          EXPECT_EQ(failure(broken).step, isolation::SetupStep::kWorkingDirectory) << nonce;
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace fnrun::test
