#include "tests/doctor/doctor_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "isolation/host.h"

namespace fnrun::test {
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::string doctor_program() {
  const char* told = ::secure_getenv("FNRUN_TEST_BIN");
  return (told != nullptr ? std::string(told) : FNRUN_BIN_DIR) + "/fnrun-doctor";
}

Diagnosis read_diagnosis(const GatedRun& run) {
  Diagnosis found;
  found.program = run.program;
  found.code = run.code;
  found.json = nlohmann::json::parse(run.out, nullptr, /*allow_exceptions=*/false);
  if (found.json.is_discarded())
    throw std::runtime_error("exit code " + std::to_string(run.code) + ", no JSON: " + run.out +
                             run.err);
  for (const auto& row : found.json.at("rows")) {
    const std::string id = row.at("id");
    found.why[id] = row.at("why");
    if (row.at("verdict") == "missing") found.missing.insert(id);
    if (row.at("verdict") == "untested") found.untested.insert(id);
  }
  return found;
}

Diagnosis diagnose(const Gate& gate, const std::function<int()>& prepare,
                   const std::vector<std::string>& options) {
  std::vector<std::string> argv{doctor_program(), "--json"};
  argv.insert(argv.end(), options.begin(), options.end());
  return read_diagnosis(run_gated(argv, gate, prepare));
}

Rows hanging_on(const nlohmann::json& json, const Rows& roots) {
  Rows reached = roots;
  for (bool grows = true; grows;) {
    grows = false;
    for (const auto& row : json.at("rows"))
      for (const std::string on : row.at("hangs_on"))
        if (reached.contains(on)) grows = reached.insert(row.at("id")).second || grows;
  }
  for (const auto& root : roots) reached.erase(root);
  return reached;
}

std::set<std::string> groups_left_by(pid_t program) {
  const std::string made = "fnrun-doctor-" + std::to_string(program) + "-";
  std::set<std::string> left;
  const std::string dir =
      isolation::find_cgroup_dir(read_text("/proc/self/mountinfo"), read_text("/proc/self/cgroup"));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error))
    if (entry.path().filename().string().starts_with(made)) left.insert(entry.path().string());
  return left;
}

}  // namespace fnrun::test
