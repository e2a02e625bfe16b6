#include "seccomp_model.h"

#include <linux/seccomp.h>
#include <seccomp.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "tests/support/bpf_interpreter.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::test {
namespace {

using isolation::KillBy;
using policies::ArgCondition;
using policies::SyscallAction;
using policies::SyscallRule;

std::uint32_t run(const isolation::BpfProgram& program, int number, const Args& args,
                  std::uint32_t arch) {
  seccomp_data data{};
  data.nr = number;
  data.arch = arch;
  for (std::size_t i = 0; i < args.size(); ++i) data.args[i] = args[i];
  // 0 would be KILL_THREAD: no verdict of ours.
  return run_filter(program, data).value_or(SECCOMP_RET_KILL_THREAD);
}

// The kernel's order: as signed numbers, KILL_PROCESS being the least; of equal ones the filter
// that was loaded last has the word.
std::uint32_t strictest(std::uint32_t last, std::uint32_t first) {
  const auto rank = [](std::uint32_t verdict) {
    return static_cast<std::int32_t>(verdict & SECCOMP_RET_ACTION_FULL);
  };
  return rank(first) < rank(last) ? first : last;
}

}  // namespace

const std::set<std::string> kTripwires{"_sysctl",
                                       "acct",
                                       "adjtimex",
                                       "bpf",
                                       "chroot",
                                       "clock_adjtime",
                                       "clock_settime",
                                       "create_module",
                                       "delete_module",
                                       "fanotify_init",
                                       "finit_module",
                                       "fsconfig",
                                       "fsmount",
                                       "fsopen",
                                       "fspick",
                                       "get_kernel_syms",
                                       "init_module",
                                       "ioperm",
                                       "iopl",
                                       "kcmp",
                                       "kexec_file_load",
                                       "kexec_load",
                                       "lookup_dcookie",
                                       "mount",
                                       "mount_setattr",
                                       "move_mount",
                                       "name_to_handle_at",
                                       "nfsservctl",
                                       "open_by_handle_at",
                                       "open_tree",
                                       "perf_event_open",
                                       "pidfd_getfd",
                                       "pivot_root",
                                       "process_madvise",
                                       "process_vm_readv",
                                       "process_vm_writev",
                                       "ptrace",
                                       "query_module",
                                       "quotactl",
                                       "reboot",
                                       "setdomainname",
                                       "sethostname",
                                       "setns",
                                       "settimeofday",
                                       "swapoff",
                                       "swapon",
                                       "sysfs",
                                       "syslog",
                                       "umount2",
                                       "unshare",
                                       "uselib",
                                       "ustat",
                                       "vhangup"};

std::uint32_t verdict_of(const SyscallAction& action, KillBy kill_by) {
  if (action.kind == SyscallAction::Kind::kAllow) return SECCOMP_RET_ALLOW;
  if (action.kind == SyscallAction::Kind::kErrno)
    return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(action.os_errno);
  return kill_by == KillBy::kListener ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_KILL_PROCESS;
}

bool holds(const ArgCondition& condition, const Args& args) {
  const std::uint64_t arg = args.at(condition.arg);
  const std::uint64_t value = condition.values.at(0);
  switch (condition.op) {
    case ArgCondition::Op::kEqual:
      return arg == value;
    case ArgCondition::Op::kNotEqual:
      return arg != value;
    case ArgCondition::Op::kLess:
      return arg < value;
    case ArgCondition::Op::kLessEqual:
      return arg <= value;
    case ArgCondition::Op::kGreater:
      return arg > value;
    case ArgCondition::Op::kGreaterEqual:
      return arg >= value;
    case ArgCondition::Op::kMaskedEqual:
      return (arg & condition.mask) == value;
    case ArgCondition::Op::kIn:
      return std::find(condition.values.begin(), condition.values.end(), arg) !=
             condition.values.end();
  }
  return false;
}

bool holds(const SyscallRule& rule, const Args& args) {
  return std::all_of(rule.when.begin(), rule.when.end(),
                     [&](const ArgCondition& condition) { return holds(condition, args); });
}

int number_of(const std::string& call) {
  return ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, call.c_str());
}

Model::Model(policies::Seccomp profile, KillBy kill_by)
    : profile_(std::move(profile)), kill_by_(kill_by) {
  for (const auto& rule : profile_.rules)
    for (const std::string& call : rule.calls) rules_[number_of(call)].push_back(&rule);
}

// What a rule may not allow, whatever it says: in numbers of x86_64, written down here again.
bool Model::bounded(int number, const Args& args) const {
  if (number == 56) return (args[0] & 0x7e82a000) != 0;                      // clone
  if (number == 142 || number == 144 || number == 314) return args[0] != 0;  // sched_set…
  if (number == 141) return args[0] != 0 || args[1] != 0;                    // setpriority
  if (number == 251) return args[0] != 1 || args[1] != 0;                    // ioprio_set
  if (!profile_.write_execute.empty()) return false;
  if (number == 9 || number == 10 || number == 329) return (args[2] & 6) == 6;  // mmap …
  if (number == 135) return (args[0] & 0x400000) != 0;                          // personality
  return number == 30 && (args[2] & 0x8000) != 0;                               // shmat
}

