// Family "exposure": what /proc, /sys, cgroups and /dev show and take.
//
// Devices are never opened, only looked for: some act on being opened.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr Promises kNotThere = everywhere(kHidden);

// What every sandbox may have; /dev/shm, which is no device, is F10c's.
Saw unusual_devices() {
  return lists_more_than("/dev/", {".", "..", "null", "zero", "full", "random", "urandom", "fd",
                                   "stdin", "stdout", "stderr", "shm"});
}

// A file that tells something, read.
Saw tells(const char* path) {
  char text[256];
  const long size = read_file(path, text, sizeof text);
  if (size < 0) return size == -ENOENT ? invisible() : blocked(static_cast<int>(-size), path);
  return size == 0 ? invisible("empty") : open(path);
}

Saw cgroup_path() {
  char text[4096];
  const long size = read_file("/proc/self/cgroup", text, sizeof text);
  if (size < 0) return size == -ENOENT ? invisible() : blocked(static_cast<int>(-size));
  for (const char* line = text; *line != '\0';) {
    const char* const end = ::strchrnul(line, '\n');
    if (end - line >= 2 && std::strncmp(end - 2, ":/", 2) != 0) return open("a path of the host");
    line = *end == '\0' ? end : end + 1;
  }
  return invisible();
}

constexpr Probe kProbes[] = {
    {"F01", "write to /proc/sys: core_pattern, modprobe, drop_caches, binfmt_misc",
     "core_pattern escape",
     [] {
       return any_opened({"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
                          "/proc/sys/kernel/hostname", "/proc/sys/kernel/ns_last_pid",
                          "/proc/sys/vm/drop_caches", "/proc/sys/fs/binfmt_misc/register"},
                         O_WRONLY);
     },
     everywhere(kStopped)},
    {"F01b", "read /proc/sys/kernel/core_pattern", "core_pattern escape",
     [] { return tells("/proc/sys/kernel/core_pattern"); }, kNotThere},
    {"F01c", "/proc/sys/kernel/random/boot_id", "host fingerprint",
     [] { return tells("/proc/sys/kernel/random/boot_id"); }, kNotThere},
    {"F02", "/proc/sysrq-trigger", "Docker's masked paths",
     [] { return seen("/proc/sysrq-trigger"); }, kNotThere},
    {"F02b", "/proc/kcore", "Docker's masked paths, CVE-2025-31133",
     [] { return seen("/proc/kcore"); }, kNotThere},
    {"F02c", "/proc/kallsyms", "kernel addresses", [] { return seen("/proc/kallsyms"); },
     kNotThere},
    {"F02d", "/proc/kmsg", "dmesg_restrict", [] { return seen("/proc/kmsg"); }, kNotThere},
    {"F02e", "/proc/keys, /proc/key-users", "Docker's masked paths",
     [] {
       return any_seen({"/proc/keys", "/proc/key-users"});
     },
     kNotThere},
    {"F02f", "/proc/timer_list", "Docker's masked paths", [] { return seen("/proc/timer_list"); },
     kNotThere},
    {"F02g", "/proc/iomem, /proc/ioports", "kernel addresses",
     [] {
       return any_seen({"/proc/iomem", "/proc/ioports"});
     },
     kNotThere},
    {"F02h", "/proc/interrupts, /proc/softirqs", "Docker's masked paths: keystroke timing",
     [] {
       return any_seen({"/proc/interrupts", "/proc/softirqs"});
     },
     kNotThere},
    {"F02i", "/proc/config.gz, /proc/modules", "what to attack",
     [] {
       return any_seen({"/proc/config.gz", "/proc/modules"});
     },
     kNotThere},
    {"F02j", "/proc/acpi, /proc/scsi, /proc/bus", "Docker's masked paths",
     [] {
       return any_seen({"/proc/acpi", "/proc/scsi", "/proc/bus"});
     },
     kNotThere},
    {"F02k", "/proc/pagetypeinfo, /proc/slabinfo, /proc/vmallocinfo", "heap grooming",
     [] {
       return any_seen({"/proc/pagetypeinfo", "/proc/slabinfo", "/proc/vmallocinfo"});
     },
     kNotThere},
    {"F03", "/proc/cpuinfo", "host fingerprint", [] { return tells("/proc/cpuinfo"); }, kNotThere},
    {"F03b", "/proc/meminfo", "host fingerprint", [] { return tells("/proc/meminfo"); }, kNotThere},
    {"F03c", "/proc/uptime", "host fingerprint", [] { return tells("/proc/uptime"); }, kNotThere},
    {"F03d", "/proc/version", "host fingerprint", [] { return tells("/proc/version"); }, kNotThere},
    {"F03e", "/proc/cmdline: how the host was started", "secrets on kernel command lines",
     [] { return tells("/proc/cmdline"); }, kNotThere},
    {"F03f", "/proc/stat", "side channel of CPU use", [] { return tells("/proc/stat"); },
     kNotThere},
    {"F03g", "/proc/loadavg", "side channel of CPU use", [] { return tells("/proc/loadavg"); },
     kNotThere},
    {"F03h", "/proc/diskstats, /proc/partitions", "the host's disks",
     [] {
       return any_seen({"/proc/diskstats", "/proc/partitions"});
     },
     kNotThere},
    {"F03i", "/proc/vmstat, /proc/zoneinfo", "side channel of memory use",
     [] {
       return any_seen({"/proc/vmstat", "/proc/zoneinfo"});
     },
     kNotThere},
    {"F03j", "/proc/filesystems, /proc/devices, /proc/misc", "what to attack",
     [] {
       return any_seen({"/proc/filesystems", "/proc/devices", "/proc/misc"});
     },
     kNotThere},
    {"F03k", "/proc/pressure, /proc/sched_debug", "side channel of others' work",
     [] {
       return any_seen({"/proc/pressure", "/proc/sched_debug"});
     },
     kNotThere},
    {"F03l", "/proc/sysvipc, /proc/locks", "work of others",
     [] {
       return any_seen({"/proc/sysvipc", "/proc/locks"});
     },
     kNotThere},
    {"F07", "/sys/class/net", "the host's network", [] { return seen("/sys/class/net"); },
     kNotThere},
    {"F07b", "/sys/devices/system/cpu", "what to attack",
     [] { return seen("/sys/devices/system/cpu"); }, kNotThere},
    {"F07c", "/sys/class/dmi, /sys/firmware", "host fingerprint; Docker's masked paths",
     [] {
       return any_seen({"/sys/class/dmi", "/sys/firmware"});
     },
     kNotThere},
    {"F07d", "/sys/kernel/uevent_helper, /sys/kernel/debug", "uevent_helper escape",
     [] {
       return any_seen({"/sys/kernel/uevent_helper", "/sys/kernel/debug"});
     },
     kNotThere},
    {"F07e", "/sys/block, /sys/bus", "the host's devices",
     [] {
       return any_seen({"/sys/block", "/sys/bus"});
     },
     kNotThere},
    {"F07f", "/sys/module: parameters of the kernel", "what to attack",
     [] { return seen("/sys/module"); }, kNotThere},
    {"F08", "write to a cgroup: cgroup.procs, memory.max, release_agent",
     "CVE-2022-0492, CVE-2021-4197",
     [] {
       return any_opened({"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory.max",
                          "/sys/fs/cgroup/cgroup.kill", "/sys/fs/cgroup/memory/release_agent",
                          "/sys/fs/cgroup/unified/cgroup.procs"},
                         O_WRONLY);
     },
     everywhere(kStopped)},
    {"F08b", "/sys/fs/cgroup", "CVE-2022-0492", [] { return seen("/sys/fs/cgroup"); }, kNotThere},
    {"F08c", "/proc/self/cgroup shows a path of the host", "cgroup_namespaces(7)", cgroup_path,
     everywhere(kHidden)},
    {"F08d", "/proc/cgroups", "cgroups(7)", [] { return seen("/proc/cgroups"); }, kNotThere},
    {"F09", "devices besides null, zero, full, random, urandom", "runc's device list",
     unusual_devices, kNotThere},
    {"F10", "/dev/ptmx", "bwrap's default leaves it", [] { return seen("/dev/ptmx"); }, kNotThere},
    {"F10b", "/dev/tty, /dev/console", "CVE-2017-5226",
     [] {
       return any_seen({"/dev/tty", "/dev/console"});
     },
     kNotThere},
    {"F10c", "/dev/shm, /dev/mqueue", "bwrap's default leaves it",
     [] {
       return any_seen({"/dev/shm", "/dev/mqueue"});
     },
     kNotThere},
    {"F10d", "/dev/fuse", "fuse(4): whoever waits for it hangs", [] { return seen("/dev/fuse"); },
     kNotThere},
    {"F10e", "/dev/net/tun", "CVE-2023-1076 family", [] { return seen("/dev/net/tun"); },
     kNotThere},
    {"F10f", "/dev/kvm, /dev/vsock, /dev/vhost-vsock", "CVE-2021-26708",
     [] {
       return any_seen({"/dev/kvm", "/dev/vsock", "/dev/vhost-vsock"});
     },
     kNotThere},
    {"F10g", "/dev/mem, /dev/port, /dev/kmsg", "mem(4)",
     [] {
       return any_seen({"/dev/mem", "/dev/port", "/dev/kmsg"});
     },
     kNotThere},
    {"F10h", "a disk of the host", "CDK rewrite_cgroup_devices",
     [] {
       return any_seen({"/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/xvda", "/dev/dm-0",
                        "/dev/loop0", "/dev/loop-control", "/dev/ram0"});
     },
     kNotThere},
    {"F10i", "/dev/input, /dev/uinput, /dev/hidraw0", "injecting keys",
     [] {
       return any_seen({"/dev/input", "/dev/uinput", "/dev/hidraw0"});
     },
     kNotThere},
    {"F10j", "/dev/dri, /dev/nvidia0", "drivers of graphics",
     [] {
       return any_seen({"/dev/dri", "/dev/nvidia0"});
     },
     kNotThere},
};

}  // namespace

Family proc_and_devices() {
  return {"exposure", kProbes};
}

}  // namespace fnrun::probe
