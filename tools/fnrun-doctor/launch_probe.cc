#include "launch_probe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "isolation/launcher.h"
#include "kernel_files.h"

namespace fnrun::doctor {
namespace {

constexpr int kEndBoundMs = 10'000;

isolation::UniqueFd open_null() {
  return isolation::UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
}

}  // namespace

std::string launched_program() {
  const std::filesystem::path program = read_link("/proc/self/exe");
  return program.parent_path().parent_path() / "libexec/fnrun/nothing";
}

Finding probe_launch(const Surroundings& here) {
  if (!here.plan) return missing(here.no_plan_because);
  auto launcher = isolation::Launcher::make(here.host);
  if (!launcher) return missing(launcher.error().to_string());
  auto sandbox = launcher->launch(*here.plan, {open_null(), open_null(), open_null()});
  if (!sandbox) return missing(sandbox.error().to_string());
  pollfd ended{sandbox->pidfd(), POLLIN, 0};
  if (::poll(&ended, 1, kEndBoundMs) != 1)
    return missing("a program that does nothing was launched and did not end");
  const auto exit = sandbox->reap();
  if (!exit) return missing(exit.error().to_string());
  if (!exit->wait_status) return missing("a program that does nothing was killed from outside");
  if (!WIFEXITED(*exit->wait_status) || WEXITSTATUS(*exit->wait_status) != 0)
    return missing("a program that does nothing was killed, by signal " +
                   std::to_string(WTERMSIG(*exit->wait_status)) +
                   ", or did not end well: does the policy allow exit_group?");
  const bool left_out = here.plan->controllers.empty();
  return works("ran a program in " + std::to_string(here.plan->layers.size()) + " layers" +
               (left_out ? "; limits by controllers have rows of their own" : ""));
}

}  // namespace fnrun::doctor
