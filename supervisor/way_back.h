// From another thread back to an executor, as long as somebody waits there.
//
// An event loop may be destroyed while a thread still works for somebody on it. Whoever that is
// shares one of these with the thread, and closes it when they go: from then on the executor is
// never touched. To be closed before the executor's context goes.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <mutex>
#include <optional>
#include <utility>

namespace fnrun::supervisor {

class WayBack {
 public:
  explicit WayBack(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  // Any thread. `what` runs on the executor, or never.
  template <class What>
  void post(What what) {
    const std::lock_guard lock(mutex_);
    if (executor_) boost::asio::post(*executor_, std::move(what));
  }
  void close() {
    const std::lock_guard lock(mutex_);
    executor_.reset();
  }

 private:
  std::mutex mutex_;
  std::optional<boost::asio::any_io_executor> executor_;
};

}  // namespace fnrun::supervisor
