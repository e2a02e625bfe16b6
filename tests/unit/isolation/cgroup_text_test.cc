// Cgroups as text: what a policy's limits are written as, what counters say, where a controller is
// bound that is missing, and what /proc says of processes. No cgroup is touched.
#include <gmock/gmock.h>

#include <sys/wait.h>
#include <unistd.h>

#include "isolation/cgroup/limits.h"
#include "isolation/cgroup/stats.h"
#include "isolation/process_sample.h"
#include "policies/policy_check.h"

namespace fnrun::isolation {
namespace {

using policies::Layer;
using policies::Limits;
using testing::HasSubstr;

CgroupFacts every_controller() {
  CgroupFacts facts;
  facts.dir = "/sys/fs/cgroup";
  facts.disks = {"8:0", "253:0"};
  return facts;
}

std::vector<std::string> written(const Limits& limits, const CgroupFacts& facts) {
  std::vector<std::string> all;
  for (const CgroupSetting& setting : cgroup_settings(limits, facts))
    all.push_back(setting.file + "=" + setting.value);
  return all;
}

TEST(CgroupSettings, OfAPlainPolicyAreMemoryProcessesAndCpu) {
  Limits limits;
  limits.memory_max = {10'000'001};
  limits.processes_max = 16;
  EXPECT_THAT(written(limits, every_controller()),
              testing::ElementsAre("memory.max=9998336", "memory.swap.max=0", "memory.oom.group=1",
                                   "pids.max=17", "cpu.max=100000 100000"))
      << "whole pages, and one process more for the init";
}

TEST(CgroupSettings, OfEveryLimitAreAllThere) {
  Limits limits;
  limits.memory_high = {8'192};
  limits.memory_swap_max = {4'096};
  limits.memory_oom_group = false;
  limits.cpu_max_percent = 250;
  limits.cpu_weight = 50;
  limits.cpus = "3,0-1";
  limits.io_read_per_second_max = {1'000};
  limits.io_writes_per_second_max = 5;
  EXPECT_THAT(written(limits, every_controller()),
              testing::ElementsAre(
                  "memory.max=134217728", "memory.high=8192", "memory.swap.max=4096",
                  "memory.oom.group=0", "pids.max=17", "cpu.max=250000 100000", "cpu.weight=50",
                  "io.max=8:0 rbps=1000 wbps=max riops=max wiops=5",
                  "io.max=253:0 rbps=1000 wbps=max riops=max wiops=5", "cpuset.cpus=0-1,3"));
}

TEST(CgroupSettings, OfAMissingControllerAreLeftOut) {
  CgroupFacts facts = every_controller();
  facts.missing[Layer::kMemory] = {"why", "help"};
  facts.missing[Layer::kCpu] = {"why", "help"};
  EXPECT_THAT(written({}, facts), testing::ElementsAre("pids.max=17"));
  facts.dir.clear();
  EXPECT_THAT(written({}, facts), testing::IsEmpty());
}

TEST(Cpus, AreWrittenAsTheKernelGivesThemBack) {
  EXPECT_EQ(canonical_cpus("0"), "0");
  EXPECT_EQ(canonical_cpus("3,1,2,0"), "0-3");
  EXPECT_EQ(canonical_cpus("5,0-1,1-2"), "0-2,5");
  EXPECT_EQ(canonical_cpus("8191"), "8191");
  for (const char* garbage : {"", ",", "-", "a", "4-2", "8192", "99999999999999999999"})
    EXPECT_EQ(canonical_cpus(garbage), "") << garbage;
}

TEST(Cpus, HaveAGrammar) {
  for (const char* fine : {"0", "0-3", "0-3,6", "6,0-3", "8191"})
    EXPECT_EQ(policies::cpus_fault(fine), "") << fine;
  for (const char* wrong : {"", "a", "-1", "1-", "3-1", "0,", ",0", "0 1", "8192", "0-1-2", "+1"})
    EXPECT_THAT(policies::cpus_fault(wrong), HasSubstr("0-3,6")) << wrong;
}

constexpr std::string_view kHybrid =
    "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 24 0:28 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n";
constexpr std::string_view kHybridOwn = "5:memory:/\n6:blkio:/a\n4:cpu,cpuacct:/\n0::/\n";

TEST(MissingController, BoundToVersionOneIsNamedWithItsMount) {
  const ControllerTexts texts{kHybrid, kHybridOwn, "", "", "/sys/fs/cgroup/unified"};
  const auto memory = why_controller_missing("memory", texts);
  EXPECT_THAT(memory.why, HasSubstr("bound to a cgroup v1 hierarchy, mounted at "
                                    "/sys/fs/cgroup/memory"));
  EXPECT_THAT(memory.help, HasSubstr("cgroup_no_v1=all"));
  EXPECT_THAT(why_controller_missing("io", texts).why, HasSubstr("/sys/fs/cgroup/blkio"))
      << "its old name";
  const auto cpu = why_controller_missing("cpu", texts);
  EXPECT_THAT(cpu.why, HasSubstr("v1 hierarchy"));
  EXPECT_THAT(cpu.why, testing::Not(HasSubstr("mounted"))) << "bound, and mounted nowhere here";
}

TEST(MissingController, NotPassedDownIsNamedWithTheGroupThatLacksIt) {
  const ControllerTexts texts{"", "0::/a/b\n", "", "cpu io memory pids\n", "/sys/fs/cgroup/a/b"};
  const auto memory = why_controller_missing("memory", texts);
  EXPECT_THAT(memory.why, HasSubstr("not passed down to /sys/fs/cgroup/a/b"));
  EXPECT_THAT(memory.help, HasSubstr("Delegate="));
  EXPECT_THAT(memory.help, HasSubstr("+memory"));
}

TEST(MissingController, SwitchedOffAndNotBuiltAreToldApart) {
  const std::string_view all =
      "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\npids\t0\t1\t1\n";
  const ControllerTexts texts{"", "0::/\n", all, "cpu\n", "/sys/fs/cgroup"};
  EXPECT_THAT(why_controller_missing("memory", texts).help, HasSubstr("cgroup_disable=memory"));
  EXPECT_THAT(why_controller_missing("io", texts).help, HasSubstr("built without"));
}

TEST(Counters, IoIsTheSumOfAllDisks) {
  const auto io = parse_io_stat(
      "8:0 rbytes=100 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n"
      "8:16 rbytes=11 wbytes=2\n253:0 \n");
  EXPECT_EQ(io.read, 111U);
  EXPECT_EQ(io.written, 9U);
  for (const char* garbage : {"", "8:0 rbytes=-1", "8:0 rbytes= wbytes=x", "rbytes"})
    EXPECT_EQ(parse_io_stat(garbage).read, 0U) << garbage;
}

TEST(Counters, OfACallAreDifferencesAndPeaksAreNot) {
  ResourceUse before;
  before.cpu = CpuTime{std::chrono::microseconds(10), std::chrono::microseconds(5)};
  before.oom_kills = 3;
  before.memory_peak_bytes = 100;
  ResourceUse after = before;
  after.cpu = CpuTime{std::chrono::microseconds(25), std::chrono::microseconds(6)};
  after.oom_kills = 4;
  after.processes_max_hits = 2;
  const ResourceUse used = since(before, after);
  EXPECT_EQ(used.cpu->user.count(), 15);
  EXPECT_EQ(used.cpu->system.count(), 1);
  EXPECT_EQ(used.oom_kills, 1U);
  EXPECT_EQ(used.memory_peak_bytes, 100U);
  EXPECT_EQ(used.processes_max_hits, 2U) << "not counted before: all of it";
  EXPECT_EQ(used.io_read_bytes, std::nullopt) << "unknown stays unknown";
}

TEST(ProcessText, MemoryIsReadByKeyWhateverItsPlace) {
  constexpr std::string_view kStatus =
      "Name:\tRssAnon: 7 kB\nVmRSS:\t    3000 kB\nRssAnon:\t    1000 kB\nThreads:\t5\n";
  EXPECT_EQ(status_bytes(kStatus, "RssAnon"), 1'024'000U)
      << "not the name, which a handler chooses";
  EXPECT_EQ(status_bytes(kStatus, "RssShmem"), 0U);
  EXPECT_EQ(status_bytes("RssAnon:\t99999999999999999999 kB", "RssAnon"), 0U);
}

TEST(ProcessText, CpuTimeIsFoundBehindAHostileName) {
  EXPECT_EQ(stat_cpu("7 (a) 1 2) S 1 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1", 100).count(),
            1'000'000);
  for (const char* garbage : {"", "7 (a", "7 (a)", "7 (a) S 1 2", ")"})
    EXPECT_EQ(stat_cpu(garbage, 100).count(), 0) << garbage;
}

TEST(ProcessText, TheTestsOwnChildrenAreSampled) {
  if (!can_sample_processes()) GTEST_SKIP() << "this kernel has no CONFIG_PROC_CHILDREN";
  EXPECT_EQ(sample_processes(::getpid(), UINT64_MAX)->threads, 0U);
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe_fds[1]);
    char byte;
    (void)!::read(pipe_fds[0], &byte, 1);
    ::_exit(0);
  }
  const auto sample = sample_processes(::getpid(), UINT64_MAX);
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->threads, 1U);
  EXPECT_GT(sample->resident_bytes, 0U);
}

}  // namespace
}  // namespace fnrun::isolation
