// How a handler is spoken to: one word, for whoever chooses it and whoever does it.
//
// Not the speaking itself (exchange.h). A value; any thread.
#pragma once

#include <cstdint>

namespace fnrun::supervisor {

enum class HandlerProtocol : std::uint8_t {
  kFnrun,  // Frames of protobuf, any number of calls one after another.
  kLines,  // A line in, a line out, any number of times.
  kExec,   // A process for each call: data on stdin, answer on stdout, status by exit code.
};

}  // namespace fnrun::supervisor
