#include "isolation/plan.h"

#include <linux/landlock.h>
#include <linux/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>

#include "isolation/child/launch_plan.h"
#include "isolation/leftovers.h"
#include "isolation/root_builder.h"

namespace fnrun::isolation {
namespace {

using policies::Layer;

// Debian 12's headers know ABI 2; each later right with the ABI that brought it.
constexpr std::uint64_t kFsAbi1 = (1ULL << 13) - 1;
constexpr std::uint64_t kFsRefer = 1ULL << 13;     // ABI 2, Linux 5.19
constexpr std::uint64_t kFsTruncate = 1ULL << 14;  // ABI 3, Linux 6.2
constexpr std::uint64_t kFsIoctlDev = 1ULL << 15;  // ABI 5, Linux 6.10
constexpr std::uint64_t kNetTcp = 3;               // ABI 4, Linux 6.7: bind, connect
constexpr std::uint64_t kScopes = 3;               // ABI 6, Linux 6.12: abstract sockets, signals

constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t kReadDir = LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kExecute = LANDLOCK_ACCESS_FS_EXECUTE;
constexpr std::uint64_t kWriteFile = LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t kMakeDevices = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
// Rights that a rule on a file (not a folder) may carry.
constexpr std::uint64_t kFileRights = kExecute | kWriteFile | kReadFile | kFsTruncate | kFsIoctlDev;

// Landlock repeats what the mounts say, by other means: a mount that turned out writable, or an
// exec from /tmp, is still refused. Rights add up along a path, so "/" itself gets reading folders
// only.
void plan_landlock(Plan& plan) {
  const int abi = plan.host.landlock_abi;
  plan.landlock_fs = kFsAbi1;
  if (abi >= 2) plan.landlock_fs |= kFsRefer;
  if (abi >= 3) plan.landlock_fs |= kFsTruncate;
  if (abi >= 5) plan.landlock_fs |= kFsIoctlDev;
  if (abi >= 4) plan.landlock_net = kNetTcp;
  if (abi >= 6) plan.landlock_scoped = kScopes;
  const auto allow = [&](std::string path, std::uint64_t access) {
    plan.landlock_paths.push_back({std::move(path), access & plan.landlock_fs});
  };
  allow("/", kReadDir);
  for (const RootEntry& entry : plan.root) {
    if (entry.kind == RootEntry::Kind::kTmpfs) {
      const bool exec = (entry.flags & MS_NOEXEC) == 0;
      allow("/" + entry.path, plan.landlock_fs & ~kMakeDevices & ~(exec ? 0 : kExecute));
    } else if (entry.kind == RootEntry::Kind::kProc) {
      allow("/" + entry.path, kReadFile | kReadDir);
    } else if (entry.kind == RootEntry::Kind::kMount && entry.path.starts_with("dev/")) {
      allow("/" + entry.path, kReadFile | kWriteFile | kFsTruncate | kFsIoctlDev);
    } else if (entry.kind == RootEntry::Kind::kMount) {
      const bool exec = (entry.attributes & MOUNT_ATTR_NOEXEC) == 0;
      const std::uint64_t access = kReadFile | kReadDir | (exec ? kExecute : 0);
      allow("/" + entry.path, entry.is_directory ? access : access & kFileRights);
    }
  }
}

// Ours to choose, so one that is already lower stays as it is: raising it would take privilege.
std::uint64_t at_most_own(int resource, std::uint64_t value) {
  rlimit own{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &own) != 0) return value;
  return std::min<std::uint64_t>(value, own.rlim_max);
}

// Beside the policy's own, what is the same for every sandbox. CORE is 1, not 0: a piped
// core_pattern ignores 0 and would run the host's core handler; 1 is the kernel's word for "no
// helper".
std::vector<ResourceLimit> plan_limits(const policies::Limits& limits, bool pids_controller) {
  // The controller counts what it refuses, so it must be the first to refuse.
  constexpr std::uint64_t kBehindController = 16;
  return {
      {RLIMIT_NOFILE, limits.open_files_max, "open_files_max"},
      // Counted in the sandbox's own user namespace (KERNEL >= 5.14), where the init is one too.
      {RLIMIT_NPROC,
       pids_controller ? at_most_own(RLIMIT_NPROC, limits.processes_max + 1 + kBehindController)
                       : limits.processes_max + 1,
       pids_controller ? "processes, should pids.max fail" : "processes_max (and the init)"},
      {RLIMIT_FSIZE, limits.file_size_max.bytes, "file_size_max_bytes"},
      {RLIMIT_STACK, limits.stack_max.bytes, "stack_max_bytes"},
      {RLIMIT_CORE, at_most_own(RLIMIT_CORE, 1), "core dumps"},
      {RLIMIT_MEMLOCK, 0, "locked memory"},
      {RLIMIT_MSGQUEUE, 0, "POSIX message queues"},
      {RLIMIT_SIGPENDING, at_most_own(RLIMIT_SIGPENDING, 128), "queued signals"},
      {RLIMIT_NICE, 0, "nice"},
      {RLIMIT_RTPRIO, 0, "real-time priority"},
  };
}

std::vector<std::string> plan_environment(const policies::Environment& environment) {
  std::map<std::string, std::string> all = environment.set;
  for (const auto& [name, why] : environment.pass)
    if (const char* value = ::secure_getenv(name.c_str()); value != nullptr) all[name] = value;
  std::vector<std::string> list;
  for (const auto& [name, value] : all) list.push_back(name + "=" + value);
  return list;
}

Result<void> plan_root(Plan& plan) {
  RootBuilder builder(plan.host);
  builder.add_device_nodes(plan.policy.filesystem);
  builder.add_tmp(plan.policy);
  builder.add_proc();
  auto paths = plan.policy.filesystem.read_only;
  std::sort(paths.begin(), paths.end(),
            [](const auto& a, const auto& b) { return a.target < b.target; });
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (auto added = builder.add_read_only(paths[i], static_cast<std::uint16_t>(i)); !added)
      return added.error();
  }
  const HandlerFile& handler = plan.handler;
  if (auto added = builder.add_executable(handler.path, handler.path, "the handler"); !added)
    return added.error();
  if (!handler.interpreter.empty()) {
    if (auto added = builder.add_executable(handler.interpreter, handler.interpreter,
                                            "the handler's interpreter");
        !added)
      return added.error();
  }
  if (!handler.loader.empty() && !builder.shows(handler.loader, true))
    return SetupError{
        SetupStep::kHandlerNotFound, 0, 0,
        handler.path + " is dynamically linked, and its loader " + handler.loader +
            " is not visible under this policy: link it statically, or use a policy that shows the "
            "libraries, as strict does"};
  if (!builder.shows_folder(plan.policy.working_directory))
    return SetupError{SetupStep::kWorkingDirectory, 0, ENOENT, plan.policy.working_directory};
  plan.root = std::move(builder).take();
  return {};
}

