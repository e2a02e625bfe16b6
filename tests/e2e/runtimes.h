// The language runtimes that tests run handlers in: how each is started, what it can do, and what
// no policy lets it do. tests/handlers/runtimes holds the handlers. A table; read-only.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace fnrun::test {

struct Runtime {
  using Strings = std::vector<std::string>;

  std::string name;
  std::string policy;   // The one that README.md names for it.
  Strings outside;      // The command, …
  Strings inside;       // … and what follows "--" in a sandbox,
  Strings options;      // with these options.
  Strings files;        // What must be there,
  std::string package;  // which this package of Debian's brings, the compiler's if it has one.
  std::vector<std::pair<std::string, std::string>> jobs;  // Each with its answer, anywhere.
  Strings beyond_strict;  // The jobs that `strict` does not let it do, but `policy` does.
  std::string attack;     // A job that makes a call which kills …
  std::string call;       // … by this name; "": in a program that it starts.
};

[[nodiscard]] const std::vector<Runtime>& runtimes();
[[nodiscard]] const Runtime& runtime(const std::string& name);

}  // namespace fnrun::test
