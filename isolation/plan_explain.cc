// Plan::explain(): the compiled plan in words, from the plan itself, never from the policy: what is
// printed is what will be done.
#include <linux/mount.h>

#include "isolation/plan.h"
#include "policies/seccomp_floor.h"

namespace fnrun::isolation {
namespace {

std::string action_text(const policies::SyscallAction& action) {
  switch (action.kind) {
    case policies::SyscallAction::Kind::kAllow:
      return "allowed";
    case policies::SyscallAction::Kind::kErrno:
      return std::string("refused with ") + ::strerrorname_np(action.os_errno);
    case policies::SyscallAction::Kind::kKillProcess:
      break;
  }
  return "kill the process";
}

std::string rule_line(const char* indent, const policies::SyscallRule& rule) {
  return indent + rule.name + ": " + std::to_string(rule.calls.size()) +
         (rule.calls.size() == 1 ? " call " : " calls ") + action_text(rule.action) +
         (rule.when.empty() ? "" : " for some arguments") + "  # " + rule.why + "\n";
}

// Each name once: a bound on an argument is several rules of one name.
std::string floor_lines(const policies::Seccomp& profile) {
  std::string text;
  std::string last;
  for (const auto& rule : policies::floor_rules(profile)) {
    if (rule.name != last)
      text += rule.when.empty()
                  ? rule_line("    ", rule)
                  : "    " + rule.name + ": " + std::to_string(rule.calls.size()) +
                        " left to the default for some arguments  # " + rule.why + "\n";
    last = rule.name;
  }
  return text;
}

std::string mount_flags(const RootEntry& entry) {
  std::string text = (entry.attributes & MOUNT_ATTR_RDONLY) ? "read-only" : "writable";
  if (entry.attributes & MOUNT_ATTR_NOSUID) text += ", nosuid";
  if (entry.attributes & MOUNT_ATTR_NODEV) text += ", nodev";
  if (entry.attributes & MOUNT_ATTR_NOEXEC) text += ", noexec";
  return text;
}

std::string reuse_text(const policies::Reuse& reuse) {
  using Mode = policies::Reuse::Mode;
  if (reuse.mode == Mode::kNever) return "one call";
  std::string text = reuse.mode == Mode::kClean
                         ? "calls until one fails or leaves something behind"
                         : "calls until one fails, whatever they leave behind";
  if (reuse.calls_max != 0) text += ", " + std::to_string(reuse.calls_max) + " at most";
  if (reuse.age_max.count() != 0)
    text += ", none after " + std::to_string(reuse.age_max.count()) + " ms";
  return text;
}

std::string root_line(const RootEntry& entry) {
  const std::string path = "  /" + entry.path;
  const std::string why = entry.why.empty() ? "" : "  # " + entry.why;
  switch (entry.kind) {
    case RootEntry::Kind::kMount:
      return path + (entry.source == "/" + entry.path ? "" : " from " + entry.source) + " (" +
             mount_flags(entry) + ")" + why + "\n";
    case RootEntry::Kind::kSymlink:
      return path + " -> " + entry.source + why + "\n";
    case RootEntry::Kind::kTmpfs:
      return path + " in memory, writable (" + entry.source + ", nosuid, nodev" +
             ((entry.flags & MS_NOEXEC) ? ", noexec)" : ", may execute)") + why + "\n";
    case RootEntry::Kind::kProc:
      return path + " (" + entry.source + ", read-only): the sandbox's own processes only\n";
    case RootEntry::Kind::kDirectory:
    case RootEntry::Kind::kFile:
      break;
  }
  return "";
}

}  // namespace

std::string Plan::explain() const {
  std::string text = "handler: " + handler.path;
  if (!handler.interpreter.empty()) text += " (run by " + handler.interpreter + ")";
  text += "\npolicy: " + policy.description + "\n";
  text += "layers in force:";
  for (const std::string& layer : layers) text += " " + layer;
  text += "\n";
  for (const auto& [layer, why] : degraded) text += "DEGRADED " + layer + ": " + why + "\n";

  text += "identity: uid " + std::to_string(policy.identity.uid) + " inside; on the host ";
  text += host.privileged
              ? "an unprivileged uid of its own from " + std::to_string(host.slot_uids->first) +
                    " to " + std::to_string(host.slot_uids->first + host.slot_uids->count - 1)
              : "your own uid " + std::to_string(host.uid);
  text += "; hostname " + policy.identity.hostname + "; no capability, no_new_privs\n";

  text += "file system: an empty read-only root in memory, with\n";
  for (const RootEntry& entry : root) text += root_line(entry);
  text += "network: a namespace of its own without any interface that is up\n";
  text += "limits:\n";
  for (const ResourceLimit& limit : limits)
    text += "  " + limit.name + ": " + std::to_string(limit.value) + "\n";
  for (const CgroupSetting& setting : cgroup_settings)
    text += "  " + setting.file + ": " + setting.value + " (cgroup)\n";
  if (sample_memory)
    text += "  resident memory, sampled: " + std::to_string(policy.limits.memory_max.bytes) + "\n";
  if (policy.limits.cpu_time_max.count() != 0 && (use_cgroup || host.can_sample))
    text += "  CPU time of a call: " + std::to_string(policy.limits.cpu_time_max.count()) + " ms\n";
  text += "a sandbox serves " + reuse_text(policy.reuse) +
          (policy.reuse.freeze_idle && use_cgroup ? "; frozen in between\n" : "\n");
  if (policy.warning.before.count() != 0)
    text += "warning: signal " + std::to_string(policy.warning.signal) + " to the handler " +
            std::to_string(policy.warning.before.count()) + " ms before its deadline\n";
  text += "environment:";
  for (const std::string& variable : environment) text += " " + variable;
  text += "\nworking directory: " + policy.working_directory + "\n";

  text += "system calls (" + std::to_string(seccomp.size()) + " BPF instructions): by default " +
          action_text(policy.seccomp.default_action) + "; foreign architectures kill the process\n";
  text += "  with a floor (" + std::to_string(seccomp_floor.size()) +
          " BPF instructions) that no rule can open:\n" + floor_lines(policy.seccomp);
  text += policy.seccomp.write_execute.empty()
              ? "  no call makes memory writable and executable at once\n"
              : "  memory may be writable and executable at once  # " +
                    policy.seccomp.write_execute + "\n";
  if (policy.seccomp.exec_once)
    text += "  execve succeeds once, for the handler itself; then it is refused with EPERM\n";
  if (forbidden_calls == KillBy::kListener)
    text += "  what kills is reported with name and arguments (seccomp user notification)\n";
  for (const auto& rule : policy.seccomp.rules) text += rule_line("  ", rule);
  return text;
}

}  // namespace fnrun::isolation
