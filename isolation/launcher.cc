#include "isolation/launcher.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>

#include "isolation/cgroup/tree.h"
#include "isolation/child/enter.h"
#include "isolation/child/launch_plan.h"
#include "isolation/plan_message.h"
#include "isolation/signal_block.h"
#include "isolation/stragglers.h"

extern "C" const unsigned char fnrun_init_image_begin[];
extern "C" const unsigned char fnrun_init_image_end[];

namespace fnrun::isolation {
namespace {

#ifndef MFD_EXEC
constexpr unsigned MFD_EXEC = 0x10U;  // Linux 6.3
#endif

constexpr std::uint64_t kNamespaces =
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
std::uint64_t namespaces([[maybe_unused]] const Plan& plan) {
  std::uint64_t flags = kNamespaces;
#ifdef FNRUN_TEST_SWITCHES
  constexpr std::pair<child::TestSwitch, std::uint64_t> kFlags[] = {
      {child::kSwitchUserNamespace, CLONE_NEWUSER}, {child::kSwitchPidNamespace, CLONE_NEWPID},
      {child::kSwitchMountNamespace, CLONE_NEWNS},  {child::kSwitchNetworkNamespace, CLONE_NEWNET},
      {child::kSwitchIpcNamespace, CLONE_NEWIPC},   {child::kSwitchUtsNamespace, CLONE_NEWUTS}};
  for (const auto& [layer, flag] : kFlags)
    if ((plan.switched_off & layer) != 0) flags &= ~flag;
#endif
  return flags;
}

// Never 0 but in a test that shows what that would mean.
std::uint32_t host_id(std::uint32_t id, [[maybe_unused]] const Plan& plan) {
#ifdef FNRUN_TEST_SWITCHES
  if ((plan.switched_off & child::kSwitchUidMap) != 0) return 0;
#endif
  return id;
}

SetupError error_at(SetupStep step, std::string subject, int os_errno = errno) {
  return {step, 0, os_errno, std::move(subject)};
}

// Descriptors that the child moves to 3 must not be overwritten on the way.
UniqueFd above_stdio(UniqueFd fd) {
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 16));
}

