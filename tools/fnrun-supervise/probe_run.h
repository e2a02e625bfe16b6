// `--probe`: the handler is fnrun-probe, judged by what the policy promises.
//
// Only says what to run; running it is what the command does with any handler. Reads files, opens
// /dev/null as stdin.
#pragma once

#include <optional>
#include <string>

#include "options.h"

namespace fnrun::tools {

struct ProbeFault {
  std::string message;
  int exit_code = 0;
};

// Makes `options` those of a run of the probe; or why that cannot be done.
//
// Judged by the first file of the policy's chain of `extends` that has the name of a shipped
// policy: who extends strict promises what strict does, and what it opens shows as broken.
[[nodiscard]] std::optional<ProbeFault> prepare_probe(Options& options);

}  // namespace fnrun::tools
