#include "supervisor/invoker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>

#include "supervisor/clean_state.h"
#include "supervisor/resource_watch.h"
#include "supervisor/stderr_log.h"
#include "supervisor/usage.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using isolation::KillReason;
using isolation::SetupError;
using isolation::SetupStep;
using isolation::UniqueFd;
using std::chrono::steady_clock;

// After stdout has ended the handler's own end follows, if it did end: within microseconds on a
// host that has them to spare. Then its wait status says why, and is waited for. One that closed
// stdout and lives on is given the shorter time, then it is killed.
constexpr std::chrono::milliseconds kExitGrace{10'000};
constexpr std::chrono::milliseconds kEndGrace{200};
// All that a pipe holds, and all that the channel reads at once: nothing stays behind in the
// channel.
constexpr std::size_t kStderrChunk = 64 * 1024;

KillReason kill_reason(Cause cause) {
  switch (cause) {
    case Cause::kDeadline:
      return KillReason::kDeadline;
    case Cause::kTooLarge:
      return KillReason::kOutputTooLarge;
    case Cause::kCancelled:
      return KillReason::kCancelled;
    case Cause::kShutdown:
      return KillReason::kShutdown;
    case Cause::kOverMemory:
      return KillReason::kMemory;
    case Cause::kOverCpuTime:
      return KillReason::kCpuTime;
    default:
      return KillReason::kProtocolError;
  }
}

std::int64_t microseconds_since(steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start).count();
}

// What is used between two calls is on no call's account, unless they follow each other this fast:
// to look again would cost more than it could tell.
constexpr std::chrono::microseconds kNoPause{100};

// What a call found: its report tells differences, because a sandbox serves many.
struct Before {
  std::uint64_t call = 0;
  steady_clock::time_point began;
  isolation::ResourceUse use;
  std::uint64_t lines_emitted = 0;
  std::uint64_t lines_dropped = 0;
};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

isolation::Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0)
    return SetupError{SetupStep::kControlSocket, 0, errno, "pipe for the handler"};
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// A descriptor of the sandbox's, watched through a copy of our own: Asio closes what it watches.
asio::posix::stream_descriptor watch_fd(const asio::any_io_executor& executor, int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw boost::system::system_error(errno, boost::system::system_category());
  asio::posix::stream_descriptor watched(executor);
  watched.assign(copy.get());  // Takes it only if it does not throw.
  (void)copy.release();
  return watched;
}

using asio::posix::descriptor_base;

// Until it is so (wait_read: readable; wait_error: hung up) or the time has come; true if it is.
asio::awaitable<bool> wait_before(asio::posix::stream_descriptor& descriptor,
                                  descriptor_base::wait_type what, Deadline deadline) {
  asio::steady_timer timer(descriptor.get_executor(), deadline);
  auto either = asio::experimental::make_parallel_group(descriptor.async_wait(what, asio::deferred),
                                                        timer.async_wait(asio::deferred));
  const auto [order, watched, timed] = co_await std::move(either).async_wait(
      asio::experimental::wait_for_one(), asio::use_awaitable);
  co_return !watched;
}

}  // namespace

