#include "namespace_probes.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <ctime>

#include "kernel_files.h"
#include "own_namespaces.h"
#include "probe_runner.h"

namespace fnrun::doctor {
namespace {

using isolation::UniqueFd;

// Enters a namespace of its own of one kind below a user namespace of its own, as every sandbox
// does, and looks whether it is another one: `link` of /proc/self/ns names it.
std::optional<Finding> enter(int flag, const char* flag_name, const std::string& link) {
  if (auto fault = enter_user_namespace()) return fault;
  const std::string before = read_link("/proc/self/ns/" + link);
  if (::unshare(flag) != 0) return failed("unshare(" + std::string(flag_name) + ")", errno);
  const std::string after = read_link("/proc/self/ns/" + link);
  // pid_for_children is unreadable until that namespace has its first process.
  if (!before.empty() && before == after)
    return missing("unshare(" + std::string(flag_name) + ") said yes, and " + before +
                   " is still our namespace");
  return std::nullopt;
}

}  // namespace

Finding probe_host(const Surroundings& here) {
  if (!here.no_host_because.empty()) return missing(here.no_host_because);
  return works("Linux " + here.host.kernel_release + " on x86_64; " +
               (here.host.privileged
                    ? "privileged: each sandbox gets a uid of its own"
                    : "without privilege: sandboxes are your own uid behind a user namespace"));
}

// What launching does with /proc: finds its new child there, by number, and opens its files.
Finding probe_proc(const Surroundings& here) {
  std::array<int, 2> pair{};
  if (::pipe2(pair.data(), O_CLOEXEC) != 0) return failed("pipe2", errno);
  const UniqueFd read_end(pair[0]);
  UniqueFd write_end(pair[1]);
  const pid_t child = start_helper([&] {
    write_end.reset();
    char end;
    return ::read(read_end.get(), &end, 1) == 0 ? 0 : errno;
  });
  if (child < 0) return failed("fork", errno);
  const std::string path = "/proc/" + std::to_string(child) + "/uid_map";
  const UniqueFd map(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const int open_errno = errno;
  write_end.reset();
  (void)wait_for_helper(child);
  if (!map) return failed("opening the uid_map of a child of ours in /proc", open_errno);
  const std::string hidepid = option_of_proc_mount(here.mountinfo, "hidepid");
  if (hidepid.empty())
    return works(
        "shows our children; without hidepid, so every user of the host sees the command "
        "lines of sandboxes");
  return works("shows our children; hidepid=" + hidepid);
}

// CAP_SETPCAP, used on ourselves alone, tells a namespace that gives capabilities from one where a
// security module keeps them: AppArmor lets the namespace be made and then refuses its use.
Finding probe_user_namespace(const Surroundings&) {
  if (auto fault = enter_user_namespace()) return *fault;
  if (::prctl(PR_CAPBSET_DROP, 0, 0, 0, 0) != 0)
    return missing(failed("using a capability in our own user namespace", errno).why +
                   ": the namespace was made and gives nothing; a security module (AppArmor) "
                   "restricts it");
  return works("a child has capabilities in a user namespace of its own");
}

// As launching does it: the child makes the namespace, the parent outside writes the map.
Finding probe_uid_range(const Surroundings& here) {
  if (!here.host.privileged || !here.host.slot_uids)
    return untested("does not apply: without privilege the sandboxes are your own uid");
  const std::string slot = std::to_string(here.host.slot_uids->first);
  std::array<int, 2> made{};
  std::array<int, 2> mapped{};
  if (::pipe2(made.data(), O_CLOEXEC) != 0 || ::pipe2(mapped.data(), O_CLOEXEC) != 0)
    return failed("pipe2", errno);
  const pid_t child = start_helper([&] {
    ::close(mapped[1]);
    if (::unshare(CLONE_NEWUSER) != 0) return errno;
    char byte = 0;
    if (::write(made[1], &byte, 1) != 1 || ::read(mapped[0], &byte, 1) != 1) return EPIPE;
    if (::setresgid(1000, 1000, 1000) != 0 || ::setresuid(1000, 1000, 1000) != 0) return errno;
    return ::getuid() == 1000 && ::getgid() == 1000 ? 0 : ERANGE;
  });
  if (child < 0) return failed("fork", errno);
  ::close(made[1]);
  char byte = 0;
  std::string fault;
  if (::read(made[0], &byte, 1) == 1) {
    const std::string proc = "/proc/" + std::to_string(child);
    for (const char* map : {"/uid_map", "/gid_map"})
      if (const int error = write_file(proc + map, "1000 " + slot + " 1\n"); error != 0)
        fault = failed("mapping host id " + slot + " by " + std::string(map + 1), error).why;
    if (fault.empty() && ::write(mapped[1], &byte, 1) != 1) fault = "the child is gone";
  }
  ::close(mapped[1]);
  const int status = wait_for_helper(child);
  if (!fault.empty()) return missing(fault);
  if (!WIFEXITED(status)) return missing("the child was killed while it became uid " + slot);
  if (WEXITSTATUS(status) != 0)
    return failed("becoming host uid " + slot + " in a user namespace", WEXITSTATUS(status));
  return works("a child became host uid and gid " + slot + ", the first of " +
               std::to_string(here.host.slot_uids->count));
}

Finding probe_mount_namespace(const Surroundings&) {
  const std::string before = read_link("/proc/self/ns/mnt");
  if (auto fault = enter_mount_namespace()) return *fault;
  if (read_link("/proc/self/ns/mnt") == before)
    return missing("unshare(CLONE_NEWNS) said yes, and " + before + " is still our namespace");
  return works("entered one of our own, from which no mount travels");
}

Finding probe_pid_namespace(const Surroundings&) {
  if (auto fault = enter(CLONE_NEWPID, "CLONE_NEWPID", "pid_for_children")) return *fault;
  if (const int error = errno_of_helper([] { return ::getpid() == 1 ? 0 : ERANGE; }); error != 0)
    return failed("starting PID 1 of our own PID namespace", error);
  return works("a child was PID 1 of its own");
}

Finding probe_network_namespace(const Surroundings&) {
  if (auto fault = enter(CLONE_NEWNET, "CLONE_NEWNET", "net")) return *fault;
  return works("entered one of our own");
}

Finding probe_ipc_namespace(const Surroundings&) {
  if (auto fault = enter(CLONE_NEWIPC, "CLONE_NEWIPC", "ipc")) return *fault;
  return works("entered one of our own");
}

Finding probe_uts_namespace(const Surroundings&) {
  if (auto fault = enter(CLONE_NEWUTS, "CLONE_NEWUTS", "uts")) return *fault;
  constexpr std::string_view kName = "fnrun-doctor";
  if (::sethostname(kName.data(), kName.size()) != 0) return failed("sethostname", errno);
  utsname name{};
  ::uname(&name);
  if (kName != name.nodename) return missing("the host name that was set is not the one read");
  return works("named a host of our own");
}

Finding probe_cgroup_namespace(const Surroundings&) {
  if (auto fault = enter(CLONE_NEWCGROUP, "CLONE_NEWCGROUP", "cgroup")) return *fault;
  const std::string cgroups = read_file("/proc/self/cgroup");
  for (const auto line : lines_of(cgroups))
    if (line.starts_with("0::") && line != "0::/")
      return missing("our cgroup in a cgroup namespace of our own is not /, but " +
                     std::string(line.substr(3)));
  return works("our own cgroup is / in it");
}

// The offsets are those of a sandbox: its clocks begin now.
Finding probe_time_namespace(const Surroundings&) {
  if (auto fault = enter(CLONE_NEWTIME, "CLONE_NEWTIME", "time_for_children")) return *fault;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::string offset = "monotonic -" + std::to_string(now.tv_sec) + " 0\n";
  if (const int error = write_file("/proc/self/timens_offsets", offset); error != 0)
    return missing(failed("writing the offsets of our clocks", error).why +
                   (error == ERANGE ? ": we are in a time namespace already" : ""));
  const int error = errno_of_helper([&] {
    timespec inside{};
    ::clock_gettime(CLOCK_MONOTONIC, &inside);
    return now.tv_sec == 0 || inside.tv_sec < now.tv_sec ? 0 : ERANGE;
  });
  if (error != 0) return failed("starting a child whose uptime begins at 0", error);
  return works("the uptime of a child began at 0");
}

Finding probe_mount_api(const Surroundings&) {
  if (auto fault = enter_own_root()) return *fault;
  if (::mkdir("seen", 0755) != 0) return failed("mkdir in our tmpfs", errno);
  const UniqueFd tree(::open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return failed("open_tree(OPEN_TREE_CLONE)", errno);
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &read_only, sizeof read_only) != 0)
    return failed("mount_setattr(MOUNT_ATTR_RDONLY)", errno);
  if (::move_mount(tree.get(), "", AT_FDCWD, "seen", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return failed("move_mount", errno);
  if (::mkdir("seen/written", 0755) == 0) return missing("a read-only mount was written to");
  if (errno != EROFS) return failed("writing to a read-only mount", errno);
  return works("attached a read-only copy of a mount, and it refused a write");
}

Finding probe_pivot_root(const Surroundings&) {
  if (auto fault = enter_own_root()) return *fault;
  if (::mkdir("here", 0755) != 0) return failed("mkdir in our tmpfs", errno);
  if (pivot_root_here() != 0)
    return missing(failed("pivot_root", errno).why + (errno == EINVAL || errno == EPERM
                                                          ? ": are we inside a chroot, or on an "
                                                            "initramfs?"
                                                          : ""));
  if (::umount2(".", MNT_DETACH) != 0) return failed("detaching the old root", errno);
  if (::access("/here", F_OK) != 0 || ::access("/proc", F_OK) == 0)
    return missing("the old root is still to be seen behind the new one");
  return works("made a tmpfs our root, and the host's was gone");
}

Finding probe_proc_mount(const Surroundings&) {
  if (auto fault = enter_own_root(CLONE_NEWPID)) return *fault;
  if (::mkdir("proc", 0755) != 0) return failed("mkdir in our tmpfs", errno);
  const int error = errno_of_helper([] {
    if (::mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid") != 0)
      return errno;
    return ::access("proc/1/status", F_OK) == 0 ? 0 : errno;
  });
  if (error == EPERM)
    return missing(failed("mounting /proc of our own PID namespace", error).why +
                   ": the kernel allows it only where a whole /proc is to be seen; containers mask "
                   "parts of theirs");
  if (error != 0) return failed("mounting /proc of our own PID namespace", error);
  return works("mounted one that shows our PID namespace only");
}

Finding probe_overlay(const Surroundings&) {
  if (auto fault = enter_own_root()) return *fault;
  for (const char* dir : {"lower", "upper", "work", "merged"})
    if (::mkdir(dir, 0755) != 0) return failed("mkdir in our tmpfs", errno);
  if (::mkdir("lower/below", 0755) != 0) return failed("mkdir in our tmpfs", errno);
  if (::mount("overlay", "merged", "overlay", 0,
              "lowerdir=lower,upperdir=upper,workdir=work,userxattr") != 0)
    return failed("mount(overlay) in a user namespace", errno);
  if (::mkdir("merged/above", 0755) != 0) return failed("writing to the overlay", errno);
  if (::access("merged/below", F_OK) != 0 || ::access("upper/above", F_OK) != 0 ||
      ::access("lower/above", F_OK) == 0)
    return missing("a write to the overlay did not go to its upper layer alone");
  return works("a write went to the upper layer, the lower one stayed");
}

}  // namespace fnrun::doctor
