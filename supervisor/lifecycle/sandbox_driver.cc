#include "supervisor/lifecycle/sandbox_driver.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <utility>

#include "supervisor/lifecycle/error_type.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
namespace effect = lifecycle::effect;
namespace input = lifecycle::input;
using isolation::KillReason;
using lifecycle::EventKind;
using Kind = LifecycleFailure::Kind;

LifecycleFailure refused(Refusal why) {
  LifecycleFailure failure;
  failure.refused = why;
  failure.message = lifecycle::name_of(why);
  return failure;
}

LifecycleFailure failed(Kind kind, const lifecycle::Fault& fault) {
  LifecycleFailure failure;
  failure.kind = kind;
  failure.error_type = fault.type;
  failure.message = fault.message;
  return failure;
}

LifecycleFailure reservation_done() {
  return failed(Kind::kReservationDone,
                {"", "the reservation was given back before the invocation came to an end"});
}

KillReason kill_reason(effect::KillFor why) {
  switch (why) {
    case effect::KillFor::kDeadline:
      return KillReason::kDeadline;
    case effect::KillFor::kReset:
      return KillReason::kCancelled;
    case effect::KillFor::kShutdown:
      return KillReason::kShutdown;
    case effect::KillFor::kFailure:
      break;
  }
  return KillReason::kProtocolError;
}

std::string new_uuid() {
  return boost::uuids::to_string(boost::uuids::random_generator()());
}

// Either there is nothing to tell but that it was done, or why it was not.
void tell(const WaiterPtr<LifecycleResult<void>>& told, Refusal why) {
  if (why == Refusal::kNone)
    told->complete({});
  else
    told->complete(refused(why));
}

}  // namespace

SandboxDriver::SandboxDriver(asio::any_io_executor executor,
                             std::unique_ptr<RuntimeStarter> starter, SandboxOptions options)
    : executor_(std::move(executor)),
      starter_(std::move(starter)),
      options_(std::move(options)),
      changed_(executor_, Clock::time_point::max()),
      shutdown_timer_(executor_) {}

void SandboxDriver::close() {
  shutdown_timer_.cancel();
  feed(input::Shutdown{});
  end_patience();
  starter_->stop();
}

// ---- Operations -----------------------------------------------------------------------------

void SandboxDriver::init(const InitRequest& request,
                         const WaiterPtr<LifecycleResult<InitContext>>& told) {
  if (machine_.state() == lifecycle::State::kNew) init_ = request;
  const Refusal why = feed(input::Init{request.suppress});
  if (why != Refusal::kNone) return told->complete(refused(why));
  told->complete(InitContext(shared_from_this()));
}

void SandboxDriver::wait_init(const WaiterPtr<LifecycleResult<InitSuccess>>& told) {
  init_waiters_.push_back(told);
  const Refusal why = feed(input::WaitInit{});
  if (why != Refusal::kNone) {
    init_waiters_.pop_back();
    return told->complete(refused(why));
  }
  told->left = [weak = weak_from_this(), one = std::weak_ptr(told)] {
    const Self self = weak.lock();
    if (!self || std::erase(self->init_waiters_, one.lock()) == 0) return;
    self->feed(input::WaitInitLeft{});
  };
}

void SandboxDriver::reserve(ReserveRequest request,
                            const WaiterPtr<LifecycleResult<InvokeContext>>& told) {
  if (request.invoke_id.empty()) request.invoke_id = new_uuid();
  const Refusal why = feed(input::Reserve{request.invoke_id});
  if (why != Refusal::kNone) return told->complete(refused(why));
  reservation_ = std::make_shared<SandboxReservation>(executor_);
  reservation_->token = new_uuid();
  reservation_->request = std::move(request);
  reservation_->call = ++calls_;
  told->complete(InvokeContext(shared_from_this(), reservation_));
}

