// A sandbox's life over real sandboxes: each operation, each kind of token, and what is left
// behind.
#include "supervisor/lifecycle/sandbox_context.h"

#include <gmock/gmock.h>
#include <sys/syscall.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

#include "supervisor/lifecycle/blocking_sandbox.h"
#include "supervisor/lifecycle/fnrun_runtime.h"
#include "tests/support/sandbox_fixture.h"
#include "tests/support/thread_filter.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::ElementsAreArray;
using Kind = LifecycleFailure::Kind;
using Plan = std::shared_ptr<const isolation::Plan>;
using Strings = std::vector<std::string>;

// Longer than any test; a wait that reaches it has failed.
constexpr auto kLong = std::chrono::milliseconds(test::kBoundMs);

const Strings kServedEvents{"invoke.start", "invoke.runtimeDone", "report", "end"};
const Strings kInitEvents{"init.start", "init.runtimeDone", "init.report"};

Strings operator+(Strings left, const Strings& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

class SandboxLife : public test::SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (IsSkipped()) return;
    strict.limits.invoke_timeout = kLong;
    strict.limits.start_timeout = kLong;
    context_.emplace(1);
  }
  void TearDown() override {
    if (context_) end();
    context_.reset();  // Its descriptors are none of the launcher's.
    SandboxTest::TearDown();
  }

  // "count_calls" answers each call with its number, so a new process says 1.
  Plan counter() const { return hostile({"count_calls", "/dev/null"}); }
  Plan hostile(Strings verb) const {
    return std::make_shared<const isolation::Plan>(planned(std::move(verb)));
  }
  Plan vanished() const {
    isolation::Plan broken = planned({"count_calls", "/dev/null"});
    broken.handler.path = "/srv/not-there";  // What exec(2) in the sandbox will say.
    return std::make_shared<const isolation::Plan>(std::move(broken));
  }
  isolation::Plan planned(Strings verb) const {
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    Strings argv{told != nullptr ? std::string(told) + "/handlers/hostile"
                                 : FNRUN_HANDLERS "/hostile"};
    argv.insert(argv.end(), verb.begin(), verb.end());
    return plan(argv, strict);
  }

  std::unique_ptr<RuntimeStarter> starter(const Plan& of, asio::any_io_executor executor) {
    FnrunRuntimeOptions options;
    options.log = [this](std::uint64_t, std::string_view line) {
      if (on_line) on_line(line);
    };
    return std::make_unique<FnrunRuntimeStarter>(std::move(executor), *launcher, of,
                                                 std::move(options));
  }
  SandboxOptions watched() {
    SandboxOptions options;
    options.observer = [this](const Event& one) {
      events.emplace_back(name_of(one));
      lines.push_back(to_json(one));
    };
    return options;
  }
  SandboxContext& sandbox(const Plan& of) {
    sandbox_ = std::make_unique<SandboxContext>(context().get_executor(),
                                                starter(of, context().get_executor()), watched());
    return *sandbox_;
  }

  // Until `body` has come to its end. A sandbox that lives keeps its event loop running.
  void run(std::function<asio::awaitable<void>()> body) {
    asio::co_spawn(context(), std::move(body), [this](const std::exception_ptr& failure) {
      context().stop();
      if (failure) std::rethrow_exception(failure);
    });
    context().restart();
    context().run();
  }
  // The sandbox goes, and the loop runs dry.
  void end() {
    sandbox_.reset();
    context().restart();
    context().run();
  }
  // Started, told, and ready for invocations.
  static asio::awaitable<InitContext> up(SandboxContext& sandbox, InitRequest request = {}) {
    request.invoke_timeout = kLong;
    auto init = co_await sandbox.init(request, asio::use_awaitable);
    const auto told = co_await init->wait(asio::use_awaitable);
    EXPECT_TRUE(told) << told.error().to_string();
    co_return *init;
  }
  static InvokeRequest request(const std::string& data, Deadline deadline = Deadline::max()) {
    InvokeRequest wanted;
    wanted.input.data = data;
    wanted.deadline = deadline;
    return wanted;
  }
  // Reserve, send, wait.
  static asio::awaitable<LifecycleResult<InvokeSuccess>> call(const InitContext& init,
                                                              std::string data,
                                                              Deadline deadline = Deadline::max()) {
    ReserveRequest wanted;
    wanted.invoke_id = "id-" + data;
    auto invocation = co_await init.reserve(std::move(wanted), asio::use_awaitable);
    if (!invocation) co_return invocation.error();
    InvokeRequest asked = request(data, deadline);
    const auto sent = co_await invocation->send_request(std::move(asked), asio::use_awaitable);
    if (!sent) co_return sent.error();
    co_return co_await invocation->wait(asio::use_awaitable);
  }
  static std::string answer_of(const LifecycleResult<InvokeSuccess>& result) {
    return result ? result->answer.result.data : "failed: " + result.error().to_string();
  }
  static asio::awaitable<SandboxStatus> status_of(SandboxContext& sandbox) {
    const auto status = co_await sandbox.status(asio::use_awaitable);
    co_return *status;
  }
  static Deadline soon() { return steady_clock::now() + 50ms; }

  asio::io_context& context() { return *context_; }

  Strings events;
  Strings lines;
  std::function<void(std::string_view)> on_line;

 private:
  std::optional<asio::io_context> context_;
  std::unique_ptr<SandboxContext> sandbox_;
};

