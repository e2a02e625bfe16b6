// Family "resources": taking more than the policy gives, within bounds that a host survives.
//
// Each stops at a bound of its own, a little above what the most generous shipped policy gives:
// whoever gets there is not limited. Files are gone when the attempt is.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/time.h>

#include <cstdio>
#include <cstring>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr long kMiB = 1024 * 1024;
constexpr long kManyProcesses = 560;     // compat: 512
constexpr long kManyDescriptors = 2048;  // compat: 1024
constexpr long kManyTimers = 1024;
constexpr long kMuchTmp = 1024 * kMiB;  // compat: 512 MiB
constexpr long kManyFiles = 100'000;    // compat: 65,536
// What is filled, and not only asked for.
constexpr long kFilledTmp = 80 * kMiB;
constexpr long kFilledFiles = 6'000;
// Folders that lead to a handler below /tmp are not counted.
constexpr long kOwnFolders = 64;

rlimit64 limit_of(int resource) {
  rlimit64 limit{};
  raw_syscall(__NR_prlimit64, 0, resource, 0, as_arg(&limit));
  return limit;
}
// The hard one: a soft limit is the program's own to raise.
Saw hard_limit(int resource, unsigned long generous) {
  const unsigned long hard = limit_of(resource).rlim_max;
  return hard >= generous ? open(hard == ~0UL ? "no limit" : "") : limited(static_cast<long>(hard));
}

// Children that wait for the end of a pipe; with this process, the last writer, they all end.
Saw many_processes() {
  int hold[2];
  if (const long r = raw_syscall(__NR_pipe2, as_arg(hold), 0); r < 0)
    return inconclusive("no pipe");
  long made = 0, result = 0;
  for (; made < kManyProcesses; ++made) {
    result = fork_child();
    if (result < 0) break;
    if (result > 0) continue;
    char byte;
    raw_syscall(__NR_close, hold[1]);
    raw_syscall(__NR_read, hold[0], as_arg(&byte), 1);
    leave(0);
  }
  raw_syscall(__NR_close, hold[1]);
  while (raw_syscall(__NR_wait4, -1, 0, 0, 0) > 0) {
  }
  if (made >= kManyProcesses) return open("560 at once");
  return made > 0 ? limited(made, strerrorname_np(static_cast<int>(-result))) : done(result);
}

Saw many_descriptors() {
  const rlimit64 limit = limit_of(RLIMIT_NOFILE);
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit64 raised{limit.rlim_max, limit.rlim_max};
    raw_syscall(__NR_prlimit64, 0, RLIMIT_NOFILE, as_arg(&raised), 0);
  }
  long made = 0, result = 0;
  for (; made < kManyDescriptors && (result = raw_syscall(__NR_dup, 1)) >= 0; ++made) {
  }
  return result >= 0 ? open("2048 at once")
                     : limited(made, strerrorname_np(static_cast<int>(-result)));
}

Saw many_timers() {
  long made = 0, result = 0;
  for (; made < kManyTimers; ++made) {
    int id = 0;
    result = raw_syscall(__NR_timer_create, 1, 0, as_arg(&id));
    if (result < 0) break;
  }
  return made >= kManyTimers ? open("1024 at once")
                             : limited(made, strerrorname_np(static_cast<int>(-result)));
}

struct TmpSize {
  long bytes = 0, files = 0;
  long result = 0;
};
TmpSize tmp_size() {
  struct statfs info {};
  TmpSize size;
  size.result = raw_syscall(__NR_statfs, as_arg("/tmp"), as_arg(&info));
  if (size.result < 0) return size;
  size.bytes = static_cast<long>(info.f_blocks) * info.f_bsize;
  size.files = static_cast<long>(info.f_files);
  return size;
}

