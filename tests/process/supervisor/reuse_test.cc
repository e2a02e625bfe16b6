// What a call may leave behind, and what becomes of a sandbox between two calls.
#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <fstream>

#include "isolation/leftovers.h"
#include "isolation/process_tree.h"
#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using policies::Reuse;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

bool printable(std::string_view line) {
  return std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

class OfReuse : public PoolTest {
 protected:
  Plan keeper() const { return handler("keeper", {}); }
  // Two calls one after another by one caller: the event, then a question for the handler's name.
  std::vector<Invocation> two_calls(const Plan& plan, const std::string& event) {
    Service service(context().get_executor(), *launcher, plan, lines({.places = 1}));
    auto done = storm(service, 1, 2, [&](int i) { return i == 0 ? event : std::string("pid"); });
    status_ = service.status();
    context().restart();
    return done;
  }
  PoolStatus status_;
};

struct Kept {
  const char* what;
  const char* named;  // In the report.
};
class OfCleanReuse : public OfReuse, public testing::WithParamInterface<Kept> {};

TEST_P(OfCleanReuse, WhatACallLeavesIsNamedAndEndsItsSandbox) {
  strict.reuse.mode = Reuse::Mode::kClean;
  const auto done = two_calls(keeper(), std::string("keep ") + GetParam().what);
  ASSERT_EQ(done[0].report.outcome, Outcome::kOk) << to_json(done[0].report);
  EXPECT_EQ(done[0].result->data, "kept") << "the caller has its answer all the same";
  EXPECT_THAT(done[0].report.leftovers, testing::Contains(HasSubstr(GetParam().named)));
  const std::string line = to_json(done[0].report);
  EXPECT_TRUE(printable(line)) << "what the handler named forges no line: " << line;
  EXPECT_NE(done[0].report.sandbox.pid, done[1].report.sandbox.pid);
  EXPECT_THAT(done[1].report.leftovers, IsEmpty());
  EXPECT_EQ(status_.dirty, 1U);
}

TEST_P(OfCleanReuse, ElsewhereItStaysForTheNextCall) {
  strict.reuse.mode = Reuse::Mode::kAlways;
  const auto done = two_calls(keeper(), std::string("keep ") + GetParam().what);
  ASSERT_EQ(done[0].report.outcome, Outcome::kOk) << to_json(done[0].report);
  EXPECT_EQ(done[0].result->data, "kept");
  EXPECT_THAT(done[0].report.leftovers, IsEmpty());
  EXPECT_EQ(done[0].report.sandbox.pid, done[1].report.sandbox.pid);
  EXPECT_EQ(status_.dirty, 0U);
}

constexpr Kept kKept[] = {{"process", "(keeper)"},
                          {"orphan", "(keeper)"},
                          {"descriptor", "(/dev/null)"},
                          {"file", "1 file and 4096 bytes more in /tmp: kept-file"},
                          {"tricky_file", "4096 bytes more in /tmp: \x1b[2J\n\xff\xc0"},
                          {"tricky_process", "(a) Z 1 (\n\x1b[2J)"},
                          {"deep_folders", "3000 files and 0 bytes more in /tmp: deep"},
                          {"unlinked_file", "/tmp/unlinked (deleted)"}};
INSTANTIATE_TEST_SUITE_P(, OfCleanReuse, testing::ValuesIn(kKept),
                         [](const auto& test) { return std::string(test.param.what); });

TEST_F(OfReuse, ACallThatTidiesUpKeepsItsSandbox) {
  strict.reuse.mode = Reuse::Mode::kClean;
  for (const char* event : {"keep nothing", "tidy"}) {
    const auto done = two_calls(keeper(), event);
    ASSERT_EQ(done[0].report.outcome, Outcome::kOk) << to_json(done[0].report);
    EXPECT_NE(done[0].result->data, "failed");
    EXPECT_THAT(done[0].report.leftovers, IsEmpty()) << event;
    EXPECT_EQ(done[0].report.sandbox.pid, done[1].report.sandbox.pid) << event;
  }
}

TEST_F(OfReuse, WhatARuntimeOpensWhileItStartsIsItsOwn) {
  if (test::emulated()) GTEST_SKIP() << "Python takes minutes to start on an emulated processor";
  strict.reuse.mode = Reuse::Mode::kClean;
  Service service(context().get_executor(), *launcher, handler("greeter.py", {}),
                  frames({.places = 1}));
  const auto done = storm(service, 1, 3, [](int) { return std::string("Ada"); });
  for (const Invocation& one : done) {
    EXPECT_EQ(one.report.outcome, Outcome::kOk) << to_json(one.report);
    EXPECT_THAT(one.report.leftovers, IsEmpty());
  }
  EXPECT_EQ(sandboxes_of(done).size(), 1U);
}

TEST_F(OfReuse, IpcObjectsAreCountedWithPrivilegeAndRefusedWithout) {
  strict = test::shipped_policy("compat");
  strict.reuse.mode = Reuse::Mode::kClean;
  isolation::Host without = host;
  without.privileged = false;
  const auto file = isolation::find_handler({"/bin/true"}, strict, "", without);
  ASSERT_TRUE(file) << file.error().to_string();
  const auto refused = isolation::compile(strict, without, *file);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().to_string(), HasSubstr("privileged supervisor"));
  if (!host.privileged) return;
  for (const auto& [what, named] : {std::pair{"segment", "1 segment of shared memory"},
                                    {"semaphores", "1 set of semaphores"},
                                    {"queue", "1 queue of messages"}}) {
    const auto done = two_calls(keeper(), std::string("keep ") + what);
    ASSERT_EQ(done[0].report.outcome, Outcome::kOk) << to_json(done[0].report);
    EXPECT_EQ(done[0].result->data, "kept");
    EXPECT_THAT(done[0].report.leftovers, ElementsAre(HasSubstr(named)));
    EXPECT_NE(done[0].report.sandbox.pid, done[1].report.sandbox.pid);
  }
}

