// What can go wrong between a supervisor and a handler, as a value.
//
// Not an outcome: the supervisor turns these into outcomes of an invocation once, in its own room.
// Plain values, owned by whoever holds them; any thread.
#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <string>

namespace fnrun::protocol {

enum class ErrorCode : std::uint8_t {
  kNegativeLength,  // A frame says that its body has fewer than no bytes.
  kTooLarge,        // Over the caller's limit, or over what a frame can say.
  kTruncated,       // The stream ended inside a frame.
  kInvalidMessage,  // A whole frame, but not the message that belongs here.
  kEndOfStream,     // The stream ended between two frames: the peer is done, nothing is lost.
  kPeerClosed,      // Nobody is left to read what we write.
  kDeadline,        // The time given to the operation has passed.
  kCancelled,       // cancel(), or the coroutine's own cancellation.
  kIo,              // A system call failed; the detail names it and the errno.
};
[[nodiscard]] const char* name_of(ErrorCode code) noexcept;

struct ProtocolError {
  ErrorCode code{};
  std::string detail;  // For people; never bytes that a handler sent.

  // "too_large: a frame of 7000000 bytes is over the limit of 6291456"
  [[nodiscard]] std::string to_string() const;
};
// boost::system::result wants this for .value(); throws std::runtime_error.
[[noreturn]] void throw_exception_from_error(const ProtocolError& error,
                                             const boost::source_location& where);

// Not named Result: that is a message here.
template <class T>
using ErrorOr = boost::system::result<T, ProtocolError>;

}  // namespace fnrun::protocol
