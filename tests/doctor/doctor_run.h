// The doctor run by a test: its JSON as values, and what of it is red.
//
// One thread; the programs come from the build's folder or from FNRUN_TEST_BIN.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/doctor/gate.h"

namespace fnrun::test {

using Rows = std::set<std::string>;

struct Diagnosis {
  pid_t program = 0;
  int code = -1;
  nlohmann::json json;
  Rows missing;
  Rows untested;
  std::map<std::string, std::string> why;
};

[[nodiscard]] std::string doctor_program();
[[nodiscard]] Diagnosis read_diagnosis(const GatedRun& run);
// fnrun-doctor --json behind a gate, or without one.
[[nodiscard]] Diagnosis diagnose(const Gate& gate = {}, const std::function<int()>& prepare = {},
                                 const std::vector<std::string>& options = {});
// The rows of `json` that hang on one of `roots`, directly or not.
[[nodiscard]] Rows hanging_on(const nlohmann::json& json, const Rows& roots);
// Groups that the doctor with this pid left below our own cgroup. Others may be running.
[[nodiscard]] std::set<std::string> groups_left_by(pid_t program);

}  // namespace fnrun::test
