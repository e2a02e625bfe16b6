// Who waits for the end of an operation: a completion handler of any kind, kept until there is
// something to tell it.
//
// Tells by posting to the handler's own executor, once; never calls from inside. Keeps both event
// loops from running dry meanwhile. A cancelled wait (Asio's cancellation slots) ends as
// LifecycleFailure::kWaitCancelled, and what was waited for goes on. Made on any thread, everything
// else on the sandbox's executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace fnrun::supervisor {

template <class Result>
class Waiter {
 public:
  virtual ~Waiter() = default;
  virtual void complete(Result result) = 0;
  [[nodiscard]] virtual bool done() const = 0;
  // Called once when the wait is cancelled, before the handler is told.
  std::function<void()> left;
};
template <class Result>
using WaiterPtr = std::shared_ptr<Waiter<Result>>;

template <class Result, class Handler>
class HandlerWaiter final : public Waiter<Result>,
                            public std::enable_shared_from_this<HandlerWaiter<Result, Handler>> {
 public:
  HandlerWaiter(Handler handler, const boost::asio::any_io_executor& executor)
      : executor_(boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked)),
        own_(boost::asio::prefer(boost::asio::get_associated_executor(handler, executor),
                                 boost::asio::execution::outstanding_work.tracked)),
        handler_(std::move(handler)) {}

  void complete(Result result) override {
    if (!handler_) return;
    boost::asio::get_associated_cancellation_slot(*handler_).clear();
    auto handler = std::exchange(handler_, std::nullopt);
    boost::asio::post(own_, [told = std::move(*handler), result = std::move(result)]() mutable {
      std::move(told)(std::move(result));
    });
    this->left = nullptr;
    executor_ = {};  // Nobody's loop is kept running any more, however long we are kept.
    own_ = {};
  }
  [[nodiscard]] bool done() const override { return !handler_; }

  void listen_for_cancellation(Result as) {
    auto slot = boost::asio::get_associated_cancellation_slot(*handler_);
    if (!slot.is_connected()) return;
    slot.assign([weak = this->weak_from_this(), executor = executor_,
                 as = std::move(as)](boost::asio::cancellation_type) {
      // Not from inside the slot: completing clears it.
      boost::asio::post(executor, [weak, as] {
        const auto self = weak.lock();
        if (!self || self->done()) return;
        if (const auto leave = std::exchange(self->left, nullptr)) leave();
        self->complete(as);
      });
    });
  }

 private:
  boost::asio::any_io_executor executor_;
  boost::asio::any_io_executor own_;
  std::optional<Handler> handler_;
};

template <class Result, class Handler>
[[nodiscard]] WaiterPtr<Result> make_waiter(Handler handler,
                                            const boost::asio::any_io_executor& executor,
                                            Result when_cancelled) {
  auto waiter = std::make_shared<HandlerWaiter<Result, Handler>>(std::move(handler), executor);
  waiter->listen_for_cancellation(std::move(when_cancelled));
  return waiter;
}

}  // namespace fnrun::supervisor
