// What the parent tells the init of a sandbox, and what the init reports back.
//
// The plan is one message of plain structs and offsets, ready-made by the parent: the init decides
// nothing. It is sent over a SOCK_SEQPACKET socket pair together with the descriptors of the
// mounts; the same socket is the lifeline: when its other end closes, the init exits and the kernel
// kills everything in the PID namespace. Kernel and freestanding headers only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isolation/child/setup_step.h"

namespace fnrun::child {

using isolation::SetupStep;

// The message must fit a unix socket's default send buffer (212,992 bytes less bookkeeping).
inline constexpr std::size_t kPlanMax = 192 * 1024;
inline constexpr std::size_t kArgvMax = 1024;            // Strings of argv, and as many of envp.
inline constexpr std::size_t kFdMax = 250;               // SCM_RIGHTS carries 253.
inline constexpr std::uint32_t kPlanMagic = 0x666e7231;  // "fnr1"
inline constexpr int kControlFd = 3;

// A zero-terminated string, or an array, in the message; offset 0 (the header) means: none.
struct Text {
  std::uint32_t offset;
};
struct Array {
  std::uint32_t offset;
  std::uint32_t count;
};

enum class FsOpKind : std::uint32_t {
  kDirectory,  // mkdir path, mode 0555
  kFile,       // An empty file for a mount to sit on.
  kSymlink,    // path -> source
  kAttach,     // The next descriptor of the message, a detached mount, goes to path.
  kBind,       // The same by path, for a supervisor without privilege: source -> path, attributes.
  kTmpfs,      // source holds the options
  kProc,
};
// Paths are relative to the new root, which nobody else can reach while it is built.
struct FsOp {
  FsOpKind kind;
  Text path;
  Text source;
  std::uint32_t flags;       // kTmpfs, kProc: MS_*.
  std::uint64_t attributes;  // kBind: MOUNT_ATTR_*.
  std::uint64_t device;      // kBind: what was checked when the plan was compiled, and must still
  std::uint64_t inode;       // be there: st_dev and st_ino.
};

struct Rlimit {
  std::uint32_t resource;
  std::uint32_t zero;
  std::uint64_t soft;
  std::uint64_t hard;
};

struct LandlockRule {
  std::uint64_t access;
  Text path;
  std::uint32_t zero;
};

struct LaunchPlan {
  std::uint32_t magic;
  std::uint32_t size;  // Of the whole message.
  std::uint32_t uid;   // Inside.
  std::uint32_t gid;
  std::uint32_t drop_groups;  // 0 where the kernel denies setgroups (no privilege).
  std::uint32_t last_capability;
  std::uint64_t unshare_flags;  // CLONE_NEWCGROUP | CLONE_NEWTIME, as the host has them.
  Text time_offsets;            // For /proc/self/timens_offsets; none without CLONE_NEWTIME.
  Text oom_score_adj;           // For /proc/self/oom_score_adj.
  Text root_size;               // size= of the tmpfs that becomes "/".
  Text hostname;
  Text working_directory;
  Text handler;               // Absolute path inside.
  Array argv;                 // Text[]
  Array envp;                 // Text[]
  Array fs_ops;               // FsOp[]
  Array rlimits;              // Rlimit[]
  std::uint64_t landlock_fs;  // handled_access_fs; 0: no Landlock on this host.
  std::uint64_t landlock_net;
  std::uint64_t landlock_scoped;
  std::uint64_t landlock_attr_size;  // What this kernel's ABI expects.
  Array landlock_rules;              // LandlockRule[]
  Array seccomp_floor;               // sock_filter[]: the handler's, what no policy can open
  Array seccomp;                     // sock_filter[]: the handler's, by the policy; loaded second
  std::uint64_t seccomp_flags;       // SECCOMP_FILTER_FLAG_*: with a listener for the init, or 0.
  Array init_seccomp;                // sock_filter[]: the init's own, loaded once the handler runs
  std::uint32_t exec_once;  // The listener hears of each execve and lets the handler's own pass.
  std::uint32_t zero;
#ifdef FNRUN_TEST_SWITCHES
  std::uint32_t switched_off;  // TestSwitch bits.
  std::uint32_t also_zero;
#endif
};

// Layers that the project's tests can turn off to prove that a layer's probes notice: only code
// built with FNRUN_TEST_SWITCHES can, and nothing that is installed is. Everywhere else the answer
// is a constant.
enum TestSwitch : std::uint32_t {
  kSwitchSeccomp = 1U << 0,
  kSwitchCapabilities = 1U << 1,
  kSwitchNoNewPrivs = 1U << 2,
  kSwitchReadOnlyRoot = 1U << 3,
  kSwitchLandlock = 1U << 4,
  kSwitchRlimits = 1U << 5,
  kSwitchKeyring = 1U << 6,
  kSwitchNonDumpable = 1U << 7,
  kSwitchCloseFds = 1U << 8,
  kSwitchNetworkNamespace = 1U << 9,
  kSwitchIpcNamespace = 1U << 10,
  kSwitchUtsNamespace = 1U << 11,
  kSwitchCgroupNamespace = 1U << 12,
  kSwitchTimeNamespace = 1U << 13,
  kSwitchUserNamespace = 1U << 14,
  kSwitchPidNamespace = 1U << 15,
  kSwitchMountNamespace = 1U << 16,
  kSwitchPivotRoot = 1U << 17,
  kSwitchUidMap = 1U << 18,  // The slot's uid is the host's root.
};
template <class Plan>
constexpr bool is_on([[maybe_unused]] const Plan& plan,
                     [[maybe_unused]] TestSwitch layer) noexcept {
#ifdef FNRUN_TEST_SWITCHES
  return (plan.switched_off & layer) == 0;
#else
  return true;
#endif
}

enum class ReportKind : std::uint32_t { kStarted = 1, kFailed = 2, kExited = 3, kForbidden = 4 };

enum class MadeBy : std::uint32_t { kHandler = 1, kChild = 2 };

// A system call that the policy forbids, as the kernel told it. Whose pointers the arguments are is
// never looked at: their memory is the caller's to change.
struct SeenCall {
  std::int32_t number;
  std::uint32_t arch;  // AUDIT_ARCH_*
  std::uint64_t instruction_pointer;
  std::uint64_t args[6];
};

// One datagram from the init. kFailed fills step, index and os_errno; kForbidden the last three;
// kExited the rest.
struct Report {
  ReportKind kind;
  SetupStep step;
  std::uint16_t index;
  std::int32_t os_errno;
  std::int32_t wait_status;  // Of the handler, as waitpid(2) gives it.
  std::int64_t user_us;      // Handler and the children it waited for.
  std::int64_t system_us;
  std::int64_t max_rss_kib;
  std::int64_t voluntary_switches;
  std::int64_t involuntary_switches;
  MadeBy made_by;
  std::uint32_t count;  // Of such calls so far, by the handler or by others; `call` is the first.
  SeenCall call;
};
static_assert(sizeof(Report) == 128, "one datagram; both sides are built together");

}  // namespace fnrun::child
