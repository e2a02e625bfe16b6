// Messages through protobuf, with the bounds that protobuf itself does not have.
#include "protocol/message.h"

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <boost/system/result.hpp>
#include <map>
#include <optional>
#include <utility>

#include "fnrun.pb.h"
#include "protocol/frame.h"
#include "protocol/wire.h"

namespace fnrun::protocol {
namespace {

using google::protobuf::MessageLite;

// The numbers of the fields that hold messages: the first ones of each.
static_assert(protobuf::ExecutionContext::kStopTimeFieldNumber == 1);
static_assert(protobuf::ExecutionContext::kEnvVarsFieldNumber == 2);
static_assert(protobuf::Result::kEnvVarsFieldNumber == 1);

constexpr std::uint32_t kEventData = protobuf::Event::kDataFieldNumber;
constexpr std::uint32_t kResultLastNested = protobuf::Result::kEnvVarsFieldNumber;
constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

ProtocolError invalid(std::string why) {
  return {ErrorCode::kInvalidMessage, std::move(why)};
}

// protobuf keeps each field that it does not know and each element of a list as an object of its
// own: 6 MiB of two-byte fields become hundreds. So they are counted before it sees them, those of
// the messages within (the fields numbered up to `last_nested`) too.
ErrorOr<void> survey(std::string_view body, std::uint32_t last_nested) {
  if (body.size() > kFrameBodyMax) return invalid("longer than a frame can be");
  std::size_t fields = 0;
  wire::Reader reader(body);
  wire::Field field;
  while (reader.next(field)) {
    if (reader.fields_seen() + fields > kMessageFieldsMax) break;
    if (field.number > last_nested || field.type != wire::Type::kBytes) continue;
    wire::Reader inner(field.bytes, wire::Reader::kDepthMax - 1);
    wire::Field ignored;
    while (inner.next(ignored) && inner.fields_seen() <= kMessageFieldsMax) continue;
    fields += inner.fields_seen();
    if (inner.malformed()) return invalid("a message in the message is not valid protobuf");
  }
  if (reader.malformed()) return invalid("not valid protobuf");
  if (reader.fields_seen() + fields > kMessageFieldsMax)
    return invalid("more than " + std::to_string(kMessageFieldsMax) + " fields");
  return {};
}

// Precondition: survey() found nothing.
ErrorOr<void> parse_surveyed(std::string_view body, MessageLite& message) {
  // A string that is not UTF-8 makes protobuf write to stderr: a handler could fill our log.
  const google::protobuf::LogSilencer silencer;
  if (!message.ParseFromArray(body.data(), static_cast<int>(body.size())))
    return invalid("not valid protobuf, or a string in it is not UTF-8");
  return {};
}

ErrorOr<void> parse(std::string_view body, std::uint32_t last_nested, MessageLite& message) {
  if (auto surveyed = survey(body, last_nested); !surveyed) return surveyed;
  return parse_surveyed(body, message);
}

// Where the one field of this number lies that is worth not being copied; nothing if there is none,
// or several.
struct Place {
  std::size_t field = 0;  // From its tag
  std::size_t bytes = 0;  // and from its content
  std::size_t end = 0;    // to its end.
};
std::optional<Place> find_large(std::string_view body, std::uint32_t number) {
  constexpr std::size_t kLarge = 16 * 1024;
  std::optional<Place> found;
  wire::Reader reader(body);
  wire::Field field;
  for (std::size_t start = 0; reader.next(field); start = body.size() - reader.left()) {
    if (field.number != number || field.type != wire::Type::kBytes) continue;
    if (found || field.bytes.size() < kLarge) return std::nullopt;
    const std::size_t end = body.size() - reader.left();
    found = Place{start, end - field.bytes.size(), end};
  }
  return found;
}

// Length and body in one allocation.
ErrorOr<std::string> frame(const MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  const auto header = encode_frame_header(size);
  if (!header) return header.error();
  std::string out;
  out.reserve(header->size() + size);
  out.append(header->data(), header->size());
  if (!message.AppendToString(&out)) return invalid("protobuf could not encode the message");
  return out;
}

// Checked here, for protobuf itself would write such a string and complain to stderr.
template <class Repeated>
ErrorOr<void> put_env(const std::vector<EnvVar>& env, Repeated& out) {
  out.Reserve(static_cast<int>(env.size()));
  for (const EnvVar& variable : env) {
    if (!wire::is_utf8(variable.name) || !wire::is_utf8(variable.value))
      return invalid("a variable is not UTF-8");
    auto& added = *out.Add();
    added.set_name(variable.name);
    added.set_value(variable.value);
  }
  return {};
}

// A map by content, not a hash table: the names are hostile and std::hash has no secret.
template <class Repeated>
std::vector<EnvVar> take_unique_env(Repeated& in) {
  std::vector<EnvVar> env;
  env.reserve(static_cast<std::size_t>(in.size()));
  std::map<std::string, std::size_t, std::less<>> places;
  for (auto& variable : in) {
    const auto [place, is_new] = places.try_emplace(variable.name(), env.size());
    if (is_new)
      env.push_back({place->first, std::move(*variable.mutable_value())});
    else
      env[place->second].value = std::move(*variable.mutable_value());
  }
  return env;
}

Result to_result(protobuf::Result& message) {
  return {message.status(), std::move(*message.mutable_data()),
          take_unique_env(*message.mutable_envvars())};
}

}  // namespace

ErrorOr<EventHead> encode_event_head(std::size_t data_size) {
  // The tag's one byte, and at most five of length: refused below when the sum is over the limit.
  if (data_size > kFrameBodyMax)
    return ProtocolError{ErrorCode::kTooLarge,
                         "an event cannot carry " + std::to_string(data_size) + " bytes"};
  std::string field;
  if (data_size > 0) {
    wire::append_tag(field, kEventData, wire::Type::kBytes);
    wire::append_varint(field, data_size);
  }
  const auto header = encode_frame_header(field.size() + data_size);
  if (!header) return header.error();
  EventHead head;
  head.size = header->size() + field.size();
  static_assert(kFrameHeaderSize + 1 + 5 <= std::tuple_size_v<decltype(head.bytes)>);
  std::copy(field.begin(), field.end(),
            std::copy(header->begin(), header->end(), head.bytes.begin()));
  return head;
}

ErrorOr<std::string> encode_event(const Event& event) {
  const auto head = encode_event_head(event.data.size());
  if (!head) return head.error();
  std::string out;
  out.reserve(head->size + event.data.size());
  out.append(head->view()).append(event.data);
  return out;
}

ErrorOr<std::string> encode_execution_context(const ExecutionContext& context) {
  protobuf::ExecutionContext message;
  // Rounded down, so that the nanoseconds are never negative, before 1970 either.
  const auto seconds = std::chrono::floor<std::chrono::seconds>(context.stop_time);
  message.mutable_stoptime()->set_seconds(seconds.time_since_epoch().count());
  message.mutable_stoptime()->set_nanos(
      static_cast<std::int32_t>((context.stop_time - seconds).count()));
  if (auto put = put_env(context.env_vars, *message.mutable_envvars()); !put) return put.error();
  return frame(message);
}

ErrorOr<std::string> encode_result(const Result& result) {
  protobuf::Result message;
  message.set_status(result.status);
  message.set_data(result.data);
  if (auto put = put_env(result.env, *message.mutable_envvars()); !put) return put.error();
  return frame(message);
}

ErrorOr<Event> parse_event(std::string_view body) {
  protobuf::Event message;
  if (auto parsed = parse(body, /*last_nested=*/0, message); !parsed) return parsed.error();
  return Event{std::move(*message.mutable_data())};
}

ErrorOr<ExecutionContext> parse_execution_context(std::string_view body) {
  protobuf::ExecutionContext message;
  if (auto parsed = parse(body, protobuf::ExecutionContext::kEnvVarsFieldNumber, message); !parsed)
    return parsed.error();
  if (!message.has_stoptime()) return invalid("no stop time");
  const auto& stop = message.stoptime();
  const auto since_epoch = wire::timestamp_to_duration(stop.seconds(), stop.nanos());
  if (!since_epoch) return invalid("a stop time out of range");
  ExecutionContext context;
  context.stop_time += *since_epoch;
  for (auto& variable : *message.mutable_envvars())
    context.env_vars.push_back(
        {std::move(*variable.mutable_name()), std::move(*variable.mutable_value())});
  return context;
}

ErrorOr<Result> parse_result(std::string_view body) {
  protobuf::Result message;
  if (auto parsed = parse(body, kResultLastNested, message); !parsed) return parsed.error();
  return to_result(message);
}

ErrorOr<Result> take_result(std::string body) {
  const auto data = find_large(body, protobuf::Result::kDataFieldNumber);
  if (!data) return parse_result(body);
  if (auto surveyed = survey(body, kResultLastNested); !surveyed) return surveyed.error();
  protobuf::Result message;
  const std::string others = body.substr(0, data->field) + body.substr(data->end);
  if (auto parsed = parse_surveyed(others, message); !parsed) return parsed.error();
  Result result = to_result(message);
  body.resize(data->end);
  body.erase(0, data->bytes);
  result.data = std::move(body);
  return result;
}

}  // namespace fnrun::protocol
