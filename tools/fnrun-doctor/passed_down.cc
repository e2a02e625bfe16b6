#include "passed_down.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "kernel_files.h"
#include "locked_group.h"

namespace fnrun::doctor {
namespace {

std::string aside(const Surroundings& here) {
  return here.cgroup_dir + "/" + here.group_name + "-self";
}

void empty_and_remove(const std::string& leaf, const std::string& dir) {
  if (::access(leaf.c_str(), F_OK) != 0) return;
  const std::string members = read_file(leaf + "/cgroup.procs");
  for (const auto pid : words_of(members)) (void)write_file(dir + "/cgroup.procs", pid);
  ::rmdir(leaf.c_str());
}

// Processes in our own cgroup beside the calling probe and the doctor. One that our PID namespace
// does not show counts.
std::size_t others_in_our_cgroup(const Surroundings& here) {
  std::size_t others = 0;
  const std::string members = read_file(here.cgroup_dir + "/cgroup.procs");
  for (const auto pid : words_of(members))
    if (pid != std::to_string(::getpid()) && pid != std::to_string(here.doctor)) ++others;
  return others;
}

}  // namespace

PassedDown::PassedDown(const Surroundings& here, std::string_view controller) : here_(here) {
  const std::string& dir = here.cgroup_dir;
  if (has_word(read_file(dir + "/cgroup.subtree_control"), controller)) return;
  const std::string would = "it is here; to limit a group would need writing +" +
                            std::string(controller) + " to " + dir + "/cgroup.subtree_control";
  if (::access((dir + "/cgroup.type").c_str(), F_OK) != 0) {
    fault_ = untested(would + ", which is the host's root and is not changed to try");
  } else if (const std::size_t others = others_in_our_cgroup(here); others != 0) {
    fault_ = untested(would + ", and for that " + std::to_string(others) +
                      " other processes would have to leave our cgroup: run it in one of its own "
                      "(systemd-run --scope -p Delegate=yes)");
  } else {
    fault_ = step_aside(controller);
  }
}

PassedDown::~PassedDown() {
  come_back(here_);
}

std::optional<Finding> PassedDown::step_aside(std::string_view controller) {
  const std::string leaf = aside(here_);
  lock_ = make_locked_group(leaf);
  if (!lock_) return failed("making a group in " + here_.cgroup_dir, errno);
  for (const pid_t pid : {here_.doctor, ::getpid()}) {
    const int error = write_file(leaf + "/cgroup.procs", std::to_string(pid));
    if (error != 0) return failed("moving ourselves into a group below our cgroup", error);
  }
  const std::string word = "+" + std::string(controller);
  const std::string control = here_.cgroup_dir + "/cgroup.subtree_control";
  if (const int error = write_file(control, word); error != 0)
    return failed("writing " + word + " to " + control, error);
  return std::nullopt;
}

void come_back(const Surroundings& here) {
  if (here.cgroup_dir.empty() || ::access(aside(here).c_str(), F_OK) != 0) return;
  const std::string control = here.cgroup_dir + "/cgroup.subtree_control";
  const std::string now_passed_down = read_file(control);
  for (const auto controller : words_of(now_passed_down))
    if (!has_word(here.passed_down, controller))
      (void)write_file(control, "-" + std::string(controller));
  empty_and_remove(aside(here), here.cgroup_dir);
}

}  // namespace fnrun::doctor