TEST_F(SandboxLife, ServesInvocationsOneAfterAnotherInOneProcess) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto first = co_await call(init, "a");
    const auto second = co_await call(init, "b");
    EXPECT_EQ(answer_of(first), "1");
    EXPECT_EQ(answer_of(second), "2");
    const auto status = co_await status_of(box);
    EXPECT_EQ(status.generation, 1U);
    EXPECT_EQ(status.state, lifecycle::State::kIdle);
    EXPECT_FALSE(status.reserved);
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents + kServedEvents));
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("requestId":"id-a","status":"success")"));
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("producedBytes":1)"));
}

TEST_F(SandboxLife, InitOfAHandlerThatIsNotThereFailsAndIsToldOnce) {
  auto& box = sandbox(vanished());
  run([&]() -> asio::awaitable<void> {
    auto init = co_await box.init({}, asio::use_awaitable);
    const auto told = co_await init->wait(asio::use_awaitable);
    EXPECT_EQ(told.error().kind, Kind::kInitFailed);
    EXPECT_EQ(told.error().error_type, "Runtime.InvalidEntrypoint");
    EXPECT_FALSE(told.error().reset_received);
    const auto again = co_await init->wait(asio::use_awaitable);
    EXPECT_TRUE(again && again->told_before);
    // One more try, inside the invocation, and then the caller must reset.
    const auto called = co_await call(*init, "a");
    EXPECT_EQ(called.error().kind, Kind::kInvokeFailed);
    EXPECT_EQ(called.error().error_type, "Runtime.InvalidEntrypoint");
    EXPECT_TRUE(called.error().request_reset);
    EXPECT_THAT(called.error().body,
                testing::StartsWith(R"({"errorType":"Runtime.InvalidEntrypoint","errorMessage":)"
                                    R"("RequestId: id-a Error: )"));
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kInitEvents + Strings{"invoke.start"}));
}

TEST_F(SandboxLife, SuppressedInitIsWithinTheInvocation) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    InitRequest later;
    later.suppress = true;
    const InitContext init = co_await up(box, later);
    EXPECT_TRUE(events.empty());
    const auto called = co_await call(init, "a");
    EXPECT_EQ(answer_of(called), "1");
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents));
  EXPECT_THAT(lines.front(), testing::HasSubstr(R"("phase":"invoke")"));
}

