#include "supervisor/pool.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <vector>

#include "supervisor/start_backoff.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using isolation::SetupError;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Launched = isolation::Result<Invoker::Launched>;
using Started = isolation::Result<std::unique_ptr<Invoker>>;

// Handlers that fail faster than the kernel tears down would pile up remains without end.
constexpr std::size_t kDyingMax = 8;
// Each that is stuck in the kernel holds a uid and a dozen descriptors. So many say that the host
// is ill, and one more would be stuck too.
constexpr std::size_t kQuarantinedMax = 32;
// What is stuck in the kernel ends when the kernel lets go of it: to be looked at, not hammered.
constexpr milliseconds kFirstKillPatience{500};
constexpr milliseconds kLongestKillPatience{30'000};
// A spare is replaced once its call was answered, or so much later, unless it was the last one: a
// launch beside a short call would take the call's CPU.
constexpr milliseconds kRefillDelay{5};
// Started ahead at a time, for each launching thread: one and the next. A call that needs a start
// of its own queues behind these, not behind all that a new plan asks for.
constexpr std::size_t kAheadOfThread = 2;

SetupError not_in_time() {
  return {isolation::SetupStep::kStartTimeout, 0, 0,
          "no sandbox was started within the call's time"};
}

SetupError too_many_stuck() {
  return {
      isolation::SetupStep::kClone, 0, 0,
      std::to_string(kQuarantinedMax) +
          " sandboxes could not be killed and are stuck in the kernel: nothing is started until "
          "one has ended; the kernel's log may say what they wait for"};
}

}  // namespace

// A call's wait for a sandbox that is to be started for it.
struct Pool::Wait {
  Wait(const asio::any_io_executor& executor, Deadline deadline, std::uint64_t of_call)
      : call(of_call), over(executor, deadline) {}
  const std::uint64_t call;
  asio::steady_timer over;             // Cancelled when there is something to see.
  std::atomic<bool> given_up = false;  // Read by the launching thread too.
  std::optional<Started> started;
};

struct Pool::State : std::enable_shared_from_this<State> {
  State(asio::any_io_executor ex, isolation::Launcher& l, std::shared_ptr<const isolation::Plan> p,
        PoolOptions o)
      : executor(ex),
        launcher(l),
        plan(std::move(p)),
        options(std::move(o)),
        changed(ex, steady_clock::time_point::max()),
        retry(ex),
        retry_kill(ex),
        threads(std::max<std::size_t>(1, options.launching_threads)) {}

  asio::any_io_executor executor;
  isolation::Launcher& launcher;
  std::shared_ptr<const isolation::Plan> plan;
  PoolOptions options;
  std::vector<std::unique_ptr<Invoker>> idle;  // The one used last is at the end.
  std::vector<std::unique_ptr<Invoker>> quarantined;
  std::map<std::uint64_t, std::shared_ptr<Wait>> waits;  // By their calls.
  milliseconds kill_patience = kFirstKillPatience;
  std::size_t starting = 0;
  std::size_t starting_ahead = 0;  // Of these, those that nobody waits for.
  std::size_t busy = 0;
  std::size_t dying = 0;
  std::uint64_t started = 0;
  std::uint64_t failed_starts = 0;
  std::uint64_t dirty = 0;
  std::atomic<bool> stopping = false;  // Read by the launching threads too.
  StartBackoff backoff;
  std::optional<SetupError> last_failure;
  steady_clock::time_point spare_died{};  // The last that counted as a failed start.
  asio::steady_timer changed;             // Cancelled whenever somebody may have waited for it.
  asio::steady_timer retry;
  asio::steady_timer retry_kill;
  asio::thread_pool threads;  // Last: its launches use what is above.

  asio::awaitable<Started> start(std::vector<std::string> environment, Deadline latest,
                                 std::shared_ptr<Wait> wait);
  void watch(Invoker& invoker);
  void note(const Started& result);
  void note_failure();
  void note_dead(const Invoker& spare);
  void works();
  void tell(PoolEvent::Kind kind, std::string text) const;
  void quarantine(std::unique_ptr<Invoker> stuck);
  void kill_again();
  void refill();
  static asio::awaitable<void> start_ahead(std::shared_ptr<State> state);
  static asio::awaitable<void> start_for(std::shared_ptr<State> state, std::shared_ptr<Wait> wait,
                                         std::vector<std::string> environment, Deadline latest);
  asio::awaitable<std::variant<Taken, NoInvoker>> take_new(std::vector<std::string> environment,
                                                           Deadline deadline, std::uint64_t call);
  void add_spare(std::unique_ptr<Invoker> invoker);
  void lose_spare(const Invoker* gone);
  void refill_at(steady_clock::time_point when);
  std::size_t spares_missing() const;
  void thin_out();
  bool wanted(const Invoker& invoker) const;
  void retire(std::unique_ptr<Invoker> invoker);
  static asio::awaitable<void> bury(std::shared_ptr<State> state, std::unique_ptr<Invoker> dead);
  asio::awaitable<void> await_change(Deadline latest = Deadline::max());
  std::unique_ptr<Invoker> pop_idle();
};

