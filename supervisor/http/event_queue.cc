#include "supervisor/http/event_queue.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;
constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

// Between two attempts to get a place, doubling.
constexpr std::chrono::milliseconds kPauseMin{20};
constexpr std::chrono::milliseconds kPauseMax{2'000};

}  // namespace

EventQueue::EventQueue(std::shared_ptr<Function> function, std::size_t events_max)
    : function_(std::move(function)),
      events_max_(events_max),
      done_(function_->executor(), Deadline::max()) {}

bool EventQueue::offer(Function::Call& call) {
  const std::size_t bytes = call.input.data.size();
  if (finished_ || waiting() >= events_max_ || bytes > kBytesMax - bytes_) return false;
  bytes_ += bytes;
  waiting_.push_back(std::move(call));
  // As many at a time as the function has places: more would only wait in its own queue, before
  // callers who are there.
  if (workers_ < function_->options().admission.places) {
    ++workers_;
    asio::co_spawn(function_->executor(), work(), asio::detached);
  }
  return true;
}

asio::awaitable<void> EventQueue::work() {
  const auto self = shared_from_this();
  while (!waiting_.empty()) {
    Function::Call call = std::move(waiting_.front());
    waiting_.pop_front();
    bytes_ -= call.input.data.size();
    co_await serve(std::move(call));
  }
  if (--workers_ == 0) done_.cancel();
}

asio::awaitable<void> EventQueue::serve(Function::Call call) {
  asio::steady_timer pause(function_->executor());
  for (auto wait = kPauseMin;; wait = std::min(2 * wait, kPauseMax)) {
    Function::Call attempt = call;
    attempt.asks_again = true;
    auto made = function_->call(std::move(attempt));
    const Invocation invocation = co_await std::move(made);
    if (invocation.report.outcome != Outcome::kUnavailable || finished_) co_return;
    pause.expires_after(wait);
    ++paused_;
    co_await pause.async_wait(kToken);
    --paused_;
    if (finished_) co_return;  // It was counted as dropped.
  }
}

void EventQueue::hurry(Deadline end) {
  end_ = std::min(end_, end);
  done_.cancel();
}

asio::awaitable<std::size_t> EventQueue::finish() {
  const auto self = shared_from_this();
  while (workers_ != 0 && std::chrono::steady_clock::now() < end_) {
    done_.expires_at(end_);
    co_await done_.async_wait(kToken);
  }
  finished_ = true;
  const std::size_t dropped = waiting_.size() + paused_;
  waiting_.clear();
  bytes_ = 0;
  co_return dropped;
}

}  // namespace fnrun::supervisor::http
