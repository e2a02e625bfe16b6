#include "isolation/seccomp_filter.h"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <map>
#include <memory>
#include <string>

#include "isolation/unique_fd.h"
#include "policies/seccomp_floor.h"

namespace fnrun::isolation {
namespace {

using policies::ArgCondition;
using policies::SyscallAction;
using policies::SyscallRule;

struct ReleaseContext {
  void operator()(void* context) const noexcept { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, ReleaseContext>;

SetupError policy_error(std::string subject, int os_errno = 0) {
  return {SetupStep::kPolicy, 0, os_errno, std::move(subject)};
}

std::uint32_t kernel_action(const SyscallAction& action, KillBy kill_by) {
  switch (action.kind) {
    case SyscallAction::Kind::kAllow:
      return SCMP_ACT_ALLOW;
    case SyscallAction::Kind::kErrno:
      return SCMP_ACT_ERRNO(static_cast<unsigned>(action.os_errno) & 0xffffU);
    case SyscallAction::Kind::kKillProcess:
      break;
  }
  return kill_by == KillBy::kListener ? SCMP_ACT_NOTIFY : SCMP_ACT_KILL_PROCESS;
}

scmp_compare kernel_op(ArgCondition::Op op) {
  switch (op) {
    case ArgCondition::Op::kNotEqual:
      return SCMP_CMP_NE;
    case ArgCondition::Op::kLess:
      return SCMP_CMP_LT;
    case ArgCondition::Op::kLessEqual:
      return SCMP_CMP_LE;
    case ArgCondition::Op::kGreater:
      return SCMP_CMP_GT;
    case ArgCondition::Op::kGreaterEqual:
      return SCMP_CMP_GE;
    case ArgCondition::Op::kMaskedEqual:
      return SCMP_CMP_MASKED_EQ;
    case ArgCondition::Op::kEqual:
    case ArgCondition::Op::kIn:  // One rule a value; see expand().
      break;
  }
  return SCMP_CMP_EQ;
}

// A rule's conditions as libseccomp takes them: `in` becomes one list for each of its values.
std::vector<std::vector<scmp_arg_cmp>> expand(const std::vector<ArgCondition>& when) {
  std::vector<std::vector<scmp_arg_cmp>> lists{{}};
  for (const ArgCondition& condition : when) {
    std::vector<std::vector<scmp_arg_cmp>> longer;
    for (const auto& list : lists) {
      for (const std::uint64_t value : condition.values) {
        const bool masked = condition.op == ArgCondition::Op::kMaskedEqual;
        auto with = list;
        with.push_back({condition.arg, kernel_op(condition.op), masked ? condition.mask : value,
                        masked ? value : 0});
        longer.push_back(std::move(with));
      }
    }
    lists = std::move(longer);
  }
  return lists;
}

// How a call was ruled so far: libseccomp keeps only one of two actions, and an unconditional rule
// swallows a conditional one, both without a word.
struct Ruling {
  std::uint32_t action;
  bool conditional;
  std::string rule;
};

Result<int> number_of(const std::string& call, const SyscallRule& rule) {
  const int number = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, call.c_str());
  if (number < 0)
    return policy_error("rule '" + rule.name + "': x86_64 has no system call '" + call + "'");
  return number;
}

// What compile_rules() is told beside the rules.
struct Verdicts {
  std::uint32_t by_default;
  KillBy kill_by = KillBy::kKernel;
  // The floor's beside a listener: whatever it refuses is left to the other filter.
  bool refusals_notify = false;
  bool exec_notifies = false;

