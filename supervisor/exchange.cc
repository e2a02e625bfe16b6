#include "supervisor/exchange.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "protocol/frame.h"
#include "protocol/message.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using protocol::Channel;
using protocol::ErrorCode;
using protocol::ProtocolError;

Exchanged failed(Cause cause, std::string detail) {
  return {cause, std::move(detail), std::nullopt};
}

// An error of the channel as a cause. That the stream ended says only that somebody looks
// elsewhere: why it ended stands in the handler's wait status.
Exchanged failed(const ProtocolError& error) {
  switch (error.code) {
    case ErrorCode::kDeadline:
      return failed(Cause::kDeadline, "");
    case ErrorCode::kCancelled:
      return failed(Cause::kCancelled, "");
    case ErrorCode::kNegativeLength:
      return failed(Cause::kNegativeLength, error.detail);
    case ErrorCode::kTooLarge:
      return failed(Cause::kTooLarge, error.detail);
    case ErrorCode::kInvalidMessage:
      return failed(Cause::kInvalidMessage, error.detail);
    case ErrorCode::kTruncated:
    case ErrorCode::kEndOfStream:
    case ErrorCode::kPeerClosed:
      return failed(Cause::kHandlerEnded, error.to_string());
    case ErrorCode::kIo:
      break;
  }
  return failed(Cause::kIo, error.detail);
}

// The handler's stopTime is wall clock, for its information; our own deadline never is.
std::chrono::sys_time<std::chrono::nanoseconds> stop_time(Deadline deadline) {
  const auto left = deadline - std::chrono::steady_clock::now();
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::nanoseconds>(left);
}

// Writes the beginning of the question and waits until it was read. Nothing: go on.
asio::awaitable<std::optional<Exchanged>> get_heard(Channel& channel, std::string_view beginning,
                                                    const StillFit& still_fit, Deadline deadline) {
  const std::array<asio::const_buffer, 1> parts{asio::buffer(beginning)};
  auto heard = co_await channel.write(parts, deadline);
  if (heard) heard = co_await channel.drain(deadline);
  Exchanged why;
  if (!heard) {
    why = failed(heard.error());
    why.asked = why.cause == Cause::kDeadline || why.cause == Cause::kCancelled;
  } else if (channel.unsolicited()) {
    why = failed(Cause::kUnsolicited, "the handler wrote to its stdout before it was asked");
    why.asked = false;
  } else if (!still_fit()) {
    why = failed(Cause::kUnsolicited, "an earlier call left something behind after its answer");
    why.asked = false;
  } else {
    co_return std::nullopt;
  }
  co_return why;
}

asio::awaitable<Exchanged> exchange_frames(Channel& channel, const Input& input,
                                           ExchangeLimits limits, Deadline deadline,
                                           const StillFit& still_fit) {
  const auto head = protocol::encode_event_head(input.data.size());
  if (!head) co_return failed(Cause::kRequestTooLarge, head.error().detail);
  const protocol::ExecutionContext context{stop_time(deadline), input.env};
  const auto tail = protocol::encode_execution_context(context);
  if (!tail) co_return failed(Cause::kSetup, tail.error().detail);
  std::string_view beginning = head->view();
  if (still_fit) {
    if (auto why = co_await get_heard(channel, beginning.substr(0, protocol::kFrameHeaderSize),
                                      still_fit, deadline))
      co_return std::move(*why);
    beginning.remove_prefix(protocol::kFrameHeaderSize);
  }
  const std::array<asio::const_buffer, 3> parts{asio::buffer(beginning), asio::buffer(input.data),
                                                asio::buffer(*tail)};
  const auto written = co_await channel.write(parts, deadline);
  if (!written) co_return failed(written.error());
  auto body = co_await channel.read_frame(limits.response_max, deadline);
  if (!body) co_return failed(body.error());
  auto result = protocol::take_result(std::move(*body));
  if (!result) co_return failed(result.error());
  co_return Exchanged{Cause::kAnswered, "", std::move(*result)};
}

