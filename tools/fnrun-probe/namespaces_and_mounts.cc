// Family "namespaces": making, joining and leaving namespaces; changing what is mounted.
//
// Direct attempts at mounts name things that do not exist, so that the host's root changes nothing:
// the kernel asks for the privilege first. What needs a success gets it in namespaces of its own.
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstring>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr Promises kTripwire = everywhere(kKilled);
constexpr Promises kAbsent{kKilled, refused(ENOSYS), refused(ENOSYS)};
constexpr Promises kNoClone3 = everywhere(refused(ENOSYS));

constexpr long kNewTime = 0x80;  // Not expressible in clone(2): the low byte is the exit signal.

// A child in the namespace, which leaves at once.
Saw cloned_by(long flags) {
  const long pid = raw_syscall(__NR_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) leave(0);
  if (pid > 0) wait_child(pid);
  return done(pid);
}
// By privilege, or by way of a user namespace.
Saw cloned_into(long flag) {
  const Saw direct = cloned_by(flag);
  return direct.os_errno == EPERM ? cloned_by(flag | CLONE_NEWUSER) : direct;
}

Saw cloned3(unsigned long flags) {
  clone_args args{};
  args.flags = flags;
  args.exit_signal = SIGCHLD;
  const long pid = raw_syscall(__NR_clone3, as_arg(&args), sizeof args);
  if (pid == 0) leave(0);
  if (pid > 0) wait_child(pid);
  return done(pid);
}

Saw joined(const char* path) {
  const long fd = open_file(path, O_RDONLY);
  if (fd < 0) return fd == -ENOENT ? invisible() : blocked(static_cast<int>(-fd), path);
  // EINVAL: our own user namespace, or threads; asked after the permission.
  return reached(raw_syscall(__NR_setns, fd, 0), {EINVAL});
}

// Direct: a type that does not exist. Own namespaces: the real thing, over /tmp.
Saw mounted(const char* type, const char* data, bool own) {
  if (own)
    return done(
        raw_syscall(__NR_mount, as_arg("none"), as_arg("/tmp"), as_arg(type), 0, as_arg(data)));
  return reached(
      raw_syscall(__NR_mount, as_arg("none"), as_arg("/tmp"), as_arg("fnrun-nothing"), 0, 0),
      {ENODEV});
}

bool mount_tmpfs_over_tmp() {
  return raw_syscall(__NR_mount, as_arg("none"), as_arg("/tmp"), as_arg("tmpfs"), 0, 0) == 0;
}

// Whether a namespace of ours is the one that the host booted with, which has a number of its own,
// or that of whoever started the sandbox.
Saw is_initial(const char* name, std::initializer_list<unsigned long> initial) {
  char path[40], text[64] = "";
  std::snprintf(path, sizeof path, "/proc/self/ns/%s", name);
  const long size = raw_syscall(__NR_readlink, as_arg(path), as_arg(text), sizeof text - 1);
  if (size == -ENOENT) return invisible();
  if (size < 0) return blocked(static_cast<int>(-size));
  const char* number = std::strchr(text, '[');
  unsigned long inode = 0;
  if (number == nullptr || std::sscanf(number, "[%lu]", &inode) != 1)
    return inconclusive("no namespace number");
  for (const unsigned long known : initial)
    if (inode == known) return open("the host's initial one");
  for (const unsigned long outside : namespaces_outside)
    if (inode == outside) return open("that of whoever started the sandbox");
  return invisible("another than outside");
}

// Lines of mountinfo with this in their fields after the mount point.
Saw mountinfo_tells(bool (*tells)(const char* line)) {
  static char text[65536];
  const long size = read_file("/proc/self/mountinfo", text, sizeof text);
  if (size == -ENOENT) return invisible();
  if (size < 0) return blocked(static_cast<int>(-size));
  for (char* line = text; line != nullptr && *line != '\0';) {
    char* const end = std::strchr(line, '\n');
    if (end != nullptr) *end = '\0';
    if (tells(line)) return open();
    line = end == nullptr ? nullptr : end + 1;
  }
  return invisible();
}

