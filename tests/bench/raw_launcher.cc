#include "tests/bench/raw_launcher.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include "isolation/child/raw_syscall.h"

namespace fnrun::bench {
namespace {

using child::as_arg;
using child::raw_syscall;
using isolation::BpfProgram;
using isolation::Plan;
using isolation::RootEntry;
using isolation::UniqueFd;

constexpr std::size_t kStackSize = 64 * 1024;
constexpr std::uint64_t kNamespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
                                      CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
// A folder that every host has and no plan shows: the new root is built over it.
constexpr const char* kScratch = "/sys";

std::string failed(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  // SAFETY: execve(2) reads them only; its C signature is older than const.
  for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));  // NOLINT
  list.push_back(nullptr);
  return list;
}

std::string write_file(const std::string& path, const std::string& text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return failed(path);
  return "";
}

}  // namespace

// What parent and child tell each other; the mapping is shared, whatever memory the child has.
struct RawLauncher::Shared {
  std::atomic<std::uint32_t> mapped;  // The id maps are written: begin. A futex.
  std::atomic<int> failed_line;       // Of this file; 0: nothing failed.
  std::atomic<int> failed_errno;
};

struct RawLauncher::ChildView {
  const Plan& plan;
  Shared& shared;
  char* const* argv;
  char* const* envp;
  int null_fd;

  long check(long result, int line = __builtin_LINE()) const noexcept {
    if (result >= 0) return result;
    shared.failed_errno = static_cast<int>(-result);
    shared.failed_line = line;
    for (;;) raw_syscall(SYS_exit_group, 125);
  }
};

