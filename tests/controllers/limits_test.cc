// Every limit, hit: by memory, processes, threads, CPU time, reading and writing. With controllers
// of cgroup v2 or, where the host has none, with what stands in for them; what only a controller
// can do is skipped there, with the reason, and run in the virtual machine (tests/vm).
//
// A neighbour of the greedy handler goes on answering all the while. No verdict hangs on how long
// anything takes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "supervisor/service.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using policies::Layer;
using Plan = std::shared_ptr<const isolation::Plan>;
using testing::Contains;

constexpr std::uint64_t kMiB = 1024 * 1024;

class Limit : public test::SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    policy = strict;
    policy.limits.invoke_timeout = 10min;  // Never the reason of anything here.
    policy.limits.start_timeout = 1min;
    policy.limits.kill_timeout = 1min;
    policy.limits.memory_max = policies::mebibytes(64);
    policy.limits.cpu_time_max = 0ms;
    policy.limits.cpu_max_percent = 0;
  }

  Plan greedy(const policies::Policy& of) const {
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    return std::make_shared<const isolation::Plan>(
        plan({told != nullptr ? std::string(told) + "/handlers/greedy" : FNRUN_GREEDY}, of));
  }
  bool has(Layer controller) const { return host.cgroup.has(controller); }
  std::string why_not(Layer controller) const {
    const auto found = host.cgroup.missing.find(controller);
    return found != host.cgroup.missing.end() ? found->second.why : host.cgroup.no_dir_because;
  }

  // The events, one after another in one service.
  std::vector<Invocation> calls(const Plan& plan, std::vector<std::string> events) {
    return beside(plan, std::move(events), false);
  }
  // The same while a neighbour is asked, from before the first event until after the last.
  std::vector<Invocation> calls_beside_a_neighbour(const Plan& plan,
                                                   std::vector<std::string> events) {
    return beside(plan, std::move(events), true);
  }

  policies::Policy policy;

 private:
  static Input input(const std::string& event) {
    Input of_event;
    of_event.data = event;
    return of_event;
  }

  std::vector<Invocation> beside(const Plan& plan, std::vector<std::string> events,
                                 bool with_neighbour) {
    asio::io_context context(1);
    std::vector<Invocation> done;
    bool over = false;
    ServiceOptions lines;
    lines.protocol = HandlerProtocol::kLines;
    Service service(context.get_executor(), *launcher, plan, lines);
    Service neighbour(context.get_executor(), *launcher, plan, lines);
    const auto rethrow = [](const std::exception_ptr& failure) {
      if (failure) std::rethrow_exception(failure);
    };
    if (with_neighbour)
      asio::co_spawn(
          context,
          [&]() -> asio::awaitable<void> {
            while (!over) {
              auto hello = input("hello");
              const auto answered = co_await neighbour.invoke(std::move(hello));
              EXPECT_EQ(answered.report.outcome, Outcome::kOk);
              EXPECT_EQ(answered.report.sandbox.calls_served, ++neighbours_answers);
            }
            co_await neighbour.shut_down();
          },
          rethrow);
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
          for (const std::string& event : events) {
            auto taken = input(event);
            done.push_back(co_await service.invoke(std::move(taken)));
          }
          over = true;
          co_await service.shut_down();
        },
        rethrow);
    context.run();
    if (with_neighbour) {
      EXPECT_GT(neighbours_answers, 0U);
    }
    return done;
  }

  std::uint64_t neighbours_answers = 0;
};

// Memory

TEST_F(Limit, ABombOfMemoryIsOutOfMemoryWithItsEvidence) {
  const auto ended = calls_beside_a_neighbour(greedy(policy), {"memory_all"}).at(0).report;
  EXPECT_EQ(ended.outcome, Outcome::kOutOfMemory) << to_json(ended);
  if (has(Layer::kMemory)) {
    EXPECT_GE(ended.evidence.limits.oom_kills, 1U);
    EXPECT_EQ(ended.evidence.killed_for, isolation::KillReason::kNone) << "the kernel was first";
  } else {
    EXPECT_EQ(ended.evidence.killed_for, isolation::KillReason::kMemory);
    EXPECT_EQ(ended.usage.peak_of, "sampled");
    EXPECT_TRUE(ended.degraded->contains("memory"));
  }
}

