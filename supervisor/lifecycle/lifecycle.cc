#include "supervisor/lifecycle/lifecycle.h"

#include <array>
#include <utility>

#include "supervisor/lifecycle/error_type.h"

namespace fnrun::supervisor::lifecycle {
namespace {

using effect::Completion;
using effect::KillFor;

constexpr std::array<std::string_view, 13> kStateNames{
    "new",         "initializing",  "idle",     "init_failed", "cold",
    "inline_init", "running",       "answered", "failed",      "restoring",
    "resetting",   "shutting_down", "down"};

Fault fault_of(std::string_view type, std::string_view message) {
  return {std::string(type), std::string(message)};
}

Fault or_sandbox_failure(Fault fault) {
  if (fault.type.empty()) fault.type = error_type::kSandboxFailure;
  return fault;
}

DoneStatus status_of_failure(std::string_view type) {
  return type.starts_with("Sandbox.") ? DoneStatus::kFailure : DoneStatus::kError;
}

}  // namespace

std::string_view name_of(State state) noexcept {
  return kStateNames[static_cast<std::size_t>(state)];
}

std::string_view name_of(DoneStatus status) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"success", "error", "failure", "timeout"};
  return kNames[static_cast<std::size_t>(status)];
}

std::string_view name_of(Refusal refusal) noexcept {
  constexpr std::array<std::string_view, 12> kNames{"none",
                                                    "not_initialized",
                                                    "already_initialized",
                                                    "already_reserved",
                                                    "not_reserved",
                                                    "already_invoking",
                                                    "invalid_invoke_id",
                                                    "response_sent",
                                                    "response_too_large",
                                                    "reset_required",
                                                    "busy",
                                                    "shut_down"};
  return kNames[static_cast<std::size_t>(refusal)];
}

Step Machine::step(const Input& what) {
  effects_.clear();
  Step step;
  step.refused = std::visit([this](const auto& in) { return on(in); }, what);
  step.effects = std::move(effects_);
  return step;
}

// ---- Init -----------------------------------------------------------------------------------