RawLauncher::RawLauncher(const Plan& plan, ChildMemory memory)
    : plan_(plan),
      memory_(memory),
      argv_(pointers(plan.handler.argv)),
      envp_(pointers(plan.environment)),
      stack_(std::make_unique<std::byte[]>(kStackSize)) {
  void* page =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw std::runtime_error(failed("mmap"));
  shared_ = static_cast<Shared*>(page);
  if (plan.host.privileged) {
    auto uids = isolation::UidLeases::open(*plan.host.slot_uids, "/run/fnrun/uids.lock");
    uid_ = uids.value().acquire().value();
  }
  if (plan.use_cgroup) {
    cgroup_parent_ =
        UniqueFd(::open(plan.host.cgroup.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    static int made = 0;
    const std::string name =
        "fnrun-bench-" + std::to_string(::getpid()) + "-" + std::to_string(++made);
    if (::mkdirat(cgroup_parent_.get(), name.c_str(), 0755) != 0)
      throw std::runtime_error(failed("making cgroup " + name));
    cgroup_name_ = name;
    cgroup_tree_ =
        UniqueFd(::openat(cgroup_parent_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
}

RawLauncher::~RawLauncher() {
  if (cgroup_parent_) ::unlinkat(cgroup_parent_.get(), cgroup_name_.c_str(), AT_REMOVEDIR);
  if (shared_ != nullptr) ::munmap(shared_, sizeof(Shared));
}

std::string RawLauncher::run(int null_fd) {
  std::string cgroup;
  UniqueFd cgroup_dir;
  if (cgroup_tree_) {
    cgroup = "sandbox-" + std::to_string(next_++);
    if (::mkdirat(cgroup_tree_.get(), cgroup.c_str(), 0755) != 0) return failed("mkdir cgroup");
    cgroup_dir =
        UniqueFd(::openat(cgroup_tree_.get(), cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  shared_->mapped = 0;
  shared_->failed_line = 0;
  const ChildView view{plan_, *shared_, argv_.data(), envp_.data(), null_fd};
  std::byte* stack = memory_ == ChildMemory::kShared ? stack_.get() : nullptr;
  int pidfd_number = -1;
  const long pid = clone_child(kNamespaces | (stack != nullptr ? CLONE_VM : 0), cgroup_dir.get(),
                               pidfd_number, view, stack);
  const UniqueFd pidfd(pidfd_number);
  std::string problem;
  if (pid < 0) {
    problem = std::string("clone3: ") + std::strerror(static_cast<int>(-pid));
  } else {
    problem = write_maps(static_cast<pid_t>(pid));
    if (!problem.empty()) ::kill(static_cast<pid_t>(pid), SIGKILL);
    shared_->mapped = 1;
    ::syscall(SYS_futex, &shared_->mapped, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    const std::string end = wait_for_end(pidfd.get());
    if (problem.empty()) problem = end;
  }
  if (cgroup_dir && ::unlinkat(cgroup_tree_.get(), cgroup.c_str(), AT_REMOVEDIR) != 0)
    return failed("rmdir cgroup");
  return problem;
}

std::string RawLauncher::write_maps(pid_t pid) const {
  const std::string proc = "/proc/" + std::to_string(pid) + "/";
  const bool own = plan_.host.privileged;
  const auto line = [](std::uint32_t inside, std::uint32_t outside) {
    return std::to_string(inside) + " " + std::to_string(outside) + " 1";
  };
  if (auto problem = write_file(proc + "uid_map",
                                line(plan_.policy.identity.uid, own ? uid_.uid() : plan_.host.uid));
      !problem.empty())
    return problem;
  if (!own) {
    if (auto problem = write_file(proc + "setgroups", "deny"); !problem.empty()) return problem;
  }
  return write_file(proc + "gid_map",
                    line(plan_.policy.identity.gid, own ? uid_.uid() : plan_.host.gid));
}

std::string RawLauncher::wait_for_end(int pidfd) const {
  pollfd gone{pidfd, POLLIN, 0};
  while (::poll(&gone, 1, -1) < 0 && errno == EINTR) {
  }
  siginfo_t info{};
  if (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED) != 0) return failed("waitid");
  if (shared_->failed_line != 0)
    return "raw_launcher.cc:" + std::to_string(shared_->failed_line) + ": " +
           std::strerror(shared_->failed_errno);
  if (info.si_code != CLD_EXITED || info.si_status != 0)
    return "the handler ended with " + std::to_string(info.si_status);
  return "";
}

// From here to the end: the child. Raw system calls only, as its memory may be the parent's.

void RawLauncher::build_root(const ChildView& view) noexcept {
  view.check(raw_syscall(SYS_mount, 0, as_arg("/"), 0, MS_REC | MS_PRIVATE, 0));
  constexpr long kRootFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  view.check(raw_syscall(SYS_mount, as_arg("tmpfs"), as_arg(kScratch), as_arg("tmpfs"), kRootFlags,
                         as_arg("mode=0755,size=1m")));
  view.check(raw_syscall(SYS_chdir, as_arg(kScratch)));
  for (const RootEntry& entry : view.plan.root) {
    const char* path = entry.path.c_str();
    const char* source = entry.source.c_str();
    switch (entry.kind) {
      case RootEntry::Kind::kDirectory:
        view.check(raw_syscall(SYS_mkdir, as_arg(path), 0755));
        break;
      case RootEntry::Kind::kFile:
        view.check(raw_syscall(SYS_mknod, as_arg(path), S_IFREG | 0644));
        break;
      case RootEntry::Kind::kSymlink:
        view.check(raw_syscall(SYS_symlink, as_arg(source), as_arg(path)));
        break;
      case RootEntry::Kind::kMount: {
        view.check(raw_syscall(SYS_mount, as_arg(source), as_arg(path), 0, MS_BIND | MS_REC));
        mount_attr attributes{
            .attr_set = entry.attributes, .attr_clr = 0, .propagation = 0, .userns_fd = 0};
        view.check(raw_syscall(SYS_mount_setattr, AT_FDCWD, as_arg(path), AT_RECURSIVE,
                               as_arg(&attributes), sizeof attributes));
        break;
      }
      case RootEntry::Kind::kTmpfs:
      case RootEntry::Kind::kProc: {
        const char* type = entry.kind == RootEntry::Kind::kTmpfs ? "tmpfs" : "proc";
        view.check(raw_syscall(SYS_mount, as_arg(type), as_arg(path), as_arg(type), entry.flags,
                               as_arg(source)));
        break;
      }
    }
  }
  view.check(raw_syscall(SYS_pivot_root, as_arg("."), as_arg(".")));
  view.check(raw_syscall(SYS_umount2, as_arg("."), MNT_DETACH));
  view.check(
      raw_syscall(SYS_mount, 0, as_arg("/"), 0, MS_REMOUNT | MS_BIND | MS_RDONLY | kRootFlags, 0));
  view.check(raw_syscall(SYS_chdir, as_arg(view.plan.policy.working_directory.c_str())));
}

void RawLauncher::drop_privilege(const ChildView& view) noexcept {
  for (const isolation::ResourceLimit& limit : view.plan.limits) {
    const std::uint64_t pair[2] = {limit.value, limit.value};
    view.check(raw_syscall(SYS_prlimit64, 0, limit.resource, as_arg(pair), 0));
  }
  for (unsigned cap = 0; cap <= view.plan.host.last_capability; ++cap)
    view.check(raw_syscall(SYS_prctl, PR_CAPBSET_DROP, cap));
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  view.check(raw_syscall(SYS_capset, as_arg(&header), as_arg(none)));
  view.check(raw_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

void RawLauncher::child_main(const ChildView* at) noexcept {
  const ChildView& view = *at;
  const Plan& plan = view.plan;
  while (view.shared.mapped.load(std::memory_order_acquire) == 0)
    raw_syscall(SYS_futex, as_arg(&view.shared.mapped), FUTEX_WAIT, 0, 0, 0, 0);
  const long uid = plan.policy.identity.uid;
  const long gid = plan.policy.identity.gid;
  if (plan.host.privileged) view.check(raw_syscall(SYS_setgroups, 0, 0));
  view.check(raw_syscall(SYS_setresgid, gid, gid, gid));
  view.check(raw_syscall(SYS_setresuid, uid, uid, uid));
  view.check(raw_syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  build_root(view);
  const std::string& hostname = plan.policy.identity.hostname;
  view.check(raw_syscall(SYS_sethostname, as_arg(hostname.data()), long(hostname.size())));
  // Off the caller's terminal, as fnrun. On a busy machine it is not for free: see README.md.
  view.check(raw_syscall(SYS_setsid));
  for (int fd = 0; fd <= 2; ++fd) view.check(raw_syscall(SYS_dup2, view.null_fd, fd));
  drop_privilege(view);
  for (const BpfProgram* filter : {&plan.seccomp_floor, &plan.seccomp}) {
    const sock_fprog program{static_cast<unsigned short>(filter->size()),
                             const_cast<sock_filter*>(filter->data())};  // NOLINT: not written
    view.check(raw_syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, as_arg(&program)));
  }
  view.check(raw_syscall(SYS_execve, as_arg(plan.handler.path.c_str()), as_arg(view.argv),
                         as_arg(view.envp)));
  for (;;) raw_syscall(SYS_exit_group, 125);
}

long RawLauncher::clone_child(std::uint64_t flags, int cgroup_fd, int& pidfd, const ChildView& view,
                              std::byte* stack) noexcept {
  clone_args args{};
  args.flags = flags | CLONE_PIDFD | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0);
  args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<std::uint64_t>(stack);
  args.stack_size = stack != nullptr ? kStackSize : 0;
  args.cgroup = cgroup_fd >= 0 ? static_cast<__u64>(cgroup_fd) : 0;
  long result;
  // SAFETY: the child leaves this frame at once and never comes back; it may be on another stack,
  // so what it needs is in registers.
  register const ChildView* in_child asm("r12") = &view;
  register void (*entry)(const ChildView*) asm("r13") = &RawLauncher::child_main;
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "and $-16, %%rsp\n"
      "mov %%r12, %%rdi\n"
      "call *%%r13\n"
      "hlt\n"
      "1:\n"
      : "=a"(result)
      : "a"(SYS_clone3), "D"(&args), "S"(sizeof args), "r"(in_child), "r"(entry)
      : "rcx", "r11", "memory");
  return result;
}

}  // namespace fnrun::bench
