// One sandbox, one call at a time, one deadline a call; after any failure it is dead.
//
// The Invoker owns the sandbox, the channel to the handler and the reading of its stderr. Whatever
// a call ends with but an answer kills the whole sandbox before invoke() returns; the caller need
// not wait for what is left of it: finish() does that behind the caller's back. All on one executor
// (a strand, when that has threads).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "isolation/launcher.h"
#include "supervisor/exchange.h"
#include "supervisor/report.h"

namespace fnrun::supervisor {

// What became of one call. The result is there if and only if the outcome is kOk.
struct Invocation {
  std::optional<protocol::Result> result;
  InvocationReport report;
  // False: the handler failed before it could know the question, so another may be asked.
  bool asked = true;
};

// A line of a handler's stderr: safe to print (stderr_log.h). `call` is 0 outside of any.
using LogSink = std::function<void(std::uint64_t call, std::string_view line)>;

class Invoker {
 public:
  // A sandbox and our ends of its stdio, which nobody serves yet.
  struct Launched {
    std::shared_ptr<const isolation::Plan> plan;
    isolation::Sandbox sandbox;
    isolation::UniqueFd to_stdin;
    isolation::UniqueFd from_stdout;
    isolation::UniqueFd from_stderr;
  };
  // Takes some milliseconds, at most until `latest` or the policy's start timeout. Thread-safe.
  [[nodiscard]] static isolation::Result<Launched> launch(
      isolation::Launcher& launcher, std::shared_ptr<const isolation::Plan> plan,
      std::span<const std::string> extra_environment, Deadline latest = Deadline::max());
  // On the executor's thread, whoever launched it.
  [[nodiscard]] static isolation::Result<std::unique_ptr<Invoker>> serve(
      boost::asio::any_io_executor executor, Launched launched, HandlerProtocol protocol,
      LogSink log);
  Invoker(const Invoker&) = delete;
  Invoker& operator=(const Invoker&) = delete;
  ~Invoker();

  // Started for this call, which is about to come: what the handler says from now on is its. 0: for
  // nobody's.
  void expect(std::uint64_t call);
  // Precondition: new or usable(), and no call in flight. A call without a deadline
  // (Deadline::max()) is refused as kSetupFailed; fnrun calls that ErrMissingTimeout.
  [[nodiscard]] boost::asio::awaitable<Invocation> invoke(const Input& input, std::uint64_t call,
                                                          Deadline deadline);
  // Ends the call in flight with kCancelled.
  void cancel();

  // Alive, silent since its last answer, and clean where the policy's `reuse` asks for that: fit
  // for another call, if that begins at once.
  [[nodiscard]] bool usable();
  // `tell` is called on the executor when everything inside is gone, whoever ended it and whether a
  // call sees it too; not after finish(). Never from within a member of ours.
  void on_gone(std::function<void()> tell);
  // It was told; never true where nobody asked to be.
  [[nodiscard]] bool gone() const noexcept;
  // Killed. One that ended by itself is only not usable().
  [[nodiscard]] bool dead() const noexcept;
  // A call left something behind, where the policy wants none to.
  [[nodiscard]] bool dirty() const noexcept;
  // Between two calls, where the policy says `freeze_idle`: nothing inside uses CPU until wake(),
  // which comes before the next call. False: it cannot be woken, and is of no use any more.
  void rest();
  [[nodiscard]] bool wake();

  void kill(isolation::KillReason reason) noexcept;
  // Kills if need be, and waits until everything inside is gone, all of stderr is logged and nobody
  // looks at it any more; at most the policy's kill timeout. Afterwards exit() tells the end. Call
  // once, with no call in flight.
  [[nodiscard]] boost::asio::awaitable<void> finish();
  // For one that did not end in that time: kills again, and looks whether it has ended by now.
  // Never waits.
  [[nodiscard]] bool try_finish();
  [[nodiscard]] const std::optional<isolation::Exit>& exit() const noexcept;
  [[nodiscard]] pid_t pid() const noexcept;
  [[nodiscard]] const std::shared_ptr<const isolation::Plan>& plan() const noexcept;
  [[nodiscard]] std::uint64_t calls_served() const noexcept;
  [[nodiscard]] std::chrono::steady_clock::duration age() const noexcept;

 private:
  struct State;
  // As finish(), for a caller who waits: whether a thread of ours still looks is not theirs.
  boost::asio::awaitable<void> end();
  boost::asio::awaitable<void> settle(Exchanged& done, Deadline deadline);
  explicit Invoker(std::shared_ptr<State> state);
  std::shared_ptr<State>
      state_;  // Shared with the stderr reader, which may outlive us for a moment.
};

}  // namespace fnrun::supervisor
