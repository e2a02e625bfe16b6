#include "probe_table.h"

#include "cgroup_probes.h"
#include "kernel_probes.h"
#include "launch_probe.h"
#include "namespace_probes.h"
#include "seccomp_probes.h"

namespace fnrun::doctor {
namespace {

constexpr std::string_view kNewerKernel =
    "a kernel of a distribution has it (Linux 5.14 or newer); a container's or gVisor's may not";
constexpr std::string_view kNamespaceLimit =
    "sysctl user.max_*_namespaces greater than 0, and a kernel built with all CONFIG_*_NS";
constexpr std::string_view kSeccompActions =
    "a kernel built with CONFIG_SECCOMP_FILTER, and no stricter filter around this process (in a "
    "container: --security-opt seccomp=unconfined)";
constexpr std::string_view kSeccompListener =
    "a kernel built with CONFIG_SECCOMP_FILTER, and no filter with a listener around this process; "
    "without, a forbidden call kills all the same, and only the kernel's log names it";
constexpr std::string_view kDelegate =
    "run it in a cgroup of its own that is delegated: Delegate=yes in the unit, or systemd-run "
    "--scope -p Delegate=yes (without root: --user as well)";
constexpr std::string_view kControllerOnV2 =
    "boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all) on the kernel's command "
    "line; then Delegate=yes in the unit, for a user's services in a drop-in of user@.service";

std::vector<Probe> host_probes() {
  return {
      {.id = "host",
       .title = "kernel, machine and privilege",
       .enable = "Linux 5.14 or newer on x86_64, as root with its capabilities or as another user",
       .run = probe_host},
      {.id = "proc",
       .title = "/proc shows our children (hidepid)",
       .enable = "mount /proc; hidepid is set by mount -o remount,hidepid=invisible /proc",
       .run = probe_proc},
      {.id = "apparmor_userns",
       .title = "AppArmor leaves user namespaces alone",
       .need = Need::kNobody,  // What it does shows in the next row.
       .enable =
           "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for "
           "fnrun-supervise with 'userns,'",
       .run = probe_apparmor_userns},
      {.id = "user_namespace",
       .title = "user namespace, with capabilities in it",
       .hangs_on = {"proc"},
       .enable =
           "sysctl user.max_user_namespaces greater than 0, kernel.unprivileged_userns_clone=1 "
           "(Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)",
       .run = probe_user_namespace},
      {.id = "uid_range",
       .title = "a uid of its own for each sandbox",
       .hangs_on = {"host", "user_namespace"},
       .enable = "root of the host, or a container whose uid_map has 65,536 ids and more",
       .run = probe_uid_range},
  };
}

std::vector<Probe> namespace_probes() {
  const auto row = [](std::string_view id, std::string_view title, auto run) {
    return Probe{.id = id,
                 .title = title,
                 .hangs_on = {"user_namespace"},
                 .enable = kNamespaceLimit,
                 .run = run};
  };
  std::vector<Probe> rows{
      row("pid_namespace", "PID namespace", probe_pid_namespace),
      row("mount_namespace", "mount namespace", probe_mount_namespace),
      row("network_namespace", "network namespace", probe_network_namespace),
      row("ipc_namespace", "IPC namespace", probe_ipc_namespace),
      row("uts_namespace", "UTS namespace", probe_uts_namespace),
      row("cgroup_namespace", "cgroup namespace", probe_cgroup_namespace),
      row("time_namespace", "time namespace, with offsets", probe_time_namespace),
  };
  rows.back().need = Need::kUnlessPreferred;
  rows.back().layer = "time_namespace";
  return rows;
}

std::vector<Probe> mount_probes() {
  return {
      {.id = "mount_api",
       .title = "detached tmpfs and read-only copies of mounts",
       .hangs_on = {"mount_namespace"},
       .enable = kNewerKernel,
       .run = probe_mount_api},
      {.id = "pivot_root",
       .title = "pivot_root, old root detached",
       .hangs_on = {"mount_api"},
       .enable = "start it outside of any chroot, on a root file system that is no initramfs",
       .run = probe_pivot_root},
      {.id = "proc_mount",
       .title = "a /proc of the sandbox's own",
       .hangs_on = {"mount_api", "pid_namespace"},
       .enable = "in a container: unmask /proc (--security-opt systempaths=unconfined)",
       .run = probe_proc_mount},
      {.id = "overlay",
       .title = "overlay file system in a user namespace",
       .need = Need::kNobody,
       .hangs_on = {"mount_api"},
       .enable = "a kernel with CONFIG_OVERLAY_FS, and as root: modprobe overlay",
       .run = probe_overlay},
      {.id = "memfd_exec",
       .title = "a sealed, executable memory file for the init",
       .enable = "sysctl vm.memfd_noexec=0 or 1",
       .run = probe_memfd_exec},
  };
}

std::vector<Probe> restriction_probes() {
  return {
      {.id = "no_new_privs",
       .title = "no_new_privs",
       .enable = kNewerKernel,
       .run = probe_no_new_privs},
      {.id = "seccomp_kill_process",
       .title = "seccomp KILL_PROCESS",
       .hangs_on = {"no_new_privs"},
       .enable = kSeccompActions,
       .run = probe_seccomp_kill_process},
      {.id = "seccomp_errno",
       .title = "seccomp ERRNO",
       .hangs_on = {"no_new_privs"},
       .enable = kSeccompActions,
       .run = probe_seccomp_errno},
      {.id = "seccomp_trap",
       .title = "seccomp TRAP",
       .need = Need::kNobody,
       .hangs_on = {"no_new_privs"},
       .enable = kSeccompActions,
       .run = probe_seccomp_trap},
      {.id = "seccomp_log",
       .title = "seccomp LOG",
       .need = Need::kNobody,
       .hangs_on = {"no_new_privs"},
       .enable = kSeccompActions,
       .run = probe_seccomp_log},
      {.id = "seccomp_user_notif",
       .title = "seccomp USER_NOTIF with a listener",
       .need = Need::kForExecOnce,
       .hangs_on = {"no_new_privs"},
       .enable = kSeccompListener,
       .run = probe_seccomp_user_notif},
      {.id = "landlock",
       .title = "Landlock",
       .need = Need::kUnlessPreferred,
       .layer = "landlock",
       .hangs_on = {"no_new_privs"},
       .enable = "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in lsm= on its command line",
       .run = probe_landlock},
  };
}

std::vector<Probe> cgroup_probes() {
  const auto row = [](std::string_view id, std::string_view title, std::string_view needs,
                      std::string_view enable, auto run) {
    return Probe{.id = id,
                 .title = title,
                 .need = Need::kUnlessPreferred,
                 .layer = "cgroup",
                 .hangs_on = {needs},
                 .enable = enable,
                 .run = run};
  };
  std::vector<Probe> rows{
      row("cgroup_mount", "cgroup v2, with our own cgroup", "proc",
          "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1",
          probe_cgroup_mount),
      row("cgroup_delegation", "groups below our own cgroup", "cgroup_mount", kDelegate,
          probe_cgroup_delegation),
      row("cgroup_kill", "cgroup.kill", "cgroup_delegation", kNewerKernel, probe_cgroup_kill),
      row("cgroup_freeze", "cgroup.freeze", "cgroup_delegation", kNewerKernel, probe_cgroup_freeze),
      row("clone_into_cgroup", "clone3 into a group", "cgroup_delegation", kNewerKernel,
          probe_clone_into_cgroup),
  };
  for (Probe& probe : rows) {
    if (probe.id != "cgroup_freeze") continue;  // Not used yet.
    probe.need = Need::kNobody;
    probe.layer = {};
  }
  for (const std::string_view controller : {"memory", "pids", "cpu", "io", "cpuset"}) {
    rows.push_back(row(controller, "cgroup controller: a group takes a limit", "cgroup_delegation",
                       kControllerOnV2, [=](const Surroundings& here) {
                         return probe_controller(here, controller);
                       }));
    rows.back().layer = controller;
    rows.back().look = [=](const Surroundings& here) {
      return look_for_controller(here, controller);
    };
  }
  return rows;
}

std::vector<Probe> closing_probes() {
  return {
      {.id = "core_dumps",
       .title = "no program of the host takes core dumps",
       .need = Need::kNobody,
       .enable = "start the supervisor with a hard limit of core dumps above 0 (ulimit -Hc 1), or "
                 "name no program in kernel.core_pattern",
       .run = probe_core_dumps},
      {.id = "io_uring",
       .title = "io_uring is kept from programs by the host, too",
       .need = Need::kNobody,
       .enable = "sysctl kernel.io_uring_disabled=1 or 2 (Linux 6.6)",
       .run = probe_io_uring},
      {.id = "launch",
       .title = "a real sandbox under the policy",
       .enable = "the step that failed is named; the rows above say what it needs",
       .run = probe_launch},
  };
}

std::vector<Probe> all_probes() {
  std::vector<Probe> all;
  for (auto part : {host_probes(), namespace_probes(), mount_probes(), restriction_probes(),
                    cgroup_probes(), closing_probes()})
    for (Probe& probe : part) all.push_back(std::move(probe));
  return all;
}

}  // namespace

const std::vector<Probe>& probe_table() {
  static const std::vector<Probe> kTable = all_probes();
  return kTable;
}

}  // namespace fnrun::doctor