// The launch on a thread of ours, everything else here. `wait`: whose, or nobody's.
asio::awaitable<Started> Pool::State::start(std::vector<std::string> environment, Deadline latest,
                                            std::shared_ptr<Wait> wait) {
  ++starting;
  const auto by_plan = plan;
  bool begun = false;
  std::optional<Launched> launched;
  const auto launch = [&]() -> asio::awaitable<void> {
    // It may have waited for its turn longer than its caller can, or would.
    begun = !stopping && !(wait && wait->given_up) && steady_clock::now() < latest;
    if (begun)
      launched.emplace(Invoker::launch(launcher, by_plan, environment, latest));
    else
      launched.emplace(not_in_time());
    co_return;
  };
  co_await asio::co_spawn(threads, launch(), asio::use_awaitable);
  --starting;
  Started result =
      *launched ? Invoker::serve(executor, std::move(**launched), options.protocol, options.log)
                : Started(launched->error());
  // A start that a caller's own deadline cut short says nothing about the handler.
  const bool cut_short =
      !begun || (!result && result.error().step == isolation::SetupStep::kStartTimeout &&
                 steady_clock::now() >= latest);
  // Nor does one by an older plan that failed.
  if (!cut_short && (result || by_plan == plan)) note(result);
  if (result) watch(**result);
  co_return result;
}

// So that a spare which ends is replaced before somebody needs it.
void Pool::State::watch(Invoker& invoker) {
  invoker.on_gone([weak = weak_from_this(), one = &invoker] {
    if (const auto state = weak.lock()) state->lose_spare(one);
  });
}

void Pool::State::tell(PoolEvent::Kind kind, std::string text) const {
  if (options.on_event) options.on_event({kind, std::move(text)});
}

void Pool::State::note(const Started& result) {
  if (!result) {
    ++failed_starts;
    last_failure = result.error();
    return note_failure();
  }
  ++started;
  if (options.protocol == HandlerProtocol::kExec) works();
}

// Being past exec proves little: one that ends by itself right after it is no better than one that
// does not start. An answer does.
void Pool::State::works() {
  const bool was_degraded = backoff.degraded();
  backoff.succeeded();
  last_failure.reset();
  if (was_degraded) tell(PoolEvent::Kind::kRecovered, "the handler starts again");
}

void Pool::State::note_failure() {
  const bool was_degraded = backoff.degraded();
  backoff.failed(steady_clock::now());
  if (was_degraded || !backoff.degraded()) return;
  tell(PoolEvent::Kind::kDegraded,
       "the handler failed to start " + std::to_string(StartBackoff::kBurst) + " times within " +
           std::to_string(StartBackoff::kInterval.count()) +
           " s; it is tried again ever more seldom: " + last_failure->to_string());
}

// A spare that ends young is a start that failed, only later. Those that were there when one died
// say no more than that one did: it may have been the host that ended them all.
void Pool::State::note_dead(const Invoker& spare) {
  const auto now = steady_clock::now();
  if (spare.plan() != plan || spare.calls_served() > 0 || spare.age() >= StartBackoff::kInterval ||
      now - spare.age() <= spare_died)
    return;
  spare_died = now;
  last_failure = SetupError{isolation::SetupStep::kExec, 0, 0,
                            plan->handler.path + " ended, or spoke, before its first call"};
  note_failure();
}

std::size_t Pool::State::spares_missing() const {
  std::size_t wanted = options.ready;
  if (options.sandboxes_max != 0)
    wanted = std::min(wanted, options.sandboxes_max - std::min(busy, options.sandboxes_max));
  return wanted - std::min(idle.size() + starting, wanted);
}