std::uint32_t Model::verdict(int number, const Args& args) const {
  const std::uint32_t by_default = verdict_of(profile_.default_action, kill_by_);
  const auto rules = rules_of(number);
  for (const SyscallRule* rule : rules) {
    if (!holds(*rule, args)) continue;
    const std::uint32_t verdict = verdict_of(rule->action, kill_by_);
    if (verdict != SECCOMP_RET_ALLOW) return verdict;
    if (bounded(number, args)) return by_default;
    if (profile_.exec_once && number == 59) return SECCOMP_RET_USER_NOTIF;  // execve
    if (profile_.exec_once && number == 322) return SECCOMP_RET_ERRNO | EPERM;
    return verdict;
  }
  if (!rules.empty()) return by_default;
  if (number == 435) return SECCOMP_RET_ERRNO | ENOSYS;  // clone3
  char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
  const bool tripwire = name != nullptr && kTripwires.contains(name);
  ::free(name);
  return tripwire ? verdict_of({}, kill_by_) : by_default;
}

std::vector<const SyscallRule*> Model::rules_of(int number) const {
  const auto found = rules_.find(number);
  return found == rules_.end() ? std::vector<const SyscallRule*>{} : found->second;
}

std::vector<Args> edges(const std::vector<const SyscallRule*>& rules) {
  std::vector<Args> lists;
  for (const std::uint64_t all :
       {0ULL, 1ULL, 2ULL, 4ULL, 6ULL, 7ULL, 0x8000ULL, 0x40'0000ULL, 0x1000'0000ULL, 0xffff'ffffULL,
        ~0ULL, 0x8000'0000'0000'0000ULL}) {
    Args args;
    args.fill(all);
    lists.push_back(args);
  }
  for (const auto* rule : rules) {
    Args fulfilled{};  // Every condition at once, for rules with several.
    for (const ArgCondition& condition : rule->when)
      fulfilled.at(condition.arg) = condition.values.front();
    lists.push_back(fulfilled);
    for (const ArgCondition& condition : rule->when) {
      std::set<std::uint64_t> values{condition.mask, ~condition.mask};
      for (const std::uint64_t value : condition.values)
        values.insert({value, value - 1, value + 1, value | (1ULL << 32), value | (1ULL << 63)});
      for (int bit = 0; bit < 64; ++bit) values.insert(1ULL << bit);
      for (const std::uint64_t value : values) {
        for (Args args : {Args{}, fulfilled}) {
          args.at(condition.arg) = value;
          lists.push_back(args);
        }
      }
    }
  }
  return lists;
}

std::uint32_t Profile::of_policy(int number, const Args& args) const {
  return run(program, number, args, kArchX86_64);
}

std::uint32_t Profile::of_floor(int number, const Args& args) const {
  return run(floor, number, args, kArchX86_64);
}

std::uint32_t Profile::ask(int number, const Args& args, std::uint32_t arch) const {
  const std::uint32_t verdict = run(program, number, args, arch);
  return floor.empty() ? verdict : strictest(verdict, run(floor, number, args, arch));
}

std::uint32_t Profile::ask(const char* call, const Args& args) const {
  return ask(number_of(call), args);
}

Profile compiled(const policies::Seccomp& policy, KillBy kill_by) {
  return {policy, isolation::compile_seccomp(policy, kill_by).value(),
          isolation::compile_seccomp_floor(policy, kill_by).value()};
}

policies::Seccomp listening(const std::string& name, KillBy kill_by) {
  auto policy = name == "default" ? policies::default_seccomp() : shipped_policy(name).seccomp;
  if (kill_by == KillBy::kKernel) policy.exec_once = false;
  return policy;
}

std::string disagreement(const policies::Seccomp& policy, KillBy kill_by) {
  const Profile profile = compiled(policy, kill_by);
  const Model model(policy, kill_by);
  for (int number = 0; number <= kLastCall; ++number)
    for (const Args& args : edges(model.rules_of(number))) {
      const std::uint32_t expected = model.verdict(number, args);
      if (profile.ask(number, args) == expected && profile.of_policy(number, args) == expected)
        continue;
      std::ostringstream text;
      text << "call " << number << std::hex;
      for (const std::uint64_t arg : args) text << ' ' << arg;
      text << ": expected " << expected << ", policy's " << profile.of_policy(number, args)
           << ", both " << profile.ask(number, args);
      return text.str();
    }
  return "";
}

}  // namespace fnrun::test
