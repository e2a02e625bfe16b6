// A folder of the test's own, gone with all that is in it at the end.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace fnrun::test {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  // Canonical, so that it compares equal to what isolation makes of it.
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // Makes `name` (and the folders above it) with these bytes and this mode; returns its path.
  std::string file(const std::string& name, std::string_view bytes, unsigned mode = 0644) const;
  std::string folder(const std::string& name, unsigned mode = 0755) const;
  std::string link(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

}  // namespace fnrun::test
