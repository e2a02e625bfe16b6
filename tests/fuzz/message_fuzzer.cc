// Fuzzes the message parsers of both ends: any bytes are a message or an error, a message survives
// being written and read again, and the handler's parser agrees with protobuf's on all of it.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "protocol/frame.h"
#include "protocol/handler_codec.h"
#include "protocol/message.h"

namespace {
using namespace fnrun::protocol;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string_view body_of(std::string_view frame) {
  return frame.substr(kFrameHeaderSize);
}

void event(std::string_view body) {
  const auto parsed = parse_event(body);
  const auto by_hand = handler_codec::parse_event(body);
  require(parsed.has_value() == by_hand.has_value());
  if (!parsed) return require(parsed.error().code == ErrorCode::kInvalidMessage);
  require(*parsed == *by_hand);
  const std::string written = encode_event(*parsed).value();
  require(parse_event(body_of(written)).value() == *parsed);
}

void execution_context(std::string_view body) {
  const auto parsed = parse_execution_context(body);
  const auto by_hand = handler_codec::parse_execution_context(body);
  require(parsed.has_value() == by_hand.has_value());
  if (!parsed) return require(parsed.error().code == ErrorCode::kInvalidMessage);
  require(*parsed == *by_hand);
  const std::string written = encode_execution_context(*parsed).value();
  require(parse_execution_context(body_of(written)).value() == *parsed);
}

void result(std::string_view body) {
  const auto parsed = parse_result(body);
  const auto taken = take_result(std::string(body));
  require(taken.has_value() == parsed.has_value());
  if (taken) require(*taken == *parsed);
  if (!parsed) return require(parsed.error().code == ErrorCode::kInvalidMessage);
  std::set<std::string_view> names;
  for (const EnvVar& variable : parsed->env) require(names.insert(variable.name).second);
  const std::string written = encode_result(*parsed).value();
  require(parse_result(body_of(written)).value() == *parsed);
  const auto envelope = handler_codec::encode_result(*parsed).value();
  require(envelope.head + parsed->data + envelope.tail == written);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: char may alias anything.
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  event(body);
  execution_context(body);
  result(body);
  return 0;
}
