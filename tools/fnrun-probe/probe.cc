#include "probe.h"

#include <array>
#include <cerrno>

#include "probe_table.h"

namespace fnrun::probe {
namespace {

// Where a preset does not promise what strict promises. The mode of an own file may be set, but not
// to become somebody else's: fchmod(2) for copies of C++ and Node, chmod(2) for those of Python.
// Memory that is writable and executable is for who makes code as it runs: not for C++ and Go.
struct Differing {
  Policy preset;
  std::string_view id;
  Expectation promised;
};
constexpr Expectation kNoSuch = refused(ENOSYS);
constexpr Differing kDiffering[] = {
    {Policy::kNative, "K11c", at_most(161)}, {Policy::kNode, "K11c", at_most(161)},
    {Policy::kPython, "K11c", at_most(163)}, {Policy::kNative, "C07", kStopped},
    {Policy::kNative, "C07b", kMay},         {Policy::kNode, "C07", kStopped},
    {Policy::kNode, "C07b", kMay},           {Policy::kPython, "C07f", kMay},
    {Policy::kPython, "C07g", kStopped},     {Policy::kPython, "F10c", kMay},
    {Policy::kPython, "F11e", kMay},         {Policy::kNative, "K15", kNoSuch},
    {Policy::kGo, "K15", kNoSuch},           {Policy::kNative, "K15b", kNoSuch},
    {Policy::kGo, "K15b", kNoSuch},          {Policy::kNative, "K15c", kNoSuch},
    {Policy::kGo, "K15c", kNoSuch},
};

}  // namespace

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

Expectation promised_of(const Probe& probe, Policy policy) noexcept {
  switch (policy) {
    case Policy::kParanoid:
      return probe.promises.paranoid;
    case Policy::kCompat:
      return probe.promises.compat;
    case Policy::kBare:
      return probe.promises.bare;
    case Policy::kStrict:
    case Policy::kNative:
    case Policy::kGo:
    case Policy::kPython:
    case Policy::kNode:
      break;
  }
  for (const Differing& differing : kDiffering)
    if (differing.preset == policy && differing.id == probe.id) return differing.promised;
  return probe.promises.strict;
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
