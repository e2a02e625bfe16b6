// Runs one attempt in a process of its own, bounded in time.
//
// The process tells what it saw through shared memory, which needs no system call: whatever was
// taken from it, it can still tell. One thread; nothing of an attempt stays in the caller.
#pragma once

#include "probe.h"

namespace fnrun::probe {

class Runner {
 public:
  // Not usable if the memory cannot be had.
  Runner();
  [[nodiscard]] bool usable() const { return shared_ != nullptr; }
  [[nodiscard]] Saw run(const Probe& probe);

 private:
  struct Shared* shared_;
};

// For attempts: ending by this signal is an answer, too.
void dies_here_by(int signal);

}  // namespace fnrun::probe