// The init's program in a sealed memory file: what runs as PID 1 is what was built, whatever
// happens to files (CVE-2019-5736 was a container runtime overwritten through /proc/self/exe).
Result<UniqueFd> make_init_image() {
  UniqueFd fd(::memfd_create("fnrun-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!fd && errno == EINVAL)
    fd.reset(::memfd_create("fnrun-init", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return error_at(SetupStep::kInitImage, "memfd_create");
  const auto size = static_cast<std::size_t>(fnrun_init_image_end - fnrun_init_image_begin);
  if (::write(fd.get(), fnrun_init_image_begin, size) != static_cast<ssize_t>(size))
    return error_at(SetupStep::kInitImage, "writing the image");
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    return error_at(SetupStep::kInitImage, "sealing the image");
  fd = above_stdio(std::move(fd));
  if (!fd) return error_at(SetupStep::kInitImage, "descriptor for the image");
  return fd;
}

Result<void> write_proc(int proc_dir, const char* file, const std::string& text) {
  const UniqueFd fd(::openat(proc_dir, file, O_WRONLY | O_CLOEXEC));
  if (!fd) return error_at(SetupStep::kIdMap, std::string("opening ") + file);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return error_at(SetupStep::kIdMap, std::string("writing '") + text + "' to " + file);
  return {};
}

// One inside id to one outside id, which is never host uid 0: a sandbox whose uid is root on the
// host owns /proc/sys, whatever capabilities it lacks.
Result<void> write_id_maps(pid_t pid, int pidfd, const Plan& plan, std::uint32_t host_uid,
                           std::uint32_t host_gid) {
  if ((namespaces(plan) & CLONE_NEWUSER) == 0) return {};
  const std::string path = "/proc/" + std::to_string(pid);
  const UniqueFd proc(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  // An embedding program may ignore SIGCHLD or reap our child: then the pid can be another's by
  // now. What was opened is our child's if the pidfd still finds it afterwards.
  if (!proc || ::syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) != 0)
    return error_at(SetupStep::kIdMap, path);
  const auto line = [](std::uint32_t inside, std::uint32_t outside) {
    return std::to_string(inside) + " " + std::to_string(outside) + " 1\n";
  };
  if (auto r = write_proc(proc.get(), "uid_map",
                          line(plan.policy.identity.uid, host_id(host_uid, plan)));
      !r)
    return r;
  // CVE-2014-8989: without privilege a gid map is only allowed once groups cannot be dropped.
  if (!plan.host.privileged) {
    if (auto r = write_proc(proc.get(), "setgroups", "deny"); !r) return r;
  }
  return write_proc(proc.get(), "gid_map", line(plan.policy.identity.gid, host_gid));
}

// So that /dev/stdin and its like open inside, where the opener's uid counts. Only what is nothing
// but a pipe between two processes: a file or a named pipe of the caller's keeps its owner.
void own_pipes(const Stdio& stdio, std::uint32_t host_uid) {
  constexpr long kPipeFs = 0x50495045;  // PIPEFS_MAGIC
  for (const UniqueFd* fd : {&stdio.in, &stdio.out, &stdio.err}) {
    struct statfs info {};
    if (::fstatfs(fd->get(), &info) == 0 && info.f_type == kPipeFs)
      (void)!::fchown(fd->get(), host_uid, host_uid);
  }
}

// The sources as detached mounts, already read-only and private, made where they may be walked to:
// the sandbox's uid need not be able to (a checkout under a 0700 home).
Result<std::vector<UniqueFd>> clone_mounts(const Plan& plan) {
  std::vector<UniqueFd> trees;
  if (!plan.host.privileged) return trees;
  std::uint16_t index = 0;
  for (const RootEntry& entry : plan.root) {
    if (entry.kind != RootEntry::Kind::kMount) continue;
    UniqueFd tree(static_cast<int>(
        ::syscall(SYS_open_tree, entry.source_fd.get(), "",
                  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE)));
    mount_attr attributes{
        .attr_set = entry.attributes, .attr_clr = 0, .propagation = MS_PRIVATE, .userns_fd = 0};
    if (!tree || ::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE,
                           &attributes, sizeof attributes) != 0)
      return SetupError{SetupStep::kOpenTree, index, errno, entry.source};
    trees.push_back(std::move(tree));
    ++index;
  }
  return trees;
}

Result<void> send_plan(int socket, const std::vector<std::byte>& message, const Stdio& stdio,
                       const std::vector<UniqueFd>& mounts) {
  std::vector<int> fds{stdio.in.get(), stdio.out.get(), stdio.err.get()};
  for (const UniqueFd& mount : mounts) fds.push_back(mount.get());
  if (fds.size() > child::kFdMax)
    return error_at(SetupStep::kSendPlan, std::to_string(fds.size()) + " descriptors", E2BIG);
  std::vector<std::byte> control(CMSG_SPACE(fds.size() * sizeof(int)));
  // SAFETY: sendmsg does not write through iov_base.
  iovec iov{const_cast<std::byte*>(message.data()), message.size()};  // NOLINT
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  if (::sendmsg(socket, &header, MSG_NOSIGNAL) != static_cast<ssize_t>(message.size()))
    return error_at(SetupStep::kSendPlan, std::to_string(message.size()) + " bytes");
  return {};
}

std::string subject_of(const Plan& plan, const child::Report& report) {
  switch (report.step) {
    case SetupStep::kFsOp:
      if (report.index < plan.root.size())
        return "/" + plan.root[report.index].path +
               (plan.root[report.index].source.empty() ? ""
                                                       : " from " + plan.root[report.index].source);
      return "";
    case SetupStep::kRlimit:
      return report.index < plan.limits.size() ? plan.limits[report.index].name : "";
    case SetupStep::kLandlockRule:
      return report.index < plan.landlock_paths.size() ? plan.landlock_paths[report.index].path
                                                       : "";
    case SetupStep::kExec:
      return plan.handler.path;
    case SetupStep::kWorkingDirectory:
      return plan.policy.working_directory;
    default:
      return "";
  }
}

// One report, without waiting. ECONNRESET comes once, before what the other side had still to say,
// when it ended without reading all of ours.
ssize_t receive_report(int control, child::Report& report) {
  for (;;) {
    const ssize_t size = ::recv(control, &report, sizeof report, MSG_DONTWAIT);
    if (size >= 0 || (errno != EINTR && errno != ECONNRESET)) return size;
  }
}

// Waits for the init's word. End of file means only that it is gone: killed before it could say.
Result<void> await_start(int control, const Plan& plan,
                         std::chrono::steady_clock::time_point limit) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return error_at(SetupStep::kStartTimeout, "the sandbox did not start in time", 0);
    pollfd readable{control, POLLIN, 0};
    const int ready = ::poll(&readable, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return error_at(SetupStep::kControlSocket, "poll");
    if (ready <= 0) continue;
    child::Report report{};
    const ssize_t size = receive_report(control, report);
    if (size < 0 && errno == EAGAIN) continue;
    if (size != sizeof report) return error_at(SetupStep::kKilledBeforeExec, "", 0);
    if (report.kind == child::ReportKind::kStarted) return {};
    return SetupError{report.step, report.index, report.os_errno, subject_of(plan, report)};
  }
}

// Why an init is gone that never said why, as far as its group's counters tell.
SetupError killed_before_exec(Sandbox& sandbox) {
  const ResourceUse use = sandbox.use();
  if (use.oom_kills.value_or(0) == 0) return error_at(SetupStep::kKilledBeforeExec, "", 0);
  if (use.memory_max_hits.value_or(0) == 0)
    return error_at(SetupStep::kKilledBeforeExec,
                    "the host, or a group above the sandbox, ran out of memory", 0);
  return error_at(SetupStep::kCgroupLimit,
                  "memory_max_bytes is too small for the handler to start: the kernel's OOM killer "
                  "ended the sandbox",
                  0);
}

// A child that failed early makes our own next step fail too; its word, or its death, says more.
SetupError prefer_report(Sandbox& sandbox, const Plan& plan, SetupError ours) {
  if (ours.step == SetupStep::kKilledBeforeExec) return killed_before_exec(sandbox);
  if (ours.step != SetupStep::kIdMap && ours.step != SetupStep::kSendPlan) return ours;
  child::Report report{};
  if (receive_report(sandbox.ended_fd(), report) == sizeof report &&
      report.kind == child::ReportKind::kFailed)
    return {report.step, report.index, report.os_errno, subject_of(plan, report)};
  pollfd gone{sandbox.pidfd(), POLLIN, 0};
  if (::poll(&gone, 1, 0) == 1) return killed_before_exec(sandbox);
  return ours;
}

}  // namespace

struct Launcher::Shared {
  UniqueFd init_image;
  std::optional<UidLeases> uids;
  std::optional<CgroupTree> cgroups;
  std::mutex cgroup_mutex;
  // Goes first: what it holds has a uid and a cgroup of the above.
  std::shared_ptr<Stragglers> stragglers = std::make_shared<Stragglers>();

  Result<Cgroup> make_cgroup(const Plan& plan) {
    const std::lock_guard guard(cgroup_mutex);
    if (auto enabled = cgroups->enable(plan.controllers); !enabled) return enabled.error();
    return cgroups->make_cgroup();
  }
};

Launcher::Launcher(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}
Launcher::Launcher(Launcher&&) noexcept = default;
Launcher::~Launcher() = default;

Result<Launcher> Launcher::make(const Host& host, const LauncherOptions& options) {
  auto shared = std::make_unique<Shared>();
  auto image = make_init_image();
  if (!image) return image.error();
  shared->init_image = std::move(*image);
  if (host.privileged) {
    auto uids = UidLeases::open(*host.slot_uids, options.uid_lock_file);
    if (!uids) return uids.error();
    shared->uids.emplace(std::move(*uids));
  }
  if (!host.cgroup.dir.empty()) {
    auto cgroups = CgroupTree::make(host.cgroup, shared->init_image.get());
    if (!cgroups) return cgroups.error();
    shared->cgroups.emplace(std::move(*cgroups));
  }
  return Launcher(std::move(shared));
}

// The order: what can fail without a process comes first; the maps are written while the init is
// still loading; the plan goes last, because having it is the init's sign to begin.
Result<Sandbox> Launcher::launch(const Plan& plan, Stdio stdio,
                                 std::span<const std::string> extra_environment,
                                 std::chrono::steady_clock::time_point latest) {
  const auto began = std::chrono::steady_clock::now();
  const auto message = encode_plan(plan, extra_environment);
  if (!message) return message.error();
  // The child's, until it runs its own program: declared first so that they outlive `sandbox`,
  // whose destructor undoes whatever was reached and waits for the child to be gone.
  alignas(16) std::array<std::byte, child::kEnterStackSize> stack;
  child::EnterPlan enter{.init_image_fd = shared_->init_image.get(), .role = child::Role::kSandbox};
#ifdef FNRUN_TEST_SWITCHES
  enter.switched_off = plan.switched_off;
#endif
  shared_->stragglers->reap_ended();
  Sandbox sandbox;
  sandbox.stragglers_ = shared_->stragglers;
  sandbox.kill_timeout_ = plan.policy.limits.kill_timeout;
  if (plan.host.privileged) {
    auto lease = shared_->uids->acquire();
    if (!lease) return lease.error();
    sandbox.uid_ = std::move(*lease);
  }
  if (plan.use_cgroup && shared_->cgroups) {
    auto cgroup = shared_->make_cgroup(plan);
    if (!cgroup) return cgroup.error();
    sandbox.cgroup_ = std::move(*cgroup);
    if (auto limited = sandbox.cgroup_.set(plan.cgroup_settings); !limited) return limited.error();
  }
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return error_at(SetupStep::kControlSocket, "socketpair");
  sandbox.control_ = UniqueFd(pair[0]);
  UniqueFd theirs = above_stdio(UniqueFd(pair[1]));
  if (!theirs) return error_at(SetupStep::kControlSocket, "descriptor for the init");
  enter.control_fd = theirs.get();
  {
    const SignalBlock block;
    const auto clone =
        child::clone_init(namespaces(plan), sandbox.cgroup_.dir_fd(), enter, stack.data());
    if (clone.pid < 0) return error_at(SetupStep::kClone, "clone3", static_cast<int>(-clone.pid));
    sandbox.pid_ = static_cast<pid_t>(clone.pid);
    sandbox.pidfd_ = UniqueFd(clone.pidfd);
  }
  auto started = [&]() -> Result<void> {
    const std::uint32_t slot = sandbox.uid_.uid();
    const bool own = plan.host.privileged;
    if (auto r = write_id_maps(sandbox.pid_, sandbox.pidfd_.get(), plan, own ? slot : plan.host.uid,
                               own ? slot : plan.host.gid);
        !r)
      return r;
    if (own) own_pipes(stdio, slot);
    const auto mounts = clone_mounts(plan);
    if (!mounts) return mounts.error();
    if (auto r = send_plan(sandbox.control_.get(), *message, stdio, *mounts); !r) return r;
    theirs.reset();  // The init's end is now the only one: its death is our end of file.
    return await_start(sandbox.control_.get(), plan,
                       std::min(latest, began + plan.policy.limits.start_timeout));
  }();
  sandbox.start_time_ = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - began);
  if (!started) return prefer_report(sandbox, plan, started.error());
  return sandbox;
}

}  // namespace fnrun::isolation
