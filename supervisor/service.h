// Calls to one handler: admitted, served by a sandbox of a pool, answered, reported.
//
// What front ends call. Joins the queue (admission.h), the sandboxes (pool.h) and the call
// (invoker.h) under one absolute deadline. A sandbox that failed, spoke out of turn or died while
// idle is never used again; the next call gets another. All on one executor (a strand, when that
// has threads).
#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>

#include "isolation/launcher.h"
#include "supervisor/admission.h"
#include "supervisor/invoker.h"
#include "supervisor/pool.h"

namespace fnrun::supervisor {

struct ServiceOptions {
  HandlerProtocol protocol = HandlerProtocol::kFnrun;
  std::string policy_name;            // For reports.
  std::vector<protocol::EnvVar> env;  // Goes with every call, before the call's own.
  LogSink log;                        // Of the handlers' stderr; may be empty.
  AdmissionLimits admission{};        // One call at a time, unless this says more.
  std::size_t ready = 0;              // Sandboxes started ahead of need; see pool.h.
  std::size_t sandboxes_max = 0;      // No spare beside so many; 0: no bound.
  std::size_t launching_threads = 1;
  std::function<void(const PoolEvent&)> on_event;  // May be empty; see pool.h.
};

// Who calls, as far as the supervisor is told.
struct Caller {
  Caller(std::string of_client = {}) : client(std::move(of_client)) {}  // NOLINT(*-explicit-*)
  Caller(const char* of_client) : client(of_client) {}                  // NOLINT(*-explicit-*)

  std::string client;      // Whom the call is counted for (AdmissionLimits::per_client_max).
  std::string request_id;  // For the report.
  // Takes the handler's stderr during this call, instead of ServiceOptions::log; until the answer.
  std::function<void(std::string_view line)> log;
};

class Service {
 public:
  // `launcher` must outlive the Service. Throws boost::system::system_error where this process gets
  // no more threads.
  Service(boost::asio::any_io_executor executor, isolation::Launcher& launcher,
          std::shared_ptr<const isolation::Plan> plan, ServiceOptions options);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service();

  // Starts so many sandboxes ahead of the first call, so that an error shows before any input is
  // taken. For kExec there is nothing to start ahead.
  [[nodiscard]] isolation::Result<void> warm_up(std::size_t count = 1);

  // With any completion token of Asio's, for void(Invocation): a coroutine, a future, a function. A
  // cancellation slot that comes with it ends the call as kCancelled. To be called on the executor;
  // completes on that of the token.
  //
  // The deadline is the sooner of the given one and the policy's invoke timeout from now; it covers
  // waiting for a place, and starting a sandbox too, where one has to be started.
  template <boost::asio::completion_token_for<void(Invocation)> Token>
  auto async_invoke(Input input, Deadline deadline, Caller caller, Token&& token) {
    return boost::asio::async_initiate<Token, void(Invocation)>(
        [this](Done done, Input of_call, Deadline until, Caller by) {
          begin(std::move(of_call), until, std::move(by), std::move(done));
        },
        token, std::move(input), deadline, std::move(caller));
  }
  // The same as a coroutine. With g++ 12 name the input first and move it in: that compiler copies
  // temporaries of a co_await expression bit by bit.
  [[nodiscard]] boost::asio::awaitable<Invocation> invoke(Input input,
                                                          Deadline deadline = Deadline::max(),
                                                          Caller caller = {});

  // A call that a front end could not even make of its input: counted and reported as one.
  [[nodiscard]] Invocation refuse(Cause cause, std::optional<isolation::SetupError> setup = {});

  // Later calls are made by this plan; those in flight end by theirs.
  void use_plan(std::shared_ptr<const isolation::Plan> plan);
  // How many calls at a time from now on.
  void resize(std::size_t places);
  // How many sandboxes are kept from now on; see PoolOptions.
  void keep(std::size_t ready, std::size_t sandboxes_max);
  [[nodiscard]] PoolStatus status() const;
  [[nodiscard]] std::size_t waiting() const noexcept;  // For a place.

  // Ends the calls in flight as kShuttingDown; later calls end so at once.
  void stop();
  [[nodiscard]] bool stopping() const noexcept;
  // Kills what still runs and waits for it, and for launches that have begun; see
  // Pool::shut_down().
  [[nodiscard]] boost::asio::awaitable<void> shut_down();

 private:
  using Done = boost::asio::any_completion_handler<void(Invocation)>;
  struct State;
  void begin(Input input, Deadline deadline, Caller caller, Done done);
  std::unique_ptr<State> state_;
};

}  // namespace fnrun::supervisor
