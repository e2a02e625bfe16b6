// Who waits for the end of an operation: a completion handler, and the wait for what to tell it.
//
// Private to this folder. Tells once, by way of the loop and on the handler's own executor; never
// calls from inside. Keeps both event loops from running dry meanwhile. A wait that is cancelled by
// its token ends with what was given for that, and what was waited for goes on. Made on any thread,
// everything else on the sandbox's executor.
#pragma once

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <functional>
#include <memory>
#include <utility>

namespace fnrun::supervisor {

template <class Result>
class Waiter : public std::enable_shared_from_this<Waiter<Result>> {
 public:
  using Handler = boost::asio::any_completion_handler<void(Result)>;

  Waiter(Handler handler, const boost::asio::any_io_executor& executor)
      : work_(boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked)),
        own_work_(boost::asio::prefer(boost::asio::get_associated_executor(handler, executor),
                                      boost::asio::execution::outstanding_work.tracked)),
        handler_(std::move(handler)) {}

  void complete(Result result) {
    if (!handler_) return;
    boost::asio::get_associated_cancellation_slot(handler_).clear();
    // From the loop, not from here; then wherever the handler belongs.
    boost::asio::post(work_, [told = std::exchange(handler_, nullptr), own = std::move(own_work_),
                              result = std::move(result)]() mutable {
      boost::asio::dispatch(own, [told = std::move(told), result = std::move(result)]() mutable {
        std::move(told)(std::move(result));
      });
    });
    left = nullptr;
    work_ = {};  // Nobody's loop is kept running any more, however long we are kept.
  }
  [[nodiscard]] bool done() const { return !handler_; }

  void listen_for_cancellation(Result as) {
    auto slot = boost::asio::get_associated_cancellation_slot(handler_);
    if (!slot.is_connected()) return;
    slot.assign([weak = this->weak_from_this(), executor = work_,
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

  // Called once when the wait is cancelled, before the handler is told.
  std::function<void()> left;

 private:
  boost::asio::any_io_executor work_;
  boost::asio::any_completion_executor own_work_;
  Handler handler_;
};
template <class Result>
using WaiterPtr = std::shared_ptr<Waiter<Result>>;

}  // namespace fnrun::supervisor