TEST_F(Limit, TheNextCallAfterABombGetsANewSandboxWithNothingOnItsAccount) {
  const auto two = calls(greedy(policy), {"memory_all", "hello"});
  EXPECT_EQ(two.at(0).report.outcome, Outcome::kOutOfMemory);
  EXPECT_EQ(two.at(1).report.outcome, Outcome::kOk);
  EXPECT_EQ(two.at(1).report.evidence.limits.oom_kills, 0U);
  EXPECT_NE(two.at(0).report.sandbox.pid, two.at(1).report.sandbox.pid);
}

TEST_F(Limit, ABombOfFilesInTmpIsOutOfMemory) {
  if (!has(Layer::kMemory)) GTEST_SKIP() << why_not(Layer::kMemory);
  policy.limits.tmp_max = policies::mebibytes(512);
  policy.limits.file_size_max = policies::mebibytes(512);
  const auto ended = calls_beside_a_neighbour(greedy(policy), {"fill /tmp/x"}).at(0).report;
  EXPECT_EQ(ended.outcome, Outcome::kOutOfMemory) << to_json(ended);
  EXPECT_GE(ended.evidence.limits.oom_kills, 1U);
}

TEST_F(Limit, FilesInTmpEndAtTheirOwnLimitWhereThatIsLower) {
  policy.limits.tmp_max = policies::mebibytes(16);
  const auto full = calls_beside_a_neighbour(greedy(policy), {"fill /tmp/x", "hello"});
  EXPECT_EQ(full.at(0).report.outcome, Outcome::kOk) << to_json(full.at(0).report);
  EXPECT_EQ(full.at(0).result->data, "full");
  EXPECT_EQ(full.at(1).report.outcome, Outcome::kOk);
}

TEST_F(Limit, WithoutOomGroupOneProcessGoesAndTheHandlerLivesToTell) {
  if (!has(Layer::kMemory)) GTEST_SKIP() << why_not(Layer::kMemory);
  policy.limits.memory_oom_group = false;
  const auto two = calls(greedy(policy), {"memory_child", "hello"});
  EXPECT_EQ(two.at(0).report.outcome, Outcome::kOk) << to_json(two.at(0).report);
  EXPECT_EQ(two.at(0).result->data, "signal 9");
  EXPECT_GE(two.at(0).report.usage.oom_kills.value_or(0), 1U) << "an answer stays one, with a note";
  EXPECT_EQ(two.at(1).report.usage.oom_kills, 0U) << "differences, not sums";
  policy.limits.memory_oom_group = true;
  EXPECT_EQ(calls(greedy(policy), {"memory_child"}).at(0).report.outcome, Outcome::kOutOfMemory);
}

TEST_F(Limit, MemoryThatIsTooLittleToStartSaysSo) {
  if (!has(Layer::kMemory)) GTEST_SKIP() << why_not(Layer::kMemory);
  auto plan = std::make_shared<isolation::Plan>(
      isolation::compile(policy, host, greedy(policy)->handler).value());
  for (auto& setting : plan->cgroup_settings)
    if (setting.file == "memory.max") setting.value = "65536";
  const auto refused = calls(plan, {"hello"}).at(0).report;
  EXPECT_EQ(refused.outcome, Outcome::kSetupFailed) << to_json(refused);
  EXPECT_THAT(describe(refused.outcome, refused.evidence),
              testing::HasSubstr("memory_max_bytes is too small"));
}

TEST_F(Limit, MemoryIsFoundWhereverAHandlerHidesIt) {
  // Held by a thread whose process looks like a zombie; in page tables of pages that are all zero.
  for (const char* event : {"hide_in_thread 256", "hide_in_page_tables 64"}) {
    const auto ended = calls(greedy(policy), {event}).at(0).report;
    EXPECT_EQ(ended.outcome, Outcome::kOutOfMemory) << event << to_json(ended);
  }
}

TEST_F(Limit, MemoryThatTwoProcessesShareCountsOnce) {
  // 40 of 64 MiB, seen by a vfork(2)ed child, and by forks that only read.
  for (const char* event : {"vfork 40 300", "share_with_forks 40 8 300"}) {
    const auto done = calls(greedy(policy), {event}).at(0).report;
    EXPECT_EQ(done.outcome, Outcome::kOk) << event << to_json(done);
    EXPECT_LT(done.usage.memory_peak_bytes.value_or(0), 60 * kMiB) << event;
  }
}

