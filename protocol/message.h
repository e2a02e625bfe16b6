// Messages to and from their bytes, at the supervisor's end; protobuf does the work, behind here.
//
// encode_…() gives a whole frame, length included; parse_…() takes the body of one. Parsing is
// total: whatever a handler sends is a message or kInvalidMessage, in memory bounded by the body's
// size and kMessageFieldsMax. Pure functions; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "protocol/error.h"
#include "protocol/message_types.h"

namespace fnrun::protocol {

// What goes before the payload of an Event on the wire. A payload may be megabytes: it is never
// copied to be framed, it follows its head in the same scatter write.
struct EventHead {
  std::array<char, 16> bytes{};
  std::size_t size = 0;
  [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), size}; }
};
// kTooLarge when the frame could not say its length.
[[nodiscard]] ErrorOr<EventHead> encode_event_head(std::size_t data_size);

// Head and payload in one string, for small payloads and tests.
[[nodiscard]] ErrorOr<std::string> encode_event(const Event& event);
// kInvalidMessage when a variable is not UTF-8: no handler's protobuf would accept it.
[[nodiscard]] ErrorOr<std::string> encode_execution_context(const ExecutionContext& context);
[[nodiscard]] ErrorOr<std::string> encode_result(const Result& result);

[[nodiscard]] ErrorOr<Event> parse_event(std::string_view body);
// A context without a stop time is invalid: there is no invocation without a deadline.
[[nodiscard]] ErrorOr<ExecutionContext> parse_execution_context(std::string_view body);
[[nodiscard]] ErrorOr<Result> parse_result(std::string_view body);
// The same, and megabytes of data are not copied: they stay where they are.
[[nodiscard]] ErrorOr<Result> take_result(std::string body);

}  // namespace fnrun::protocol
