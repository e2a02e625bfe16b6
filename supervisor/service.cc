#include "supervisor/service.h"

#include <algorithm>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
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

// Who hears a handler's stderr. Shared with readers of it, which may outlive the Service.
struct Listeners {
  LogSink others;
  std::map<std::uint64_t, std::function<void(std::string_view)>> of_calls;

  void hear(std::uint64_t call, std::string_view line) const {
    if (const auto found = of_calls.find(call); found != of_calls.end())
      found->second(line);
    else if (others)
      others(call, line);
  }
};

}  // namespace

struct Service::State {
  State(asio::any_io_executor ex, isolation::Launcher& launcher,
        std::shared_ptr<const isolation::Plan> plan, ServiceOptions o)
      : executor(ex),
        options(std::move(o)),
        listeners(std::make_shared<Listeners>()),
        admission(ex, options.admission),
        pool(ex, launcher, std::move(plan),
             {.protocol = options.protocol,
              .ready = options.ready,
              .sandboxes_max = options.sandboxes_max,
              .launching_threads = options.launching_threads,
              .log = [heard = listeners](std::uint64_t call,
                                         std::string_view line) { heard->hear(call, line); },
              .on_event = options.on_event}) {
    listeners->others = options.log;
  }

  // A call from its beginning to its answer.
  struct Flight {
    std::string request_id;
    steady_clock::time_point since;
    bool cancelled = false;
    Invoker* invoker = nullptr;  // While one serves it.

    [[nodiscard]] std::int64_t waited_us() const {
      return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - since)
          .count();
    }
  };

  asio::any_io_executor executor;
  ServiceOptions options;
  std::shared_ptr<Listeners> listeners;
  Admission admission;
  Pool pool;
  std::uint64_t sequence = 0;
  bool stopping = false;
  std::map<std::uint64_t, Flight> flights;

  Invocation refuse(std::uint64_t call, Cause cause,
                    std::optional<isolation::SetupError> setup = {});
  asio::awaitable<Invocation> serve(Input input, std::uint64_t call, Deadline deadline,
                                    std::string client);
  asio::awaitable<Invocation> with_a_sandbox(Input input, std::uint64_t call, Deadline deadline);
  void cancel(std::uint64_t call);
};

Service::Service(asio::any_io_executor executor, isolation::Launcher& launcher,
                 std::shared_ptr<const isolation::Plan> plan, ServiceOptions options)
    : state_(std::make_unique<State>(std::move(executor), launcher, std::move(plan),
                                     std::move(options))) {}

Service::~Service() = default;

// A call that never reached a handler.
Invocation Service::State::refuse(std::uint64_t of_call, Cause cause,
                                  std::optional<isolation::SetupError> setup) {
  const auto& plan = pool.plan();
  Invocation invocation;
  InvocationReport& report = invocation.report;
  report.sequence = of_call;
  if (const auto flight = flights.find(of_call); flight != flights.end()) {
    report.request_id = flight->second.request_id;
    report.timings.wait_us = flight->second.waited_us();
  }
  report.policy = options.policy_name;
  report.handler = plan->handler.path;
  report.layers = {plan, &plan->layers};
  report.degraded = {plan, &plan->degraded};
  report.evidence.setup = std::move(setup);
  report.outcome = decide(cause, report.evidence);
  return invocation;
}

