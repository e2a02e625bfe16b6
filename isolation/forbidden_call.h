// A system call that the policy forbids, as the kernel told it when it was made.
//
// Numbers only: what the pointers among the arguments point to is the caller's to change, so nobody
// reads it. A plain value; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "policies/policy.h"

namespace fnrun::isolation {

struct ForbiddenCall {
  enum class By : std::uint8_t { kHandler, kChild };  // Its threads included; anybody else inside.
  By by = By::kHandler;
  std::int32_t number = -1;
  std::uint32_t arch = 0;  // AUDIT_ARCH_*
  std::array<std::uint64_t, 6> args{};
  std::uint64_t instruction_pointer = 0;
  // Of the handler's or, for kChild, of the others' since the sandbox began: at least so many,
  // where it was killed before its init could sum up.
  std::uint64_t count = 0;
  friend bool operator==(const ForbiddenCall&, const ForbiddenCall&) = default;

  // "ptrace"; "syscall 9999" where nobody knows a name.
  [[nodiscard]] std::string name() const;
  // "x86_64"; the number in hexadecimal otherwise.
  [[nodiscard]] std::string arch_name() const;
  // "ptrace(0x10, 0x1, 0x0, 0x0, 0x0, 0x0)": all six registers, however many the call takes.
  [[nodiscard]] std::string to_string() const;
};

// "0x1f".
[[nodiscard]] std::string hexadecimal(std::uint64_t value);

// The rule of the profile, or of the floor, that forbids the call; "" where that is the default
// action.
[[nodiscard]] std::string forbidding_rule(const policies::Seccomp& profile,
                                          const ForbiddenCall& call);

}  // namespace fnrun::isolation
