// A supervisor that is there to be killed: launches sandboxes without end, a few at a time.
//
// usage: crash_supervisor MARKER LOCK_FILE [CALL_NUMBER [go]]
// The handlers carry MARKER in their command lines; they fork, detach and stay. With CALL_NUMBER,
// the supervisor kills itself with SIGKILL as soon as anything of a launch makes that system call;
// with "go" the call is let through at the same time.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <future>
#include <thread>

#include "tests/support/sandbox_fixture.h"
#include "tests/support/thread_filter.h"

namespace {

namespace isolation = fnrun::isolation;
namespace policies = fnrun::policies;
namespace test = fnrun::test;

[[noreturn]] void give_up(const isolation::SetupError& error) {
  std::fprintf(stderr, "%s\n", error.to_string().c_str());
  std::exit(1);
}

// `watched`: there will be a listener above, and then a sandbox cannot have one.
isolation::Plan plan_for(const std::string& marker, bool watched) {
  const policies::Policy policy = test::shipped_policy("compat");  // setsid() is allowed.
  auto host = isolation::probe_host();
  if (!host) give_up(host.error());
  if (watched) host->seccomp_listener = false;
  const auto handler =
      isolation::find_handler({test::handlers_dir() + "/actor", "flee", marker}, policy, "", *host);
  if (!handler) give_up(handler.error());
  auto plan = isolation::compile(policy, *host, *handler);
  if (!plan) give_up(plan.error());
  return std::move(*plan);
}

[[noreturn]] void launch_for_ever(const isolation::Plan& plan, const std::string& lock_file) {
  auto launcher = isolation::Launcher::make(plan.host, {.uid_lock_file = lock_file});
  if (!launcher) give_up(launcher.error());
  (void)!::write(1, "r", 1);  // Ready: the killer's clock starts.
  std::deque<isolation::Sandbox> alive;
  for (;;) {
    test::Pipes pipes;
    auto sandbox = launcher->launch(plan, std::move(pipes.theirs));
    if (!sandbox) give_up(sandbox.error());
    alive.push_back(std::move(*sandbox));
    if (alive.size() > 3) alive.pop_front();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  // Probing and compiling load filters of their own, or ask about them: that is before any launch.
  const isolation::Plan plan = plan_for(argv[1], argc > 3);
  if (argc > 3) {
    // The filter is this thread's and its children's; another, which is older, waits for the call
    // and kills us all.
    std::promise<int> listener;
    std::thread([coming = listener.get_future(), let_go = argc > 4]() mutable {
      if (test::held_process(coming.get(), let_go) > 0) ::kill(::getpid(), SIGKILL);
    }).detach();
    listener.set_value(test::hold_calls({.number = std::atol(argv[3])}).release());
  }
  launch_for_ever(plan, argv[2]);
}
