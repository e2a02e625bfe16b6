// The driver that stands in for libFuzzer where the compiler has none: feeds a fuzz target every
// file named on the command line (folders: every file in them), each truncation of the small ones,
// and a fixed number of seeded mutations. Deterministic: the same binary makes the same inputs.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {
using Bytes = std::vector<std::uint8_t>;
constexpr int kMutationsPerSeed = 2'000;
constexpr std::size_t kTruncateUpTo = 4'096;

Bytes mutate(Bytes bytes, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
  for (std::size_t edits = 1 + below(6); edits > 0; --edits) {
    const std::size_t at = below(bytes.size() + 1);
    switch (below(5)) {
      case 0:  // Overwrite with an interesting byte.
        if (at < bytes.size()) bytes[at] = std::uint8_t("\x00\x01\x7f\x80\xff\"{},:"[below(10)]);
        break;
      case 1:
        if (at < bytes.size()) bytes[at] ^= std::uint8_t(1U << below(8));
        break;
      case 2:
        bytes.insert(bytes.begin() + std::ptrdiff_t(at), std::uint8_t(random()));
        break;
      case 3:
        if (at < bytes.size())
          bytes.erase(bytes.begin() + std::ptrdiff_t(at),
                      bytes.begin() + std::ptrdiff_t(std::min(bytes.size(), at + 1 + below(16))));
        break;
      default: {  // Repeat a piece of itself.
        const std::size_t from = below(bytes.size());
        const Bytes piece(bytes.begin() + std::ptrdiff_t(from),
                          bytes.begin() + std::ptrdiff_t(std::min(bytes.size(), from + below(32))));
        bytes.insert(bytes.begin() + std::ptrdiff_t(at), piece.begin(), piece.end());
      }
    }
  }
  return bytes;
}

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
}  // namespace

int main(int argc, char** argv) {
  std::vector<Bytes> seeds{{}};
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path = argv[i];
    if (std::filesystem::is_directory(path)) {
      std::vector<std::filesystem::path> files;
      for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry);
      std::sort(files.begin(), files.end());
      for (const auto& file : files) seeds.push_back(read_file(file));
    } else if (std::filesystem::exists(path)) {
      seeds.push_back(read_file(path));
    } else {
      std::fprintf(stderr, "no such seed: %s\n", path.c_str());
      return 1;
    }
  }
  std::mt19937 random(20261121);  // NOLINT(cert-msc51-cpp): the same inputs each time, on purpose.
  std::size_t inputs = 0;
  for (const Bytes& seed : seeds) {
    LLVMFuzzerTestOneInput(seed.data(), seed.size());
    ++inputs;
    for (std::size_t cut = 0; cut < std::min(seed.size(), kTruncateUpTo); ++cut, ++inputs)
      LLVMFuzzerTestOneInput(seed.data(), cut);
    for (int i = 0; i < kMutationsPerSeed; ++i, ++inputs) {
      const Bytes input = mutate(seed, random);
      LLVMFuzzerTestOneInput(input.data(), input.size());
    }
  }
  std::printf("%zu seeds, %zu inputs\n", seeds.size(), inputs);
  return 0;
}
