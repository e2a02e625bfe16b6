// Runs attempts (attempt.cc) on both sides of the wall.
//
// Who runs them outside matters. As a rule it is the test's own user; where root would do harm or
// make the attempt meaningless, it is nobody (uid 65534), which a test that is not root already is.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/support/sandbox_fixture.h"

namespace fnrun::test {

enum class As { kSelf, kNobody };

struct Outside {
  As as = As::kSelf;
  std::vector<std::pair<int, unsigned long>> limits{};  // RLIMIT_*, soft and hard
};

using Words = std::vector<std::string>;

// What the attempt said, without the last newline; "signal SYS" if it was killed; "forbidden
// ptrace" if that was for this call.
[[nodiscard]] std::string outside(const Words& attempt, const Outside& how = {});
[[nodiscard]] std::string verdict(const Ran& ran);
[[nodiscard]] Words attempt(Words words);
// A raw call: numbers as they are, "s:…" a string, "b:" a buffer.
[[nodiscard]] Words call(long number, Words arguments = {});
[[nodiscard]] Words open_file(const std::string& path, int flags);
[[nodiscard]] Words split(const std::string& text, char at);
// "Name:\tvalue" of /proc/…/status.
[[nodiscard]] std::string field(const std::string& status, const std::string& name);
[[nodiscard]] std::string read_text(const std::string& path);

class Attempts : public SandboxTest {
 protected:
  // What /tmp holds at the start: the first folder on the way to the handler, " name", when the
  // build lies in the host's /tmp; else nothing.
  [[nodiscard]] static std::string held_by_tmp();
  [[nodiscard]] std::string inside(const Words& words) { return verdict(run(attempt(words))); }
  // What verdict() says of a handler that was killed for this call.
  [[nodiscard]] std::string killed_for(const std::string& name) const {
    return host.seccomp_listener ? "forbidden " + name : "signal SYS";
  }
  // An attempt that stays, and the pid, seen from here, of its process; the init's is
  // sandbox.pid().
  struct Staying {
    Running running;
    long handler_pid;
  };
  [[nodiscard]] Staying stay() { return stay(plan(attempt({"stay"}))); }
  [[nodiscard]] Staying stay(const isolation::Plan& plan);
};

}  // namespace fnrun::test
