#include "supervisor/service.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "supervisor/stderr_log.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using std::chrono::steady_clock;

// POSIX's portable names, and no NUL: execve(2) would cut the variable there.
bool is_environment_variable(const protocol::EnvVar& variable) {
  const auto is_name_char = [](char c) {
    return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  return !variable.name.empty() && !(variable.name[0] >= '0' && variable.name[0] <= '9') &&
         std::all_of(variable.name.begin(), variable.name.end(), is_name_char) &&
         variable.value.find('\0') == std::string::npos;
}

}  // namespace

struct Service::State {
  State(asio::any_io_executor ex, isolation::Launcher& l, std::shared_ptr<const isolation::Plan> p,
        ServiceOptions o)
      : executor(ex),
        launcher(l),
        plan(std::move(p)),
        options(std::move(o)),
        none_dying(ex, steady_clock::time_point::max()) {}

  asio::any_io_executor executor;
  isolation::Launcher& launcher;
  std::shared_ptr<const isolation::Plan> plan;
  ServiceOptions options;
  std::unique_ptr<Invoker> invoker;
  std::uint64_t sequence = 0;
  bool busy = false;
  bool stopping = false;
  std::size_t dying = 0;          // Invokers whose end is awaited behind the callers' backs.
  asio::steady_timer none_dying;  // Cancelled when `dying` falls to 0.

  isolation::Result<void> start(const std::vector<std::string>& extra_environment);
  void retire();
  asio::awaitable<void> bury(std::unique_ptr<Invoker> dead);
  Invocation refuse(Cause cause, std::optional<isolation::SetupError> setup = {});
  asio::awaitable<Invocation> call(Input input, Deadline deadline);
};

Service::Service(asio::any_io_executor executor, isolation::Launcher& launcher,
                 std::shared_ptr<const isolation::Plan> plan, ServiceOptions options)
    : state_(std::make_unique<State>(std::move(executor), launcher, std::move(plan),
                                     std::move(options))) {}

Service::~Service() = default;

isolation::Result<void> Service::State::start(const std::vector<std::string>& extra_environment) {
  auto started =
      Invoker::start(executor, launcher, plan, options.protocol, extra_environment, options.log);
  if (!started) return started.error();
  invoker = std::move(*started);
  return {};
}

// A dead sandbox is waited for where nobody waits for us.
void Service::State::retire() {
  if (!invoker) return;
  ++dying;
  asio::co_spawn(executor, bury(std::move(invoker)), asio::detached);
}

asio::awaitable<void> Service::State::bury(std::unique_ptr<Invoker> dead) {
  co_await dead->finish();
  dead.reset();
  if (--dying == 0) none_dying.cancel();
}

// A call that never reached a handler.
Invocation Service::State::refuse(Cause cause, std::optional<isolation::SetupError> setup) {
  Invocation invocation;
  InvocationReport& report = invocation.report;
  report.sequence = sequence;
  report.policy = options.policy_name;
  report.handler = plan->handler.path;
  report.layers = plan->layers;
  report.degraded = plan->degraded;
  report.evidence.setup = std::move(setup);
  report.outcome = decide(cause, report.evidence);
  return invocation;
}

asio::awaitable<Invocation> Service::State::call(Input input, Deadline deadline) {
  const bool of_process = options.protocol == HandlerProtocol::kExec;
  input.env.insert(input.env.begin(), options.env.begin(), options.env.end());
  std::vector<std::string> environment;
  if (of_process) {
    for (const protocol::EnvVar& variable : input.env) {
      if (!is_environment_variable(variable))
        co_return refuse(Cause::kSetup,
                         isolation::SetupError{isolation::SetupStep::kRequest, 0, 0,
                                               "'" + escape_for_terminal(variable.name) +
                                                   "' cannot be an environment variable"});
      environment.push_back(variable.name + "=" + variable.value);
    }
  }
  if (invoker && !invoker->usable()) retire();
  const bool fresh = !invoker;
  if (fresh) {
    if (auto started = start(environment); !started)
      co_return refuse(Cause::kSetup, started.error());
  }
  auto invocation = co_await invoker->invoke(input, sequence, deadline);
  if (fresh) invocation.report.timings.start_us = invocation.report.sandbox.start_us;
  invocation.report.policy = options.policy_name;
  if (of_process || !invoker->usable()) retire();
  co_return invocation;
}

isolation::Result<void> Service::warm_up() {
  if (state_->invoker || state_->options.protocol == HandlerProtocol::kExec) return {};
  return state_->start({});
}

asio::awaitable<Invocation> Service::invoke(Input input, Deadline deadline) {
  State& state = *state_;
  ++state.sequence;
  if (state.stopping) co_return state.refuse(Cause::kShutdown);
  if (state.busy) co_return state.refuse(Cause::kNoSandboxFree);
  state.busy = true;
  const Deadline limit =
      std::min(deadline, steady_clock::now() + state.plan->policy.limits.invoke_timeout);
  auto invocation = co_await state.call(std::move(input), limit);
  state.busy = false;
  if (state.stopping && invocation.report.outcome == Outcome::kCancelled)
    invocation.report.outcome = Outcome::kShuttingDown;
  co_return invocation;
}

void Service::stop() {
  state_->stopping = true;
  if (state_->busy && state_->invoker) state_->invoker->cancel();
}

asio::awaitable<void> Service::shut_down() {
  state_->stopping = true;
  state_->retire();
  while (state_->dying > 0)
    co_await state_->none_dying.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace fnrun::supervisor