TEST_F(Limit, AnEndOfTheRangeThatAPolicyMayNameIsOneThatTheKernelTakes) {
  policies::Policy least = policy;
  least.limits.memory_max = {4'194'304};
  least.limits.cpu_max_percent = 1;
  least.limits.cpu_weight = 1;
  policies::Policy most = policy;
  most.limits.memory_max = most.limits.memory_high = most.limits.memory_swap_max = {1ULL << 40};
  most.limits.cpu_max_percent = 819'200;
  most.limits.cpu_weight = 10'000;
  // Without the controller RLIMIT_NPROC bounds, which cannot be above the supervisor's own.
  if (has(Layer::kPids)) most.limits.processes_max = 4'194'303;
  for (const policies::Policy& one : {least, most})
    EXPECT_EQ(calls(greedy(one), {"hello"}).at(0).report.outcome, Outcome::kOk);
}

// Processes

TEST_F(Limit, ABombOfForksIsPidsExceeded) {
  policy.limits.invoke_timeout = 10s;  // It never answers; this ends it.
  const auto ended = calls_beside_a_neighbour(greedy(policy), {"fork_bomb"}).at(0).report;
  EXPECT_EQ(ended.outcome, Outcome::kPidsExceeded) << to_json(ended);
  EXPECT_EQ(ended.evidence.killed_for, isolation::KillReason::kDeadline);
  EXPECT_EQ(ended.evidence.limits.refused_forks != 0, has(Layer::kPids));
  EXPECT_EQ(ended.evidence.limits.processes_at_max, !has(Layer::kPids));
}

TEST_F(Limit, ABombOfThreadsIsPidsExceeded) {
  policy.limits.invoke_timeout = 10s;
  const auto ended = calls_beside_a_neighbour(greedy(policy), {"thread_bomb"}).at(0).report;
  EXPECT_EQ(ended.outcome, Outcome::kPidsExceeded) << to_json(ended);
  EXPECT_EQ(ended.evidence.limits.refused_forks != 0, has(Layer::kPids));
  EXPECT_EQ(ended.evidence.limits.processes_at_max, !has(Layer::kPids));
}

TEST_F(Limit, WhatAControllerAloneStopsSucceedsWithoutItsSettings) {
  if (!has(Layer::kMemory)) GTEST_SKIP() << why_not(Layer::kMemory);
  if (!has(Layer::kPids)) GTEST_SKIP() << why_not(Layer::kPids);
  const std::vector<std::string> events{"threads 100", "use 96 1 1"};  // Threads, MiB.
  const auto plan = [&](bool limited) {
    auto made = std::make_shared<isolation::Plan>(
        isolation::compile(policy, host, greedy(policy)->handler).value());
    std::erase_if(made->limits, [](const auto& limit) { return limit.resource == RLIMIT_NPROC; });
    if (!limited) made->cgroup_settings.clear();
    return made;
  };
  const auto with = calls(plan(true), events);
  EXPECT_LT(std::stoi(with.at(0).result->data), 64);
  EXPECT_EQ(with.at(1).report.outcome, Outcome::kOutOfMemory) << to_json(with.at(1).report);
  const auto without = calls(plan(false), events);
  EXPECT_EQ(without.at(0).result->data, "100");
  EXPECT_EQ(without.at(1).report.outcome, Outcome::kOk) << to_json(without.at(1).report);
}

TEST_F(Limit, ALimitOfProcessesThatWasTouchedDoesNotSpoilAnAnswer) {
  policy.limits.processes_max = 8;
  const auto two = calls(greedy(policy), {"threads 100", "hello"});
  EXPECT_EQ(two.at(0).report.outcome, Outcome::kOk) << to_json(two.at(0).report);
  EXPECT_EQ(two.at(0).result->data, "7") << "the handler itself is the eighth";
  if (has(Layer::kPids)) {
    EXPECT_EQ(two.at(0).report.usage.processes_max_hits, 1U);
    EXPECT_EQ(two.at(1).report.usage.processes_max_hits, 0U);
  }
}

// CPU

