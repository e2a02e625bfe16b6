#include "kernel_probes.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "isolation/unique_fd.h"
#include "kernel_files.h"

namespace fnrun::doctor {
namespace {

using isolation::UniqueFd;

#ifndef MFD_EXEC
constexpr unsigned MFD_EXEC = 0x10U;  // Linux 6.3
#endif

UniqueFd open_root() {
  return UniqueFd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace

Finding probe_landlock(const Surroundings&) {
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0)
    return missing(failed("landlock_create_ruleset", errno).why +
                   (errno == EOPNOTSUPP ? ": it is not among the active security modules"
                                        : ": this kernel is built without it"));
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = LANDLOCK_ACCESS_FS_READ_DIR;
  const UniqueFd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
  if (!ruleset) return failed("landlock_create_ruleset", errno);
  if (!open_root()) return failed("opening / before any restriction", errno);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return failed("prctl(PR_SET_NO_NEW_PRIVS)", errno);
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return failed("landlock_restrict_self", errno);
  if (open_root()) return missing("a ruleset without any rule let / be opened");
  if (errno != EACCES) return failed("opening / under a ruleset", errno);
  return works("ABI " + std::to_string(abi) + "; a ruleset kept / from being opened");
}

// As launching makes the memory file that holds the init (isolation/launcher.cc).
Finding probe_memfd_exec(const Surroundings&) {
  UniqueFd fd(::memfd_create("fnrun-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!fd && errno == EINVAL)
    fd.reset(::memfd_create("fnrun-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return failed("memfd_create(MFD_EXEC)", errno);
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return failed("sealing a memory file", errno);
  return works("made and sealed one that may be executed");
}

Finding probe_apparmor_userns(const Surroundings& here) {
  const std::string value =
      trimmed(read_file("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"));
  if (value.empty()) return works("this kernel has no such restriction");
  if (value == "0") return works("kernel.apparmor_restrict_unprivileged_userns = 0");
  if (here.no_host_because.empty() && here.host.privileged)
    return works("restricted for others; we are privileged");
  return missing("kernel.apparmor_restrict_unprivileged_userns = " + value +
                 ": user namespaces of unprivileged programs give no capabilities");
}

// A core_pattern with a pipe ignores a limit of 0 and heeds a limit of 1, which sandboxes get
// unless our own hard limit is 0 already.
Finding probe_core_dumps(const Surroundings&) {
  const std::string pattern = trimmed(read_file("/proc/sys/kernel/core_pattern"));
  rlimit own{};
  if (::getrlimit(RLIMIT_CORE, &own) != 0) return failed("getrlimit(RLIMIT_CORE)", errno);
  if (!pattern.starts_with('|')) return works("kernel.core_pattern names no program");
  if (own.rlim_max >= 1)
    return works("kernel.core_pattern names a program; the limit of sandboxes keeps it away");
  return missing(
      "kernel.core_pattern names a program, and our hard limit of core dumps is 0, which it "
      "ignores: a crash inside starts it, as root, with what the sandbox wrote");
}

Finding probe_io_uring(const Surroundings&) {
  io_uring_params params{};
  const UniqueFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &params)));
  const int error = errno;
  const std::string setting = trimmed(read_file("/proc/sys/kernel/io_uring_disabled"));
  const std::string told = setting.empty() ? "" : "; kernel.io_uring_disabled = " + setting;
  if (!ring) return works("off on this host: " + failed("io_uring_setup", error).why + told);
  if (setting == "1") return works("off for unprivileged processes" + told);
  return missing("io_uring is open on this host" + told +
                 "; only the system call filter keeps sandboxes from it");
}

}  // namespace fnrun::doctor
