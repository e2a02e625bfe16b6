#include "cgroup_probes.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "controller_limits.h"
#include "isolation/unique_fd.h"
#include "kernel_files.h"
#include "locked_group.h"
#include "passed_down.h"
#include "probe_runner.h"

namespace fnrun::doctor {
namespace {

using isolation::UniqueFd;

constexpr int kEventBoundMs = 10'000;

std::string path_of_group(const Surroundings& here) {
  return here.cgroup_dir + "/" + here.group_name;
}

// The kernel wakes who polls cgroup.events for POLLPRI when a value in it changes.
bool becomes(const std::string& events_file, std::string_view line) {
  const UniqueFd file(::open(events_file.c_str(), O_RDONLY | O_CLOEXEC));
  while (file) {
    std::array<char, 512> text{};
    const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
    if (size < 0) return false;
    for (const auto found : lines_of(std::string_view(text.data(), static_cast<std::size_t>(size))))
      if (found == line) return true;
    pollfd changed{file.get(), POLLPRI, 0};
    if (::poll(&changed, 1, kEventBoundMs) != 1) return false;
  }
  return false;
}

// With whatever is in it.
void remove_group(const Surroundings& here) {
  const std::string dir = path_of_group(here);
  if (here.cgroup_dir.empty() || ::access(dir.c_str(), F_OK) != 0) return;
  (void)write_file(dir + "/cgroup.kill", "1");
  if (becomes(dir + "/cgroup.events", "populated 0")) ::rmdir(dir.c_str());
}

// A group below our own cgroup, for one probe. Its members are helpers of the probe.
class Group {
 public:
  explicit Group(const Surroundings& here) : here_(here), dir_(path_of_group(here)) {
    lock_ = make_locked_group(dir_);
    if (!lock_) os_errno_ = errno;
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() {
    if (os_errno_ == 0) remove_group(here_);
  }

  [[nodiscard]] std::optional<Finding> fault() const {
    if (os_errno_ == 0) return std::nullopt;
    return failed("making a group in " + here_.cgroup_dir, os_errno_);
  }
  [[nodiscard]] std::string file(std::string_view name) const {
    return dir_ + "/" + std::string(name);
  }
  [[nodiscard]] const std::string& dir() const { return dir_; }

 private:
  const Surroundings& here_;
  std::string dir_;
  UniqueFd lock_;
  int os_errno_ = 0;
};

// A helper that does nothing until the probe lets go of it, or is gone.
class Member {
 public:
  Member() {
    std::array<int, 2> pair{};
    if (::pipe2(pair.data(), O_CLOEXEC) != 0) return;
    const UniqueFd read_end(pair[0]);
    hold_ = UniqueFd(pair[1]);
    pid_ = start_helper([&] {
      hold_.reset();
      char end;
      return ::read(read_end.get(), &end, 1) == 0 ? 0 : errno;
    });
  }
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  ~Member() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);  // Ours, and not reaped: the number is still its own.
    (void)wait_for_helper(pid_);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool is_killed_within_bound() {
    const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    pollfd ended{pidfd.get(), POLLIN, 0};
    if (!pidfd || ::poll(&ended, 1, kEventBoundMs) != 1) return false;
    const int status = wait_for_helper(pid_);
    pid_ = -1;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

 private:
  UniqueFd hold_;
  pid_t pid_ = -1;
};

std::optional<Finding> put_into(const Group& group, const Member& member) {
  if (auto fault = group.fault()) return fault;
  if (member.pid() < 0) return failed("fork", errno);
  const int error = write_file(group.file("cgroup.procs"), std::to_string(member.pid()));
  if (error != 0) return failed("moving a child of ours into a group below our cgroup", error);
  return std::nullopt;
}

}  // namespace

Finding probe_cgroup_mount(const Surroundings& here) {
  if (here.cgroup_dir.empty())
    return missing("/proc/self/mountinfo shows no cgroup v2 hierarchy that holds our own cgroup");
  struct statfs info {};
  if (::statfs(here.cgroup_dir.c_str(), &info) != 0)
    return failed("statfs of " + here.cgroup_dir, errno);
  if (info.f_type != CGROUP2_SUPER_MAGIC)
    return missing(here.cgroup_dir + " is covered by something that is no cgroup v2");
  const std::string own = std::to_string(::getpid());
  if (!has_word(read_file(here.cgroup_dir + "/cgroup.procs"), own))
    return missing(here.cgroup_dir + "/cgroup.procs does not list us");
  return works("our own cgroup is " + here.cgroup_dir);
}

Finding probe_cgroup_delegation(const Surroundings& here) {
  const Group group(here);
  const Member member;
  if (auto fault = put_into(group, member)) return *fault;
  return works("made a group in " + here.cgroup_dir + " and moved a child into it");
}

Finding probe_cgroup_kill(const Surroundings& here) {
  const Group group(here);
  Member member;
  if (auto fault = put_into(group, member)) return *fault;
  if (const int error = write_file(group.file("cgroup.kill"), "1"); error != 0)
    return failed("writing 1 to cgroup.kill", error);
  if (!member.is_killed_within_bound())
    return missing("cgroup.kill took our word and a member lives");
  return works("one write killed the member of a group");
}

Finding probe_cgroup_freeze(const Surroundings& here) {
  const Group group(here);
  const Member member;
  if (auto fault = put_into(group, member)) return *fault;
  if (const int error = write_file(group.file("cgroup.freeze"), "1"); error != 0)
    return failed("writing 1 to cgroup.freeze", error);
  if (!becomes(group.file("cgroup.events"), "frozen 1"))
    return missing("cgroup.events never said that the group is frozen");
  if (const int error = write_file(group.file("cgroup.freeze"), "0"); error != 0)
    return failed("writing 0 to cgroup.freeze", error);
  if (!becomes(group.file("cgroup.events"), "frozen 0"))
    return missing("cgroup.events never said that the group is thawed");
  return works("froze and thawed a group");
}

Finding probe_clone_into_cgroup(const Surroundings& here) {
  const Group group(here);
  if (auto fault = group.fault()) return *fault;
  const UniqueFd dir(::open(group.dir().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return failed("opening the group", errno);
  clone_args args{};
  args.flags = CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.cgroup = static_cast<__u64>(dir.get());
  const long child = ::syscall(SYS_clone3, &args, sizeof args);
  if (child < 0) return failed("clone3(CLONE_INTO_CGROUP)", errno);
  // SAFETY: like fork; libc's idea of our pid is not used in the child.
  if (child == 0) {
    const std::string cgroups = read_file("/proc/self/cgroup");
    for (const auto line : lines_of(cgroups))
      if (line.starts_with("0::") && line.ends_with("/" + here.group_name)) ::_exit(0);
    ::_exit(1);
  }
  const int status = wait_for_helper(static_cast<pid_t>(child));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return missing("clone3(CLONE_INTO_CGROUP) made a child that is not in the group");
  return works("a child began its life in a group");
}

std::optional<Finding> look_for_controller(const Surroundings& here, std::string_view controller) {
  if (!here.cgroup_dir.empty() &&
      has_word(read_file(here.cgroup_dir + "/cgroup.controllers"), controller))
    return std::nullopt;
  const std::string top = read_file(isolation::cgroup_mount_of(here.mountinfo, here.cgroup_dir) +
                                    "/cgroup.controllers");
  return missing(
      isolation::why_controller_missing(
          controller, {here.mountinfo, here.own_cgroups, here.controllers, top, here.cgroup_dir})
          .why);
}

Finding probe_controller(const Surroundings& here, std::string_view controller) {
  const PassedDown passed(here, controller);
  if (passed.fault()) return *passed.fault();
  const Group group(here);
  if (auto fault = group.fault()) return *fault;
  std::optional<Finding> last;
  for (const LimitTrial& trial : limits_to_try(controller, here.cgroup_dir)) {
    if (const int error = write_file(group.file(trial.file), trial.text); error != 0) {
      last = failed("writing '" + trial.text + "' to " + trial.file, error);
      continue;
    }
    const std::string read_back = trimmed(read_file(group.file(trial.file)));
    if (read_back.find(trial.text) != std::string::npos)
      return works("a group took the limit " + trial.file + " = " + read_back);
    last = missing(trial.file + " took '" + trial.text + "' and says '" + read_back + "'");
  }
  return last ? *last : untested("there is nothing here that it could limit");
}

void clean_up(const Surroundings& here) {
  remove_group(here);
  come_back(here);
}

}  // namespace fnrun::doctor
