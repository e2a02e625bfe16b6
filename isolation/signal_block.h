// Blocks every signal of this thread while it lives: a child that shares our memory until its exec
// must not run our signal handlers there. The init resets the mask for the handler.
#pragma once

#include <pthread.h>

#include <csignal>

namespace fnrun::isolation {

class SignalBlock {
 public:
  SignalBlock() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalBlock() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

}  // namespace fnrun::isolation
