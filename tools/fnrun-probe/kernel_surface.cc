// Family "kernel": system calls that are doors to much code of the kernel.
//
// Mostly "is it reached?": called with arguments that the kernel itself refuses, so that a success
// of the attempt changes nothing.
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/timex.h>

#include <csignal>
#include <ctime>
#include <string>
#include <string_view>

#include "attempt.h"
#include "probe_table.h"
#include "runner.h"
#include "sweep.h"

namespace fnrun::probe {
namespace {

constexpr Promises kTripwire = everywhere(kKilled);
constexpr Promises kAbsent{kKilled, refused(ENOSYS), refused(ENOSYS)};
// Those that libraries ask for: paranoid answers instead of killing.
constexpr Promises kProbed = everywhere(refused(ENOSYS));
constexpr Promises kNotInCompat{refused(EPERM), refused(EPERM), kMay};
constexpr Promises kEperm = everywhere(refused(EPERM));

Saw opens_perf_event() {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_TASK_CLOCK;
  attr.disabled = 1;
  attr.exclude_kernel = 1;
  attr.exclude_hv = 1;
  return done(raw_syscall(__NR_perf_event_open, as_arg(&attr), 0, -1, -1, 0));
}

Saw makes_bpf_map() {
  bpf_attr attr{};
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = 4;
  attr.value_size = 8;
  attr.max_entries = 1;
  return done(raw_syscall(__NR_bpf, BPF_MAP_CREATE, as_arg(&attr), sizeof attr));
}

// A program that leaves with 0, by Linux' own shortest form of ELF: header, one segment, code.
// "keyring;UID;…": one that came with us from outside is not ours, or shows a uid that is not.
Saw session_keyring_of_another() {
  char text[128] = "";
  const long size = raw_syscall(__NR_keyctl, /*KEYCTL_DESCRIBE=*/6, /*session=*/-3, as_arg(text),
                                sizeof text - 1);
  if (size < 0) return done(size);
  const std::string_view told(text);
  const auto begin = told.find(';') + 1;
  const auto uid = told.substr(begin, told.find(';', begin) - begin);
  const std::string own = std::to_string(raw_syscall(__NR_geteuid));
  return uid == own ? invisible("it is our own") : open("it is of another uid");
}

constexpr unsigned char kTinyProgram[] = {
    0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x3e, 0, 1, 0, 0, 0, 0x78, 0,
    0x40, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0,
    0x38, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0,
    0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0,
    0x10, 0, 0, 0, 0, 0, 0,
    // mov $60, %eax; xor %edi, %edi; syscall; hlt
    0xb8, 0x3c, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0xf4, 0, 0};

// SAFETY: the 32-bit entry may clobber r8 to r11.
long int80(long number, long argument = 0) {
  long result;
  asm volatile("int $0x80"
               : "=a"(result)
               : "a"(number), "b"(argument)
               : "r8", "r9", "r10", "r11", "memory");
  return static_cast<int>(result);
}

Saw by_int80(long number, long argument) {
  dies_here_by(SIGSEGV);  // A kernel without 32-bit emulation.
  return done(int80(number, argument));
}

Saw stacked_filter() {
  sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog program{1, &allow};
  if (raw_syscall(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0)
    raw_syscall(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const long loaded = raw_syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, as_arg(&program));
  if (loaded < 0) return done(loaded);
  return done(raw_syscall(__NR_unshare, CLONE_NEWUSER));
}

Saw runs_memfd() {
  const long fd = raw_syscall(__NR_memfd_create, as_arg("fnrun"), 0);
  if (fd < 0) return done(fd);
  raw_syscall(__NR_write, fd, as_arg(kTinyProgram), sizeof kTinyProgram);
  const long pid = fork_child();
  if (pid < 0) return inconclusive("no child");
  if (pid == 0) {
    const char* const none[] = {nullptr};
    const char* const argv[] = {"memfd", nullptr};
    const long r =
        raw_syscall(__NR_execveat, fd, as_arg(""), as_arg(argv), as_arg(none), AT_EMPTY_PATH);
    leave(static_cast<int>(-r));
  }
  const int status = wait_child(pid);
  return status == 0 ? open() : blocked(status >> 8 & 0xff);
}

Saw futex_pi() {
  static unsigned word = 0;
  return done(raw_syscall(__NR_futex, as_arg(&word), FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, 0));
}

constexpr Probe kProbes[] = {
    {"K01", "io_uring_setup", "CVE-2022-29582, CVE-2023-2598, CVE-2026-43494",
     [] { return reached(raw_syscall(__NR_io_uring_setup, 4, kBadAddress), {EFAULT}); }, kProbed},
    {"K01b", "io_uring_enter", "CVE-2022-29582",
     [] { return reached(raw_syscall(__NR_io_uring_enter, -1, 0, 0, 0, 0, 0), {EBADF}); }, kAbsent},
    {"K01c", "io_uring_register", "CVE-2023-2598",
     [] {
       return reached(raw_syscall(__NR_io_uring_register, -1, 0, 0, 0), {EBADF, EINVAL});
     },
     kAbsent},
    {"K02", "bpf(BPF_MAP_CREATE)", "CVE-2022-23222", makes_bpf_map, kTripwire},
    {"K03", "perf_event_open of oneself", "CVE-2013-2094, CVE-2023-5717", opens_perf_event,
     kTripwire},
    {"K04", "userfaultfd", "vm.unprivileged_userfaultfd",
     [] { return done(raw_syscall(__NR_userfaultfd, 0)); }, kProbed},
    {"K04b", "userfaultfd(UFFD_USER_MODE_ONLY)", "vm.unprivileged_userfaultfd",
     [] { return done(raw_syscall(__NR_userfaultfd, 1)); }, kProbed},
    {"K05", "keyctl: the id of the session keyring", "CVE-2016-0728; botb",
     [] { return done(raw_syscall(__NR_keyctl, 0, -3, 0)); }, kEperm},
    {"K05d", "the session keyring is somebody else's", "keyctl_describe(3)",
     session_keyring_of_another, kEperm},
    {"K05b", "add_key to the process keyring", "CVE-2016-0728",
     [] {
       return done(
           raw_syscall(__NR_add_key, as_arg("user"), as_arg("fnrun-probe"), as_arg("x"), 1, -2));
     },
     kEperm},
    {"K05c", "request_key", "request_key(2)",
     [] {
       return reached(raw_syscall(__NR_request_key, as_arg("user"), kBadAddress, 0, 0), {EFAULT});
     },
     kEperm},
    {"K06", "init_module", "init_module(2)",
     [] {
       return reached(raw_syscall(__NR_init_module, kBadAddress, 64, kBadAddress),
                      {ENOEXEC, EFAULT});
     },
     kTripwire},
    {"K06b", "finit_module", "init_module(2)",
     [] {
       return reached(raw_syscall(__NR_finit_module, -1, as_arg(""), 0), {EBADF, ENOEXEC});
     },
     kTripwire},
    {"K06c", "delete_module", "delete_module(2)",
     [] { return reached(raw_syscall(__NR_delete_module, kBadAddress, O_NONBLOCK), {EFAULT}); },
     kTripwire},
    {"K06d", "kexec_load, with flags that do not exist", "kexec_load(2)",
     [] {
       return reached(raw_syscall(__NR_kexec_load, 0, 1, kBadAddress, 0x7fff), {EINVAL, EFAULT});
     },
     kTripwire},
    {"K06e", "reboot, with wrong magic numbers", "reboot(2)",
     [] { return reached(raw_syscall(__NR_reboot, 1, 2, 0, 0), {EINVAL}); }, kTripwire},
    {"K06f", "swapon", "swapon(2)",
     [] { return reached(raw_syscall(__NR_swapon, kBadAddress, 0), {EFAULT}); }, kTripwire},
    {"K06g", "acct", "acct(2)",
     [] { return reached(raw_syscall(__NR_acct, kBadAddress), {EFAULT}); }, kTripwire},
    {"K06h", "quotactl of no device", "quotactl(2)",
     [] {
       return reached(raw_syscall(__NR_quotactl, 0x800004 << 8, kBadAddress, 0, 0),
                      {EFAULT, EINVAL});
     },
     kTripwire},
    {"K07", "iopl", "iopl(2)", [] { return done(raw_syscall(__NR_iopl, 0)); }, kTripwire},
    {"K07b", "ioperm", "ioperm(2)", [] { return done(raw_syscall(__NR_ioperm, 0x80, 1, 0)); },
     kTripwire},
    {"K07c", "modify_ldt", "CVE-2015-5157, CVE-2017-17053",
     [] {
       char table[64];
       return done(raw_syscall(__NR_modify_ldt, 0, as_arg(table), sizeof table));
     },
     kAbsent},
    {"K08",
     "personality(ADDR_NO_RANDOMIZE)",
     "CVE-2009-1895",
     [] { return done(raw_syscall(__NR_personality, 0x0040000)); },
     {refused(EPERM), refused(EPERM), refused(ENOSYS)}},
    {"K08b",
     "personality(READ_IMPLIES_EXEC)",
     "CVE-2009-1895",
     [] { return done(raw_syscall(__NR_personality, 0x0400000)); },
     {refused(EPERM), refused(EPERM), refused(ENOSYS)}},
    {"K08c", "personality(PER_LINUX32)", "moby's default profile allows it",
     [] { return done(raw_syscall(__NR_personality, 8)); }, kNotInCompat},
    {"K09", "int 0x80: getpid by its 32-bit number", "sandbox2 AMD64Syscall32",
     [] { return by_int80(20, 0); }, kTripwire},
    {"K09b", "int 0x80: unshare by its 32-bit number", "sandbox2 AMD64Syscall32",
     [] { return by_int80(310, 0); }, kTripwire},
    {"K10", "x32: getpid", "firejail #87, kafel #19",
     [] { return done(raw_syscall(0x40000000L + __NR_getpid)); }, kTripwire},
    {"K10b", "x32: the numbers 512 to 547", "CVE-2014-0038",
     [] {
       for (long number = 512; number <= 547; ++number)
         if (number != 520 && number != 545)  // execve, execveat
           if (const long r = raw_syscall(0x40000000L + number, -1, -1, -1, -1, -1); r != -ENOSYS)
             return reached(r, {EFAULT, EINVAL, EBADF});
       return blocked(ENOSYS);
     },
     kTripwire},
    {"K11", "a call with the number -1", "amicontained", [] { return done(raw_syscall(-1)); },
     kAbsent},
    {"K11b", "a call with the number 9999", "amicontained", [] { return done(raw_syscall(9999)); },
     kAbsent},
    {"K11c",
     "all numbers from 0 to 600, with zeroes",
     "amicontained",
     sweep_all_numbers,
     {at_most(168), at_most(160), at_most(246)}},  // As many as the rules allow.
    {"K12", "ustat", "ustat(2): obsolete",
     [] {
       return reached(raw_syscall(__NR_ustat, 0, kBadAddress), {EINVAL, EFAULT});
     },
     kTripwire},
    {"K12b", "sysfs", "sysfs(2): obsolete", [] { return done(raw_syscall(__NR_sysfs, 3)); },
     kTripwire},
    {"K12c", "uselib", "CVE-2004-1235",
     [] { return reached(raw_syscall(__NR_uselib, kBadAddress), {EFAULT}); }, kTripwire},
    {"K13",
     "memfd_create",
     "fileless execution",
     [] { return done(raw_syscall(__NR_memfd_create, as_arg("fnrun"), 0)); },
     {refused(ENOSYS), refused(ENOSYS), kMay}},
    {"K13b",
     "run a program from a memory file",
     "fileless execution",
     runs_memfd,
     {refused(ENOSYS), refused(ENOSYS), kMay}},
    {"K14", "memfd_secret", "Linux 5.14", [] { return reached(raw_syscall(447, 0xff0), {EINVAL}); },
     kAbsent},
    {"K15",
     "memory writable and executable: mmap",
     "W^X",
     [] {
       const long at = raw_syscall(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       return at < 0 && at > -4096 ? blocked(static_cast<int>(-at)) : open();
     },
     {kKilled, kMay, kMay}},
    {"K15b",
     "memory writable and executable: mprotect",
     "W^X",
     [] {
       alignas(4096) static char page[4096];
       return done(
           raw_syscall(__NR_mprotect, as_arg(page), 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
     },
     {kKilled, kMay, kMay}},
    {"K15c",
     "memory writable and executable: pkey_mprotect",
     "W^X",
     [] {
       alignas(4096) static char page[4096];
       return done(raw_syscall(__NR_pkey_mprotect, as_arg(page), 4096,
                               PROT_READ | PROT_WRITE | PROT_EXEC, -1));
     },
     {kKilled, kMay, kMay}},
    {"K16", "splice", "CVE-2022-0847, CVE-2026-31431",
     [] { return reached(raw_syscall(__NR_splice, -1, 0, -1, 0, 1, 0), {EBADF}); }, kNotInCompat},
    {"K16b", "vmsplice", "CVE-2008-0600",
     [] { return reached(raw_syscall(__NR_vmsplice, -1, 0, 0, 0), {EBADF}); }, kNotInCompat},
    {"K16c", "tee", "CVE-2022-0847",
     [] { return reached(raw_syscall(__NR_tee, -1, -1, 1, 0), {EBADF}); }, kNotInCompat},
    {"K17", "io_setup", "CVE-2016-10044",
     [] {
       unsigned long context = 0;
       return done(raw_syscall(__NR_io_setup, 1, as_arg(&context)));
     },
     kAbsent},
    {"K18", "clock_settime, to no time", "clock_settime(2)",
     [] {
       const timespec wrong{0, 2'000'000'000};
       return reached(raw_syscall(__NR_clock_settime, CLOCK_REALTIME, as_arg(&wrong)), {EINVAL});
     },
     kTripwire},
    {"K18b", "settimeofday, to no time", "settimeofday(2)",
     [] {
       const timeval wrong{0, 2'000'000};
       return reached(raw_syscall(__NR_settimeofday, as_arg(&wrong), 0), {EINVAL});
     },
     kTripwire},
    {"K18c", "clock_adjtime, reading", "clock_adjtime(2)",
     [] {
       timex state{};
       return done(raw_syscall(__NR_clock_adjtime, CLOCK_REALTIME, as_arg(&state)));
     },
     kTripwire},
    {"K18d", "adjtimex, reading", "adjtimex(2)",
     [] {
       timex state{};
       return done(raw_syscall(__NR_adjtimex, as_arg(&state)));
     },
     kTripwire},
    {"K19", "syslog: read the kernel's log", "dmesg_restrict",
     [] {
       char text[256];
       return done(raw_syscall(__NR_syslog, 3, as_arg(text), sizeof text));
     },
     kTripwire},
    {"K20", "seccomp(NEW_LISTENER)", "sandbox2 policy.cc",
     [] {
       return reached(raw_syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
                                  SECCOMP_FILTER_FLAG_NEW_LISTENER, kBadAddress),
                      {EFAULT});
     },
     kNotInCompat},
    {"K20b",
     "loosen the filter by a second one",
     "seccomp(2): the strictest verdict counts",
     stacked_filter,
     {refused(EPERM), refused(EPERM), kKilled}},
    {"K24", "futex with priority inheritance", "CVE-2014-3153, CVE-2021-3347", futex_pi,
     everywhere(kMay)},
    {"K24b",
     "futex_waitv",
     "Linux 5.16",
     [] { return reached(raw_syscall(449, kBadAddress, 1, 0, 0, 0), {EFAULT}); },
     {refused(ENOSYS), refused(ENOSYS), kMay}},
    {"K24c", "futex_requeue (456)", "Linux 6.7",
     [] {
       return reached(raw_syscall(456, kBadAddress, 0, 0, 0), {EFAULT, EINVAL});
     },
     kAbsent},
    {"K26", "fanotify_init", "fanotify(7): watching files of everyone",
     [] { return done(raw_syscall(__NR_fanotify_init, 0x200, 0)); }, kTripwire},
    {"K27",
     "landlock_create_ruleset",
     "landlock(7)",
     [] { return done(raw_syscall(__NR_landlock_create_ruleset, 0, 0, 1)); },
     {refused(ENOSYS), refused(ENOSYS), kMay}},
    {"K28", "cachestat (451): what others have read", "page-cache side channel, Linux 6.5",
     [] {
       return reached(raw_syscall(451, -1, kBadAddress, kBadAddress, 0), {EBADF, EFAULT});
     },
     kAbsent},
    {"K28b", "lsm_get_self_attr (459)", "Linux 6.8",
     [] { return reached(raw_syscall(459, 100, 0, kBadAddress, 0), {EFAULT}); }, kAbsent},
    {"K28c", "map_shadow_stack (453)", "Linux 6.6",
     [] {
       return reached(raw_syscall(453, 0, 4096, 0x7f), {EINVAL, EOPNOTSUPP});
     },
     kAbsent},
    {"K29", "move_pages", "CVE-2017-14140",
     [] { return done(raw_syscall(__NR_move_pages, 0, 0, 0, 0, 0, 0)); }, kAbsent},
    {"K29b", "remap_file_pages", "remap_file_pages(2): obsolete",
     [] { return reached(raw_syscall(__NR_remap_file_pages, 1, 4096, 0, 0, 0), {EINVAL}); },
     kAbsent},
    {"K29c", "migrate_pages", "migrate_pages(2)",
     [] {
       return reached(raw_syscall(__NR_migrate_pages, 0, 64, kBadAddress, kBadAddress), {EFAULT});
     },
     kAbsent},
};

}  // namespace

Family kernel_surface() {
  return {"kernel", kProbes};
}

}  // namespace fnrun::probe
