// The front ends that take events from a stream and give results to one: all of it, line by line,
// or as the fnrun protocol's own frames.
//
// They turn streams into calls of a Service and answers into bytes; what an outcome means, and its
// exit code, is outcome.h's. Coroutines on the Service's executor; one at a time.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "protocol/channel.h"
#include "supervisor/service.h"

namespace fnrun::supervisor {

struct FrontEndOptions {
  std::size_t request_max = 0;  // The policy's: bounds what is read before a call is made.
  bool exit_by_status = false;  // A single event's exit code is the handler's own (kExec).
  bool answer_errors = false;   // A failed call is answered and the next one served; else we stop.
  std::function<void(const InvocationReport&)> on_report;  // After each call.
  std::function<void(std::string_view message)> complain;  // For people, when we stop early.
};

// Exit codes beside those of outcomes: the stream itself failed.
inline constexpr int kExitInputBroken =
    76;  // EX_PROTOCOL: frames that are none, a result no line holds
inline constexpr int kExitOutputFailed = 74;  // EX_IOERR

// All of the input is one event; the result's data is the output.
[[nodiscard]] boost::asio::awaitable<int> serve_single(Service& service, protocol::Channel& stream,
                                                       const FrontEndOptions& options);

// Each line is an event, each result a line. A failed call, answered, is a line of JSON:
// {"outcome":"timed_out","message":"…"}.
[[nodiscard]] boost::asio::awaitable<int> serve_lines(Service& service, protocol::Channel& stream,
                                                      const FrontEndOptions& options);

// Event and ExecutionContext in, Result out. The deadline is the sooner of stopTime and the
// policy's. A failed call, answered, is a Result with the outcome's HTTP status, its description as
// data and the variable FNRUN_OUTCOME.
[[nodiscard]] boost::asio::awaitable<int> serve_frames(Service& service, protocol::Channel& stream,
                                                       const FrontEndOptions& options);

}  // namespace fnrun::supervisor
