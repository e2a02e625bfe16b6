// A controller passed down to the groups below our own cgroup, for as long as this object lives.
//
// The kernel does that only while no process is in our cgroup itself. Where the doctor is alone in
// it, as under systemd-run --scope, its two processes step aside into a group of their own, as the
// supervisor does for good, and come back. Elsewhere nothing is touched and fault() says what it
// would take. For probes; come_back() is for whoever outlives one that was killed.
#pragma once

#include <optional>
#include <string_view>

#include "isolation/unique_fd.h"
#include "probe.h"

namespace fnrun::doctor {

class PassedDown {
 public:
  PassedDown(const Surroundings& here, std::string_view controller);
  PassedDown(const PassedDown&) = delete;
  PassedDown& operator=(const PassedDown&) = delete;
  ~PassedDown();
  // Nothing: groups below our own cgroup have the controller now.
  [[nodiscard]] const std::optional<Finding>& fault() const { return fault_; }

 private:
  [[nodiscard]] std::optional<Finding> step_aside(std::string_view controller);
  const Surroundings& here_;
  isolation::UniqueFd lock_;
  std::optional<Finding> fault_;
};

// Whoever stepped aside is in our own cgroup again, which passes down what it did at the start.
void come_back(const Surroundings& here);

}  // namespace fnrun::doctor
