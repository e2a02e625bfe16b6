// Family "files": reading the host's files, writing outside /tmp, running what was written, and
// what an exec hands down: descriptors, environment, signals, umask.
//
// Whatever is made is removed at once, also where it should not have been made.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

Saw creates_in(const char* folder) {
  char path[128];
  std::snprintf(path, sizeof path, "%s/fnrun-probe-%ld", folder, raw_syscall(__NR_getpid));
  const long fd = open_file(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW);
  if (fd < 0) return fd == -ENOENT ? invisible() : blocked(static_cast<int>(-fd), folder);
  raw_syscall(__NR_close, fd);
  raw_syscall(__NR_unlink, as_arg(path));
  return open(folder);
}
Saw creates_in_any(std::initializer_list<const char*> folders) {
  return first_open(creates_in, folders);
}

Saw maps_code_from_tmp() {
  const Scratch file("code");
  if (file.fd() < 0) return inconclusive("no file in /tmp");
  raw_syscall(__NR_write, file.fd(), as_arg(file.path()), 16);
  const long at = raw_syscall(__NR_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file.fd(), 0);
  return at < 0 && at > -4096 ? blocked(static_cast<int>(-at)) : open();
}

// Two bytes would be enough to see whether execve looks at them; a script says it in words.
Saw runs_from_tmp() {
  Scratch file("run");
  if (file.fd() < 0) return inconclusive("no file in /tmp");
  constexpr char kNothing[] = "#!/fnrun-nothing\n";
  raw_syscall(__NR_write, file.fd(), as_arg(kNothing), sizeof kNothing - 1);
  file.close();
  const char* const argv[] = {file.path(), nullptr};
  const char* const none[] = {nullptr};
  // ENOENT is the interpreter's: the file itself would have run.
  return reached(raw_syscall(__NR_execve, as_arg(file.path()), as_arg(argv), as_arg(none)),
                 {ENOENT});
}

Saw links_into_tmp() {
  const Scratch place("link");
  raw_syscall(__NR_unlink, as_arg(place.path()));
  const char* const sources[] = {"/proc/self/exe", "/usr/bin/env", "/etc/localtime"};
  long result = -ENOENT;
  for (const char* source : sources) {
    result = raw_syscall(__NR_linkat, AT_FDCWD, as_arg(source), AT_FDCWD, as_arg(place.path()),
                         AT_SYMLINK_FOLLOW);
    if (result == 0) return open(source);
  }
  return result == -ENOENT ? invisible() : blocked(static_cast<int>(-result));
}

// A descriptor opened for reading, opened anew for writing by its name in /proc.
Saw reopens_for_writing() {
  const long fd = open_file("/proc/self/exe", O_RDONLY);
  if (fd < 0) return fd == -ENOENT ? invisible() : blocked(static_cast<int>(-fd));
  char path[40];
  std::snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
  const long again = open_file(path, O_WRONLY);
  // ETXTBSY: it runs; nothing else was in the way.
  return reached(again, {ETXTBSY});
}

Saw inherited_descriptors() {
  for (long fd = 3; fd < 4096; ++fd)
    if (raw_syscall(__NR_fcntl, fd, F_GETFD, 0) >= 0) {
      char detail[32];
      std::snprintf(detail, sizeof detail, "descriptor %ld", fd);
      return open(detail);
    }
  return invisible();
}

Saw stdio_leads_out() {
  for (long fd = 0; fd <= 2; ++fd) {
    struct stat info {};
    if (raw_syscall(__NR_fstat, fd, as_arg(&info)) < 0) continue;
    if (S_ISDIR(info.st_mode) || S_ISBLK(info.st_mode)) return open("a folder or a disk");
    if (S_ISCHR(info.st_mode) && (info.st_rdev >> 8) != 1) return open("a terminal");
    if (S_ISREG(info.st_mode)) return open("a file of the host");
  }
  return invisible();
}

Saw environment() {
  long names = 0;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    bool known = false;
    for (const char* name : {"HOME=", "LANG=", "PATH=", "TMPDIR=", "GOMAXPROCS=", "GOMEMLIMIT=",
                             "JAVA_TOOL_OPTIONS=", "NODE_OPTIONS="})
      known = known || std::strncmp(*entry, name, std::strlen(name)) == 0;
    if (!known) ++names;
  }
  return names == 0 ? invisible() : open("variables that no policy gives");
}

struct KernelAction {
  void* handler;
  unsigned long flags;
  void* restorer;
  unsigned long mask;
};
Saw dispositions() {
  for (long signal = 1; signal <= 64; ++signal) {
    KernelAction action{};
    if (raw_syscall(__NR_rt_sigaction, signal, 0, as_arg(&action), 8) < 0) continue;
    if (action.handler != nullptr) return open("a signal is ignored from the start");
  }
  return invisible();
}
Saw signal_mask() {
  unsigned long mask = 0;
  if (const long r = raw_syscall(__NR_rt_sigprocmask, SIG_BLOCK, 0, as_arg(&mask), 8); r < 0)
    return done(r);
  return mask == 0 ? invisible() : open("a signal is blocked from the start");
}

Saw umask_is_loose() {
  const long mask = raw_syscall(__NR_umask, 0);
  return (mask & 022) == 022 ? invisible() : open();
}

Saw writes_own_text() {
  static const char kText[] = "text";
  const long fd = open_file("/proc/self/mem", O_RDWR);
  if (fd < 0) return fd == -ENOENT ? invisible() : blocked(static_cast<int>(-fd));
  return done(raw_syscall(__NR_pwrite64, fd, as_arg(kText), 1, as_arg(kText)));
}