TEST_F(SandboxLife, CrashAsksForAResetAndTheNextProcessIsNew) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto first = co_await call(init, "a");
    EXPECT_EQ(answer_of(first), "1");
    const auto crashed = co_await call(init, "crash");
    EXPECT_EQ(crashed.error().error_type, "Runtime.ExitError");
    EXPECT_THAT(crashed.error().message,
                testing::StartsWith("Runtime exited with error: signal: aborted"));
    EXPECT_TRUE(crashed.error().request_reset);
    EXPECT_EQ(crashed.error().report->outcome, Outcome::kCrashed);
    const auto refused = co_await call(init, "b");
    EXPECT_EQ(refused.error().refused, Refusal::kAlreadyReserved);
    const auto reset = co_await box.reset(ResetReason::kFailure, asio::use_awaitable);
    EXPECT_EQ(reset->error_type, "Runtime.ExitError");
    EXPECT_EQ(reset->left_behind, 0U);
    const auto next = co_await call(init, "c");
    EXPECT_EQ(answer_of(next), "1");
  });
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents + kServedEvents + kInitEvents +
                                       kServedEvents));
  EXPECT_THAT(lines.at(8),
              testing::HasSubstr(R"("status":"error","errorType":"Runtime.ExitError")"));
}

TEST_F(SandboxLife, TimeoutThenResetThenANewProcess) {
  auto& box = sandbox(hostile({"never_read"}));
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const pid_t before = (co_await status_of(box)).pid;
    const auto late = co_await call(init, "a", soon());
    EXPECT_EQ(late.error().error_type, "Sandbox.Timedout");
    const auto reset = co_await box.reset(ResetReason::kTimeout, asio::use_awaitable);
    EXPECT_EQ(reset->generation, 2U);
    const pid_t between = (co_await status_of(box)).pid;
    EXPECT_GT(before, 0);
    EXPECT_EQ(between, 0);
  });
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("status":"timeout","errorType":null)"));
}

// The counter starts at 1 again: what a call left in memory is gone.
TEST_F(SandboxLife, AfterATimeoutTheNextInvocationStartsAtOne) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    for (const std::string expected : {"1", "2"}) {
      const auto served = co_await call(init, "a");
      EXPECT_EQ(answer_of(served), expected);
    }
    // Its time is over before it begins: that ends as any other deadline.
    const auto late = co_await call(init, "b", steady_clock::now() - 1ms);
    EXPECT_EQ(late.error().error_type, "Sandbox.Timedout");
    const auto reset = co_await box.reset(ResetReason::kTimeout, asio::use_awaitable);
    EXPECT_TRUE(reset);
    const auto next = co_await call(init, "c");
    EXPECT_EQ(answer_of(next), "1");
    EXPECT_EQ((co_await status_of(box)).generation, 3U);
  });
}

TEST_F(SandboxLife, ResetInterruptsARunningInvocation) {
  auto& box = sandbox(hostile({"never_read"}));
  bool reset = false;
  // From inside, when the handler is known to run and will never answer.
  on_line = [&](std::string_view line) {
    if (line != "not reading") return;
    box.reset(ResetReason::kTimeout,
              [&](const LifecycleResult<ResetResult>& done) { reset = done.has_value(); });
  };
  run([&]() -> asio::awaitable<void> {
    InitRequest later;
    later.suppress = true;
    const InitContext init = co_await up(box, later);
    const auto interrupted = co_await call(init, "a");
    EXPECT_EQ(interrupted.error().kind, Kind::kInvokeFailed);
    EXPECT_TRUE(interrupted.error().reset_received);
    EXPECT_FALSE(interrupted.error().request_reset);
    const auto after = co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    EXPECT_TRUE(after);
  });
  EXPECT_TRUE(reset);
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents));
}

// The start is held at a system call, for as long as the test wants.
TEST_F(SandboxLife, ResetInterruptsARunningInitAndWaitsForTheProcess) {
  isolation::UniqueFd held;
  std::unique_ptr<SandboxContext> box;
  std::thread([&] {  // What the starter's thread inherits, ours does not.
    held = test::hold_calls({SYS_pivot_root});
    box = std::make_unique<SandboxContext>(context().get_executor(),
                                           starter(counter(), context().get_executor()), watched());
  })
      .join();
  bool told = false;
  bool waited = false;
  bool reset = false;
  run([&]() -> asio::awaitable<void> {
    auto init = co_await box->init({}, asio::use_awaitable);
    box->reset(ResetReason::kOther,
               [&](const LifecycleResult<ResetResult>& done) { reset = done.has_value(); });
    const auto result = co_await init->wait(asio::use_awaitable);
    told = !result && result.error().reset_received;
    waited = !reset;
    EXPECT_GT(test::held_process(held.get(), /*let_go=*/true), 0);
    const auto after = co_await box->reset(ResetReason::kOther, asio::use_awaitable);
    EXPECT_TRUE(after);
  });
  EXPECT_TRUE(told);    // Cancelled first,
  EXPECT_TRUE(waited);  // and then waited.
  EXPECT_TRUE(reset);
  EXPECT_THAT(events, ElementsAreArray(kInitEvents));
  box.reset();
}

