// Family "processes": seeing, signalling, steering and reading other processes.
//
// Victims are the attempt's own children; process 1 is only looked at, or sent what it must ignore.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include <cstdio>
#include <cstring>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr Promises kTripwire = everywhere(kKilled);
constexpr Promises kAbsent{kKilled, refused(ENOSYS), refused(ENOSYS)};
constexpr Promises kNoIoClass{refused(EPERM), refused(EPERM), refused(ENOSYS)};
constexpr Promises kNotInCompat{refused(EPERM), refused(EPERM), kMay};

// What is ours: the init, somebody who started us, the runner, this attempt.
constexpr long kOwnTree = 8;
constexpr long kPidBound = 65536;

Saw counted(long others) {
  return others > kOwnTree ? open("processes of others") : limited(others, "processes");
}

Saw pids_in_proc() {
  const long folder = open_file("/proc", O_RDONLY | O_DIRECTORY);
  if (folder < 0) return folder == -ENOENT ? invisible() : blocked(static_cast<int>(-folder));
  alignas(8) static char entries[16384];
  long count = 0;
  for (long size;
       (size = raw_syscall(__NR_getdents64, folder, as_arg(entries), sizeof entries)) > 0;)
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') ++count;
    }
  return counted(count);
}

Saw pids_by_kill() {
  long count = 0;
  for (long pid = 1; pid < kPidBound; ++pid)
    if (raw_syscall(__NR_kill, pid, 0) != -ESRCH) ++count;
  return counted(count);
}

// A process that is none of ours and takes our signals.
Saw signals_others() {
  const long self = raw_syscall(__NR_getpid), parent = raw_syscall(__NR_getppid);
  bool others = false;
  for (long pid = 2; pid < kPidBound; ++pid) {
    if (pid == self || pid == parent) continue;
    const long result = raw_syscall(__NR_kill, pid, 0);
    if (result == 0 && raw_syscall(__NR_getpgid, pid) != raw_syscall(__NR_getpgid, 0))
      return open("a process of another group");
    others = others || result == -EPERM;
  }
  return others ? blocked(EPERM) : invisible();
}

// SIGKILL must do nothing to the init of one's own pid namespace. Not tried at the host's.
Saw kills_init() {
  char text[64] = "";
  if (raw_syscall(__NR_readlink, as_arg("/proc/self/ns/pid"), as_arg(text), sizeof text - 1) < 0)
    return skipped("cannot tell whose process 1 is");
  if (std::strcmp(text, "pid:[4026531836]") == 0) return skipped("process 1 is the host's");
  const long result = raw_syscall(__NR_kill, 1, SIGKILL);
  return result == -EPERM ? blocked(EPERM) : invisible("process 1 does not mind");
}

// A child that waits until it is killed, and what is done to it. The child's wait is on a pipe of
// the attempt's own, so that it ends with the attempt, however that ends.
Saw with_victim(Saw (*attempt)(long pid)) {
  int hold[2];
  if (raw_syscall(__NR_pipe2, as_arg(hold), O_CLOEXEC) < 0) return inconclusive("no pipe");
  const long pid = fork_child();
  if (pid < 0) return inconclusive("no child");
  if (pid == 0) {
    char byte;
    raw_syscall(__NR_close, hold[1]);
    raw_syscall(__NR_read, hold[0], as_arg(&byte), 1);
    leave(0);
  }
  const Saw saw = attempt(pid);
  raw_syscall(__NR_kill, pid, SIGKILL);
  wait_child(pid);
  return saw;
}

char target[16];

long by_iovec(long number, long pid) {
  char local[16] = {};
  const iovec here{local, sizeof local}, there{target, sizeof target};
  return raw_syscall(number, pid, as_arg(&here), 1, as_arg(&there), 1, 0);
}

Saw own_pidfd(Saw (*attempt)(int pidfd)) {
  int pidfd = -1;
  const long pid = fork_child(&pidfd);
  if (pid < 0) return inconclusive("no child");
  if (pid == 0) leave(0);
  const Saw saw = attempt(pidfd);
  wait_child(pid);
  return saw;
}

Saw forged_signal(long number) {
  alignas(8) char info[128] = {};
  const int code = -1;  // SI_QUEUE
  std::memcpy(info + 8, &code, sizeof code);
  const long self = raw_syscall(__NR_getpid);
  return done(number == __NR_rt_sigqueueinfo
                  ? raw_syscall(number, self, 0, as_arg(info))
                  : raw_syscall(number, self, raw_syscall(__NR_gettid), 0, as_arg(info)));
}

Saw scheduler(int policy, int priority) {
  const sched_param wanted{priority};
  return done(raw_syscall(__NR_sched_setscheduler, 0, policy, as_arg(&wanted)));
}

