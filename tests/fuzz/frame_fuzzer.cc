// Fuzzes FrameDecoder: the same bytes give the same frames and the same end however they are cut,
// and memory follows the bytes that came, not those that were promised.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "protocol/frame.h"

namespace {
using fnrun::protocol::ErrorCode;
using fnrun::protocol::FrameDecoder;

// What a stream says: its frames and how it ends.
struct Said {
  std::vector<std::string> bodies;
  ErrorCode end{};
  bool operator==(const Said&) const = default;
};

void require(bool condition) {
  if (!condition) std::abort();
}

// Feeds one piece; false after an error.
bool feed(FrameDecoder& decoder, std::span<const char> piece, std::size_t received, Said& said) {
  do {
    const auto progress = decoder.feed(piece);
    require(decoder.capacity() <= std::max<std::size_t>(4096, 2 * received));
    if (!progress) return false;
    require(progress->consumed <= piece.size());
    piece = piece.subspan(progress->consumed);
    if (!progress->complete) require(piece.empty());
    if (progress->complete) said.bodies.push_back(decoder.take());
  } while (!piece.empty());
  return true;
}

Said decode(std::span<const char> bytes, std::size_t cut, std::size_t step, std::size_t max_body) {
  FrameDecoder decoder(max_body);
  Said said;
  std::size_t at = std::min(cut, bytes.size());
  bool going = feed(decoder, bytes.first(at), at, said);
  while (going && at < bytes.size()) {
    const std::size_t size = std::min(step, bytes.size() - at);
    going = feed(decoder, bytes.subspan(at, size), at + size, said);
    at += size;
  }
  said.end = decoder.end_of_input().code;
  return said;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kCutsMax = 16;  // Beyond, every cut would make a run quadratic.
  // SAFETY: char may alias anything.
  const std::span bytes(reinterpret_cast<const char*>(data), size);
  for (const std::size_t max_body : {std::size_t{16}, SIZE_MAX}) {
    const Said whole = decode(bytes, 0, size + 1, max_body);
    require(whole == decode(bytes, 0, 1, max_body));
    for (std::size_t cut = 1; cut < std::min(size, kCutsMax); ++cut)
      require(whole == decode(bytes, cut, size, max_body));
    // What was read is what is written, up to where the stream went wrong.
    std::string written;
    for (const std::string& body : whole.bodies) {
      const auto header = fnrun::protocol::encode_frame_header(body.size()).value();
      written.append(header.data(), header.size()).append(body);
    }
    require(written.size() <= size && std::equal(written.begin(), written.end(), bytes.begin()));
  }
  return 0;
}