// Of the spares beyond sandboxes_max those go that served longest ago, or nobody yet.
void Pool::State::thin_out() {
  while (options.sandboxes_max != 0 && !idle.empty() &&
         idle.size() + busy > options.sandboxes_max) {
    retire(std::move(idle.front()));
    idle.erase(idle.begin());
  }
}

// As many starts as are missing, a few at a time.
void Pool::State::refill() {
  if (stopping || options.protocol == HandlerProtocol::kExec || spares_missing() == 0 ||
      quarantined.size() >= kQuarantinedMax)
    return;
  if (steady_clock::now() < backoff.not_before()) return refill_at(backoff.not_before());
  const std::size_t at_a_time =
      kAheadOfThread * std::max<std::size_t>(1, options.launching_threads);
  for (std::size_t missing = spares_missing(); missing > 0 && starting_ahead < at_a_time;
       --missing) {
    ++starting_ahead;
    asio::co_spawn(executor, start_ahead(shared_from_this()), asio::detached);
  }
}

asio::awaitable<void> Pool::State::start_ahead(std::shared_ptr<State> state) {
  std::vector<std::string> environment;
  std::shared_ptr<Wait> nobody;  // Named: g++ 12 copies temporaries of a co_await bit by bit.
  auto result = co_await state->start(std::move(environment), Deadline::max(), std::move(nobody));
  --state->starting_ahead;
  if (result) {
    state->add_spare(std::move(*result));
    state->refill();
  } else {
    state->refill_at(state->backoff.not_before());
  }
  state->changed.cancel();
}

// A launch that has begun goes on when its call does not. What comes of it serves the next one, if
// none is idle: calls that are taken back must not gather sandboxes.
asio::awaitable<void> Pool::State::start_for(std::shared_ptr<State> state,
                                             std::shared_ptr<Wait> wait,
                                             std::vector<std::string> environment,
                                             Deadline latest) {
  // The policy's own limit is enough for what may serve anybody.
  const bool anybodys = environment.empty() && state->options.protocol != HandlerProtocol::kExec;
  if (anybodys) latest = Deadline::max();
  auto of_call = wait;
  auto result = co_await state->start(std::move(environment), latest, std::move(of_call));
  if (!wait->given_up) {
    if (result) (*result)->expect(wait->call);
    wait->started.emplace(std::move(result));
    wait->over.cancel();
  } else if (result && anybodys && (state->idle.empty() || state->spares_missing() > 0)) {
    state->add_spare(std::move(*result));
  } else if (result) {
    state->retire(std::move(*result));
  }
  if (wait->given_up) state->refill();  // While it was starting it counted as a spare to come.
  state->changed.cancel();
}

// Behind the others: it has warmed up for nobody yet.
void Pool::State::add_spare(std::unique_ptr<Invoker> invoker) {
  if (invoker->dirty()) note_dead(*invoker);  // Gone before it could be looked at.
  if (!wanted(*invoker)) return retire(std::move(invoker));
  idle.insert(idle.begin(), std::move(invoker));
  thin_out();
}

void Pool::State::lose_spare(const Invoker* gone) {
  const auto found = std::ranges::find(idle, gone, &std::unique_ptr<Invoker>::get);
  if (found == idle.end()) return;  // In a call, which sees it too, or on its way out.
  auto spare = std::move(*found);
  idle.erase(found);
  note_dead(*spare);
  retire(std::move(spare));
  refill();
  changed.cancel();
}

void Pool::State::refill_at(steady_clock::time_point when) {
  if (stopping || spares_missing() == 0) return;
  retry.expires_at(when);  // Ends an earlier wait.
  retry.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (const auto state = weak.lock(); state && !error) state->refill();
  });
}

// As far as the reuse policy says; whether it is fit for a call is asked when it is taken.
bool Pool::State::wanted(const Invoker& invoker) const {
  if (stopping || options.protocol == HandlerProtocol::kExec || invoker.plan() != plan ||
      invoker.dead() || invoker.gone() || invoker.dirty())
    return false;
  const policies::Reuse& reuse = plan->policy.reuse;
  const std::uint64_t served = invoker.calls_served();
  if (reuse.mode == policies::Reuse::Mode::kNever && served > 0) return false;
  return (reuse.calls_max == 0 || served < reuse.calls_max) &&
         (reuse.age_max.count() == 0 || invoker.age() < reuse.age_max);
}

// A dead sandbox is waited for where nobody waits for us.
void Pool::State::retire(std::unique_ptr<Invoker> invoker) {
  ++dying;
  asio::co_spawn(executor, bury(shared_from_this(), std::move(invoker)), asio::detached);
}

