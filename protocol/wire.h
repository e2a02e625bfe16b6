// The few primitives of protobuf's wire format that are needed where protobuf itself is not used:
// the heads of big messages, the handler's side, and the survey of hostile bytes before a parse.
//
// Total on any bytes; accepts and refuses what protobuf 3.21 does (message_fuzzer holds the two
// together). Values and views: a Reader borrows its bytes. Any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fnrun::protocol::wire {

enum class Type : std::uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kBytes = 2,
  kGroupStart = 3,
  kGroupEnd = 4,
  kFixed32 = 5,
};

void append_varint(std::string& out, std::uint64_t value);
void append_tag(std::string& out, std::uint32_t number, Type type);
// Tag, length, bytes; nothing at all for empty bytes, as proto3 writes them.
void append_bytes(std::string& out, std::uint32_t number, std::string_view bytes);
// Tag and value; nothing at all for 0.
void append_number(std::string& out, std::uint32_t number, std::uint64_t value);

// As proto3 demands of `string`: no surrogates, no overlong forms, nothing past U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

// A google.protobuf.Timestamp as a count of nanoseconds; nothing where nanos is not one. Narrower
// than Timestamp's own range: 64 bits of nanoseconds end in 2262 and begin in 1677. What lies
// beyond (Go's zero time, year 9999) means "long ago" and "never", and becomes the nearest that
// there is.
[[nodiscard]] std::optional<std::chrono::nanoseconds> timestamp_to_duration(
    std::int64_t seconds, std::int32_t nanos) noexcept;

struct Field {
  std::uint32_t number = 0;
  Type type{};
  std::uint64_t varint = 0;  // kVarint only.
  std::string_view bytes;    // kBytes only.
};

// Walks the fields of one message. Groups, which no message of ours has, are walked over.
class Reader {
 public:
  // protobuf's default limit on nesting; a message inside another has one level fewer.
  static constexpr int kDepthMax = 100;

  explicit Reader(std::string_view bytes, int depth = kDepthMax) noexcept
      : rest_(bytes), depth_(depth) {}

  // False at the end of the message, and when what follows is not a field: then malformed().
  [[nodiscard]] bool next(Field& field) noexcept;
  [[nodiscard]] bool malformed() const noexcept { return malformed_; }
  // Bytes that were not yet walked over.
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
  // Fields so far, those inside groups included: each may cost a parser an allocation.
  [[nodiscard]] std::size_t fields_seen() const noexcept { return fields_seen_; }

 private:
  bool fail() noexcept {
    malformed_ = true;
    return false;
  }
  bool read_field(Field& field) noexcept;
  bool skip_group(std::uint32_t number) noexcept;
  bool read_varint(std::uint64_t& value) noexcept;
  bool read_tag(std::uint32_t& tag) noexcept;
  bool read_size(std::size_t& size) noexcept;
  bool skip(std::size_t size) noexcept;

  std::string_view rest_;
  int depth_;
  std::size_t fields_seen_ = 0;
  bool malformed_ = false;
};

}  // namespace fnrun::protocol::wire