  [[nodiscard]] std::uint32_t of(const SyscallRule& rule, std::string_view call) const {
    const bool allows = rule.action.kind == SyscallAction::Kind::kAllow;
    if ((refusals_notify && !allows) || (exec_notifies && allows && call == "execve"))
      return SCMP_ACT_NOTIFY;
    return kernel_action(rule.action, kill_by);
  }
};

Result<void> add_rule(scmp_filter_ctx context, const SyscallRule& rule, const Verdicts& verdicts,
                      std::map<int, Ruling>& rulings) {
  for (const std::string& call : rule.calls) {
    const std::uint32_t action = verdicts.of(rule, call);
    const auto number = number_of(call, rule);
    if (!number) return number.error();
    const auto [at, fresh] =
        rulings.try_emplace(*number, Ruling{action, !rule.when.empty(), rule.name});
    const Ruling& earlier = at->second;
    if (!fresh && (earlier.action != action || !earlier.conditional || rule.when.empty()))
      return policy_error("rules '" + earlier.rule + "' and '" + rule.name +
                          "' contradict each other on '" + call + "'");
    if (action == verdicts.by_default)
      continue;  // libseccomp refuses (EACCES) what changes nothing.
    for (const auto& list : expand(rule.when)) {
      const int r = ::seccomp_rule_add_exact_array(context, action, *number,
                                                   static_cast<unsigned>(list.size()), list.data());
      if (r < 0) return policy_error("rule '" + rule.name + "', call '" + call + "'", -r);
    }
  }
  return {};
}

// libseccomp 2.5.4 exports to a descriptor only.
Result<BpfProgram> export_program(scmp_filter_ctx context) {
  const UniqueFd memory(::memfd_create("fnrun-bpf", MFD_CLOEXEC));
  if (!memory) return policy_error("memfd for the filter", errno);
  if (const int r = ::seccomp_export_bpf(context, memory.get()); r < 0)
    return policy_error("exporting the filter", -r);
  struct stat info {};
  if (::fstat(memory.get(), &info) != 0) return policy_error("filter size", errno);
  BpfProgram program(static_cast<std::size_t>(info.st_size) / sizeof(sock_filter));
  const auto size = program.size() * sizeof(sock_filter);
  if (program.empty() || program.size() > BPF_MAXINSNS)
    return policy_error("the filter has " + std::to_string(program.size()) +
                        " instructions, the kernel takes 1 to 4096");
  if (::pread(memory.get(), program.data(), size, 0) != static_cast<ssize_t>(size))
    return policy_error("reading the filter", errno);
  return program;
}

Result<BpfProgram> compile_rules(const std::vector<SyscallRule>& rules, const Verdicts& verdicts) {
  const Context context(::seccomp_init(verdicts.by_default));
  if (!context) return policy_error("seccomp_init", ENOMEM);
  // libseccomp's default for a foreign architecture kills one thread and leaves the rest hanging.
  int r = ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (r == 0) r = ::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // Binary tree.
  if (r < 0) return policy_error("seccomp attributes", -r);
  std::map<int, Ruling> rulings;
  for (const SyscallRule& rule : rules) {
    if (auto added = add_rule(context.get(), rule, verdicts, rulings); !added) return added.error();
  }
  return export_program(context.get());
}

Result<void> check_profile(const policies::Seccomp& profile, KillBy kill_by) {
  if (profile.default_action.kind == SyscallAction::Kind::kAllow)
    return policy_error("the default action must not be allow");
  if (profile.exec_once && kill_by == KillBy::kKernel)
    return policy_error(
        "exec_once needs a listener, who lets the handler's own execve pass and no other");
  for (const SyscallRule& rule : profile.rules)
    for (const std::string& call : rule.calls) {
      if (const auto number = number_of(call, rule); !number) return number.error();
      if (const auto fault = policies::floor_fault(profile, rule, call); !fault.empty())
        return policy_error("rule '" + rule.name + "': " + fault);
    }
  return {};
}

}  // namespace

Result<BpfProgram> compile_seccomp(const policies::Seccomp& profile, KillBy kill_by) {
  if (auto checked = check_profile(profile, kill_by); !checked) return checked.error();
  return compile_rules(policies::with_floor(profile).rules,
                       {.by_default = kernel_action(profile.default_action, kill_by),
                        .kill_by = kill_by,
                        .refusals_notify = false,
                        .exec_notifies = profile.exec_once});
}

Result<BpfProgram> compile_seccomp_floor(const policies::Seccomp& profile, KillBy kill_by) {
  return compile_rules(policies::floor_rules(profile),
                       {.by_default = SCMP_ACT_ALLOW,
                        .kill_by = KillBy::kKernel,
                        .refusals_notify = kill_by == KillBy::kListener,
                        .exec_notifies = false});
}

policies::CallName look_up_call(std::string_view name) {
  const int number =
      ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, std::string(name).c_str());
  if (number >= 0) return policies::CallName::kHere;
  return number == __NR_SCMP_ERROR ? policies::CallName::kUnknown : policies::CallName::kElsewhere;
}

Result<BpfProgram> compile_init_seccomp(KillBy kill_by) {
  std::vector<SyscallRule> rules{
      {.name = "init",
       .action = {SyscallAction::Kind::kAllow, 0},
       .calls = {"exit_group", "ppoll", "read", "restart_syscall", "sendto", "wait4"},
       .when = {},
       .why = "watch the lifeline, reap, report, leave"}};
  if (kill_by == KillBy::kListener) {
    const auto only = [](std::uint32_t arg, std::vector<std::uint64_t> values) {
      return std::vector{ArgCondition{
          .arg = arg, .op = ArgCondition::Op::kIn, .mask = 0, .values = std::move(values)}};
    };
    const SyscallAction allow{SyscallAction::Kind::kAllow, 0};
    const char* why = "hear of forbidden calls and kill who makes them";
    rules.push_back({"listen",
                     allow,
                     {"ioctl"},
                     only(1, {SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND}),
                     why});
    rules.push_back({"kill", allow, {"tkill"}, only(1, {SIGKILL}), why});
    rules.push_back({"kill-in", allow, {"tgkill"}, only(2, {SIGKILL}), why});
  }
  return compile_rules(rules, {.by_default = SCMP_ACT_KILL_PROCESS});
}

}  // namespace fnrun::isolation
