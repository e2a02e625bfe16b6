#include "tests/support/thread_filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <thread>

namespace fnrun::test {
namespace {

constexpr int kArrivalBoundMs = 60'000;

std::vector<sock_filter> program_for(const CallMatch& match, std::uint32_t action) {
  std::vector<sock_filter> program;
  const auto require_word = [&](std::size_t offset, std::uint32_t value) {
    program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  };
  require_word(offsetof(seccomp_data, nr), static_cast<std::uint32_t>(match.number));
  for (const CallMatch::Arg& arg : match.args)
    require_word(offsetof(seccomp_data, args) + sizeof(std::uint64_t) * arg.index, arg.value);
  program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  return program;
}

long install(const CallMatch& match, std::uint32_t action, unsigned flags) {
  auto program = program_for(match, action);
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  long result = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (result == 0) result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (result < 0) throw std::system_error(errno, std::generic_category(), "seccomp");
  return result;
}

void with_action(const CallMatch& match, std::uint32_t action, const std::function<void()>& body) {
  std::thread([&] {
    install(match, action, 0);
    body();
  }).join();
}

}  // namespace

void with_failing_call(const CallMatch& match, int os_errno, const std::function<void()>& body) {
  with_action(match, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(os_errno), body);
}

void with_deadly_call(const CallMatch& match, const std::function<void()>& body) {
  with_action(match, SECCOMP_RET_KILL_PROCESS, body);
}

isolation::UniqueFd hold_calls(const CallMatch& match) {
  // The kernel makes the descriptor close-on-exec.
  return isolation::UniqueFd(
      static_cast<int>(install(match, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER)));
}

pid_t held_process(int listener, bool let_go) {
  pollfd arrived{listener, POLLIN, 0};
  if (::poll(&arrived, 1, kArrivalBoundMs) != 1) return 0;
  seccomp_notif call{};
  if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return 0;
  if (let_go) {
    seccomp_notif_resp go{};
    go.id = call.id;
    go.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go) != 0) return 0;
  }
  return static_cast<pid_t>(call.pid);
}

}  // namespace fnrun::test
