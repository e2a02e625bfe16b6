#include "isolation/cgroup/facts.h"

#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "isolation/cgroup/kernel_text.h"

namespace fnrun::isolation {
namespace {

using policies::Layer;

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t k) { return text[i + k] >= '0' && text[i + k] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && octal(1) && octal(2) && octal(3)) {
      out += static_cast<char>(((text[i + 1] - '0') << 6) | ((text[i + 2] - '0') << 3) |
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct Mount {
  std::string root;
  std::string point;
  std::string_view type;
  std::string_view options;  // Of the file system.
};

std::vector<Mount> parse_mounts(std::string_view mountinfo) {
  std::vector<Mount> mounts;
  for (const auto line : split(mountinfo, '\n')) {
    const auto separator = line.find(" - ");
    if (separator == std::string_view::npos) continue;
    const auto before = split(line.substr(0, separator), ' ');
    const auto after = split(line.substr(separator + 3), ' ');
    if (before.size() < 5 || after.empty()) continue;
    mounts.push_back({unescape(before[3]), unescape(before[4]), after[0],
                      after.size() > 2 ? after[2] : std::string_view()});
  }
  return mounts;
}

std::string_view own_path_of(std::string_view own_cgroups) {
  for (const auto line : split(own_cgroups, '\n'))
    if (line.starts_with("0::/")) return line.substr(3);
  return {};
}

// The mount of the v1 hierarchy that holds the controller, "" if none does.
std::string v1_mount_of(std::string_view controller, std::string_view mountinfo) {
  for (const Mount& mount : parse_mounts(mountinfo))
    if (mount.type == "cgroup" && has_word(mount.options, controller, ',')) return mount.point;
  return "";
}

bool bound_to_v1(std::string_view controller, std::string_view own_cgroups) {
  for (const auto line : split(own_cgroups, '\n')) {
    const auto fields = split(line, ':');  // "4:cpu,cpuacct:/path"; v2 is "0::/path".
    if (fields.size() >= 3 && fields[0] != "0" && has_word(fields[1], controller, ',')) return true;
  }
  return false;
}

// "name hierarchy groups enabled" of /proc/cgroups; nothing where the line is not there.
std::optional<bool> is_enabled(std::string_view controller, std::string_view all_controllers) {
  for (const auto line : split(all_controllers, '\n')) {
    const auto fields = split(line, '\t');
    if (fields.size() == 4 && fields[0] == controller) return fields[3] != "0";
  }
  return std::nullopt;
}

// Asked, not tried: a group made to try would stay behind if we were killed at that moment. A mount
// that is read-only says so even to root; what else can go wrong is said when the first group is
// made.
std::string why_not_writable(const std::string& path) {
  if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0) return "";
  return ::strerrordesc_np(errno);
}

bool is_writable(const std::string& path) {
  return why_not_writable(path).empty();
}

// The real root of the hierarchy is the only group without the file, and the only one that passes
// controllers on while it holds processes.
bool is_real_root(const std::string& dir) {
  return ::access((dir + "/cgroup.type").c_str(), F_OK) != 0;
}

bool is_cgroup2(const std::string& dir) {
  constexpr long kCgroup2Magic = 0x63677270;  // CGROUP2_SUPER_MAGIC
  struct statfs info {};
  return ::statfs(dir.c_str(), &info) == 0 && info.f_type == kCgroup2Magic;
}

// Why no group can be made in `dir`; "" if one can, as far as can be told.
std::string why_no_groups_in(const std::string& dir) {
  // Mounted over, by somebody who hides the host's cgroups from us.
  if (!is_cgroup2(dir)) return "what is at " + dir + " is no cgroup: something is mounted over it";
  if (const std::string why = why_not_writable(dir); !why.empty())
    return "making a group in " + dir + " fails: " + why;
  if (read_kernel_text(dir + "/cgroup.type").find("threaded") != std::string::npos)
    return dir + " is a threaded cgroup, which takes no limits for processes";
  constexpr std::uint64_t kNeeded = 3;  // A leaf for ourselves, a corner, a sandbox.
  std::string most = read_kernel_text(dir + "/cgroup.max.descendants");
  while (!most.empty() && most.back() == '\n') most.pop_back();
  const auto descendants =
      keyed_number(read_kernel_text(dir + "/cgroup.stat"), "nr_descendants").value_or(0);
  if (const auto bound = to_number<std::uint64_t>(most); bound && *bound < descendants + kNeeded)
    return "cgroup.max.descendants of " + dir + " leaves no room for groups of ours";
  return "";
}

// systemd marks what it has handed over (Delegate=); the attribute of user managers needs no
// privilege to read.
bool is_delegated(const std::string& dir) {
  char value[4];
  for (const char* name : {"user.delegate", "trusted.delegate"})
    if (::getxattr(dir.c_str(), name, value, sizeof value) == 1 && value[0] == '1') return true;
  return false;
}

std::string parent_of(const std::string& dir) {
  return dir.substr(0, dir.rfind('/'));
}

// Whether the processes in `dir`, others than ours among them, are ours to move: in a group that
// was handed over to us, or to the container that we are in, or that belongs to our own user.
bool may_arrange(const std::string& dir, std::string_view own_path) {
  return is_delegated(dir) || own_path == "/" || ::geteuid() != 0 ||
         ::access("/run/systemd/system", F_OK) != 0;
}

// Why `dir` cannot pass controllers on; nothing if it can.
std::optional<MissingController> why_not_passing_on(CgroupFacts& facts, std::string_view own_path) {
  const std::string& dir = facts.dir;
  if (const std::string why = why_not_writable(dir + "/cgroup.subtree_control"); !why.empty())
    return MissingController{dir + "/cgroup.subtree_control is not ours to write (" + why + ")",
                             "start fnrun in a group that is delegated to this user, as by "
                             "systemd-run --user --scope -p Delegate=yes …"};
  const std::string processes = read_kernel_text(dir + "/cgroup.procs");
  if (is_real_root(dir) || processes.empty()) return std::nullopt;
  if (!may_arrange(dir, own_path))
    return MissingController{
        "systemd manages " + dir + " and has not delegated it",
        "start fnrun as a service with Delegate=yes, or by systemd-run --scope -p Delegate=yes …"};
  if (!is_writable(dir + "/cgroup.procs"))
    return MissingController{"the processes in " + dir + " cannot be moved out of the way",
                             "let this user write " + dir + "/cgroup.procs"};
  facts.move_processes = true;
  return std::nullopt;
}

// A supervisor that was started from a leaf that an earlier one made, or systemd for us, uses the
// group above it.
std::string base_of(const std::string& own) {
  const std::string parent = parent_of(own);
  if (own.substr(parent.size() + 1) != kSupervisorLeaf || parent.empty()) return own;
  const bool arranged =
      is_delegated(parent) || (!read_kernel_text(parent + "/cgroup.subtree_control").empty() &&
                               read_kernel_text(parent + "/cgroup.procs").empty());
  return arranged && is_writable(parent) && is_writable(parent + "/cgroup.procs") ? parent : own;
}

void probe_controllers(CgroupFacts& facts, std::string_view mountinfo,
                       std::string_view own_cgroups) {
  const std::string here = read_kernel_text(facts.dir + "/cgroup.controllers");
  const std::string passed_on = read_kernel_text(facts.dir + "/cgroup.subtree_control");
  const std::string all = read_kernel_text("/proc/cgroups");
  const std::string top =
      read_kernel_text(cgroup_mount_of(mountinfo, facts.dir) + "/cgroup.controllers");
  bool asked = false;
  std::optional<MissingController> not_passing_on;
  if (facts.disks.empty())
    facts.missing[Layer::kIo] = {"/sys/block shows no disk whose rate could be bounded",
                                 "file systems of a network have none"};
  for (const Layer controller : policies::kControllers) {
    const std::string name = policies::name_of(controller);
    if (!has_word(here, name)) {
      facts.missing[controller] =
          why_controller_missing(name, {mountinfo, own_cgroups, all, top, facts.dir});
    } else if (!has_word(passed_on, name)) {
      if (!std::exchange(asked, true))
        not_passing_on = why_not_passing_on(facts, own_path_of(own_cgroups));
      if (not_passing_on) facts.missing[controller] = *not_passing_on;
    }
  }
}

// Every disk, not only those below the visible files: overlays, btrfs and device mappers do not
// tell which those are. Network file systems have none.
std::vector<std::string> list_disks() {
  std::vector<std::string> disks;
  std::error_code error;
  for (const auto& disk : std::filesystem::directory_iterator("/sys/block", error)) {
    std::string number = read_kernel_text(disk.path() / "dev");
    while (!number.empty() && number.back() == '\n') number.pop_back();
    const std::string sectors = read_kernel_text(disk.path() / "size");
    if (!number.empty() && sectors != "0\n") disks.push_back(std::move(number));
  }
  std::sort(disks.begin(), disks.end());
  return disks;
}

}  // namespace

std::string find_cgroup_dir(std::string_view mountinfo, std::string_view own_cgroups) {
  const std::string_view own_path = own_path_of(own_cgroups);
  if (own_path.empty()) return "";
  // "/.." is a cgroup outside our cgroup namespace: no path below the mount leads there.
  for (const auto part : split(own_path, '/'))
    if (part == "..") return "";
  for (const Mount& mount : parse_mounts(mountinfo)) {
    if (mount.type != "cgroup2") continue;
    // A bind of a part of the hierarchy shows our cgroup only if it lies below that part.
    std::string_view rest = own_path;
    if (mount.root != "/") {
      if (!rest.starts_with(mount.root)) continue;
      rest.remove_prefix(mount.root.size());
      if (!rest.empty() && rest.front() != '/') continue;
    }
    std::string dir = mount.point + std::string(rest);
    while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
    return dir;
  }
  return "";
}

std::string cgroup_mount_of(std::string_view mountinfo, std::string_view dir) {
  for (const Mount& mount : parse_mounts(mountinfo))
    if (mount.type == "cgroup2" && dir.starts_with(mount.point) &&
        (dir.size() == mount.point.size() || dir[mount.point.size()] == '/'))
      return mount.point;
  return "";
}

MissingController why_controller_missing(std::string_view controller,
                                         const ControllerTexts& texts) {
  const std::string v1_name = controller == "io" ? "blkio" : std::string(controller);
  const std::string name = "the '" + std::string(controller) + "' controller ";
  if (bound_to_v1(v1_name, texts.own_cgroups)) {
    const std::string mount = v1_mount_of(v1_name, texts.mountinfo);
    return {
        name + "is bound to a cgroup v1 hierarchy" + (mount.empty() ? "" : ", mounted at " + mount),
        "boot with systemd.unified_cgroup_hierarchy=1 where systemd runs the host, else with "
        "cgroup_no_v1=all, on the kernel's command line"};
  }
  if (has_word(texts.top_controllers, controller))
    return {
        name + "is in the v2 hierarchy, but not passed down to " + texts.dir,
        "start fnrun as a service with Delegate=yes; or let the user manager have it (systemctl "
        "edit user@.service: [Service] Delegate=cpu cpuset io memory pids); or, without "
        "systemd, write +" +
            std::string(controller) + " to cgroup.subtree_control of every group above"};
  if (is_enabled(v1_name, texts.all_controllers) == false)
    return {name + "is switched off",
            "take cgroup_disable=" + v1_name + " off the kernel's command line"};
  return {name + "is not in the v2 hierarchy that is mounted here",
          "this kernel was built without it, or the container was not given it"};
}

CgroupFacts probe_cgroup() {
  CgroupFacts facts;
  const std::string mountinfo = read_kernel_text("/proc/self/mountinfo");
  const std::string own_cgroups = read_kernel_text("/proc/self/cgroup");
  facts.disks = list_disks();
  // Of the host, not those that we may run on: a sandbox may be let out of those.
  facts.cpus = static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  facts.no_dir_help =
      "mount cgroup2 where this user may write to it, or start fnrun in a group that is delegated: "
      "as a service with Delegate=yes, or by systemd-run [--user] --scope -p Delegate=yes …";
  const std::string own = find_cgroup_dir(mountinfo, own_cgroups);
  if (own.empty()) {
    facts.no_dir_because = "no cgroup v2 hierarchy is mounted here that shows our own cgroup";
    return facts;
  }
  facts.dir = base_of(own);
  facts.no_dir_because = why_no_groups_in(facts.dir);
  if (!facts.no_dir_because.empty()) {
    facts.dir.clear();
    return facts;
  }
  probe_controllers(facts, mountinfo, own_cgroups);
  return facts;
}

}  // namespace fnrun::isolation
