#include "policies/policy_read.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "policies/limit_table.h"
#include "policies/policy_check.h"

namespace fnrun::policies::internal {
namespace {

constexpr std::size_t kDescriptionMax = 4'096;
constexpr std::size_t kPathsMax = 256;
constexpr std::size_t kVariablesMax = 256;
constexpr std::size_t kHostnameMax = 63;
// 65534 is "nobody", what the kernel shows for an id that is not mapped.
constexpr std::uint64_t kIdMax = 65'533;
constexpr std::uint64_t kCallsMax = 1'000'000'000;
constexpr std::uint64_t kAgeMaxMs = 30 * 24 * kHourMs;

ReadOnlyPath read_path(Reader& reader, const At& at, const std::string& target) {
  static constexpr std::array<std::string_view, 4> kKeys = {"source", "optional", "executable",
                                                            "why"};
  ReadOnlyPath path;
  path.target = target;
  path.source = target;
  if (std::string fault = target_fault(target); !fault.empty())
    reader.fail(at, "the path inside " + fault);
  if (!reader.object(at, kKeys)) return path;
  const auto source = reader.find(at, "source");
  if (source) path.source = reader.string(*source, kPathMax);
  if (std::string fault = source_fault(path.source); !fault.empty())
    reader.fail(source.value_or(at), "the path on the host " + fault);
  if (const auto value = reader.find(at, "optional")) path.optional = reader.boolean(*value);
  if (const auto value = reader.find(at, "executable")) path.executable = reader.boolean(*value);
  if (const auto value = reader.require(at, "why")) path.why = reader.reason(*value);
  return path;
}

Filesystem read_filesystem(Reader& reader, const At& at) {
  static constexpr std::array<std::string_view, 3> kKeys = {"read_only",
                                                            "dangerously_exec_from_tmp", "dev_shm"};
  Filesystem filesystem;
  if (!reader.object(at, kKeys)) return filesystem;
  if (const auto paths = reader.find(at, "read_only"); paths && reader.map(*paths, kPathsMax))
    for (const auto& [target, node] : paths->node->members)  // Sorted, as Filesystem wants them.
      filesystem.read_only.push_back(
          read_path(reader, {&node, pointer_to(paths->pointer, target)}, target));
  if (const auto why = reader.find(at, "dangerously_exec_from_tmp"))
    filesystem.dangerously_exec_from_tmp = reader.reason(*why);
  if (const auto why = reader.find(at, "dev_shm")) filesystem.dev_shm = reader.reason(*why);
  return filesystem;
}

void check_variable(Reader& reader, const At& at, std::string_view name) {
  if (std::string fault = variable_name_fault(name); !fault.empty()) reader.fail(at, fault);
}

Environment read_environment(Reader& reader, const At& at) {
  static constexpr std::array<std::string_view, 2> kKeys = {"set", "pass"};
  Environment environment;
  if (!reader.object(at, kKeys)) return environment;
  if (const auto set = reader.find(at, "set"); set && reader.map(*set, kVariablesMax))
    for (const auto& [name, node] : set->node->members) {
      const At value{&node, pointer_to(set->pointer, name)};
      check_variable(reader, value, name);
      environment.set[name] = reader.string(value, kVariableMax);
    }
  if (const auto pass = reader.find(at, "pass"); pass && reader.map(*pass, kVariablesMax))
    for (const auto& [name, node] : pass->node->members) {
      const At why{&node, pointer_to(pass->pointer, name)};
      check_variable(reader, why, name);
      environment.pass[name] = reader.reason(why);
      if (environment.set.contains(name))
        reader.fail(why, "this variable is in \"set\" as well; keep one, null removes the other");
    }
  return environment;
}

std::uint32_t read_id(Reader& reader, const At& at) {
  if (at.node->kind == Kind::kInteger && at.node->integer == 0)
    reader.fail(at,
                "must not be 0: a handler that believes to be root tries what only root may, "
                "and execve(2) would give it the capabilities of its namespace");
  return std::uint32_t(reader.integer(at, 1, kIdMax));
}

Identity read_identity(Reader& reader, const At& at) {
  static constexpr std::array<std::string_view, 3> kKeys = {"hostname", "uid", "gid"};
  Identity identity;
  if (!reader.object(at, kKeys)) return identity;
  if (const auto hostname = reader.find(at, "hostname")) {
    identity.hostname = reader.string(*hostname, kHostnameMax);
    const bool valid = std::all_of(identity.hostname.begin(), identity.hostname.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    });
    if (identity.hostname.empty() || !valid)
      reader.fail(*hostname, "must be 1 to 63 of a-z, 0-9 and -");
  }
  if (const auto uid = reader.find(at, "uid")) identity.uid = read_id(reader, *uid);
  if (const auto gid = reader.find(at, "gid")) identity.gid = read_id(reader, *gid);
  return identity;
}

Limits read_limits(Reader& reader, const At& at) {
  static constexpr auto kKeys = [] {
    std::array<std::string_view, std::size(kLimitFields) + 2> keys;
    const auto rest = std::transform(std::begin(kLimitFields), std::end(kLimitFields), keys.begin(),
                                     [](const LimitField& field) { return field.key; });
    rest[0] = kOomGroupKey;
    rest[1] = kCpusKey;
    return keys;
  }();
  Limits limits;
  if (!reader.object(at, kKeys)) return limits;
  if (const auto value = reader.find(at, kOomGroupKey))
    limits.memory_oom_group = reader.boolean(*value);
  if (const auto value = reader.find(at, kCpusKey)) {
    limits.cpus = reader.string(*value, kCpusTextMax);
    if (std::string fault = limits.cpus.empty() ? "" : cpus_fault(limits.cpus); !fault.empty())
      reader.fail(*value, fault);
  }
  for (const LimitField& field : kLimitFields)
    if (const auto value = reader.find(at, field.key)) {
      field.set(limits, reader.integer(*value, field.min, field.max));
      if (field.key.starts_with("io_") && field.get(limits) == 1)
        reader.fail(*value, "must be 0, for no bound, or 2 at least: the kernel takes no 1");
    }
  return limits;
}

constexpr std::array<std::pair<std::string_view, Reuse::Mode>, 3> kReuseModes = {
    {{"never", Reuse::Mode::kNever},
     {"clean", Reuse::Mode::kClean},
     {"always", Reuse::Mode::kAlways}}};

Reuse read_reuse(Reader& reader, const At& at) {
  static constexpr std::array<std::string_view, 4> kKeys = {"mode", "calls_max", "age_max_ms",
                                                            "freeze_idle"};
  Reuse reuse;
  if (!reader.object(at, kKeys)) return reuse;
  if (const auto value = reader.find(at, "mode")) {
    const std::string text = reader.string(*value, kDescriptionMax);
    const auto* const found = std::find_if(kReuseModes.begin(), kReuseModes.end(),
                                           [&](const auto& mode) { return mode.first == text; });
    if (found != kReuseModes.end())
      reuse.mode = found->second;
    else
      reader.fail(*value, "must be \"never\", \"clean\" or \"always\"");
  }
  if (const auto value = reader.find(at, "calls_max"))
    reuse.calls_max = reader.integer(*value, 0, kCallsMax);
  if (const auto value = reader.find(at, "age_max_ms"))
    reuse.age_max = std::chrono::milliseconds(reader.integer(*value, 0, kAgeMaxMs));
  if (const auto value = reader.find(at, "freeze_idle")) reuse.freeze_idle = reader.boolean(*value);
  if (reuse.mode == Reuse::Mode::kNever && reuse.freeze_idle)
    reader.fail(at,
                "says \"never\" and \"freeze_idle\": a sandbox of one call is never between two");
  return reuse;
}

Warning read_warning(Reader& reader, const At& at) {
  static constexpr std::array<std::string_view, 2> kKeys = {"before_ms", "signal"};
  Warning warning;
  if (!reader.object(at, kKeys)) return warning;
  if (const auto value = reader.find(at, "before_ms"))
    warning.before = std::chrono::milliseconds(reader.integer(*value, 0, 24 * kHourMs));
  if (const auto value = reader.find(at, "signal")) {
    const std::string text = reader.string(*value, kDescriptionMax);
    const auto* const found =
        std::find_if(kWarningSignals.begin(), kWarningSignals.end(),
                     [&](const NamedSignal& signal) { return signal.name == text; });
    if (found != kWarningSignals.end())
      warning.signal = found->number;
    else
      reader.fail(*value,
                  "must be a signal that a handler can act upon: SIGTERM, SIGINT, SIGHUP, "
                  "SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM or SIGXCPU");
  }
  return warning;
}

std::map<Layer, std::string> read_preferred(Reader& reader, const At& at) {
  static const auto kKeys = [] {
    std::array<std::string_view, kLayers.size()> keys;
    std::transform(kLayers.begin(), kLayers.end(), keys.begin(), name_of);
    return keys;
  }();
  std::map<Layer, std::string> preferred;
  if (!reader.object(at, kKeys)) return preferred;
  for (const Layer layer : kLayers)
    if (const auto why = reader.find(at, name_of(layer))) preferred[layer] = reader.reason(*why);
  return preferred;
}

constexpr std::array<std::string_view, 13> kRootKeys = {
    "$schema",    "version",     "description", "extends",           "limits",
    "filesystem", "environment", "identity",    "working_directory", "reuse",
    "warning",    "seccomp",     "prefer"};

}  // namespace

