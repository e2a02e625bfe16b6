#include "supervisor/invoker_pool.h"

#include <algorithm>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdlib>
#include <future>
#include <thread>

#include "isolation/signal_block.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using PlanResult = isolation::Result<std::shared_ptr<const isolation::Plan>>;

PlanResult compile(const policies::Policy& policy, const isolation::Host& host,
                   const std::vector<std::string>& argv) {
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): as the caller's threads
  auto handler = isolation::find_handler(argv, policy, path != nullptr ? path : "", host);
  if (!handler) return handler.error();
  auto plan = isolation::compile(policy, host, std::move(*handler));
  if (!plan) return plan.error();
  return std::make_shared<const isolation::Plan>(std::move(*plan));
}

ServiceOptions service_options(const InvokerPoolOptions& options) {
  return {.protocol = options.protocol,
          .policy_name = options.policy_name,
          .env = options.env,
          .log = options.log,
          .admission = {.places = std::max<std::size_t>(1, options.max_invoker_count),
                        .waiting_max = options.max_waiting,
                        .per_client_max = 0,
                        .wait_max = options.max_wait},
          .ready = options.max_invoker_count,
          .sandboxes_max = options.max_invoker_count,
          .launching_threads = options.launching_threads,
          .on_event = options.on_event};
}

}  // namespace

struct InvokerPool::State {
  State(isolation::Host of_host, isolation::Launcher of_pool, std::vector<std::string> command,
        std::shared_ptr<const isolation::Plan> plan, const InvokerPoolOptions& options)
      : host(std::move(of_host)),
        launcher(std::move(of_pool)),
        argv(std::move(command)),
        max_runnable_time(options.max_runnable_time),
        service(context.get_executor(), launcher, std::move(plan), service_options(options)) {}
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  isolation::Host host;
  isolation::Launcher launcher;
  std::vector<std::string> argv;
  std::chrono::milliseconds max_runnable_time;
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  Service service;
  std::thread thread;

  // What `ask` returns on the pool's thread.
  template <class Ask>
  auto on_thread(Ask ask) {
    // In an event or an answer: to wait for ourselves would be for ever.
    if (context.get_executor().running_in_this_thread()) return ask();
    std::packaged_task<decltype(ask())()> task(std::move(ask));
    auto answer = task.get_future();
    // Behind a function: Asio would take the task itself for a completion token.
    asio::post(context, [&task] { task(); });
    return answer.get();
  }
};

InvokerPool::State::~State() {
  if (thread.joinable()) {
    asio::co_spawn(context, service.shut_down(),
                   [this](const std::exception_ptr&) { work.reset(); });
    thread.join();
  }
}

InvokerPool::InvokerPool(std::unique_ptr<State> state) : state_(std::move(state)) {}
InvokerPool::InvokerPool(InvokerPool&&) noexcept = default;
InvokerPool& InvokerPool::operator=(InvokerPool&&) noexcept = default;
InvokerPool::~InvokerPool() = default;

isolation::Result<InvokerPool> InvokerPool::start(const policies::Policy& policy,
                                                  std::vector<std::string> argv,
                                                  InvokerPoolOptions options) {
  auto host = isolation::probe_host(options.slot_uids);
  if (!host) return host.error();
  auto plan = compile(policy, *host, argv);
  if (!plan) return plan.error();
  auto launcher = isolation::Launcher::make(*host, options.launcher);
  if (!launcher) return launcher.error();
  auto state = std::make_unique<State>(std::move(*host), std::move(*launcher), std::move(argv),
                                       std::move(*plan), options);
  auto warm = state->service.warm_up(options.max_invoker_count);
  // Also after an error: what was started has to be ended.
  const isolation::SignalBlock signals_are_the_programs;
  state->thread = std::thread([context = &state->context] { context->run(); });
  if (!warm) return warm.error();
  return InvokerPool(std::move(state));
}

// A cancellation slot belongs to the caller's thread: what it says is passed on to ours, where a
// slot of our own waits for it. The answer, and the end of that link, come on the caller's
// executor.
void InvokerPool::begin(Input input, Deadline deadline, Done done) {
  State* const state = state_.get();
  if (state->max_runnable_time.count() != 0)
    deadline = std::min(deadline, std::chrono::steady_clock::now() + state->max_runnable_time);
  const auto relay = std::make_shared<asio::cancellation_signal>();
  if (auto slot = asio::get_associated_cancellation_slot(done); slot.is_connected())
    slot.assign([state, relay](asio::cancellation_type kind) {
      asio::post(state->context, [relay, kind] { relay->emit(kind); });
    });
  const auto where = asio::get_associated_executor(done, state->context.get_executor());
  auto answer = [relay, done = std::move(done)](Invocation invocation) mutable {
    if (auto slot = asio::get_associated_cancellation_slot(done); slot.is_connected()) slot.clear();
    std::move(done)(std::move(invocation));
  };
  asio::post(
      state->context,
      [state, of_call = std::move(input), deadline,
       on_answer = asio::bind_executor(
           where, asio::bind_cancellation_slot(relay->slot(), std::move(answer)))]() mutable {
        state->service.async_invoke(std::move(of_call), deadline, "", std::move(on_answer));
      });
}

Invocation InvokerPool::invoke(Input input, Deadline deadline) {
  return async_invoke(std::move(input), deadline, asio::use_future).get();
}

isolation::Result<void> InvokerPool::use_policy(const policies::Policy& policy) {
  auto plan = compile(policy, state_->host, state_->argv);
  if (!plan) return plan.error();
  state_->on_thread([&] { state_->service.use_plan(std::move(*plan)); });
  return {};
}

void InvokerPool::resize(std::size_t max_invoker_count) {
  state_->on_thread([&] {
    const std::size_t places = std::max<std::size_t>(1, max_invoker_count);
    state_->service.resize(places);
    state_->service.keep(places, places);
  });
}

PoolStatus InvokerPool::status() const {
  return state_->on_thread([&] { return state_->service.status(); });
}

}  // namespace fnrun::supervisor
