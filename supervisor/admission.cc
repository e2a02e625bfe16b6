#include "supervisor/admission.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace fnrun::supervisor {

namespace asio = boost::asio;

// The timer is what is waited for: it is cancelled when the wait is over before its time.
struct Admission::Waiter {
  Waiter(const asio::any_io_executor& executor, Deadline deadline, std::uint64_t of_call)
      : timer(executor, deadline), call(of_call) {}
  asio::steady_timer timer;
  std::uint64_t call;
  bool let_in = false;
};

Admission::Admission(asio::any_io_executor executor, AdmissionLimits limits)
    : executor_(std::move(executor)), limits_(limits) {}

asio::awaitable<std::optional<Cause>> Admission::enter(std::string client, Deadline deadline,
                                                       std::uint64_t call) {
  if (stopped_) co_return Cause::kShutdown;
  std::size_t& share = of_client_[client];
  if (limits_.per_client_max != 0 && share >= limits_.per_client_max)
    co_return Cause::kNoSandboxFree;
  ++share;
  if (inside_ < limits_.places && queue_.empty()) {
    ++inside_;
    co_return std::nullopt;
  }
  if (queue_.size() >= limits_.waiting_max) {
    forget(client);
    co_return Cause::kNoSandboxFree;
  }
  if (limits_.wait_max.count() != 0)
    deadline = std::min(deadline, std::chrono::steady_clock::now() + limits_.wait_max);
  const auto waiter = std::make_shared<Waiter>(executor_, deadline, call);
  queue_.push_back(waiter);
  const auto [error] = co_await waiter->timer.async_wait(asio::as_tuple(asio::use_awaitable));
  // Let in at the very moment that the time was over: then the place is ours, and must be used.
  if (waiter->let_in) co_return std::nullopt;
  std::erase(queue_, waiter);
  forget(client);
  if (stopped_) co_return Cause::kShutdown;
  co_return error ? Cause::kCancelled : Cause::kNoSandboxFree;
}

void Admission::leave(const std::string& client) {
  --inside_;
  forget(client);
  let_in();
}

void Admission::forget(const std::string& client) {
  const auto share = of_client_.find(client);
  if (--share->second == 0) of_client_.erase(share);
}

void Admission::let_in() {
  while (inside_ < limits_.places && !queue_.empty() && !stopped_) {
    const auto waiter = std::move(queue_.front());
    queue_.pop_front();
    waiter->let_in = true;
    ++inside_;
    waiter->timer.cancel();
  }
}

void Admission::cancel(std::uint64_t call) {
  for (const auto& waiter : queue_)
    if (waiter->call == call) waiter->timer.cancel();
}

void Admission::resize(std::size_t places) {
  limits_.places = places;
  let_in();
}

void Admission::stop() {
  stopped_ = true;
  for (const auto& waiter : queue_) waiter->timer.cancel();
}

}  // namespace fnrun::supervisor
