// A seccomp filter on one thread of the test, for making a chosen system call of a launch fail.
//
// A filter is inherited by what the thread starts, so it reaches the code between clone3 and execve
// and the init of a sandbox as well: every step of setting up can be made to fail, to die or to
// wait, at exactly that step, and other threads never notice. It cannot be taken off, so each use
// has a thread of its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "isolation/unique_fd.h"

namespace fnrun::test {

// Which calls: by number and, if given, the low halves of arguments.
struct CallMatch {
  struct Arg {
    unsigned index;
    std::uint32_t value;
  };
  long number = -1;
  std::vector<Arg> args{};
};

// Runs `body` on a new thread where matching calls return -os_errno, or kill the process that makes
// them, and returns when it is done.
void with_failing_call(const CallMatch& match, int os_errno, const std::function<void()>& body);
void with_deadly_call(const CallMatch& match, const std::function<void()>& body);

// Installs a filter on the calling thread under which matching calls wait until the returned
// descriptor is gone. It is readable while one waits.
[[nodiscard]] isolation::UniqueFd hold_calls(const CallMatch& match);
// Who waits there: blocks until a call has arrived. 0 if none came within a generous bound.
// `let_go`: the call is made after all. A process that has not reached an execve(2) since the
// filter was installed holds a copy of the listener, and would wait for itself for ever.
[[nodiscard]] pid_t held_process(int listener, bool let_go = false);

}  // namespace fnrun::test
