// One sandbox over its life: init, invocations one at a time, reset into a new process, shutdown.
//
// What rapidcore's SandboxContext, InitContext and InvokeContext are, as C++20 with Asio. The rules
// are lifecycle.h's; what a runtime speaks is runtime.h's. Each operation takes a completion token
// as its last argument, with the signature void(LifecycleResult<T>): co_await, futures and
// callbacks all work, and failures are values. No exception comes out of it but what the token
// itself throws (use_awaitable and use_future hand on std::bad_alloc; use_future's get() throws
// nothing else).
//
// Threads: operations may be begun on any thread; everything happens on the one executor (a strand,
// when that has threads), where the observer is called too. Handlers are posted to their own
// executor, never called from inside an operation. A SandboxContext is destroyed on its executor's
// thread, or when nobody runs that any more, and before its execution context; that ends what is in
// flight. A wait that is cancelled ends alone; what it waited for goes on.
#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/system/result.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "supervisor/lifecycle/events.h"
#include "supervisor/lifecycle/runtime.h"

namespace fnrun::supervisor {

using lifecycle::Refusal;
using ResetReason = lifecycle::Reset;

struct LifecycleFailure {
  enum class Kind : std::uint8_t {
    kRefused,          // `refused` says why; nothing happened.
    kInitFailed,       // [ErrInitDoneFailed; with reset_received: ErrInitResetReceived]
    kInvokeFailed,     // [ErrInvokeDoneFailed]
    kReservationDone,  // Released, reset or shut down before it came to anything.
    kRestoreFailed,
    kAlreadyRead,    // Somebody else had the result of this invocation.
    kWaitCancelled,  // By the completion token's cancellation.
  };
  Kind kind{};
  Refusal refused{};
  std::string error_type;  // Of the closed set; the first fatal error.
  std::string message;
  bool reset_received = false;  // A reset interrupted it: nothing more to do.
  bool request_reset = false;   // The caller must reset before the next invocation.
  // What a client is answered: the runtime's own word, or {"errorType","errorMessage"}. Empty where
  // the runtime's answer had been given before it failed.
  std::string body;
  std::optional<InvocationReport> report;  // Where a runtime saw the request.

  [[nodiscard]] std::string to_string() const;
};
[[noreturn]] void throw_exception_from_error(const LifecycleFailure& failure,
                                             const boost::source_location& where);

template <class T>
using LifecycleResult = boost::system::result<T, LifecycleFailure>;
// What a completion token becomes.
template <class T>
using LifecycleHandler = boost::asio::any_completion_handler<void(LifecycleResult<T>)>;

struct InitRequest {
  bool suppress = false;  // Start nothing ahead: the first invocation does, in its own time.
  InitType type = InitType::kOnDemand;
  std::chrono::milliseconds invoke_timeout{3'000};  // Bounds each invocation, not the init.
};
struct InitSuccess {
  std::uint64_t generation = 0;
  bool told_before = false;  // Somebody else had the result; this only says that there is one.
};
struct ReserveRequest {
  std::string invoke_id;  // "": one is made.
  std::string trace_id;
  std::string tenant_id;
};
struct InvokeRequest {
  Input input;
  // Cut short by InitRequest::invoke_timeout. Covers the wait for its turn, a suppressed init, the
  // request, and the answer.
  Deadline deadline = Deadline::max();
};
struct InvokeSuccess {
  RuntimeAnswer answer;
  ResponseMetrics metrics;
};
struct ResetResult {
  std::uint64_t generation = 0;
  std::string error_type;       // The first fatal error that it cleared away; "" for none.
  std::size_t left_behind = 0;  // Sandboxes that could not be killed in time and still are.
};
struct ShutdownResult {
  bool cut_short = false;  // What was running did not end by the deadline, and was killed.
  std::size_t left_behind = 0;
};
struct RestoreRequest {
  Deadline hook_deadline = Deadline::max();
};
struct RestoreResult {
  std::chrono::milliseconds duration{0};  // Of the hook; 0 without one.
};
struct SandboxStatus {
  lifecycle::State state{};
  std::uint64_t generation = 0;
  bool reserved = false;
  std::string first_fatal;  // Its type.
  pid_t pid = 0;            // Of the sandbox's init; 0: there is none.
};

struct SandboxOptions {
  EventObserver observer;  // May be empty.
  std::string function_version = "$LATEST";
};

class SandboxDriver;  // sandbox_driver.h, not installed.
struct SandboxReservation;

// Copies are the same thing, and outlive the SandboxContext: then all they say is kShutDown.
class InvokeContext {
 public:
  InvokeContext() = default;  // Of no sandbox: to be assigned to before anything else.

  // Gives the request to the runtime when its turn has come, and returns at once.
  template <class Token>
  auto send_request(InvokeRequest request, Token&& token) const {
    return boost::asio::async_initiate<Token, void(LifecycleResult<void>)>(
        [self = *this](LifecycleHandler<void> told, InvokeRequest in) {
          self.start_send(std::move(in), std::move(told));
        },
        token, std::move(request));
  }
  // Until the answer is there *and* the runtime is ready again, or it failed. One reader.
  template <class Token>
  auto wait(Token&& token) const {
    return boost::asio::async_initiate<Token, void(LifecycleResult<InvokeSuccess>)>(
        [self = *this](LifecycleHandler<InvokeSuccess> told) { self.start_wait(std::move(told)); },
        token);
  }
  // Gives the reservation back. An invocation in flight is cut off, and its process replaced.
  template <class Token>
  auto release(Token&& token) const {
    return boost::asio::async_initiate<Token, void(LifecycleResult<void>)>(
        [self = *this](LifecycleHandler<void> told) { self.start_release(std::move(told)); },
        token);
  }

