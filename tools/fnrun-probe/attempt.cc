#include "attempt.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <dirent.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace fnrun::probe {
namespace {

Saw saw(Word word, const char* detail) {
  Saw result;
  result.word = word;
  std::snprintf(result.detail, sizeof result.detail, "%s", detail);
  return result;
}

// Nothing there, in the kernel's ways of saying so.
bool says_nothing_there(long result) {
  return result == -ENOENT || result == -ENOTDIR || result == -ENXIO || result == -ENODEV;
}

void write_file(const char* path, const char* text) {
  const long fd = open_file(path, O_WRONLY);
  if (fd < 0) return;
  raw_syscall(__NR_write, fd, as_arg(text), static_cast<long>(std::strlen(text)));
  raw_syscall(__NR_close, fd);
}

// One id is enough for new files to belong to somebody.
void map_own_id(long uid, long gid) {
  char line[64];
  write_file("/proc/self/setgroups", "deny");
  std::snprintf(line, sizeof line, "0 %ld 1", uid);
  write_file("/proc/self/uid_map", line);
  std::snprintf(line, sizeof line, "0 %ld 1", gid);
  write_file("/proc/self/gid_map", line);
}

bool enter_own_namespaces() {
  const long uid = raw_syscall(__NR_geteuid);
  const long gid = raw_syscall(__NR_getegid);
  if (raw_syscall(__NR_unshare, CLONE_NEWUSER) < 0) return false;
  map_own_id(uid, gid);
  if (raw_syscall(__NR_unshare,
                  CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
    return false;
  return raw_syscall(__NR_mount, 0, as_arg("/"), 0, MS_REC | MS_PRIVATE, 0) == 0;
}

}  // namespace

Saw open(const char* detail) {
  return saw(Word::kOpen, detail);
}
Saw invisible(const char* detail) {
  return saw(Word::kInvisible, detail);
}
Saw inconclusive(const char* detail) {
  return saw(Word::kInconclusive, detail);
}
Saw skipped(const char* why) {
  return saw(Word::kSkipped, why);
}
Saw blocked(int os_errno, const char* detail) {
  Saw result = saw(Word::kBlocked, detail);
  result.os_errno = os_errno;
  return result;
}
Saw limited(long value, const char* detail) {
  Saw result = saw(Word::kLimited, detail);
  result.value = value;
  return result;
}

Saw done(long result) {
  return result >= 0 ? open() : blocked(static_cast<int>(-result));
}

Saw reached(long result, std::initializer_list<int> looked) {
  if (result >= 0) return open();
  for (const int code : looked) {
    if (result != -code) continue;
    char detail[64];
    std::snprintf(detail, sizeof detail, "the kernel looked at the arguments: %s",
                  strerrorname_np(code));
    return open(detail);
  }
  return blocked(static_cast<int>(-result));
}

Saw seen(const char* path) {
  struct stat info {};
  const long result =
      raw_syscall(__NR_newfstatat, AT_FDCWD, as_arg(path), as_arg(&info), AT_SYMLINK_NOFOLLOW);
  if (result == 0) return open(path);
  return says_nothing_there(result) ? invisible() : blocked(static_cast<int>(-result), path);
}

// Our own program, or a folder on the way to it.
bool leads_to_us(const char* path) {
  char own[4096] = "";
  if (raw_syscall(__NR_readlink, as_arg("/proc/self/exe"), as_arg(own), sizeof own - 1) < 0)
    return false;
  const std::size_t length = std::strlen(path);
  return std::strncmp(own, path, length) == 0 && (own[length] == '/' || own[length] == '\0');
}

Saw any_seen(std::initializer_list<const char*> paths) {
  return first_open([](const char* path) { return leads_to_us(path) ? invisible() : seen(path); },
                    paths);
}

Saw lists_more_than(const char* path, std::initializer_list<std::string_view> usual) {
  const long folder = open_file(path, O_RDONLY | O_DIRECTORY);
  if (folder < 0) return folder == -ENOENT ? invisible() : blocked(static_cast<int>(-folder));
  alignas(8) static char entries[16384];
  for (long size;
       (size = raw_syscall(__NR_getdents64, folder, as_arg(entries), sizeof entries)) > 0;)
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      at += entry->d_reclen;
      if (std::find(usual.begin(), usual.end(), entry->d_name) != usual.end()) continue;
      char whole[512];
      std::snprintf(whole, sizeof whole, "%s%s", path, entry->d_name);
      if (!leads_to_us(whole)) return open(whole);
    }
  return invisible();
}

Saw opened(const char* path, long flags) {
  const long fd = open_file(path, flags);
  if (fd < 0) return says_nothing_there(fd) ? invisible() : blocked(static_cast<int>(-fd), path);
  raw_syscall(__NR_close, fd);
  return open(path);
}

Saw any_opened(std::initializer_list<const char*> paths, long flags) {
  return first_open([flags](const char* path) { return opened(path, flags); }, paths);
}

long open_file(const char* path, long flags, long mode) {
  return raw_syscall(__NR_openat, AT_FDCWD, as_arg(path), flags | O_CLOEXEC | O_NOCTTY, mode);
}

long read_file(const char* path, char* text, std::size_t size) {
  const long fd = open_file(path, O_RDONLY);
  if (fd < 0) return fd;
  std::size_t got = 0;
  while (got + 1 < size) {
    const long n =
        raw_syscall(__NR_read, fd, as_arg(text + got), static_cast<long>(size - 1 - got));
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  text[got] = '\0';
  raw_syscall(__NR_close, fd);
  return static_cast<long>(got);
}

bool is_root_here() {
  return raw_syscall(__NR_geteuid) == 0;
}

void leave(int code) {
  for (;;) raw_syscall(__NR_exit, code);
}

long fork_child(int* pidfd) {
  const long flags = SIGCHLD | (pidfd != nullptr ? CLONE_PIDFD : 0);
  return raw_syscall(__NR_clone, flags, 0, as_arg(pidfd), 0, 0);
}

int wait_child(long pid) {
  int status = 0;
  while (raw_syscall(__NR_wait4, pid, as_arg(&status), 0, 0) == -EINTR) {
  }
  return status;
}

Saw also_in_own_namespaces(Saw (*attempt)(bool own)) {
  const Saw direct = attempt(false);
  if (direct.word != Word::kBlocked || (direct.os_errno != EPERM && direct.os_errno != EACCES))
    return direct;
  if (!enter_own_namespaces()) return direct;
  Saw own = attempt(true);
  if (own.word == Word::kOpen)
    std::snprintf(own.detail, sizeof own.detail, "in a user namespace of its own");
  return own;
}

Scratch::Scratch(const char* name, long mode) {
  std::snprintf(path_, sizeof path_, "/tmp/fnrun-probe-%ld-%s", raw_syscall(__NR_getpid), name);
  fd_ = open_file(path_, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, mode);
}

void Scratch::close() {
  if (fd_ >= 0) raw_syscall(__NR_close, fd_);
  fd_ = -1;
}

Scratch::~Scratch() {
  close();
  raw_syscall(__NR_unlink, as_arg(path_));
}

}  // namespace fnrun::probe
