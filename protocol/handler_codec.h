// Messages to and from their bytes, at the handler's end: the same bytes as protocol/message.h,
// without protobuf.
//
// Why by hand: see README.md, "Decisions". A test holds both ends against the same vectors, and
// message_fuzzer against each other on any bytes. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "protocol/error.h"
#include "protocol/message_types.h"

namespace fnrun::protocol::handler_codec {

[[nodiscard]] ErrorOr<Event> parse_event(std::string_view body);
[[nodiscard]] ErrorOr<ExecutionContext> parse_execution_context(std::string_view body);

// What goes before and after Result::data on the wire, so that the data itself is never copied.
struct ResultEnvelope {
  std::string head;
  std::string tail;
};
// kTooLarge; kInvalidMessage when a variable is not UTF-8.
[[nodiscard]] ErrorOr<ResultEnvelope> encode_result(const Result& result);

}  // namespace fnrun::protocol::handler_codec
