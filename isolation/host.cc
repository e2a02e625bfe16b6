#include "isolation/host.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <thread>

#include "isolation/cgroup/kernel_text.h"
#include "isolation/process_sample.h"
#include "isolation/unique_fd.h"

namespace fnrun::isolation {
namespace {

// Between the end of the container ranges (1,879,048,191) and 2^31 no tool known to us hands out
// uids: systemd's "Users, Groups, UIDs and GIDs on systemd Systems" calls 1,879,048,192 …
// 2,147,483,647 free.
constexpr UidRange kDefaultUids{0x71000000, 65'536};
constexpr UidRange kContainerUids{60'416, 4'096};  // Inside a container that maps 65,536 ids.
bool has_capability(cap_value_t capability) {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> own(::cap_get_proc(),
                                                                          ::cap_free);
  cap_flag_value_t value = CAP_CLEAR;
  return own && ::cap_get_flag(own.get(), capability, CAP_EFFECTIVE, &value) == 0 &&
         value == CAP_SET;
}

std::vector<gid_t> own_groups() {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  return groups;
}

Result<void> probe_privilege(Host& host, std::optional<UidRange> uids) {
  const auto map = parse_id_map(read_kernel_text("/proc/self/uid_map"));
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

// Asked by doing it, because a listener further up shows in nothing else: on a thread, whose own
// filter and no_new_privs end with it. The init knows the kernel's structures by their size.
bool probe_seccomp_listener() {
  const std::uint32_t action = SECCOMP_RET_USER_NOTIF;
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0 ||
      ::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0 ||
      sizes.seccomp_notif != sizeof(seccomp_notif) ||
      sizes.seccomp_notif_resp != sizeof(seccomp_notif_resp))
    return false;
  bool can = false;
  const auto load = [&can] {
    sock_filter allow_all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const sock_fprog filter{1, &allow_all};
    can = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
          UniqueFd(static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                              SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter)));
  };
  try {
    std::thread(load).join();
  } catch (const std::system_error&) {
    return false;  // No thread to be had: a host this full will say so again.
  }
  return can;
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

std::size_t groups_beside(gid_t own, const std::vector<gid_t>& groups) {
  return groups.size() - static_cast<std::size_t>(std::count(groups.begin(), groups.end(), own));
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
  host.supplementary_groups = groups_beside(host.gid, own_groups());
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  host.landlock_abi = abi > 0 ? static_cast<int>(abi) : 0;
  host.time_namespace = ::access("/proc/self/ns/time_for_children", F_OK) == 0;
  host.core_dumps_piped = read_kernel_text("/proc/sys/kernel/core_pattern").starts_with('|');
  host.last_capability = static_cast<unsigned>(::cap_max_bits()) - 1;
  if (auto privilege = probe_privilege(host, uids); !privilege) return privilege.error();
  host.cgroup = probe_cgroup();
  host.can_sample = can_sample_processes();
  host.seccomp_listener = probe_seccomp_listener();
  host.cgroup.has_peaks = parse_kernel_release(host.kernel_release) >= std::pair{5, 19};
  return host;
}

}  // namespace fnrun::isolation
