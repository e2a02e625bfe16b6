#include "supervisor/duration_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace fnrun::supervisor {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t milliseconds = 0;
};
constexpr std::array kUnits{Unit{"ms", 1}, Unit{"s", 1'000}, Unit{"", 1'000}, Unit{"m", 60'000},
                            Unit{"h", 3'600'000}};
constexpr std::uint64_t kDayMs = 24ULL * 60 * 60 * 1'000;

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value == 0) return std::nullopt;
  const std::string_view name(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const auto* const unit = std::find_if(kUnits.begin(), kUnits.end(),
                                        [&](const Unit& known) { return known.name == name; });
  if (unit == kUnits.end() || value * unit->milliseconds > kDayMs) return std::nullopt;
  return std::chrono::milliseconds(value * unit->milliseconds);
}

}  // namespace fnrun::supervisor
