#include "supervisor/http/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_suffix.hpp>
#include <boost/beast/http/read.hpp>
#include <cerrno>
#include <ctime>

#include "supervisor/http/problem.h"

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;
namespace bhttp = beast::http;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadChunk = 16 * 1024;
// Behind an answer to something that was not read to its end: how much of the rest is taken, and
// how long, so that the answer is not lost to a reset.
constexpr std::size_t kLingerBytes = 64UL * 1024 * 1024;
constexpr std::chrono::seconds kLingerTime{2};
// What is between bodies and header fields (extensions of chunks, trailers) has no other bound than
// the buffer that it has to fit in whole.
constexpr std::size_t kBufferLeast = 64 * 1024;
constexpr std::size_t kHeaderUsual = 512;  // Of an answer.
// A body that small is read although its request was refused: the connection is worth more.
constexpr std::size_t kSkippedMax = 64 * 1024;
// A body of no told length is counted as so much before it is read further.
constexpr std::size_t kBodyStep = 256 * 1024;

// RFC 9110, 6.6.1. The clock is asked once a second and for each thread.
std::string_view date() {
  thread_local std::time_t of = -1;
  thread_local std::array<char, 32> line{};
  thread_local std::size_t length = 0;
  if (const std::time_t now = std::time(nullptr); now != of) {
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    length = std::strftime(line.data(), line.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    of = now;
  }
  return {line.data(), length};
}

// What makes the end of a request doubtful is refused: whoever stands between us and the client
// could see another end, and so another request behind it (RFC 9112, 6.3).
std::optional<Response> doubtful(const RequestHead& head) {
  if (head.version() == 11 && head.count(bhttp::field::host) != 1)
    return problem(Status::bad_request, "HTTP/1.1 wants one Host header field");
  const auto lengths = head.count(bhttp::field::content_length);
  if (lengths > 1 || head[bhttp::field::content_length].find(',') != beast::string_view::npos)
    return problem(Status::bad_request, "Content-Length more than once");
  const auto codings = head.count(bhttp::field::transfer_encoding);
  if (codings == 0) return std::nullopt;
  if (head.version() < 11) return problem(Status::bad_request, "HTTP/1.0 has no Transfer-Encoding");
  if (codings > 1 || !beast::iequals(head[bhttp::field::transfer_encoding], "chunked"))
    return problem(Status::not_implemented, "the only transfer coding taken here is chunked");
  if (lengths != 0) return problem(Status::bad_request, "Content-Length beside Transfer-Encoding");
  return std::nullopt;
}

// The status line and the header fields, as they go out.
std::string header_text(const Response& response) {
  std::string out;
  out.reserve(kHeaderUsual);
  out += response.version() == 11 ? "HTTP/1.1 " : "HTTP/1.0 ";
  out += std::to_string(response.result_int());
  out += ' ';
  out += text(response.reason());
  for (const auto& line : response) {
    out += "\r\n";
    out += text(line.name_string());
    out += ": ";
    out += text(line.value());
  }
  out += "\r\n\r\n";
  return out;
}

// Also where its handler is under way already, which would start it anew.
struct StopAtEnd {
  asio::steady_timer& timer;
  Session::Clock::time_point& deadline;
  ~StopAtEnd() {
    deadline = Session::Clock::time_point::max();
    timer.cancel();
  }
};

// Bytes came that are no HTTP; an end of the stream is none of that.
bool is_malformed(const error_code& error) {
  return error && error.category() == bhttp::make_error_code(bhttp::error::bad_chunk).category() &&
         error != bhttp::error::end_of_stream && error != bhttp::error::partial_message;
}

bool expects_continue(const RequestHead& head) {
  return head.version() == 11 && beast::iequals(head[bhttp::field::expect], "100-continue");
}

}  // namespace

// The part of HttpLimits::bodies_max that one request holds.
class Session::BodyShare {
 public:
  explicit BodyShare(Shared& shared) : shared_(shared) {}
  ~BodyShare() { shared_.status.body_bytes -= held_; }
  BodyShare(const BodyShare&) = delete;
  BodyShare& operator=(const BodyShare&) = delete;

