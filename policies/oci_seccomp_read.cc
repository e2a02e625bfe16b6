// The text of a container's profile, and which of its entries apply here. Keys, actions and ops are
// those of the OCI runtime-spec and of moby's and containers/common's profiles.
#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "policies/errno_names.h"
#include "policies/oci_seccomp_entry.h"
#include "policies/policy_read.h"

namespace fnrun::policies {
namespace internal {
namespace {

using Op = ArgCondition::Op;
using Notes = std::vector<std::string>;

constexpr std::size_t kEntriesMax = 8'192;
constexpr std::size_t kNamesMax = 2'048;
constexpr std::size_t kWordMax = 64;  // "SCMP_ACT_KILL_PROCESS", a capability, a call.
constexpr std::size_t kTextMax = 4'096;
constexpr int kEperm = 1;  // Of an ERRNO that does not say which.
constexpr std::string_view kArch = "SCMP_ARCH_X86_64";
constexpr std::string_view kGoArch = "amd64";  // In includes and excludes.

// Go writes null for a list that is not there.
std::optional<At> find_set(const Reader& reader, const At& at, std::string_view key) {
  auto found = reader.find(at, key);
  if (found && found->node->kind == Kind::kNull) found.reset();
  return found;
}

class ProfileReader {
 public:
  ProfileReader(Reader& reader, const ImportTarget& target) : reader_(reader), target_(target) {}

  std::vector<OciEntry> read(const At& root, ImportedSeccomp& imported);

 private:
  void read_architectures(const At& root);
  void read_arch_map(const At& list);
  void read_surroundings(const At& root);
  std::optional<SyscallAction> read_action(const At& at, std::string_view key,
                                           std::string_view errno_key, std::string_view name_key);
  std::optional<SyscallAction> action_named(const At& at, const std::string& name, int os_errno);
  int read_errno(const At& at, std::string_view number_key, std::string_view name_key);
  bool lists(const At& filter, std::string_view key, std::string_view word);
  std::optional<bool> kernel_reaches(const At& filter);
  bool applies(const At& entry);
  void read_names(const At& at, OciEntry& entry);
  void read_name(const At& at, OciEntry& entry);
  void read_args(const At& at, OciEntry& entry);
  std::optional<ArgCondition> read_arg(const At& at);
  void note(std::string text) { notes_.insert(std::move(text)); }

