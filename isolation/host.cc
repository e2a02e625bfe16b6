#include "isolation/host.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include "isolation/unique_fd.h"

namespace fnrun::isolation {
namespace {

// Between the end of the container ranges (1,879,048,191) and 2^31 no tool known to us hands out
// uids: systemd's "Users, Groups, UIDs and GIDs on systemd Systems" calls 1,879,048,192 …
// 2,147,483,647 free.
constexpr UidRange kDefaultUids{0x71000000, 65'536};
constexpr UidRange kContainerUids{60'416, 4'096};  // Inside a container that maps 65,536 ids.
constexpr std::size_t kProcTextMax = 1024 * 1024;

// /proc files have no size: read until the end, bounded.
std::string read_proc(const char* path) {
  std::string text;
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  while (fd && text.size() < kProcTextMax) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

template <class T>
std::optional<T> to_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

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

bool has_capability(cap_value_t capability) {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> own(::cap_get_proc(),
                                                                          ::cap_free);
  cap_flag_value_t value = CAP_CLEAR;
  return own && ::cap_get_flag(own.get(), capability, CAP_EFFECTIVE, &value) == 0 &&
         value == CAP_SET;
}

// Asked, not tried: a group made to try would stay behind if we were killed at that moment. A mount
// that is read-only says so even to root; what else can go wrong is said when the first group is
// made.
std::string why_not_writable(const std::string& dir) {
  if (::faccessat(AT_FDCWD, dir.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return "";
  return "making a group in " + dir + " fails: " + ::strerrordesc_np(errno);
}

void probe_cgroup(Host& host) {
  const std::string dir =
      find_cgroup_dir(read_proc("/proc/self/mountinfo"), read_proc("/proc/self/cgroup"));
  if (dir.empty()) {
    host.no_cgroup_because = "no cgroup v2 hierarchy is mounted here that shows our own cgroup";
  } else if (const std::string why = why_not_writable(dir); !why.empty()) {
    host.no_cgroup_because = why;
  } else {
    host.cgroup_dir = dir;
  }
}

Result<void> probe_privilege(Host& host, std::optional<UidRange> uids) {
  const auto map = parse_id_map(read_proc("/proc/self/uid_map"));
  host.privileged = true;
  for (const cap_value_t cap : {CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID})
    host.privileged = host.privileged && has_capability(cap);
  if (!host.privileged && host.uid == 0)
    return SetupError{
        SetupStep::kUidLease, 0, EPERM,
        "root without CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID cannot take an unprivileged "
        "uid, and a sandbox that is root on the host is none; start fnrun as another user"};
  if (!host.privileged) return {};
  host.slot_uids = uids ? uids : choose_uid_range(map);
  if (!host.slot_uids)
    return SetupError{SetupStep::kUidLease, 0, 0,
                      "this user namespace maps too few uids for sandboxes"};
  return {};
}

}  // namespace

std::vector<IdMapExtent> parse_id_map(std::string_view text) {
  std::vector<IdMapExtent> map;
  for (const auto line : split(text, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() != 3) continue;
    const auto inside = to_number<std::uint32_t>(fields[0]);
    const auto outside = to_number<std::uint32_t>(fields[1]);
    const auto count = to_number<std::uint32_t>(fields[2]);
    if (inside && outside && count) map.push_back({*inside, *outside, *count});
  }
  return map;
}

std::optional<UidRange> choose_uid_range(const std::vector<IdMapExtent>& map) {
  for (const UidRange candidate : {kDefaultUids, kContainerUids}) {
    for (const IdMapExtent& extent : map) {
      const std::uint64_t end = std::uint64_t{extent.inside} + extent.count;
      if (extent.inside <= candidate.first &&
          std::uint64_t{candidate.first} + candidate.count <= end)
        return candidate;
    }
  }
  return std::nullopt;
}

std::string find_cgroup_dir(std::string_view mountinfo, std::string_view own_cgroups) {
  std::string_view own_path;
  for (const auto line : split(own_cgroups, '\n'))
    if (line.starts_with("0::/")) own_path = line.substr(3);
  if (own_path.empty()) return "";
  // "/.." is a cgroup outside our cgroup namespace: no path below the mount leads there.
  for (const auto part : split(own_path, '/'))
    if (part == "..") return "";
  for (const auto line : split(mountinfo, '\n')) {
    const auto separator = line.find(" - ");
    if (separator == std::string_view::npos) continue;
    const auto before = split(line.substr(0, separator), ' ');
    const auto after = split(line.substr(separator + 3), ' ');
    if (before.size() < 5 || after.empty() || after[0] != "cgroup2") continue;
    // A bind of a part of the hierarchy shows our cgroup only if it lies below that part.
    const std::string root = unescape(before[3]);
    std::string_view rest = own_path;
    if (root != "/") {
      if (!rest.starts_with(root)) continue;
      rest.remove_prefix(root.size());
      if (!rest.empty() && rest.front() != '/') continue;
    }
    std::string dir = unescape(before[4]) + std::string(rest);
    while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
    return dir;
  }
  return "";
}

std::pair<int, int> parse_kernel_release(std::string_view release) {
  const auto dot = release.find('.');
  if (dot == std::string_view::npos || release.front() == '-') return {0, 0};
  const auto major = to_number<int>(release.substr(0, dot));
  release.remove_prefix(dot + 1);
  const auto minor = to_number<int>(
      release.substr(0, std::min(release.find_first_not_of("0123456789"), release.size())));
  if (!major || !minor) return {0, 0};
  return {*major, *minor};
}

Result<Host> probe_host(std::optional<UidRange> uids) {
  Host host;
  utsname name{};
  ::uname(&name);
  host.kernel_release = name.release;
  if (std::string_view(name.machine) != "x86_64" ||
      parse_kernel_release(host.kernel_release) < std::pair{5, 14})
    return SetupError{
        SetupStep::kLayerMissing, 0, 0,
        "this is Linux " + host.kernel_release + " on " + name.machine +
            "; fnrun needs Linux 5.14 or newer (cgroup.kill, mount_setattr) on x86_64"};
  host.uid = ::geteuid();
  host.gid = ::getegid();
  const int groups = ::getgroups(0, nullptr);
  host.supplementary_groups = groups > 0 ? static_cast<std::size_t>(groups) : 0;
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  host.landlock_abi = abi > 0 ? static_cast<int>(abi) : 0;
  host.time_namespace = ::access("/proc/self/ns/time_for_children", F_OK) == 0;
  host.core_dumps_piped = read_proc("/proc/sys/kernel/core_pattern").starts_with('|');
  host.last_capability = static_cast<unsigned>(::cap_max_bits()) - 1;
  if (auto privilege = probe_privilege(host, uids); !privilege) return privilege.error();
  probe_cgroup(host);
  return host;
}

}  // namespace fnrun::isolation