// Layers that a host may lack: required refuses here, preferred is written down with what stands
// in for it.
Result<void> decide_layer(Plan& plan, Layer layer, bool available, const std::string& because,
                          bool& use, const std::string& instead = "",
                          const std::string& help = "") {
  use = available;
  if (available) return {};
  const std::string name = policies::name_of(layer);
  if (!plan.policy.preferred.contains(layer))
    return SetupError{SetupStep::kLayerMissing, 0, 0,
                      "the policy requires '" + name + "': " + because +
                          (help.empty() ? "" : "; to enable it, " + help)};
  plan.degraded[name] = because + instead;
  return {};
}

// Those that the policy set and nothing stands in for.
std::string unenforced_memory(const policies::Limits& limits) {
  std::string text;
  if (limits.memory_high.bytes != 0) text += "; memory_high_bytes is NOT enforced";
  if (limits.memory_swap_max.bytes != 0) text += "; memory_swap_max_bytes is NOT enforced";
  if (!limits.memory_oom_group) text += "; the whole sandbox is killed, not one process";
  return text;
}

// What is lost without the controller, and what stands in.
std::string instead_of(const Plan& plan, Layer controller) {
  const policies::Limits& limits = plan.policy.limits;
  switch (controller) {
    case Layer::kMemory:
      return plan.host.can_sample
                 ? "; instead resident memory is sampled and the sandbox killed beyond "
                   "memory_max_bytes: a burst between two samples, shared memory that nobody has "
                   "mapped just then, and what the kernel holds in buffers of sockets and pipes "
                   "(up to gigabytes) go unseen; files in /tmp count against tmp_max_bytes "
                   "alone" +
                       unenforced_memory(limits)
                 : "; and this kernel does not tell what processes hold (CONFIG_PROC_CHILDREN): "
                   "memory_max_bytes is NOT enforced, nor is any other key of memory";
    case Layer::kPids:
      return "; RLIMIT_NPROC bounds processes_max instead, but refused forks are not counted";
    case Layer::kCpu:
      return std::string("; cpu_max_percent and cpu_weight are NOT enforced") +
             (limits.cpu_time_max.count() != 0 ? ", cpu_time_max_ms is" : "");
    case Layer::kIo:
      return "; the rates of reading and writing are NOT bounded";
    case Layer::kCpuset:
      return "; 'cpus' is NOT enforced: it may run on every CPU";
    case Layer::kCgroup:
    case Layer::kLandlock:
    case Layer::kTimeNamespace:
      break;
  }
  return "";
}

