// The symbolic names of Linux's error numbers, both ways.
//
// Private to this room. A table, no strerror(3): a policy means the same in every locale and libc.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fnrun::policies::internal {

// A filter cannot return more: the kernel caps at this (MAX_ERRNO).
inline constexpr int kErrnoMax = 4'095;

// "ENOSYS", or a number in 1 … kErrnoMax for what has no name ("3001").
[[nodiscard]] std::optional<int> errno_value(std::string_view name);

// The name, or the number in digits where it has none.
[[nodiscard]] std::string errno_name(int value);

}  // namespace fnrun::policies::internal
