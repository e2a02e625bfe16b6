// The command line of fnrun-probe as a value. Parsing only.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "judge.h"

namespace fnrun::probe {

struct Options {
  bool json = false;
  bool list = false;
  std::optional<Policy> expected;
  std::vector<std::string> only;  // Ids; empty: all.
  std::string family;             // "": all.
  std::vector<unsigned long> namespaces_outside;
};

inline constexpr int kExitBroken = 1;
inline constexpr int kExitUsage = 2;

// The options, or the exit code with which the command ends now; what there was to say has been
// printed.
[[nodiscard]] std::variant<Options, int> parse_command_line(int argc, char** argv);

}  // namespace fnrun::probe