asio::awaitable<Exchanged> exchange_line(Channel& channel, const Input& input,
                                         ExchangeLimits limits, Deadline deadline,
                                         const StillFit& still_fit) {
  // Programs end their output with a newline, and that one is the line's own.
  std::string_view line_in = input.data;
  if (line_in.ends_with('\n')) line_in.remove_suffix(1);
  if (line_in.find('\n') != std::string_view::npos)
    co_return failed(
        Cause::kSetup,
        "an event of several lines cannot be given to a handler that reads one line a call");
  if (still_fit && !line_in.empty()) {
    if (auto why = co_await get_heard(channel, line_in.substr(0, 1), still_fit, deadline))
      co_return std::move(*why);
    line_in.remove_prefix(1);
  }
  const std::array<asio::const_buffer, 2> parts{asio::buffer(line_in), asio::buffer("\n", 1)};
  const auto written = co_await channel.write(parts, deadline);
  if (!written) co_return failed(written.error());
  auto line = co_await channel.read_line(limits.response_max, deadline);
  if (!line) co_return failed(line.error());
  protocol::Result result;
  result.data = std::move(*line);
  co_return Exchanged{Cause::kAnswered, "", std::move(result)};
}

asio::awaitable<protocol::ErrorOr<void>> write_all_and_close(Channel& channel, const Input& input,
                                                             Deadline deadline) {
  const std::array<asio::const_buffer, 1> parts{asio::buffer(input.data)};
  auto written = co_await channel.write(parts, deadline);
  channel.close_write();
  co_return written;
}

asio::awaitable<protocol::ErrorOr<std::string>> read_all(Channel& channel, std::size_t max,
                                                         Deadline deadline) {
  auto answer = co_await channel.read_to_end(max, deadline);
  if (!answer) channel.close_write();  // Ends the writer too; there is nothing left to wait for.
  co_return answer;
}

// Both ways at once: a filter answers while it is still being written to. A handler that leaves its
// stdin unread (`head -n 1`) is no failure.
asio::awaitable<Exchanged> exchange_process(Channel& channel, const Input& input,
                                            ExchangeLimits limits, Deadline deadline) {
  const auto executor = co_await asio::this_coro::executor;
  auto writer =
      asio::co_spawn(executor, write_all_and_close(channel, input, deadline), asio::deferred);
  auto reader =
      asio::co_spawn(executor, read_all(channel, limits.response_max, deadline), asio::deferred);
  auto both = asio::experimental::make_parallel_group(std::move(writer), std::move(reader));
  auto [order, writer_threw, written, reader_threw, answer] =
      co_await std::move(both).async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
  if (writer_threw || reader_threw) co_return failed(Cause::kIo, "out of memory");
  if (!answer) co_return failed(answer.error());
  if (!written && written.error().code == ErrorCode::kDeadline) co_return failed(written.error());
  protocol::Result result;
  result.data = std::move(*answer);
  co_return Exchanged{Cause::kAnswered, "", std::move(result)};
}

}  // namespace

asio::awaitable<Exchanged> exchange(HandlerProtocol how, Channel& channel, const Input& input,
                                    ExchangeLimits limits, Deadline deadline,
                                    const StillFit& still_fit) {
  if (input.data.size() > limits.request_max)
    co_return failed(Cause::kRequestTooLarge, std::to_string(input.data.size()) +
                                                  " bytes, the policy's limit is " +
                                                  std::to_string(limits.request_max));
  if (how == HandlerProtocol::kExec)
    co_return co_await exchange_process(channel, input, limits, deadline);
  // Not a conditional expression: g++ 12 copies its coroutine temporaries bit by bit.
  Exchanged done;
  if (how == HandlerProtocol::kFnrun) {
    done = co_await exchange_frames(channel, input, limits, deadline, still_fit);
  } else {
    done = co_await exchange_line(channel, input, limits, deadline, still_fit);
  }
  if (done.cause == Cause::kAnswered && channel.unsolicited())
    co_return failed(Cause::kUnsolicited, "the handler wrote to its stdout after its answer");
  co_return done;
}

}  // namespace fnrun::supervisor