asio::awaitable<Invocation> Service::State::with_a_sandbox(Input input, std::uint64_t of_call,
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
  for (;;) {
    // Also where it came between the place and the sandbox.
    if (flights.at(of_call).cancelled) co_return refuse(of_call, Cause::kCancelled);
    auto wanted = environment;
    auto taken = co_await pool.take(std::move(wanted), deadline, of_call);
    if (auto* none = std::get_if<NoInvoker>(&taken))
      co_return refuse(of_call, none->cause, std::move(none->setup));
    auto [invoker, fresh] = std::move(std::get<Taken>(taken));
    Flight& flight = flights.at(of_call);
    if (flight.cancelled) {
      pool.give_back(std::move(invoker), /*answered=*/false);
      co_return refuse(of_call, Cause::kCancelled);
    }
    flight.invoker = invoker.get();
    const std::int64_t waited_us = flight.waited_us();
    auto invocation = co_await invoker->invoke(input, of_call, deadline);
    flight.invoker = nullptr;
    if (fresh) invocation.report.timings.start_us = invocation.report.sandbox.start_us;
    invocation.report.timings.wait_us = waited_us;
    invocation.report.policy = options.policy_name;
    invocation.report.request_id = flights.at(of_call).request_id;
    pool.give_back(std::move(invoker), invocation.result.has_value());
    // What an earlier call did to that sandbox is not this caller's failure. One that served nobody
    // before has no such excuse, so this comes to an end.
    if (invocation.asked || invocation.report.sandbox.calls_served <= 1) co_return invocation;
  }
}

asio::awaitable<Invocation> Service::State::serve(Input input, std::uint64_t call,
                                                  Deadline deadline, std::string client) {
  if (flights.at(call).cancelled) co_return refuse(call, Cause::kCancelled);
  const Deadline limit =
      std::min(deadline, steady_clock::now() + pool.plan()->policy.limits.invoke_timeout);
  if (const auto why = co_await admission.enter(client, limit, call)) co_return refuse(call, *why);
  const Place place(admission, std::move(client));
  auto invocation = co_await with_a_sandbox(std::move(input), call, limit);
  if (stopping && invocation.report.outcome == Outcome::kCancelled)
    invocation.report.outcome = Outcome::kShuttingDown;
  co_return invocation;
}

void Service::State::cancel(std::uint64_t call) {
  const auto found = flights.find(call);
  if (found == flights.end()) return;
  found->second.cancelled = true;
  admission.cancel(call);
  pool.cancel(call);
  if (found->second.invoker != nullptr) found->second.invoker->cancel();
}

isolation::Result<void> Service::warm_up(std::size_t count) {
  return state_->pool.warm_up(count);
}

// The call is a coroutine of its own, beyond the reach of Asio's cancellation: that would end it by
// an exception between any two of its steps. Ours ends it where its sandbox is accounted for.
void Service::begin(Input input, Deadline deadline, Caller caller, Done done) {
  State* const state = state_.get();
  const std::uint64_t call = ++state->sequence;
  state->flights.emplace(call, State::Flight{.request_id = std::move(caller.request_id),
                                             .since = steady_clock::now()});
  if (caller.log) state->listeners->of_calls.emplace(call, std::move(caller.log));
  if (auto slot = asio::get_associated_cancellation_slot(done); slot.is_connected())
    slot.assign([state, call](asio::cancellation_type) { state->cancel(call); });
  asio::co_spawn(
      state->executor, state->serve(std::move(input), call, deadline, std::move(caller.client)),
      [state, call, done = std::move(done)](const std::exception_ptr& failure,
                                            Invocation invocation) mutable {
        if (auto slot = asio::get_associated_cancellation_slot(done); slot.is_connected())
          slot.clear();
        if (failure) invocation = state->refuse(call, Cause::kIo);  // No memory for it.
        state->flights.erase(call);
        state->listeners->of_calls.erase(call);
        const auto where = asio::get_associated_executor(done, state->executor);
        asio::dispatch(where, [done = std::move(done), answer = std::move(invocation)]() mutable {
          std::move(done)(std::move(answer));
        });
      });
}

asio::awaitable<Invocation> Service::invoke(Input input, Deadline deadline, Caller caller) {
  auto answer = async_invoke(std::move(input), deadline, std::move(caller), asio::use_awaitable);
  co_return co_await std::move(answer);
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

void Service::keep(std::size_t ready, std::size_t sandboxes_max) {
  state_->pool.keep(ready, sandboxes_max);
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
  for (auto& [call, flight] : state_->flights)
    if (flight.invoker != nullptr) flight.invoker->cancel();
}

asio::awaitable<void> Service::shut_down() {
  stop();
  co_await state_->pool.shut_down();
}

}  // namespace fnrun::supervisor