// What appears when nobody looks any more is told in the log, whose lines go to terminals.
TEST_F(OfReuse, WhatIsFoundBetweenCallsIsToldInWordsThatForgeNothing) {
  strict.reuse.mode = Reuse::Mode::kClean;
  std::vector<std::string> said;
  ServiceOptions options = lines({.places = 1});
  options.log = [&](std::uint64_t, std::string_view line) { said.emplace_back(line); };
  Service service(context().get_executor(), *launcher, keeper(), options);
  const auto has_appeared = [](pid_t init) {
    for (const isolation::Process& process : isolation::descendants(init)) {
      std::ifstream file("/proc/" + std::to_string(process.pid) + "/comm");
      std::string name;
      if (std::getline(file, name) && name.starts_with("a) Z")) return true;
    }
    return false;
  };
  const auto story = [&]() -> asio::awaitable<void> {
    Input first{"keep_on_signal tricky_process", {}};
    const auto ready = co_await service.invoke(std::move(first));
    EXPECT_THAT(ready.report.leftovers, IsEmpty()) << to_json(ready.report);
    const pid_t init = ready.report.sandbox.pid;
    EXPECT_EQ(::kill(isolation::handler_below(init).value_or(-1), SIGUSR1), 0);
    while (!has_appeared(init)) co_await asio::post(context(), asio::use_awaitable);
    Input next{"pid", {}};
    const auto second = co_await service.invoke(std::move(next));
    EXPECT_NE(second.report.sandbox.pid, init);
    co_await service.shut_down();
  };
  asio::co_spawn(context(), story(), asio::detached);
  context().run();
  EXPECT_THAT(said,
              testing::Contains(HasSubstr("killed between calls, which left behind process")));
  for (const std::string& line : said) EXPECT_TRUE(printable(line)) << line;
}

// The handler's stdio are pipes: what a socket would carry along takes no place in our own table.
TEST_F(OfReuse, NoDescriptorCanBePassedOut) {
  const auto done = two_calls(keeper(), "pass_descriptors");
  ASSERT_EQ(done[0].report.outcome, Outcome::kOk) << to_json(done[0].report);
  EXPECT_EQ(done[0].result->data, "through a socket only");
}

