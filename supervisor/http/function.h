// One named function: its Service, what its calls are called, who is told of them.
//
// What the endpoints of all APIs call. Adds to a Service a name, the times of a request and the end
// of a handler's log; knows no HTTP. Owned by whoever made it, and by calls in flight. On the
// Service's executor.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/service.h"

namespace fnrun::supervisor::http {

// Of a handler's stderr, with the call that it belongs to.
struct HandlerLine {
  std::string_view function;
  std::string_view request_id;  // "" outside of any call.
  std::string_view line;        // Safe to print (stderr_log.h).
};

// Who is told what happens. Each may be empty; none may throw or wait.
struct Observers {
  std::function<void(const HandlerLine&)> line;
  std::function<void(std::string_view function, const InvocationReport&)> report;
  std::function<void(std::string_view function, const PoolEvent&)> event;
};

struct FunctionOptions {
  std::string name;
  std::uint64_t generation = 1;
  ServiceOptions service;  // `log` and `on_event` are set here.
};

class Function : public std::enable_shared_from_this<Function> {
 public:
  // `launcher` and `observers` must outlive it.
  Function(boost::asio::any_io_executor executor, isolation::Launcher& launcher,
           std::shared_ptr<const isolation::Plan> plan, FunctionOptions options,
           const Observers& observers);
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  [[nodiscard]] const boost::asio::any_io_executor& executor() const noexcept { return executor_; }
  [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
  [[nodiscard]] HandlerProtocol protocol() const noexcept { return options_.service.protocol; }
  // Of the reload that made it; 1: there was none.
  [[nodiscard]] std::uint64_t generation() const noexcept { return options_.generation; }
  [[nodiscard]] const policies::Limits& limits() const noexcept { return plan_->policy.limits; }
  [[nodiscard]] const isolation::Plan& plan() const noexcept { return *plan_; }
  [[nodiscard]] Service& service() noexcept { return service_; }
  [[nodiscard]] const Service& service() const noexcept { return service_; }
  [[nodiscard]] const ServiceOptions& options() const noexcept { return options_.service; }
  // Calls that were begun and not answered, waiting ones among them.
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

  struct Call {
    Input input;
    Deadline deadline = Deadline::max();
    Caller caller;                             // Its `log` hears the lines beside the observers.
    boost::asio::cancellation_slot cancelled;  // May be no slot.
    bool asks_again = false;                   // If there is no place; then that is no report.
  };
  // Every call is reported once. To be moved in.
  [[nodiscard]] boost::asio::awaitable<Invocation> call(Call call);

  // A call that was none: counted and reported as one.
  [[nodiscard]] Invocation refuse(Cause cause, std::string request_id);
  // A line beside the handler's own, to the observers.
  void say(std::string_view request_id, std::string_view line) const;

  // What a handler that answered says of itself: its own exit code, or its own status.
  [[nodiscard]] bool failed(const protocol::Result& result) const noexcept;

  // A call is on its way: retire() waits as long as this is kept.
  [[nodiscard]] std::shared_ptr<void> hold();
  // Until nobody holds it, or its end has come; see hurry().
  [[nodiscard]] boost::asio::awaitable<void> released();
  // Until nobody calls any more, or its end has come; then ends the sandboxes. Precondition: no
  // further call comes.
  [[nodiscard]] boost::asio::awaitable<void> retire();
  // It is to have ended by then, whoever calls; the soonest that was said counts.
  void hurry(Deadline end);

 private:
  boost::asio::any_io_executor executor_;
  boost::asio::awaitable<void> change(Deadline latest);

  FunctionOptions options_;
  const Observers& observers_;
  std::shared_ptr<const isolation::Plan> plan_;
  std::size_t in_flight_ = 0;
  std::size_t held_ = 0;
  Deadline end_ = Deadline::max();
  boost::asio::steady_timer changed_;  // Its wait ends when one of these changes.
  Service service_;
};

}  // namespace fnrun::supervisor::http