Result<void> decide_controllers(Plan& plan) {
  const CgroupFacts& facts = plan.host.cgroup;
  for (const Layer controller : policies::kControllers) {
    if (!policies::needs_controller(plan.policy.limits, controller)) continue;
    const auto found = facts.missing.find(controller);
    const MissingController missing =
        found != facts.missing.end() ? found->second
                                     : MissingController{facts.no_dir_because, facts.no_dir_help};
    bool use = false;
    if (auto r = decide_layer(plan, controller, facts.has(controller), missing.why, use,
                              instead_of(plan, controller), missing.help);
        !r)
      return r;
    if (use) plan.controllers.insert(controller);
  }
  plan.cgroup_settings = cgroup_settings(plan.policy.limits, facts);
  plan.sample_memory = !plan.controllers.contains(Layer::kMemory) && plan.host.can_sample;
  plan.sample_processes = !plan.controllers.contains(Layer::kPids) && plan.host.can_sample;
  if (!plan.use_cgroup && !plan.host.can_sample && plan.policy.limits.cpu_time_max.count() != 0)
    plan.degraded["cpu_time"] =
        "without a cgroup, and on a kernel that does not tell what processes use, cpu_time_max_ms "
        "is NOT enforced";
  return {};
}

// What the policy wants between two calls, and this host or this supervisor cannot do.
Result<void> decide_reuse(Plan& plan) {
  const policies::Reuse& reuse = plan.policy.reuse;
  if (reuse.freeze_idle && !plan.use_cgroup)
    plan.degraded["freeze_idle"] = "without a cgroup nothing can be frozen: it is NOT done";
  if (reuse.mode != policies::Reuse::Mode::kClean) return {};
  if (!plan.host.can_sample)
    return SetupError{
        SetupStep::kPolicy, 0, 0,
        "reuse.mode is clean, and this kernel does not tell which processes a sandbox "
        "has (CONFIG_PROC_CHILDREN): use never, or always"};
  if (!plan.host.privileged && allows_ipc_objects(plan.policy.seccomp))
    return SetupError{
        SetupStep::kPolicy, 0, 0,
        "reuse.mode is clean, and a rule allows shmget, semget or msgget: what they "
        "make can be counted by a privileged supervisor only; use never or always, or "
        "take the calls away"};
  return {};
}

