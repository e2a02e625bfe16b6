// The frame codec; see the header for what it promises on hostile bytes.
#include "protocol/frame.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace fnrun::protocol {
namespace {

// The first allocation for a body, when more than this is promised.
constexpr std::size_t kFirstCapacity = 4096;

constexpr unsigned char octet(std::uint32_t value, unsigned shift) {
  return static_cast<unsigned char>((value >> shift) & 0xffU);
}

std::int32_t length_in(const FrameHeader& header) {
  std::uint32_t value = 0;
  for (const char c : header) value = (value << 8) | static_cast<unsigned char>(c);
  return static_cast<std::int32_t>(value);
}

}  // namespace

ErrorOr<FrameHeader> encode_frame_header(std::size_t body_size) {
  if (body_size > kFrameBodyMax)
    return ProtocolError{ErrorCode::kTooLarge,
                         "a frame cannot hold a body of " + std::to_string(body_size) + " bytes"};
  const auto value = static_cast<std::uint32_t>(body_size);
  return FrameHeader{static_cast<char>(octet(value, 24)), static_cast<char>(octet(value, 16)),
                     static_cast<char>(octet(value, 8)), static_cast<char>(octet(value, 0))};
}

ErrorOr<FrameDecoder::Progress> FrameDecoder::feed(std::span<const char> bytes) {
  if (error_) return *error_;
  std::size_t consumed = 0;
  if (header_size_ < kFrameHeaderSize) {
    consumed = std::min(kFrameHeaderSize - header_size_, bytes.size());
    std::copy_n(bytes.begin(), consumed,
                header_.begin() + static_cast<std::ptrdiff_t>(header_size_));
    header_size_ += consumed;
    if (header_size_ < kFrameHeaderSize) return Progress{consumed, false};
    check_header();
    if (error_) return *error_;
  }
  const std::size_t wanted = std::min(body_size_ - body_.size(), bytes.size() - consumed);
  append(bytes.subspan(consumed, wanted));
  return Progress{consumed + wanted, complete()};
}

std::string FrameDecoder::take() {
  assert(complete() && "take() without a complete frame");
  header_size_ = 0;
  body_size_ = 0;
  return std::exchange(body_, {});
}

ProtocolError FrameDecoder::end_of_input() const {
  if (error_) return *error_;
  if (idle()) return {ErrorCode::kEndOfStream, ""};
  if (header_size_ < kFrameHeaderSize)
    return {ErrorCode::kTruncated,
            "the stream ended after " + std::to_string(header_size_) + " bytes of a length"};
  return {ErrorCode::kTruncated, "the stream ended after " + std::to_string(body_.size()) + " of " +
                                     std::to_string(body_size_) + " bytes"};
}

void FrameDecoder::check_header() {
  const std::int32_t length = length_in(header_);
  if (length < 0) {
    error_ = ProtocolError{ErrorCode::kNegativeLength,
                           "a frame length of " + std::to_string(length) + " is negative"};
    return;
  }
  body_size_ = static_cast<std::size_t>(length);
  if (body_size_ > max_body_)
    error_ = ProtocolError{ErrorCode::kTooLarge, "a frame of " + std::to_string(body_size_) +
                                                     " bytes is over the limit of " +
                                                     std::to_string(max_body_)};
}

// A promise is not a payment: 0x7fffffff costs its sender four bytes. Memory doubles as bytes come
// in and never passes what was promised. A new string, because reserve() on a string that holds
// something may round up to twice its size.
void FrameDecoder::append(std::span<const char> bytes) {
  const std::size_t needed = body_.size() + bytes.size();
  if (needed > body_.capacity()) grow(std::max({kFirstCapacity, needed, 2 * body_.capacity()}));
  body_.append(bytes.data(), bytes.size());
}

void FrameDecoder::expect(std::size_t waiting) {
  if (error_) return;
  waiting = std::min(waiting, body_size_ - body_.size());
  if (body_.size() + waiting > body_.capacity()) grow(body_.size() + waiting);
}

void FrameDecoder::grow(std::size_t capacity) {
  std::string bigger;
  bigger.reserve(std::min(body_size_, capacity));
  bigger.append(body_);
  body_.swap(bigger);
}

}  // namespace fnrun::protocol