TEST_F(SandboxLife, ShutdownOfARunningInvocationEndsByItsDeadline) {
  auto& box = sandbox(hostile({"never_read"}));
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto invocation = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request("a");
    co_await invocation->send_request(std::move(asked), asio::use_awaitable);
    const auto down = co_await box.shutdown(soon(), asio::use_awaitable);
    EXPECT_TRUE(down->cut_short);
    EXPECT_EQ(down->left_behind, 0U);
    const auto cut = co_await invocation->wait(asio::use_awaitable);
    EXPECT_EQ(cut.error().error_type, "Sandbox.Failure");
    // Terminal.
    const auto later = co_await init.reserve(asio::use_awaitable);
    EXPECT_EQ(later.error().refused, Refusal::kShutDown);
    const auto reset = co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    EXPECT_EQ(reset.error().refused, Refusal::kShutDown);
    const auto again = co_await box.shutdown(Deadline::max(), asio::use_awaitable);
    EXPECT_TRUE(again);
  });
}

TEST_F(SandboxLife, ShutdownLetsAnInvocationFinish) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto invocation = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request("a");
    co_await invocation->send_request(std::move(asked), asio::use_awaitable);
    const auto down = co_await box.shutdown(Deadline::max(), asio::use_awaitable);
    EXPECT_FALSE(down->cut_short);
    const auto finished = co_await invocation->wait(asio::use_awaitable);
    EXPECT_EQ(answer_of(finished), "1");
  });
}

TEST_F(SandboxLife, ReservationIsGivenBackUnused) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto unused = co_await init.reserve(asio::use_awaitable);
    EXPECT_EQ(unused->invoke_id().size(), 36U);
    EXPECT_NE(unused->invoke_id(), unused->reservation_token());
    const auto second = co_await init.reserve(asio::use_awaitable);
    EXPECT_EQ(second.error().refused, Refusal::kAlreadyReserved);
    EXPECT_TRUE(co_await unused->release(asio::use_awaitable));
    const auto gone = co_await unused->wait(asio::use_awaitable);
    EXPECT_EQ(gone.error().kind, Kind::kReservationDone);
    InvokeRequest asked = request("late");
    const auto late = co_await unused->send_request(std::move(asked), asio::use_awaitable);
    EXPECT_EQ(late.error().kind, Kind::kReservationDone);
    const auto next = co_await call(init, "a");
    EXPECT_EQ(answer_of(next), "1");
  });
}

TEST_F(SandboxLife, ReleaseInFlightNeverGivesItsAnswerToTheNext) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto left = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request("a");
    co_await left->send_request(std::move(asked), asio::use_awaitable);
    EXPECT_TRUE(co_await left->release(asio::use_awaitable));
    const auto next = co_await call(init, "b");
    EXPECT_EQ(answer_of(next), "1");
    EXPECT_EQ((co_await status_of(box)).generation, 3U);
  });
}

TEST_F(SandboxLife, WaitThatIsCancelledTakesNothingAway) {
  using namespace asio::experimental::awaitable_operators;
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    auto init = co_await box.init({}, asio::use_awaitable);
    asio::steady_timer at_once(context(), steady_clock::time_point::min());
    auto wait = init->wait(asio::use_awaitable);
    auto tick = at_once.async_wait(asio::use_awaitable);
    const auto first = co_await (std::move(wait) || std::move(tick));
    EXPECT_EQ(first.index(), 1U);
    const auto told = co_await init->wait(asio::use_awaitable);
    EXPECT_TRUE(told && !told->told_before);
  });
}

