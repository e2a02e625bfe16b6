#include "own_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "kernel_files.h"

namespace fnrun::doctor {

std::optional<Finding> enter_user_namespace() {
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) != 0) return failed("unshare(CLONE_NEWUSER)", errno);
  const std::pair<const char*, std::string> files[] = {
      {"/proc/self/setgroups", "deny"},
      {"/proc/self/uid_map", uid + " " + uid + " 1\n"},
      {"/proc/self/gid_map", gid + " " + gid + " 1\n"},
  };
  for (const auto& [path, text] : files)
    if (const int error = write_file(path, text); error != 0)
      return failed("writing '" + text.substr(0, text.find('\n')) + "' to " + path, error);
  return std::nullopt;
}

std::optional<Finding> enter_mount_namespace(int more) {
  if (auto fault = enter_user_namespace()) return fault;
  if (more != 0 && ::unshare(more) != 0) return failed("unshare", errno);
  if (::unshare(CLONE_NEWNS) != 0) return failed("unshare(CLONE_NEWNS)", errno);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return failed("making our mounts private", errno);
  return std::nullopt;
}

// By the same calls, on the same place, as a sandbox's root (isolation/child/setup.cc).
std::optional<Finding> enter_own_root(int more) {
  if (auto fault = enter_mount_namespace(more)) return fault;
  const isolation::UniqueFd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context) return failed("fsopen(tmpfs)", errno);
  if (::fsconfig(context.get(), FSCONFIG_SET_STRING, "size", "1m", 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return failed("fsconfig of a tmpfs", errno);
  const isolation::UniqueFd root(
      ::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (!root) return failed("fsmount(tmpfs)", errno);
  if (::move_mount(root.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return failed("move_mount of a tmpfs over /", errno);
  if (::fchdir(root.get()) != 0) return failed("fchdir to our tmpfs", errno);
  return std::nullopt;
}

int pivot_root_here() {
  return static_cast<int>(::syscall(SYS_pivot_root, ".", "."));
}

}  // namespace fnrun::doctor
