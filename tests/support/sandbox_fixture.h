// Real sandboxes for tests: host, launcher, the strict policy of the source tree, pipes.
//
// As whoever runs the tests. A test is skipped, with the reason, only where the host cannot make a
// user namespace at all; FNRUN_REQUIRE=userns turns that into a failure. After each test the
// launcher goes and the ledger must read as before. The folders of the policies and of the handlers
// are the build's, or those that FNRUN_TEST_POLICIES and FNRUN_TEST_HANDLERS name.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "isolation/launcher.h"
#include "policies/policy.h"
#include "tests/support/ledger.h"
#include "tests/support/temp_dir.h"

namespace fnrun::test {

// Uids of the lock file of one test: few, so that a lease which is not given back is soon missed.
inline constexpr std::uint32_t kTestUids = 8;
// For waits on events that come: a machine under load is slow, a missing event is a failure.
inline constexpr int kBoundMs = 60'000;

[[nodiscard]] std::string policies_dir();
[[nodiscard]] std::string handlers_dir();
[[nodiscard]] policies::Policy shipped_policy(const std::string& name);
// Whether this is the machine that tests/vm/run starts: each system call takes many times as long.
[[nodiscard]] bool emulated();

// "" if a user namespace can be made here, else why not.
[[nodiscard]] std::string why_no_user_namespace();

[[nodiscard]] bool wait_readable(int fd, int bound_ms = kBoundMs);
// Until the end of the file, or nothing more within the bound.
[[nodiscard]] std::string read_to_end(int fd);

// The supervisor's ends of a handler's stdio.
struct Ends {
  isolation::UniqueFd to_stdin;
  isolation::UniqueFd from_stdout;
  isolation::UniqueFd from_stderr;
};
// Both sides of three pipes.
struct Pipes {
  Pipes();
  Ends ours;
  isolation::Stdio theirs;
};

struct Running {
  isolation::Sandbox sandbox;
  Ends ends;
};
struct Ran {
  std::string out;
  std::string err;
  isolation::Exit exit;
};

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  // How many sandboxes at a time, those that are dying among them.
  [[nodiscard]] virtual std::uint32_t uids() const { return kTestUids; }

  // "actor" is the handler of these tests: tests/process/handlers/actor.cc.
  [[nodiscard]] static std::vector<std::string> actor(std::vector<std::string> arguments);
  [[nodiscard]] isolation::Plan plan(std::vector<std::string> argv) const;
  [[nodiscard]] isolation::Plan plan(std::vector<std::string> argv,
                                     const policies::Policy& policy) const;

  // Each ends the test (by exception) if the launch fails.
  [[nodiscard]] Running launch(const isolation::Plan& plan);
  [[nodiscard]] Ran run(const isolation::Plan& plan, const std::string& input = "");
  [[nodiscard]] Ran run(std::vector<std::string> argv) { return run(plan(std::move(argv))); }
  // The error of a launch that must fail.
  [[nodiscard]] isolation::SetupError failure(const isolation::Plan& plan);

  // Of this test alone; for a second launcher beside ours.
  [[nodiscard]] std::string uid_lock_file() const;

  policies::Policy strict;
  isolation::Host host;
  std::optional<isolation::Launcher> launcher;

 private:
  TempDir temp_;
  std::optional<Ledger> before_;
};

}  // namespace fnrun::test
