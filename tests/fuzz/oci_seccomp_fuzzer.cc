// Hostile container profiles. Properties: nothing crashes; an error is one line with a message;
// what is imported is a policy that its own text means too, opens nothing of the floor, and is the
// same after it was exported and imported again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policies/oci_seccomp.h"
#include "policies/policy_json.h"
#include "policies/seccomp_difference.h"
#include "policies/seccomp_floor.h"

namespace {

namespace policies = fnrun::policies;

void require(bool property) {
  if (!property) std::abort();
}

// Stands in for libseccomp's list, which is no part of a fuzzing build.
policies::CallName look_up(std::string_view name) {
  if (name.starts_with("u_")) return policies::CallName::kUnknown;
  return name.starts_with("e_") ? policies::CallName::kElsewhere : policies::CallName::kHere;
}

policies::Result<policies::ImportedSeccomp> import(std::string_view text) {
  return policies::import_oci_seccomp(text, "fuzz.json", {.kernel = {6, 1}, .look_up = look_up});
}

void check_imported(const policies::ImportedSeccomp& imported) {
  for (const std::string& note : imported.notes)
    require(!note.empty() && note.find('\n') == std::string::npos);
  for (const policies::SyscallRule& rule : imported.seccomp.rules)
    for (const std::string& call : rule.calls)
      require(!policies::is_tripwire(call) &&
              policies::floor_fault(imported.seccomp, rule, call).empty());
  policies::Policy policy;
  policy.seccomp = imported.seccomp;
  const auto read = policies::parse_policy(to_json(policy));
  require(read.has_value() && *read == policy);
  const auto again = import(policies::export_oci_seccomp(imported.seccomp));
  require(again.has_value());
  const auto found = policies::difference(imported.seccomp, again->seccomp);
  require(found.opened.empty() && found.closed.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes are read as characters.
  const auto imported = import({reinterpret_cast<const char*>(data), size});
  if (imported) {
    check_imported(*imported);
  } else {
    require(!imported.error().message.empty());
    require(imported.error().to_string().find('\n') == std::string::npos);
  }
  return 0;
}