// Files that are gone already but for their descriptor, so that nothing of them stays.
Saw fills_tmp() {
  const TmpSize size = tmp_size();
  if (size.result < 0) return done(size.result);
  if (size.bytes >= kMuchTmp) return open("1 GiB or more");
  if (size.bytes > kFilledTmp) return limited(size.bytes, "bytes, as its file system says");
  static char block[65536];
  long written = 0;
  for (int file = 0; file < 16; ++file) {
    const Scratch target("fill");
    if (target.fd() < 0) return limited(written, "bytes; then no more files");
    const long kept = raw_syscall(__NR_dup, target.fd());
    long n = 0;
    for (long in_file = 0; in_file < 8 * kMiB; in_file += n, written += n)
      if ((n = raw_syscall(__NR_write, kept, as_arg(block), sizeof block)) <= 0)
        return limited(written, strerrorname_np(static_cast<int>(-n)));
  }
  return open("more than it holds");
}

Saw fills_inodes() {
  const TmpSize size = tmp_size();
  if (size.result < 0) return done(size.result);
  if (size.files >= kManyFiles || size.files == 0) return open("100,000 files or more");
  if (size.files > kFilledFiles) return limited(size.files, "files, as its file system says");
  char folder[64], path[96];
  std::snprintf(folder, sizeof folder, "/tmp/fnrun-probe-%ld", raw_syscall(__NR_getpid));
  if (const long r = raw_syscall(__NR_mkdir, as_arg(folder), 0700); r < 0) return done(r);
  long made = 0, result = 0;
  for (; made < kFilledFiles; ++made) {
    std::snprintf(path, sizeof path, "%s/%ld", folder, made);
    result = open_file(path, O_CREAT | O_EXCL | O_WRONLY);
    if (result < 0) break;
    raw_syscall(__NR_close, result);
  }
  for (long i = 0; i < made; ++i) {
    std::snprintf(path, sizeof path, "%s/%ld", folder, i);
    raw_syscall(__NR_unlink, as_arg(path));
  }
  raw_syscall(__NR_rmdir, as_arg(folder));
  return result >= 0 ? open() : limited(made, strerrorname_np(static_cast<int>(-result)));
}

Saw sparse_file() {
  const Scratch file("sparse");
  if (file.fd() < 0) return inconclusive("no file in /tmp");
  return done(raw_syscall(__NR_ftruncate, file.fd(), 1L << 40));
}

Saw locks_memory() {
  alignas(4096) static char page[4096];
  return done(raw_syscall(__NR_mlock, as_arg(page), sizeof page));
}

