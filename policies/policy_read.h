// From a merged document to a Policy.
//
// Private to this room: the meaning of the keys. Pure; no thread rule.
#pragma once

#include "policies/json_document.h"
#include "policies/json_reader.h"
#include "policies/policy_json.h"

namespace fnrun::policies::internal {

// The keys that belong to a file rather than to the policy. Each file of an `extends` chain is
// checked by itself; `extends` is the name or path it gives, "" when there is none.
struct Header {
  std::string extends;
  std::string extends_pointer;
  unsigned extends_line = 0;
};
[[nodiscard]] Result<Header> read_header(const Node& root);

// `root` is merged: neither `extends` nor null are left in it.
[[nodiscard]] Result<Policy> read_policy(const Node& root);

// What a policy's text may hold of system calls; whatever becomes a policy keeps to it.
inline constexpr std::size_t kRulesMax = 1'024;
inline constexpr std::size_t kCallsPerRuleMax = 1'024;
// 1 to 40 of a-z, 0-9 and _.
[[nodiscard]] bool is_call_name(std::string_view text);

// The section "seccomp" (policy_read_seccomp.cc); errors go to `reader`.
[[nodiscard]] Seccomp read_seccomp(Reader& reader, const At& at);

}  // namespace fnrun::policies::internal
