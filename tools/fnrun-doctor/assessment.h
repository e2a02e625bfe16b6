// Can this host hold this policy? Findings and a policy in, the answer out.
//
// Pure: what was tried is the runner's work. A row that the policy requires and that is missing
// stops it; one that it prefers is degraded; what a needed row hangs on is needed as much.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"
#include "probe.h"

namespace fnrun::doctor {

enum class Demand : std::uint8_t { kNone, kPreferred, kRequired };
[[nodiscard]] std::string_view name_of(Demand demand) noexcept;

struct Row {
  const Probe* probe = nullptr;
  Finding finding{};
  Demand demand = Demand::kNone;
};

// How much `policy` asks for each row of `table`, in its order.
[[nodiscard]] std::vector<Demand> demands_of(const policies::Policy& policy,
                                             const std::vector<Probe>& table);

// What to say of a probe without running it: it hangs on a row that does not work. Nothing: run it.
[[nodiscard]] std::optional<Finding> finding_without_running(const Probe& probe,
                                                             const std::vector<Row>& before);

struct Assessment {
  bool holds = false;
  std::vector<std::string_view> stopped_by;  // Rows required and missing.
  std::vector<std::string_view> degraded;    // Rows preferred and missing.
};
[[nodiscard]] Assessment assess(const std::vector<Row>& rows);

}  // namespace fnrun::doctor