  // False: all that there is for bodies is taken.
  [[nodiscard]] bool grow_to(std::size_t bytes) {
    if (bytes <= held_) return true;
    if (bytes - held_ > shared_.limits.bodies_max - shared_.status.body_bytes) return false;
    shared_.status.body_bytes += bytes - held_;
    held_ = bytes;
    return true;
  }

 private:
  Shared& shared_;
  std::size_t held_ = 0;
};

// One of ServerStatus::calls.
class Session::CallCount {
 public:
  explicit CallCount(Shared& shared) : shared_(shared) { ++shared_.status.calls; }
  ~CallCount() {
    --shared_.status.calls;
    shared_.on_change();
  }
  CallCount(const CallCount&) = delete;
  CallCount& operator=(const CallCount&) = delete;

 private:
  Shared& shared_;
};

Session::Session(Socket socket, std::shared_ptr<Shared> shared, Peer peer)
    : shared_(std::move(shared)),
      peer_(std::move(peer)),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      buffer_(std::max(shared_->limits.header_max, kBufferLeast) + kReadChunk) {}

std::optional<Session::Clock::time_point> Session::idle_since() const {
  return idle_since_;
}

std::optional<Session::Clock::time_point> Session::reading_since() const {
  return reading_since_;
}

bool Session::has_input() {
  char byte = 0;
  return ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

// What the kernel holds, and what was read from it while this runs, is a request that the client
// takes for received: only a wait that has nothing yet may be given up.
void Session::leave() {
  if (!idle_since_ || has_input()) return;
  idle_since_.reset();  // It makes room once.
  error_code ignored;
  socket_.cancel(ignored);
}

void Session::close() {
  gone_ = true;
  // A shutdown and not a close: what waits on the descriptor ends by itself, and the number stays
  // ours until run() is over.
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_both, ignored);
  if (serving_)
    gone_signal_.emit(asio::cancellation_type::all);
  else
    socket_.cancel(ignored);
}

// A deadline that is later than the one that the timer runs for costs nothing: the timer finds out
// when it fires. Mostly that is the only thing that ever changes.
void Session::expire_after(Clock::duration time) {
  timed_out_ = false;
  deadline_ = Clock::now() + time;
  if (!timer_runs_ || timer_.expiry() > deadline_) start_timer();
}

void Session::start_timer() {
  timer_runs_ = true;
  timer_.expires_at(deadline_);
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (error) return;  // Another wait has begun, or run() is over.
    self->timer_runs_ = false;
    if (self->deadline_ == Clock::time_point::max()) return;
    if (Clock::now() < self->deadline_) return self->start_timer();
    self->timed_out_ = true;
    error_code ignored;
    // Not only what is awaited now ends: it may have come in this moment, and the next wait must
    // not go on without a timer. What came to an idle connection is a request, and is served.
    if (!self->idle_since_) self->socket_.shutdown(asio::socket_base::shutdown_both, ignored);
    self->socket_.cancel(ignored);
  });
}

asio::awaitable<void> Session::run() {
  const auto self = shared_from_this();
  const StopAtEnd stop{timer_, deadline_};
  // So that what the kernel takes at once is written without a turn of the loop.
  error_code ignored;
  socket_.non_blocking(true, ignored);
  for (;;) {
    idle_since_ = Clock::now();
    const bool came = buffer_.size() != 0 || co_await first_byte();
    idle_since_.reset();
    if (!came) co_return;
    reading_since_ = Clock::now();
    const Next next = co_await one_request();
    reading_since_.reset();
    if (next == Next::kLinger) co_await linger();
    if (next != Next::kRequest) co_return;
    // Who sends many requests ahead waits for others' turns between them.
    if (buffer_.size() != 0) co_await asio::post(socket_.get_executor(), asio::use_awaitable);
  }
}

asio::awaitable<bool> Session::first_byte() {
  expire_after(shared_->limits.idle_timeout);
  const auto space = buffer_.prepare(kReadChunk);
  const auto [error, bytes] = co_await socket_.async_read_some(space, kToken);
  buffer_.commit(bytes);
  co_return !error;
}