  [[nodiscard]] const std::string& invoke_id() const noexcept;
  [[nodiscard]] const std::string& reservation_token() const noexcept;

 private:
  friend class SandboxDriver;
  InvokeContext(std::shared_ptr<SandboxDriver> driver,
                std::shared_ptr<SandboxReservation> reservation);
  void start_send(InvokeRequest request, LifecycleHandler<void> told) const;
  void start_wait(LifecycleHandler<InvokeSuccess> told) const;
  void start_release(LifecycleHandler<void> told) const;

  std::shared_ptr<SandboxDriver> driver_;
  std::shared_ptr<SandboxReservation> reservation_;
};

class InitContext {
 public:
  InitContext() = default;  // Of no sandbox: to be assigned to before anything else.

  // The first reader gets the result; all others that there is one. No invocation begins before
  // somebody has read it (its deadline goes on).
  template <class Token>
  auto wait(Token&& token) const {
    return boost::asio::async_initiate<Token, void(LifecycleResult<InitSuccess>)>(
        [self = *this](LifecycleHandler<InitSuccess> told) { self.start_wait(std::move(told)); },
        token);
  }
  // At once, whether or not the init is over or went well.
  template <class Token>
  auto reserve(ReserveRequest request, Token&& token) const {
    return boost::asio::async_initiate<Token, void(LifecycleResult<InvokeContext>)>(
        [self = *this](LifecycleHandler<InvokeContext> told, ReserveRequest in) {
          self.start_reserve(std::move(in), std::move(told));
        },
        token, std::move(request));
  }
  template <class Token>
  auto reserve(Token&& token) const {
    return reserve(ReserveRequest{}, std::forward<Token>(token));
  }

 private:
  friend class SandboxContext;
  friend class SandboxDriver;
  explicit InitContext(std::shared_ptr<SandboxDriver> driver);
  void start_wait(LifecycleHandler<InitSuccess> told) const;
  void start_reserve(ReserveRequest request, LifecycleHandler<InvokeContext> told) const;

  std::shared_ptr<SandboxDriver> driver_;
};

class SandboxContext {
 public:
  SandboxContext(boost::asio::any_io_executor executor, std::unique_ptr<RuntimeStarter> starter,
                 SandboxOptions options = {});
  SandboxContext(const SandboxContext&) = delete;
  SandboxContext& operator=(const SandboxContext&) = delete;
  // Kills what lives; never waits. A start that is under way, and the end of what was killed, are
  // seen to by the executor, for as long as that runs.
  ~SandboxContext();

  // Once. Begins to start a process and returns at once; InitContext::wait() tells what came of it.
  template <class Token>
  auto init(InitRequest request, Token&& token) {
    return boost::asio::async_initiate<Token, void(LifecycleResult<InitContext>)>(
        [this](LifecycleHandler<InitContext> told, InitRequest in) {
          start_init(in, std::move(told));
        },
        token, request);
  }
  // What init() gives, for whoever did not call it; refuses everything until somebody has.
  [[nodiscard]] InitContext init_context() const;
  // Cancels what is in flight, then waits until nothing is left of the process. The next invocation
  // starts a new one, in its own time.
  template <class Token>
  auto reset(ResetReason reason, Token&& token) {
    return boost::asio::async_initiate<Token, void(LifecycleResult<ResetResult>)>(
        [this, reason](LifecycleHandler<ResetResult> told) {
          start_reset(reason, std::move(told));
        },
        token);
  }
  // For good. What is in flight may end by itself until `deadline`, then it is killed.
  template <class Token>
  auto shutdown(Deadline deadline, Token&& token) {
    return boost::asio::async_initiate<Token, void(LifecycleResult<ShutdownResult>)>(
        [this, deadline](LifecycleHandler<ShutdownResult> told) {
          start_shutdown(deadline, std::move(told));
        },
        token);
  }
  template <class Token>
  auto restore(RestoreRequest request, Token&& token) {
    return boost::asio::async_initiate<Token, void(LifecycleResult<RestoreResult>)>(
        [this, request](LifecycleHandler<RestoreResult> told) {
          start_restore(request, std::move(told));
        },
        token);
  }
  // Forgets a reservation and what an init said of itself. Refused while anything lives: reset().
  template <class Token>
  auto clear(Token&& token) {
    return boost::asio::async_initiate<Token, void(LifecycleResult<void>)>(
        [this](LifecycleHandler<void> told) { start_clear(std::move(told)); }, token);
  }
  template <class Token>
  auto status(Token&& token) {
    return boost::asio::async_initiate<Token, void(LifecycleResult<SandboxStatus>)>(
        [this](LifecycleHandler<SandboxStatus> told) { start_status(std::move(told)); }, token);
  }

  // What the current invocation's durations are counted from, and how its answer came in, where a
  // front end knows better than the supervisor. Nothing: durations and bytes are reported as 0.
  void set_runtime_started_time(std::optional<ResponseMetrics::Time> started);
  void set_invoke_response_metrics(std::optional<ResponseMetrics> metrics);

 private:
  void start_init(InitRequest request, LifecycleHandler<InitContext> told);
  void start_reset(ResetReason reason, LifecycleHandler<ResetResult> told);
  void start_shutdown(Deadline deadline, LifecycleHandler<ShutdownResult> told);
  void start_restore(RestoreRequest request, LifecycleHandler<RestoreResult> told);
  void start_clear(LifecycleHandler<void> told);
  void start_status(LifecycleHandler<SandboxStatus> told);

  std::shared_ptr<SandboxDriver> driver_;
};

}  // namespace fnrun::supervisor
