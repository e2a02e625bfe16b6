// The loops of a channel: try the system call, wait only when it would block, look at the clock
// before each.
#include "protocol/channel.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include "protocol/direction.h"
#include "protocol/frame.h"
#include "protocol/sink.h"
#include "protocol/spin.h"

namespace fnrun::protocol {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

// Read at once, on the stack of one call: an idle channel holds no buffer.
constexpr std::size_t kReadSize = 64 * 1024;
// Pieces of one writev(2).
constexpr std::size_t kPiecesMax = 16;
// System calls in a row before other coroutines get their turn: a handler that sends byte by byte,
// always one more in time, would keep a thread.
constexpr unsigned kBurst = 64;
// Between two looks whether the peer has read, after the first burst of them.
constexpr std::chrono::microseconds kFirstPause{50};
constexpr std::chrono::microseconds kLongestPause{1'000};

enum class Step { kDone, kAgain, kAfterOthers, kWait };

ProtocolError io_error(const char* what) {
  return {ErrorCode::kIo,
          std::string(what) + ": " + std::error_code(errno, std::generic_category()).message()};
}

// What to do after a system call that returned -1: again, wait, or the error.
ErrorOr<Step> step_after(const char* what) {
  if (errno == EINTR) return Step::kAgain;
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Step::kWait;
  if (errno == EPIPE || errno == ECONNRESET)
    return ProtocolError{ErrorCode::kPeerClosed, "nobody reads what is written"};
  return io_error(what);
}

// The buffers of one write and how far it has come.
class Pending {
 public:
  explicit Pending(std::span<const asio::const_buffer> buffers) : buffers_(buffers) { skip(0); }
  [[nodiscard]] bool empty() const { return buffers_.empty(); }
  [[nodiscard]] bool started() const { return started_; }

  // The first pieces of what is left; how many.
  std::size_t pieces(std::array<iovec, kPiecesMax>& out) const {
    const std::size_t count = std::min(buffers_.size(), out.size());
    for (std::size_t i = 0; i < count; ++i) {
      const asio::const_buffer left = i == 0 ? buffers_[0] + offset_ : buffers_[i];
      // SAFETY: writev(2) only reads; iovec has no const form.
      out[i] = {const_cast<void*>(left.data()), left.size()};  // NOLINT(*-const-cast)
    }
    return count;
  }
  void advance(std::size_t written) {
    started_ = started_ || written > 0;
    skip(written);
  }

 private:
  void skip(std::size_t count) {
    offset_ += count;
    while (!buffers_.empty() && offset_ >= buffers_[0].size()) {
      offset_ -= buffers_[0].size();
      buffers_ = buffers_.subspan(1);
    }
  }
  std::span<const asio::const_buffer> buffers_;
  std::size_t offset_ = 0;  // Into the first of them.
  bool started_ = false;
};

}  // namespace

class Channel::State : public std::enable_shared_from_this<State> {
 public:
  explicit State(const asio::any_io_executor& executor)
      : in_(executor, Direction::Wait::wait_read),
        out_(executor, Direction::Wait::wait_write),
        timer_(executor) {}

  ErrorOr<void> open(int read_fd, int write_fd) {
    // Both are owned from here on, also when the first cannot be used.
    const auto in = in_.open(read_fd);
    const auto out = out_.open(write_fd);
    return in ? out : in;
  }

  asio::awaitable<ErrorOr<void>> write(std::span<const asio::const_buffer> buffers,
                                       Deadline deadline) {
    if (out_.error) co_return *out_.error;
    out_.begin();
    Pending pending(buffers);
    for (unsigned calls = 1;; ++calls) {
      const ErrorOr<Step> step = try_write(pending, deadline);
      if (!step) co_return out_.end(step.error(), /*place_lost=*/pending.started());
      if (*step == Step::kDone) co_return out_.end();
      const ErrorOr<void> ready = co_await before_next(out_, *step, calls, deadline);
      if (!ready) co_return out_.end(ready.error(), /*place_lost=*/pending.started());
    }
  }

