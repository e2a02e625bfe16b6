// Policies as JSON text: reading, naming what is wrong and where, writing.
//
// Strict on purpose: an unknown key, a wrong type, a value out of range or a key given twice is an
// error, because a key that is read over silently would lie about safety. policies/README.md lists
// every key. Pure but for load_policy(), which reads files. Functions only, no state.
#pragma once

#include <boost/system/result.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"

namespace fnrun::policies {

// A policy file is refused beyond these: 1 MiB of text, 16 levels of nesting, 8 steps of `extends`.
inline constexpr std::size_t kPolicyTextMax = 1024 * 1024;
inline constexpr int kPolicyDepthMax = 16;
inline constexpr int kPolicyExtendsMax = 8;

struct PolicyError {
  std::string file;     // As the user named it, or where it was found; "" when from memory.
  std::string pointer;  // RFC 6901, "" for the whole document: "/limits/processes_max".
  unsigned line = 0;    // From 1; 0 when there is none (the file cannot be read).
  std::string message;  // What is wrong and what would be right.

  // "strict.json:12: /limits/processes_max: must be a whole number from 1 to 4194303, not 0".
  // One line whatever the text held: control characters are escaped.
  [[nodiscard]] std::string to_string() const;
};
// boost::system::result wants this for .value(); throws std::runtime_error.
[[noreturn]] void throw_exception_from_error(const PolicyError& error,
                                             const boost::source_location& where);

template <class T>
using Result = boost::system::result<T, PolicyError>;

// Parses one document. `extends` is refused here: there is no place to look it up.
[[nodiscard]] Result<Policy> parse_policy(std::string_view json);

// Reads PATH or NAME. A name (no '/' and no ".json") is looked up as NAME.json in `search`, in
// order; `extends` is looked up beside the file that says it, then in `search`. An error names the
// file in which the offending value stands.
[[nodiscard]] Result<Policy> load_policy(std::string_view path_or_name,
                                         const std::vector<std::filesystem::path>& search);

// A regular file of at most kPolicyTextMax bytes, or the beginning of a longer one, by one byte
// more, so that whoever parses it sees that it is too long. For documents that stand beside
// policies.
[[nodiscard]] Result<std::string> read_document(const std::filesystem::path& path);

// The files that load_policy() would read: the one named, and what it extends, to the last base.
[[nodiscard]] Result<std::vector<std::filesystem::path>> policy_files(
    std::string_view path_or_name, const std::vector<std::filesystem::path>& search);

// The whole policy, every key written out, `extends` resolved. parse_policy() reads it back equal.
[[nodiscard]] std::string to_json(const Policy& policy);

}  // namespace fnrun::policies
