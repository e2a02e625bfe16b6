// protobuf's wire format by hand: what it reads and what it refuses is protobuf's own choice.
#include "protocol/wire.h"

#include <algorithm>
#include <array>
#include <limits>

namespace fnrun::protocol::wire {
namespace {

constexpr unsigned char byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

// The length of the well-formed sequence at the start of `text`, 0 when there is none. The ranges
// of the second byte are table 3-7 of the Unicode standard.
std::size_t utf8_sequence(std::string_view text) noexcept {
  const unsigned char lead = byte_at(text, 0);
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;   // Below: overlong.
    if (lead == 0xed) high = 0x9f;  // Above: surrogates.
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;  // Above: past U+10FFFF.
  }
  if (length == 0 || text.size() < length) return 0;
  if (byte_at(text, 1) < low || byte_at(text, 1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if ((byte_at(text, i) & 0xc0U) != 0x80U) return 0;
  return length;
}

}  // namespace

void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>((value & 0x7fU) | 0x80U));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void append_tag(std::string& out, std::uint32_t number, Type type) {
  append_varint(out, (std::uint64_t{number} << 3) | static_cast<std::uint64_t>(type));
}

void append_bytes(std::string& out, std::uint32_t number, std::string_view bytes) {
  if (bytes.empty()) return;
  append_tag(out, number, Type::kBytes);
  append_varint(out, bytes.size());
  out.append(bytes);
}

void append_number(std::string& out, std::uint32_t number, std::uint64_t value) {
  if (value == 0) return;
  append_tag(out, number, Type::kVarint);
  append_varint(out, value);
}

std::optional<std::chrono::nanoseconds> timestamp_to_duration(std::int64_t seconds,
                                                              std::int32_t nanos) noexcept {
  constexpr std::int64_t kPerSecond = 1'000'000'000;
  constexpr std::int64_t kSecondsMax = std::numeric_limits<std::int64_t>::max() / kPerSecond - 1;
  if (nanos < 0 || nanos >= kPerSecond) return std::nullopt;
  return std::chrono::nanoseconds(std::clamp(seconds, -kSecondsMax, kSecondsMax) * kPerSecond +
                                  nanos);
}

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool Reader::next(Field& field) noexcept {
  while (!malformed_ && !rest_.empty()) {
    if (!read_field(field)) return fail();
    if (field.type == Type::kGroupEnd) return fail();  // Ends a group that never began.
    if (field.type != Type::kGroupStart) return true;
    if (!skip_group(field.number)) return fail();
  }
  return false;
}

bool Reader::read_field(Field& field) noexcept {
  std::uint32_t tag = 0;
  if (!read_tag(tag)) return false;
  field = {.number = tag >> 3, .type = static_cast<Type>(tag & 7U), .varint = 0, .bytes = {}};
  if (field.number == 0) return false;
  ++fields_seen_;
  switch (field.type) {
    case Type::kVarint:
      return read_varint(field.varint);
    case Type::kFixed64:
      return skip(8);
    case Type::kFixed32:
      return skip(4);
    case Type::kGroupStart:
    case Type::kGroupEnd:
      return true;
    case Type::kBytes: {
      std::size_t size = 0;
      if (!read_size(size)) return false;
      field.bytes = rest_.substr(0, size);
      return skip(size);
    }
  }
  return false;  // Types 6 and 7 do not exist.
}

// Iterative: the depth is the sender's choice, the stack is ours.
bool Reader::skip_group(std::uint32_t number) noexcept {
  std::array<std::uint32_t, kDepthMax> open{};
  std::size_t depth = 0;
  const auto limit = static_cast<std::size_t>(depth_);
  if (limit == 0) return false;
  open[depth++] = number;
  Field field;
  while (depth > 0) {
    if (!read_field(field)) return false;
    if (field.type == Type::kGroupStart) {
      if (depth == limit) return false;
      open[depth++] = field.number;
    } else if (field.type == Type::kGroupEnd) {
      if (open[--depth] != field.number) return false;
    }
  }
  return true;
}

// Ten bytes at most; bits past the 64th are dropped, as protobuf does.
bool Reader::read_varint(std::uint64_t& value) noexcept {
  value = 0;
  for (unsigned i = 0; i < 10 && i < rest_.size(); ++i) {
    const std::uint64_t byte = byte_at(rest_, i);
    value |= (byte & 0x7fU) << (7 * i);
    if (byte < 0x80) return skip(i + 1);
  }
  return false;
}

// Five bytes at most.
bool Reader::read_tag(std::uint32_t& tag) noexcept {
  std::uint64_t value = 0;
  const std::size_t before = rest_.size();
  if (!read_varint(value) || before - rest_.size() > 5) return false;
  tag = static_cast<std::uint32_t>(value);
  return true;
}

// Five bytes at most, and below 2 GiB.
bool Reader::read_size(std::size_t& size) noexcept {
  std::uint64_t value = 0;
  const std::size_t before = rest_.size();
  if (!read_varint(value) || before - rest_.size() > 5 || value > 0x7fffffffU) return false;
  size = value;
  return size <= rest_.size();
}

bool Reader::skip(std::size_t size) noexcept {
  if (size > rest_.size()) return false;
  rest_.remove_prefix(size);
  return true;
}

}  // namespace fnrun::protocol::wire
