// The frame: four bytes of length (signed, big endian), then that many bytes of body.
//
// A pure codec over spans: no descriptors, no messages. The bytes come from a hostile handler, so
// the decoder is total (any bytes, cut anywhere), refuses a length before it allocates for it, and
// never holds more than about twice what it has received, or was told is waiting. Not thread-safe;
// one stream owns one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "protocol/error.h"

namespace fnrun::protocol {

inline constexpr std::size_t kFrameHeaderSize = 4;
inline constexpr std::size_t kFrameBodyMax = 0x7fffffff;  // What the signed length can say.

using FrameHeader = std::array<char, kFrameHeaderSize>;

// kTooLarge over kFrameBodyMax.
[[nodiscard]] ErrorOr<FrameHeader> encode_frame_header(std::size_t body_size);

class FrameDecoder {
 public:
  // Bodies over `max_body` are refused.
  explicit FrameDecoder(std::size_t max_body) noexcept : max_body_(max_body) {}

  struct Progress {
    std::size_t consumed = 0;  // How much of the input belongs to this frame.
    bool complete = false;     // take() it before feeding the rest.
  };
  // Goes on from wherever the last call stopped. kNegativeLength, kTooLarge; after an error every
  // call returns the same error, for nobody can say where the next frame would begin.
  [[nodiscard]] ErrorOr<Progress> feed(std::span<const char> bytes);

  // So many bytes more are known to have come, and will be fed next: room for them is made at once,
  // not by doubling.
  void expect(std::size_t waiting);

  // The body of the complete frame; the decoder is idle again. Precondition: feed() said complete.
  [[nodiscard]] std::string take();

  // Between two frames: not one byte of the next has come.
  [[nodiscard]] bool idle() const noexcept { return header_size_ == 0 && !error_; }
  // What the end of the input means now: kEndOfStream when idle, kTruncated inside a frame.
  [[nodiscard]] ProtocolError end_of_input() const;

  // Bytes held for the body, used or not: what the tests bound.
  [[nodiscard]] std::size_t capacity() const noexcept { return body_.capacity(); }

 private:
  [[nodiscard]] bool complete() const noexcept {
    return header_size_ == kFrameHeaderSize && body_.size() == body_size_;
  }
  void check_header();
  void append(std::span<const char> bytes);
  void grow(std::size_t capacity);

  std::size_t max_body_;
  FrameHeader header_{};
  std::size_t header_size_ = 0;  // Bytes of header_ received.
  std::size_t body_size_ = 0;    // As promised; valid once the header is whole.
  std::string body_;
  std::optional<ProtocolError> error_;
};

}  // namespace fnrun::protocol