Saw huge_pages() {
  const long at = raw_syscall(__NR_mmap, 0, 2 * kMiB, PROT_READ,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  return at < 0 && at > -4096 ? blocked(static_cast<int>(-at)) : open();
}

Saw watches() {
  const long fd = raw_syscall(__NR_inotify_init1, 0);
  if (fd < 0) return done(fd);
  return done(raw_syscall(__NR_inotify_add_watch, fd, as_arg("/"), 0x100));
}

Saw queued_signals() {
  alignas(8) char info[128] = {};
  const int code = -1;
  std::memcpy(info + 8, &code, sizeof code);
  const unsigned long all = ~0UL;
  raw_syscall(__NR_rt_sigprocmask, SIG_BLOCK, as_arg(&all), 0, 8);
  const long self = raw_syscall(__NR_getpid);
  long made = 0, result = 0;
  for (; made < 512; ++made)
    if ((result = raw_syscall(__NR_rt_sigqueueinfo, self, 40, as_arg(info))) < 0) break;
  if (made == 0) return done(result);
  return made >= 512 ? open("512 at once")
                     : limited(made, strerrorname_np(static_cast<int>(-result)));
}

constexpr Probe kProbes[] = {
    {"R01",
     "processes without end",
     "fork bomb",
     many_processes,
     {at_most(16), at_most(64), at_most(512)}},
    {"R02", "memory without end", "OOM",
     [] { return skipped("where it is limited, it would end this program too"); },
     everywhere(kMay)},
    {"R03",
     "bytes in /tmp without end",
     "tmpfs(5): size=",
     fills_tmp,
     {at_most(16 * kMiB), at_most(64 * kMiB), at_most(512 * kMiB)}},
    {"R03b",
     "files in /tmp without end",
     "tmpfs(5): nr_inodes=",
     fills_inodes,
     {at_most(1024 + kOwnFolders), at_most(4096 + kOwnFolders), at_most(65536 + kOwnFolders)}},
    {"R04", "a file of 1 TiB", "RLIMIT_FSIZE", sparse_file, everywhere(kStopped)},
    {"R05",
     "descriptors without end",
     "RLIMIT_NOFILE",
     many_descriptors,
     {at_most(64), at_most(256), at_most(1024)}},
    {"R05b",
     "RLIMIT_NOFILE",
     "getrlimit(2)",
     [] { return hard_limit(RLIMIT_NOFILE, 2048); },
     {at_most(64), at_most(256), at_most(1024)}},
    {"R07",
     "inotify",
     "CVE-2019-9857 family; counted per uid",
     watches,
     {refused(ENOSYS), refused(ENOSYS), kMay}},
    {"R07b", "timers without end", "RLIMIT_SIGPENDING", many_timers, everywhere(at_most(128))},
    {"R07c",
     "signals in the queue without end",
     "RLIMIT_SIGPENDING",
     queued_signals,
     {refused(EPERM), refused(EPERM), at_most(128)}},
    {"R11", "core dumps: RLIMIT_CORE", "core(5)", [] { return hard_limit(RLIMIT_CORE, 2); },
     everywhere(at_most(1))},
    {"R13", "mlock", "RLIMIT_MEMLOCK", locks_memory, {refused(EPERM), refused(EPERM), kStopped}},
    {"R13b",
     "mlockall",
     "RLIMIT_MEMLOCK",
     [] { return done(raw_syscall(__NR_mlockall, 6)); },
     {refused(EPERM), refused(EPERM), kStopped}},
    {"R13c", "huge pages", "mmap(2): MAP_HUGETLB", huge_pages, everywhere(kMay)},
    {"R13d", "locked memory: RLIMIT_MEMLOCK", "getrlimit(2)",
     [] { return hard_limit(RLIMIT_MEMLOCK, 1); }, everywhere(at_most(0))},
    {"R15", "message queues: RLIMIT_MSGQUEUE", "getrlimit(2)",
     [] { return hard_limit(RLIMIT_MSGQUEUE, 1); }, everywhere(at_most(0))},
    {"R15b",
     "file sizes: RLIMIT_FSIZE",
     "getrlimit(2)",
     [] { return hard_limit(RLIMIT_FSIZE, static_cast<unsigned long>(kMuchTmp)); },
     {at_most(16 * kMiB), at_most(64 * kMiB), at_most(512 * kMiB)}},
    {"R15c", "stacks: RLIMIT_STACK", "CVE-2017-1000364",
     [] { return hard_limit(RLIMIT_STACK, static_cast<unsigned long>(kMuchTmp)); },
     everywhere(at_most(8 * kMiB))},
    {"R15d", "processes: RLIMIT_NPROC", "getrlimit(2)",
     [] { return hard_limit(RLIMIT_NPROC, 65'536); }, everywhere(at_most(65'535))},
    {"R15e", "queued signals: RLIMIT_SIGPENDING", "getrlimit(2)",
     [] { return hard_limit(RLIMIT_SIGPENDING, 1024); }, everywhere(at_most(128))},
    {"R15f", "priorities: RLIMIT_NICE, RLIMIT_RTPRIO", "getrlimit(2)",
     [] {
       const Saw nice = hard_limit(RLIMIT_NICE, 1);
       return nice.word == Word::kOpen ? nice : hard_limit(RLIMIT_RTPRIO, 1);
     },
     everywhere(at_most(0))},
};

}  // namespace

Family resources() {
  return {"resources", kProbes};
}

}  // namespace fnrun::probe
