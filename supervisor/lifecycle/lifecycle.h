// The life of one sandbox as a state machine: what may happen when, and what follows from it.
//
// Pure: no sandbox, no clock, no Asio. Whoever drives it (sandbox_context.cc) feeds inputs in the
// order in which they happen, and carries out the effects of each in the order given before the
// next. What is refused changes nothing. Inputs that come too late (an answer after a reset) are
// no error: they have no effect. Owned by its driver; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fnrun::supervisor::lifecycle {

enum class State : std::uint8_t {
  kNew,           // Nobody asked for an init.
  kInitializing,  // A process is started ahead of any invocation.
  kIdle,          // It waits for a request.
  kInitFailed,    // The next invocation resets by itself, and tries once more.
  kCold,          // No process; the next invocation starts one: a suppressed init.
  kInlineInit,    // That is going on, within the invocation's time.
  kRunning,       // The request was given; there is no answer yet.
  kAnswered,      // Answered, but not ready for the next request yet.
  kFailed,        // The invocation failed, or the runtime ended: a reset is due.
  kRestoring,     // Let go out of its snapshot; not ready yet.
  kResetting,     // All flows are cancelled; the end of the process is awaited.
  kShuttingDown,  // The same, for the last time.
  kDown,          // Terminal.
};
[[nodiscard]] std::string_view name_of(State state) noexcept;

// Why an operation did not happen. In brackets what the original calls it.
enum class Refusal : std::uint8_t {
  kNone,
  kNotInitialized,
  kAlreadyInitialized,
  kAlreadyReserved,   // [ErrAlreadyReserved]
  kNotReserved,       // [ErrNotReserved]
  kAlreadyInvoking,   // [ErrAlreadyInvocating]
  kInvalidInvokeId,   // [ErrInvalidInvokeID]
  kResponseSent,      // [ErrResponseSent]
  kResponseTooLarge,  // [ErrorResponseTooLarge] The runtime is told; the caller got an answer.
  kResetRequired,     // What lives must be reset first.
  kBusy,              // Only between invocations.
  kShutDown,
};

enum class Phase : std::uint8_t { kInit, kInvoke };  // Ahead of an invocation, or inside one.
enum class Reset : std::uint8_t { kTimeout, kFailure, kOther };
enum class DoneStatus : std::uint8_t { kSuccess, kError, kFailure, kTimeout };
[[nodiscard]] std::string_view name_of(DoneStatus status) noexcept;
[[nodiscard]] std::string_view name_of(Refusal refusal) noexcept;

// How something failed; the type is one of the closed set (error_type.h), or sanitised.
struct Fault {
  std::string type;
  std::string message;
  friend bool operator==(const Fault&, const Fault&) = default;
};

namespace input {
struct Init {
  bool suppress = false;  // Start nothing now: the first invocation does.
};
struct InitSucceeded {
  bool awaits_restore = false;  // The runtime is blocked in /restore/next.
};
struct InitFailed {
  Fault fault;  // Without a type: Sandbox.Failure.
};
struct InitErrorReported {  // The runtime's own word, /init/error. Its exit follows.
  Fault fault;              // Sanitised.
  std::string body;         // As it came: what a client is to see.
};
struct WaitInit {};      // Somebody asks for the result of the init.
struct WaitInitLeft {};  // One of them does not wait any more.
struct Reserve {
  std::string id;
};
struct Release {};
struct SendRequest {};
enum class Answered : std::uint8_t { kWithResult, kWithError, kTooLarge };
struct Response {
  std::string id;
  Answered how{};
};
struct RuntimeReady {};  // For another request.
struct Spent {};         // It may serve no other: replaced, if it is between two.
struct RuntimeExited {
  Fault fault;
};
struct InvokeFailed {  // In any other way than by its exit.
  Fault fault;
};
struct RequestRefused {  // Nothing was written: the runtime does not know of it.
  Fault fault;
};
struct Deadline {};  // The invocation's own.
struct Restore {};
struct RestoreFailed {
  Fault fault;
};
struct RestoreDeadline {};
struct ResetBy {
  Reset reason{};
};
struct Shutdown {};
struct ShutdownDeadline {};
struct ProcessGone {};  // Flows have returned and nothing of the process is left.
struct Clear {};
}  // namespace input

