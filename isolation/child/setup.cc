// The steps of setting up a sandbox; see setup.h. Raw system calls on the plan's ready-made data.
#include "isolation/child/setup.h"

#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/securebits.h>

#include "isolation/child/kernel_abi.h"
#include "isolation/child/raw_syscall.h"

namespace fnrun::child {
namespace {

unsigned length(const char* text) noexcept {
  unsigned n = 0;
  while (text[n] != '\0') ++n;
  return n;
}

// A single-purpose tmpfs or proc mount at a path relative to the new root.
long mount_filesystem(const char* type, const char* path, unsigned long flags,
                      const char* options) noexcept {
  return raw_syscall(__NR_mount, as_arg(type), as_arg(path), as_arg(type), long(flags),
                     as_arg(options));
}

// Whoever owns a folder on the way may have put something else there since the plan was compiled; a
// privileged supervisor has it open, this one has to look again.
long bind_by_path(const char* source, const char* path, const FsOp& op) noexcept {
  const long tree = raw_syscall(__NR_open_tree, kAtFdCwd, as_arg(source),
                                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | kAtRecursive);
  if (tree < 0) return tree;
  struct stat found {};
  const bool same = raw_syscall(__NR_fstat, tree, as_arg(&found)) == 0 &&
                    found.st_dev == op.device && found.st_ino == op.inode;
  MountAttr attr{
      .attr_set = op.attributes, .attr_clr = 0, .propagation = MS_PRIVATE, .userns_fd = 0};
  long result = -116;  // ESTALE
  if (same)
    result = raw_syscall(__NR_mount_setattr, tree, as_arg(""), kAtEmptyPath | kAtRecursive,
                         as_arg(&attr), sizeof attr);
  if (result >= 0)
    result = raw_syscall(__NR_move_mount, tree, as_arg(""), kAtFdCwd, as_arg(path),
                         MOVE_MOUNT_F_EMPTY_PATH);
  raw_syscall(__NR_close, tree);
  return result;
}

long make_file(const char* path) noexcept {
  const long fd = raw_syscall(__NR_openat, kAtFdCwd, as_arg(path),
                              O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
  return fd < 0 ? fd : raw_syscall(__NR_close, fd);
}

long apply(const Received& received, const FsOp& op, unsigned& next_fd) noexcept {
  const char* path = received.text(op.path);
  const char* source = received.text(op.source);
  switch (op.kind) {
    case FsOpKind::kDirectory:
      // Unwritable also where it lies in /tmp, on the way to a handler there.
      return raw_syscall(__NR_mkdirat, kAtFdCwd, as_arg(path), 0555);
    case FsOpKind::kFile:
      return make_file(path);
    case FsOpKind::kSymlink:
      return raw_syscall(__NR_symlinkat, as_arg(source), kAtFdCwd, as_arg(path));
    case FsOpKind::kAttach:
      if (next_fd >= received.mount_fd_count) return -9;  // EBADF: the parent sent too few.
      return raw_syscall(__NR_move_mount, received.mount_fds[next_fd++], as_arg(""), kAtFdCwd,
                         as_arg(path), MOVE_MOUNT_F_EMPTY_PATH);
    case FsOpKind::kBind:
      return bind_by_path(source, path, op);
    case FsOpKind::kTmpfs:
      return mount_filesystem("tmpfs", path, op.flags, source);
    case FsOpKind::kProc:
      return mount_filesystem("proc", path, op.flags, source);
  }
  return -22;  // EINVAL
}

// A detached tmpfs, attached over "/" and entered by descriptor: the one place that exists on every
// host. Path look-ups of absolute paths still see the old root, which the binds by path need.
void mount_new_root(const Received& received) noexcept {
  const auto step = SetupStep::kRootMount;
  const long context = check(raw_syscall(__NR_fsopen, as_arg("tmpfs"), FSOPEN_CLOEXEC), step, 0);
  check(raw_syscall(__NR_fsconfig, context, FSCONFIG_SET_STRING, as_arg("mode"), as_arg("0755")),
        step, 1);
  check(raw_syscall(__NR_fsconfig, context, FSCONFIG_SET_STRING, as_arg("size"),
                    as_arg(received.text(received.plan->root_size))),
        step, 2);
  check(raw_syscall(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0), step, 3);
  const long root = check(raw_syscall(__NR_fsmount, context, FSMOUNT_CLOEXEC,
                                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
                          step, 4);
  check(raw_syscall(__NR_move_mount, root, as_arg(""), kAtFdCwd, as_arg("/"),
                    MOVE_MOUNT_F_EMPTY_PATH),
        step, 5);
  check(raw_syscall(__NR_fchdir, root), step, 6);
  raw_syscall(__NR_close, root);
  raw_syscall(__NR_close, context);
}

}  // namespace

// First, while nothing is mounted: what the tmpfs mounts then hold belongs to the slot's uid. In a
// namespace that maps no uid 0 the change keeps the capabilities.
void become_slot_user(const Received& received) noexcept {
  const LaunchPlan& plan = *received.plan;
  if (!is_on(plan, kSwitchUserNamespace))
    raw_syscall(__NR_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
  if (plan.drop_groups) check(raw_syscall(__NR_setgroups, 0, 0), SetupStep::kCredentials, 0);
  check(raw_syscall(__NR_setresgid, plan.gid, plan.gid, plan.gid), SetupStep::kCredentials, 1);
  check(raw_syscall(__NR_setresuid, plan.uid, plan.uid, plan.uid), SetupStep::kCredentials, 2);
}

static long write_file(const char* path, const char* text) noexcept {
  const long fd = raw_syscall(__NR_openat, kAtFdCwd, as_arg(path), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fd;
  const long written = raw_syscall(__NR_write, fd, as_arg(text), length(text));
  raw_syscall(__NR_close, fd);
  return written;
}

// Limits of our own user namespace. What is made inside is charged to its creator as well, so that
// without these one sandbox could use up the inotify instances of the host's root. And no user
// namespace can be made in this one, whatever the filter lets through. Not a step that can fail: in
// a container /proc/sys is read-only, and the filter of strict stands before all three.
static void limit_own_namespace() noexcept {
  write_file("/proc/sys/user/max_user_namespaces", "0");
  write_file("/proc/sys/user/max_inotify_instances", "16");
  write_file("/proc/sys/user/max_inotify_watches", "4096");
}

// The cgroup namespace is entered here rather than by clone3: clone3 would root it at the
// supervisor's cgroup and so tell its path. The time namespace takes our children in, and its
// offsets can be written only until then.
void enter_own_namespaces(const Received& received) noexcept {
  const LaunchPlan& plan = *received.plan;
  check(raw_syscall(__NR_unshare, long(plan.unshare_flags)), SetupStep::kNamespaces);
  if (const char* offsets = received.text(plan.time_offsets); offsets != nullptr)
    check(write_file("/proc/self/timens_offsets", offsets), SetupStep::kTimeOffsets);
  // When memory runs out, a handler goes before anything of the host. By the init, which has its
  // own memory: the kernel gives the score to everybody who shares it.
  check(write_file("/proc/self/oom_score_adj", received.text(plan.oom_score_adj)),
        SetupStep::kOomScore);
  if (is_on(plan, kSwitchUserNamespace)) limit_own_namespace();  // Else it would be the host's.
}

void build_root(const Received& received) noexcept {
  const LaunchPlan& plan = *received.plan;
  // Nothing that we mount may travel to the host, nothing of the host's may arrive here.
  check(raw_syscall(__NR_mount, 0, as_arg("/"), 0, MS_REC | MS_PRIVATE, 0),
        SetupStep::kMountPropagation);
  raw_syscall(__NR_umask, 022);  // The supervisor's own would shape what we make.
  mount_new_root(received);
  unsigned next_fd = 0;
  const FsOp* ops = received.array<FsOp>(plan.fs_ops);
  for (unsigned i = 0; i < plan.fs_ops.count; ++i)
    check(apply(received, ops[i], next_fd), SetupStep::kFsOp, i);

  // The descriptors of the attached mounts have served.
  check(raw_syscall(__NR_close_range, kControlFd + 1, ~0U, 0), SetupStep::kFsOp, plan.fs_ops.count);

  // pivot_root(".", ".") stacks the old root over the new one; detaching it leaves no path, no
  // mount and no descriptor to the host (chroot would leave all three).
  if (is_on(plan, kSwitchPivotRoot)) {
    check(raw_syscall(__NR_pivot_root, as_arg("."), as_arg(".")), SetupStep::kPivotRoot);
    check(raw_syscall(__NR_umount2, as_arg("."), kUmountDetach), SetupStep::kDetachOldRoot);
  }
  check(raw_syscall(__NR_chdir, as_arg("/")), SetupStep::kDetachOldRoot, 1);
  MountAttr read_only{
      .attr_set = MOUNT_ATTR_RDONLY, .attr_clr = 0, .propagation = 0, .userns_fd = 0};
  if (is_on(plan, kSwitchReadOnlyRoot))
    check(raw_syscall(__NR_mount_setattr, kAtFdCwd, as_arg("/"), 0, as_arg(&read_only),
                      sizeof read_only),
          SetupStep::kRootReadOnly);
  check(raw_syscall(__NR_chdir, as_arg(received.text(plan.working_directory))),
        SetupStep::kWorkingDirectory);
}

// Whatever the supervisor was started with (an ignored SIGPIPE, a real-time class, a umask) ends
// here.
void normalise_process(const Received& received) noexcept {
  const LaunchPlan& plan = *received.plan;
  const char* hostname = received.text(plan.hostname);
  if (is_on(plan, kSwitchUtsNamespace)) {
    check(raw_syscall(__NR_sethostname, as_arg(hostname), length(hostname)), SetupStep::kHostname,
          0);
    check(raw_syscall(__NR_setdomainname, as_arg("(none)"), 6), SetupStep::kHostname, 1);
  }
  check(raw_syscall(__NR_setsid), SetupStep::kSession);
  // KERNEL without CONFIG_KEYS: ENOSYS, and then there is no keyring to inherit either.
  long keyring = 0;
  if (is_on(plan, kSwitchKeyring))
    keyring = raw_syscall(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
  if (keyring < 0 && keyring != -38) fail(SetupStep::kKeyring, 0, keyring);
  const int priority = 0;  // struct sched_param
  const long scheduled =
      raw_syscall(__NR_sched_setscheduler, 0, /*SCHED_OTHER=*/0, as_arg(&priority));
  // EPERM: the supervisor runs under SCHED_IDLE and may not leave it; that is less, not more.
  if (scheduled < 0 && scheduled != -1) fail(SetupStep::kScheduling, 0, scheduled);
  // A supervisor that runs nicer than 0 keeps its sandboxes so: raising them takes privilege.
  raw_syscall(__NR_setpriority, /*PRIO_PROCESS=*/0, 0, 0);
  // The same of input and output: a real-time class (1) goes, what is less than usual stays.
  if (raw_syscall(__NR_ioprio_get, /*IOPRIO_WHO_PROCESS=*/1, 0) >> 13 == 1)
    raw_syscall(__NR_ioprio_set, 1, 0, 0);
  // Not 0, which means what our parent had; 50 us is the kernel's own default.
  raw_syscall(__NR_prctl, PR_SET_TIMERSLACK, 50'000, 0, 0, 0);
  // PER_LINUX: a supervisor started without address randomisation does not hand that on.
  raw_syscall(__NR_personality, 0);
  const KernelSigaction by_default{};
  for (unsigned signal = 1; signal <= 64; ++signal) {
    if (signal == kSigKill || signal == kSigStop) continue;
    check(raw_syscall(__NR_rt_sigaction, signal, as_arg(&by_default), 0, 8), SetupStep::kSignals,
          signal);
  }
  const Rlimit* limits = received.array<Rlimit>(plan.rlimits);
  for (unsigned i = 0; is_on(plan, kSwitchRlimits) && i < plan.rlimits.count; ++i) {
    const std::uint64_t pair[2] = {limits[i].soft, limits[i].hard};
    check(raw_syscall(__NR_prlimit64, 0, limits[i].resource, as_arg(pair), 0), SetupStep::kRlimit,
          i);
  }
}

namespace {

// Order: the bounding set and the securebits need CAP_SETPCAP, so capset is the last of them.
void give_up_capabilities(const LaunchPlan& plan) noexcept {
  for (unsigned cap = 0; cap <= plan.last_capability; ++cap)
    check(raw_syscall(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0), SetupStep::kBoundingSet, cap);
  const unsigned long securebits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                   SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                   SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  check(raw_syscall(__NR_prctl, PR_SET_SECUREBITS, long(securebits), 0, 0, 0),
        SetupStep::kSecurebits);
  check(raw_syscall(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
        SetupStep::kCapabilities, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  check(raw_syscall(__NR_capset, as_arg(&header), as_arg(none)), SetupStep::kCapabilities, 1);
}

}  // namespace

void give_up_privilege(const Received& received) noexcept {
  const LaunchPlan& plan = *received.plan;
  if (is_on(plan, kSwitchCapabilities)) give_up_capabilities(plan);
  if (is_on(plan, kSwitchNoNewPrivs))
    check(raw_syscall(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), SetupStep::kNoNewPrivs);
}

int build_landlock_ruleset(const Received& received) noexcept {
  const LaunchPlan& plan = *received.plan;
  if (plan.landlock_fs == 0 || !is_on(plan, kSwitchLandlock)) return -1;
  const LandlockRulesetAttr attr{plan.landlock_fs, plan.landlock_net, plan.landlock_scoped};
  const long ruleset = check(
      raw_syscall(__NR_landlock_create_ruleset, as_arg(&attr), long(plan.landlock_attr_size), 0),
      SetupStep::kLandlockRuleset);
  const LandlockRule* rules = received.array<LandlockRule>(plan.landlock_rules);
  for (unsigned i = 0; i < plan.landlock_rules.count; ++i) {
    const long path = check(raw_syscall(__NR_openat, kAtFdCwd, as_arg(received.text(rules[i].path)),
                                        O_PATH | O_CLOEXEC),
                            SetupStep::kLandlockRule, i);
    const LandlockPathBeneathAttr beneath{rules[i].access, std::int32_t(path)};
    check(raw_syscall(__NR_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, as_arg(&beneath),
                      0),
          SetupStep::kLandlockRule, i);
    raw_syscall(__NR_close, path);
  }
  return int(ruleset);
}

}  // namespace fnrun::child
