// A SandboxContext over real sandboxes, for tests: handlers, an event loop, and the events seen.
#pragma once

#include <gmock/gmock.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/lifecycle/fnrun_runtime.h"
#include "supervisor/lifecycle/sandbox_context.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::supervisor {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using Plan = std::shared_ptr<const isolation::Plan>;
using Strings = std::vector<std::string>;

// Longer than any test; a wait that reaches it has failed.
inline constexpr auto kLong = std::chrono::milliseconds(test::kBoundMs);

inline const Strings kServedEvents{"invoke.start", "invoke.runtimeDone", "report", "end"};
inline const Strings kInitEvents{"init.start", "init.runtimeDone", "init.report"};

inline Strings operator+(Strings left, const Strings& right) {
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
    strict.reuse = {.mode = policies::Reuse::Mode::kAlways};
    context_.emplace(1);
    threads.emplace(1);
  }
  void TearDown() override {
    end();
    drop_loop();
    threads.reset();  // Waits for launches.
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
    return std::make_unique<FnrunRuntimeStarter>(std::move(executor), *threads, *launcher, of,
                                                 std::move(options));
  }
  SandboxOptions watched() {
    SandboxOptions options;
    options.observer = [this](const Event& one) {
      events.emplace_back(name_of(one));
      lines.push_back(to_json(one));
      if (on_event) on_event(one);
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
    if (!context_) return;
    context_->restart();
    context_->run();
  }
  // As it is, whatever is still to be done.
  void drop_loop() { context_.reset(); }
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

  std::optional<asio::thread_pool> threads;  // That launch.
  Strings events;
  Strings lines;
  std::function<void(std::string_view)> on_line;
  std::function<void(const Event&)> on_event;

 private:
  std::optional<asio::io_context> context_;
  std::unique_ptr<SandboxContext> sandbox_;
};

}  // namespace fnrun::supervisor
