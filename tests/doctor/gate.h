// A program run with chosen system calls taken away from it, and from all that it starts.
//
// By ptrace(2): each call of each process stops and is judged, with its arguments and the memory
// they point to, which a seccomp filter cannot see (clone3's flags, mount's type, an opened path),
// and without any filter or listener that a program which tests filters would notice. One thread,
// which must have no other children; returns when everything that the program started is gone.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fnrun::test {

// A system call that is about to be made.
struct GatedCall {
  pid_t program = 0;  // The first process: the program itself.
  pid_t caller = 0;
  long number = -1;
  std::array<std::uint64_t, 6> args{};

  // What argument `index` points to, in the caller's memory; "" and 0 if it cannot be read.
  [[nodiscard]] std::string text(unsigned index) const;
  [[nodiscard]] std::uint64_t word(unsigned index, std::size_t bytes = 8) const;
};

struct GateAnswer {
  int os_errno = 0;          // Not 0: the call is not made and fails so.
  std::string other_path{};  // Not empty: openat(2) opens this instead.
};
using Gate = std::function<GateAnswer(const GatedCall&)>;

struct GatedRun {
  pid_t program = 0;  // Its number, while it ran.
  int code = -1;      // 128+n when signal n ended the program itself.
  std::string out;
  std::string err;
};

// An empty gate: runs without being traced, which is quicker, and returns when the program ends.
// `prepare` runs in the new process before exec; what it returns, if not 0, is the exit code.
[[nodiscard]] GatedRun run_gated(const std::vector<std::string>& argv, const Gate& gate,
                                 const std::function<int()>& prepare = {});

}  // namespace fnrun::test