Saw chroot_escape(bool own) {
  if (!own) return reached(raw_syscall(__NR_chroot, kBadAddress), {EFAULT});
  const long outside = open_file("/", O_RDONLY | O_DIRECTORY);
  if (const long r = raw_syscall(__NR_chroot, as_arg("/tmp")); r < 0) return done(r);
  if (const long r = raw_syscall(__NR_fchdir, outside); r < 0) return done(r);
  struct stat info {};
  return done(raw_syscall(__NR_newfstatat, AT_FDCWD, as_arg("tmp"), as_arg(&info), 0));
}

constexpr Probe kProbes[] = {
    {"N01", "unshare(CLONE_NEWUSER)", "CVE-2022-0185, CVE-2024-1086, CVE-2021-22555",
     [] { return done(raw_syscall(__NR_unshare, CLONE_NEWUSER)); }, kTripwire},
    {"N01b", "clone(CLONE_NEWUSER)", "CVE-2022-0185; moby's default profile",
     [] { return cloned_by(CLONE_NEWUSER); }, kAbsent},
    {"N01c", "clone(CLONE_NEWUSER) with garbage in the upper half of the flags",
     "CVE-2019-10063 (the same trick)", [] { return cloned_by(CLONE_NEWUSER | (1L << 40)); },
     kAbsent},
    {"N02", "clone(CLONE_NEWNS)", "CVE-2020-15257; moby's default profile",
     [] { return cloned_into(CLONE_NEWNS); }, kAbsent},
    {"N02b", "clone(CLONE_NEWPID)", "moby's default profile",
     [] { return cloned_into(CLONE_NEWPID); }, kAbsent},
    {"N02c", "clone(CLONE_NEWNET)", "CVE-2023-32233 (nf_tables by an own net namespace)",
     [] { return cloned_into(CLONE_NEWNET); }, kAbsent},
    {"N02d", "clone(CLONE_NEWIPC)", "CVE-2015-7613", [] { return cloned_into(CLONE_NEWIPC); },
     kAbsent},
    {"N02e", "clone(CLONE_NEWUTS)", "moby's default profile",
     [] { return cloned_into(CLONE_NEWUTS); }, kAbsent},
    {"N02f", "clone(CLONE_NEWCGROUP)", "CVE-2022-0492", [] { return cloned_into(CLONE_NEWCGROUP); },
     kAbsent},
    {"N02g", "clone(CLONE_PARENT): a child for the parent", "sandbox2 policy.cc",
     // The runner would inherit it: asked with a flag that clone refuses, after the filter.
     [] {
       return reached(raw_syscall(__NR_clone, CLONE_PARENT | CLONE_THREAD, 0, 0, 0, 0), {EINVAL});
     },
     kAbsent},
    {"N02h", "clone(CLONE_UNTRACED)", "sandbox2 policy_test.cc",
     [] { return cloned_by(CLONE_UNTRACED); }, kAbsent},
    {"N03", "clone3(CLONE_NEWUSER)", "sandbox2, Chromium, moby: ENOSYS or glibc breaks",
     [] { return cloned3(CLONE_NEWUSER); }, kNoClone3},
    {"N03b", "clone3() without a flag", "glibc 2.34 falls back on ENOSYS only",
     [] { return cloned3(0); }, kNoClone3},
    {"N04", "unshare(CLONE_NEWTIME)", "sandbox2's mask omits it",
     [] {
       return also_in_own_namespaces(
           [](bool) { return done(raw_syscall(__NR_unshare, kNewTime)); });
     },
     kTripwire},
    {"N05", "setns to the mount namespace", "setns(2)",
     [] { return also_in_own_namespaces([](bool) { return joined("/proc/self/ns/mnt"); }); },
     kTripwire},
    {"N05b", "setns to the net namespace", "setns(2)",
     [] { return also_in_own_namespaces([](bool) { return joined("/proc/self/ns/net"); }); },
     kTripwire},
    {"N05c", "setns to the pid namespace", "setns(2)",
     [] { return also_in_own_namespaces([](bool) { return joined("/proc/self/ns/pid"); }); },
     kTripwire},
    {"N05d", "setns to the user namespace", "setns(2)", [] { return joined("/proc/self/ns/user"); },
     kTripwire},
    {"N05e", "setns to the cgroup namespace", "CVE-2022-0492",
     [] { return also_in_own_namespaces([](bool) { return joined("/proc/self/ns/cgroup"); }); },
     kTripwire},
    {"N05f", "setns by pidfd", "setns(2), Linux 5.8",
     [] { return reached(raw_syscall(__NR_setns, -1, CLONE_NEWUTS), {EBADF}); }, kTripwire},
    {"N05g", "open the namespaces of process 1", "CVE-2016-9962",
     [] {
       return any_opened({"/proc/1/ns/mnt", "/proc/1/ns/user"}, O_RDONLY);
     },
     everywhere(kStopped)},
    {"N06", "mount a tmpfs", "mount(2)",
     [] { return also_in_own_namespaces([](bool own) { return mounted("tmpfs", nullptr, own); }); },
     kTripwire},
    {"N06b", "mount an overlay", "CVE-2021-3493, CVE-2023-0386",
     [] {
       return also_in_own_namespaces(
           [](bool own) { return mounted("overlay", "lowerdir=/usr:/tmp,userxattr", own); });
     },
     kTripwire},
    {"N06c", "mount a sysfs", "mount(2)",
     [] { return also_in_own_namespaces([](bool own) { return mounted("sysfs", nullptr, own); }); },
     kTripwire},
    {"N06d", "mount a cgroup hierarchy", "CVE-2022-0492",
     [] {
       return also_in_own_namespaces([](bool own) { return mounted("cgroup2", nullptr, own); });
     },
     kTripwire},
    {"N06e", "mount a devpts", "mount(2)",
     [] {
       return also_in_own_namespaces(
           [](bool own) { return mounted("devpts", "newinstance", own); });
     },
     kTripwire},
    {"N06f", "mount a mqueue", "mount(2)",
     [] {
       return also_in_own_namespaces([](bool own) { return mounted("mqueue", nullptr, own); });
     },
     kTripwire},
    {"N06g", "bind one folder over another", "mount(2)",
     [] {
       return also_in_own_namespaces([](bool own) {
         const char* from = own ? "/usr" : "/fnrun-nothing";
         return reached(raw_syscall(__NR_mount, as_arg(from), as_arg("/tmp"), 0, MS_BIND, 0),
                        {ENOENT});
       });
     },
     kTripwire},
    {"N07", "remount read-write", "CVE-2014-5206, CVE-2014-5207",
     [] {
       return also_in_own_namespaces([](bool own) {
         // Direct: a folder that is no mount point, refused after the privilege was looked at.
         const char* at = own ? "/" : "/proc/self";
         return reached(raw_syscall(__NR_mount, 0, as_arg(at), 0, MS_REMOUNT | MS_BIND, 0),
                        {EINVAL});
       });
     },
     kTripwire},
    {"N08", "umount2(MNT_DETACH), to uncover what lies under", "CVE-2014-7975",
     [] {
       return also_in_own_namespaces([](bool own) {
         if (own && !mount_tmpfs_over_tmp()) return inconclusive("nothing to unmount");
         const char* at = own ? "/tmp" : "/proc/self";
         return reached(raw_syscall(__NR_umount2, as_arg(at), MNT_DETACH), {EINVAL});
       });
     },
     kTripwire},
    {"N09", "fsopen(tmpfs)", "CVE-2022-0185, CVE-2021-41133",
     [] {
       return also_in_own_namespaces(
           [](bool) { return done(raw_syscall(__NR_fsopen, as_arg("tmpfs"), 0)); });
     },
     kTripwire},
    {"N09b", "fsconfig", "CVE-2022-0185",
     [] {
       return reached(raw_syscall(__NR_fsconfig, -1, 0, 0, 0, 0), {EINVAL, EBADF});
     },
     kTripwire},
    {"N09c", "fsmount", "CVE-2021-41133",
     [] {
       return also_in_own_namespaces(
           [](bool) { return reached(raw_syscall(__NR_fsmount, -1, 0, 0), {EBADF}); });
     },
     kTripwire},
    {"N09d", "fspick(/)", "CVE-2021-41133",
     [] {
       return also_in_own_namespaces(
           [](bool) { return done(raw_syscall(__NR_fspick, AT_FDCWD, as_arg("/"), 0)); });
     },
     kTripwire},
    {"N09e", "open_tree(OPEN_TREE_CLONE)", "CVE-2021-41133",
     [] {
       return also_in_own_namespaces([](bool) {
         return done(raw_syscall(__NR_open_tree, AT_FDCWD, as_arg("/"), OPEN_TREE_CLONE));
       });
     },
     kTripwire},
    {"N09f", "move_mount", "CVE-2021-41133",
     [] {
       return also_in_own_namespaces([](bool) {
         return reached(raw_syscall(__NR_move_mount, -1, as_arg(""), AT_FDCWD, as_arg("/tmp"),
                                    MOVE_MOUNT_F_EMPTY_PATH),
                        {EBADF});
       });
     },
     kTripwire},
    {"N09g", "mount_setattr", "CVE-2021-41133",
     [] {
       return also_in_own_namespaces([](bool) {
         mount_attr attr{};
         attr.attr_set = MOUNT_ATTR_NODEV;
         return reached(
             raw_syscall(__NR_mount_setattr, -1, as_arg("fnrun"), 0, as_arg(&attr), sizeof attr),
             {EBADF});
       });
     },
     kTripwire},
    {"N09h", "open_tree_attr (467), which no list of 2023 can name", "Linux 6.15",
     [] {
       return reached(raw_syscall(467, -1, as_arg("fnrun"), 0, 0, 0), {EBADF, EINVAL});
     },
     kAbsent},
    {"N09i", "statmount (457): mounts by number", "Linux 6.8",
     [] { return reached(raw_syscall(457, kBadAddress, 0, 0, 0), {EFAULT}); }, kAbsent},
    {"N09j", "listmount (458)", "Linux 6.8",
     [] { return reached(raw_syscall(458, kBadAddress, 0, 0, 0), {EFAULT}); }, kAbsent},
    {"N10", "name_to_handle_at(/)", "shocker (open_by_handle_at in Docker 0.11)",
     [] {
       // A handle of no bytes: EOVERFLOW tells the size, by the file system's own code.
       alignas(8) unsigned handle[34] = {128};
       int mount_id = 0;
       return reached(raw_syscall(__NR_name_to_handle_at, AT_FDCWD, as_arg("/"), as_arg(handle),
                                  as_arg(&mount_id), 0),
                      {EOVERFLOW, EOPNOTSUPP});
     },
     kTripwire},
    {"N10b", "open_by_handle_at", "shocker (open_by_handle_at in Docker 0.11)",
     [] {
       return reached(raw_syscall(__NR_open_by_handle_at, AT_FDCWD, kBadAddress, 0), {EFAULT});
     },
     kTripwire},
    {"N11", "pivot_root", "CVE-2014-7970",
     [] {
       return also_in_own_namespaces([](bool) {
         return reached(raw_syscall(__NR_pivot_root, kBadAddress, kBadAddress), {EFAULT});
       });
     },
     kTripwire},
    {"N11b", "chroot", "chroot(2)",
     [] {
       return also_in_own_namespaces([](bool own) {
         return own ? done(raw_syscall(__NR_chroot, as_arg("/tmp")))
                    : reached(raw_syscall(__NR_chroot, kBadAddress), {EFAULT});
       });
     },
     kTripwire},
    {"N11c", "out of a chroot by a descriptor opened before", "the classic chroot break",
     [] { return also_in_own_namespaces(chroot_escape); }, kTripwire},
    {"N12", "mounts hang together with the host's (shared:, master:)",
     "runc mounts_propagation.bats",
     [] {
       return mountinfo_tells([](const char* line) {
         return std::strstr(line, " shared:") != nullptr ||
                std::strstr(line, " master:") != nullptr;
       });
     },
     everywhere(kHidden)},
    {"N12b", "a mount on which setuid files count", "CVE-2014-5207",
     [] {
       return mountinfo_tells(
           [](const char* line) { return std::strstr(line, "nosuid") == nullptr; });
     },
     everywhere(kHidden)},
    {"N12c", "a mount on which devices count", "CVE-2014-5207",
     [] {
       return mountinfo_tells([](const char* line) {
         // The device files that a sandbox is given are mounts of their own.
         return std::strstr(line, "nodev") == nullptr && std::strstr(line, " /dev/") == nullptr;
       });
     },
     everywhere(kHidden)},
    {"N13", "folders of the host", "CVE-2024-21626",
     [] {
       return any_seen({"/root", "/home", "/boot", "/var", "/srv", "/mnt", "/opt", "/media"});
     },
     everywhere(kHidden)},
    {"N13b", "the root and the folder of process 1", "CVE-2024-21626",
     [] {
       return any_opened({"/proc/1/root/.", "/proc/1/cwd/."}, O_RDONLY);
     },
     everywhere(kStopped)},
    {"N14", "the working directory lies outside the root", "CVE-2024-21626",
     [] {
       char path[4096];
       const long size = raw_syscall(__NR_getcwd, as_arg(path), sizeof path);
       if (size < 0) return size == -ENOENT ? open("unlinked") : blocked(static_cast<int>(-size));
       return path[0] == '/' ? invisible(path) : open(path);
     },
     everywhere(kHidden)},
    {"N17", "the mount namespace is the host's", "namespaces(7)",
     [] {
       return is_initial("mnt", {0xF0000000, 0xEFFFFFF8});
     },
     everywhere(kHidden)},
    {"N17b", "the net namespace is the host's", "CVE-2020-15257",
     [] {
       return is_initial("net", {0xEFFFFFF9, 4026531992, 4026531840});
     },
     everywhere(kHidden)},
    {"N17c", "the pid namespace is the host's", "namespaces(7)",
     [] { return is_initial("pid", {0xEFFFFFFC}); }, everywhere(kHidden)},
    {"N17d", "the user namespace is the host's", "CVE-2022-0492",
     [] { return is_initial("user", {0xEFFFFFFD}); }, everywhere(kHidden)},
    {"N17e", "the uts namespace is the host's", "namespaces(7)",
     [] { return is_initial("uts", {0xEFFFFFFE}); }, everywhere(kHidden)},
    {"N17f", "the ipc namespace is the host's", "namespaces(7)",
     [] { return is_initial("ipc", {0xEFFFFFFF}); }, everywhere(kHidden)},
    {"N17g", "the cgroup namespace is the host's", "CVE-2022-0492",
     [] { return is_initial("cgroup", {0xEFFFFFFB}); }, everywhere(kHidden)},
    {"N17h",
     "the time namespace is the host's",
     "time_namespaces(7)",
     // strict and compat prefer it only.
     [] { return is_initial("time", {0xEFFFFFFA}); },
     {kHidden, kMay, kMay}},
    {"N18", "sethostname", "sethostname(2)",
     [] {
       return also_in_own_namespaces(
           [](bool) { return reached(raw_syscall(__NR_sethostname, kBadAddress, 1), {EFAULT}); });
     },
     kTripwire},
    {"N18b", "setdomainname", "setdomainname(2)",
     [] {
       return also_in_own_namespaces(
           [](bool) { return reached(raw_syscall(__NR_setdomainname, kBadAddress, 1), {EFAULT}); });
     },
     kTripwire},
};

}  // namespace

Family namespaces_and_mounts() {
  return {"namespaces", kProbes};
}

}  // namespace fnrun::probe
