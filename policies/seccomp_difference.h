// What one filter lets through and another does not, in words for who is about to trust it.
//
// By name and by conditions as they are written: two ways to say the same thing count as different.
// Pure.
#pragma once

#include <string>
#include <vector>

#include "policies/policy.h"

namespace fnrun::policies {

struct SeccompDifference {
  std::vector<std::string> opened;    // Allowed now, not at all before.
  std::vector<std::string> widened;   // For some arguments before, for others or all of them now.
  std::vector<std::string> narrowed;  // For fewer arguments than before.
  std::vector<std::string> closed;    // Allowed before, not at all now.

  // "opens 3 calls: …", a line each of the four that is not empty; "" if nothing differs.
  [[nodiscard]] std::string to_string() const;
};

// Both with the floor. Names are sorted.
[[nodiscard]] SeccompDifference difference(const Seccomp& before, const Seccomp& now);

}  // namespace fnrun::policies
