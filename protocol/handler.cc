// serve(): a blocking loop over descriptors 0 and 1.
#include "protocol/handler.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <string_view>

#include "protocol/frame.h"
#include "protocol/handler_codec.h"

namespace fnrun::protocol {
namespace {

constexpr std::size_t kReadSize = 64 * 1024;

// A standard descriptor must not be the copy's number: the function may think 2 is stderr.
constexpr int kFirstPrivateFd = 3;

// One write, so that lines of several processes do not mix; when stderr is gone, so is the text.
void log(std::string_view text) {
  std::string line = "fnrun: ";
  line.append(text).push_back('\n');
  const ssize_t ignored = ::write(STDERR_FILENO, line.data(), line.size());
  static_cast<void>(ignored);
}

ProtocolError io_error(const char* what) {
  return {ErrorCode::kIo, std::string(what) + ": " + std::strerror(errno)};
}

// Takes stdout away from everybody else; a private descriptor, or -1 with errno.
int claim_stdout() {
  const int claimed = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, kFirstPrivateFd);
  if (claimed < 0) return -1;
  if (::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    ::close(claimed);
    return -1;
  }
  return claimed;
}

class FrameReader {
 public:
  explicit FrameReader(int fd) : fd_(fd) {}

  // Blocks. kEndOfStream between two frames.
  ErrorOr<std::string> read() {
    for (;;) {
      const auto progress = decoder_.feed(unread_);
      if (!progress) return progress.error();
      unread_ = unread_.subspan(progress->consumed);
      if (progress->complete) return decoder_.take();
      const ssize_t n = ::read(fd_, buffer_.data(), buffer_.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io_error("read from stdin");
      if (n == 0) return decoder_.end_of_input();
      unread_ = std::span<const char>(buffer_.data(), static_cast<std::size_t>(n));
    }
  }

 private:
  int fd_;
  FrameDecoder decoder_{kFrameBodyMax};  // The supervisor is trusted; memory still follows bytes.
  std::array<char, kReadSize> buffer_;   // NOLINT(*-member-init): read before it is looked at.
  std::span<const char> unread_;         // Of buffer_: event and context often come together.
};

iovec piece(const std::string& bytes) {
  // SAFETY: writev(2) only reads; iovec has no const form.
  return {const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT(*-const-cast)
}

ErrorOr<void> write_all(int fd, std::span<iovec> pieces) {
  while (!pieces.empty()) {
    if (pieces.front().iov_len == 0) {
      pieces = pieces.subspan(1);
      continue;
    }
    const ssize_t n = ::writev(fd, pieces.data(), static_cast<int>(pieces.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("write to stdout");
    auto written = static_cast<std::size_t>(n);
    for (iovec& one : pieces) {
      const std::size_t taken = std::min(written, one.iov_len);
      one.iov_base = static_cast<char*>(one.iov_base) + taken;
      one.iov_len -= taken;
      written -= taken;
    }
  }
  return {};
}

Result call(const Handler& handler, const Event& event, const Context& context) {
  try {
    return handler(event, context);
  } catch (const std::exception& error) {
    log(std::string("the function threw: ") + error.what());
    return {.status = kStatusHandlerThrew, .data = error.what(), .env = {}};
  }
}

// One event, one answer.
ErrorOr<void> serve_one(FrameReader& in, int out, const Handler& handler) {
  const auto event_body = in.read();
  if (!event_body) return event_body.error();
  const auto event = handler_codec::parse_event(*event_body);
  if (!event) return event.error();
  auto context_body = in.read();
  if (!context_body) {
    ProtocolError error = context_body.error();
    // An event alone is half a request: not a clean end.
    if (error.code == ErrorCode::kEndOfStream)
      error = {ErrorCode::kTruncated, "an event without its execution context"};
    return error;
  }
  const auto context = handler_codec::parse_execution_context(*context_body);
  if (!context) return context.error();
  const Result result = call(handler, *event, *context);
  const auto envelope = handler_codec::encode_result(result);
  if (!envelope) return envelope.error();
  std::array pieces{piece(envelope->head), piece(result.data), piece(envelope->tail)};
  return write_all(out, pieces);
}

}  // namespace

int serve(const Handler& handler) {
  const int out = claim_stdout();
  if (out < 0) {
    log(io_error("claiming stdout").to_string());
    return 1;
  }
  FrameReader in(STDIN_FILENO);
  for (;;) {
    const auto served = serve_one(in, out, handler);
    if (served) continue;
    // Descriptor 1 stays the log: what stdio still holds is flushed at exit, and is no answer.
    ::close(out);
    if (served.error().code == ErrorCode::kEndOfStream) return 0;
    log(served.error().to_string());
    return 1;
  }
}

}  // namespace fnrun::protocol
