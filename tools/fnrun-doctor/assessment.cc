#include "assessment.h"

#include <algorithm>

namespace fnrun::doctor {
namespace {

std::optional<policies::Layer> layer_named(std::string_view name) {
  for (const policies::Layer layer : policies::kLayers)
    if (name == policies::name_of(layer)) return layer;
  return std::nullopt;
}

bool is_controller(policies::Layer layer) {
  return std::find(policies::kControllers.begin(), policies::kControllers.end(), layer) !=
         policies::kControllers.end();
}

// A controller matters only to a policy that sets a limit of it.
Demand demand_of(const policies::Policy& policy, const Probe& probe) {
  if (probe.need == Need::kAlways) return Demand::kRequired;
  if (probe.need == Need::kForExecOnce)
    return policy.seccomp.exec_once ? Demand::kRequired : Demand::kNone;
  const auto layer = layer_named(probe.layer);
  if (probe.need == Need::kNobody || !layer) return Demand::kNone;
  if (is_controller(*layer) && !policies::needs_controller(policy.limits, *layer))
    return Demand::kNone;
  return policy.preferred.contains(*layer) ? Demand::kPreferred : Demand::kRequired;
}

}  // namespace

std::string_view name_of(Demand demand) noexcept {
  switch (demand) {
    case Demand::kNone:
      return "no";
    case Demand::kPreferred:
      return "preferred";
    case Demand::kRequired:
      return "required";
  }
  return "?";
}

std::vector<Demand> demands_of(const policies::Policy& policy, const std::vector<Probe>& table) {
  std::vector<Demand> demands;
  for (const Probe& probe : table) demands.push_back(demand_of(policy, probe));
  // Backwards: a row comes after what it hangs on, so one pass reaches the roots.
  for (std::size_t i = table.size(); i-- > 0;)
    for (std::size_t j = 0; j < i; ++j) {
      const auto& needs = table[i].hangs_on;
      if (std::find(needs.begin(), needs.end(), table[j].id) != needs.end())
        demands[j] = std::max(demands[j], demands[i]);
    }
  return demands;
}

std::optional<Finding> finding_without_running(const Probe& probe, const std::vector<Row>& before) {
  for (const Row& row : before) {
    if (std::find(probe.hangs_on.begin(), probe.hangs_on.end(), row.probe->id) ==
        probe.hangs_on.end())
      continue;
    if (row.finding.verdict != Verdict::kWorks)
      return untested("hangs on " + std::string(row.probe->id));
  }
  return std::nullopt;
}

Assessment assess(const std::vector<Row>& rows) {
  Assessment assessment;
  for (const Row& row : rows) {
    if (row.finding.verdict != Verdict::kMissing) continue;
    if (row.demand == Demand::kRequired) assessment.stopped_by.push_back(row.probe->id);
    if (row.demand == Demand::kPreferred) assessment.degraded.push_back(row.probe->id);
  }
  assessment.holds = assessment.stopped_by.empty();
  return assessment;
}

}  // namespace fnrun::doctor
