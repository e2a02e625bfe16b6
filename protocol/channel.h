// A channel to a handler: one descriptor to read, one to write, each operation under a deadline.
//
// Not a protocol session: it knows frames and lines, but not which message is due. It owns both
// descriptors, whatever they are: pipes, sockets and terminals are waited for; regular files and
// /dev/null, which epoll refuses, are always ready and are read and written at once. One reader and
// one writer at a time, all on the executor it was given (a strand, when that has threads). Destroy
// it only when no operation is in flight: cancel() and await the operation first.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "protocol/error.h"

namespace fnrun::protocol {

// Writing to a handler that has died must be kPeerClosed, not our death: SIGPIPE is ignored for the
// whole process, unless the program has a handler of its own. Ignoring rather than masking: a mask
// would cost two system calls a write. Both survive exec: whoever launches a handler resets SIGPIPE
// to its default there. adopt() calls this.
void ignore_sigpipe() noexcept;

class [[nodiscard]] Channel {
 public:
  // Absolute and monotonic; the caller gives the same one to every step of an invocation. At or
  // after it nothing is read or written any more: kDeadline, even when bytes are waiting.
  using Deadline = std::chrono::steady_clock::time_point;
  static constexpr Deadline kNoDeadline = Deadline::max();
  static constexpr int kNoFd = -1;

  // Takes both descriptors, also when it fails; they must be two (dup one socket). kNoFd where a
  // direction is not wanted: nothing is ever to be read there, nobody reads what is written.
  // They become non-blocking while the channel lives; pipes grow to 1 MiB if they may.
  [[nodiscard]] static ErrorOr<Channel> adopt(boost::asio::any_io_executor executor, int read_fd,
                                              int write_fd);
  Channel(Channel&&) noexcept;
  Channel& operator=(Channel&&) noexcept;
  ~Channel();

  // All of the buffers, in order, without copying them: they stay the caller's and must live until
  // the end. kPeerClosed when nobody is left to read; kDeadline also when the peer never reads.
  // After a part was written, every later write returns the same error.
  [[nodiscard]] boost::asio::awaitable<ErrorOr<void>> write(
      std::span<const boost::asio::const_buffer> buffers, Deadline deadline);

  // Until the peer has read all that was written: what it writes before it comes to read is then in
  // our pipe, where unsolicited() finds it. The kernel tells nobody that a pipe was emptied, so
  // this looks, at once and then ever more seldom. kPeerClosed when nobody is left to read.
  [[nodiscard]] boost::asio::awaitable<ErrorOr<void>> drain(Deadline deadline);

  // Each returns kEndOfStream when the stream ended before the first byte. After any other error
  // every later read returns it again, for the place in the stream is lost; only kDeadline and
  // kCancelled that came before the first byte can be followed by another read.

  // The body of the next frame. kNegativeLength, kTooLarge, kTruncated.
  [[nodiscard]] boost::asio::awaitable<ErrorOr<std::string>> read_frame(std::size_t max_body,
                                                                        Deadline deadline);
  // The next line, without its '\n'; the last one need not have one. kTooLarge over `max`.
  [[nodiscard]] boost::asio::awaitable<ErrorOr<std::string>> read_line(std::size_t max,
                                                                       Deadline deadline);
  // Whatever is there: at least one byte, at most `max`, which is not 0.
  [[nodiscard]] boost::asio::awaitable<ErrorOr<std::string>> read_some(std::size_t max,
                                                                       Deadline deadline);
  // All there is, "" too. kTooLarge over `max`.
  [[nodiscard]] boost::asio::awaitable<ErrorOr<std::string>> read_to_end(std::size_t max,
                                                                         Deadline deadline);

  // Has the peer sent more than was returned? Looks, never waits. Ask before a request and after
  // the answer: what is there belongs to no one, and must not become the next caller's answer. A
  // peer that sends later can only be caught later; the end of the stream is no output.
  [[nodiscard]] bool unsolicited();

  // The peer sees the end of its input. A write in flight ends with kCancelled.
  void close_write();
  // Ends the operations in flight with kCancelled; none: no effect.
  void cancel();

 private:
  class State;
  explicit Channel(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;  // Shared with nobody; the timer holds a weak one.
};

}  // namespace fnrun::protocol
