// Family "privilege": capabilities, ids, setuid files, devices as files.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cstdio>
#include <cstring>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr Promises kEpermOrStopped{refused(EPERM), refused(EPERM), kStopped};
constexpr Promises kNotInCompat{refused(EPERM), refused(EPERM), kMay};

// The line "Name:\t<hexadecimal>" of our own status; -1 without it.
long status_field(const char* name) {
  static char text[8192];
  if (read_file("/proc/self/status", text, sizeof text) <= 0) return -1;
  const char* line = std::strstr(text, name);
  unsigned long value = 0;
  if (line == nullptr || std::sscanf(line + std::strlen(name), ": %lx", &value) != 1) return -1;
  return static_cast<long>(value);
}
Saw empty_field(const char* name) {
  const long value = status_field(name);
  if (value < 0) return inconclusive("/proc/self/status does not tell");
  return value == 0 ? invisible() : open();
}

Saw holds_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  const long result = raw_syscall(__NR_capget, as_arg(&header), as_arg(data));
  if (result < 0) return done(result);
  unsigned any = 0;
  for (const auto& half : data) any |= half.effective | half.permitted | half.inheritable;
  return any == 0 ? invisible() : open();
}

Saw bounding_set() {
  for (long cap = 0; cap < 64; ++cap) {
    const long result = raw_syscall(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0, 0);
    if (result == 1) return open();
    if (result < 0 && result != -EINVAL) return done(result);
  }
  return invisible();
}

