// Hostile stderr. Properties: no line that comes out holds a control character, a bidi override or
// a byte that is not UTF-8; each is bounded; how the bytes are cut makes no difference; every line
// is said or counted. The first two bytes of the input choose the limits.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/stderr_log.h"

namespace {
using fnrun::supervisor::StderrLog;

constexpr StderrLog::TimePoint kNow{std::chrono::hours(1)};
constexpr std::size_t kMarkerMax = 64;

void require(bool condition) {
  if (!condition) std::abort();
}

// A second opinion on what is safe, on bytes and without the decoder of the log.
void check_safe(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto at = [&](std::size_t j) {
      return j < line.size() ? static_cast<unsigned char>(line[j]) : 0U;
    };
    require(at(i) == '\t' || (at(i) >= 0x20 && at(i) != 0x7f));
    // Not UTF-8: longer than need be, a surrogate, beyond U+10FFFF.
    require(at(i) != 0xc0 && at(i) != 0xc1 && at(i) < 0xf5);
    require(!(at(i) == 0xe0 && at(i + 1) < 0xa0) && !(at(i) == 0xf0 && at(i + 1) < 0x90));
    require(!(at(i) == 0xed && at(i + 1) > 0x9f) && !(at(i) == 0xf4 && at(i + 1) > 0x8f));

    require(!(at(i) == 0xc2 && at(i + 1) < 0xa0));                        // C1
    require(!(at(i) == 0xe2 && at(i + 1) == 0x80 && at(i + 2) >= 0xa8 &&  // U+2028 … U+202E
              at(i + 2) <= 0xae));
    require(!(at(i) == 0xe2 && at(i + 1) == 0x81 && at(i + 2) >= 0xa6 &&  // U+2066 … U+2069
              at(i + 2) <= 0xa9));
  }
  // What is safe stays as it is, so a byte that is not UTF-8 would show.
  require(fnrun::supervisor::escape_for_terminal(line) == line);
}

struct Said {
  std::vector<std::string> lines;
  std::uint64_t emitted = 0;
  std::uint64_t dropped = 0;
  bool operator==(const Said&) const = default;
};

Said log(std::span<const char> bytes, std::size_t step, StderrLog::Limits limits) {
  Said said;
  const StderrLog::Sink sink = [&](std::string_view line) { said.lines.emplace_back(line); };
  StderrLog log(limits);
  for (std::size_t at = 0; at < bytes.size(); at += step)
    log.feed(bytes.subspan(at, std::min(step, bytes.size() - at)), kNow, sink);
  log.finish(kNow, sink);
  said.emitted = log.emitted();
  said.dropped = log.dropped();
  return said;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const StderrLog::Limits limits{.line_max = std::size_t{1} + data[0] % 80,
                                 .lines_per_second_max = data[1] % 40U};
  // SAFETY: char may alias anything.
  const std::span bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Said whole = log(bytes, size, limits);
  for (const std::size_t step : {1U, 2U, 3U, 7U}) require(log(bytes, step, limits) == whole);

  for (const std::string& line : whole.lines) {
    require(line.size() <= 4 * limits.line_max + kMarkerMax);
    check_safe(line);
  }
  const auto ends = static_cast<std::uint64_t>(std::count(bytes.begin(), bytes.end(), '\n'));
  const bool unfinished = !bytes.empty() && bytes.back() != '\n';
  require(whole.emitted + whole.dropped == ends + (unfinished ? 1 : 0));
  require(whole.lines.size() == whole.emitted + (whole.dropped > 0 ? 1 : 0));
  return 0;
}
