// The command as a service on a port of its own, for one test.
//
// Logs as text, so that tests can wait for what it says. One thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/e2e/command.h"
#include "tests/support/http_client.h"

namespace fnrun::test {

class ServiceRun {
 public:
  // Ready when this returns. `options` beside --listen and --log; an empty handler: --config names
  // some.
  explicit ServiceRun(std::vector<std::string> options, const std::vector<std::string>& of_handler,
                      const std::vector<std::string>& environment = {});

  [[nodiscard]] Command& command() { return command_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  // A connection of its own.
  [[nodiscard]] HttpAnswer call(std::string_view method, std::string_view target,
                                std::string_view body = "", std::string_view fields = "") const;
  [[nodiscard]] HttpAnswer invoke(std::string_view body, std::string_view fields = "") const;
  // Ended by SIGTERM: what it said, and its exit code.
  Finished stop();

 private:
  Command command_;
  std::uint16_t port_ = 0;
};

// A handler for --protocol exec whose event is what it is to do:
//   hang     says "hanging" on stderr, and never answers
//   fail     exits with status 3
//   forbidden  makes a system call that every policy forbids
//   env      answers its environment, sorted
//   log …    says the rest on stderr, and answers it
//   …        answers the event
[[nodiscard]] std::vector<std::string> obedient();

}  // namespace fnrun::test
