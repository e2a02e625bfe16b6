// Sandboxes of one handler, ready or made on demand: who is reused, who is replaced, who is buried.
//
// A call takes an invoker and gives it back. What is given back is kept for the next call or
// retired, as the policy's `reuse` says; what failed is always retired, and buried where nobody
// waits. A number of sandboxes is kept ready ahead of need, so that a failure costs the next caller
// nothing. Starting happens on threads of the pool's own: it takes milliseconds, which nobody
// else's call should pay. A handler that cannot be started is tried again ever more seldom, never
// in a hot loop; who asks meanwhile is told what the last attempt ended with. How many calls there
// are at a time is admission.h's business. All on one executor (a strand, when that has threads).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "isolation/launcher.h"
#include "supervisor/invoker.h"

namespace fnrun::supervisor {

// What whoever runs the supervisor wants to know at once. Counted since the pool began in
// PoolStatus.
struct PoolEvent {
  enum class Kind : std::uint8_t {
    kDegraded,     // The handler failed to start five times within ten seconds.
    kRecovered,    // It started again.
    kQuarantined,  // A sandbox could not be killed in time. Killing goes on.
    kReleased,     // One of those has ended after all.
  };
  Kind kind{};
  std::string text;  // One line for people; may hold words of a handler.
};

struct PoolOptions {
  HandlerProtocol protocol = HandlerProtocol::kFnrun;
  std::size_t ready = 0;  // Sandboxes started ahead of need, past exec.
  // No spare is kept beside so many, idle or in a call; 0: `ready` alone says. A call that is
  // admitted gets its sandbox all the same.
  std::size_t sandboxes_max = 0;
  std::size_t launching_threads = 1;
  LogSink log;                                     // Of the handlers' stderr; may be empty.
  std::function<void(const PoolEvent&)> on_event;  // On the executor; may be empty.
};

// For people and metrics.
struct PoolStatus {
  std::size_t idle = 0;
  std::size_t starting = 0;
  std::size_t busy = 0;
  std::size_t dying = 0;  // Their end is awaited behind everybody's back.
  // Could not be killed in time; tried again, and kept until they end, so that their uids are no
  // one else's.
  std::size_t quarantined = 0;
  std::uint64_t started = 0;  // Since the pool began; failed attempts apart.
  std::uint64_t failed_starts = 0;
  std::uint64_t dirty = 0;  // Given back, but a call had left something behind (Reuse::kClean).
  // The handler failed to start five times within ten seconds and has answered nobody since:
  // nobody tries before `retry_in`.
  bool degraded = false;
  std::chrono::milliseconds retry_in{0};
};

// Why there is no sandbox.
struct NoInvoker {
  Cause cause{};  // kSetup, kDeadline, kCancelled or kShutdown.
  std::optional<isolation::SetupError> setup;
};
struct Taken {
  std::unique_ptr<Invoker> invoker;
  bool fresh = false;  // Started for this call, within its time.
};

class Pool {
 public:
  // `launcher` must outlive the Pool.
  Pool(boost::asio::any_io_executor executor, isolation::Launcher& launcher,
       std::shared_ptr<const isolation::Plan> plan, PoolOptions options);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // Starts sandboxes on the calling thread until so many are idle, so that an error shows before
  // any input is taken, and then, behind it, the rest of those that are to be ready.
  [[nodiscard]] isolation::Result<void> warm_up(std::size_t count);

  // A usable invoker: the one used last, so that its memory is warm, or a new one. With an
  // environment of the call's own it is always a new one. Ends at the deadline, or when `call` is
  // cancelled, whatever is still starting: that becomes a spare, if there is none.
  [[nodiscard]] boost::asio::awaitable<std::variant<Taken, NoInvoker>> take(
      std::vector<std::string> extra_environment, Deadline deadline, std::uint64_t call);
  // Its take() ends with kCancelled, if it waits.
  void cancel(std::uint64_t call);
  // `answered`: the handler works, whatever it said. Precondition: no call in flight.
  void give_back(std::unique_ptr<Invoker> invoker, bool answered);

  // From now on: as PoolOptions::ready and sandboxes_max. Spares beyond them end.
  void keep(std::size_t ready, std::size_t sandboxes_max);

  // New sandboxes are made by this plan; those of the old one end when they are given back.
  void use_plan(std::shared_ptr<const isolation::Plan> plan);
  [[nodiscard]] const std::shared_ptr<const isolation::Plan>& plan() const noexcept;

  // Nothing is started any more, and nobody waits for a start.
  void stop();
  // Kills what is idle, and waits for what is dying, at most the policy's kill timeout, and for
  // launches that have begun, at most its start timeout. Precondition: everything that was taken
  // was given back.
  [[nodiscard]] boost::asio::awaitable<void> shut_down();

  [[nodiscard]] PoolStatus status() const;

 private:
  struct Wait;
  struct State;
  std::shared_ptr<State> state_;  // Shared with starts and burials, which may outlive us.
};

}  // namespace fnrun::supervisor
