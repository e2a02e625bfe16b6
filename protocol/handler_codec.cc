// The handler's end of the messages, without protobuf.
#include "protocol/handler_codec.h"

#include <utility>

#include "protocol/frame.h"
#include "protocol/wire.h"

namespace fnrun::protocol::handler_codec {
namespace {

using wire::Field;
using wire::Reader;
using wire::Type;

// The numbers of fnrun.proto and of google.protobuf.Timestamp.
constexpr std::uint32_t kEventData = 1;
constexpr std::uint32_t kContextStopTime = 1;
constexpr std::uint32_t kContextEnvVars = 2;
constexpr std::uint32_t kResultEnvVars = 1;
constexpr std::uint32_t kResultData = 2;
constexpr std::uint32_t kResultStatus = 3;
constexpr std::uint32_t kEnvName = 1;
constexpr std::uint32_t kEnvValue = 2;
constexpr std::uint32_t kTimestampSeconds = 1;
constexpr std::uint32_t kTimestampNanos = 2;

constexpr int kInnerDepth = Reader::kDepthMax - 1;

struct Timestamp {
  std::int64_t seconds = 0;
  std::int32_t nanos = 0;
};

ProtocolError invalid(const char* why) {
  return {ErrorCode::kInvalidMessage, why};
}

bool is(const Field& field, std::uint32_t number, Type type) {
  return field.number == number && field.type == type;
}

// Fields merge into what an earlier occurrence said, as protobuf has it.
bool merge(std::string_view bytes, Timestamp& out, std::size_t& fields) {
  Reader reader(bytes, kInnerDepth);
  Field field;
  while (reader.next(field)) {
    if (is(field, kTimestampSeconds, Type::kVarint))
      out.seconds = static_cast<std::int64_t>(field.varint);
    if (is(field, kTimestampNanos, Type::kVarint))
      out.nanos = static_cast<std::int32_t>(field.varint);
  }
  fields += reader.fields_seen();
  return !reader.malformed();
}

bool read(std::string_view bytes, EnvVar& out, std::size_t& fields) {
  Reader reader(bytes, kInnerDepth);
  Field field;
  while (reader.next(field)) {
    std::string* target = nullptr;
    if (is(field, kEnvName, Type::kBytes)) target = &out.name;
    if (is(field, kEnvValue, Type::kBytes)) target = &out.value;
    if (target == nullptr) continue;
    if (!wire::is_utf8(field.bytes)) return false;
    target->assign(field.bytes);
  }
  fields += reader.fields_seen();
  return !reader.malformed();
}

ErrorOr<std::chrono::nanoseconds> to_duration(const Timestamp& stop) {
  const auto since_epoch = wire::timestamp_to_duration(stop.seconds, stop.nanos);
  if (!since_epoch) return invalid("a stop time out of range");
  return *since_epoch;
}

std::string encode_env(const EnvVar& variable) {
  std::string out;
  wire::append_bytes(out, kEnvName, variable.name);
  wire::append_bytes(out, kEnvValue, variable.value);
  return out;
}

}  // namespace

ErrorOr<Event> parse_event(std::string_view body) {
  Event event;
  Reader reader(body);
  Field field;
  std::string_view data;
  while (reader.next(field))
    if (is(field, kEventData, Type::kBytes)) data = field.bytes;
  if (reader.malformed()) return invalid("the event is not valid protobuf");
  if (reader.fields_seen() > kMessageFieldsMax) return invalid("too many fields");
  event.data.assign(data);
  return event;
}

ErrorOr<ExecutionContext> parse_execution_context(std::string_view body) {
  ExecutionContext context;
  Timestamp stop;
  bool has_stop = false;
  std::size_t fields = 0;
  Reader reader(body);
  Field field;
  while (reader.next(field)) {
    bool good = true;
    if (is(field, kContextStopTime, Type::kBytes)) {
      has_stop = true;
      good = merge(field.bytes, stop, fields);
    } else if (is(field, kContextEnvVars, Type::kBytes)) {
      good = read(field.bytes, context.env_vars.emplace_back(), fields);
    }
    if (!good) return invalid("the execution context is not valid protobuf");
    if (reader.fields_seen() + fields > kMessageFieldsMax) return invalid("too many fields");
  }
  if (reader.malformed()) return invalid("the execution context is not valid protobuf");
  if (!has_stop) return invalid("no stop time");
  const auto duration = to_duration(stop);
  if (!duration) return duration.error();
  context.stop_time += *duration;
  return context;
}

ErrorOr<ResultEnvelope> encode_result(const Result& result) {
  std::string fields;
  for (const EnvVar& variable : result.env) {
    if (!wire::is_utf8(variable.name) || !wire::is_utf8(variable.value))
      return invalid("a variable of the result is not UTF-8");
    const std::string encoded = encode_env(variable);
    wire::append_tag(fields, kResultEnvVars, Type::kBytes);
    wire::append_varint(fields, encoded.size());  // Written even when 0: an empty element counts.
    fields.append(encoded);
  }
  if (!result.data.empty()) {
    wire::append_tag(fields, kResultData, Type::kBytes);
    wire::append_varint(fields, result.data.size());
  }
  ResultEnvelope envelope;
  // An int32 is written as 64 bits with its sign: -1 takes ten bytes.
  wire::append_number(envelope.tail, kResultStatus,
                      static_cast<std::uint64_t>(std::int64_t{result.status}));
  const auto header =
      encode_frame_header(fields.size() + result.data.size() + envelope.tail.size());
  if (!header) return header.error();
  envelope.head.reserve(header->size() + fields.size());
  envelope.head.append(header->data(), header->size()).append(fields);
  return envelope;
}

}  // namespace fnrun::protocol::handler_codec
