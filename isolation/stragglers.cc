#include "isolation/stragglers.h"

#include <poll.h>

#include <utility>

namespace fnrun::isolation {

void Stragglers::take(Sandbox stuck) {
  const std::lock_guard guard(mutex_);
  stuck_.push_back(std::move(stuck));
}

void Stragglers::reap_ended() {
  const std::lock_guard guard(mutex_);
  stuck_.remove_if([](Sandbox& one) {
    pollfd gone{one.pidfd(), POLLIN, 0};
    return ::poll(&gone, 1, 0) > 0 && one.reap();
  });
}

}  // namespace fnrun::isolation
