// What a policy's words must be, for whoever takes them: a policy file, or a command line.
//
// Each returns what is wrong, to stand behind the name of the thing, or "". Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fnrun::policies {

inline constexpr std::size_t kPathMax = 4'095;  // PATH_MAX less its NUL.
inline constexpr std::size_t kVariableNameMax = 128;
inline constexpr std::size_t kVariableMax = 32 * 1024;

// Any path: absolute and normalised.
[[nodiscard]] std::string path_fault(std::string_view path);
// A path inside: that, and not the sandbox's own /proc, /dev or /tmp.
[[nodiscard]] std::string target_fault(std::string_view path);
// A path on the host: that, and neither all of it nor its /proc or /dev.
[[nodiscard]] std::string source_fault(std::string_view path);
[[nodiscard]] std::string variable_name_fault(std::string_view name);

}  // namespace fnrun::policies