struct Invoker::State {
  State(asio::any_io_executor ex, std::shared_ptr<const isolation::Plan> p, HandlerProtocol how,
        isolation::Sandbox box, protocol::Channel io, protocol::Channel err, LogSink sink)
      : executor(ex),
        plan(std::move(p)),
        protocol(how),
        sandbox(std::move(box)),
        channel(std::move(io)),
        stderr_channel(std::move(err)),
        handler_ended(watch_fd(ex, sandbox.ended_fd())),
        everything_gone(watch_fd(ex, sandbox.pidfd())),
        stderr_done(ex, steady_clock::time_point::max()),
        log({.line_max = static_cast<std::size_t>(plan->policy.limits.stderr_line_max.bytes),
             .lines_per_second_max = plan->policy.limits.stderr_lines_per_second_max}),
        log_sink(std::move(sink)),
        watch(std::make_shared<ResourceWatch>(ex, sandbox, *plan,
                                              [this](Cause cause) { exceeded(cause); })),
        clean(
            std::make_shared<CleanState>(ex, sandbox, *plan,
                                         plan->policy.reuse.mode == policies::Reuse::Mode::kClean &&
                                             protocol != HandlerProtocol::kExec,
                                         [this](std::string_view text) { say(text); })) {}
  ~State() {
    watch->stop();
    clean->stop();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  asio::any_io_executor executor;
  std::shared_ptr<const isolation::Plan> plan;
  HandlerProtocol protocol;
  isolation::Sandbox sandbox;
  protocol::Channel channel;
  protocol::Channel stderr_channel;
  UniqueFd stderr_fd;                              // A copy of the channel's, for end_stderr().
  asio::posix::stream_descriptor handler_ended;    // Hung up: the handler has ended, or all has.
  asio::posix::stream_descriptor everything_gone;  // Readable: the init has ended, so all has.
  asio::steady_timer stderr_done;                  // Cancelled when stderr was read to its end.
  StderrLog log;
  LogSink log_sink;
  std::shared_ptr<ResourceWatch> watch;
  std::shared_ptr<CleanState> clean;
  isolation::ResourceUse last_use;  // As the last call left it.
  steady_clock::time_point last_answer{};
  std::optional<Cause> over_limit;  // What the watch saw, and the sandbox was killed for.
  bool resting = false;
  bool warned = false;     // The call in flight got its warning.
  std::uint64_t call = 0;  // 0: none in flight, nor about to be.
  std::uint64_t calls_served = 0;
  const steady_clock::time_point born = steady_clock::now();
  bool stderr_ended = false;
  bool found_silent = false;  // By usable(), a moment ago.
  bool dead = false;
  bool gone = false;
  bool finished = false;
  bool cancelled = false;
  std::optional<isolation::Exit> exit;

  void log_line(std::string_view line) {
    if (log_sink) log_sink(call, line);
  }
  // Our own words, which may name what the handler has named.
  void say(std::string_view text) { log_line(escape_for_terminal(text)); }
  static asio::awaitable<void> read_stderr(std::shared_ptr<State> state);
  void end_stderr();
  bool speaks_unasked();
  void exceeded(Cause cause);
  Before look_before(std::uint64_t call);
  static void warn_before(const std::shared_ptr<State>& state, Deadline deadline,
                          asio::steady_timer& timer);
  void warn();
  Invocation invocation_of(Exchanged done, const Before& before, std::size_t request_size);
  Evidence evidence(std::string detail, const isolation::ResourceUse& use) const;
  void add_forbidden(Evidence& evidence);
  void fill(InvocationReport& report) const;
};

// Runs beside the calls until the last process inside is gone. Yields before each chunk: a handler
// that floods its stderr must not keep the deadline of its own call from being noticed, and what a
// sandbox says that was started for a call is that call's, which has its number only then.
asio::awaitable<void> Invoker::State::read_stderr(std::shared_ptr<State> state) {
  for (;;) {
    co_await asio::post(state->executor, asio::use_awaitable);
    const auto chunk =
        co_await state->stderr_channel.read_some(kStderrChunk, protocol::Channel::kNoDeadline);
    if (!chunk) break;
    state->log.feed(*chunk, steady_clock::now(),
                    [&](std::string_view line) { state->log_line(line); });
  }
  state->log.finish(steady_clock::now(), [&](std::string_view line) { state->log_line(line); });
  state->stderr_ended = true;
  state->stderr_done.cancel();
}

// What was written before the answer is this call's, also when the answer was seen first. Once is
// enough: what a full pipe kept out was not written before. The reader holds nothing back.
void Invoker::State::end_stderr() {
  if (stderr_ended) return;
  const auto sink = [this](std::string_view line) { log_line(line); };
  std::array<char, kStderrChunk> chunk;  // NOLINT(*-member-init): only n of them looked at.
  const ssize_t n = ::read(stderr_fd.get(), chunk.data(), chunk.size());
  if (n > 0) log.feed({chunk.data(), static_cast<std::size_t>(n)}, steady_clock::now(), sink);
  log.finish(steady_clock::now(), sink);
}

// Whoever takes an invoker for a call has just asked whether it is usable(); a new one nobody
// asked.
bool Invoker::State::speaks_unasked() {
  const bool known = std::exchange(found_silent, false);
  return !known && protocol != HandlerProtocol::kExec && channel.unsolicited();
}

// The end of its streams ends the call, if one is in flight.
void Invoker::State::exceeded(Cause cause) {
  if (call == 0)
    say(std::string("killed between calls: it went beyond limits.") +
        (cause == Cause::kOverMemory ? "memory_max_bytes" : "cpu_time_max_ms"));
  over_limit = cause;
  dead = true;
  sandbox.kill(kill_reason(cause));
}

// CPU time is looked at anew after a pause: what something in the background used between two calls
// is not on the account of the second. Limits hit meanwhile are: nothing else could tell of them.
Before Invoker::State::look_before(std::uint64_t of_call) {
  if (calls_served == 0) last_use = sandbox.use();  // What the start took is nobody's.
  sandbox.reset_peak();
  Before before{of_call, steady_clock::now(), last_use, log.emitted(), log.dropped()};
  if (before.began - last_answer > kNoPause) before.use.cpu = sandbox.cpu_time();
  return before;
}

// The timer belongs to the call: one that has expired when the call ends must not warn the next.
void Invoker::State::warn_before(const std::shared_ptr<State>& state, Deadline deadline,
                                 asio::steady_timer& timer) {
  const auto before = state->plan->policy.warning.before;
  state->warned = false;
  if (before.count() == 0 || deadline - steady_clock::now() <= before) return;
  timer.expires_at(deadline - before);
  timer.async_wait([state, call = state->call](const boost::system::error_code& error) {
    if (!error && state->call == call) state->warn();
  });
}

void Invoker::State::warn() {
  const auto sent = sandbox.signal_handler(plan->policy.warning.signal);
  warned = sent.has_value();
  if (!sent && sent.error().os_errno != ESRCH)
    say("the warning could not be sent: " + sent.error().to_string());
}

Invoker::Invoker(std::shared_ptr<State> state) : state_(std::move(state)) {}

Invoker::~Invoker() {
  if (!state_->finished) state_->sandbox.kill(KillReason::kShutdown);
}

isolation::Result<Invoker::Launched> Invoker::launch(isolation::Launcher& launcher,
                                                     std::shared_ptr<const isolation::Plan> plan,
                                                     std::span<const std::string> extra_environment,
                                                     Deadline latest) {
  auto in = make_pipe();
  auto out = make_pipe();
  auto err = make_pipe();
  for (const auto* pipe : {&in, &out, &err})
    if (!*pipe) return pipe->error();
  isolation::Stdio stdio{std::move(in->read), std::move(out->write), std::move(err->write)};
  auto sandbox = launcher.launch(*plan, std::move(stdio), extra_environment, latest);
  if (!sandbox) return sandbox.error();
  return Launched{std::move(plan), std::move(*sandbox), std::move(in->write), std::move(out->read),
                  std::move(err->read)};
}

isolation::Result<std::unique_ptr<Invoker>> Invoker::serve(asio::any_io_executor executor,
                                                           Launched launched,
                                                           HandlerProtocol protocol, LogSink log) {
  auto channel = protocol::Channel::adopt(executor, launched.from_stdout.release(),
                                          launched.to_stdin.release());
  UniqueFd stderr_fd(::fcntl(launched.from_stderr.get(), F_DUPFD_CLOEXEC, 0));
  auto stderr_channel =
      protocol::Channel::adopt(executor, launched.from_stderr.release(), protocol::Channel::kNoFd);
  for (const auto* adopted : {&channel, &stderr_channel})
    if (!*adopted) return SetupError{SetupStep::kControlSocket, 0, 0, adopted->error().to_string()};
  std::shared_ptr<State> state;
  try {
    state = std::make_shared<State>(executor, std::move(launched.plan), protocol,
                                    std::move(launched.sandbox), std::move(*channel),
                                    std::move(*stderr_channel), std::move(log));
  } catch (const boost::system::system_error& failure) {  // No descriptor, no thread.
    return SetupError{SetupStep::kControlSocket, 0, failure.code().value(),
                      "watching over the handler"};
  }
  state->stderr_fd = std::move(stderr_fd);
  asio::co_spawn(executor, State::read_stderr(state), asio::detached);
  if (state->clean->to_remember())
    asio::co_spawn(executor, CleanState::remember(state->clean, Deadline::max()), asio::detached);
  state->watch->start();
  return std::unique_ptr<Invoker>(new Invoker(std::move(state)));
}

void Invoker::expect(std::uint64_t call) {
  state_->call = call;
}

asio::awaitable<Invocation> Invoker::invoke(const Input& input, std::uint64_t call,
                                            Deadline deadline) {
  const auto state = state_;
  const Before before = state->look_before(call);
  state->call = call;
  state->watch->begin_call(before.use.cpu, deadline);
  const ExchangeLimits limits{
      static_cast<std::size_t>(state->plan->policy.limits.request_max.bytes),
      static_cast<std::size_t>(state->plan->policy.limits.response_max.bytes)};
  asio::steady_timer warning(state->executor);
  State::warn_before(state, deadline, warning);
  if (state->clean->to_remember()) {
    state->found_silent = false;  // It may speak meanwhile.
    // A handler that never rests is taken as it is while there is time left to answer.
    const auto now = steady_clock::now();
    co_await CleanState::remember(state->clean, now + (deadline - now) / 2);
  }
  Exchanged done;
  if (state->cancelled) {
    done.cause = Cause::kCancelled;
  } else if (deadline == Deadline::max()) {
    done.cause = Cause::kSetup;
    done.detail = "a call without a deadline could last for ever: give it one";
  } else if (state->speaks_unasked()) {
    done.cause = Cause::kUnsolicited;
    done.detail = "the handler wrote to its stdout before it was asked";
    done.asked = false;
  } else {
    StillFit still_fit;
    if (state->clean->remembered() && state->calls_served > 0)
      still_fit = [&] { return state->clean->still_clean(); };
    done = co_await exchange(state->protocol, state->channel, input, limits, deadline, still_fit);
  }
  co_await settle(done, deadline);
  if (done.cause == Cause::kAnswered) co_await state->clean->look(deadline);
  // It came too late for this call, and must not end the next one.
  if (state->cancelled) kill(KillReason::kCancelled);
  state->end_stderr();
  auto invocation = state->invocation_of(std::move(done), before, input.data.size());
  state->watch->end_call(state->last_use.cpu);
  state->call = 0;
  state->last_answer = steady_clock::now();
  co_return invocation;
}

// Where the handler's end is the answer (kExec), or says why there is none, it is awaited. Whatever
// is no answer kills the sandbox, unless the handler was not even asked.
asio::awaitable<void> Invoker::settle(Exchanged& done, Deadline deadline) {
  const auto state = state_;
  const bool of_process =
      state->protocol == HandlerProtocol::kExec && done.cause == Cause::kAnswered;
  if (of_process || done.cause == Cause::kHandlerEnded) {
    const auto grace = state->sandbox.handler_exiting() ? kExitGrace : kEndGrace;
    const auto patience = of_process ? deadline : std::min(deadline, steady_clock::now() + grace);
    bool ended = co_await wait_before(state->handler_ended, descriptor_base::wait_error, patience);
    // Its wait status comes once all that it left is gone too, and that may be stuck in the kernel.
    if (ended && !state->cancelled)
      ended = co_await wait_before(
          state->everything_gone, descriptor_base::wait_read,
          std::min(deadline, steady_clock::now() + state->plan->policy.limits.kill_timeout));
    if (state->cancelled) {
      done.cause = Cause::kCancelled;
    } else if (ended) {
      co_await end();
    } else if (steady_clock::now() >= deadline) {
      done.cause = Cause::kDeadline;
    }
  }
  if (of_process && done.cause == Cause::kAnswered) {
    const auto status = state->exit ? state->exit->wait_status : std::nullopt;
    if (status && WIFEXITED(*status))
      done.result->status = WEXITSTATUS(*status);
    else
      done.cause = Cause::kHandlerEnded;
  }
  // Where no controller counts, what stands at the deadline is what there is to know.
  if (done.cause == Cause::kDeadline) co_await state->watch->look_at_end();
  // What it was killed for is the cause; the end of its streams only follows from that. An answer
  // that was whole by then stays one.
  if (state->over_limit && done.cause != Cause::kAnswered) done.cause = *state->over_limit;
  const bool untouched = done.cause == Cause::kRequestTooLarge || done.cause == Cause::kSetup;
  if (done.cause != Cause::kAnswered && !untouched) kill(kill_reason(done.cause));
}

Invocation Invoker::State::invocation_of(Exchanged done, const Before& before,
                                         std::size_t request_size) {
  Invocation invocation;
  invocation.asked = done.asked;
  InvocationReport& report = invocation.report;
  report.sequence = before.call;
  last_use = exit ? exit->use : sandbox.use();
  const auto use = isolation::since(before.use, last_use);
  report.evidence = evidence(std::move(done.detail), use);
  if (done.cause != Cause::kAnswered) add_forbidden(report.evidence);
  if (done.cause == Cause::kSetup)
    report.evidence.setup =
        SetupError{SetupStep::kRequest, 0, 0, std::exchange(report.evidence.detail, {})};
  report.outcome = decide(done.cause, report.evidence);
  report.timings.invoke_us = microseconds_since(before.began);
  report.bytes.request = request_size;
  ++calls_served;
  fill(report);
  report.warned = warned;
  if (report.outcome == Outcome::kOk) report.leftovers = clean->take_left_behind();
  report.stderr_lines.emitted = log.emitted() - before.lines_emitted;
  report.stderr_lines.dropped = log.dropped() - before.lines_dropped;
  if (report.outcome == Outcome::kOk) {
    report.bytes.response = done.result->data.size();
    report.status = done.result->status;
    report.env = done.result->env;
    invocation.result = std::move(done.result);
  }
  report.usage = usage_of(use, exit, calls_served);
  add_samples(report.usage, *watch);
  return invocation;
}

Evidence Invoker::State::evidence(std::string detail, const isolation::ResourceUse& use) const {
  const policies::Limits& limits = plan->policy.limits;
  Evidence evidence;
  evidence.limits = {.oom_kills = use.oom_kills.value_or(0),
                     .refused_forks = use.processes_max_hits.value_or(0),
                     .processes_at_max = plan->sample_processes &&
                                         watch->threads_peak().value_or(0) >= limits.processes_max,
                     .memory_max_bytes = limits.memory_max.bytes,
                     .processes_max = limits.processes_max,
                     .cpu_time_max_ms = limits.cpu_time_max.count()};
  evidence.detail = std::move(detail);
  evidence.killed_for = sandbox.killed_for();
  if (exit) evidence.wait_status = exit->wait_status;
  return evidence;
}

// Where there is no answer: a process that was killed for a call may be why, whoever ended the
// rest.
void Invoker::State::add_forbidden(Evidence& evidence) {
  evidence.forbidden = exit ? exit->forbidden : sandbox.forbidden();
  if (evidence.forbidden)
    evidence.forbidden_rule = isolation::forbidding_rule(plan->policy.seccomp, *evidence.forbidden);
}

void Invoker::State::fill(InvocationReport& report) const {
  report.handler = plan->handler.path;
  report.layers = {plan, &plan->layers};
  report.degraded = {plan, &plan->degraded};
  report.sandbox.pid = sandbox.pid();
  report.sandbox.slot_uid = sandbox.slot_uid();
  report.sandbox.calls_served = calls_served;
  report.sandbox.start_us = sandbox.start_time().count();
}

void Invoker::cancel() {
  state_->cancelled = true;
  state_->clean->stop();
  state_->channel.cancel();
  state_->handler_ended.cancel();
  if (!state_->finished) state_->everything_gone.cancel();  // Who collects the end is let do so.
}

void Invoker::on_gone(std::function<void()> tell) {
  state_->everything_gone.async_wait(
      descriptor_base::wait_read,
      [weak = std::weak_ptr(state_), tell = std::move(tell)](boost::system::error_code error) {
        const auto state = weak.lock();
        if (error || !state) return;
        state->gone = true;
        tell();
      });
}

bool Invoker::usable() {
  state_->found_silent = !state_->dead && !state_->clean->dirty() &&
                         !state_->sandbox.handler_ended() && !state_->channel.unsolicited();
  return state_->found_silent;
}

bool Invoker::dead() const noexcept {
  return state_->dead;
}

bool Invoker::gone() const noexcept {
  return state_->gone;
}

bool Invoker::dirty() const noexcept {
  return state_->clean->dirty();
}

// Without waiting: a process that is busy in the kernel stops when it comes back from there.
void Invoker::rest() {
  const isolation::Plan& plan = *state_->plan;
  if (!plan.policy.reuse.freeze_idle || !plan.use_cgroup) return;
  if (const auto frozen = state_->sandbox.begin_freeze(); frozen)
    state_->resting = true;
  else
    state_->say("it could not be frozen between two calls: " + frozen.error().to_string());
}

bool Invoker::wake() {
  if (!std::exchange(state_->resting, false)) return true;
  const auto thawed = state_->sandbox.thaw();
  if (!thawed) state_->say("it could not be woken: " + thawed.error().to_string());
  return thawed.has_value();
}

void Invoker::kill(KillReason reason) noexcept {
  state_->dead = true;
  state_->sandbox.kill(reason);
}

asio::awaitable<void> Invoker::finish() {
  const auto state = state_;
  const auto limit = steady_clock::now() + state->plan->policy.limits.kill_timeout;
  co_await end();
  co_await state->watch->looked_away(limit);
}

asio::awaitable<void> Invoker::end() {
  const auto state = state_;
  if (std::exchange(state->finished, true)) co_return;
  state->dead = true;
  state->watch->stop();
  state->clean->stop();
  const auto limit = steady_clock::now() + state->plan->policy.limits.kill_timeout;
  if (!state->sandbox.handler_ended()) state->sandbox.kill(KillReason::kShutdown);
  if (co_await wait_before(state->everything_gone, descriptor_base::wait_read, limit)) {
    if (auto exit = state->sandbox.reap()) state->exit = *exit;
  }
  // The last process is gone, so stderr ends; a kill that did not complete leaves it open.
  state->stderr_done.expires_at(state->stderr_ended ? steady_clock::time_point::min() : limit);
  co_await state->stderr_done.async_wait(asio::as_tuple(asio::use_awaitable));
  if (!state->stderr_ended) state->stderr_channel.cancel();
  state->everything_gone.cancel();  // What is stuck is looked at by try_finish().
}

bool Invoker::try_finish() {
  if (state_->exit) return true;
  state_->sandbox.kill(KillReason::kShutdown);
  pollfd gone{state_->sandbox.pidfd(), POLLIN, 0};
  if (::poll(&gone, 1, 0) <= 0) return false;
  if (auto exit = state_->sandbox.reap()) state_->exit = *exit;
  return state_->exit.has_value();
}

const std::shared_ptr<const isolation::Plan>& Invoker::plan() const noexcept {
  return state_->plan;
}

std::uint64_t Invoker::calls_served() const noexcept {
  return state_->calls_served;
}

steady_clock::duration Invoker::age() const noexcept {
  return steady_clock::now() - state_->born;
}

pid_t Invoker::pid() const noexcept {
  return state_->sandbox.pid();
}

const std::optional<isolation::Exit>& Invoker::exit() const noexcept {
  return state_->exit;
}

}  // namespace fnrun::supervisor
