#include "supervisor/clean_state.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using std::chrono::steady_clock;

// A handler that deletes a file or ends a child behind its answer is given this long.
constexpr std::chrono::milliseconds kTidyGrace{200};
// Between two looks whether everything sleeps: nobody tells.
constexpr std::chrono::microseconds kFirstPause{250};
constexpr std::chrono::microseconds kLongestPause{5'000};

}  // namespace

CleanState::CleanState(asio::any_io_executor executor, isolation::Sandbox& sandbox,
                       const isolation::Plan& plan, bool wanted,
                       std::function<void(std::string_view)> log)
    : sandbox_(sandbox),
      plan_(plan),
      wanted_(wanted),
      log_(std::move(log)),
      pause_(std::move(executor)) {}

// Less if that takes too long, or another wait has begun since.
asio::awaitable<void> CleanState::come_to_rest(Deadline limit) {
  const unsigned turn = ++turn_;
  pause_.cancel();
  auto patience = kFirstPause;
  while (!stopped_ && turn == turn_ && !sandbox_.handler_ended() && steady_clock::now() < limit &&
         !leftovers_->settled()) {
    pause_.expires_after(patience);
    patience = std::min(patience * 2, kLongestPause);
    co_await pause_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

asio::awaitable<void> CleanState::remember(std::shared_ptr<CleanState> self, Deadline deadline) {
  if (self->stopped_ || !self->to_remember()) co_return;
  if (!self->leftovers_) self->leftovers_.emplace(self->sandbox_.leftovers(self->plan_));
  const auto limit =
      std::min(deadline, steady_clock::now() + self->plan_.policy.limits.start_timeout);
  const unsigned turn = self->turn_ + 1;
  co_await self->come_to_rest(limit);
  if (self->stopped_ || turn != self->turn_) co_return;
  self->remembered_ = true;
  if (const auto seen = self->leftovers_->remember(); !seen) {
    self->log_("what calls leave behind cannot be told: " + seen.error().to_string());
    self->dirty_ = true;
  }
}

asio::awaitable<void> CleanState::look(Deadline deadline) {
  left_behind_.clear();
  if (!remembered_ || dirty_) co_return;
  auto found = leftovers_->find();
  if (found && !found->empty()) {
    co_await come_to_rest(std::min(deadline, steady_clock::now() + kTidyGrace));
    if (stopped_) co_return;
    found = leftovers_->find();
  }
  if (found)
    left_behind_ = std::move(*found);
  else
    left_behind_.push_back(found.error().to_string());
  dirty_ = !left_behind_.empty();
}

bool CleanState::still_clean() {
  if (!remembered_ || dirty_) return !dirty_;
  const auto found = leftovers_->find();
  dirty_ = !found || !found->empty();
  if (!found)
    log_("killed between calls: " + found.error().to_string());
  else if (dirty_)
    log_("killed between calls, which left behind " + found->front());
  return !dirty_;
}

void CleanState::stop() {
  stopped_ = true;
  pause_.cancel();
}

}  // namespace fnrun::supervisor
