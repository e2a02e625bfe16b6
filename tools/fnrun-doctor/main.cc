// fnrun-doctor: can this host hold this policy? Each layer is tried by doing it.
//
// Wires the parts together: policy, surroundings, the table of probes, the runner, the report.
// One thread; every probe is a process of its own.
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include "cgroup_probes.h"
#include "isolation/handler_file.h"
#include "kernel_files.h"
#include "launch_probe.h"
#include "options.h"
#include "passed_down.h"
#include "policies/policy_json.h"
#include "probe_runner.h"
#include "probe_table.h"
#include "report.h"
#include "tools/fnrun-supervise/policy_search.h"

namespace fnrun::doctor {
namespace {

// A program started with a closed stdin, stdout or stderr would give that number to the next thing
// it opens.
void fill_closed_stdio() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0) (void)!::open("/dev/null", O_RDWR);
}

bool use_colour() {
  const char* no_color = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): one thread
  return (no_color == nullptr || *no_color == '\0') && ::isatty(STDOUT_FILENO) == 1;
}

// The pid is for people; another PID namespace may have the same one.
std::string new_group_name() {
  std::uint32_t random = 0;
  (void)!::getrandom(&random, sizeof random, 0);
  char text[9];
  std::snprintf(text, sizeof text, "%08x", random);
  return "fnrun-doctor-" + std::to_string(::getpid()) + "-" + text;
}

Surroundings look_around() {
  Surroundings here;
  here.doctor = ::getpid();
  here.mountinfo = read_file("/proc/self/mountinfo");
  here.own_cgroups = read_file("/proc/self/cgroup");
  here.controllers = read_file("/proc/cgroups");
  here.cgroup_dir = isolation::find_cgroup_dir(here.mountinfo, here.own_cgroups);
  here.group_name = new_group_name();
  if (!here.cgroup_dir.empty())
    here.passed_down = read_file(here.cgroup_dir + "/cgroup.subtree_control");
  auto host = isolation::probe_host();
  if (host)
    here.host = std::move(*host);
  else
    here.no_host_because = host.error().to_string();
  return here;
}

// Controllers that our cgroup does not pass down yet have rows of their own; for the launch to
// enable them would move processes and change the host for longer than the doctor lives.
void leave_out_controllers(isolation::CgroupFacts& cgroup, policies::Policy& policy) {
  const std::string passed_down = read_file(cgroup.dir + "/cgroup.subtree_control");
  for (const policies::Layer controller : policies::kControllers) {
    if (has_word(passed_down, policies::name_of(controller))) continue;
    cgroup.missing.try_emplace(controller, isolation::MissingController{"left out", ""});
    policy.preferred.try_emplace(controller, "its row tells whether it is here");
  }
  cgroup.move_processes = false;
}

void make_plan(Surroundings& here, policies::Policy policy) {
  here.no_plan_because = here.no_host_because;
  if (!here.no_plan_because.empty()) return;
  leave_out_controllers(here.host.cgroup, policy);
  auto handler = isolation::find_handler({launched_program()}, policy, "", here.host);
  if (!handler) {
    here.no_plan_because = handler.error().to_string();
    return;
  }
  auto plan = isolation::compile(policy, here.host, std::move(*handler));
  if (plan) {
    here.plan = std::move(*plan);
  } else {
    here.no_plan_because = plan.error().to_string();
    here.policy_is_bad = plan.error().step == isolation::SetupStep::kPolicy;
  }
}

Finding find(const Probe& probe, const Surroundings& here, const std::vector<Row>& before) {
  if (probe.look) {
    if (auto seen = probe.look(here)) return *seen;
  }
  if (auto told = finding_without_running(probe, before)) return *told;
  Finding finding = run_probe([&] { return probe.run(here); });
  clean_up(here);  // There is something to do only if the probe was killed.
  return finding;
}

int examine(const Options& options) {
  const auto policy = policies::load_policy(options.policy, tools::policy_search_path());
  if (!policy) {
    std::cerr << "fnrun-doctor: " << policy.error().to_string() << '\n';
    return kExitBadPolicy;
  }
  const StopSignals signals;
  Surroundings here = look_around();
  make_plan(here, *policy);
  Report report;
  report.policy = options.policy;
  report.host = "Linux " + trimmed(read_file("/proc/sys/kernel/osrelease"));
  const auto demands = demands_of(*policy, probe_table());
  for (std::size_t i = 0; i < probe_table().size(); ++i) {
    if (const int signal = signals.received(); signal != 0) return 128 + signal;
    const Probe& probe = probe_table()[i];
    report.rows.push_back({&probe, find(probe, here, report.rows), demands[i]});
  }
  report.assessment = assess(report.rows);
  // Compiling can also fail for what the host lacks; then another row says so, and that is the
  // news.
  if (here.policy_is_bad && report.assessment.stopped_by.size() == 1) {
    std::cerr << "fnrun-doctor: " << options.policy << ": " << here.no_plan_because << '\n';
    return kExitBadPolicy;
  }
  std::cout << (options.json ? to_json(report) : to_table(report, use_colour())) << std::flush;
  return report.assessment.holds ? 0 : kExitCannotHold;
}

}  // namespace
}  // namespace fnrun::doctor

int main(int argc, char** argv) {
  fnrun::doctor::fill_closed_stdio();
  try {
    const auto parsed = fnrun::doctor::parse_command_line(argc, argv);
    if (const int* code = std::get_if<int>(&parsed)) return *code;
    return fnrun::doctor::examine(std::get<fnrun::doctor::Options>(parsed));
  } catch (const std::exception& failure) {
    std::cerr << "fnrun-doctor: out of resources: " << failure.what() << '\n';
    return fnrun::doctor::kExitCannotHold;
  }
}
