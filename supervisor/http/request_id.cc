#include "supervisor/http/request_id.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>

namespace fnrun::supervisor::http {
namespace {

constexpr std::size_t kIdMax = 128;

// Ids tell calls apart and are no secret; but a guessable seed would let one client name another's.
std::mt19937_64 seeded() {
  std::array<std::uint32_t, 8> seed{};
  if (::getrandom(seed.data(), sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    std::generate(seed.begin(), seed.end(), std::random_device{});
  std::seed_seq words(seed.begin(), seed.end());
  return std::mt19937_64(words);
}

}  // namespace

bool is_request_id(std::string_view text) noexcept {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.:/=+").find(c) != std::string_view::npos;
  };
  return !text.empty() && text.size() <= kIdMax && std::all_of(text.begin(), text.end(), fits);
}

std::string new_request_id() {
  static std::mt19937_64 random = seeded();
  static constexpr std::string_view kPattern = "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx";
  std::string id(kPattern);
  std::uint64_t bits = 0;
  int left = 0;
  for (char& c : id) {
    if (c != 'x' && c != 'y') continue;
    if (left == 0) {
      bits = random();
      left = 16;
    }
    const auto digit = static_cast<unsigned>(bits & 15U);
    c = "0123456789abcdef"[c == 'y' ? 8U + (digit & 3U) : digit];
    bits >>= 4U;
    --left;
  }
  return id;
}

std::string request_id_or_new(std::string_view given) {
  return is_request_id(given) ? std::string(given) : new_request_id();
}

}  // namespace fnrun::supervisor::http
