// The fnrun protocol by hand, for handlers that mean to get it wrong: nothing of ours stands
// between them and the wire. Each leaves with kBroken when its own work fails. Header only; one
// thread.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

inline constexpr int kBroken = 99;

[[noreturn]] inline void pause_for_ever() {
  for (;;) pause();
}

inline void put(int fd, const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + sent, bytes.size() - sent);
    if (n <= 0) _exit(kBroken);
    sent += static_cast<size_t>(n);
  }
}
inline void say(const std::string& text) {
  put(2, text + "\n");
}

// Exactly `size` bytes of stdin; leaves quietly when it ends.
inline std::string take(size_t size) {
  std::string bytes(size, '\0');
  for (size_t got = 0; got < size;) {
    const ssize_t n = read(0, bytes.data() + got, size - got);
    if (n <= 0) _exit(n == 0 ? 0 : kBroken);
    got += static_cast<size_t>(n);
  }
  return bytes;
}
inline std::string take_frame() {
  uint32_t size = 0;
  for (const char byte : take(4)) size = size << 8 | static_cast<unsigned char>(byte);
  return take(size);
}

struct Request {
  std::string event;
  std::string context;
};
inline Request take_request() {
  Request request;
  request.event = take_frame();
  request.context = take_frame();
  return request;
}
// The payload: all behind field 1's tag and length.
inline std::string data_of(const std::string& event) {
  size_t at = 1;
  while (at < event.size() && (event[at] & 0x80) != 0) ++at;
  return at < event.size() ? event.substr(at + 1) : "";
}

inline std::string length(uint32_t size) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(size >> shift);
  return bytes;
}
inline std::string varint(size_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}
inline std::string result(const std::string& data) {
  const std::string body = "\x12" + varint(data.size()) + data;
  return length(static_cast<uint32_t>(body.size())) + body;
}