// A wait has failed, for want of time or of a client.
void Session::note_failure() {
  if (timed_out_) ++shared_->status.timed_out;
}

asio::awaitable<Session::Next> Session::refuse(Response response) {
  ++shared_->status.malformed;
  return reply(std::move(response), {});
}

// Mostly a request comes whole, and takes no turn of the loop. need_more: not this time.
error_code Session::take_from_buffer(Parser& parser) {
  error_code error = bhttp::error::need_more;
  if (buffer_.size() == 0) return error;
  buffer_.consume(parser.put(buffer_.data(), error));
  return error;
}

// Some of the body.
asio::awaitable<error_code> Session::read_more(Parser& parser) {
  error_code error = take_from_buffer(parser);
  if (error != bhttp::error::need_more) co_return error;
  const auto [failed, bytes] = co_await bhttp::async_read_some(socket_, buffer_, parser, kToken);
  co_return failed;
}

asio::awaitable<Session::Next> Session::one_request() {
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(shared_->limits.header_max));
  parser.body_limit(boost::none);  // Its length is looked at where it is known for whom.
  error_code error = take_from_buffer(parser);
  if (error == bhttp::error::need_more) {
    expire_after(shared_->limits.header_timeout);
    const auto [failed, bytes] =
        co_await bhttp::async_read_header(socket_, buffer_, parser, kToken);
    error = failed;
  }
  if (error == bhttp::error::header_limit) {
    auto answer = problem(Status::request_header_fields_too_large,
                          "the header is over " + std::to_string(shared_->limits.header_max) +
                              " bytes (limits.header_bytes_max)");
    co_return co_await refuse(std::move(answer));
  }
  if (is_malformed(error)) {
    auto answer = problem(Status::bad_request, "this is no HTTP request: " + error.message());
    co_return co_await refuse(std::move(answer));
  }
  if (error) {
    note_failure();
    co_return Next::kClose;
  }
  ++shared_->status.requests;
  if (auto answer = doubtful(parser.get())) co_return co_await refuse(std::move(*answer));
  auto admitted = shared_->site.admit(parser.get());
  if (auto* endpoint = std::get_if<std::shared_ptr<Endpoint>>(&admitted))
    co_return co_await call(**endpoint, parser);
  const auto told = parser.content_length();
  if (told && *told <= kSkippedMax && !expects_continue(parser.get())) co_await skip_body(parser);
  co_return co_await reply(std::get<Response>(std::move(admitted)), form_of(parser));
}

// How an answer to this request is to be sent.
Session::Form Session::form_of(const Parser& parser) {
  const bool whole = parser.is_done();
  return {.version = parser.get().version(),
          .to_head = parser.get().method() == bhttp::verb::head,
          .whole = whole,
          .keep = whole && parser.keep_alive()};
}

asio::awaitable<Session::Next> Session::call(Endpoint& endpoint, Parser& parser) {
  const CallCount counted(*shared_);
  const auto hold = endpoint.hold();
  BodyShare share(*shared_);
  std::optional<Response> refused;
  const bool received = co_await read_body(parser, endpoint, share, refused);
  reading_since_.reset();
  const Form form = form_of(parser);
  if (refused) co_return co_await reply(std::move(*refused), form);
  if (!received) co_return Next::kClose;

  serving_ = true;
  deadline_ = Clock::time_point::max();  // The call has its own.
  watch();
  auto served = endpoint.serve(parser.release(), peer_, gone_signal_.slot());
  Response response = co_await std::move(served);
  serving_ = false;
  socket_.cancel();  // The watch.
  if (gone_) {
    ++shared_->status.vanished;
    co_return Next::kClose;
  }
  co_return co_await reply(std::move(response), form);
}

asio::awaitable<void> Session::skip_body(Parser& parser) {
  expire_after(shared_->limits.body_timeout);
  while (!parser.is_done()) {
    auto reading = read_more(parser);
    const error_code error = co_await std::move(reading);
    if (error) co_return note_failure();
  }
}

