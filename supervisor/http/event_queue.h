// Calls that were accepted and that nobody waits for: Lambda's InvocationType Event.
//
// Each is made once, in the order of arrival, when the function has a place; while it has none, it
// is asked for again and again, and that is no report. In memory only: what waits when the process
// ends is lost, and that is said. Made by the API that accepts events; on the function's executor.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <deque>
#include <memory>

#include "supervisor/http/function.h"

namespace fnrun::supervisor::http {

class EventQueue : public std::enable_shared_from_this<EventQueue> {
 public:
  // Bytes of all that waits for one function.
  static constexpr std::size_t kBytesMax = 256UL * 1024 * 1024;

  EventQueue(std::shared_ptr<Function> function, std::size_t events_max);

  // False: it is full, and the call is the caller's still.
  [[nodiscard]] bool offer(Function::Call& call);
  // Until every event was served, or its end has come (hurry()): what waits then is dropped.
  // Returns how many that were. What is offered later is refused.
  [[nodiscard]] boost::asio::awaitable<std::size_t> finish();
  // It is to have ended by then; the soonest that was said counts.
  void hurry(Deadline end);

  // Those that have found no place among them.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size() + paused_; }

 private:
  boost::asio::awaitable<void> work();
  boost::asio::awaitable<void> serve(Function::Call call);

  std::shared_ptr<Function> function_;
  std::size_t events_max_;
  std::deque<Function::Call> waiting_;
  std::size_t bytes_ = 0;  // Of what waits.
  std::size_t workers_ = 0;
  std::size_t paused_ = 0;  // Workers whose event found no place.
  Deadline end_ = Deadline::max();
  bool finished_ = false;
  boost::asio::steady_timer done_;  // Its wait ends when the last worker does.
};

}  // namespace fnrun::supervisor::http
