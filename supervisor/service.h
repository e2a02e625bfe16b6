// Calls to one handler, one after another: starts its sandbox, replaces it after a failure.
//
// What front ends call. A first form: one sandbox, so calls are made one at a time (a second
// concurrent one is kUnavailable). A sandbox that failed, spoke out of turn or died while idle is
// never used again; the next call gets a new one. All on one executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>

#include "isolation/launcher.h"
#include "supervisor/invoker.h"

namespace fnrun::supervisor {

struct ServiceOptions {
  HandlerProtocol protocol = HandlerProtocol::kFnrun;
  std::string policy_name;            // For reports.
  std::vector<protocol::EnvVar> env;  // Goes with every call, before the call's own.
  LogSink log;                        // Of the handlers' stderr; may be empty.
};

class Service {
 public:
  // `launcher` must outlive the Service.
  Service(boost::asio::any_io_executor executor, isolation::Launcher& launcher,
          std::shared_ptr<const isolation::Plan> plan, ServiceOptions options);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service();

  // Starts a sandbox ahead of the first call, so that an error shows before any input is taken. For
  // kExec there is nothing to start ahead.
  [[nodiscard]] isolation::Result<void> warm_up();

  // The deadline is the sooner of the given one and the policy's invoke timeout from now; it covers
  // starting a sandbox too, where one has to be started. With g++ 12 name the input first and move
  // it in: that compiler copies temporaries of a co_await expression bit by bit.
  [[nodiscard]] boost::asio::awaitable<Invocation> invoke(Input input,
                                                          Deadline deadline = Deadline::max());

  // A call that a front end could not even make of its input: counted and reported as one.
  [[nodiscard]] Invocation refuse(Cause cause, std::optional<isolation::SetupError> setup = {});

  // Ends the call in flight as kShuttingDown; later calls end so at once.
  void stop();
  [[nodiscard]] bool stopping() const noexcept;
  // Kills what still runs and waits for it, at most the policy's kill timeout.
  [[nodiscard]] boost::asio::awaitable<void> shut_down();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fnrun::supervisor
