// Launches plans into sandboxes; owns what the sandboxes of one supervisor share.
//
// That is: the init's program image, the corner of the cgroup tree with its janitor, and the uids
// leased from the host. One per process is the rule. launch() is thread-safe and blocks for some
// milliseconds, at most the policy's start timeout; sandboxes do not outlive their Launcher.
// A program that forks without exec copies the lifelines: while such a fork lives, the supervisor's
// death does not end its sandboxes.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "isolation/host.h"
#include "isolation/plan.h"
#include "isolation/sandbox.h"
#include "isolation/unique_fd.h"

namespace fnrun::isolation {

// What becomes the handler's descriptors 0, 1 and 2. Closed here by launch(), whatever it returns.
struct Stdio {
  UniqueFd in;
  UniqueFd out;
  UniqueFd err;
};

struct LauncherOptions {
  // Shared by all supervisors of a host; see uid_leases.h. Used by privileged supervisors only.
  std::string uid_lock_file = "/run/fnrun/uids.lock";
};

class [[nodiscard]] Launcher {
 public:
  [[nodiscard]] static Result<Launcher> make(const Host& host, const LauncherOptions& options = {});
  Launcher(Launcher&&) noexcept;
  ~Launcher();

  // `extra_environment`: "NAME=value" strings beside the plan's; a name of the plan's is replaced.
  // `latest` cuts the policy's start timeout short. On failure nothing is left behind: no process,
  // cgroup, mount or lease.
  [[nodiscard]] Result<Sandbox> launch(
      const Plan& plan, Stdio stdio, std::span<const std::string> extra_environment = {},
      std::chrono::steady_clock::time_point latest = std::chrono::steady_clock::time_point::max());

 private:
  struct Shared;
  explicit Launcher(std::unique_ptr<Shared> shared);
  std::unique_ptr<Shared> shared_;
};

}  // namespace fnrun::isolation
