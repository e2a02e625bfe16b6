#include "seccomp_exchange.h"

#include <sys/utsname.h>

#include <filesystem>
#include <iostream>

#include "isolation/host.h"
#include "isolation/seccomp_filter.h"
#include "policies/oci_seccomp.h"
#include "policies/policy_json.h"
#include "policies/seccomp_difference.h"
#include "policy_search.h"
#include "supervisor/stdio_front_end.h"

namespace fnrun::tools {
namespace {

namespace fs = std::filesystem;

std::pair<int, int> running_kernel() {
  utsname name{};
  ::uname(&name);
  return isolation::parse_kernel_release(name.release);
}

}  // namespace

int import_seccomp(const Options& options, policies::Policy policy, const Complain& complain) {
  const std::string& path = options.import_seccomp;
  const auto text = policies::read_document(path);
  if (!text) {
    complain("--import-seccomp " + text.error().to_string());
    return kExitUsage;
  }
  const auto imported = policies::import_oci_seccomp(
      *text, path, {.kernel = running_kernel(), .look_up = isolation::look_up_call});
  if (!imported) {
    complain(imported.error().to_string());
    return kExitBadPolicy;
  }
  // A profile has no word for the switches. exec_once takes nothing from what it says.
  const bool exec_once = policy.seccomp.exec_once;
  const bool opens_memory = policy.seccomp.write_execute.empty();
  policy.seccomp = imported->seccomp;
  policy.seccomp.exec_once = exec_once;
  policy.description = "The system calls of " + fs::path(path).filename().string() +
                       ", all else as in " + options.function.policy + ".";
  // As a host with a listener has it, which is not asked: exec_once needs one.
  const auto filter = isolation::compile_seccomp(policy.seccomp, isolation::KillBy::kListener);
  if (!filter) {
    complain(path + ": " + filter.error().to_string());
    return kExitBadPolicy;
  }
  const std::string written = to_json(policy);
  // What is printed is to be read: exec_once, of the policy, may want what the profile does not
  // allow.
  if (const auto again = policies::parse_policy(written); !again) {
    complain(path + ", with all else of " + options.function.policy + ": " +
             again.error().to_string());
    return kExitBadPolicy;
  }
  std::cout << written;
  for (const std::string& note : imported->notes) complain(path + ": " + note);
  if (opens_memory)
    complain("memory may be writable and executable at once, which " + options.function.policy +
             " forbids and the profile does not: see write_execute");
  if (const auto strict = policies::load_policy("strict", policy_search_path())) {
    const std::string found = policies::difference(strict->seccomp, policy.seccomp).to_string();
    std::cerr << "a filter of " << filter->size() << " BPF instructions; compared with strict it"
              << (found.empty() ? " lets through the same\n" : "\n" + found);
  } else {
    complain(strict.error().to_string());
  }
  return std::cout.flush() ? 0 : supervisor::kExitOutputFailed;
}

int export_seccomp(const Options& options, const policies::Policy& policy,
                   const Complain& complain) {
  std::cout << policies::export_oci_seccomp(policy.seccomp);
  if (policy.seccomp.exec_once)
    complain(options.function.policy +
             ": exec_once is not in the profile: that format has no word for it");
  return std::cout.flush() ? 0 : supervisor::kExitOutputFailed;
}

}  // namespace fnrun::tools