TEST_F(Limit, ABurnerOfCpuTimeIsCpuExceeded) {
  policy.limits.cpu_time_max = 300ms;
  const auto ended = calls_beside_a_neighbour(greedy(policy), {"burn 3600000"}).at(0).report;
  EXPECT_EQ(ended.outcome, Outcome::kCpuExceeded) << to_json(ended);
  EXPECT_EQ(ended.evidence.killed_for, isolation::KillReason::kCpuTime);
  EXPECT_GE(ended.usage.user_us + ended.usage.system_us, 300'000);
}

TEST_F(Limit, ABurnerBehindItsAnswerIsEndedToo) {
  policy.limits.cpu_time_max = 300ms;
  asio::io_context context(1);
  ServiceOptions options;
  options.protocol = HandlerProtocol::kLines;
  std::string said;
  options.log = [&](std::uint64_t, std::string_view line) { said += line; };
  Service service(context.get_executor(), *launcher, greedy(policy), options);
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        Input input;
        input.data = "burn_on";
        const auto burning = co_await service.invoke(std::move(input));
        EXPECT_EQ(burning.report.outcome, Outcome::kOk);
        while (said.empty()) co_await asio::post(context, asio::use_awaitable);
        co_await service.shut_down();
      },
      [](const std::exception_ptr& failure) {
        if (failure) std::rethrow_exception(failure);
      });
  context.run();
  EXPECT_THAT(said, testing::HasSubstr("beyond limits.cpu_time_max_ms"));
}

TEST_F(Limit, CpuTimeIsCountedAnewForEachCall) {
  policy.limits.cpu_time_max = 400ms;
  for (const auto& one : calls(greedy(policy), {"burn 250", "burn 250", "burn 250"}))
    EXPECT_EQ(one.report.outcome, Outcome::kOk) << to_json(one.report);
}

TEST_F(Limit, MoreThanItsShareOfACpuIsThrottledAndSaid) {
  if (!has(Layer::kCpu)) GTEST_SKIP() << why_not(Layer::kCpu);
  policy.limits.cpu_max_percent = 20;
  const auto slowed = calls(greedy(policy), {"burn 200"}).at(0).report;
  EXPECT_EQ(slowed.outcome, Outcome::kOk);
  EXPECT_GT(slowed.usage.throttled_us.value_or(0), 0);
  policy.limits.cpu_max_percent = 0;
  EXPECT_EQ(calls(greedy(policy), {"burn 200"}).at(0).report.usage.throttled_us.value_or(0), 0);
}

TEST_F(Limit, CpusThatAreNotThereAreRefusedByName) {
  if (!has(Layer::kCpuset)) GTEST_SKIP() << why_not(Layer::kCpuset);
  policy.limits.cpus = "0";
  EXPECT_EQ(calls(greedy(policy), {"hello"}).at(0).report.outcome, Outcome::kOk);
  policy.limits.cpus = "0,4000-4001";
  const auto refused = calls(greedy(policy), {"hello"}).at(0).report;
  EXPECT_EQ(refused.outcome, Outcome::kSetupFailed);
  EXPECT_THAT(describe(refused.outcome, refused.evidence),
              testing::HasSubstr("cpuset.cpus = 0,4000-4001"));
}

// Reading and writing

TEST_F(Limit, AWriterWithoutEndIsEndedByTheDeadlineAlone) {
  policy.limits.invoke_timeout = 3s;
  const auto ended = calls_beside_a_neighbour(greedy(policy), {"rewrite /tmp/x"}).at(0).report;
  EXPECT_EQ(ended.outcome, Outcome::kTimedOut) << to_json(ended);
}

class DiskLimit : public Limit {
 protected:
  static constexpr std::uint64_t kSize = 8 * kMiB;