  asio::awaitable<ErrorOr<void>> drain(Deadline deadline) {
    if (out_.error) co_return *out_.error;
    out_.begin();
    asio::steady_timer pause(timer_.get_executor());
    auto patience = kFirstPause;
    for (unsigned looks = 1;; ++looks) {
      const ErrorOr<bool> drained = has_drained(deadline);
      if (!drained) co_return out_.end(drained.error(), /*place_lost=*/false);
      if (*drained) co_return out_.end();
      const auto slot = co_await asio::this_coro::cancellation_state;
      if (slot.cancelled() != asio::cancellation_type::none)
        co_return out_.end(ProtocolError{ErrorCode::kCancelled, ""}, /*place_lost=*/false);
      boost::system::error_code ignored;
      auto token = asio::redirect_error(asio::use_awaitable, ignored);
      if (looks < kBurst) {
        ::sched_yield();  // The reader may be waiting for this very CPU.
        co_await asio::post(timer_.get_executor(), token);
        continue;
      }
      pause.expires_at(std::min(deadline, Clock::now() + patience));
      patience = std::min(patience * 2, kLongestPause);
      co_await pause.async_wait(token);
    }
  }

  asio::awaitable<ErrorOr<void>> read(Sink& sink, Deadline deadline, Spin* spin = nullptr) {
    if (in_.error) co_return *in_.error;
    in_.begin();
    for (unsigned calls = 1;; ++calls) {
      ErrorOr<Step> step = try_read(sink, deadline);
      if (!step) co_return in_.end(step.error(), /*place_lost=*/!sink.idle());
      if (*step == Step::kDone) co_return in_.end();
      if (*step == Step::kWait && spin != nullptr && spin->again()) step = Step::kAfterOthers;
      const ErrorOr<void> ready = co_await before_next(in_, *step, calls, deadline);
      if (!ready) co_return in_.end(ready.error(), /*place_lost=*/!sink.idle());
    }
  }

  // The same for an answer that is due now: the peer was just asked.
  asio::awaitable<ErrorOr<void>> read_answer(Sink& sink, Deadline deadline) {
    const Spin::Due due(spin_);
    co_return co_await read(sink, deadline, &spin_);
  }

  bool unsolicited() {
    if (!ahead_.empty()) return true;
    // A file is all there from the start: nobody has just sent it.
    if (!in_.is_open() || in_.is_file() || ended_ || in_.error) return false;
    char byte = 0;
    ssize_t n = 0;
    do n = ::read(in_.fd(), &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 0) ended_ = true;
    if (n > 0) ahead_.assign(1, byte);
    return n > 0;
  }

  void close_write() {
    out_.cancel();
    out_.close_for_writing();
  }

  void cancel() {
    in_.cancel();
    out_.cancel();
  }

 private:
  // Everything that ends an operation although bytes could be moved.
  static ErrorOr<void> may_go_on(const Direction& direction, Deadline deadline) {
    if (direction.cancelled) return ProtocolError{ErrorCode::kCancelled, ""};
    if (Clock::now() >= deadline) return ProtocolError{ErrorCode::kDeadline, ""};
    return {};
  }

  ErrorOr<Step> try_write(Pending& pending, Deadline deadline) {
    if (auto may = may_go_on(out_, deadline); !may) return may.error();
    if (pending.empty()) return Step::kDone;
    if (!out_.is_open()) return ProtocolError{ErrorCode::kPeerClosed, "the channel is closed"};
    std::array<iovec, kPiecesMax> pieces;  // NOLINT(*-member-init): filled next.
    const std::size_t count = pending.pieces(pieces);
    const ssize_t n = ::writev(out_.fd(), pieces.data(), static_cast<int>(count));
    if (n < 0) return step_after("write");
    pending.advance(static_cast<std::size_t>(n));
    return pending.empty() ? Step::kDone : Step::kAgain;
  }

