#include "isolation/sandbox.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <utility>

#include "isolation/child/launch_plan.h"
#include "isolation/init_report.h"
#include "isolation/process_tree.h"
#include "isolation/stragglers.h"

namespace fnrun::isolation {

using namespace std::chrono_literals;

namespace {

// An init sends far fewer (child/forbidden.cc); a socket holds no more than some hundreds.
constexpr int kReportsMax = 1'000;

}  // namespace

std::string_view name_of(KillReason reason) noexcept {
  switch (reason) {
    case KillReason::kNone:
      return "none";
    case KillReason::kDeadline:
      return "deadline";
    case KillReason::kProtocolError:
      return "protocol_error";
    case KillReason::kOutputTooLarge:
      return "output_too_large";
    case KillReason::kCancelled:
      return "cancelled";
    case KillReason::kShutdown:
      return "shutdown";
    case KillReason::kMemory:
      return "memory";
    case KillReason::kCpuTime:
      return "cpu_time";
  }
  return "?";
}

Sandbox::~Sandbox() {
  if (!pidfd_ || reaped_) return;
  kill(KillReason::kShutdown);
  const auto limit = killed_at_ + kill_timeout_;
  pollfd gone{pidfd_.get(), POLLIN, 0};
  for (;;) {
    const auto left = std::max(0ms, std::chrono::ceil<std::chrono::milliseconds>(
                                        limit - std::chrono::steady_clock::now()));
    if (::poll(&gone, 1, static_cast<int>(left.count())) > 0) break;
    if (left > 0ms) continue;
    // Something inside is stuck in the kernel. SIGKILL is on its way, and takes it when it moves.
    // Without a launcher: until we end nobody else gets its uid, the janitor sees to its cgroup.
    if (const auto stragglers = stragglers_.lock()) {
      stragglers->take(std::move(*this));
    } else {
      uid_.keep();
    }
    return;
  }
  (void)reap();
}

void Sandbox::kill(KillReason reason) noexcept {
  if (reaped_ || !pidfd_) return;
  if (killed_for_ == KillReason::kNone) {
    killed_for_ = reason;
    killed_at_ = std::chrono::steady_clock::now();
  }
  cgroup_.kill();
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
}

Result<Exit> Sandbox::reap() {
  siginfo_t info{};
  while (::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED) != 0) {
    if (errno == EINTR) continue;
    // ECHILD: the host program ignores SIGCHLD or reaped our child itself. It is gone all the same.
    if (errno == ECHILD) break;
    return SetupError{SetupStep::kNone, 0, errno, "waiting for the sandbox"};
  }
  reaped_ = true;
  hear();
  told_.killed_for = killed_for_;
  told_.use = cgroup_.use();  // Before the cgroup goes.
  cgroup_.remove();
  control_.reset();
  return told_;
}

void Sandbox::hear() {
  std::array<std::byte, sizeof(child::Report) + 1> datagram{};  // One more than it may have.
  for (int i = 0; i < kReportsMax; ++i) {
    const ssize_t size = ::recv(control_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT);
    if (size <= 0) break;
    take_report({datagram.data(), static_cast<std::size_t>(size)}, told_);
  }
}

const std::optional<ForbiddenCall>& Sandbox::forbidden() {
  if (control_) hear();
  return told_.forbidden;
}

bool Sandbox::handler_ended() const noexcept {
  pollfd ended{control_.get(), 0, 0};
  int known = 0;
  do known = ::poll(&ended, 1, 0);
  while (known < 0 && errno == EINTR);  // Also without waiting, if a signal is pending.
  return known != 0;
}

void Sandbox::leave_to_other_waiter() noexcept {
  reaped_ = true;
  cgroup_.remove();
  control_.reset();
}

Leftovers Sandbox::leftovers(const Plan& plan) const {
  return {pid_, pidfd_.get(), cgroup_ ? cgroup_.dir_fd() : -1, plan};
}

bool Sandbox::handler_exiting() const {
  const auto pid = reaped_ ? std::nullopt : handler_below(pid_);
  return !pid || is_exiting(*pid);
}

// The pidfd is opened before the question whether it is the handler's: a pid alone could be
// somebody else's by the time that the signal goes out.
Result<void> Sandbox::signal_handler(int signal) const {
  const auto failed = [](int os_errno, const char* what) {
    return SetupError{SetupStep::kNone, 0, os_errno, what};
  };
  const auto pid = reaped_ ? std::nullopt : handler_below(pid_);
  if (!pid) return failed(ESRCH, "finding the handler's process");
  const UniqueFd handler(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  if (!handler || handler_below(pid_) != pid) return failed(ESRCH, "holding the handler's process");
  if (::syscall(SYS_pidfd_send_signal, handler.get(), signal, nullptr, 0) != 0)
    return failed(errno, "signalling the handler");
  return {};
}

namespace {

const SetupError kNoCgroup{SetupStep::kCgroup, 0, ENOTSUP, "this sandbox has no cgroup"};

}  // namespace

Result<void> Sandbox::freeze(std::chrono::milliseconds patience) {
  if (!cgroup_) return kNoCgroup;
  return cgroup_.freeze(patience);
}

Result<void> Sandbox::begin_freeze() {
  if (!cgroup_) return kNoCgroup;
  return cgroup_.begin_freeze();
}

Result<void> Sandbox::thaw() {
  if (!cgroup_) return kNoCgroup;
  return cgroup_.thaw();
}

Result<void> Sandbox::reclaim(policies::ByteSize bytes) {
  if (!cgroup_) return kNoCgroup;
  return cgroup_.reclaim(bytes);
}

std::optional<std::uint32_t> Sandbox::slot_uid() const noexcept {
  if (uid_.uid() == 0) return std::nullopt;
  return uid_.uid();
}

}  // namespace fnrun::isolation