void SandboxDriver::send(const ReservationPtr& reservation, InvokeRequest request,
                         const WaiterPtr<LifecycleResult<void>>& told) {
  if (reservation != reservation_) return told->complete(reservation_done());
  retire_if_spent();  // It may have grown too old since.
  // Before the machine has it: it may want to write at once.
  if (reservation->deadline == Deadline{}) {
    reservation->input = std::move(request.input);
    reservation->deadline = std::min(request.deadline, Clock::now() + init_.invoke_timeout);
    watch_deadline(reservation);
  }
  const Refusal why = feed(input::SendRequest{});
  if (why != Refusal::kNone && why != Refusal::kAlreadyInvoking) {
    reservation->timer.cancel();
    reservation->deadline = {};
  }
  tell(told, why);
}

void SandboxDriver::watch_deadline(const ReservationPtr& reservation) {
  reservation->timer.expires_at(reservation->deadline);
  reservation->timer.async_wait([weak = weak_from_this(), of = std::weak_ptr(reservation)](
                                    const boost::system::error_code& error) {
    const Self self = weak.lock();
    const ReservationPtr late = of.lock();
    // Written since, though the timer had expired already: then the runtime watches it.
    if (error || !self || !late || late != self->reservation_ || late->times.runtime_started)
      return;
    self->feed(input::Deadline{});
  });
}

void SandboxDriver::wait_invoke(const ReservationPtr& reservation,
                                const WaiterPtr<LifecycleResult<InvokeSuccess>>& told) {
  const bool somebody_waits = reservation->waiter && !reservation->waiter->done();
  if (reservation->read || somebody_waits)
    return told->complete(failed(Kind::kAlreadyRead, {"", "an invocation has one reader"}));
  reservation->waiter = told;
  deliver(*reservation);
}

void SandboxDriver::release(const ReservationPtr& reservation,
                            const WaiterPtr<LifecycleResult<void>>& told) {
  tell(told, reservation == reservation_ ? feed(input::Release{}) : Refusal::kNotReserved);
}

void SandboxDriver::reset(ResetReason reason, const WaiterPtr<LifecycleResult<ResetResult>>& told) {
  reset_waiters_.push_back(told);
  const Refusal why = feed(input::ResetBy{reason});
  if (why == Refusal::kNone) return;
  reset_waiters_.pop_back();
  told->complete(refused(why));
}

void SandboxDriver::shutdown(Deadline deadline,
                             const WaiterPtr<LifecycleResult<ShutdownResult>>& told) {
  const bool first = !machine_.shutting_down();
  shutdown_waiters_.push_back(told);
  feed(input::Shutdown{});
  if (machine_.state() == lifecycle::State::kDown) return;
  if (!first && deadline >= shutdown_timer_.expiry()) return;  // The sooner one counts.
  shutdown_timer_.expires_at(deadline);
  shutdown_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    if (const Self self = weak.lock(); self && !error) self->end_patience();
  });
}

void SandboxDriver::end_patience() {
  const auto state = machine_.state();
  cut_short_ = state != lifecycle::State::kShuttingDown && state != lifecycle::State::kDown;
  feed(input::ShutdownDeadline{});
}

void SandboxDriver::restore(RestoreRequest request,
                            const WaiterPtr<LifecycleResult<RestoreResult>>& told) {
  if (machine_.state() == lifecycle::State::kRestoring)
    return told->complete(refused(Refusal::kBusy));
  restore_waiter_ = told;
  restore_deadline_ = request.hook_deadline;
  hook_ran_ = false;
  const Refusal why = feed(input::Restore{});
  if (why == Refusal::kNone) return;
  restore_waiter_.reset();
  told->complete(refused(why));
}

void SandboxDriver::clear(const WaiterPtr<LifecycleResult<void>>& told) {
  tell(told, feed(input::Clear{}));
}

void SandboxDriver::status(const WaiterPtr<LifecycleResult<SandboxStatus>>& told) {
  SandboxStatus status;
  status.state = machine_.state();
  status.generation = machine_.generation();
  status.reserved = machine_.reserved();
  if (machine_.first_fatal()) status.first_fatal = machine_.first_fatal()->type;
  if (runtime_) status.pid = runtime_->pid();
  told->complete(std::move(status));
}

