// The handler's side of the protocol: write a function, call serve().
//
//   int main() {
//     return fnrun::protocol::serve([](const auto& event, const auto& context) {
//       return fnrun::protocol::Result{.status = 200, .data = "Hello, " + event.data + "!"};
//     });
//   }
//
// Not for the supervisor. No Asio, no protobuf, no threads: it links into a small static program.
// System calls, beyond what the C library needs to start: read, writev, and once, at the start,
// fcntl(F_DUPFD_CLOEXEC) and dup2. serve() owns descriptors 0 and 1 until it returns, and calls
// the function on the thread that called it.
#pragma once

#include <functional>

#include "protocol/message_types.h"

namespace fnrun::protocol {

using Context = ExecutionContext;
using Handler = std::function<Result(const Event&, const Context&)>;

// What a function that threw answers; Result::data is then the exception's text, which also goes
// to stderr, the handler's log.
inline constexpr std::int32_t kStatusHandlerThrew = 500;

// Answers one event after another until stdin ends; the value is for main() to return:
//   0  stdin ended between two events
//   1  it ended elsewhere, or was not the protocol, or the answer cannot be said; stderr says
//   which.
// When nobody reads the answers any more, SIGPIPE ends the process, as it does any filter.
//
// From the start, and for good, descriptor 1 is stderr and the answers go to a private,
// close-on-exec copy of the real stdout: a stray printf in the function, a library or a child
// process ends up in the log instead of inside a frame, even when stdio holds it back until exit.
//
// Only std::exception is caught. Anything else thrown ends the process, which is the truth: the
// supervisor reports a crash and starts a new one.
[[nodiscard]] int serve(const Handler& handler);

}  // namespace fnrun::protocol
