// A container's profile between its text and the rules that a policy can have.
//
// Private to this room: oci_seccomp_read.cc makes entries, oci_seccomp_resolve.cc rules of them.
#pragma once

#include <string>
#include <vector>

#include "policies/json_reader.h"
#include "policies/oci_seccomp.h"

namespace fnrun::policies::internal {

// One of `syscalls` that applies here. Borrows the document.
struct OciEntry {
  At at;
  SyscallAction action;
  std::vector<std::string> calls;  // Of x86_64.
  std::vector<ArgCondition> when;
};

// The first error goes to `reader`; what is left out or narrowed, and why, to `imported.notes`.
void resolve_entries(Reader& reader, const std::vector<OciEntry>& entries,
                     ImportedSeccomp& imported);

// "3 calls: a, b, c", the list cut where it gets long.
[[nodiscard]] std::string list_of_calls(const std::vector<std::string>& calls);

}  // namespace fnrun::policies::internal