void SandboxDriver::set_runtime_started_time(std::optional<ResponseMetrics::Time> started) {
  if (open_) open_->times.runtime_started = started;
}

void SandboxDriver::set_invoke_response_metrics(std::optional<ResponseMetrics> metrics) {
  if (open_) open_->times.response = metrics;
}

// ---- Effects --------------------------------------------------------------------------------

Refusal SandboxDriver::feed(const lifecycle::Input& what) {
  const lifecycle::Step step = machine_.step(what);
  in_step_ = true;
  for (const lifecycle::Effect& one : step.effects)
    std::visit([this](const auto& effect) { perform(effect); }, one);
  in_step_ = false;
  if (!machine_.reserved()) reservation_.reset();
  return step.refused;
}

void SandboxDriver::perform(const effect::Emit& what) {
  if (what.event == EventKind::kInitStart) init_started_ = Clock::now();
  if (what.event == EventKind::kInvokeStart) open_ = reservation_;
  const Event event = event_of(what);
  if (what.event == EventKind::kEnd) open_.reset();
  if (options_.observer) options_.observer(event);
}

Event SandboxDriver::event_of(const effect::Emit& what) {
  const std::string id = open_ ? open_->request.invoke_id : "";
  switch (what.event) {
    case EventKind::kInitStart:
      return event::InitStart{init_.type, what.phase, machine_.generation()};
    case EventKind::kInitRuntimeDone:
      return event::InitRuntimeDone{init_.type, what.phase, what.status, what.error_type};
    case EventKind::kInitReport: {
      const event::Milliseconds took = Clock::now() - init_started_;
      if (what.phase == lifecycle::Phase::kInvoke && reservation_)
        reservation_->init_duration = took;
      return event::InitReport{init_.type, what.phase, took};
    }
    case EventKind::kRestoreRuntimeDone:
      return event::RestoreRuntimeDone{what.status, what.error_type};
    case EventKind::kInvokeStart:
      return event::InvokeStart{id, options_.function_version, open_->request.trace_id,
                                open_->request.tenant_id};
    case EventKind::kInvokeRuntimeDone: {
      auto done = runtime_done(open_->times, Clock::now());
      done.request_id = id;
      done.status = what.status;
      done.error_type = what.error_type;
      return done;
    }
    case EventKind::kReport: {
      const auto took = runtime_done(open_->times, Clock::now()).duration;
      return event::Report{id, what.status, what.error_type, took, open_->init_duration};
    }
    case EventKind::kEnd:
      break;
  }
  return event::End{id};
}

void SandboxDriver::perform(const effect::StartProcess& what) {
  const bool inline_init = what.phase == lifecycle::Phase::kInvoke;
  const Deadline latest = inline_init ? reservation_->deadline : Deadline::max();
  ++flows_;
  asio::co_spawn(executor_, start_flow(shared_from_this(), flow_, what.generation, latest),
                 asio::detached);
}

WaiterPtr<LifecycleResult<InitSuccess>> SandboxDriver::next_init_waiter() {
  auto next = std::move(init_waiters_.front());
  init_waiters_.pop_front();
  return next;
}

void SandboxDriver::perform(const effect::TellInit& what) {
  const auto told = next_init_waiter();
  if (!what.fault) return told->complete(InitSuccess{machine_.generation(), false});
  auto failure = failed(Kind::kInitFailed, *what.fault);
  failure.reset_received = what.reset_received;
  told->complete(std::move(failure));
}

void SandboxDriver::perform(const effect::TellInitialised&) {
  next_init_waiter()->complete(InitSuccess{machine_.generation(), true});
}

void SandboxDriver::perform(const effect::WriteRequest&) {
  reservation_->timer.cancel();
  reservation_->times.runtime_started = Clock::now();
  ++flows_;
  asio::co_spawn(executor_, invoke_flow(shared_from_this(), flow_, reservation_), asio::detached);
}

