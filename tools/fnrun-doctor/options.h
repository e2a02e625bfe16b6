// The command line of fnrun-doctor as a value. Parsing only; nothing is looked up here.
#pragma once

#include <string>
#include <variant>

namespace fnrun::doctor {

struct Options {
  std::string policy = "strict";
  bool json = false;
};

inline constexpr int kExitUsage = 2;
inline constexpr int kExitBadPolicy = 78;  // EX_CONFIG
inline constexpr int kExitCannotHold = 125;

// The options, or the exit code with which the command ends now (--help, --version, a mistake);
// what there was to say has been printed.
[[nodiscard]] std::variant<Options, int> parse_command_line(int argc, char** argv);

}  // namespace fnrun::doctor
