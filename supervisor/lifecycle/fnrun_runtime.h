// The fnrun protocol below SandboxContext: an Invoker for each generation.
//
// Init is complete when the handler is past exec; the answer is a whole Result; ready again means
// silent since. There are no hooks, no extensions and no word of the handler's on its own errors:
// what the Runtime API says of those comes with its own Runtime. That the handler ended between two
// calls is noticed at the next one, and ends that one as Runtime.ExitError.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <string>
#include <vector>

#include "isolation/launcher.h"
#include "supervisor/invoker.h"
#include "supervisor/lifecycle/runtime.h"

namespace fnrun::supervisor {

struct FnrunRuntimeOptions {
  std::vector<std::string> environment;  // "NAME=value", beside the plan's.
  LogSink log;                           // Of the handler's stderr; may be empty.
};

// Launches on threads that the program shares between its sandboxes, so many at a time: each holds
// its thread for milliseconds, one that hangs for as long as the policy's start timeout. Other
// members on the executor's thread.
class FnrunRuntimeStarter final : public RuntimeStarter {
 public:
  // `threads` must outlive it; the launcher must outlive the threads, for a start that is under way
  // may outlast it, and the executor too. What such a start brings forth is ended on its thread.
  FnrunRuntimeStarter(boost::asio::any_io_executor executor, boost::asio::thread_pool& threads,
                      isolation::Launcher& launcher, std::shared_ptr<const isolation::Plan> plan,
                      FnrunRuntimeOptions options = {});
  ~FnrunRuntimeStarter() override;

  [[nodiscard]] boost::asio::awaitable<RuntimeOr> start(std::uint64_t generation,
                                                        Deadline latest) override;
  void stop() override;

 private:
  boost::asio::any_io_executor executor_;
  boost::asio::thread_pool& threads_;
  isolation::Launcher& launcher_;
  std::shared_ptr<const isolation::Plan> plan_;
  FnrunRuntimeOptions options_;
  const std::shared_ptr<std::atomic<bool>> stopped_;
};

}  // namespace fnrun::supervisor