void SandboxDriver::perform(const effect::AnswerWithResponse&) {
  // The flow that fed the answer has put it there.
}

void SandboxDriver::perform(const effect::AnswerWithError& what) {
  reservation_->answer.reset();
  reservation_->body = what.body ? *what.body
                                 : default_error_body(reservation_->request.invoke_id,
                                                      what.fault.type, what.fault.message);
}

void SandboxDriver::perform(const effect::Complete& what) {
  reservation_->timer.cancel();
  reservation_->result = result_of(what);
  deliver(*reservation_);
}

LifecycleResult<InvokeSuccess> SandboxDriver::result_of(const effect::Complete& what) {
  if (what.how == effect::Completion::kReservationDone) return reservation_done();
  if (what.how == effect::Completion::kFailure) {
    auto failure = failed(Kind::kInvokeFailed, what.fault);
    failure.reset_received = what.reset_received;
    failure.request_reset = what.request_reset;
    failure.body = std::move(reservation_->body);
    failure.report = std::move(reservation_->report);
    return failure;
  }
  InvokeSuccess success;
  if (reservation_->answer) success.answer = std::move(*reservation_->answer);
  success.metrics = reservation_->times.response.value_or(ResponseMetrics{});
  return success;
}

void SandboxDriver::deliver(SandboxReservation& reservation) {
  if (!reservation.result || !reservation.waiter || reservation.waiter->done()) return;
  reservation.read = true;
  reservation.waiter->complete(std::move(*reservation.result));
  reservation.waiter.reset();
}

void SandboxDriver::perform(const effect::CancelFlows&) {
  ++flow_;
  if (runtime_ && in_exchange_) runtime_->cancel();
}

void SandboxDriver::perform(const effect::Kill& what) {
  if (runtime_) bury(std::exchange(runtime_, nullptr), kill_reason(what.reason));
}

void SandboxDriver::perform(const effect::AwaitGone&) {
  asio::co_spawn(executor_, await_gone(shared_from_this()), asio::detached);
}

void SandboxDriver::perform(const effect::ReleaseFromRestore&) {
  restore_started_ = Clock::now();
  hook_ran_ = true;
  ++flows_;
  asio::co_spawn(executor_, restore_flow(shared_from_this(), flow_), asio::detached);
}

void SandboxDriver::perform(const effect::CompleteRestore& what) {
  const auto told = std::exchange(restore_waiter_, nullptr);
  if (!told) return;
  if (what.fault) return told->complete(failed(Kind::kRestoreFailed, *what.fault));
  RestoreResult result;
  if (hook_ran_)
    result.duration =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - restore_started_);
  told->complete(result);
}

void SandboxDriver::perform(const effect::CompleteReset& what) {
  for (const auto& told : std::exchange(reset_waiters_, {}))
    told->complete(ResetResult{machine_.generation(), what.error_type, left_behind_.size()});
}

void SandboxDriver::perform(const effect::CompleteShutdown&) {
  shutdown_timer_.cancel();
  for (const auto& told : std::exchange(shutdown_waiters_, {}))
    told->complete(ShutdownResult{cut_short_, left_behind_.size()});
}

// ---- Flows ----------------------------------------------------------------------------------

asio::awaitable<void> SandboxDriver::start_flow(Self self, std::uint64_t flow,
                                                std::uint64_t generation, Deadline latest) {
  RuntimeOr started = co_await self->starter_->start(generation, latest);
  if (started) {
    std::shared_ptr<Runtime> runtime = std::move(*started);
    if (self->heard(flow)) {
      self->runtime_ = std::move(runtime);
      self->feed(input::InitSucceeded{self->runtime_->awaits_restore()});
    } else {
      self->bury(std::move(runtime), KillReason::kCancelled);
    }
  } else if (self->heard(flow)) {
    self->feed(input::InitFailed{started.error().fault});
  }
  self->flow_ended();
}

