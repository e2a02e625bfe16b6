// The doctor's findings for people and for programs.
//
// Pure. Reasons may quote what the kernel said, so control characters are escaped.
#pragma once

#include <string>
#include <vector>

#include "assessment.h"

namespace fnrun::doctor {

struct Report {
  std::string policy;  // As the user named it.
  std::string host;    // "Linux 6.1.0"
  std::vector<Row> rows;
  Assessment assessment;
};

[[nodiscard]] std::string to_table(const Report& report, bool colour);
// One object, on one line; README.md has its keys.
[[nodiscard]] std::string to_json(const Report& report);

}  // namespace fnrun::doctor
