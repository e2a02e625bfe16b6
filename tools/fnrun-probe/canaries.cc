// Family "canaries": attempts that must succeed, and one that must not.
//
// A harness that is itself stopped would report a perfect sandbox; these turn red then. They are
// judged without a sandbox too.
#include <fcntl.h>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr Promises kMustWork{kWorks, kWorks, kWorks, kWorks};

constexpr Probe kProbes[] = {
    {"Z01", "canary: a harmless call is answered", "getpid(2)",
     [] { return done(raw_syscall(__NR_getpid)); }, kMustWork},
    {"Z02", "canary: a file in /tmp can be written", "what every policy gives",
     [] {
       const Scratch file("canary");
       if (file.fd() < 0) return done(file.fd());
       return done(raw_syscall(__NR_write, file.fd(), as_arg("x"), 1));
     },
     kMustWork},
    {"Z03", "canary: a child can be made, and be waited for", "what every policy gives",
     [] {
       const long pid = fork_child();
       if (pid < 0) return done(pid);
       if (pid == 0) leave(7);
       return wait_child(pid) == 7 << 8 ? open() : inconclusive("another status");
     },
     kMustWork},
    {"Z04",
     "canary: what is not there is not found",
     "open(2)",
     [] { return opened("/fnrun-nothing", O_RDONLY); },
     {kHidden, kHidden, kHidden, kHidden}},
};

}  // namespace

Family canaries() {
  return {"canaries", kProbes};
}

}  // namespace fnrun::probe
