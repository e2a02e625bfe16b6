#include "policy_search.h"

#include <system_error>

namespace fnrun::tools {

std::vector<std::filesystem::path> policy_search_path() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path bin = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<fs::path> found;
  if (!error) {
    // <source>/build/<preset>/bin: known by the two files that only the source tree has together.
    const fs::path source = bin.parent_path().parent_path().parent_path();
    if (fs::exists(source / "CMakePresets.json", error) &&
        fs::exists(source / "policies/policy.h", error))
      found.push_back(source / "policies");
    found.push_back(bin.parent_path() / "share/fnrun/policies");
  }
  found.emplace_back("/etc/fnrun/policies");
  std::erase_if(found, [&](const fs::path& folder) { return !fs::is_directory(folder, error); });
  return found;
}

}  // namespace fnrun::tools