  // A file of kSize on a real disk, visible inside as /srv/file.
  void SetUp() override {
    Limit::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const char* disk = ::secure_getenv("FNRUN_TEST_DISK");
    if (disk == nullptr) GTEST_SKIP() << "FNRUN_TEST_DISK names no folder on a disk of the tests";
    file_ = std::string(disk) + "/limits_test." + std::to_string(::getpid());
    std::ofstream out(file_, std::ios::binary);
    out << std::string(kSize, 'x');
    out.close();
    const isolation::UniqueFd fd(::open(file_.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd && ::fchmod(fd.get(), 0644) == 0 && ::fsync(fd.get()) == 0);
    ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    policy.filesystem.read_only.push_back(
        {.target = "/srv/file", .source = file_, .why = "of the test"});
  }
  void TearDown() override {
    if (!file_.empty()) ::unlink(file_.c_str());
    Limit::TearDown();
  }

 private:
  std::string file_;
};

TEST_F(DiskLimit, PageCacheIsTakenBackAndNoReasonToDie) {
  if (!has(Layer::kMemory)) GTEST_SKIP() << why_not(Layer::kMemory);
  policy.limits.memory_max = policies::mebibytes(6);
  const auto read = calls_beside_a_neighbour(greedy(policy), {"read /srv/file"});
  EXPECT_EQ(read.at(0).report.outcome, Outcome::kOk) << to_json(read.at(0).report);
  EXPECT_EQ(read.at(0).result->data, std::to_string(kSize));
  EXPECT_GT(read.at(0).report.usage.memory_max_hits.value_or(0), 0U);
}

TEST_F(DiskLimit, ReadingIsSlowedToItsRateAndCounted) {
  if (!has(Layer::kIo)) GTEST_SKIP() << why_not(Layer::kIo);
  policy.limits.io_read_per_second_max = policies::mebibytes(4);
  const auto slow = calls_beside_a_neighbour(greedy(policy), {"read_direct /srv/file"});
  ASSERT_EQ(slow.at(0).report.outcome, Outcome::kOk) << to_json(slow.at(0).report);
  EXPECT_EQ(slow.at(0).result->data, std::to_string(kSize));
  EXPECT_GE(slow.at(0).report.usage.io_read_bytes.value_or(0), kSize);
  // 8 MiB at 4 MiB a second: the second half has to wait for its second. A bound from below, which
  // no load of the machine can break.
  EXPECT_GE(slow.at(0).report.timings.invoke_us, 900'000);
}

// What a report says

TEST_F(Limit, TheReportAgreesWithWhatTheHandlerDid) {
  policy.limits.memory_max = policies::mebibytes(256);
  const auto used = calls(greedy(policy), {"use 128 500 7"}).at(0).report;
  ASSERT_EQ(used.outcome, Outcome::kOk) << to_json(used);
  ASSERT_TRUE(used.usage.memory_peak_bytes.has_value());
  EXPECT_NEAR(double(*used.usage.memory_peak_bytes), 128.0 * kMiB, 12.8 * kMiB) << to_json(used);
  EXPECT_EQ(used.usage.processes_peak, 8U) << "seven threads and the handler";
  const auto cpu = double(used.usage.user_us + used.usage.system_us);
  EXPECT_GE(cpu, 500'000.0);
}

TEST_F(Limit, CpuTimeOfTheReportIsTheHandlersOwn) {
  const auto used = calls(greedy(policy), {"hello", "burn 1000"}).at(1).report;
  EXPECT_NEAR(double(used.usage.user_us + used.usage.system_us), 1'000'000.0, 100'000.0);
}

TEST_F(Limit, WhatIsPreferredAndMissingIsSaidAndWhatIsRequiredRefused) {
  policy.limits.cpu_max_percent = 100;
  const Plan plan = greedy(policy);
  for (const Layer controller : {Layer::kMemory, Layer::kPids, Layer::kCpu}) {
    const std::string name = policies::name_of(controller);
    EXPECT_EQ(plan->degraded.contains(name), !has(controller)) << name;
    EXPECT_EQ(std::count(plan->layers.begin(), plan->layers.end(), name), has(controller) ? 1 : 0);
    policies::Policy requires_it = policy;
    requires_it.preferred.erase(controller);
    const auto compiled = isolation::compile(requires_it, host, plan->handler);
    EXPECT_EQ(bool(compiled), has(controller)) << name;
    if (compiled) continue;
    EXPECT_EQ(compiled.error().step, isolation::SetupStep::kLayerMissing);
    EXPECT_THAT(compiled.error().to_string(), testing::HasSubstr("requires '" + name + "'"));
    EXPECT_THAT(compiled.error().to_string(), testing::HasSubstr(why_not(controller)));
  }
}

}  // namespace
}  // namespace fnrun::supervisor