asio::awaitable<void> Pool::State::bury(std::shared_ptr<State> state,
                                        std::unique_ptr<Invoker> dead) {
  co_await dead->finish();
  if (dead->exit()) {
    dead.reset();
  } else {
    state->quarantine(std::move(dead));
  }
  --state->dying;
  state->changed.cancel();
}

void Pool::State::quarantine(std::unique_ptr<Invoker> stuck) {
  std::string text =
      "the sandbox of pid " + std::to_string(stuck->pid()) +
      " could not be killed within limits.kill_timeout_ms: something inside is stuck "
      "in the kernel; it is kept apart and killed again";
  quarantined.push_back(std::move(stuck));
  tell(PoolEvent::Kind::kQuarantined, std::move(text));
  kill_patience = kFirstKillPatience;
  kill_again();
}

// Nobody waits for these.
void Pool::State::kill_again() {
  std::vector<std::unique_ptr<Invoker>> ended;
  for (auto& stuck : quarantined)
    if (stuck->try_finish()) ended.push_back(std::move(stuck));
  std::erase(quarantined, nullptr);
  for (const auto& one : ended)
    tell(PoolEvent::Kind::kReleased,
         "the sandbox of pid " + std::to_string(one->pid()) + " has ended after all");
  refill();
  if (quarantined.empty() || stopping) return;
  retry_kill.expires_after(kill_patience);
  kill_patience = std::min(kill_patience * 2, kLongestKillPatience);
  retry_kill.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (const auto state = weak.lock(); state && !error) state->kill_again();
  });
}

asio::awaitable<void> Pool::State::await_change(Deadline latest) {
  asio::steady_timer limit(executor, latest);
  auto either = asio::experimental::make_parallel_group(changed.async_wait(asio::deferred),
                                                        limit.async_wait(asio::deferred));
  co_await std::move(either).async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
}

std::unique_ptr<Invoker> Pool::State::pop_idle() {
  while (!idle.empty()) {
    auto invoker = std::move(idle.back());
    idle.pop_back();
    const bool usable = invoker->usable();
    if (usable && wanted(*invoker) && invoker->wake()) return invoker;
    if (!usable) note_dead(*invoker);
    retire(std::move(invoker));
  }
  return nullptr;
}

Pool::Pool(asio::any_io_executor executor, isolation::Launcher& launcher,
           std::shared_ptr<const isolation::Plan> plan, PoolOptions options)
    : state_(std::make_shared<State>(std::move(executor), launcher, std::move(plan),
                                     std::move(options))) {}

// Killed before the first is waited for, so that they end side by side.
Pool::~Pool() {
  stop();
  state_->threads.join();
  for (const auto& spare : state_->idle) spare->kill(isolation::KillReason::kShutdown);
}

isolation::Result<void> Pool::warm_up(std::size_t count) {
  State& state = *state_;
  if (state.options.protocol == HandlerProtocol::kExec) return {};
  while (state.idle.size() < count) {
    if (state.quarantined.size() >= kQuarantinedMax) return too_many_stuck();
    auto launched = Invoker::launch(state.launcher, state.plan, {});
    Started one = launched ? Invoker::serve(state.executor, std::move(*launched),
                                            state.options.protocol, state.options.log)
                           : Started(launched.error());
    state.note(one);
    if (!one) return one.error();
    state.watch(**one);
    state.idle.push_back(std::move(*one));
  }
  state.refill();
  return {};
}

asio::awaitable<std::variant<Taken, NoInvoker>> Pool::take(
    std::vector<std::string> extra_environment, Deadline deadline, std::uint64_t call) {
  const auto state = state_;
  if (state->stopping) co_return NoInvoker{Cause::kShutdown, {}};
  if (extra_environment.empty()) {
    if (auto invoker = state->pop_idle()) {
      ++state->busy;
      if (state->idle.empty())
        state->refill();
      else
        state->refill_at(steady_clock::now() + kRefillDelay);
      co_return Taken{std::move(invoker), false};
    }
  }
  if (state->backoff.degraded() && steady_clock::now() < state->backoff.not_before() &&
      state->last_failure)
    co_return NoInvoker{Cause::kSetup, state->last_failure};
  if (state->quarantined.size() >= kQuarantinedMax)
    co_return NoInvoker{Cause::kSetup, too_many_stuck()};
  // Not returned as it is: g++ 12 copies such a temporary bit by bit.
  auto taken = co_await state->take_new(std::move(extra_environment), deadline, call);
  co_return taken;
}

