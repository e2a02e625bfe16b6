// compile(): a policy held against a host. Hosts are plain values here, privileged or not whoever
// runs the test; the files are real, in a folder of the test's own.
#include "isolation/plan.h"

#include <gmock/gmock.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "isolation/plan_message.h"
#include "tests/support/sandbox_fixture.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/isolation/fake_elf.h"

namespace fnrun::isolation {
namespace {

using policies::Layer;
using testing::HasSubstr;
using Kind = RootEntry::Kind;

Host whole_host() {
  Host host;
  host.kernel_release = "6.18.0";
  host.uid = 0;
  host.privileged = true;
  host.slot_uids = UidRange{1'000'000, 100};
  host.landlock_abi = 7;
  host.time_namespace = true;
  host.last_capability = 40;
  host.seccomp_listener = true;
  host.cgroup.dir = "/sys/fs/cgroup";
  return host;
}

class Compile : public ::testing::Test {
 protected:
  Compile() { handler.path = temp.file("handler", test::fake_elf(), 0755); }

  Result<Plan> compiled() {
    handler.argv = {handler.path};
    return compile(policy, host, handler);
  }
  void show(const std::string& target, const std::string& source, bool optional = false) {
    policy.filesystem.read_only.push_back(
        {.target = target, .source = source, .optional = optional, .why = "of the test"});
  }
  SetupError error() {
    const auto plan = compiled();
    return plan ? SetupError{} : plan.error();
  }
  static const RootEntry* entry(const Plan& plan, const std::string& path) {
    const RootEntry* found = nullptr;  // The last one: a mount comes after its mount point.
    for (const RootEntry& one : plan.root)
      if (one.path == path) found = &one;
    return found;
  }

