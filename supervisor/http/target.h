// The target of a request, in parts: "/a/b%3Ac?q=1" is the path a, b:c and the parameter q.
//
// Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fnrun::supervisor::http {

struct Target {
  std::vector<std::string> path;  // Decoded; "/" is no segment, "/a/" ends with an empty one.
  std::vector<std::pair<std::string, std::string>> parameters;  // Decoded, as they came.

  // The first of that name; nullptr without one.
  [[nodiscard]] const std::string* parameter(std::string_view name) const noexcept;
};

inline constexpr std::size_t kTargetPartsMax = 32;  // Segments, and parameters.

// Of the form "/path?query"; nothing for any other, and for one of more parts.
[[nodiscard]] std::optional<Target> parse_target(std::string_view text);

}  // namespace fnrun::supervisor::http