TEST_F(SandboxLife, RestoreHasNoHookHere) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto restored = co_await box.restore({}, asio::use_awaitable);
    EXPECT_EQ(restored->duration, 0ms);
    const auto served = co_await call(init, "a");
    EXPECT_EQ(answer_of(served), "1");
  });
  EXPECT_THAT(events,
              ElementsAreArray(kInitEvents + Strings{"restore.runtimeDone"} + kServedEvents));
}

TEST_F(SandboxLife, RequestOverTheLimitHarmsNobody) {
  strict.limits.request_max.bytes = 1'024;
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    auto invocation = co_await init.reserve(asio::use_awaitable);
    InvokeRequest asked = request(std::string(1'025, 'x'));
    co_await invocation->send_request(std::move(asked), asio::use_awaitable);
    const auto refused = co_await invocation->wait(asio::use_awaitable);
    EXPECT_EQ(refused.error().report->outcome, Outcome::kRequestTooLarge);
    EXPECT_FALSE(refused.error().request_reset);
    EXPECT_TRUE(co_await invocation->release(asio::use_awaitable));
    const auto next = co_await call(init, "a");
    EXPECT_EQ(answer_of(next), "1");
    EXPECT_EQ((co_await status_of(box)).generation, 1U);
  });
}

TEST_F(SandboxLife, AnsweringTwiceIsNotSuccess) {
  auto& box = sandbox(hostile({"reply_twice"}));
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto stolen = co_await call(init, "a");
    EXPECT_EQ(stolen.error().error_type, "Runtime.Unknown");
    EXPECT_TRUE(stolen.error().request_reset);
  });
}

TEST_F(SandboxLife, ClearForgetsOnlyWhatDoesNotLive) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    const auto lives = co_await box.clear(asio::use_awaitable);
    EXPECT_EQ(lives.error().refused, Refusal::kResetRequired);
    co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    auto held = co_await init.reserve(asio::use_awaitable);
    EXPECT_TRUE(co_await box.clear(asio::use_awaitable));
    const auto gone = co_await held->wait(asio::use_awaitable);
    EXPECT_EQ(gone.error().kind, Kind::kReservationDone);
  });
}

TEST_F(SandboxLife, WhatAFrontEndMeasuredIsWhatIsReported) {
  auto& box = sandbox(hostile({"never_read"}));
  on_line = [&](std::string_view line) {
    if (line != "not reading") return;
    ResponseMetrics metrics;
    metrics.produced_bytes = 7'777;
    box.set_invoke_response_metrics(metrics);
    box.reset(ResetReason::kTimeout, [](const LifecycleResult<ResetResult>&) {});
  };
  run([&]() -> asio::awaitable<void> {
    InitRequest later;
    later.suppress = true;
    const InitContext init = co_await up(box, later);
    const auto interrupted = co_await call(init, "a");
    EXPECT_FALSE(interrupted);
  });
  EXPECT_THAT(lines.at(4), testing::HasSubstr(R"("producedBytes":7777)"));
}

TEST_F(SandboxLife, WithCallbacks) {
  auto& box = sandbox(counter());
  std::string answer;
  InvokeContext invocation;
  box.init({}, [&](const LifecycleResult<InitContext>& init) {
    init->wait([&, init = *init](const LifecycleResult<InitSuccess>& told) {
      ASSERT_TRUE(told);
      init.reserve([&](const LifecycleResult<InvokeContext>& reserved) {
        invocation = *reserved;
        invocation.send_request(request("a"), [&](const LifecycleResult<void>& sent) {
          ASSERT_TRUE(sent);
          invocation.wait([&](const LifecycleResult<InvokeSuccess>& done) {
            answer = answer_of(done);
            context().stop();
          });
        });
      });
    });
  });
  context().run();
  EXPECT_EQ(answer, "1");
}