Result<void> decide_layers(Plan& plan) {
  const Host& host = plan.host;
  bool use_landlock = false;
  if (auto r = decide_layer(plan, Layer::kCgroup, !host.cgroup.dir.empty(),
                            host.cgroup.no_dir_because, plan.use_cgroup,
                            "; CPU time of processes that nobody waits for is not counted",
                            host.cgroup.no_dir_help);
      !r)
    return r.error();
  if (auto r = decide_layer(
          plan, Layer::kLandlock, host.landlock_abi > 0,
          "this kernel has no Landlock, or it is not among its active security modules",
          use_landlock);
      !r)
    return r.error();
  if (auto r = decide_layer(plan, Layer::kTimeNamespace, host.time_namespace,
                            "this kernel has no time namespaces", plan.use_time_namespace);
      !r)
    return r.error();
  if (auto r = decide_controllers(plan); !r) return r;
  if (auto r = decide_reuse(plan); !r) return r;
  if (use_landlock) plan_landlock(plan);
  if (!host.privileged && host.supplementary_groups > 0)
    plan.degraded["supplementary_groups"] =
        "an unprivileged supervisor cannot drop its " + std::to_string(host.supplementary_groups) +
        " supplementary groups; the sandbox keeps them (on files that no mount shows)";
  if (host.core_dumps_piped && at_most_own(RLIMIT_CORE, 1) == 0)
    plan.degraded["core_dumps"] =
        "the supervisor's own hard limit of core dumps is 0, which a piped core_pattern ignores: a "
        "crash inside starts the host's core handler";
  plan.layers = {"user_namespace", "pid_namespace", "mount_namespace", "network_namespace",
                 "ipc_namespace",  "uts_namespace", "cgroup_namespace"};
  if (plan.use_time_namespace) plan.layers.emplace_back("time_namespace");
  if (plan.use_cgroup) plan.layers.emplace_back("cgroup");
  for (const Layer controller : plan.controllers)
    plan.layers.emplace_back(policies::name_of(controller));
  for (const char* name :
       {"private_root", "rlimits", "session_keyring", "no_capabilities", "no_new_privs"})
    plan.layers.emplace_back(name);
  if (use_landlock) plan.layers.emplace_back("landlock");
  plan.layers.emplace_back("seccomp");
  return {};
}

// The filter is loaded before the handler's execve(2), which it must therefore admit, whatever the
// arguments: they are addresses. Without, every launch would end in a kill that explains nothing.
// When that execve fails, exit_group(2) follows at an instant when the init cannot listen yet: a
// filter that could stop it there has no listener.
Result<void> compile_filters(Plan& plan) {
  const policies::Seccomp& profile = plan.policy.seccomp;
  if (!policies::always_allows(profile, "execve"))
    return SetupError{SetupStep::kPolicy, 0, 0,
                      "no rule allows execve, whatever its arguments: no handler could start"};
  const char* unheard = nullptr;
  if (!plan.host.seccomp_listener)
    unheard = "seccomp user notification is not to be had here";
  else if (!policies::always_allows(profile, "exit_group"))
    unheard = "the policy does not allow exit_group whatever its argument";
  if (unheard != nullptr && profile.exec_once)
    return SetupError{SetupStep::kPolicy, 0, 0,
                      std::string("seccomp.exec_once needs somebody who tells the handler's own "
                                  "execve from the next, and ") +
                          unheard};
  plan.forbidden_calls = unheard == nullptr ? KillBy::kListener : KillBy::kKernel;
  if (unheard != nullptr)
    plan.degraded["forbidden_calls"] =
        std::string(unheard) +
        "; a forbidden call kills all the same, but only the kernel's log can name it";
  auto seccomp = compile_seccomp(profile, plan.forbidden_calls);
  if (!seccomp) return seccomp.error();
  plan.seccomp = std::move(*seccomp);
  auto floor = compile_seccomp_floor(profile, plan.forbidden_calls);
  if (!floor) return floor.error();
  plan.seccomp_floor = std::move(*floor);
  auto init_seccomp = compile_init_seccomp(plan.forbidden_calls);
  if (!init_seccomp) return init_seccomp.error();
  plan.init_seccomp = std::move(*init_seccomp);
  return {};
}

}  // namespace

Result<Plan> compile(const policies::Policy& policy, const Host& host, HandlerFile handler) {
  Plan plan;
  plan.policy = policy;
  plan.host = host;
  plan.handler = std::move(handler);
  plan.environment = plan_environment(policy.environment);
  if (plan.handler.argv.size() > child::kArgvMax)
    return SetupError{SetupStep::kCommandTooLong, 0, 0,
                      std::to_string(plan.handler.argv.size()) + " arguments; at most " +
                          std::to_string(child::kArgvMax)};
  if (auto root = plan_root(plan); !root) return root.error();
  if (auto layers = decide_layers(plan); !layers) return layers.error();
  plan.limits = plan_limits(policy.limits, plan.controllers.contains(Layer::kPids));
  if (auto filters = compile_filters(plan); !filters) return filters.error();
  return plan;
}

}  // namespace fnrun::isolation