  Reader& reader_;
  const ImportTarget& target_;
  SyscallAction default_action_;
  std::set<std::string> notes_;  // Each once.
  std::set<std::string> unknown_;
};

std::optional<SyscallAction> ProfileReader::action_named(const At& at, const std::string& name,
                                                         int os_errno) {
  if (name == "SCMP_ACT_ALLOW") return SyscallAction{SyscallAction::Kind::kAllow, 0};
  if (name == "SCMP_ACT_KILL_PROCESS") return SyscallAction{SyscallAction::Kind::kKillProcess, 0};
  if (name == "SCMP_ACT_ERRNO") {
    if (os_errno != 0) return SyscallAction{SyscallAction::Kind::kErrno, os_errno};
    reader_.fail(at, "answers with errno 0, which tells the program that the call was made");
    return std::nullopt;
  }
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD" || name == "SCMP_ACT_TRAP") {
    note(name +
         " is lifted to kill_process: a thread less, or a signal that can be caught, would "
         "leave the handler running");
    return SyscallAction{SyscallAction::Kind::kKillProcess, 0};
  }
  if (name == "SCMP_ACT_LOG") {
    note("SCMP_ACT_LOG is taken as allow: nothing is logged");
    return SyscallAction{SyscallAction::Kind::kAllow, 0};
  }
  if (name == "SCMP_ACT_TRACE" || name == "SCMP_ACT_NOTIFY")
    reader_.fail(at, name +
                         " leaves the verdict to another program, and there is none in a "
                         "sandbox; choose SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS");
  else
    reader_.fail(at, "is no action of seccomp: \"" + printable(name) + '"');
  return std::nullopt;
}

// 0 for none said.
int ProfileReader::read_errno(const At& at, std::string_view number_key,
                              std::string_view name_key) {
  const auto number = find_set(reader_, at, number_key);
  const auto name = find_set(reader_, at, name_key);
  int value = kEperm;
  if (number) value = int(reader_.integer(*number, 0, kErrnoMax));
  if (!name) return value;
  const std::string text = reader_.string(*name, kWordMax);
  const auto named = errno_value(text);
  if (!named)
    reader_.fail(*name, "must name an errno of Linux, not \"" + printable(text) + '"');
  else if (number && *named != value)
    reader_.fail(*name, "is another errno than the number beside it says");
  return named.value_or(kEperm);
}

std::optional<SyscallAction> ProfileReader::read_action(const At& at, std::string_view key,
                                                        std::string_view errno_key,
                                                        std::string_view name_key) {
  const auto action = reader_.require(at, key);
  if (!action) return std::nullopt;
  const std::string name = reader_.string(*action, kWordMax);
  if (reader_.error()) return std::nullopt;
  const int os_errno = read_errno(at, errno_key, name_key);
  if (name != "SCMP_ACT_ERRNO")
    for (const std::string_view unused : {errno_key, name_key})
      if (const auto value = find_set(reader_, at, unused))
        reader_.fail(*value, "goes with SCMP_ACT_ERRNO only");
  return action_named(*action, name, os_errno);
}

void ProfileReader::read_arch_map(const At& list) {
  static constexpr std::array<std::string_view, 2> kKeys = {"architecture", "subArchitectures"};
  if (!reader_.array(list, 1, kWordMax)) return;
  bool ours = false;
  for (std::size_t i = 0; i < list.node->items.size(); ++i) {
    const At item = list.item(i);
    if (!reader_.object(item, kKeys)) return;
    const auto name = reader_.require(item, "architecture");
    const bool here = name && reader_.string(*name, kWordMax) == kArch;
    ours = ours || here;
    const auto subs = find_set(reader_, item, "subArchitectures");
    if (!subs || !reader_.array(*subs, 0, kWordMax)) continue;
    for (std::size_t j = 0; j < subs->node->items.size(); ++j) {
      const std::string sub = reader_.string(subs->item(j), kWordMax);
      if (here) note(printable(sub) + " is not taken over: foreign architectures kill");
    }
  }
  if (!ours) reader_.fail(list, "has no " + std::string(kArch) + ": the profile is for others");
}

void ProfileReader::read_architectures(const At& root) {
  const auto flat = find_set(reader_, root, "architectures");
  const auto map = find_set(reader_, root, "archMap");
  const auto holds_something = [](const auto& at) { return at && !at->node->items.empty(); };
  if (holds_something(flat) && holds_something(map))
    return reader_.fail(*flat, "stands beside \"archMap\"; a profile has one of them");
  if (map && (map->node->kind != Kind::kArray || !map->node->items.empty())) read_arch_map(*map);
  if (!flat || !reader_.array(*flat, 0, kWordMax)) return;
  bool ours = flat->node->items.empty();  // None named: that of the machine.
  for (std::size_t i = 0; i < flat->node->items.size(); ++i) {
    const std::string name = reader_.string(flat->item(i), kWordMax);
    if (name != kArch) note(printable(name) + " is not taken over: foreign architectures kill");
    ours = ours || name == kArch;
  }
  if (!ours) reader_.fail(*flat, "has no " + std::string(kArch) + ": the profile is for others");
}

// What stands around the rules and is not for us to do.
void ProfileReader::read_surroundings(const At& root) {
  if (const auto flags = find_set(reader_, root, "flags");
      flags && reader_.array(*flags, 0, kWordMax))
    for (std::size_t i = 0; i < flags->node->items.size(); ++i)
      note(printable(reader_.string(flags->item(i), kWordMax)) + " is not taken over");
  for (const std::string_view key : {"listenerPath", "listenerMetadata"})
    if (const auto text = find_set(reader_, root, key);
        text && !reader_.string(*text, kTextMax).empty())
      reader_.fail(*text, "names a program that would decide over calls; there is none here");
}

// Whether the list of the filter names the word.
bool ProfileReader::lists(const At& filter, std::string_view key, std::string_view word) {
  const auto list = find_set(reader_, filter, key);
  if (!list || !reader_.array(*list, 0, kNamesMax)) return false;
  bool found = false;
  for (std::size_t i = 0; i < list->node->items.size(); ++i)
    if (reader_.string(list->item(i), kWordMax) == word) found = true;
  return found;
}

// nullopt: not asked for.
std::optional<bool> ProfileReader::kernel_reaches(const At& filter) {
  const auto least = find_set(reader_, filter, "minKernel");
  if (!least) return std::nullopt;
  const std::string text = reader_.string(*least, kWordMax);
  const auto number = [](std::string_view digits) {
    int value = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    return error == std::errc() && stop == end && value >= 0 ? value : -1;
  };
  const auto dot = std::min(text.find('.'), text.size());
  const int major = number(std::string_view(text).substr(0, dot));
  const int minor = dot == text.size() ? -1 : number(std::string_view(text).substr(dot + 1));
  if (major < 0 || minor < 0)
    reader_.fail(*least,
                 "must be a version of the kernel as \"4.8\", not \"" + printable(text) + '"');
  return target_.kernel >= std::pair{major, minor};
}

// No capability is held, so that asking for one drops the entry, and excluding one does not.
bool ProfileReader::applies(const At& entry) {
  static constexpr std::array<std::string_view, 3> kKeys = {"caps", "arches", "minKernel"};
  const auto holds_any = [&](const At& filter, std::string_view key) {
    const auto list = find_set(reader_, filter, key);
    return list && reader_.array(*list, 0, kNamesMax) && !list->node->items.empty();
  };
  bool result = true;
  if (const auto includes = find_set(reader_, entry, "includes")) {
    if (!reader_.object(*includes, kKeys)) return false;
    (void)lists(*includes, "caps", "");  // Their types.
    if (holds_any(*includes, "caps")) result = false;
    if (holds_any(*includes, "arches") && !lists(*includes, "arches", kGoArch)) result = false;
    if (!kernel_reaches(*includes).value_or(true)) result = false;
  }
  if (const auto excludes = find_set(reader_, entry, "excludes")) {
    if (!reader_.object(*excludes, kKeys)) return false;
    (void)lists(*excludes, "caps", "");
    if (lists(*excludes, "arches", kGoArch)) result = false;
    if (kernel_reaches(*excludes).value_or(false)) result = false;
  }
  return result;
}

void ProfileReader::read_name(const At& at, OciEntry& entry) {
  const std::string name = reader_.string(at, kWordMax);
  const bool plain = is_call_name(name);
  const CallName known = plain ? target_.look_up(name) : CallName::kUnknown;
  if (known == CallName::kHere) {
    if (std::find(entry.calls.begin(), entry.calls.end(), name) == entry.calls.end())
      entry.calls.push_back(name);
    return;
  }
  if (known == CallName::kElsewhere) return;
  // What nobody can name is refused by default, which is enough unless more was asked for.
  const bool stricter = entry.action.kind == SyscallAction::Kind::kKillProcess &&
                        default_action_.kind != SyscallAction::Kind::kKillProcess;
  if (stricter || !plain)
    reader_.fail(at,
                 "\"" + printable(name) + "\" is no system call that is known here" +
                     (plain ? ", and the default is less than what this entry asks for it" : ""));
  else
    unknown_.insert(name);
}

void ProfileReader::read_names(const At& at, OciEntry& entry) {
  const auto one = find_set(reader_, at, "name");
  const auto many = find_set(reader_, at, "names");
  const bool has_one = one && !(one->node->kind == Kind::kString && one->node->text.empty());
  if (has_one && many && !many->node->items.empty())
    return reader_.fail(*one, "stands beside \"names\"; an entry has one of them");
  if (has_one) return read_name(*one, entry);
  if (!many) return reader_.fail(at, "the key \"names\" is missing");
  if (!reader_.array(*many, 1, kNamesMax)) return;
  for (std::size_t i = 0; i < many->node->items.size(); ++i) read_name(many->item(i), entry);
}

std::optional<ArgCondition> ProfileReader::read_arg(const At& at) {
  static constexpr std::array<std::string_view, 4> kKeys = {"index", "value", "valueTwo", "op"};
  static constexpr std::pair<std::string_view, Op> kOps[] = {
      {"SCMP_CMP_NE", Op::kNotEqual},          {"SCMP_CMP_LT", Op::kLess},
      {"SCMP_CMP_LE", Op::kLessEqual},         {"SCMP_CMP_EQ", Op::kEqual},
      {"SCMP_CMP_GE", Op::kGreaterEqual},      {"SCMP_CMP_GT", Op::kGreater},
      {"SCMP_CMP_MASKED_EQ", Op::kMaskedEqual}};
  if (!reader_.object(at, kKeys)) return std::nullopt;
  ArgCondition condition;
  const auto index = reader_.require(at, "index");
  const auto op = reader_.require(at, "op");
  const auto value = reader_.require(at, "value");
  if (!index || !op || !value) return std::nullopt;
  condition.arg = std::uint32_t(reader_.integer(*index, 0, 5));
  const std::string name = reader_.string(*op, kWordMax);
  const auto* known = std::find_if(std::begin(kOps), std::end(kOps),
                                   [&](const auto& pair) { return pair.first == name; });
  if (known == std::end(kOps)) {
    reader_.fail(*op, "is no comparison of seccomp: \"" + printable(name) + '"');
    return std::nullopt;
  }
  condition.op = known->second;
  const std::uint64_t first = reader_.integer(*value, 0, ~std::uint64_t{0});
  const auto two = find_set(reader_, at, "valueTwo");
  const std::uint64_t second = two ? reader_.integer(*two, 0, ~std::uint64_t{0}) : 0;
  if (condition.op != Op::kMaskedEqual) {
    condition.values = {first};
    if (second != 0) reader_.fail(*two, "goes with SCMP_CMP_MASKED_EQ only");
    return condition;
  }
  condition.mask = first;  // OCI's order: `value` is the mask, `valueTwo` what is to be under it.
  condition.values = {second};
  if (first == 0) reader_.fail(*value, "is a mask of 0: the comparison would always hold");
  if ((second & ~first) != 0)
    reader_.fail(at, "can never hold: \"valueTwo\" has bits that the mask, \"value\", takes away");
  return condition;
}

void ProfileReader::read_args(const At& at, OciEntry& entry) {
  const auto args = find_set(reader_, at, "args");
  if (!args || !reader_.array(*args, 0, 6)) return;
  std::set<std::uint32_t> seen;
  for (std::size_t i = 0; i < args->node->items.size(); ++i) {
    const At item = args->item(i);
    auto condition = read_arg(item);
    if (!condition) return;
    // runc makes several rules of this, of which any one lets the call through: what two of them
    // meant to close together would be open.
    if (!seen.insert(condition->arg).second)
      reader_.fail(item, "argument " + std::to_string(condition->arg) +
                             " is compared twice in one entry, which runc takes for \"or\" and the "
                             "kernel cannot take for \"and\"; write entries that say which");
    entry.when.push_back(std::move(*condition));
  }
}

std::vector<OciEntry> ProfileReader::read(const At& root, ImportedSeccomp& imported) {
  static constexpr std::array<std::string_view, 9> kKeys = {
      "defaultAction", "defaultErrnoRet", "defaultErrno",     "architectures", "archMap",
      "flags",         "listenerPath",    "listenerMetadata", "syscalls"};
  static constexpr std::array<std::string_view, 9> kEntryKeys = {
      "names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"};
  std::vector<OciEntry> entries;
  if (!reader_.object(root, kKeys)) return entries;
  const auto by_default = read_action(root, "defaultAction", "defaultErrnoRet", "defaultErrno");
  if (by_default && by_default->kind == SyscallAction::Kind::kAllow)
    reader_.fail(*reader_.find(root, "defaultAction"),
                 "allows what no entry names: a list of what is not allowed always lacks the calls "
                 "that are not yet invented, and cannot become a policy");
  default_action_ = by_default.value_or(SyscallAction{});
  imported.seccomp.default_action = default_action_;
  read_architectures(root);
  read_surroundings(root);
  const auto list = find_set(reader_, root, "syscalls");
  if (list && reader_.array(*list, 0, kEntriesMax))
    for (std::size_t i = 0; i < list->node->items.size() && !reader_.error(); ++i) {
      const At at = list->item(i);
      if (!reader_.object(at, kEntryKeys)) break;
      if (const auto comment = find_set(reader_, at, "comment"))
        (void)reader_.string(*comment, kTextMax);
      const auto action = read_action(at, "action", "errnoRet", "errno");
      const bool here = applies(at);
      OciEntry entry{at, action.value_or(SyscallAction{}), {}, {}};
      if (here) read_names(at, entry);
      read_args(at, entry);
      if (here) entries.push_back(std::move(entry));
    }
  if (!unknown_.empty())
    note("unknown here, and so left to the default: " +
         list_of_calls({unknown_.begin(), unknown_.end()}));
  imported.notes.assign(notes_.begin(), notes_.end());
  return entries;
}

}  // namespace
}  // namespace internal

Result<ImportedSeccomp> import_oci_seccomp(std::string_view json, const std::string& file,
                                           const ImportTarget& target) {
  const auto root = internal::parse_json(json, std::make_shared<const std::string>(file));
  if (!root) return root.error();
  internal::Reader reader;
  ImportedSeccomp imported;
  const auto entries = internal::ProfileReader(reader, target).read({&*root, ""}, imported);
  if (!reader.error()) internal::resolve_entries(reader, entries, imported);
  if (reader.error()) return *reader.error();
  return imported;
}

}  // namespace fnrun::policies
