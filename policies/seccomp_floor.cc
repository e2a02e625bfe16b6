#include "policies/seccomp_floor.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

namespace fnrun::policies {
namespace {

using Op = ArgCondition::Op;
using Conditions = std::vector<ArgCondition>;

constexpr int kEperm = 1;
constexpr int kEnosys = 38;
constexpr SyscallAction kKill{SyscallAction::Kind::kKillProcess, 0};
constexpr SyscallAction kAbsent{SyscallAction::Kind::kErrno, kEnosys};

struct Tripwire {
  const char* name;
  const char* why;
  std::initializer_list<const char*> calls;
};
// No language's runtime makes these; who does attacks, and is told of by name.
const Tripwire kTripwires[] = {
    {"tripwire-other-processes",
     "reading, writing and steering other processes",
     {"kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"}},
    {"tripwire-mounts",
     "changing what the file system is",
     {"chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
      "open_tree", "pivot_root", "umount2"}},
    {"tripwire-namespaces",
     "a user namespace is the door to most kernel bugs",
     {"setns", "unshare"}},
    {"tripwire-file-handles",
     "opening files around every path and mount",
     {"name_to_handle_at", "open_by_handle_at"}},
    {"tripwire-kernel-code",
     "loading code into the kernel or watching it",
     {"bpf", "create_module", "delete_module", "finit_module", "get_kernel_syms", "init_module",
      "kexec_file_load", "kexec_load", "perf_event_open", "query_module"}},
    {"tripwire-machine",
     "the machine itself",
     {"acct", "ioperm", "iopl", "quotactl", "reboot", "swapoff", "swapon", "syslog", "vhangup"}},
    {"tripwire-clock",
     "the clock is everyone's",
     {"adjtimex", "clock_adjtime", "clock_settime", "settimeofday"}},
    {"tripwire-host-name", "the name is isolation's to choose", {"setdomainname", "sethostname"}},
    {"tripwire-watch-files", "watching the files of everyone", {"fanotify_init", "lookup_dcookie"}},
    {"tripwire-obsolete",
     "nothing alive calls these; probes do",
     {"_sysctl", "nfsservctl", "sysfs", "uselib", "ustat"}}};

constexpr const char* kClone3 = "clone3";

// What of one argument a call may not have: `allowed` are the values under `mask`, `refused` the
// same as masks of which all bits must not be set; none: all but the one that is allowed.
struct Bound {
  const char* name;
  const char* why;
  std::initializer_list<const char*> calls;
  std::uint32_t arg;
  std::uint64_t mask;
  std::initializer_list<std::uint64_t> allowed;
  std::initializer_list<std::uint64_t> refused;
};
// CLONE_NEW* of clone (0x7E020000; NEWTIME is no flag of it), PTRACE, PARENT and UNTRACED.
const Bound kCloneFlags{"clone-flags",
                        "namespaces, and processes that are another's to wait for",
                        {"clone"},
                        0,
                        0x7E82A000,
                        {0},
                        {0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000,
                         0x40000000, 0x2000, 0x8000, 0x800000}};
const Bound kProtections{"write_execute",  // PROT_WRITE is 2, PROT_EXEC 4.
                         "memory that is writable and executable at once",
                         {"mmap", "mprotect", "pkey_mprotect"},
                         2,
                         6,
                         {0, 2, 4},
                         {6}};
const Bound kSharedMemory{"write_execute-shared",  // SHM_EXEC
                          "shared memory that is executable",
                          {"shmat"},
                          2,
                          0x8000,
                          {0},
                          {0x8000}};
// READ_IMPLIES_EXEC; the question 0xffffffff has that bit, too, and goes with it.
const Bound kPersonality{"write_execute-personality",
                         "whether all readable memory is executable",
                         {"personality"},
                         0,
                         0x400000,
                         {0},
                         {0x400000}};

// Among the others is the init, which belongs to the same uid where the supervisor has no
// privilege: made idle (SCHED_IDLE), it ends its namespace only when nobody inside wants the CPU
// any more, also when it was killed. Nor could the supervisor make it ordinary again.
const Bound kSchedulingOfOthers{"scheduling-of-others",
                                "how others are scheduled, of whom the sandbox's init is one",
                                {"sched_setattr", "sched_setparam", "sched_setscheduler"},
                                0,
                                ~std::uint64_t{0},
                                {0},
                                {}};
const Bound kPriorityOfOthers{"priority-of-others",
                              "how others are scheduled, of whom the sandbox's init is one",
                              {"ioprio_set", "setpriority"},
                              1,
                              ~std::uint64_t{0},
                              {0},
                              {}};
// And 0 is the caller only of a process, not of its group or user.
const Bound kPriorityOfMany{kPriorityOfOthers.name,
                            kPriorityOfOthers.why,
                            {"setpriority"},
                            0,
                            ~std::uint64_t{0},
                            {0},  // PRIO_PROCESS
                            {}};
const Bound kDiskPriorityOfMany{kPriorityOfOthers.name,
                                kPriorityOfOthers.why,
                                {"ioprio_set"},
                                0,
                                ~std::uint64_t{0},
                                {1},  // IOPRIO_WHO_PROCESS
                                {}};

std::vector<const Bound*> bounds_of(const Seccomp& profile) {
  std::vector<const Bound*> bounds{&kCloneFlags, &kSchedulingOfOthers, &kPriorityOfOthers,
                                   &kPriorityOfMany, &kDiskPriorityOfMany};
  if (profile.write_execute.empty())
    bounds.insert(bounds.end(), {&kProtections, &kSharedMemory, &kPersonality});
  return bounds;
}

bool among(std::initializer_list<const char*> calls, std::string_view call) {
  return std::find(calls.begin(), calls.end(), call) != calls.end();
}

std::vector<const Bound*> bounds_on(const Seccomp& profile, std::string_view call) {
  std::vector<const Bound*> bounds = bounds_of(profile);
  std::erase_if(bounds, [&](const Bound* bound) { return !among(bound->calls, call); });
  return bounds;
}

ArgCondition masked(std::uint32_t arg, std::uint64_t mask, std::uint64_t value) {
  return {.arg = arg, .op = Op::kMaskedEqual, .mask = mask, .values = {value}};
}

bool lets(const Bound& bound, std::uint64_t value) {
  return std::find(bound.allowed.begin(), bound.allowed.end(), value & bound.mask) !=
         bound.allowed.end();
}

// One condition on the bound's argument and the bound, as conditions of which any one holds.
// Nothing for comparisons that say little about bits.
std::optional<Conditions> both(const ArgCondition& condition, const Bound& bound) {
  Conditions alternatives;
  if (condition.op == Op::kMaskedEqual) {
    const std::uint64_t value = condition.values.front();
    if ((value & ~condition.mask) != 0) return alternatives;  // It never holds.
    const std::uint64_t common = condition.mask & bound.mask;
    for (const std::uint64_t allowed : bound.allowed)
      if ((value & common) == (allowed & common))
        alternatives.push_back(masked(bound.arg, condition.mask | bound.mask, value | allowed));
    return alternatives;
  }
  if (condition.op != Op::kEqual && condition.op != Op::kIn) return std::nullopt;
  ArgCondition rest = condition;
  std::erase_if(rest.values, [&](std::uint64_t value) { return !lets(bound, value); });
  if (!rest.values.empty()) alternatives.push_back(std::move(rest));
  return alternatives;
}

// Lists of conditions of which any one holds where `when` and the bound do.
std::optional<std::vector<Conditions>> narrow(const Conditions& when, const Bound& bound) {
  const auto at = std::find_if(when.begin(), when.end(), [&](const ArgCondition& condition) {
    return condition.arg == bound.arg;
  });
  Conditions alternatives;
  if (at == when.end()) {
    for (const std::uint64_t allowed : bound.allowed)
      alternatives.push_back(masked(bound.arg, bound.mask, allowed));
  } else if (auto narrower = both(*at, bound)) {
    alternatives = std::move(*narrower);
  } else {
    return std::nullopt;
  }
  std::vector<Conditions> lists;
  for (ArgCondition& alternative : alternatives) {
    Conditions list;
    for (const ArgCondition& condition : when)
      if (condition.arg != bound.arg) list.push_back(condition);
    list.push_back(std::move(alternative));
    lists.push_back(std::move(list));
  }
  return lists;
}

std::optional<std::vector<Conditions>> narrow(const Conditions& when,
                                              const std::vector<const Bound*>& bounds) {
  std::vector<Conditions> lists{when};
  for (const Bound* bound : bounds) {
    std::vector<Conditions> narrower;
    for (const Conditions& list : lists) {
      auto rest = narrow(list, *bound);
      if (!rest) return std::nullopt;
      std::move(rest->begin(), rest->end(), std::back_inserter(narrower));
    }
    lists = std::move(narrower);
  }
  return lists;
}

bool allows(const SyscallRule& rule) {
  return rule.action.kind == SyscallAction::Kind::kAllow;
}

SyscallRule refusal(const char* name, SyscallAction action, std::vector<std::string> calls,
                    const char* why) {
  return {.name = name, .action = action, .calls = std::move(calls), .when = {}, .why = why};
}

std::vector<SyscallRule> unconditional_floor() {
  std::vector<SyscallRule> rules;
  for (const Tripwire& tripwire : kTripwires)
    rules.push_back(refusal(tripwire.name, kKill, {tripwire.calls.begin(), tripwire.calls.end()},
                            tripwire.why));
  rules.push_back(refusal("no-clone3", kAbsent, {kClone3},
                          "its flags lie behind a pointer that no filter can read; on ENOSYS, and "
                          "only then, glibc falls back to clone"));
  return rules;
}

}  // namespace

bool is_tripwire(std::string_view call) {
  return std::any_of(std::begin(kTripwires), std::end(kTripwires),
                     [&](const Tripwire& tripwire) { return among(tripwire.calls, call); });
}

std::vector<SyscallRule> floor_rules(const Seccomp& profile) {
  std::vector<SyscallRule> rules = unconditional_floor();
  const auto refuse = [&](const Bound& bound, ArgCondition when) {
    rules.push_back(
        refusal(bound.name, kAbsent, {bound.calls.begin(), bound.calls.end()}, bound.why));
    rules.back().when = {std::move(when)};
  };
  for (const Bound* bound : bounds_of(profile)) {
    for (const std::uint64_t bits : bound->refused) refuse(*bound, masked(bound->arg, bits, bits));
    if (bound->refused.size() == 0)
      refuse(*bound, {.arg = bound->arg, .op = Op::kNotEqual, .mask = 0, .values = bound->allowed});
  }
  return rules;
}

std::string floor_fault(const Seccomp& profile, const SyscallRule& rule, std::string_view call) {
  const std::string name(call);
  if (is_tripwire(call) && (rule.action != kKill || !rule.when.empty()))
    return name + " kills the process whatever a policy says; take it out of this rule";
  if (!allows(rule)) return "";
  if (call == kClone3)
    return "clone3 cannot be allowed, a filter cannot see its flags; errno:ENOSYS, which it gets "
           "where no rule names it, makes libc fall back to clone";
  for (const Bound* bound : bounds_on(profile, call)) {
    const auto rest = narrow(rule.when, *bound);
    if (rest && !rest->empty()) continue;
    const std::string argument = "argument " + std::to_string(bound->arg) + " of " + name;
    if (rest)
      return "the floor refuses every " + argument + " that this allows: " + bound->name + ", " +
             bound->why;
    return argument + " can be compared by eq, in or masked_eq only: its bits decide over " +
           bound->why;
  }
  return "";
}

bool floor_narrows(const Seccomp& profile, const SyscallRule& rule, std::string_view call) {
  if (!allows(rule)) return false;
  const auto rest = narrow(rule.when, bounds_on(profile, call));
  return !rest || rest->size() != 1 || rest->front() != rule.when;
}

Seccomp with_floor(const Seccomp& profile) {
  Seccomp whole = profile;
  whole.rules.clear();
  std::set<std::string_view> named;
  for (const SyscallRule& rule : profile.rules) {
    SyscallRule rest = rule;
    rest.calls.clear();
    for (const std::string& call : rule.calls) {
      if (!floor_fault(profile, rule, call).empty()) continue;
      named.insert(call);
      if (profile.exec_once && allows(rule) && call == "execveat") {
        auto refused = refusal("exec_once", {SyscallAction::Kind::kErrno, kEperm}, {call},
                               "the handler's own execve was the last");
        refused.when = rule.when;
        whole.rules.push_back(std::move(refused));
        continue;
      }
      const auto bounds = allows(rule) ? bounds_on(profile, call) : std::vector<const Bound*>{};
      if (bounds.empty()) {
        rest.calls.push_back(call);
        continue;
      }
      auto alternatives = narrow(rule.when, bounds);  // There: no fault was found.
      for (Conditions& when : *alternatives)
        whole.rules.push_back({rule.name, rule.action, {call}, std::move(when), rule.why});
    }
    if (!rest.calls.empty()) whole.rules.push_back(std::move(rest));
  }
  for (SyscallRule& rule : unconditional_floor()) {
    std::erase_if(rule.calls, [&](const std::string& call) { return named.contains(call); });
    if (!rule.calls.empty()) whole.rules.push_back(std::move(rule));
  }
  return whole;
}

}  // namespace fnrun::policies