  // A socket counts what its peer has not read, a pipe what is in it; of anything else nothing is
  // ever unread.
  ErrorOr<bool> has_drained(Deadline deadline) {
    if (auto may = may_go_on(out_, deadline); !may) return may.error();
    if (!out_.is_open()) return ProtocolError{ErrorCode::kPeerClosed, "the channel is closed"};
    int unread = 0;
    if (::ioctl(out_.fd(), SIOCOUTQ, &unread) != 0 && ::ioctl(out_.fd(), FIONREAD, &unread) != 0)
      return true;
    pollfd peer{out_.fd(), 0, 0};
    if (::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLERR | POLLHUP)) != 0)
      return ProtocolError{ErrorCode::kPeerClosed, "nobody reads what is written"};
    return unread == 0;
  }

  ErrorOr<Step> try_read(Sink& sink, Deadline deadline) {
    if (auto may = may_go_on(in_, deadline); !may) return may.error();
    if (!ahead_.empty()) {
      const std::string bytes = std::exchange(ahead_, {});
      return pour(bytes, sink);
    }
    if (ended_ || !in_.is_open()) return end(sink);
    std::array<char, kReadSize> buffer;  // NOLINT(*-member-init): 64 KiB, only n of them looked at.
    const ssize_t n = ::read(in_.fd(), buffer.data(), buffer.size());
    // A peer that dies with our request unread resets a socket; on a pipe the same is its end.
    if (n == 0 || (n < 0 && errno == ECONNRESET)) {
      ended_ = true;
      return end(sink);
    }
    if (n < 0) return step_after("read");
    const auto poured = pour({buffer.data(), static_cast<std::size_t>(n)}, sink);
    if (poured && *poured == Step::kAgain && static_cast<std::size_t>(n) == buffer.size())
      sink.expect(waiting());
    return poured;
  }

  // What the peer has sent and we have not read.
  std::size_t waiting() const {
    int bytes = 0;
    return ::ioctl(in_.fd(), FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes)
                                                                 : 0;
  }

  static ErrorOr<Step> end(Sink& sink) {
    if (auto ended = sink.end(); !ended) return ended.error();
    return Step::kDone;
  }

  // What the sink does not want belongs to the next read, or is unsolicited.
  ErrorOr<Step> pour(std::span<const char> bytes, Sink& sink) {
    const auto used = sink.feed(bytes);
    if (!used) return used.error();
    const auto rest = bytes.subspan(*used);
    ahead_.assign(rest.data(), rest.size());
    return sink.done() ? Step::kDone : Step::kAgain;
  }

  // Waits when the last call would have blocked, lets others run when there were many calls.
  asio::awaitable<ErrorOr<void>> before_next(Direction& direction, Step step, unsigned calls,
                                             Deadline deadline) {
    if (step == Step::kAgain && calls % kBurst != 0) co_return ErrorOr<void>{};
    // Asked here, because Asio throws from the next co_await of a coroutine that was cancelled.
    const auto slot = co_await asio::this_coro::cancellation_state;
    if (slot.cancelled() != asio::cancellation_type::none)
      co_return ProtocolError{ErrorCode::kCancelled, ""};
    boost::system::error_code error;
    auto token = asio::redirect_error(asio::use_awaitable, error);
    if (step != Step::kWait) {
      co_await asio::post(timer_.get_executor(), token);
      co_return ErrorOr<void>{};
    }
    direction.deadline = deadline;
    direction.waiting = true;
    arm(deadline);
    co_await direction.async_wait(token);
    direction.waiting = false;
    // Cut short: by the deadline, which the next step sees; by cancel(), likewise; or by the slot.
    const auto slot_now = co_await asio::this_coro::cancellation_state;
    if (slot_now.cancelled() != asio::cancellation_type::none)
      co_return ProtocolError{ErrorCode::kCancelled, ""};
    if (error && error != asio::error::operation_aborted)
      co_return ProtocolError{ErrorCode::kIo, "wait: " + error.message()};
    co_return ErrorOr<void>{};
  }

  // One timer for both directions, and lazy: on the warm path each invocation's deadline is later
  // than the one before, so a timer that is set stays, and is set anew only when it rings.
  void arm(Deadline deadline) {
    if (deadline == kNoDeadline || (armed_ && armed_for_ <= deadline)) return;
    armed_ = true;
    armed_for_ = deadline;
    timer_.expires_at(deadline);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      if (error) return;
      if (const auto self = weak.lock()) self->ring();
    });
  }

  void ring() {
    armed_ = false;
    const Deadline now = Clock::now();
    Deadline next = kNoDeadline;
    for (Direction* direction : {&in_, &out_}) {
      if (!direction->waiting) continue;
      if (direction->deadline <= now)
        direction->stop_waiting();
      else
        next = std::min(next, direction->deadline);
    }
    arm(next);
  }

  Direction in_;
  Direction out_;
  asio::steady_timer timer_;
  Deadline armed_for_{};
  bool armed_ = false;
  bool ended_ = false;
  Spin spin_;
  std::string ahead_;  // Read, but not yet asked for: at most kReadSize.
};

