// Seccomp profiles as containers have them: OCI's JSON, and Docker's and Podman's, which add
// `archMap`, `includes` and `excludes` to it. Reading one into a policy's section, and writing one.
//
// As strict as policy_json.h: what cannot be kept as the file says is an error or a note, never
// silence. Bounded like a policy file, total on any text. Pure but for the caller's look_up; no
// thread rule.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policies/policy_json.h"

namespace fnrun::policies {

enum class CallName : std::uint8_t { kHere, kElsewhere, kUnknown };

// What the file's conditions are resolved for, once: x86_64, no capability, and this.
struct ImportTarget {
  std::pair<int, int> kernel;  // 6.1 is {6, 1}.
  // Whether x86_64 has a call of this name, other architectures do, or nobody knows it.
  std::function<CallName(std::string_view)> look_up;
};

struct ImportedSeccomp {
  Seccomp seccomp;  // As the file says it: a policy's own rules, the floor not among them.
  std::vector<std::string> notes;  // What is not as the file says, and why. One line each.
};

// `file` names the text in errors.
[[nodiscard]] Result<ImportedSeccomp> import_oci_seccomp(std::string_view json,
                                                         const std::string& file,
                                                         const ImportTarget& target);

// With the floor (seccomp_floor.h), for x86_64 alone. `exec_once` cannot be said in that format.
[[nodiscard]] std::string export_oci_seccomp(const Seccomp& seccomp);

}  // namespace fnrun::policies