constexpr Probe kProbes[] = {
    {"F06", "write to one's own read-only memory by /proc/self/mem", "CVE-2016-5195",
     writes_own_text, everywhere(kMay)},
    {"F11", "a new file in a folder of the system", "P1: no write outside /tmp",
     [] {
       return creates_in_any(
           {"", "/dev", "/usr", "/etc", "/run", "/var", "/home", "/root", "/sys"});
     },
     everywhere(kStopped)},
    {"F11b", "a new file in a folder for everybody", "P1: no write outside the writable mounts",
     [] {
       return creates_in_any({"/var/tmp", "/run/lock", "/var/lock", "/var/crash"});
     },
     everywhere(kStopped)},
    {"F11e", "a new file in /dev/shm", "shm_open(3): memory that everybody shares",
     [] { return creates_in("/dev/shm"); }, everywhere(kStopped)},
    {"F11c", "a new file in /proc", "proc(5)", [] { return creates_in("/proc"); },
     everywhere(kStopped)},
    {"F11d", "a new file beside the program itself", "CVE-2019-5736",
     [] {
       char path[256] = "";
       const long size =
           raw_syscall(__NR_readlink, as_arg("/proc/self/exe"), as_arg(path), sizeof path - 1);
       char* const slash = size > 0 ? std::strrchr(path, '/') : nullptr;
       if (slash == nullptr) return inconclusive("/proc/self/exe does not tell");
       *slash = '\0';
       return creates_in(path);
     },
     everywhere(kStopped)},
    {"F12",
     "map a file of /tmp executable",
     "noexec",
     maps_code_from_tmp,
     {kStopped, kStopped, kMay}},
    {"F12b", "run a file of /tmp", "noexec", runs_from_tmp, {kStopped, kStopped, kMay}},
    {"F15", "a hard link to a program of the host", "protected_hardlinks", links_into_tmp,
     everywhere(kStopped)},
    {"F15b", "open the program anew, for writing", "CVE-2019-5736", reopens_for_writing,
     everywhere(kStopped)},
    {"F16", "descriptors besides 0, 1 and 2", "CVE-2024-21626, CVE-2015-3629",
     inherited_descriptors, everywhere(kHidden)},
    {"F16b", "stdio is a terminal, a folder or a file of the host", "CVE-2017-5226",
     stdio_leads_out, everywhere(kHidden)},
    {"F17", "variables of the environment besides the policy's", "botb env scan", environment,
     everywhere(kHidden)},
    {"F19", "signals ignored at exec", "SIGPIPE, the classic", dispositions, everywhere(kHidden)},
    {"F19b", "signals blocked at exec", "signal(7)", signal_mask, everywhere(kHidden)},
    {"F19c", "a umask that lets others write", "umask(2)", umask_is_loose, everywhere(kHidden)},
    {"F20", "/etc/passwd: the accounts of the host", "P2", [] { return seen("/etc/passwd"); },
     everywhere(kHidden)},
    {"F20b", "/etc/shadow", "P2", [] { return seen("/etc/shadow"); }, everywhere(kHidden)},
    {"F20c", "/etc/machine-id, /etc/hostname", "host fingerprint",
     [] {
       return any_seen({"/etc/machine-id", "/etc/hostname"});
     },
     everywhere(kHidden)},
    {"F20d", "/etc/resolv.conf, /etc/hosts", "where the network is",
     [] {
       return any_seen({"/etc/resolv.conf", "/etc/hosts"});
     },
     everywhere(kHidden)},
    {"F20e", "/etc/ssl/private, /etc/ssh, /etc/kubernetes", "botb, deepce",
     [] {
       return any_seen({"/etc/ssl/private", "/etc/ssh", "/etc/kubernetes"});
     },
     everywhere(kHidden)},
    {"F20f", "/etc/crontab, /etc/cron.d, /etc/systemd", "persistence",
     [] {
       return any_seen({"/etc/crontab", "/etc/cron.d", "/etc/systemd"});
     },
     everywhere(kHidden)},
    {"F21", "/run: the services of the host", "botb socket hunt",
     [] {
       return any_seen({"/run", "/var/run"});
     },
     everywhere(kHidden)},
    {"F21b", "/var: the data and logs of the host", "P2",
     [] {
       return any_seen({"/var/log", "/var/lib", "/var/tmp"});
     },
     everywhere(kHidden)},
    {"F21c", "/root, /home: keys and histories", "deepce",
     [] {
       return any_seen({"/root", "/home"});
     },
     everywhere(kHidden)},
    {"F21d", "/boot: the kernel's image", "kernel addresses", [] { return seen("/boot"); },
     everywhere(kHidden)},
    {"F23", "something in / that no shipped policy shows", "a folder too many",
     [] {
       return lists_more_than("/", {".", "..", "bin", "dev", "etc", "lib", "lib64", "proc", "sbin",
                                    "sys", "tmp", "usr"});
     },
     everywhere(kHidden)},
    {"F22", "the secrets of an orchestrator", "deepce, CDK",
     [] {
       return any_seen({"/var/run/secrets", "/run/secrets", "/.dockerenv", "/run/.containerenv"});
     },
     everywhere(kHidden)},
};

}  // namespace

Family filesystem() {
  return {"files", kProbes};
}

}  // namespace fnrun::probe
