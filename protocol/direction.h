// One descriptor of a Channel, and the state of the one operation that may use it.
//
// Internal to channel.cc. Owns the descriptor. Lives on the channel's executor; not thread-safe.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <optional>
#include <utility>

#include "protocol/error.h"

namespace fnrun::protocol {

class Direction {
 public:
  using Wait = boost::asio::posix::descriptor_base::wait_type;

  Direction(const boost::asio::any_io_executor& executor, Wait wait)
      : stream_(executor), wait_(wait) {}
  Direction(const Direction&) = delete;
  Direction& operator=(const Direction&) = delete;
  ~Direction() { close(); }

  // Takes `fd`, also on failure; -1 leaves it closed.
  [[nodiscard]] ErrorOr<void> open(int fd);
  // Gives the descriptor its blocking mode back (others may share it: the shell its terminal).
  void close() noexcept;
  // The same; on a socket, which a second descriptor keeps open, the peer is told as well.
  void close_for_writing() noexcept;

  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  // A regular file: all of it is there from the start.
  [[nodiscard]] bool is_file() const noexcept { return is_file_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

  template <class Token>
  auto async_wait(Token&& token) {
    return stream_.async_wait(wait_, std::forward<Token>(token));
  }
  void stop_waiting() noexcept;

  // An operation begins; ends well; ends with an error, which stays when the place in the stream
  // is lost.
  void begin() noexcept;
  [[nodiscard]] ErrorOr<void> end() noexcept;
  [[nodiscard]] ErrorOr<void> end(const ProtocolError& why, bool place_lost);
  // Ends the operation in flight at its next step.
  void cancel() noexcept;

  std::optional<ProtocolError> error;                // What every further operation returns.
  std::chrono::steady_clock::time_point deadline{};  // Of the wait, while waiting.
  bool waiting = false;
  bool cancelled = false;

 private:
  boost::asio::posix::stream_descriptor stream_;
  Wait wait_;
  int fd_ = -1;
  int flags_before_ = 0;
  bool is_file_ = false;
  bool busy_ = false;
};

}  // namespace fnrun::protocol
