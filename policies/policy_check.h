// What a policy's words must be, for whoever takes them: a policy file, or a command line.
//
// Each returns what is wrong, to stand behind the name of the thing, or "". Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fnrun::policies {

inline constexpr std::size_t kPathMax = 4'095;  // PATH_MAX less its NUL.
inline constexpr std::size_t kCpusTextMax = 1'024;
inline constexpr unsigned kCpusMax = 8'192;  // NR_CPUS is at most that on x86_64.
inline constexpr std::size_t kVariableNameMax = 128;
inline constexpr std::size_t kVariableMax = 32 * 1024;

// Any path: absolute and normalised.
[[nodiscard]] std::string path_fault(std::string_view path);
// A path inside: that, and not the sandbox's own /proc, /dev or /tmp.
[[nodiscard]] std::string target_fault(std::string_view path);
// A path on the host: that, and neither all of it nor its /proc or /dev.
[[nodiscard]] std::string source_fault(std::string_view path);
// CPUs as the kernel lists them, "0-3,6": ascending or not, without blanks.
[[nodiscard]] std::string cpus_fault(std::string_view cpus);
[[nodiscard]] std::string variable_name_fault(std::string_view name);

}  // namespace fnrun::policies
