#include "probe.h"

#include <array>

#include "probe_table.h"

namespace fnrun::probe {

std::string_view name_of(Word word) noexcept {
  switch (word) {
    case Word::kBlocked:
      return "blocked";
    case Word::kInvisible:
      return "invisible";
    case Word::kLimited:
      return "limited";
    case Word::kOpen:
      return "open";
    case Word::kInconclusive:
      return "inconclusive";
    case Word::kSkipped:
      return "skipped";
  }
  return "";
}

const Expectation& of(const Promises& promises, Policy policy) noexcept {
  switch (policy) {
    case Policy::kParanoid:
      return promises.paranoid;
    case Policy::kStrict:
      return promises.strict;
    case Policy::kCompat:
      return promises.compat;
    case Policy::kBare:
      break;
  }
  return promises.bare;
}

std::span<const Family> probe_table() {
  static const std::array kFamilies{canaries(),        namespaces_and_mounts(),
                                    kernel_surface(),  kernel_switches(),
                                    processes(),       privilege(),
                                    filesystem(),      proc_and_devices(),
                                    ipc_and_network(), resources()};
  return kFamilies;
}

}  // namespace fnrun::probe
