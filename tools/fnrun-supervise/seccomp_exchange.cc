#include "seccomp_exchange.h"

#include <sys/utsname.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

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

void complain(const std::string& message) {
  std::cerr << "fnrun-supervise: " << message << '\n';
}

// A pipe or a device is refused before it is opened: reading one could block for ever.
std::optional<std::string> read_profile(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  std::ifstream in(path, std::ios::binary);
  std::string text(policies::kPolicyTextMax + 1, '\0');  // One more, so that longer is seen.
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

std::pair<int, int> running_kernel() {
  utsname name{};
  ::uname(&name);
  return isolation::parse_kernel_release(name.release);
}

}  // namespace

int import_seccomp(const Options& options, policies::Policy policy) {
  const std::string& path = options.import_seccomp;
  const auto text = read_profile(path);
  if (!text) {
    complain("--import-seccomp " + path + ": no file that can be read");
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
                       ", all else as in " + options.policy + ".";
  // As a host with a listener has it, which is not asked: exec_once needs one.
  const auto filter = isolation::compile_seccomp(policy.seccomp, isolation::KillBy::kListener);
  if (!filter) {
    complain(path + ": " + filter.error().to_string());
    return kExitBadPolicy;
  }
  std::cout << to_json(policy);
  for (const std::string& note : imported->notes) complain(path + ": " + note);
  if (opens_memory)
    complain("memory may be writable and executable at once, which " + options.policy +
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

int export_seccomp(const Options& options, const policies::Policy& policy) {
  std::cout << policies::export_oci_seccomp(policy.seccomp);
  if (policy.seccomp.exec_once)
    complain(options.policy + ": exec_once is not in the profile: that format has no word for it");
  return std::cout.flush() ? 0 : supervisor::kExitOutputFailed;
}

}  // namespace fnrun::tools