Refusal Machine::on(const input::Init& in) {
  if (shutdown_wanted_) return Refusal::kShutDown;
  if (state_ != State::kNew) return Refusal::kAlreadyInitialized;
  if (in.suppress) {
    state_ = State::kCold;
    tell_init({}, /*reset_received=*/false);
  } else {
    state_ = State::kInitializing;
    start_process(Phase::kInit);
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::InitSucceeded& in) {
  if (state_ == State::kInitializing) {
    end_init({}, Phase::kInit);
    init_error_.reset();  // What it said of itself turned out otherwise.
    state_ = State::kIdle;
    awaits_restore_ = in.awaits_restore;
    tell_init({}, /*reset_received=*/false);
    go_on();
  } else if (state_ == State::kInlineInit && !answered_) {  // Else it said that it failed.
    end_init({}, Phase::kInvoke);
    init_error_.reset();  // Whatever an earlier init said, this runtime is well.
    start_invocation();
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::InitFailed& in) {
  if (state_ == State::kInitializing) {
    const Fault fault = note_fatal(in.fault);
    end_init(fault, Phase::kInit);
    state_ = State::kInitFailed;
    tell_init(fault, /*reset_received=*/false);
    go_on();
  } else if (state_ == State::kInlineInit) {
    fail_invocation(in.fault, KillFor::kFailure);
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::InitErrorReported& in) {
  if (state_ == State::kInitializing) {
    init_error_ = in;
  } else if (state_ == State::kInlineInit && !answered_) {
    answered_ = true;
    add(effect::AnswerWithError{in.fault, in.body});
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::WaitInit&) {
  if (state_ == State::kNew) return Refusal::kNotInitialized;
  if (!init_result_) {
    if (state_ != State::kInitializing) return Refusal::kShutDown;
    ++init_waiters_;
  } else if (std::exchange(init_result_->read, true)) {
    add(effect::TellInitialised{});
  } else {
    add(effect::TellInit{init_result_->fault, init_result_->reset_received});
    hold_ = false;
    go_on();
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::WaitInitLeft&) {
  if (init_waiters_ > 0) --init_waiters_;
  return Refusal::kNone;
}

void Machine::start_process(Phase phase) {
  ++generation_;
  emit(EventKind::kInitStart, phase);
  add(effect::StartProcess{generation_, phase});
}

void Machine::end_init(const std::optional<Fault>& fault, Phase phase) {
  std::string type;
  if (fault) type = fault->type.empty() ? std::string(error_type::kRuntimeUnknown) : fault->type;
  emit(EventKind::kInitRuntimeDone, phase, fault ? DoneStatus::kError : DoneStatus::kSuccess, type);
  emit(EventKind::kInitReport, phase);
}

// The first who waits, or who comes, has the result; nobody else is kept waiting.
void Machine::tell_init(std::optional<Fault> fault, bool reset_received) {
  init_result_ = InitResult{fault, reset_received, init_waiters_ > 0};
  hold_ = init_waiters_ == 0;
  if (init_waiters_ > 0) add(effect::TellInit{std::move(fault), reset_received});
  for (std::size_t i = 1; i < init_waiters_; ++i) add(effect::TellInitialised{});
  init_waiters_ = 0;
}

// ---- Reserve and invoke ---------------------------------------------------------------------

Refusal Machine::on(const input::Reserve& in) {
  if (shutdown_wanted_) return Refusal::kShutDown;
  if (state_ == State::kNew) return Refusal::kNotInitialized;
  if (reservation_) return Refusal::kAlreadyReserved;
  reservation_ = Reservation{in.id};
  return Refusal::kNone;
}

// In flight, nobody will read the answer, and the next caller must not: the process goes.
Refusal Machine::on(const input::Release&) {
  if (!reservation_) return Refusal::kNotReserved;
  const bool running = in_flight();
  if (running) add(effect::CancelFlows{});
  if (state_ == State::kInlineInit) {
    end_init(fault_of(error_type::kSandboxFailure, ""), Phase::kInvoke);
    open_invocation();
  }
  give_back({.how = Completion::kReservationDone});
  if (running) {
    close_invocation(DoneStatus::kFailure, "", /*runtime_done=*/false);
    take_down(KillFor::kReset, State::kResetting);
  }
  go_on();
  return Refusal::kNone;
}

Refusal Machine::on(const input::SendRequest&) {
  if (!reservation_) return shutdown_wanted_ ? Refusal::kShutDown : Refusal::kNotReserved;
  if (reservation_->requested) return Refusal::kAlreadyInvoking;
  if (state_ == State::kFailed) return Refusal::kResetRequired;
  reservation_->requested = true;
  answered_ = false;
  go_on();
  return Refusal::kNone;
}

Refusal Machine::on(const input::Response& in) {
  if (!reservation_ || reservation_->id != in.id) return Refusal::kInvalidInvokeId;
  if (reservation_->requested && answered_) return Refusal::kResponseSent;
  if (state_ != State::kRunning) return Refusal::kInvalidInvokeId;  // It was not even asked.
  answered_ = true;
  state_ = State::kAnswered;
  if (in.how == input::Answered::kTooLarge) {
    add(effect::AnswerWithError{
        fault_of(error_type::kResponseTooLarge, "the answer is over the limit")});
    return Refusal::kResponseTooLarge;
  }
  add(effect::AnswerWithResponse{in.how});
  return Refusal::kNone;
}

Refusal Machine::on(const input::RuntimeReady&) {
  if (state_ == State::kAnswered) {
    state_ = State::kIdle;
    close_invocation(DoneStatus::kSuccess, "", /*runtime_done=*/true);
    give_back({.how = Completion::kSuccess});
    go_on();
  } else if (state_ == State::kRestoring) {
    state_ = State::kIdle;
    emit(EventKind::kRestoreRuntimeDone, {}, DoneStatus::kSuccess);
    add(effect::CompleteRestore{});
    go_on();
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::Spent&) {
  if (state_ == State::kIdle) take_down(KillFor::kReset, State::kResetting);
  return Refusal::kNone;
}

Refusal Machine::on(const input::RuntimeExited& in) {
  if (state_ == State::kInitializing || state_ == State::kInlineInit)
    return on(input::InitFailed{in.fault});
  if (state_ == State::kRestoring) return fail_restore(in.fault);
  if (in_flight()) {
    fail_invocation(in.fault, KillFor::kFailure);
  } else if (state_ == State::kIdle) {
    note_fatal(in.fault);
    end_process_unasked(KillFor::kFailure);
    go_on();
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::InvokeFailed& in) {
  if (in_flight() && state_ != State::kInlineInit) fail_invocation(in.fault, KillFor::kFailure);
  return Refusal::kNone;
}

Refusal Machine::on(const input::RequestRefused& in) {
  if (state_ != State::kRunning) return Refusal::kNone;
  const Fault fault = or_sandbox_failure(in.fault);
  state_ = State::kIdle;
  answered_ = true;
  close_invocation(status_of_failure(fault.type), fault.type, /*runtime_done=*/true);
  add(effect::AnswerWithError{fault});
  complete({.how = Completion::kFailure, .fault = fault});
  go_on();
  return Refusal::kNone;
}

Refusal Machine::on(const input::Deadline&) {
  const Fault fault =
      fault_of(error_type::kSandboxTimedOut, "the deadline passed before the invocation was done");
  if (in_flight()) {
    fail_invocation(fault, KillFor::kDeadline);
  } else if (pending()) {
    // The request never left us: whatever it waited for goes on, and needs no reset.
    add(effect::AnswerWithError{fault});
    complete({.how = Completion::kFailure, .fault = fault});
    go_on();
  }
  return Refusal::kNone;
}

bool Machine::in_flight() const noexcept {
  return state_ == State::kInlineInit || state_ == State::kRunning || state_ == State::kAnswered;
}

bool Machine::pending() const noexcept {
  return reservation_ && reservation_->requested && !reservation_->completed;
}

// What waits for its turn and may have it now. One at a time: this is the execution mutex.
void Machine::go_on() {
  if (pending() && !hold_) {
    if (state_ == State::kIdle) {
      start_invocation();
    } else if (state_ == State::kCold) {
      state_ = State::kInlineInit;
      start_process(Phase::kInvoke);
    } else if (state_ == State::kInitFailed) {
      take_down(KillFor::kReset, State::kResetting);  // Then it is cold, and tried once more.
    } else if (state_ == State::kFailed) {
      open_invocation();
      fail_invocation(*first_fatal_, KillFor::kFailure);
    }
  }
  const bool between = state_ == State::kNew || state_ == State::kIdle || state_ == State::kCold ||
                       state_ == State::kInitFailed || state_ == State::kFailed;
  if (shutdown_wanted_ && between && !pending()) go_down();
}

void Machine::start_invocation() {
  open_invocation();
  add(effect::WriteRequest{});
  state_ = State::kRunning;
}

void Machine::open_invocation() {
  emit(EventKind::kInvokeStart);
  invocation_open_ = true;
}

// ---- Failures -------------------------------------------------------------------------------

Fault Machine::note_fatal(Fault fault) {
  if (!first_fatal_) first_fatal_ = or_sandbox_failure(std::move(fault));
  return *first_fatal_;
}

void Machine::end_process_unasked(KillFor why) {
  add(effect::CancelFlows{});
  add(effect::Kill{why});
  state_ = State::kFailed;
}

void Machine::fail_invocation(const Fault& fault, KillFor why) {
  const Fault first = note_fatal(fault);
  if (state_ == State::kInlineInit) {
    end_init(first, Phase::kInvoke);
    open_invocation();
  }
  end_process_unasked(why);
  if (!std::exchange(answered_, true))
    add(init_error_ ? effect::AnswerWithError{init_error_->fault, init_error_->body}
                    : effect::AnswerWithError{first});
  complete({.how = Completion::kFailure, .fault = first, .request_reset = true});
  go_on();
}

// One event of each kind for an invocation that began, however it ends.
void Machine::close_invocation(DoneStatus status, const std::string& type, bool runtime_done) {
  if (!std::exchange(invocation_open_, false)) return;
  if (runtime_done) emit(EventKind::kInvokeRuntimeDone, {}, status, type);
  emit(EventKind::kReport, {}, status, type);
  emit(EventKind::kEnd);
}

// A failed invocation keeps its place until it is released or reset.
void Machine::complete(effect::Complete how) {
  reservation_->completed = true;
  add(std::move(how));
}

void Machine::give_back(effect::Complete how) {
  if (!reservation_->completed) complete(std::move(how));
  reservation_.reset();
}

// ---- Reset, shutdown, restore, clear --------------------------------------------------------

Refusal Machine::on(const input::ResetBy& in) {
  if (state_ == State::kShuttingDown || state_ == State::kDown) return Refusal::kShutDown;
  if (state_ == State::kNew) {
    add(effect::CompleteReset{});
    return Refusal::kNone;
  }
  reset_asked_ = true;
  const Fault fault =
      first_fatal_.value_or(fault_of(error_type::kSandboxFailure, "a reset interrupted it"));
  if (state_ == State::kResetting) {  // Under way by itself: we only wait for it too.
    interrupt(fault, /*by_reset=*/true);
    return Refusal::kNone;
  }
  reset_error_type_ = first_fatal_ ? first_fatal_->type : "";
  add(effect::CancelFlows{});
  interrupt(fault, /*by_reset=*/true);
  const bool timeout = in.reason == Reset::kTimeout;
  close_invocation(timeout ? DoneStatus::kTimeout : status_of_failure(fault.type),
                   timeout ? "" : fault.type, /*runtime_done=*/in.reason != Reset::kOther);
  take_down(KillFor::kReset, State::kResetting);
  return Refusal::kNone;
}

// Whoever waits for something that will not come any more is told so.
void Machine::interrupt(const Fault& why, bool by_reset) {
  if (state_ == State::kInitializing) {
    end_init(why, Phase::kInit);
    tell_init(why, by_reset);
  } else if (state_ == State::kInlineInit) {
    end_init(why, Phase::kInvoke);
    open_invocation();
  } else if (state_ == State::kRestoring) {
    emit(EventKind::kRestoreRuntimeDone, {}, DoneStatus::kError, why.type);
    add(effect::CompleteRestore{why});
  }
  if (!reservation_) return;
  if (reservation_->requested)
    give_back({.how = Completion::kFailure, .fault = why, .reset_received = by_reset});
  else
    give_back({.how = Completion::kReservationDone});
}

// Exits from here on are our own doing: no fatal error is recorded.
void Machine::take_down(KillFor why, State next) {
  first_fatal_.reset();
  add(effect::Kill{why});
  add(effect::AwaitGone{});
  state_ = next;
}

Refusal Machine::on(const input::ProcessGone&) {
  if (state_ == State::kShuttingDown) {
    state_ = State::kDown;
    add(effect::CompleteShutdown{});
  } else if (state_ == State::kResetting) {
    ++generation_;
    first_fatal_.reset();
    hold_ = false;
    awaits_restore_ = false;
    state_ = State::kCold;
    if (std::exchange(reset_asked_, false))
      add(effect::CompleteReset{std::exchange(reset_error_type_, {})});
    go_on();
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::Shutdown&) {
  if (state_ == State::kDown) add(effect::CompleteShutdown{});
  if (std::exchange(shutdown_wanted_, true)) return Refusal::kNone;
  if (reservation_ && !reservation_->requested) give_back({.how = Completion::kReservationDone});
  go_on();
  return Refusal::kNone;
}

Refusal Machine::on(const input::ShutdownDeadline&) {
  const bool going = state_ == State::kShuttingDown || state_ == State::kDown;
  if (shutdown_wanted_ && !going) go_down();
  return Refusal::kNone;
}

void Machine::go_down() {
  add(effect::CancelFlows{});
  interrupt(fault_of(error_type::kSandboxFailure, "the sandbox is shut down"), /*by_reset=*/false);
  close_invocation(DoneStatus::kFailure, std::string(error_type::kSandboxFailure),
                   /*runtime_done=*/false);
  if (std::exchange(reset_asked_, false)) add(effect::CompleteReset{});
  take_down(KillFor::kShutdown, State::kShuttingDown);
}

Refusal Machine::on(const input::Restore&) {
  if (shutdown_wanted_) return Refusal::kShutDown;
  if (state_ == State::kNew) return Refusal::kNotInitialized;
  if (state_ == State::kRestoring) return Refusal::kBusy;
  if (state_ == State::kIdle && std::exchange(awaits_restore_, false)) {
    state_ = State::kRestoring;
    add(effect::ReleaseFromRestore{});
  } else {
    emit(EventKind::kRestoreRuntimeDone, {}, DoneStatus::kSuccess);
    add(effect::CompleteRestore{});
  }
  return Refusal::kNone;
}

Refusal Machine::on(const input::RestoreFailed& in) {
  return fail_restore(in.fault);
}

Refusal Machine::on(const input::RestoreDeadline&) {
  return fail_restore(
      fault_of(error_type::kRestoreHookTimeout, "the restore hook was not done before its time"));
}

Refusal Machine::fail_restore(const Fault& fault) {
  if (state_ != State::kRestoring) return Refusal::kNone;
  const Fault first = note_fatal(fault);
  emit(EventKind::kRestoreRuntimeDone, {}, DoneStatus::kError, first.type);
  end_process_unasked(KillFor::kFailure);
  add(effect::CompleteRestore{first});
  go_on();
  return Refusal::kNone;
}

// As new, but for the init, which there is once: only where nothing lives that would be forgotten.
Refusal Machine::on(const input::Clear&) {
  if (shutdown_wanted_) return Refusal::kShutDown;
  if (in_flight() || state_ == State::kInitializing || state_ == State::kResetting ||
      state_ == State::kRestoring)
    return Refusal::kBusy;
  if (state_ != State::kNew && state_ != State::kCold) return Refusal::kResetRequired;
  init_error_.reset();
  hold_ = false;
  if (reservation_) give_back({.how = Completion::kReservationDone});
  return Refusal::kNone;
}

void Machine::emit(EventKind event, Phase phase, DoneStatus status, std::string type) {
  add(effect::Emit{event, phase, status, std::move(type)});
}

}  // namespace fnrun::supervisor::lifecycle
