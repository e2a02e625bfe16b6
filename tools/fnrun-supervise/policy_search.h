// Where policies that are named, not pathed, are looked for.
#pragma once

#include <filesystem>
#include <vector>

namespace fnrun::tools {

// share/fnrun/policies beside the folder of this program: where an installation has them, and a
// build folder a link to the source tree's; then /etc/fnrun/policies. Only those that exist.
[[nodiscard]] std::vector<std::filesystem::path> policy_search_path();

}  // namespace fnrun::tools
