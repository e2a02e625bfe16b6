// Sandboxes that were not gone when their owner was: killed, but stuck in the kernel longer than
// their kill timeout.
//
// Who waits for a child takes its zombie away and gives back its uid and its cgroup; an owner that
// has gone cannot. Not the pool's quarantine, which holds what still has an owner. Any thread.
#pragma once

#include <list>
#include <mutex>

#include "isolation/sandbox.h"

namespace fnrun::isolation {

class Stragglers {
 public:
  void take(Sandbox stuck);
  // Reaps those that have come to their end meanwhile. Never waits for one.
  void reap_ended();

 private:
  std::mutex mutex_;
  std::list<Sandbox> stuck_;
};

}  // namespace fnrun::isolation
