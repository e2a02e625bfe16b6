// The command line of fnrun-supervise as a value.
//
// Parsing only; nothing is looked up or opened here.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "isolation/host.h"
#include "policies/policy.h"
#include "protocol/message_types.h"
#include "service_log.h"
#include "supervisor/exchange.h"
#include "supervisor/service_config.h"

namespace fnrun::tools {

enum class Mode { kSingle, kLines, kFrames };

struct Options {
  supervisor::FunctionConfig function;  // Policy, handler and what the command line says of them.
  Mode mode = Mode::kSingle;
  bool answer_errors = false;
  std::string report_file;
  std::optional<isolation::UidRange> uid_range;
  bool explain = false;
  bool check = false;
  bool quiet = false;
  bool probe = false;
  std::string import_seccomp;  // A file; "": none.
  bool export_seccomp = false;

  // As a service: with --listen or --config.
  bool is_service = false;
  std::string config;                 // A file; "": what follows says it all.
  supervisor::ServiceConfig service;  // Of a file only `listen` and `allow_origins` are used.
  bool rie_compat = false;
  std::optional<LogForm> log_form;  // None: as stderr is.
};

inline constexpr int kExitUsage = 2;
inline constexpr int kExitBadPolicy = 78;  // EX_CONFIG
inline constexpr int kExitSetup = 125;  // The host cannot, just now: another start may find it can.

// The options, or the exit code with which the command ends now (--help, --version, a mistake);
// what there was to say has been printed.
[[nodiscard]] std::variant<Options, int> parse_command_line(int argc, char** argv);

}  // namespace fnrun::tools
