// Family "switches": calls that are many calls: prctl, arch_prctl, ioctl, fcntl.
//
// Where a filter has to look at arguments. Descriptors that do not exist (-1) keep every ioctl
// harmless: a filter decides before the kernel looks at the descriptor.
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr Promises kAbsent{kKilled, refused(ENOSYS), refused(ENOSYS)};
constexpr Promises kNotInCompat{kKilled, refused(ENOSYS), kMay};
constexpr Promises kStoppedAnyhow{kKilled, refused(ENOSYS), kStopped};

constexpr long kTiocsti = 0x5412;
constexpr long kGarbage = 1L << 32;

long control(long option, long a = 0, long b = 0, long c = 0, long d = 0) {
  return raw_syscall(__NR_prctl, option, a, b, c, d);
}
// EBADF: nothing stood before the kernel's own look at the descriptor.
Saw ioctl_reached(long request) {
  return reached(raw_syscall(__NR_ioctl, -1, request, kBadAddress), {EBADF});
}
Saw fcntl_reached(long command, long argument = 0) {
  return reached(raw_syscall(__NR_fcntl, -1, command, argument), {EBADF});
}

constexpr Probe kProbes[] = {
    {"K21", "prctl(PR_SET_TSC)", "sandboxes that hide the cycle counter",
     [] { return done(control(PR_SET_TSC, PR_TSC_ENABLE)); }, kAbsent},
    {"K21b", "prctl(PR_TASK_PERF_EVENTS_DISABLE)", "prctl(2)",
     [] { return done(control(PR_TASK_PERF_EVENTS_DISABLE)); }, kAbsent},
    {"K21c", "prctl(PR_SET_SYSCALL_USER_DISPATCH)", "Linux 5.11", [] { return done(control(59)); },
     kAbsent},
    {"K21d", "prctl(PR_SET_MM)", "prctl(2)",
     [] { return reached(control(PR_SET_MM, 99, 0, 0, 0), {EINVAL}); }, kAbsent},
    {"K21e", "prctl(PR_CAP_AMBIENT_RAISE)", "CVE-2022-29162",
     [] { return done(control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW)); },
     kStoppedAnyhow},
    {"K21f", "prctl(PR_CAPBSET_DROP)", "prctl(2)",
     [] { return done(control(PR_CAPBSET_DROP, CAP_LAST_CAP)); }, kStoppedAnyhow},
    {"K21g", "prctl(PR_SET_SECUREBITS)", "prctl(2)",
     [] { return done(control(PR_SET_SECUREBITS, 0)); }, kAbsent},
    {"K21h", "prctl(PR_SET_PTRACER)", "Yama",
     [] { return reached(control(PR_SET_PTRACER, -1), {EINVAL}); }, kAbsent},
    {"K21i", "prctl(PR_SCHED_CORE)", "prctl(2), Linux 5.14",
     [] {
       unsigned long cookie = 0;
       return reached(control(62, 0, 0, 0, as_arg(&cookie)), {EINVAL, ENODEV});
     },
     kAbsent},
    {"K21j", "prctl(PR_SET_DUMPABLE)", "prctl(2)", [] { return done(control(PR_SET_DUMPABLE, 1)); },
     kNotInCompat},
    {"K21k", "prctl(PR_SET_SECCOMP)", "seccomp(2)",
     [] { return reached(control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, kBadAddress), {EFAULT}); },
     kNotInCompat},
    {"K21l", "prctl(PR_SET_NO_NEW_PRIVS, 0): take it back", "prctl(2)",
     [] { return done(control(PR_SET_NO_NEW_PRIVS, 0)); }, kStoppedAnyhow},
    {"K21m", "prctl(PR_SET_KEEPCAPS)", "capabilities(7)",
     [] { return done(control(PR_SET_KEEPCAPS, 0)); }, kNotInCompat},
    {"K21n", "prctl(PR_SET_THP_DISABLE)", "prctl(2)",
     [] { return done(control(PR_SET_THP_DISABLE, 0)); }, kNotInCompat},
    {"K21o", "prctl(PR_SET_IO_FLUSHER)", "prctl(2)",
     [] { return done(control(PR_SET_IO_FLUSHER, 0)); }, kAbsent},
    {"S12", "prctl(PR_SET_SPECULATION_CTRL): give up a mitigation",
     "sandbox2 SpeculationBlockedByDefault",
     [] {
       return reached(control(53, 0, 2), {ENXIO, EINVAL});
     },
     kAbsent},
    {"P09", "prctl(PR_SET_PDEATHSIG)", "prctl(2)",
     [] { return done(control(PR_SET_PDEATHSIG, 0)); }, kNotInCompat},
    {"P09b", "prctl(PR_SET_CHILD_SUBREAPER)", "prctl(2)",
     [] { return done(control(PR_SET_CHILD_SUBREAPER, 1)); }, kNotInCompat},
    {"K22", "arch_prctl(ARCH_SET_CPUID)", "arch_prctl(2)",
     [] { return reached(raw_syscall(__NR_arch_prctl, ARCH_SET_CPUID, 1), {ENODEV}); },
     everywhere(kMay)},
    {"K22b", "arch_prctl(ARCH_MAP_VDSO_64)", "arch_prctl(2)",
     [] {
       return reached(raw_syscall(__NR_arch_prctl, 0x2003, 0), {EEXIST, EINVAL});
     },
     everywhere(kMay)},
    {"F13", "ioctl(TIOCSTI): type into the terminal", "CVE-2017-5226, CVE-2023-1523",
     [] { return ioctl_reached(kTiocsti); }, kAbsent},
    {"F13b", "ioctl(TIOCSTI) with garbage in the upper half", "CVE-2019-10063",
     [] { return ioctl_reached(kTiocsti | kGarbage); }, kAbsent},
    {"F13c", "ioctl(TIOCLINUX): type into the console", "CVE-2023-28100",
     [] { return ioctl_reached(0x541C); }, kAbsent},
    {"F13d", "ioctl(TIOCSCTTY)", "ioctl_tty(2)", [] { return ioctl_reached(TIOCSCTTY); }, kAbsent},
    {"F13e", "ioctl(TIOCSETD): another line discipline", "CVE-2017-2636",
     [] { return ioctl_reached(TIOCSETD); }, kAbsent},
    {"F14", "ioctl(FS_IOC_SETFLAGS)", "chattr +i", [] { return ioctl_reached(FS_IOC_SETFLAGS); },
     kAbsent},
    {"F14b", "ioctl(FICLONE)", "CVE-2026-64600", [] { return ioctl_reached(FICLONE); },
     kNotInCompat},
    {"F14c", "ioctl(FIFREEZE): stop the file system", "ioctl_fsfreeze",
     [] { return ioctl_reached(FIFREEZE); }, kAbsent},
    {"F14d", "ioctl(BLKROSET): of block devices", "CDK rewrite_cgroup_devices",
     [] { return ioctl_reached(BLKROSET); }, kAbsent},
    {"F14e", "ioctl(SIOCETHTOOL): of network devices", "ioctl_list(2)",
     [] { return ioctl_reached(SIOCETHTOOL); }, kAbsent},
    {"F14f", "ioctl(FS_IOC_FSGETXATTR)", "a file system's own code",
     [] { return ioctl_reached(FS_IOC_FSGETXATTR); }, kAbsent},
    {"F14g", "ioctl(FIBMAP)", "ioctl_list(2)", [] { return ioctl_reached(FIBMAP); }, kAbsent},
    {"F14h", "ioctl(KVM_CREATE_VM)", "KVM", [] { return ioctl_reached(0xAE01); }, kAbsent},
    {"F14i", "ioctl(UFFDIO_API)", "userfaultfd(2)", [] { return ioctl_reached(0xC018AA3F); },
     kAbsent},
    {"F14j", "ioctl(FIONREAD) with garbage in the upper half", "CVE-2019-10063",
     [] { return ioctl_reached(FIONREAD | kGarbage); }, kAbsent},
    {"K30", "fcntl(F_SETOWN): signals to anybody", "fcntl(2)",
     [] { return fcntl_reached(F_SETOWN, 1); }, kNotInCompat},
    {"K30b", "fcntl(F_SETSIG)", "fcntl(2)", [] { return fcntl_reached(10, 9); }, kNotInCompat},
    {"K30c", "fcntl(F_SETLEASE)", "fcntl(2): being told of the openings of others",
     [] { return fcntl_reached(1024, F_RDLCK); }, kNotInCompat},
    {"K30d", "fcntl(F_NOTIFY)", "fcntl(2)", [] { return fcntl_reached(1026, 1); }, kNotInCompat},
    {"K30e", "fcntl(F_SET_RW_HINT)", "fcntl(2)", [] { return fcntl_reached(1036, kBadAddress); },
     kAbsent},
    {"R06", "fcntl(F_SETPIPE_SZ): more kernel memory", "pipe(7); a primitive of exploits",
     [] { return fcntl_reached(1031, 1 << 20); }, kNotInCompat},
};

}  // namespace

Family kernel_switches() {
  return {"switches", kProbes};
}

}  // namespace fnrun::probe