// What spins inside from the start: there is no moment at which everything sleeps.
TEST_F(OfReuse, AHandlerThatNeverRestsIsAnsweredAllTheSame) {
  strict.reuse.mode = Reuse::Mode::kClean;
  strict.limits.start_timeout = 10min;  // Not what ends the wait for rest.
  strict.limits.invoke_timeout = test::emulated() ? 20s : 6s;
  strict.limits.cpu_time_max = 10min;  // Nor what it costs.
  const auto done = two_calls(handler("keeper", {"restless"}), "pid");
  for (const Invocation& one : done) {
    EXPECT_EQ(one.report.outcome, Outcome::kOk) << to_json(one.report);
    EXPECT_THAT(one.report.leftovers, IsEmpty()) << "it was so before the first call";
  }
  EXPECT_EQ(done[0].report.sandbox.pid, done[1].report.sandbox.pid);
}

// The caller has its answer, while what it left behind is still looked at.
TEST_F(OfReuse, ACancellationThatComesTooLateEndsNobodyElsesCall) {
  strict.reuse.mode = Reuse::Mode::kClean;
  Service service(context().get_executor(), *launcher, keeper(), lines({.places = 1}));
  bool came_too_late = false;
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        for (unsigned turns = 64; !came_too_late && turns < (1U << 24); turns *= 2) {
          asio::cancellation_signal signal;
          std::optional<Outcome> first;
          service.async_invoke({"keep spinner", {}}, Deadline::max(), "",
                               asio::bind_cancellation_slot(signal.slot(), [&](Invocation done) {
                                 first = done.report.outcome;
                               }));
          for (unsigned i = 0; i < turns && !first; ++i)
            co_await asio::post(context(), asio::use_awaitable);
          if (!first) signal.emit(asio::cancellation_type::terminal);
          const bool emitted = !first;
          while (!first) co_await asio::post(context(), asio::use_awaitable);
          came_too_late = emitted && first == Outcome::kOk;
          Input input{"pid", {}};
          const auto second = co_await service.invoke(std::move(input));
          EXPECT_EQ(second.report.outcome, Outcome::kOk) << to_json(second.report);
        }
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
  EXPECT_TRUE(came_too_late) << "no turn of the loop was the one";
}

TEST_F(OfReuse, AFrozenSandboxServesTheNextCall) {
  strict.reuse = {.mode = Reuse::Mode::kAlways, .freeze_idle = true};
  const Plan plan = keeper();
  if (!plan->use_cgroup) {
    EXPECT_TRUE(plan->degraded.contains("freeze_idle"));
    GTEST_SKIP() << "no cgroup here; the report says so";
  }
  Service service(context().get_executor(), *launcher, plan, lines({.places = 1}));
  std::set<pid_t> pids;
  asio::co_spawn(
      context(),
      [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 3; ++i) {
          Input input;
          input.data = "pid";
          const auto invocation = co_await service.invoke(std::move(input));
          EXPECT_EQ(invocation.report.outcome, Outcome::kOk) << to_json(invocation.report);
          pids.insert(invocation.report.sandbox.pid);
          std::string state;
          std::ifstream(group_file(*pids.begin(), "cgroup.freeze")) >> state;
          EXPECT_EQ(state, "1") << "between two calls";
        }
        co_await service.shut_down();
      },
      asio::detached);
  context().run();
  EXPECT_EQ(pids.size(), 1U);
}

TEST_F(OfReuse, AWarningComesBeforeTheDeadlineAndMayBeAnswered) {
  if (test::emulated())
    GTEST_SKIP() << "the start there leaves the call less time than its warning";
  strict.limits.invoke_timeout = 3'600s;
  strict.warning = {.before = 3'598'000ms, .signal = SIGUSR1};
  const auto done = two_calls(keeper(), "await_signal");
  ASSERT_EQ(done[0].report.outcome, Outcome::kOk) << to_json(done[0].report);
  EXPECT_EQ(done[0].result->data, "got " + std::to_string(SIGUSR1));
  EXPECT_TRUE(done[0].report.warned);
  EXPECT_FALSE(done[1].report.warned) << "it answered long before";
}

TEST_F(OfReuse, WithoutTimeForAWarningThereIsNone) {
  strict.limits.invoke_timeout = 200ms;
  strict.warning = {.before = 60s, .signal = SIGUSR1};
  const auto done = two_calls(keeper(), "await_signal");
  EXPECT_EQ(done[0].report.outcome, Outcome::kTimedOut);
  EXPECT_FALSE(done[0].report.warned);
}

}  // namespace
}  // namespace fnrun::supervisor
