// Fuzzes kind_of_file: what the first bytes of a handler's file, which anybody may have written,
// say.
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "isolation/handler_file.h"

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using fnrun::isolation::FileKind;
  const std::string_view head(reinterpret_cast<const char*>(data), size);
  const FileKind kind = fnrun::isolation::kind_of_file(head);
  require((kind.type == FileKind::Type::kScript) == head.starts_with("#!"));
  require(kind.type == FileKind::Type::kScript || kind.interpreter.empty());
  require((kind.type == FileKind::Type::kForeignElf) != kind.detail.empty());
  // It becomes a C string and a path.
  require(kind.interpreter.size() < PATH_MAX);
  require(kind.interpreter.find_first_of(std::string_view(" \t\n\0", 4)) == std::string::npos);
  return 0;
}