Saw deadline() {
  struct {
    unsigned size, policy;
    unsigned long flags;
    int nice;
    unsigned priority;
    unsigned long runtime, deadline, period;
  } attr{48, 6, 0, 0, 0, 1'000'000, 100'000'000, 100'000'000};
  return done(raw_syscall(__NR_sched_setattr, 0, as_arg(&attr), 0));
}

Saw cpus() {
  unsigned long mask[128];
  std::memset(mask, 0xff, sizeof mask);
  const long set = raw_syscall(__NR_sched_setaffinity, 0, sizeof mask, as_arg(mask));
  if (set < 0) return done(set);
  const long size = raw_syscall(__NR_sched_getaffinity, 0, sizeof mask, as_arg(mask));
  long count = 0;
  for (long i = 0; i < size / 8; ++i) count += __builtin_popcountl(mask[i]);
  return limited(count, "CPUs");
}

Saw limits_of(long pid) {
  rlimit64 limit{};
  return done(raw_syscall(__NR_prlimit64, pid, RLIMIT_NOFILE, 0, as_arg(&limit)));
}

constexpr Probe kProbes[] = {
    {"P01", "processes of others in /proc", "pid_namespaces(7)", pids_in_proc,
     everywhere(at_most(kOwnTree))},
    {"P01b", "processes of others, by kill(pid, 0)", "pid_namespaces(7)", pids_by_kill,
     everywhere(at_most(kOwnTree))},
    {"P02", "signal processes of others", "pid_namespaces(7)", signals_others, everywhere(kHidden)},
    {"P02b", "kill process 1", "pid_namespaces(7)", kills_init, everywhere(kStopped)},
    {"P03", "ptrace(PTRACE_TRACEME)", "CVE-2019-13272",
     [] { return done(raw_syscall(__NR_ptrace, PTRACE_TRACEME, 0, 0, 0)); }, kTripwire},
    {"P03b", "ptrace(PTRACE_SEIZE) of a child", "ptrace(2)",
     [] {
       return with_victim(
           [](long pid) { return done(raw_syscall(__NR_ptrace, 0x4206, pid, 0, 0)); });
     },
     kTripwire},
    {"P03c", "process_vm_readv of a child", "process_vm_readv(2)",
     [] {
       return with_victim([](long pid) { return done(by_iovec(__NR_process_vm_readv, pid)); });
     },
     kTripwire},
    {"P03d", "process_vm_writev into a child", "process_vm_readv(2)",
     [] {
       return with_victim([](long pid) { return done(by_iovec(__NR_process_vm_writev, pid)); });
     },
     kTripwire},
    {"P03e", "process_vm_readv of process 1", "process_vm_readv(2)",
     [] { return reached(by_iovec(__NR_process_vm_readv, 1), {EFAULT}); }, kTripwire},
    {"P04", "kcmp", "kcmp(2)",
     [] {
       const long self = raw_syscall(__NR_getpid);
       return done(raw_syscall(__NR_kcmp, self, self, 0, 0, 0));
     },
     kTripwire},
    {"P04b", "pidfd_open", "pidfd_open(2)",
     [] { return done(raw_syscall(__NR_pidfd_open, raw_syscall(__NR_getpid), 0)); }, kNotInCompat},
    {"P04c", "pidfd_getfd: take a child's descriptor", "pidfd_getfd(2)",
     [] {
       return own_pidfd(
           [](int pidfd) { return reached(raw_syscall(__NR_pidfd_getfd, pidfd, 2, 0), {ESRCH}); });
     },
     kTripwire},
    {"P04d", "process_madvise", "process_madvise(2)",
     [] { return reached(raw_syscall(__NR_process_madvise, -1, 0, 0, 20, 0), {EBADF}); },
     kTripwire},
    {"P04e", "process_mrelease", "Linux 5.15",
     [] { return reached(raw_syscall(448, -1, 0), {EBADF}); }, kAbsent},
    {"P04f", "pidfd_send_signal", "pidfd_send_signal(2)",
     [] { return reached(raw_syscall(__NR_pidfd_send_signal, -1, 0, 0, 0), {EBADF}); },
     kNotInCompat},
    {"P04g", "rt_sigqueueinfo: a forged sender", "rt_sigqueueinfo(2)",
     [] { return forged_signal(__NR_rt_sigqueueinfo); }, kNotInCompat},
    {"P04h", "rt_tgsigqueueinfo: a forged sender", "rt_sigqueueinfo(2)",
     [] { return forged_signal(__NR_rt_tgsigqueueinfo); }, kNotInCompat},
    {"P04i",
     "get_robust_list of another process",
     "get_robust_list(2)",
     [] {
       unsigned long head = 0, size = 0;
       return done(raw_syscall(__NR_get_robust_list, raw_syscall(__NR_getppid), as_arg(&head),
                               as_arg(&size)));
     },
     {kKilled, refused(ENOSYS), kMay}},
    {"P05",
     "setpriority(-20)",
     "setpriority(2)",
     [] { return done(raw_syscall(__NR_setpriority, PRIO_PROCESS, 0, -20)); },
     {refused(EPERM), refused(EPERM), kStopped}},
    {"P05b",
     "SCHED_FIFO",
     "sched(7)",
     [] { return scheduler(SCHED_FIFO, 1); },
     {refused(EPERM), refused(EPERM), kStopped}},
    {"P05c", "SCHED_DEADLINE", "sched(7)", deadline, {refused(EPERM), refused(EPERM), kStopped}},
    {"P05d", "real-time class of input and output", "ioprio_set(2)",
     [] { return done(raw_syscall(__NR_ioprio_set, 1, 0, 1 << 13)); }, kNoIoClass},
    {"P05e", "idle class of input and output", "ioprio_set(2)",
     [] { return done(raw_syscall(__NR_ioprio_set, 1, 0, 3 << 13)); }, kNoIoClass},
    {"P05f", "SCHED_IDLE", "sched(7)", [] { return scheduler(5, 0); }, kNotInCompat},
    {"P05g",
     "SCHED_IDLE for a child, which could not die then",
     "sched(7)",
     [] {
       return with_victim([](long pid) {
         const sched_param zero{};
         return done(raw_syscall(__NR_sched_setscheduler, pid, 5, as_arg(&zero)));
       });
     },
     {refused(EPERM), refused(EPERM), refused(ENOSYS)}},
    {"P05h",
     "setpriority of everybody of one's uid",
     "setpriority(2)",
     [] {
       // Nobody has that process group; the filter cannot know.
       return reached(raw_syscall(__NR_setpriority, PRIO_PGRP, 0x3fffffff, 0), {ESRCH});
     },
     {refused(EPERM), refused(EPERM), refused(ENOSYS)}},
    {"P06", "run on all CPUs", "cpuset(7)", cpus, everywhere(kMay)},
    {"P07", "limits of process 1", "prlimit(2)", [] { return limits_of(1); }, kAbsent},
    {"P07b", "limits of the parent", "prlimit(2)",
     [] { return limits_of(raw_syscall(__NR_getppid)); }, kAbsent},
    {"P07c", "raise a hard limit", "setrlimit(2)",
     [] {
       rlimit64 limit{};
       raw_syscall(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, as_arg(&limit));
       const rlimit64 more{limit.rlim_cur, limit.rlim_max + 1};
       return done(raw_syscall(__NR_prlimit64, 0, RLIMIT_NOFILE, as_arg(&more), 0));
     },
     everywhere(kStopped)},
    {"P07d", "setrlimit", "setrlimit(2)",
     [] {
       rlimit limit{};
       raw_syscall(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, as_arg(&limit));
       return done(raw_syscall(__NR_setrlimit, RLIMIT_NOFILE, as_arg(&limit)));
     },
     kNotInCompat},
    {"P08", "setsid: leave the session", "daemon(7)", [] { return done(raw_syscall(__NR_setsid)); },
     kNotInCompat},
    {"P08b", "setpgid: leave the process group", "setpgid(2)",
     [] { return done(raw_syscall(__NR_setpgid, 0, 0)); }, kNotInCompat},
    {"P15", "environment of process 1", "CVE-2016-9962; botb",
     [] {
       return any_opened({"/proc/1/environ", "/proc/1/auxv"}, O_RDONLY);
     },
     everywhere(kStopped)},
    {"P15b", "memory of process 1", "CVE-2016-9962",
     [] {
       return any_opened({"/proc/1/mem", "/proc/1/maps"}, O_RDONLY);
     },
     everywhere(kStopped)},
    {"P15c", "descriptors of process 1", "CVE-2024-21626",
     [] { return opened("/proc/1/fd", O_RDONLY | O_DIRECTORY); }, everywhere(kStopped)},
    {"P15d", "executable of process 1, for writing", "CVE-2019-5736",
     [] { return opened("/proc/1/exe", O_WRONLY); }, everywhere(kStopped)},
    {"P15e", "environment of the parent", "botb env scan",
     [] {
       char path[40];
       std::snprintf(path, sizeof path, "/proc/%ld/environ", raw_syscall(__NR_getppid));
       return opened(path, O_RDONLY);
     },
     everywhere(kMay)},
    {"P16", "a lower OOM score than given", "proc(5)",
     [] {
       const long fd = open_file("/proc/self/oom_score_adj", O_WRONLY);
       if (fd < 0) return fd == -ENOENT ? invisible() : blocked(static_cast<int>(-fd));
       return done(raw_syscall(__NR_write, fd, as_arg("-1000"), 5));
     },
     everywhere(kStopped)},
};

}  // namespace

Family processes() {
  return {"processes", kProbes};
}

}  // namespace fnrun::probe
