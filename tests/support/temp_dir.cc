#include "tests/support/temp_dir.h"

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace fnrun::test {

namespace fs = std::filesystem;

TempDir::TempDir() {
  std::string name = (fs::temp_directory_path() / "fnrun-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  ::chmod(name.c_str(), 0755);  // The uid of a sandbox is a stranger here.
  path_ = fs::canonical(name);
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TempDir::file(const std::string& name, std::string_view bytes, unsigned mode) const {
  const fs::path at = path_ / name;
  fs::create_directories(at.parent_path());
  std::ofstream(at, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  if (::chmod(at.c_str(), mode) != 0) throw std::runtime_error("chmod " + at.string());
  return at.string();
}

std::string TempDir::folder(const std::string& name, unsigned mode) const {
  const fs::path at = path_ / name;
  fs::create_directories(at);
  if (::chmod(at.c_str(), mode) != 0) throw std::runtime_error("chmod " + at.string());
  return at.string();
}

std::string TempDir::link(const std::string& name, const std::string& text) const {
  const fs::path at = path_ / name;
  fs::create_directories(at.parent_path());
  fs::create_symlink(text, at);
  return at.string();
}

}  // namespace fnrun::test
