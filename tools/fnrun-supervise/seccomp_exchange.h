// --import-seccomp and --export-seccomp: a policy's system calls from and to what containers have.
//
// Prints documents on stdout, and on stderr what a person should know before trusting them. Runs
// nothing.
#pragma once

#include <functional>
#include <string_view>

#include "options.h"
#include "policies/policy.h"

namespace fnrun::tools {

using Complain = std::function<void(std::string_view)>;

// The exit code. `policy` is the one that --policy names: of an import it gives everything but the
// system calls.
[[nodiscard]] int import_seccomp(const Options& options, policies::Policy policy,
                                 const Complain& complain);
[[nodiscard]] int export_seccomp(const Options& options, const policies::Policy& policy,
                                 const Complain& complain);

}  // namespace fnrun::tools