Result<Header> read_header(const Node& root) {
  Reader reader;
  const At at{&root, ""};
  Header header;
  if (reader.object(at, kRootKeys)) {
    // Not kPolicyTextMax: whatever one says of the schema, an editor must find it.
    if (const auto schema = reader.find(at, "$schema")) (void)reader.string(*schema, kPathMax);
    if (const auto version = reader.require(at, "version")) (void)reader.integer(*version, 1, 1);
    if (const auto extends = reader.find(at, "extends")) {
      header = {reader.string(*extends, kPathMax), extends->pointer, extends->node->line};
      if (extends->node->kind == Kind::kString && header.extends.empty())
        reader.fail(*extends,
                    "must be the name or the path of a policy; leave the key out to "
                    "extend none");
    }
  }
  if (reader.error()) return *reader.error();
  return header;
}

Result<Policy> read_policy(const Node& root) {
  Reader reader;
  const At at{&root, ""};
  Policy policy;
  if (reader.object(at, kRootKeys)) {
    if (const auto value = reader.find(at, "description"))
      policy.description = reader.string(*value, kDescriptionMax);
    if (const auto value = reader.find(at, "limits")) policy.limits = read_limits(reader, *value);
    if (const auto value = reader.find(at, "filesystem"))
      policy.filesystem = read_filesystem(reader, *value);
    if (const auto value = reader.find(at, "environment"))
      policy.environment = read_environment(reader, *value);
    if (const auto value = reader.find(at, "identity"))
      policy.identity = read_identity(reader, *value);
    if (const auto value = reader.find(at, "working_directory")) {
      policy.working_directory = reader.string(*value, kPathMax);
      if (std::string fault = path_fault(policy.working_directory); !fault.empty())
        reader.fail(*value, fault);
    }
    if (const auto value = reader.find(at, "reuse")) policy.reuse = read_reuse(reader, *value);
    if (const auto value = reader.find(at, "warning"))
      policy.warning = read_warning(reader, *value);
    if (const auto value = reader.find(at, "seccomp"))
      policy.seccomp = read_seccomp(reader, *value);
    if (const auto value = reader.find(at, "prefer"))
      policy.preferred = read_preferred(reader, *value);
  }
  if (reader.error()) return *reader.error();
  return policy;
}

}  // namespace fnrun::policies::internal
