// Units that are types: a number of bytes is not a number of milliseconds.
//
// Plain values, no parsing: JSON keys carry their unit in the name (policy_json.h).
#pragma once

#include <compare>
#include <cstdint>

namespace fnrun::policies {

struct ByteSize {
  std::uint64_t bytes = 0;
  friend constexpr auto operator<=>(ByteSize, ByteSize) = default;
};

constexpr ByteSize kibibytes(std::uint64_t n) {
  return {n * 1024};
}
constexpr ByteSize mebibytes(std::uint64_t n) {
  return {n * 1024 * 1024};
}

}  // namespace fnrun::policies
