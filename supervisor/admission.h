// Who may call now, who waits, who is refused: first come, first served, and nobody for ever.
//
// A bounded queue before a fixed number of places. A waiter ends at its own deadline, at the
// caller's cancellation or at the supervisor's stop; a client that has its share is refused at
// once, so that it cannot fill the queue. Knows no sandbox. All on one executor (a strand, when
// that has threads); the coroutines that wait must end before it goes.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "supervisor/exchange.h"

namespace fnrun::supervisor {

struct AdmissionLimits {
  std::size_t places = 1;                 // Calls at a time.
  std::size_t waiting_max = 0;            // Beyond them, in the queue.
  std::size_t per_client_max = 0;         // Calls and waiters of one client; 0: no bound.
  std::chrono::milliseconds wait_max{0};  // 0: until the call's own deadline.
};

class Admission {
 public:
  Admission(boost::asio::any_io_executor executor, AdmissionLimits limits);
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // Nothing: come in, and leave() when done. Otherwise why not: kNoSandboxFree (no place in time,
  // the queue is full, or this client has its share), kCancelled, kShutdown.
  // `client`: whom the share is counted for; "" is a client too. `call`: for cancel().
  [[nodiscard]] boost::asio::awaitable<std::optional<Cause>> enter(std::string client,
                                                                   Deadline deadline,
                                                                   std::uint64_t call = 0);
  void leave(const std::string& client);
  // Its wait ends with kCancelled, if it waits.
  void cancel(std::uint64_t call);

  // More places let waiters in at once; of fewer, those that are taken go when they are left.
  void resize(std::size_t places);
  // Waiters end with kShutdown, and so does everybody who comes.
  void stop();

  [[nodiscard]] std::size_t inside() const noexcept { return inside_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return queue_.size(); }

 private:
  struct Waiter;
  void let_in();
  void forget(const std::string& client);

  boost::asio::any_io_executor executor_;
  AdmissionLimits limits_;
  std::size_t inside_ = 0;
  bool stopped_ = false;
  std::deque<std::shared_ptr<Waiter>> queue_;
  std::map<std::string, std::size_t> of_client_;
};

// leave() on whatever way out.
class Place {
 public:
  Place(Admission& admission, std::string client)
      : admission_(admission), client_(std::move(client)) {}
  ~Place() { admission_.leave(client_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  Admission& admission_;
  std::string client_;
};

}  // namespace fnrun::supervisor
