// How one process is spoken to, whatever it speaks: the seam below SandboxContext.
//
// FnrunRuntime is the fnrun protocol; a runtime of the Lambda Runtime API is another. It carries
// out, decides nothing, and knows of no reservation: lifecycle.h does. All on one executor; one
// operation at a time, but for cancel() and kill(), which end the one in flight.
#pragma once

#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <boost/system/result.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "isolation/sandbox.h"
#include "supervisor/exchange.h"
#include "supervisor/lifecycle/lifecycle.h"
#include "supervisor/report.h"

namespace fnrun::supervisor {

// Why it does not go on. kDeadline is the invocation's own; kCancelled follows from cancel();
// kUntouched: it cannot be given this request, was given nothing, and is as well as before.
struct RuntimeFailure {
  enum class Kind : std::uint8_t { kFailed, kExited, kDeadline, kCancelled, kUntouched };
  Kind kind{};
  lifecycle::Fault fault;
  std::optional<InvocationReport> report;
};

struct RuntimeAnswer {
  lifecycle::input::Answered how{};
  protocol::Result result;
  InvocationReport report;
};
using AnswerOr = boost::system::result<RuntimeAnswer, RuntimeFailure>;

class Runtime {
 public:
  virtual ~Runtime() = default;

  // From the request to the answer. `input` is borrowed until the end.
  [[nodiscard]] virtual boost::asio::awaitable<AnswerOr> ask(const Input& input, std::uint64_t call,
                                                             Deadline deadline) = 0;
  // After an answer: until it is ready for another request. Nothing: it is.
  [[nodiscard]] virtual boost::asio::awaitable<std::optional<RuntimeFailure>> ready(
      Deadline deadline) = 0;

  // Between two requests: it may not serve another, by its policy or by what it left behind.
  [[nodiscard]] virtual bool spent() = 0;

  // Whether it is held in a snapshot and has a hook to run when it is let go.
  [[nodiscard]] virtual bool awaits_restore() const noexcept { return false; }
  [[nodiscard]] virtual boost::asio::awaitable<std::optional<RuntimeFailure>> restore(
      Deadline deadline) = 0;

  virtual void cancel() noexcept = 0;
  virtual void kill(isolation::KillReason reason) noexcept = 0;
  // Until nothing of it is left, at most the policy's kill timeout. False: something is; it must be
  // kept, so that its uid is nobody else's. Call once, after kill(), with no operation in flight.
  [[nodiscard]] virtual boost::asio::awaitable<bool> gone() = 0;
  // For one of which something was left: kills again, and looks. Never waits.
  [[nodiscard]] virtual bool gone_by_now() = 0;
  [[nodiscard]] virtual pid_t pid() const noexcept = 0;
};

using RuntimeOr = boost::system::result<std::unique_ptr<Runtime>, RuntimeFailure>;

class RuntimeStarter {
 public:
  virtual ~RuntimeStarter() = default;
  // Until it is ready for its first request. Returns on the caller's executor. Cannot be
  // interrupted; what is started in vain is the caller's to kill.
  [[nodiscard]] virtual boost::asio::awaitable<RuntimeOr> start(std::uint64_t generation,
                                                                Deadline latest) = 0;
  // Nothing is started after. Never waits: a start that is under way ends by itself, and is still
  // its caller's as long as the executor runs.
  virtual void stop() = 0;
};

[[noreturn]] void throw_exception_from_error(const RuntimeFailure& failure,
                                             const boost::source_location& where);

}  // namespace fnrun::supervisor
