// The yardstick of a warm call: two processes that pass the same bytes to and fro, and nothing
// else.
//
// The peer is a copy of this process as fork(2) makes it, without any isolation; it reads a whole
// message, then writes it back, as a handler does. Blocking reads and writes on both sides. It
// stays on the CPUs that the maker's thread may use at that moment. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "isolation/unique_fd.h"

namespace fnrun::bench {

enum class Carrier : std::uint8_t { kPipes, kSocketPair, kTcp };  // TCP over the loopback.

class RawEcho {
 public:
  // Messages of `size` bytes each; pipes get room for a mebibyte. Throws where it cannot.
  RawEcho(Carrier carrier, std::size_t size);
  RawEcho(const RawEcho&) = delete;
  RawEcho& operator=(const RawEcho&) = delete;
  ~RawEcho();

  // `count` round trips one after the other; adds the microseconds of each to `us`.
  void calls(std::size_t count, std::vector<double>& us);

 private:
  [[noreturn]] static void peer(int in, int out, std::size_t size);

  std::string message_;
  isolation::UniqueFd to_peer_;
  isolation::UniqueFd from_peer_;
  pid_t pid_ = -1;
};

}  // namespace fnrun::bench