void ignore_sigpipe() noexcept {
  struct sigaction current {};
  if (::sigaction(SIGPIPE, nullptr, &current) != 0) return;
  // A handler of the program's own does not kill; it stays.
  if ((current.sa_flags & SA_SIGINFO) == 0 && current.sa_handler == SIG_DFL)
    std::signal(SIGPIPE, SIG_IGN);
}

Channel::Channel(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
Channel::Channel(Channel&&) noexcept = default;
Channel& Channel::operator=(Channel&&) noexcept = default;
Channel::~Channel() = default;

ErrorOr<Channel> Channel::adopt(asio::any_io_executor executor, int read_fd, int write_fd) {
  ignore_sigpipe();
  auto state = std::make_shared<State>(executor);
  if (auto opened = state->open(read_fd, write_fd); !opened) return opened.error();
  return Channel(std::move(state));
}

asio::awaitable<ErrorOr<void>> Channel::write(std::span<const asio::const_buffer> buffers,
                                              Deadline deadline) {
  return state_->write(buffers, deadline);
}

asio::awaitable<ErrorOr<void>> Channel::drain(Deadline deadline) {
  return state_->drain(deadline);
}

asio::awaitable<ErrorOr<std::string>> Channel::read_frame(std::size_t max_body, Deadline deadline) {
  FrameSink sink(max_body);
  const ErrorOr<void> done = co_await state_->read_answer(sink, deadline);
  if (!done) co_return done.error();
  co_return sink.take();
}

asio::awaitable<ErrorOr<std::string>> Channel::read_line(std::size_t max, Deadline deadline) {
  LineSink sink(max);
  const ErrorOr<void> done = co_await state_->read_answer(sink, deadline);
  if (!done) co_return done.error();
  co_return sink.take();
}

asio::awaitable<ErrorOr<std::string>> Channel::read_some(std::size_t max, Deadline deadline) {
  SomeSink sink(max);
  const ErrorOr<void> done = co_await state_->read(sink, deadline);
  if (!done) co_return done.error();
  co_return sink.take();
}

asio::awaitable<ErrorOr<std::string>> Channel::read_to_end(std::size_t max, Deadline deadline) {
  WholeSink sink(max);
  const ErrorOr<void> done = co_await state_->read(sink, deadline);
  if (!done) co_return done.error();
  co_return sink.take();
}

bool Channel::unsolicited() {
  return state_->unsolicited();
}

void Channel::close_write() {
  state_->close_write();
}

void Channel::cancel() {
  state_->cancel();
}

}  // namespace fnrun::protocol
