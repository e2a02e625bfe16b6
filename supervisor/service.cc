#include "supervisor/service.h"

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <set>
#include <variant>

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

isolation::SetupError not_a_variable(const std::string& name) {
  std::string text = escape_for_terminal(name);
  text.insert(text.begin(), '\'');
  text += "' cannot be an environment variable";
  return {isolation::SetupStep::kRequest, 0, 0, std::move(text)};
}

}  // namespace

struct Service::State {
  State(asio::any_io_executor ex, isolation::Launcher& launcher,
        std::shared_ptr<const isolation::Plan> plan, ServiceOptions o)
      : options(std::move(o)),
        admission(ex, options.admission),
        pool(ex, launcher, std::move(plan),
             {.protocol = options.protocol,
              .ready = options.ready,
              .launching_threads = options.launching_threads,
              .log = options.log,
              .on_event = options.on_event}) {}

  ServiceOptions options;
  Admission admission;
  Pool pool;
  std::uint64_t sequence = 0;
  bool stopping = false;
  std::set<Invoker*> in_flight;

  Invocation refuse(std::uint64_t call, Cause cause,
                    std::optional<isolation::SetupError> setup = {});
  asio::awaitable<Invocation> call(Input input, std::uint64_t call, Deadline deadline);
};

Service::Service(asio::any_io_executor executor, isolation::Launcher& launcher,
                 std::shared_ptr<const isolation::Plan> plan, ServiceOptions options)
    : state_(std::make_unique<State>(std::move(executor), launcher, std::move(plan),
                                     std::move(options))) {}

Service::~Service() = default;

// A call that never reached a handler.
Invocation Service::State::refuse(std::uint64_t of_call, Cause cause,
                                  std::optional<isolation::SetupError> setup) {
  const isolation::Plan& plan = *pool.plan();
  Invocation invocation;
  InvocationReport& report = invocation.report;
  report.sequence = of_call;
  report.policy = options.policy_name;
  report.handler = plan.handler.path;
  report.layers = plan.layers;
  report.degraded = plan.degraded;
  report.evidence.setup = std::move(setup);
  report.outcome = decide(cause, report.evidence);
  return invocation;
}

asio::awaitable<Invocation> Service::State::call(Input input, std::uint64_t of_call,
                                                 Deadline deadline) {
  input.env.insert(input.env.begin(), options.env.begin(), options.env.end());
  std::vector<std::string> environment;
  if (options.protocol == HandlerProtocol::kExec) {
    for (const protocol::EnvVar& variable : input.env) {
      if (!is_environment_variable(variable))
        co_return refuse(of_call, Cause::kSetup, not_a_variable(variable.name));
      environment.push_back(variable.name + "=" + variable.value);
    }
  }
  auto taken = co_await pool.take(std::move(environment), deadline);
  if (auto* none = std::get_if<NoInvoker>(&taken))
    co_return refuse(of_call, none->cause, std::move(none->setup));
  auto [invoker, fresh] = std::move(std::get<Taken>(taken));
  in_flight.insert(invoker.get());
  auto invocation = co_await invoker->invoke(input, of_call, deadline);
  in_flight.erase(invoker.get());
  if (fresh) invocation.report.timings.start_us = invocation.report.sandbox.start_us;
  invocation.report.policy = options.policy_name;
  pool.give_back(std::move(invoker));
  co_return invocation;
}

isolation::Result<void> Service::warm_up() {
  return state_->pool.warm_up();
}

asio::awaitable<Invocation> Service::invoke(Input input, Deadline deadline, std::string client) {
  State& state = *state_;
  const std::uint64_t call = ++state.sequence;
  const Deadline limit =
      std::min(deadline, steady_clock::now() + state.pool.plan()->policy.limits.invoke_timeout);
  if (const auto why = co_await state.admission.enter(client, limit))
    co_return state.refuse(call, *why);
  const Place place(state.admission, std::move(client));
  auto invocation = co_await state.call(std::move(input), call, limit);
  if (state.stopping && invocation.report.outcome == Outcome::kCancelled)
    invocation.report.outcome = Outcome::kShuttingDown;
  co_return invocation;
}

Invocation Service::refuse(Cause cause, std::optional<isolation::SetupError> setup) {
  return state_->refuse(++state_->sequence, cause, std::move(setup));
}

void Service::use_plan(std::shared_ptr<const isolation::Plan> plan) {
  state_->pool.use_plan(std::move(plan));
}

void Service::resize(std::size_t places) {
  state_->admission.resize(places);
}

PoolStatus Service::status() const {
  return state_->pool.status();
}

std::size_t Service::waiting() const noexcept {
  return state_->admission.waiting();
}

bool Service::stopping() const noexcept {
  return state_->stopping;
}

void Service::stop() {
  state_->stopping = true;
  state_->admission.stop();
  state_->pool.stop();
  for (Invoker* const invoker : state_->in_flight) invoker->cancel();
}

asio::awaitable<void> Service::shut_down() {
  stop();
  co_await state_->pool.shut_down();
}

}  // namespace fnrun::supervisor
