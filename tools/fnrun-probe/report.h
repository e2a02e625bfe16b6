// The table for people, the JSON for programs, the list of probes. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "judge.h"

namespace fnrun::probe {

struct Report {
  std::string kernel;  // As uname(2) says.
  long uid = 0;
  std::optional<Policy> expected;
  bool holds = true;  // If a policy was given.
  std::vector<Row> rows;
};

[[nodiscard]] std::string to_table(const Report& report, bool colour);
// One line, ends with a newline. README.md names the keys.
[[nodiscard]] std::string to_json(const Report& report);
[[nodiscard]] std::string to_list(std::span<const Row> rows);

}  // namespace fnrun::probe
