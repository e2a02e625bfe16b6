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

constexpr std::size_t kDyingMax = 8;

// Whatever a call ends by, an exception too, the next one is not refused for it.
class Busy {
 public:
  explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
  ~Busy() { flag_ = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  bool& flag_;
};

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
        burial(ex, steady_clock::time_point::max()) {}

  asio::any_io_executor executor;
  isolation::Launcher& launcher;
  std::shared_ptr<const isolation::Plan> plan;
  ServiceOptions options;
  std::unique_ptr<Invoker> invoker;
  std::uint64_t sequence = 0;
  bool busy = false;
  bool stopping = false;
  std::size_t dying = 0;      // Invokers whose end is awaited behind the callers' backs.
  asio::steady_timer burial;  // Cancelled at the end of each.
  // Those that did not end within the kill timeout. Kept, so that their uids are nobody else's.
  std::vector<std::unique_ptr<Invoker>> quarantined;

  isolation::Result<void> start(const std::vector<std::string>& extra_environment, Deadline latest);
  void retire();
  asio::awaitable<void> bury(std::unique_ptr<Invoker> dead);
  asio::awaitable<void> await_burials(std::size_t at_most);
  Invocation refuse(Cause cause, std::optional<isolation::SetupError> setup = {});
  asio::awaitable<Invocation> call(Input input, Deadline deadline);
};

Service::Service(asio::any_io_executor executor, isolation::Launcher& launcher,
                 std::shared_ptr<const isolation::Plan> plan, ServiceOptions options)
    : state_(std::make_unique<State>(std::move(executor), launcher, std::move(plan),
                                     std::move(options))) {}

Service::~Service() = default;

isolation::Result<void> Service::State::start(const std::vector<std::string>& extra_environment,
                                              Deadline latest) {
  auto started = Invoker::start(executor, launcher, plan, options.protocol, extra_environment,
                                options.log, latest);
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
  if (dead->exit()) {
    dead.reset();
  } else {
    if (options.log)
      options.log(0, "the sandbox of pid " + std::to_string(dead->pid()) +
                         " could not be killed within limits.kill_timeout_ms; it is given up (" +
                         std::to_string(quarantined.size() + 1) + " so far)");
    quarantined.push_back(std::move(dead));
  }
  --dying;
  burial.cancel();
}

// Handlers that fail faster than the kernel tears down would pile up remains without end.
asio::awaitable<void> Service::State::await_burials(std::size_t at_most) {
  while (dying > at_most) co_await burial.async_wait(asio::as_tuple(asio::use_awaitable));
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
    co_await await_burials(kDyingMax);
    if (steady_clock::now() >= deadline) co_return refuse(Cause::kDeadline);
    if (auto started = start(environment, deadline); !started)
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
  return state_->start({}, Deadline::max());
}

asio::awaitable<Invocation> Service::invoke(Input input, Deadline deadline) {
  State& state = *state_;
  ++state.sequence;
  if (state.stopping) co_return state.refuse(Cause::kShutdown);
  if (state.busy) co_return state.refuse(Cause::kNoSandboxFree);
  const Busy busy(state.busy);
  const Deadline limit =
      std::min(deadline, steady_clock::now() + state.plan->policy.limits.invoke_timeout);
  auto invocation = co_await state.call(std::move(input), limit);
  if (state.stopping && invocation.report.outcome == Outcome::kCancelled)
    invocation.report.outcome = Outcome::kShuttingDown;
  co_return invocation;
}

Invocation Service::refuse(Cause cause, std::optional<isolation::SetupError> setup) {
  ++state_->sequence;
  return state_->refuse(cause, std::move(setup));
}

bool Service::stopping() const noexcept {
  return state_->stopping;
}

void Service::stop() {
  state_->stopping = true;
  if (state_->busy && state_->invoker) state_->invoker->cancel();
}

asio::awaitable<void> Service::shut_down() {
  state_->stopping = true;
  state_->retire();
  co_await state_->await_burials(0);
}

}  // namespace fnrun::supervisor
