// A pool of sandboxes for programs that run no event loop: start, call from any thread, forget.
//
// What fnrun's InvokerPool is to a Go program. Owns the event loop, its one thread, the launcher
// and the Service (service.h) that does the work; adds nothing to it but threads. Thread-safe.
#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/async_result.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policies/policy.h"
#include "supervisor/service.h"

namespace fnrun::supervisor {

struct InvokerPoolOptions {
  std::size_t max_invoker_count = 1;  // Calls at a time, and sandboxes, which are started at once.
  std::size_t max_waiting = 1'024;    // Calls beyond them that may wait.
  // How long for a free sandbox, before the call is answered kUnavailable (fnrun:
  // ErrAvailabilityTimeout); 0: until its deadline.
  std::chrono::milliseconds max_wait{0};
  // The longest that a call may take, waiting too; 0: the policy's invoke_timeout alone. There is
  // always one, so that fnrun's ErrMissingTimeout cannot happen here.
  std::chrono::milliseconds max_runnable_time{0};
  HandlerProtocol protocol = HandlerProtocol::kFnrun;
  std::string policy_name;            // For reports.
  std::vector<protocol::EnvVar> env;  // Goes with every call, before the call's own.
  std::size_t launching_threads = 1;
  isolation::LauncherOptions launcher;
  std::optional<isolation::UidRange> slot_uids;    // Of a privileged program; see isolation/host.h.
  LogSink log;                                     // On the pool's thread; may be empty.
  std::function<void(const PoolEvent&)> on_event;  // The same.
};

class [[nodiscard]] InvokerPool {
 public:
  // Starts all of its sandboxes, so that a handler that cannot start is told here. `argv`: the
  // handler and its arguments; argv[0] without '/' is looked up in the policy's PATH, then in ours.
  [[nodiscard]] static isolation::Result<InvokerPool> start(const policies::Policy& policy,
                                                            std::vector<std::string> argv,
                                                            InvokerPoolOptions options = {});
  InvokerPool(InvokerPool&&) noexcept;
  InvokerPool& operator=(InvokerPool&&) noexcept;
  // Calls in flight end as kShuttingDown. Waits until every sandbox is gone, at most the policy's
  // kill timeout. Not from within a completion handler that runs on the pool's thread.
  ~InvokerPool();

  // Blocks until the answer or the deadline. Not on the pool's thread.
  [[nodiscard]] Invocation invoke(Input input, Deadline deadline = Deadline::max());
  // With any completion token for void(Invocation). Completes on the token's executor; without one,
  // on the pool's thread, which must not be held up.
  template <boost::asio::completion_token_for<void(Invocation)> Token>
  auto async_invoke(Input input, Deadline deadline, Token&& token) {
    return boost::asio::async_initiate<Token, void(Invocation)>(
        [this](Done done, Input of_call, Deadline until) {
          begin(std::move(of_call), until, std::move(done));
        },
        token, std::move(input), deadline);
  }

  // Later calls are made under this policy; those in flight end under theirs. An error changes
  // nothing.
  [[nodiscard]] isolation::Result<void> use_policy(const policies::Policy& policy);
  // How many calls at a time from now on.
  void resize(std::size_t max_invoker_count);
  [[nodiscard]] PoolStatus status() const;

 private:
  using Done = boost::asio::any_completion_handler<void(Invocation)>;
  struct State;
  explicit InvokerPool(std::unique_ptr<State> state);
  void begin(Input input, Deadline deadline, Done done);
  std::unique_ptr<State> state_;
};

}  // namespace fnrun::supervisor
