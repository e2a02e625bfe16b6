#include "supervisor/stdio_front_end.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <nlohmann/json.hpp>

#include "protocol/message.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using protocol::Channel;
using protocol::ErrorCode;
using protocol::ErrorOr;
using protocol::ProtocolError;

// What surrounds an event's data in its frame, and what an ExecutionContext may hold.
constexpr std::size_t kEventOverhead = 64;
constexpr std::size_t kContextMax = 1024 * 1024;
constexpr std::chrono::hours kStopTimeHorizon{24 * 365};

void report(const FrontEndOptions& options, const Invocation& invocation) {
  if (options.on_report) options.on_report(invocation.report);
}

int stop_for(const FrontEndOptions& options, const InvocationReport& ended) {
  if (options.complain)
    options.complain(std::string(name_of(ended.outcome)) + ": " +
                     describe(ended.outcome, ended.evidence));
  return exit_code(ended.outcome, ended.evidence);
}

// Input that no call can be made of ends the stream: the place of the next event is lost with it.
int input_broken(Service& service, const FrontEndOptions& options, const ProtocolError& error) {
  if (error.code == ErrorCode::kCancelled)
    return 0;  // A signal stopped us; it has its own exit code.
  if (error.code == ErrorCode::kTooLarge) {
    const Invocation refused = service.refuse(Cause::kRequestTooLarge);
    report(options, refused);
    return stop_for(options, refused.report);
  }
  if (options.complain) options.complain("the input cannot be read: " + error.to_string());
  return kExitInputBroken;
}

asio::awaitable<bool> put(Channel& stream, std::string_view data, std::string_view end) {
  const std::array<asio::const_buffer, 2> parts{asio::buffer(data), asio::buffer(end)};
  const auto written = co_await stream.write(parts, Channel::kNoDeadline);
  co_return written.has_value();
}

int output_failed(const FrontEndOptions& options) {
  if (options.complain) options.complain("the output cannot be written: nobody reads it");
  return kExitOutputFailed;
}

std::string error_line(const InvocationReport& ended) {
  const nlohmann::json line{{"outcome", name_of(ended.outcome)},
                            {"message", describe(ended.outcome, ended.evidence)}};
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The caller's wall clock against ours, once: from here on the monotonic clock counts.
Deadline deadline_of(const protocol::ExecutionContext& context) {
  const auto now = std::chrono::system_clock::now();
  // Compared before they are subtracted: a stop time centuries away would overflow.
  if (context.stop_time <= now) return std::chrono::steady_clock::now();
  if (context.stop_time >= now + kStopTimeHorizon) return Deadline::max();
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(context.stop_time - now);
}

struct Request {
  protocol::Event event;
  protocol::ExecutionContext context;
};

asio::awaitable<ErrorOr<Request>> read_request(Channel& stream, std::size_t request_max) {
  const auto event_body =
      co_await stream.read_frame(request_max + kEventOverhead, Channel::kNoDeadline);
  if (!event_body) co_return event_body.error();
  auto event = protocol::parse_event(*event_body);
  if (!event) co_return event.error();
  const auto context_body = co_await stream.read_frame(kContextMax, Channel::kNoDeadline);
  if (!context_body) {
    ProtocolError error = context_body.error();
    if (error.code == ErrorCode::kEndOfStream)
      error = {ErrorCode::kTruncated, "an Event without its ExecutionContext"};
    co_return error;
  }
  auto context = protocol::parse_execution_context(*context_body);
  if (!context) co_return context.error();
  co_return Request{std::move(*event), std::move(*context)};
}

protocol::Result error_result(const InvocationReport& ended) {
  protocol::Result result;
  result.status = http_status(ended.outcome, ended.evidence);
  result.data = describe(ended.outcome, ended.evidence);
  result.env.push_back({"FNRUN_OUTCOME", std::string(name_of(ended.outcome))});
  return result;
}

}  // namespace

asio::awaitable<int> serve_single(Service& service, Channel& stream,
                                  const FrontEndOptions& options) {
  auto data = co_await stream.read_to_end(options.request_max, Channel::kNoDeadline);
  if (!data) co_return input_broken(service, options, data.error());
  Input input{std::move(*data), {}};
  auto invocation = co_await service.invoke(std::move(input));
  report(options, invocation);
  if (!invocation.result) co_return stop_for(options, invocation.report);
  const bool written = co_await put(stream, invocation.result->data, "");
  if (!written) co_return output_failed(options);
  co_return options.exit_by_status ? invocation.result->status : 0;
}

asio::awaitable<int> serve_lines(Service& service, Channel& stream,
                                 const FrontEndOptions& options) {
  for (;;) {
    auto line = co_await stream.read_line(options.request_max, Channel::kNoDeadline);
    if (!line && line.error().code == ErrorCode::kEndOfStream) co_return 0;
    if (!line) co_return input_broken(service, options, line.error());
    Input input{std::move(*line), {}};
    auto invocation = co_await service.invoke(std::move(input));
    report(options, invocation);
    if (!invocation.result && (!options.answer_errors || service.stopping()))
      co_return stop_for(options, invocation.report);
    std::string answer =
        invocation.result ? std::move(invocation.result->data) : error_line(invocation.report);
    // Programs end their output with a newline, and that one is the line's own.
    if (answer.ends_with('\n')) answer.pop_back();
    if (answer.find('\n') != std::string::npos) {
      if (options.complain)
        options.complain("the answer has several lines, and --lines has one for each event");
      co_return kExitInputBroken;
    }
    const bool written = co_await put(stream, answer, "\n");
    if (!written) co_return output_failed(options);
  }
}

asio::awaitable<int> serve_frames(Service& service, Channel& stream,
                                  const FrontEndOptions& options) {
  for (;;) {
    auto request = co_await read_request(stream, options.request_max);
    if (!request && request.error().code == ErrorCode::kEndOfStream) co_return 0;
    if (!request) co_return input_broken(service, options, request.error());
    const Deadline deadline = deadline_of(request->context);
    Input input{std::move(request->event.data), std::move(request->context.env_vars)};
    auto invocation = co_await service.invoke(std::move(input), deadline);
    report(options, invocation);
    if (!invocation.result && (!options.answer_errors || service.stopping()))
      co_return stop_for(options, invocation.report);
    const auto frame = protocol::encode_result(invocation.result ? *invocation.result
                                                                 : error_result(invocation.report));
    if (!frame) {
      if (options.complain)
        options.complain("the result cannot be sent: " + frame.error().to_string());
      co_return kExitInputBroken;
    }
    const bool written = co_await put(stream, *frame, "");
    if (!written) co_return output_failed(options);
  }
}

}  // namespace fnrun::supervisor