  test::TempDir temp;
  policies::Policy policy;
  Host host = whole_host();
  HandlerFile handler;
};

TEST_F(Compile, AWholeHostHasEveryLayerAndNothingDegraded) {
  const Plan plan = compiled().value();
  EXPECT_TRUE(plan.degraded.empty());
  for (const char* layer :
       {"user_namespace", "pid_namespace", "mount_namespace", "network_namespace", "ipc_namespace",
        "uts_namespace", "cgroup_namespace", "time_namespace", "cgroup", "private_root", "rlimits",
        "memory", "pids", "cpu", "session_keyring", "no_capabilities", "no_new_privs", "landlock",
        "seccomp"})
    EXPECT_THAT(plan.layers, testing::Contains(layer));
  EXPECT_EQ(plan.layers.back(), "seccomp");  // In the order of setting up.
}

TEST_F(Compile, ForbiddenCallsAreToldOfWhereTheHostAndThePolicyLet) {
  const Plan plan = compiled().value();
  EXPECT_EQ(plan.forbidden_calls, KillBy::kListener);
  EXPECT_THAT(plan.explain(), HasSubstr("reported with name and arguments"));
  const auto expect_deaf = [&](const std::string& because) {
    const Plan deaf = compiled().value();
    EXPECT_EQ(deaf.forbidden_calls, KillBy::kKernel);
    ASSERT_TRUE(deaf.degraded.contains("forbidden_calls"));
    EXPECT_THAT(deaf.degraded.at("forbidden_calls"), HasSubstr(because));
    EXPECT_THAT(deaf.explain(), testing::Not(HasSubstr("reported with name")));
    EXPECT_THAT(deaf.layers, testing::Contains("seccomp"));
  };
  host.seccomp_listener = false;
  expect_deaf("not to be had here");
  host.seccomp_listener = true;
  // A conditional rule, too, could stop it.
  policies::SyscallRule leave{"leave",
                              {policies::SyscallAction::Kind::kAllow, 0},
                              {"exit_group"},
                              {{.arg = 0, .values = {0}}},
                              "of the test"};
  for (auto& rule : policy.seccomp.rules) std::erase(rule.calls, std::string("exit_group"));
  expect_deaf("exit_group");
  policy.seccomp.rules.push_back(leave);
  expect_deaf("exit_group");
  policy.seccomp.rules.back().when.clear();
  EXPECT_EQ(compiled().value().forbidden_calls, KillBy::kListener);
}

TEST_F(Compile, ExecOnceNeedsSomebodyWhoListens) {
  policy.seccomp.exec_once = true;
  EXPECT_THAT(compiled().value().explain(), HasSubstr("execve succeeds once"));
  host.seccomp_listener = false;
  EXPECT_EQ(error().step, SetupStep::kPolicy);
  EXPECT_THAT(error().to_string(), HasSubstr("exec_once needs somebody"));
  policy.seccomp.exec_once = false;
  EXPECT_THAT(compiled().value().explain(), testing::Not(HasSubstr("execve succeeds once")));
}

TEST_F(Compile, ARequiredLayerThatIsMissingIsRefusedNamingLayerAndCause) {
  host.cgroup.dir.clear();
  host.cgroup.no_dir_because = "the test took it away";
  EXPECT_EQ(error().step, SetupStep::kLayerMissing);
  EXPECT_THAT(error().to_string(), HasSubstr("requires 'cgroup': the test took it away"));
  EXPECT_THAT(error().to_string(), HasSubstr("hint: add the layer to the policy's \"prefer\""));
  host = whole_host();
  host.landlock_abi = 0;
  EXPECT_EQ(error().step, SetupStep::kLayerMissing);
  EXPECT_THAT(error().to_string(), HasSubstr("requires 'landlock': this kernel has no Landlock"));
  host = whole_host();
  host.time_namespace = false;
  EXPECT_EQ(error().step, SetupStep::kLayerMissing);
  EXPECT_THAT(error().to_string(), HasSubstr("requires 'time_namespace'"));
}

TEST_F(Compile, APreferredLayerThatIsMissingIsWrittenDown) {
  for (const Layer layer : policies::kLayers) policy.preferred[layer] = "why";
  EXPECT_TRUE(compiled().value().degraded.empty());  // There: nothing is said.
  host.cgroup.dir.clear();
  host.cgroup.no_dir_because = "the test took it away";
  host.landlock_abi = 0;
  host.time_namespace = false;
  const Plan plan = compiled().value();
  ASSERT_EQ(plan.degraded.size(), 6U) << "with memory, pids and cpu, which no group can have then";
  EXPECT_THAT(plan.degraded.at("cgroup"), testing::StartsWith("the test took it away; "));
  EXPECT_FALSE(plan.use_cgroup);
  EXPECT_FALSE(plan.use_time_namespace);
  EXPECT_EQ(plan.landlock_fs, 0U);
  for (const char* layer : {"cgroup", "landlock", "time_namespace", "memory", "pids", "cpu"}) {
    EXPECT_THAT(plan.layers, testing::Not(testing::Contains(layer)));
    EXPECT_THAT(plan.explain(), HasSubstr(std::string("DEGRADED ") + layer));
  }
  EXPECT_THAT(plan.layers, testing::Contains("seccomp"));  // Never degraded.
}

TEST_F(Compile, AControllerIsMissedOnlyByAPolicyThatNeedsIt) {
  for (const Layer controller : policies::kControllers)
    host.cgroup.missing[controller] = {"taken away", "give it back"};
  for (const Layer layer : {Layer::kMemory, Layer::kPids, Layer::kCpu})
    policy.preferred[layer] = "why";
  const Plan plan = compiled().value();
  EXPECT_EQ(plan.degraded.size(), 3U) << "no limit asks for io and cpuset";
  EXPECT_TRUE(plan.controllers.empty());
  EXPECT_TRUE(plan.cgroup_settings.empty());
  EXPECT_TRUE(plan.sample_memory && plan.sample_processes);
  EXPECT_THAT(plan.degraded.at("memory"), HasSubstr("taken away; instead resident memory"));
  policy.limits.io_read_per_second_max = policies::mebibytes(1);
  EXPECT_THAT(error().to_string(), HasSubstr("requires 'io': taken away; to enable it, give it"));
  policy.limits.io_read_per_second_max = {0};
  policy.limits.cpus = "0";
  EXPECT_THAT(error().to_string(), HasSubstr("requires 'cpuset'"));
  policy.limits.cpus = "";
  policy.limits.cpu_max_percent = 0;
  EXPECT_FALSE(compiled().value().degraded.contains("cpu"));
}

TEST_F(Compile, WhereNobodyCanLookTheReportSaysThatNothingIsEnforced) {
  host.cgroup.dir.clear();
  host.can_sample = false;
  for (const Layer layer : policies::kLayers) policy.preferred[layer] = "why";
  const Plan plan = compiled().value();
  EXPECT_THAT(plan.degraded.at("memory"), HasSubstr("memory_max_bytes is NOT enforced"));
  EXPECT_THAT(plan.degraded.at("cpu_time"), HasSubstr("cpu_time_max_ms is NOT enforced"));
  EXPECT_FALSE(plan.sample_memory);
}

TEST_F(Compile, TheControllerOfProcessesRefusesBeforeTheRlimitDoes) {
  const auto nproc = [&] {
    for (const ResourceLimit& limit : compiled().value().limits)
      if (limit.resource == RLIMIT_NPROC) return limit.value;
    return std::uint64_t{0};
  };
  EXPECT_GT(nproc(), policy.limits.processes_max + 1);
  host.cgroup.missing[Layer::kPids] = {"why", ""};
  policy.preferred[Layer::kPids] = "why";
  EXPECT_EQ(nproc(), policy.limits.processes_max + 1);
}

TEST_F(Compile, GroupsThatCannotBeDroppedAreDegradedWithoutPrivilegeOnly) {
  host.supplementary_groups = 3;
  EXPECT_TRUE(compiled().value().degraded.empty());
  host.privileged = false;
  host.slot_uids.reset();
  host.uid = 1'000;
  EXPECT_THAT(compiled().value().degraded.at("supplementary_groups"), HasSubstr("its 3 "));
}

TEST_F(Compile, LandlockHandlesWhatTheKernelsAbiKnows) {
  std::uint64_t before = 0;
  for (const int abi : {1, 2, 3, 4, 5, 6, 7}) {
    host.landlock_abi = abi;
    const Plan plan = compiled().value();
    EXPECT_EQ(plan.landlock_fs & before, before) << "an ABI takes nothing away";
    EXPECT_EQ(plan.landlock_net != 0, abi >= 4);
    EXPECT_EQ(plan.landlock_scoped != 0, abi >= 6);
    for (const LandlockPath& path : plan.landlock_paths)
      EXPECT_EQ(path.access & ~plan.landlock_fs, 0U) << path.path << ": the kernel would refuse";
    before = plan.landlock_fs;
  }
}

TEST_F(Compile, AMissingMountSourceIsAnErrorUnlessItIsOptional) {
  const std::string absent = (temp.path() / "absent").string();
  show("/data", absent);
  EXPECT_EQ(error().step, SetupStep::kMountSource);
  EXPECT_EQ(error().os_errno, ENOENT);
  EXPECT_THAT(error().to_string(), HasSubstr(absent));
  EXPECT_THAT(error().to_string(), HasSubstr("\"optional\": true"));
  policy.filesystem.read_only.clear();
  show("/data", absent, /*optional=*/true);
  EXPECT_EQ(entry(compiled().value(), "data"), nullptr);
  temp.folder("absent");
  EXPECT_EQ(entry(compiled().value(), "data")->source, absent);  // There: it is shown.
}

TEST_F(Compile, TheErrorsIndexIsThePathsPlaceByTarget) {
  show("/b", (temp.path() / "absent").string());
  show("/a", temp.folder("a"));
  EXPECT_EQ(error().index, 1);  // The second by target, whatever the order they were given in.
}

TEST_F(Compile, ASourceThatTheSandboxsUidMayNotReadIsNamedBeforeLaunch) {
  show("/data", temp.folder("data", 0700));
  EXPECT_EQ(error().step, SetupStep::kMountSource);
  EXPECT_EQ(error().os_errno, EACCES);
  EXPECT_THAT(error().to_string(), HasSubstr("not readable for others"));
  temp.folder("data", 0755);
  EXPECT_TRUE(compiled());
  policy.filesystem.read_only.clear();
  show("/file", temp.file("file", "x", 0640));
  EXPECT_EQ(error().os_errno, EACCES);
  temp.file("file", "x", 0644);
  EXPECT_TRUE(compiled());
}

TEST_F(Compile, WithoutPrivilegeItIsOurOwnReadingThatCounts) {
  host.privileged = false;
  host.slot_uids.reset();
  show("/data", temp.folder("data", 0700));
  const Plan plan = compiled().value();
  EXPECT_FALSE(entry(plan, "data")->source_fd);  // Bound by path, in the sandbox's own namespace.
  if (::geteuid() == 0) return;                  // Nothing is unreadable to root.
  temp.folder("data", 0000);
  EXPECT_EQ(error().os_errno, EACCES);
  temp.folder("data", 0700);
}

TEST_F(Compile, ParentsComeFirst) {
  show("/a/b/c", temp.folder("c"));
  show("/a/b/file", temp.file("file", "x"));
  show("/z", temp.folder("z"));
  policy.filesystem.read_only.back().executable = false;
  const Plan plan = compiled().value();
  std::set<std::string> there{""};
  for (const RootEntry& one : plan.root) {
    const auto slash = one.path.rfind('/');
    EXPECT_TRUE(there.contains(slash == std::string::npos ? "" : one.path.substr(0, slash)))
        << one.path << " before its folder";
    const bool mounted =
        one.kind == Kind::kMount || one.kind == Kind::kTmpfs || one.kind == Kind::kProc;
    EXPECT_EQ(there.contains(one.path), mounted)
        << one.path << (mounted ? " has no mount point" : " is made twice");
    there.insert(one.path);
  }
  EXPECT_TRUE(entry(plan, "a/b/c")->is_directory);
  EXPECT_FALSE(entry(plan, "a/b/file")->is_directory);
  EXPECT_TRUE(entry(plan, "z")->attributes & MOUNT_ATTR_NOEXEC);
  EXPECT_FALSE(entry(plan, "a/b/c")->attributes & MOUNT_ATTR_NOEXEC);
  for (const RootEntry& one : plan.root) {
    EXPECT_TRUE(one.kind != Kind::kMount || (one.attributes & MOUNT_ATTR_RDONLY)) << one.path;
  }
}

TEST_F(Compile, AMountInsideAMountNeedsAMountPointThere) {
  show("/outer", temp.folder("outer"));
  show("/outer/inner", temp.folder("inner"));
  EXPECT_EQ(error().step, SetupStep::kMountSource);
  EXPECT_EQ(error().os_errno, ENOENT);
  EXPECT_THAT(error().to_string(), HasSubstr("mount point /outer/inner lies in the read-only"));
  temp.file("outer/inner", "a file is no mount point for a folder");
  EXPECT_EQ(error().os_errno, ENOENT);
  std::filesystem::remove(temp.path() / "outer/inner");
  temp.folder("outer/inner");
  const Plan plan = compiled().value();
  std::vector<std::string> mounts;
  for (const RootEntry& one : plan.root)
    if (one.kind == Kind::kMount && one.path.starts_with("outer")) mounts.push_back(one.path);
  EXPECT_EQ(mounts, (std::vector<std::string>{"outer", "outer/inner"}));
}

TEST_F(Compile, ALinkOfTheHostStaysALinkAndNothingPassesThroughIt) {
  const std::string real = temp.folder("real");
  const std::string link = temp.link("link", "real");
  show(link, link);
  show(real, real);
  const Plan plan = compiled().value();
  EXPECT_EQ(entry(plan, link.substr(1))->kind, Kind::kSymlink);
  EXPECT_EQ(entry(plan, link.substr(1))->source, "real");
  EXPECT_EQ(entry(plan, real.substr(1))->kind, Kind::kMount);
  show(link + "/x", temp.folder("x"));
  EXPECT_EQ(error().os_errno, ENOTDIR);
  EXPECT_THAT(error().to_string(), HasSubstr("passes through the link"));
}

TEST_F(Compile, ALinkShownUnderAnotherNameIsWhatItPointsTo) {
  const std::string real = temp.folder("real");
  show("/data", temp.link("link", "real"));
  const Plan plan = compiled().value();
  EXPECT_EQ(entry(plan, "data")->kind, Kind::kMount);
  EXPECT_EQ(entry(plan, "data")->source, real);
}

TEST_F(Compile, ALinkLeadsToNothingThatASourceMayNotName) {
  for (const char* real : {"/", "/proc", "/dev", "/proc/self"}) {
    policy.filesystem.read_only.clear();
    show("/data", temp.link("to" + std::to_string(::strlen(real)), real));
    EXPECT_EQ(error().step, SetupStep::kMountSource) << real;
    EXPECT_THAT(error().to_string(), HasSubstr("must not be")) << real;
  }
}

TEST_F(Compile, AHandlerThatNoPathShowsIsMountedByItself) {
  const Plan alone = compiled().value();
  const RootEntry* file = entry(alone, handler.path.substr(1));
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->kind, Kind::kMount);
  EXPECT_EQ(file->why, "the handler");
  EXPECT_FALSE(file->attributes & MOUNT_ATTR_NOEXEC);
  EXPECT_TRUE(file->source_fd);
  show(temp.path().string(), temp.path().string());
  EXPECT_EQ(entry(compiled().value(), handler.path.substr(1)), nullptr);  // Shown already.
  policy.filesystem.read_only.back().executable = false;  // Shown, but not to be executed there.
  EXPECT_NE(entry(compiled().value(), handler.path.substr(1)), nullptr);
}

TEST_F(Compile, AnInterpreterOutsideIsMountedToo) {
  handler.interpreter = temp.file("interpreter", test::fake_elf(), 0755);
  EXPECT_EQ(entry(compiled().value(), handler.interpreter.substr(1))->why,
            "the handler's interpreter");
}

TEST_F(Compile, ALoaderThatIsNotVisibleIsAnError) {
  handler.loader = temp.file("loader", test::fake_elf(), 0755);
  EXPECT_EQ(error().step, SetupStep::kHandlerNotFound);
  EXPECT_THAT(error().to_string(), HasSubstr("its loader " + handler.loader + " is not visible"));
  EXPECT_THAT(error().to_string(), HasSubstr("link it statically"));
  show(handler.loader, handler.loader);
  EXPECT_TRUE(compiled());
}

TEST_F(Compile, TheWholePolicyIsInTheMessageOrTooLongByName) {
  policy.environment.set["BIG"] = std::string(200'000, 'x');
  const auto message = encode_plan(compiled().value(), {});
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().step, SetupStep::kCommandTooLong);
  EXPECT_EQ(message.error().os_errno, E2BIG);
  policy.environment.set.clear();
  const Plan plan = compiled().value();
  EXPECT_TRUE(encode_plan(plan, {}));
  const std::vector<std::string> many = [] {
    std::vector<std::string> list;
    for (int i = 0; i < 1'025; ++i) list.push_back("N" + std::to_string(i) + "=");
    return list;
  }();
  EXPECT_EQ(encode_plan(plan, many).error().step, SetupStep::kCommandTooLong);
  handler.argv.assign(1'025, "a");
  const auto too_many = compile(policy, host, handler);
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().step, SetupStep::kCommandTooLong);
}

TEST_F(Compile, APolicyUnderWhichNothingCouldStartIsRefused) {
  auto& rules = policy.seccomp.rules;
  for (auto& rule : rules) std::erase(rule.calls, "execve");
  EXPECT_EQ(error().step, SetupStep::kPolicy);
  EXPECT_THAT(error().to_string(), HasSubstr("execve"));
  rules.push_back({.name = "exec",
                   .action = {policies::SyscallAction::Kind::kAllow, 0},
                   .calls = {"execve"},
                   .when = {{.arg = 2, .values = {0}}},  // An address: nobody knows it beforehand.
                   .why = "a test"});
  EXPECT_EQ(error().step, SetupStep::kPolicy);
  rules.back().when.clear();
  EXPECT_TRUE(compiled());
}

TEST_F(Compile, ExplainNamesEveryLayerMountLimitAndRule) {
  policy = test::shipped_policy("strict");
  policy.filesystem.dev_shm = "semaphores";
  show("/extra", temp.folder("extra"));
  handler.loader.clear();
  const Plan plan = compiled().value();
  const std::string text = plan.explain();
  EXPECT_TRUE(text.ends_with('\n'));
  for (const std::string& layer : plan.layers) EXPECT_THAT(text, HasSubstr(" " + layer));
  for (const RootEntry& one : plan.root) {
    if (one.kind == Kind::kDirectory || one.kind == Kind::kFile) continue;
    EXPECT_THAT(text, HasSubstr("  /" + one.path + " "));
    EXPECT_THAT(text, HasSubstr(one.why));
  }
  for (const ResourceLimit& limit : plan.limits)
    EXPECT_THAT(text, HasSubstr("  " + limit.name + ": " + std::to_string(limit.value)));
  for (const auto& rule : policy.seccomp.rules) {
    EXPECT_THAT(text, HasSubstr("  " + rule.name + ": "));
    EXPECT_THAT(text, HasSubstr(rule.why));
  }
  EXPECT_THAT(text, HasSubstr("  /dev/shm -> /tmp  # semaphores"));
  for (const char* floor : {"tripwire-mounts: 11 calls kill", "no-clone3: 1 call refused",
                            "clone-flags: 1 left to the default", "may be writable and executable"})
    EXPECT_THAT(text, HasSubstr(floor));
  EXPECT_THAT(text, HasSubstr(handler.path));
  EXPECT_THAT(text, HasSubstr("from 1000000 to 1000099"));
  EXPECT_THAT(text, HasSubstr("LANG=C.UTF-8"));
  EXPECT_THAT(text, HasSubstr(temp.path().string() + "/extra"));
}

}  // namespace
}  // namespace fnrun::isolation
