// One question and one answer with a handler that is running: the three ways to speak to it.
//
// Knows channels and messages; knows neither sandboxes nor what a failure means (outcome.h
// decides). Coroutines on the channel's executor; one exchange at a time for a channel.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "protocol/channel.h"
#include "protocol/message_types.h"
#include "supervisor/handler_protocol.h"
#include "supervisor/outcome.h"

namespace fnrun::supervisor {

// A point on the monotonic clock; a timeout is a duration, a deadline is not.
using Deadline = std::chrono::steady_clock::time_point;

struct Input {
  std::string data;
  std::vector<protocol::EnvVar> env;
};

struct ExchangeLimits {
  std::size_t request_max = 0;   // Bytes of the data.
  std::size_t response_max = 0;  // Bytes of a frame's body, a line, or all of stdout.
};

// Asked of a handler that served others, once it has read that a question is coming (the length of
// the event's frame, or the first byte of its line) and before it can know which. What it did
// before it came to read is then there to be seen: a second answer is in the pipe, a process that
// it started exists. False: it is not to be asked. Empty: the question is put at once, a turn of
// the handler's sooner.
using StillFit = std::function<bool()>;

// What it came to. With kAnswered there is a result; for kExec its status is still open until the
// process has ended. kRequestTooLarge and kSetup (a request that this protocol cannot carry, said
// in `detail`) leave the handler untouched: nothing was written.
struct Exchanged {
  Cause cause{};
  std::string detail;
  std::optional<protocol::Result> result;
  // False: it ended, or spoke, before it could know the question; another sandbox may be asked.
  bool asked = true;
};

// One deadline for writing and reading together. `input` and `still_fit` are borrowed until the
// end. But for kExec: the channel was just found silent (Channel::unsolicited()), for what is there
// before the question belongs to nobody, and must not become this caller's answer.
[[nodiscard]] boost::asio::awaitable<Exchanged> exchange(HandlerProtocol how,
                                                         protocol::Channel& channel,
                                                         const Input& input, ExchangeLimits limits,
                                                         Deadline deadline,
                                                         const StillFit& still_fit);

}  // namespace fnrun::supervisor