TEST_F(SandboxLife, WithFuturesFromAnotherThread) {
  auto& box = sandbox(counter());
  auto work = asio::make_work_guard(context());
  std::thread loop([&] { context().run(); });
  const auto init = box.init({}, asio::use_future).get();
  EXPECT_TRUE(init->wait(asio::use_future).get());
  const auto invocation = init->reserve(asio::use_future).get();
  EXPECT_TRUE(invocation->send_request(request("a"), asio::use_future).get());
  const auto done = invocation->wait(asio::use_future).get();
  EXPECT_EQ(answer_of(done), "1");
  const auto twice = invocation->wait(asio::use_future).get();
  EXPECT_EQ(twice.error().kind, Kind::kAlreadyRead);
  EXPECT_TRUE(box.shutdown(Deadline::max(), asio::use_future).get());
  work.reset();
  loop.join();
}

class BlockingSandboxLife : public SandboxLife {
 protected:
  std::unique_ptr<BlockingSandbox> blocking(const Plan& of) {
    return std::make_unique<BlockingSandbox>(
        [&](asio::any_io_executor executor) { return starter(of, std::move(executor)); },
        watched());
  }
};

TEST_F(BlockingSandboxLife, IsAWholeLifeWithoutAnEventLoop) {
  auto box = blocking(counter());
  EXPECT_EQ(box->reserve().error().refused, Refusal::kNotInitialized);
  InitRequest patient;
  patient.invoke_timeout = kLong;
  EXPECT_TRUE(box->init(patient));
  EXPECT_EQ(box->init(patient).error().refused, Refusal::kAlreadyInitialized);
  EXPECT_TRUE(box->wait_init());
  for (const std::string expected : {"1", "2"}) {
    const auto invocation = box->reserve();
    EXPECT_TRUE(BlockingSandbox::send_request(*invocation, request("a")));
    EXPECT_EQ(answer_of(BlockingSandbox::wait(*invocation)), expected);
    EXPECT_EQ(BlockingSandbox::release(*invocation).error().refused, Refusal::kNotReserved);
  }
  EXPECT_EQ(box->restore()->duration, 0ms);
  EXPECT_EQ(box->clear().error().refused, Refusal::kResetRequired);
  EXPECT_EQ(box->reset(ResetReason::kOther)->generation, 2U);
  EXPECT_EQ(box->status()->state, lifecycle::State::kCold);
  EXPECT_TRUE(box->shutdown(Deadline::max()));
  box.reset();
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents + kServedEvents +
                                       Strings{"restore.runtimeDone"}));
}

TEST_F(BlockingSandboxLife, ResetFromAnotherThreadEndsAWait) {
  auto box = blocking(hostile({"never_read"}));
  EXPECT_TRUE(box->init({false, {}, kLong}));
  EXPECT_TRUE(box->wait_init());
  const auto invocation = box->reserve();
  EXPECT_TRUE(BlockingSandbox::send_request(*invocation, request("a")));
  std::thread other([&] { EXPECT_TRUE(box->reset(ResetReason::kTimeout)); });
  EXPECT_TRUE(BlockingSandbox::wait(*invocation).error().reset_received);
  other.join();
}

TEST_F(BlockingSandboxLife, DestroyedInTheMiddleLeavesNothing) {
  auto box = blocking(hostile({"never_read"}));
  EXPECT_TRUE(box->init({false, {}, kLong}));
  EXPECT_TRUE(box->wait_init());
  const auto invocation = box->reserve();
  EXPECT_TRUE(BlockingSandbox::send_request(*invocation, request("a")));
  box.reset();  // The fixture counts.
}

TEST_F(SandboxLife, FiftyResetsLeaveNoProcessAndNoDescriptor) {
  auto& box = sandbox(counter());
  run([&]() -> asio::awaitable<void> {
    const InitContext init = co_await up(box);
    co_await box.reset(ResetReason::kOther, asio::use_awaitable);
    const test::Ledger before = test::take_ledger(host.cgroup.dir);
    for (int i = 0; i < 50; ++i) {
      const auto ended = co_await call(init, i % 2 == 0 ? "crash" : "a");
      EXPECT_EQ(ended.has_value(), i % 2 != 0);
      co_await box.reset(ResetReason::kFailure, asio::use_awaitable);
    }
    EXPECT_EQ(test::take_ledger(host.cgroup.dir), before);
  });
}

}  // namespace
}  // namespace fnrun::supervisor
