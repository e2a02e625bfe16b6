#include "isolation/plan_message.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <map>

#include "isolation/child/launch_plan.h"

namespace fnrun::isolation {
namespace {

using child::Array;
using child::Text;

// Appends strings and arrays behind the header and remembers where they are.
class MessageBuilder {
 public:
  MessageBuilder() : bytes_(sizeof(child::LaunchPlan)) {}

  Text text(const std::string& value) {
    const Text at{position()};
    append(value.c_str(), value.size() + 1);
    return at;
  }

  template <class T>
  Array array(const std::vector<T>& items) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.resize((bytes_.size() + 7) / 8 * 8);  // The init reads the items in place.
    const Array at{position(), static_cast<std::uint32_t>(items.size())};
    append(items.data(), items.size() * sizeof(T));
    return at;
  }

  Array texts(const std::vector<std::string>& values) {
    std::vector<Text> list;
    for (const std::string& value : values) list.push_back(text(value));
    return array(list);
  }

  std::vector<std::byte> finish(child::LaunchPlan header) && {
    header.magic = child::kPlanMagic;
    header.size = position();
    std::memcpy(bytes_.data(), &header, sizeof header);
    return std::move(bytes_);
  }

 private:
  [[nodiscard]] std::uint32_t position() const { return static_cast<std::uint32_t>(bytes_.size()); }
  void append(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
  }
  std::vector<std::byte> bytes_;
};

child::FsOpKind kind_of(const RootEntry& entry, bool privileged) {
  switch (entry.kind) {
    case RootEntry::Kind::kDirectory:
      return child::FsOpKind::kDirectory;
    case RootEntry::Kind::kFile:
      return child::FsOpKind::kFile;
    case RootEntry::Kind::kSymlink:
      return child::FsOpKind::kSymlink;
    case RootEntry::Kind::kTmpfs:
      return child::FsOpKind::kTmpfs;
    case RootEntry::Kind::kProc:
      return child::FsOpKind::kProc;
    case RootEntry::Kind::kMount:
      break;
  }
  return privileged ? child::FsOpKind::kAttach : child::FsOpKind::kBind;
}

Array fs_ops(MessageBuilder& message, const Plan& plan) {
  std::vector<child::FsOp> ops;
  for (const RootEntry& entry : plan.root)
    ops.push_back({kind_of(entry, plan.host.privileged), message.text(entry.path),
                   message.text(entry.source), entry.flags, entry.attributes, entry.device,
                   entry.inode});
  return message.array(ops);
}

Array rlimits(MessageBuilder& message, const Plan& plan) {
  std::vector<child::Rlimit> limits;
  for (const ResourceLimit& limit : plan.limits)
    limits.push_back({limit.resource, 0, limit.value, limit.value});
  return message.array(limits);
}

Array landlock_rules(MessageBuilder& message, const Plan& plan) {
  std::vector<child::LandlockRule> rules;
  for (const LandlockPath& path : plan.landlock_paths)
    rules.push_back({path.access, message.text(path.path), 0});
  return message.array(rules);
}

// The handler's clocks start near zero: how long the host has been up is none of its business.
std::string time_offsets() {
  std::string text;
  for (const auto& [clock, name] :
       {std::pair{CLOCK_MONOTONIC, "monotonic"}, std::pair{CLOCK_BOOTTIME, "boottime"}}) {
    timespec now{};
    ::clock_gettime(clock, &now);
    text += std::string(name) + " -" + std::to_string(now.tv_sec) + " 0\n";
  }
  return text;
}

// A supervisor may be a favourite of the OOM killer's already; its handlers are no less.
std::string oom_score_adj() {
  constexpr int kHandlers = 500;
  const UniqueFd file(::open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC));
  char text[16] = "";
  const ssize_t size = file ? ::read(file.get(), text, sizeof text - 1) : 0;
  int own = 0;
  if (size > 0) std::from_chars(text, text + size, own);
  return std::to_string(std::max(own, kHandlers));
}

std::vector<std::string> merged_environment(const Plan& plan, std::span<const std::string> extra) {
  if (extra.empty()) return plan.environment;
  std::map<std::string, std::string> all;
  const auto put = [&](const std::string& variable) {
    all[variable.substr(0, variable.find('='))] = variable;
  };
  for (const std::string& variable : plan.environment) put(variable);
  for (const std::string& variable : extra) put(variable);
  std::vector<std::string> list;
  for (auto& [name, variable] : all) list.push_back(std::move(variable));
  return list;
}

}  // namespace

Result<std::vector<std::byte>> encode_plan(const Plan& plan,
                                           std::span<const std::string> extra_environment) {
  const auto environment = merged_environment(plan, extra_environment);
  if (environment.size() > child::kArgvMax)
    return SetupError{SetupStep::kCommandTooLong, 0, 0,
                      std::to_string(environment.size()) + " variables"};
  MessageBuilder message;
  child::LaunchPlan header{};
  header.uid = plan.policy.identity.uid;
  header.gid = plan.policy.identity.gid;
  header.drop_groups = plan.host.privileged ? 1 : 0;
  header.last_capability = plan.host.last_capability;
  header.unshare_flags = CLONE_NEWCGROUP;
  if (plan.use_time_namespace) {
    header.unshare_flags |= CLONE_NEWTIME;
    header.time_offsets = message.text(time_offsets());
  }
  header.oom_score_adj = message.text(oom_score_adj());
  header.root_size = message.text("1m");
  header.hostname = message.text(plan.policy.identity.hostname);
  header.working_directory = message.text(plan.policy.working_directory);
  header.handler = message.text(plan.handler.path);
  header.argv = message.texts(plan.handler.argv);
  header.envp = message.texts(environment);
  header.fs_ops = fs_ops(message, plan);
  header.rlimits = rlimits(message, plan);
  header.landlock_fs = plan.landlock_fs;
  header.landlock_net = plan.landlock_net;
  header.landlock_scoped = plan.landlock_scoped;
  // A kernel refuses (E2BIG) what its ABI does not know, unless it is zero; the size says how much.
  header.landlock_attr_size = plan.host.landlock_abi >= 6   ? 24
                              : plan.host.landlock_abi >= 4 ? 16
                                                            : 8;
  header.landlock_rules = landlock_rules(message, plan);
  header.seccomp_floor = message.array(plan.seccomp_floor);
  header.seccomp = message.array(plan.seccomp);
  header.exec_once = plan.policy.seccomp.exec_once ? 1 : 0;
  if (plan.forbidden_calls == KillBy::kListener)
    header.seccomp_flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  header.init_seccomp = message.array(plan.init_seccomp);
#ifdef FNRUN_TEST_SWITCHES
  header.switched_off = plan.switched_off;
  if ((plan.switched_off & child::kSwitchCgroupNamespace) != 0)
    header.unshare_flags &= ~std::uint64_t{CLONE_NEWCGROUP};
  if ((plan.switched_off & child::kSwitchTimeNamespace) != 0) {
    header.unshare_flags &= ~std::uint64_t{CLONE_NEWTIME};
    header.time_offsets = {};
  }
#endif
  auto bytes = std::move(message).finish(header);
  if (bytes.size() > child::kPlanMax)
    return SetupError{SetupStep::kCommandTooLong, 0, E2BIG,
                      "the plan takes " + std::to_string(bytes.size()) +
                          " bytes with arguments and environment; at most " +
                          std::to_string(child::kPlanMax)};
  return bytes;
}

}  // namespace fnrun::isolation