Saw lacks_no_new_privs() {
  const long result = raw_syscall(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  if (result < 0) return done(result);
  return result == 1 ? invisible() : open();
}

Saw lacks_securebits() {
  const long result = raw_syscall(__NR_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
  if (result < 0) return done(result);
  return (result & 3) == 3 ? invisible() : open();  // SECBIT_NOROOT, locked.
}

Saw seccomp_off() {
  const long mode = status_field("Seccomp");
  if (mode < 0) return inconclusive("/proc/self/status does not tell");
  return mode == 0 ? open() : invisible();
}

Saw groups() {
  unsigned list[64];
  const long count = raw_syscall(__NR_getgroups, 64, as_arg(list));
  if (count < 0) return done(count);
  const auto own = static_cast<unsigned>(raw_syscall(__NR_getegid));
  for (long i = 0; i < count; ++i)
    if (list[i] != own && list[i] != 65534) return open();  // 65534: a group without a name here.
  return count == 0 ? invisible() : limited(count, "groups without a name here");
}

// Whether some id of ours is the host's root: facts of the map, seen by the parent of our
// namespace.
Saw mapped_to_root() {
  char text[512];
  const long size = read_file("/proc/self/uid_map", text, sizeof text);
  if (size < 0) return size == -ENOENT ? invisible() : blocked(static_cast<int>(-size));
  unsigned long inside = 0, outside = 0, count = 0;
  if (std::sscanf(text, "%lu %lu %lu", &inside, &outside, &count) != 3)
    return inconclusive("/proc/self/uid_map does not tell");
  return outside == 0 ? open("root of the host is in the map") : invisible();
}

// A program that would give privilege: the file's bit, on a mount where it counts, to a process for
// which it counts.
Saw setuid_programs() {
  if (raw_syscall(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
    return invisible("no_new_privs");
  for (const char* path : {"/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/chsh",
                           "/usr/bin/sudo", "/usr/bin/newgrp", "/bin/su", "/bin/mount"}) {
    struct stat info {};
    struct statfs mount {};
    if (raw_syscall(__NR_newfstatat, AT_FDCWD, as_arg(path), as_arg(&info), 0) < 0 ||
        raw_syscall(__NR_statfs, as_arg(path), as_arg(&mount)) < 0)
      continue;
    if ((info.st_mode & S_ISUID) != 0 && (mount.f_flags & 2) == 0) return open(path);
  }
  return invisible();
}

Saw changes_mode(long mode) {
  const Scratch file("mode");
  if (file.fd() < 0) return inconclusive("no file in /tmp");
  const long result = raw_syscall(__NR_fchmod, file.fd(), mode);
  if (result < 0) return done(result);
  struct stat info {};
  raw_syscall(__NR_fstat, file.fd(), as_arg(&info));
  return (info.st_mode & 07777) == mode ? open() : blocked(EPERM, "without an effect");
}

Saw changes_mode_by_path(long mode) {
  const Scratch file("mode");
  if (file.fd() < 0) return inconclusive("no file in /tmp");
  const long result = raw_syscall(__NR_chmod, as_arg(file.path()), mode);
  if (result < 0) return done(result);
  struct stat info {};
  raw_syscall(__NR_fstat, file.fd(), as_arg(&info));
  return (info.st_mode & 07777) == mode ? open() : blocked(EPERM, "without an effect");
}

Saw makes_node(long mode, long device) {
  const Scratch place("node");
  raw_syscall(__NR_unlink, as_arg(place.path()));
  return done(raw_syscall(__NR_mknod, as_arg(place.path()), mode, device));
}

Saw sets_attribute(const char* name) {
  const Scratch file("attribute");
  if (file.fd() < 0) return inconclusive("no file in /tmp");
  return reached(raw_syscall(__NR_fsetxattr, file.fd(), as_arg(name), as_arg("x"), 1, 0), {});
}

constexpr Probe kProbes[] = {
    {"C01", "a capability, effective, permitted or inheritable", "CVE-2022-24769, CVE-2022-29162",
     holds_capabilities, everywhere(kHidden)},
    {"C01b", "a capability in the bounding set", "capabilities(7)", bounding_set,
     everywhere(kHidden)},
    {"C01c", "no_new_privs is not set", "prctl(2)", lacks_no_new_privs, everywhere(kHidden)},
    {"C01d", "no filter of system calls is loaded", "seccomp(2)", seccomp_off, everywhere(kHidden)},
    {"C01e", "root would be root: securebits are not set", "capabilities(7)", lacks_securebits,
     everywhere(kHidden)},
    {"C01f", "an ambient capability", "CVE-2022-29162", [] { return empty_field("CapAmb"); },
     everywhere(kHidden)},
    {"C01g", "an inheritable capability", "CVE-2022-24769", [] { return empty_field("CapInh"); },
     everywhere(kHidden)},
    {"C02", "setuid(0)", "setuid(2)", [] { return done(raw_syscall(__NR_setuid, 0)); },
     kEpermOrStopped},
    {"C02b", "setgroups", "setgroups(2); CVE-2014-8989",
     [] { return done(raw_syscall(__NR_setgroups, 0, 0)); }, kEpermOrStopped},
    {"C02c", "setresuid to oneself", "setresuid(2)",
     [] { return done(raw_syscall(__NR_setresuid, -1, -1, -1)); }, kNotInCompat},
    {"C02d", "setfsuid", "setfsuid(2)", [] { return done(raw_syscall(__NR_setfsuid, -1)); },
     kNotInCompat},
    {"C02e", "capset to what one has", "capset(2)",
     [] {
       __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
       __user_cap_data_struct data[2] = {};
       raw_syscall(__NR_capget, as_arg(&header), as_arg(data));
       return done(raw_syscall(__NR_capset, as_arg(&header), as_arg(data)));
     },
     kNotInCompat},
    {"C03", "groups of the host", "docker, disk, root as leftovers", groups, {kMay, kMay, kMay}},
    {"C04", "some id here is the host's root", "user_namespaces(7)", mapped_to_root,
     everywhere(kHidden)},
    {"C06", "a program that gives privilege", "CVE-2021-4034", setuid_programs,
     everywhere(kHidden)},
    {"C07", "chmod u+s of an own file", "a setuid file that the handler leaves",
     [] { return changes_mode(04755); }, kNotInCompat},
    {"C07b", "chmod of an own file", "chmod(2)", [] { return changes_mode(0600); }, kNotInCompat},
    {"C07c", "chown of an own file to oneself", "chown(2)",
     [] {
       const Scratch file("owner");
       if (file.fd() < 0) return inconclusive("no file in /tmp");
       return done(raw_syscall(__NR_fchown, file.fd(), -1, -1));
     },
     kNotInCompat},
    {"C07d", "give a file a capability", "capabilities(7)",
     [] { return sets_attribute("security.capability"); }, kEpermOrStopped},
    {"C07e", "give a file an attribute of the user's", "xattr(7)",
     [] { return sets_attribute("user.fnrun"); }, kNotInCompat},
    {"C07f", "chmod of an own file, by its path", "chmod(2)",
     [] { return changes_mode_by_path(0600); }, kNotInCompat},
    {"C07g", "chmod u+s of an own file, by its path", "a setuid file that the handler leaves",
     [] { return changes_mode_by_path(04755); }, kNotInCompat},
    {"F09b",
     "mknod: a character device",
     "CDK rewrite_cgroup_devices",
     // 1:3 is /dev/null.
     [] { return makes_node(S_IFCHR | 0600, 0x103); },
     {refused(EPERM), refused(EPERM), refused(ENOSYS)}},
    {"F09c",
     "mknod: a block device",
     "CDK rewrite_cgroup_devices",
     // 0:0 is no device.
     [] { return makes_node(S_IFBLK | 0600, 0); },
     {refused(EPERM), refused(EPERM), refused(ENOSYS)}},
    {"F09d", "mknod: a named pipe", "mknod(2)", [] { return makes_node(S_IFIFO | 0600, 0); },
     kNotInCompat},
};

}  // namespace

Family privilege() {
  return {"privilege", kProbes};
}

}  // namespace fnrun::probe
