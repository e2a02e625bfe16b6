// Where policies that are named, not pathed, are looked for.
#pragma once

#include <filesystem>
#include <vector>

namespace fnrun::tools {

// The policies/ folder of the source tree, when this program runs from its build folder there; the
// share folder of the prefix that it is installed in; /etc/fnrun/policies. Only those that exist.
[[nodiscard]] std::vector<std::filesystem::path> policy_search_path();

}  // namespace fnrun::tools