asio::awaitable<std::variant<Taken, NoInvoker>> Pool::State::take_new(
    std::vector<std::string> environment, Deadline deadline, std::uint64_t call) {
  const auto self = shared_from_this();
  const auto wait = std::make_shared<Wait>(executor, deadline, call);
  const auto waits_on = [&] {
    return !wait->started && !wait->given_up && steady_clock::now() < deadline;
  };
  waits.emplace(call, wait);
  while (dying > kDyingMax && waits_on()) co_await await_change(deadline);
  const bool begun = waits_on() && quarantined.size() < kQuarantinedMax;
  if (!begun && waits_on()) {
    waits.erase(call);
    co_return NoInvoker{Cause::kSetup, too_many_stuck()};
  }
  if (begun)
    asio::co_spawn(executor, start_for(self, wait, std::move(environment), deadline),
                   asio::detached);
  while (waits_on()) co_await wait->over.async_wait(asio::as_tuple(asio::use_awaitable));
  waits.erase(call);
  if (!wait->started) {
    const bool late = !wait->given_up.exchange(true);
    if (stopping) co_return NoInvoker{Cause::kShutdown, {}};
    if (!late) co_return NoInvoker{Cause::kCancelled, {}};
    if (!begun) co_return NoInvoker{Cause::kDeadline, {}};
    co_return NoInvoker{Cause::kSetup, not_in_time()};
  }
  Started& result = *wait->started;
  if (!result) {
    refill();  // As in start_for().
    co_return NoInvoker{Cause::kSetup, result.error()};
  }
  if (stopping) {
    retire(std::move(*result));
    co_return NoInvoker{Cause::kShutdown, {}};
  }
  ++busy;
  refill();
  co_return Taken{std::move(*result), true};
}

void Pool::cancel(std::uint64_t call) {
  const auto found = state_->waits.find(call);
  if (found == state_->waits.end()) return;
  found->second->given_up = true;
  found->second->over.cancel();
  state_->changed.cancel();
}

void Pool::keep(std::size_t ready, std::size_t sandboxes_max) {
  State& state = *state_;
  state.options.ready = ready;
  state.options.sandboxes_max = sandboxes_max;
  state.thin_out();
  state.refill();
}

void Pool::give_back(std::unique_ptr<Invoker> invoker, bool answered) {
  --state_->busy;
  invoker->expect(0);  // It may have been taken for a call that was taken back before it began.
  if (invoker->dirty()) ++state_->dirty;
  if (answered) state_->works();
  if (state_->wanted(*invoker)) {
    invoker->rest();
    state_->idle.push_back(std::move(invoker));
    state_->thin_out();
  } else {
    state_->retire(std::move(invoker));
  }
  state_->refill();
  state_->changed.cancel();
}

void Pool::use_plan(std::shared_ptr<const isolation::Plan> plan) {
  state_->plan = std::move(plan);
  state_->backoff.succeeded();  // What failed was the other one.
  state_->last_failure.reset();
  for (auto& old : std::exchange(state_->idle, {})) state_->retire(std::move(old));
  state_->refill();
}

const std::shared_ptr<const isolation::Plan>& Pool::plan() const noexcept {
  return state_->plan;
}

void Pool::stop() {
  state_->stopping = true;
  state_->retry.cancel();
  state_->retry_kill.cancel();
  for (const auto& [call, wait] : state_->waits) {
    wait->given_up = true;
    wait->over.cancel();
  }
  state_->changed.cancel();
}

asio::awaitable<void> Pool::shut_down() {
  const auto state = state_;
  stop();
  for (auto& one : std::exchange(state->idle, {})) state->retire(std::move(one));
  while (state->dying + state->starting > 0) co_await state->await_change();
}

PoolStatus Pool::status() const {
  const State& state = *state_;
  const auto now = steady_clock::now();
  PoolStatus status;
  status.idle = state.idle.size();
  status.starting = state.starting;
  status.busy = state.busy;
  status.dying = state.dying;
  status.quarantined = state.quarantined.size();
  status.started = state.started;
  status.failed_starts = state.failed_starts;
  status.dirty = state.dirty;
  status.degraded = state.backoff.degraded();
  if (status.degraded && state.backoff.not_before() > now)
    status.retry_in = std::chrono::ceil<milliseconds>(state.backoff.not_before() - now);
  return status;
}

}  // namespace fnrun::supervisor