using Input =
    std::variant<input::Init, input::InitSucceeded, input::InitFailed, input::InitErrorReported,
                 input::WaitInit, input::WaitInitLeft, input::Reserve, input::Release,
                 input::SendRequest, input::Response, input::RuntimeReady, input::Spent,
                 input::RuntimeExited, input::InvokeFailed, input::RequestRefused, input::Deadline,
                 input::Restore, input::RestoreFailed, input::RestoreDeadline, input::ResetBy,
                 input::Shutdown, input::ShutdownDeadline, input::ProcessGone, input::Clear>;

enum class EventKind : std::uint8_t {
  kInitStart,
  kInitRuntimeDone,
  kInitReport,
  kRestoreRuntimeDone,
  kInvokeStart,
  kInvokeRuntimeDone,
  kReport,
  kEnd,
};

namespace effect {
struct Emit {
  EventKind event{};
  Phase phase{};           // Of init.*
  DoneStatus status{};     // Of *.runtimeDone and report.
  std::string error_type;  // "" for none.
  friend bool operator==(const Emit&, const Emit&) = default;
};
struct StartProcess {
  std::uint64_t generation = 0;
  Phase phase{};
  friend bool operator==(const StartProcess&, const StartProcess&) = default;
};
struct TellInit {  // The init's result, to the waiter who came first.
  std::optional<Fault> fault;
  bool reset_received = false;
  friend bool operator==(const TellInit&, const TellInit&) = default;
};
struct TellInitialised {  // The same waiter: somebody else has had the result.
  friend bool operator==(const TellInitialised&, const TellInitialised&) = default;
};
struct WriteRequest {
  friend bool operator==(const WriteRequest&, const WriteRequest&) = default;
};
struct AnswerWithResponse {  // What the runtime said is the invocation's answer.
  input::Answered how{};
  friend bool operator==(const AnswerWithResponse&, const AnswerWithResponse&) = default;
};
struct AnswerWithError {  // What the runtime did not say.
  Fault fault;
  std::optional<std::string> body{};  // The runtime's own word of its init; else ours is made.
  friend bool operator==(const AnswerWithError&, const AnswerWithError&) = default;
};
enum class Completion : std::uint8_t {
  kSuccess,
  kFailure,
  kReservationDone,  // Taken back before it came to anything. [ErrReleaseReservationDone]
};
struct Complete {  // The reservation has come to its end.
  Completion how{};
  Fault fault{};
  bool reset_received = false;
  bool request_reset = false;
  friend bool operator==(const Complete&, const Complete&) = default;
};
struct CancelFlows {  // Whatever start or exchange is in flight returns, and is heard no more.
  friend bool operator==(const CancelFlows&, const CancelFlows&) = default;
};
enum class KillFor : std::uint8_t { kFailure, kDeadline, kReset, kShutdown };
struct Kill {
  KillFor reason{};
  friend bool operator==(const Kill&, const Kill&) = default;
};
struct AwaitGone {  // ProcessGone is to follow, also when there is no process.
  friend bool operator==(const AwaitGone&, const AwaitGone&) = default;
};
struct ReleaseFromRestore {
  friend bool operator==(const ReleaseFromRestore&, const ReleaseFromRestore&) = default;
};
struct CompleteRestore {
  std::optional<Fault> fault;
  friend bool operator==(const CompleteRestore&, const CompleteRestore&) = default;
};
struct CompleteReset {     // All who asked for it.
  std::string error_type;  // The first fatal error that it cleared away; "" for none.
  friend bool operator==(const CompleteReset&, const CompleteReset&) = default;
};
struct CompleteShutdown {  // All who asked for it.
  friend bool operator==(const CompleteShutdown&, const CompleteShutdown&) = default;
};
}  // namespace effect

using Effect =
    std::variant<effect::Emit, effect::StartProcess, effect::TellInit, effect::TellInitialised,
                 effect::WriteRequest, effect::AnswerWithResponse, effect::AnswerWithError,
                 effect::Complete, effect::CancelFlows, effect::Kill, effect::AwaitGone,
                 effect::ReleaseFromRestore, effect::CompleteRestore, effect::CompleteReset,
                 effect::CompleteShutdown>;

