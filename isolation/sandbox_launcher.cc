#include "isolation/sandbox_launcher.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace fnrun::isolation {
namespace {

bool is_over(const Sandbox& sandbox, int timeout_ms) {
  pollfd gone{sandbox.pidfd(), POLLIN, 0};
  return ::poll(&gone, 1, timeout_ms) == 1;
}

}  // namespace

// The caller's basic_process reaps; what is ours of a sandbox that is over is its cgroup and uid.
// Waits until `limit` for those that are not.
void SandboxLauncher::forget_ended(std::chrono::steady_clock::time_point limit) {
  std::erase_if(sandboxes_, [&](Sandbox& sandbox) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if (!is_over(sandbox, static_cast<int>(std::max<std::int64_t>(left.count(), 0)))) return false;
    sandbox.leave_to_other_waiter();
    return true;
  });
}

SandboxLauncher::~SandboxLauncher() {
  for (Sandbox& sandbox : sandboxes_) sandbox.kill(KillReason::kShutdown);
  forget_ended(std::chrono::steady_clock::now() + policy_.limits.kill_timeout);
}

SandboxLauncher::Handle SandboxLauncher::launch(boost::system::error_code& ec,
                                                const std::string& executable,
                                                std::vector<std::string> args, Stdio stdio) {
  const auto failed = [&](SetupError error) {
    last_error_ = std::move(error);
    ec.assign(last_error_.os_errno != 0 ? last_error_.os_errno : ENOEXEC,
              boost::system::system_category());
    return Handle{};
  };
  ec.clear();
  forget_ended(std::chrono::steady_clock::now());
  args.insert(args.begin(), executable);
  if (!plan_ || plan_->handler.argv != args) {
    const char* path = ::secure_getenv("PATH");
    auto handler = find_handler(std::move(args), policy_, path != nullptr ? path : "", host_);
    if (!handler) return failed(handler.error());
    auto plan = compile(policy_, host_, std::move(*handler));
    if (!plan) return failed(plan.error());
    plan_ = std::move(*plan);
  }
  auto sandbox = launcher_.launch(*plan_, std::move(stdio));
  if (!sandbox) return failed(sandbox.error());
  const int pidfd = ::fcntl(sandbox->pidfd(), F_DUPFD_CLOEXEC, 0);
  if (pidfd < 0) return failed({SetupStep::kClone, 0, errno, "pidfd for the caller"});
  const Handle handle{sandbox->pid(), pidfd};
  sandboxes_.push_back(std::move(*sandbox));
  return handle;
}

}  // namespace fnrun::isolation
