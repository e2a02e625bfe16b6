#include "controller_reason.h"

#include <algorithm>

#include "kernel_files.h"

namespace fnrun::doctor {
namespace {

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty()) {
    const auto end = std::min(options.find(','), options.size());
    if (options.substr(0, end) == wanted) return true;
    options.remove_prefix(std::min(end + 1, options.size()));
  }
  return false;
}

// Where the v1 hierarchy with this controller is mounted; "" if it is not to be seen.
std::string v1_mount_of(std::string_view v1_name, std::string_view mountinfo) {
  for (const auto line : lines_of(mountinfo)) {
    const auto separator = line.find(" - cgroup ");
    if (separator == std::string_view::npos) continue;
    const auto before = words_of(line.substr(0, separator));
    const auto after = words_of(line.substr(separator + 3));
    if (before.size() >= 5 && after.size() >= 3 && has_option(after[2], v1_name))
      return std::string(before[4]);
  }
  return "";
}

}  // namespace

std::string why_controller_missing(std::string_view controller, std::string_view mountinfo,
                                   std::string_view proc_cgroups) {
  const std::string_view v1_name = controller == "io" ? "blkio" : controller;
  for (const auto line : lines_of(proc_cgroups)) {
    const auto fields = words_of(line);  // name hierarchy num_cgroups enabled
    if (fields.size() != 4 || fields[0] != v1_name) continue;
    if (fields[3] == "0")
      return "the kernel's command line disables it (cgroup_disable=" + std::string(v1_name) + ")";
    if (fields[1] == "0")
      return "it is on cgroup v2, and the cgroups above ours do not pass it down";
    const std::string mount = v1_mount_of(v1_name, mountinfo);
    return "it is bound to cgroup v1" +
           (mount.empty() ? "" : ", as '" + std::string(v1_name) + "' mounted at " + mount) +
           ", and a controller is in one hierarchy only";
  }
  return "this kernel is built without it (/proc/cgroups does not list it)";
}

}  // namespace fnrun::doctor
