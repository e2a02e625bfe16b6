// What the suites of the command share: a folder, the report file, and the question if sandboxes
// can be made here at all (FNRUN_REQUIRE=userns: then they must).
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/e2e/command.h"
#include "tests/support/ledger.h"
#include "tests/support/sandbox_fixture.h"
#include "tests/support/temp_dir.h"

namespace fnrun::test {

class CommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string why = why_no_user_namespace();
    if (why.empty()) return;
    const char* required = ::secure_getenv("FNRUN_REQUIRE");
    ASSERT_TRUE(required == nullptr || std::string(required).find("userns") == std::string::npos)
        << why;
    GTEST_SKIP() << why;
  }

  [[nodiscard]] std::string report_file() const { return (temp.path() / "report").string(); }
  [[nodiscard]] std::vector<nlohmann::json> reports() const {
    std::vector<nlohmann::json> all;
    std::ifstream file(report_file());
    for (std::string line; std::getline(file, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }
  // hostile.cc's `verb` for one call.
  [[nodiscard]] static Finished hostile(const std::vector<std::string>& verb,
                                        const std::vector<std::string>& options = {},
                                        std::string_view input = "event") {
    std::vector<std::string> argv{handler("hostile")};
    argv.insert(argv.end(), verb.begin(), verb.end());
    return run(supervise(options, argv), input);
  }

  TempDir temp;
};

}  // namespace fnrun::test
