// SandboxContext for a program without an event loop: each operation blocks until it is done.
//
// Owns the loop and its one thread, where the observer and the log are called too. Thread-safe: any
// number of threads may be in it, and one may reset() what another waits for. Never call it from
// its own thread (from the observer). The destructor kills what lives, and waits for its end and
// for a start that is under way.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <thread>

#include "supervisor/lifecycle/sandbox_context.h"

namespace fnrun::supervisor {

class BlockingSandbox {
 public:
  // Called once, with the executor that the starter is to return to.
  using MakeStarter =
      std::function<std::unique_ptr<RuntimeStarter>(boost::asio::any_io_executor executor)>;
  explicit BlockingSandbox(const MakeStarter& make_starter, SandboxOptions options = {});
  BlockingSandbox(const BlockingSandbox&) = delete;
  BlockingSandbox& operator=(const BlockingSandbox&) = delete;
  ~BlockingSandbox();

  [[nodiscard]] LifecycleResult<void> init(InitRequest request);
  // These two: kNotInitialized before init().
  [[nodiscard]] LifecycleResult<InitSuccess> wait_init();
  [[nodiscard]] LifecycleResult<InvokeContext> reserve(ReserveRequest request = {});

  [[nodiscard]] static LifecycleResult<void> send_request(const InvokeContext& invocation,
                                                          InvokeRequest request);
  [[nodiscard]] static LifecycleResult<InvokeSuccess> wait(const InvokeContext& invocation);
  [[nodiscard]] static LifecycleResult<void> release(const InvokeContext& invocation);

  [[nodiscard]] LifecycleResult<ResetResult> reset(ResetReason reason);
  [[nodiscard]] LifecycleResult<ShutdownResult> shutdown(Deadline deadline);
  [[nodiscard]] LifecycleResult<RestoreResult> restore(RestoreRequest request = {});
  [[nodiscard]] LifecycleResult<void> clear();
  [[nodiscard]] LifecycleResult<SandboxStatus> status();

 private:
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<SandboxContext> sandbox_;
  InitContext init_;
  std::thread thread_;
};

}  // namespace fnrun::supervisor