// True: the whole body is in `parser`. Otherwise the answer is in `refused`, or there is nobody to
// answer.
asio::awaitable<bool> Session::read_body(Parser& parser, const Endpoint& endpoint, BodyShare& share,
                                         std::optional<Response>& refused) {
  const auto full = [] {
    Response busy = problem(Status::service_unavailable,
                            "too many bodies are being received (limits.body_bytes_max)");
    busy.set(bhttp::field::retry_after, "1");
    return busy;
  };
  const std::size_t most = endpoint.body_max();
  const auto told = parser.content_length();
  if (told && *told > most) {
    refused = endpoint.too_large();
    co_return false;
  }
  if (parser.is_done()) co_return true;  // There is none.
  parser.body_limit(most);
  expire_after(shared_->limits.body_timeout);
  if (expects_continue(parser.get())) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [error, sent] = co_await asio::async_write(socket_, asio::buffer(kContinue), kToken);
    if (error) {
      note_failure();
      co_return false;
    }
  }
  while (!parser.is_done()) {
    // By what has come, not by what a client says will come.
    const std::size_t soon = parser.get().body().size() + kBodyStep;
    if (!share.grow_to(told ? std::min(soon, static_cast<std::size_t>(*told)) : soon)) {
      refused = full();
      co_return false;
    }
    auto reading = read_more(parser);
    const error_code error = co_await std::move(reading);
    if (error == bhttp::error::body_limit) {
      refused = endpoint.too_large();
      co_return false;
    }
    if (is_malformed(error))
      refused =
          problem(Status::bad_request, "the body is not what its header says: " + error.message());
    if (error) {
      note_failure();
      co_return false;
    }
  }
  co_return true;
}

asio::awaitable<Session::Next> Session::reply(Response response, Form form) {
  const bool keep = form.keep && !shared_->draining;
  response.version(form.version);
  response.keep_alive(keep);
  response.set(bhttp::field::date, view(date()));
  response.prepare_payload();
  // RFC 9110, 8.6.
  if (response.result() == Status::no_content) response.erase(bhttp::field::content_length);
  if (form.to_head) response.body().clear();
  auto writing = write(response);
  if (const error_code error = co_await std::move(writing)) {
    note_failure();
    ++shared_->status.vanished;
    co_return Next::kClose;
  }
  if (keep) co_return Next::kRequest;
  const bool unread = !form.whole || buffer_.size() != 0 || has_input();
  co_return unread ? Next::kLinger : Next::kClose;
}

// At once, as far as the kernel takes it; the rest under its deadline.
asio::awaitable<error_code> Session::write(const Response& response) {
  const std::string header = header_text(response);
  beast::buffers_suffix<std::array<asio::const_buffer, 2>> rest(
      {asio::buffer(header), asio::buffer(response.body())});
  error_code error;
  rest.consume(socket_.write_some(rest, error));
  if (error && error != asio::error::would_block) co_return error;
  if (asio::buffer_size(rest) == 0) co_return error_code();
  expire_after(shared_->limits.write_timeout);
  const auto [failed, bytes] = co_await asio::async_write(socket_, rest, kToken);
  co_return failed;
}

// To close a socket with something unread in it resets the connection, and the client may lose the
// answer that explains why (RFC 9112, 9.6).
asio::awaitable<void> Session::linger() {
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  expire_after(kLingerTime);
  buffer_.clear();
  for (std::size_t taken = 0; taken < kLingerBytes;) {
    const auto space = buffer_.prepare(kReadChunk);
    const auto [error, bytes] = co_await socket_.async_read_some(space, kToken);
    if (error) co_return;
    taken += bytes;
  }
}

// A client that has closed its end is gone, as for Go's net/http: its call is cancelled. What it
// sent ahead of its next request cannot be told from life, so then nobody looks any more.
void Session::watch() {
  socket_.async_wait(
      asio::socket_base::wait_read, [self = shared_from_this()](const error_code& error) {
        if (error || !self->serving_) return;
        char byte = 0;
        const ssize_t n = ::recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0) return;
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return self->watch();
        self->gone_ = true;
        self->gone_signal_.emit(asio::cancellation_type::all);
      });
}

}  // namespace fnrun::supervisor::http
