// What attempts are written with: raw calls, and how an answer of the kernel becomes a Saw.
//
// For the attempts' processes only (runner.h). No libc wrapper stands between an attempt and the
// kernel: none emulates, caches or tries again.
#pragma once

#include <asm/unistd.h>

#include <cerrno>
#include <cstddef>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "isolation/child/raw_syscall.h"
#include "probe.h"

namespace fnrun::probe {

using child::as_arg;
using child::raw_syscall;

// No page of any process is mapped here: a call that reads its argument says EFAULT, and harms
// nobody.
inline constexpr long kBadAddress = 8;

[[nodiscard]] Saw open(const char* detail = "");
[[nodiscard]] Saw invisible(const char* detail = "");
[[nodiscard]] Saw blocked(int os_errno, const char* detail = "");
[[nodiscard]] Saw limited(long value, const char* detail = "");
[[nodiscard]] Saw inconclusive(const char* detail);
[[nodiscard]] Saw skipped(const char* why);

// A call that does what it says.
[[nodiscard]] Saw done(long result);
// A call with arguments that the kernel itself must refuse: one of `looked` means that it looked at
// them, so nothing stood before it.
[[nodiscard]] Saw reached(long result, std::initializer_list<int> looked);

// Whether a path is there, without opening it (devices do things when they are opened).
[[nodiscard]] Saw seen(const char* path);
// The first of these whose attempt is open; else the last that was refused.
template <class Attempt>
[[nodiscard]] Saw first_open(Attempt attempt, std::initializer_list<const char*> paths) {
  Saw best = invisible();
  for (const char* path : paths) {
    const Saw one = attempt(path);
    if (one.word == Word::kOpen) return one;
    if (one.word == Word::kBlocked) best = one;
  }
  return best;
}
// Inode numbers of namespaces that ours must not be, beside those that every host boots with: of
// whoever started the sandbox, who may be in a container. Set before the first attempt.
inline std::vector<unsigned long> namespaces_outside;

// The first of these that is there; not counting folders on the way to our own program.
[[nodiscard]] Saw any_seen(std::initializer_list<const char*> paths);
// The first name in a folder, whose path ends with '/', that is neither usual nor leads to our own
// program.
[[nodiscard]] Saw lists_more_than(const char* path, std::initializer_list<std::string_view> usual);
[[nodiscard]] Saw opened(const char* path, long flags);
// The first of these that opens; else the most telling refusal.
[[nodiscard]] Saw any_opened(std::initializer_list<const char*> paths, long flags);
[[nodiscard]] long open_file(const char* path, long flags, long mode = 0600);
// What there is of a small kernel file; -errno if it cannot be opened.
[[nodiscard]] long read_file(const char* path, char* text, std::size_t size);
// The effective uid is 0 here, whatever that is on the host.
[[nodiscard]] bool is_root_here();
// Ends this process, as the attempt's processes do: exit(2), which even strict mode of seccomp
// allows.
[[noreturn]] void leave(int code);
// fork(2) by clone(2), the one of the ways that filters let through; pidfd where it is wanted.
[[nodiscard]] long fork_child(int* pidfd = nullptr);
// Waits for the child to end; its wait status.
int wait_child(long pid);

// As the caller is; and where only a privilege is missing, once more as the root of a user
// namespace of its own, which is how a user without privilege reaches the same code of the kernel.
// `own` tells the attempt that nothing it does to mounts, names and the network is anybody else's.
[[nodiscard]] Saw also_in_own_namespaces(Saw (*attempt)(bool own));

// A new file in /tmp, open for reading and writing, gone with the object.
class Scratch {
 public:
  explicit Scratch(const char* name, long mode = 0700);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const char* path() const { return path_; }
  [[nodiscard]] long fd() const { return fd_; }
  void close();

 private:
  char path_[64];
  long fd_;
};

}  // namespace fnrun::probe
