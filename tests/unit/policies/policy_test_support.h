// Shared by the tests of this folder: documents in one line, errors in one comparison.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy_json.h"

namespace fnrun::policies {

inline const std::filesystem::path kShipped = FNRUN_POLICIES_DIR;

// The error of a text that must not parse.
inline PolicyError error_of(std::string_view json) {
  const auto policy = parse_policy(json);
  EXPECT_FALSE(policy) << "parsed, though it must not: " << json;
  return policy ? PolicyError{} : policy.error();
}

// A policy of one line around `members`, in which every error is on line 1.
inline std::string with_version(const std::string& members) {
  return R"({"version": 1, )" + members + "}";
}

inline Policy parsed(std::string_view json) {
  const auto policy = parse_policy(json);
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? *policy : Policy{};
}

inline Policy shipped(std::string_view name) {
  const auto policy = load_policy(name, {kShipped});
  EXPECT_TRUE(policy) << policy.error().to_string();
  return policy ? *policy : Policy{};
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace fnrun::policies
