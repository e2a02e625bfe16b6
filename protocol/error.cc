// Names and texts of the errors.
#include "protocol/error.h"

#include <stdexcept>

namespace fnrun::protocol {

const char* name_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kNegativeLength:
      return "negative_length";
    case ErrorCode::kTooLarge:
      return "too_large";
    case ErrorCode::kTruncated:
      return "truncated";
    case ErrorCode::kInvalidMessage:
      return "invalid_message";
    case ErrorCode::kEndOfStream:
      return "end_of_stream";
    case ErrorCode::kPeerClosed:
      return "peer_closed";
    case ErrorCode::kDeadline:
      return "deadline";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kIo:
      return "io";
  }
  return "?";
}

std::string ProtocolError::to_string() const {
  return detail.empty() ? name_of(code) : std::string(name_of(code)) + ": " + detail;
}

void throw_exception_from_error(const ProtocolError& error, const boost::source_location& where) {
  throw std::runtime_error(error.to_string() + " (" + where.file_name() + ":" +
                           std::to_string(where.line()) + ")");
}

}  // namespace fnrun::protocol
