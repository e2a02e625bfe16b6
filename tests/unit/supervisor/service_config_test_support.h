// Shared by the tests of the config file: documents in one line, errors in one comparison.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "supervisor/service_config.h"

namespace fnrun::supervisor {

// The folder with the example, the schema and README.md.
inline const std::filesystem::path kRoom = FNRUN_SUPERVISOR_DIR;
inline constexpr const char* kFolder = "/etc/fnrun";

inline ServiceConfig parsed(std::string_view json) {
  const auto config = parse_service_config(json, kFolder);
  EXPECT_TRUE(config) << config.error().to_string() << "\n" << json;
  return config ? *config : ServiceConfig{};
}

// The error of a text that must not parse.
inline policies::PolicyError error_of(std::string_view json) {
  const auto config = parse_service_config(json, kFolder);
  EXPECT_FALSE(config) << "parsed, though it must not: " << json;
  return config ? policies::PolicyError{} : config.error();
}

// A document of one line with one function, "f", and `members` beside what it must have.
inline std::string service_with(const std::string& members) {
  return R"({"version": 1, "functions": {"f": {"handler": ["f"]}}, )" + members + "}";
}
inline std::string function_with(const std::string& members) {
  return R"({"version": 1, "functions": {"f": {"handler": ["f"], )" + members + "}}}";
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace fnrun::supervisor