asio::awaitable<void> SandboxDriver::invoke_flow(Self self, std::uint64_t flow,
                                                 ReservationPtr reservation) {
  const std::shared_ptr<Runtime> runtime = self->runtime_;
  self->in_exchange_ = true;
  AnswerOr answer =
      co_await runtime->ask(reservation->input, reservation->call, reservation->deadline);
  const auto answered = Clock::now();
  std::optional<RuntimeFailure> failure;
  if (!answer) {
    failure = std::move(answer).error();
  } else if (self->heard(flow)) {
    const auto how = answer->how;
    ResponseMetrics metrics;
    metrics.produced_bytes = answer->result.data.size();
    // The protocol does not say when the first byte of a frame came.
    metrics.reading_started = metrics.reading_finished = answered;
    reservation->times.response = metrics;
    reservation->times.overhead_started = answered;
    reservation->answer = std::move(*answer);
    self->feed(input::Response{reservation->request.invoke_id, how});
    failure = co_await runtime->ready(reservation->deadline);
  }
  self->in_exchange_ = false;
  if (self->heard(flow)) {
    if (failure) {
      reservation->report = std::move(failure->report);
      self->feed_failure(*failure);
    } else {
      self->feed(input::RuntimeReady{});
      self->retire_if_spent();
    }
  }
  self->flow_ended();
}

void SandboxDriver::retire_if_spent() {
  if (machine_.state() == lifecycle::State::kIdle && runtime_ && runtime_->spent())
    feed(input::Spent{});
}

void SandboxDriver::feed_failure(const RuntimeFailure& failure) {
  switch (failure.kind) {
    case RuntimeFailure::Kind::kExited:
      feed(input::RuntimeExited{failure.fault});
      return;
    case RuntimeFailure::Kind::kDeadline:
      feed(input::Deadline{});
      return;
    case RuntimeFailure::Kind::kUntouched:
      feed(input::RequestRefused{failure.fault});
      return;
    case RuntimeFailure::Kind::kFailed:
    case RuntimeFailure::Kind::kCancelled:
      break;
  }
  feed(input::InvokeFailed{failure.fault});
}

asio::awaitable<void> SandboxDriver::restore_flow(Self self, std::uint64_t flow) {
  const std::shared_ptr<Runtime> runtime = self->runtime_;
  self->in_exchange_ = true;
  const auto failure = co_await runtime->restore(self->restore_deadline_);
  self->in_exchange_ = false;
  if (self->heard(flow)) {
    if (!failure)
      self->feed(input::RuntimeReady{});
    else if (failure->kind == RuntimeFailure::Kind::kDeadline)
      self->feed(input::RestoreDeadline{});
    else
      self->feed(input::RestoreFailed{failure->fault});
  }
  self->flow_ended();
}

void SandboxDriver::flow_ended() {
  --flows_;
  changed_.cancel();
}

void SandboxDriver::bury(std::shared_ptr<Runtime> runtime, KillReason reason) {
  runtime->kill(reason);
  ++burials_;
  asio::co_spawn(executor_, burial(shared_from_this(), std::move(runtime)), asio::detached);
}

// Behind everybody's back, once the exchange that the kill cut off has returned.
asio::awaitable<void> SandboxDriver::burial(Self self, std::shared_ptr<Runtime> dead) {
  while (self->flows_ > 0) co_await self->change();
  const bool all = co_await dead->gone();
  if (!all) self->left_behind_.push_back(std::move(dead));
  dead.reset();
  --self->burials_;
  self->changed_.cancel();
}

asio::awaitable<void> SandboxDriver::await_gone(Self self) {
  while (self->flows_ + self->burials_ > 0) co_await self->change();
  std::erase_if(self->left_behind_, [](const auto& one) { return one->gone_by_now(); });
  self->feed(input::ProcessGone{});
}

asio::awaitable<void> SandboxDriver::change() {
  co_await changed_.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace fnrun::supervisor
