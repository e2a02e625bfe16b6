// Sandboxes for programs that use Boost.Process v2: a launcher in that library's shape.
//
//   SandboxLauncher launch(launcher, policy, host);
//   auto process = launch(context, error, executable, arguments, SandboxStdio{in, out, err});
//   process.async_wait(…);
//
// It returns the library's own basic_process over the pidfd of the sandbox's init, whose exit code
// is the handler's (128+n for signal n; 159 for a system call that the policy forbids). The fork is
// ours: Boost 1.81's default_launcher reports some failed launches as success, runs the parent's
// atexit handlers in the child and leaves zombies.
//
// The launcher object holds the lifelines: destroying it kills every sandbox that it started. A
// basic_process signals the init, which as PID 1 of its namespace heeds SIGKILL only: terminate()
// works, interrupt() and request_exit() do nothing. Not thread-safe.
#pragma once

#include <boost/asio/execution_context.hpp>
#include <boost/process/v2/process.hpp>
#include <chrono>
#include <list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "isolation/launcher.h"

namespace fnrun::isolation {

// Descriptors for the handler's 0, 1 and 2; consumed by the launch.
using SandboxStdio = Stdio;

class SandboxLauncher {
 public:
  // `launcher` is borrowed for the lifetime of this object.
  SandboxLauncher(Launcher& launcher, policies::Policy policy, Host host)
      : launcher_(launcher), policy_(std::move(policy)), host_(std::move(host)) {}
  ~SandboxLauncher();
  SandboxLauncher(const SandboxLauncher&) = delete;
  SandboxLauncher& operator=(const SandboxLauncher&) = delete;

  template <class Executor, class Args>
  requires boost::asio::is_executor<Executor>::value ||
      boost::asio::execution::is_executor<Executor>::value
          boost::process::v2::basic_process<Executor>
  operator()(Executor executor, boost::system::error_code& ec,
             const boost::process::v2::filesystem::path& executable, Args&& args,
             SandboxStdio stdio) {
    const auto [pid, pidfd] =
        launch(ec, executable.string(), {std::begin(args), std::end(args)}, std::move(stdio));
    if (ec) return boost::process::v2::basic_process<Executor>(executor);
    return boost::process::v2::basic_process<Executor>(executor, pid, pidfd);
  }

  template <class Context, class Args>
  requires std::is_convertible_v<Context&, boost::asio::execution_context&>
  auto operator()(Context& context, boost::system::error_code& ec,
                  const boost::process::v2::filesystem::path& executable, Args&& args,
                  SandboxStdio stdio) {
    return (*this)(context.get_executor(), ec, executable, std::forward<Args>(args),
                   std::move(stdio));
  }

  // Why the last launch failed, step and all; ec carries only its errno (or ENOEXEC, where no
  // system call failed).
  [[nodiscard]] const SetupError& last_error() const noexcept { return last_error_; }

 private:
  struct Handle {
    int pid = -1;
    int pidfd = -1;
  };
  Handle launch(boost::system::error_code& ec, const std::string& executable,
                std::vector<std::string> args, Stdio stdio);
  void forget_ended(std::chrono::steady_clock::time_point limit);

  Launcher& launcher_;
  policies::Policy policy_;
  Host host_;
  std::optional<Plan> plan_;  // Of the last command: launching the same again compiles nothing.
  std::list<Sandbox> sandboxes_;
  SetupError last_error_;
};

}  // namespace fnrun::isolation