struct Step {
  Refusal refused = Refusal::kNone;
  std::vector<Effect> effects;
};

class Machine {
 public:
  [[nodiscard]] Step step(const Input& what);

  [[nodiscard]] State state() const noexcept { return state_; }
  // +1 for each process that is started, and +1 for each reset: names of processes are never used
  // twice.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  [[nodiscard]] bool reserved() const noexcept { return reservation_.has_value(); }
  [[nodiscard]] bool shutting_down() const noexcept { return shutdown_wanted_; }
  // The first one since the last reset: later ones are only what follows from it.
  [[nodiscard]] const std::optional<Fault>& first_fatal() const noexcept { return first_fatal_; }

 private:
  struct Reservation {
    std::string id;
    bool requested = false;  // SendRequest came.
    bool completed = false;  // Failed, and not given back yet.
  };
  struct InitResult {
    std::optional<Fault> fault;
    bool reset_received = false;
    bool read = false;
  };

  Refusal on(const input::Init& in);
  Refusal on(const input::InitSucceeded& in);
  Refusal on(const input::InitFailed& in);
  Refusal on(const input::InitErrorReported& in);
  Refusal on(const input::WaitInit& in);
  Refusal on(const input::WaitInitLeft& in);
  Refusal on(const input::Reserve& in);
  Refusal on(const input::Release& in);
  Refusal on(const input::SendRequest& in);
  Refusal on(const input::Response& in);
  Refusal on(const input::RuntimeReady& in);
  Refusal on(const input::Spent& in);
  Refusal on(const input::RuntimeExited& in);
  Refusal on(const input::InvokeFailed& in);
  Refusal on(const input::RequestRefused& in);
  Refusal on(const input::Deadline& in);
  Refusal on(const input::Restore& in);
  Refusal on(const input::RestoreFailed& in);
  Refusal on(const input::RestoreDeadline& in);
  Refusal on(const input::ResetBy& in);
  Refusal on(const input::Shutdown& in);
  Refusal on(const input::ShutdownDeadline& in);
  Refusal on(const input::ProcessGone& in);
  Refusal on(const input::Clear& in);

  void emit(EventKind event, Phase phase = {}, DoneStatus status = {}, std::string type = {});
  void start_process(Phase phase);
  void end_init(const std::optional<Fault>& fault, Phase phase);
  void tell_init(std::optional<Fault> fault, bool reset_received);
  void begin_if_due();
  void start_invocation();
  void open_invocation();
  [[nodiscard]] bool in_flight() const noexcept;
  [[nodiscard]] bool pending() const noexcept;
  Fault note_fatal(Fault fault);
  void end_process_unasked(effect::KillFor why);
  void fail_invocation(const Fault& fault, effect::KillFor why);
  Refusal fail_restore(const Fault& fault);
  void close_invocation(DoneStatus status, const std::string& type, bool runtime_done);
  void complete(effect::Complete how);
  void give_back(effect::Complete how);
  void interrupt(const Fault& why, bool by_reset);
  void take_down(effect::KillFor why, State next);
  void go_down();
  void go_on();
  template <class E>
  void add(E what) {
    effects_.emplace_back(std::move(what));
  }

  State state_ = State::kNew;
  std::uint64_t generation_ = 0;
  bool shutdown_wanted_ = false;
  bool awaits_restore_ = false;
  std::optional<Reservation> reservation_;
  bool invocation_open_ = false;  // invoke.start was said, end was not.
  bool answered_ = false;         // The open invocation has its answer.
  std::optional<InitResult> init_result_;
  bool hold_ = false;  // No invocation overtakes an init result that nobody has read.
  std::size_t init_waiters_ = 0;
  std::optional<Fault> first_fatal_;
  std::optional<input::InitErrorReported> init_error_;  // For the first invocation.
  bool reset_asked_ = false;
  std::string reset_error_type_;
  std::vector<Effect> effects_;  // Of the step that is being made.
};

}  // namespace fnrun::supervisor::lifecycle
