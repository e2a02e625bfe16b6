// Kernel constants and structs that Debian 12's headers lack or that libc's headers would bring
// along with libc. Freestanding; each with the kernel version it came with.
#pragma once

#include <cstdint>

namespace fnrun::child {

// <linux/mount.h> of 5.12 has mount_setattr; restated so that the init needs no libc header.
struct MountAttr {
  std::uint64_t attr_set;
  std::uint64_t attr_clr;
  std::uint64_t propagation;
  std::uint64_t userns_fd;
};

// <linux/landlock.h> grew with each ABI: fs (1), net (4, Linux 6.7), scoped (6, Linux 6.12).
struct LandlockRulesetAttr {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};
struct [[gnu::packed]] LandlockPathBeneathAttr {
  std::uint64_t allowed_access;
  std::int32_t parent_fd;
};

struct SockFprog {
  unsigned short len;
  const void* filter;
};

struct KernelSigaction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  std::uint64_t mask;
};

struct PollFd {
  std::int32_t fd;
  std::int16_t events;
  std::int16_t revents;
};

struct Timeval {
  std::int64_t seconds;
  std::int64_t microseconds;
};
struct Rusage {
  Timeval user;
  Timeval system;
  std::int64_t max_rss_kib;
  std::int64_t unused[11];
  std::int64_t voluntary_switches;
  std::int64_t involuntary_switches;
};

inline constexpr int kAtFdCwd = -100;
inline constexpr int kAtEmptyPath = 0x1000;
inline constexpr int kAtRecursive = 0x8000;
inline constexpr int kAtSymlinkNofollow = 0x100;
inline constexpr int kAtRemoveDir = 0x200;
inline constexpr int kUmountDetach = 2;
inline constexpr std::uint64_t kSigChld = 17;
inline constexpr std::uint64_t kSigKill = 9;
inline constexpr std::uint64_t kSigStop = 19;
inline constexpr std::uint64_t kSigSys = 31;

}  // namespace fnrun::child
