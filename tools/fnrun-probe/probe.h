// What one attempt is, what it saw, and what each policy promises of it. Plain values.
//
// A Probe is an entry of a family's table (probe_table.h). Its attempt runs in a process of its own
// (runner.h) and nowhere else, by raw system calls. It knows neither where it runs nor what is
// promised; it must be harmless if it succeeds, also to a host without any sandbox, also as root.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace fnrun::probe {

enum class Word : std::uint8_t {
  kBlocked,       // The kernel refused: an errno, or a signal that ended the attempt.
  kInvisible,     // There is nothing to attack: no such path, process, interface.
  kLimited,       // It works up to a value.
  kOpen,          // It works, or a kernel without this sandbox would have let it work.
  kInconclusive,  // The attempt did not come to a result.
  kSkipped,       // It was not made: `detail` says why.
};
[[nodiscard]] std::string_view name_of(Word word) noexcept;

// Lies in memory shared between the attempt's process and the runner.
struct Saw {
  Word word = Word::kInconclusive;
  int os_errno = 0;
  int signal = 0;
  long value = 0;
  char detail[96] = "";
};

// Which words keep a promise; the narrower members say more where they are set.
struct Expectation {
  std::uint8_t words = 0;  // 1 << Word, each.
  int os_errno = 0;        // kBlocked by this errno …
  bool by_signal = false;  // … or by a signal; neither: by whatever.
  long most = -1;          // kLimited to at most this.
};
constexpr std::uint8_t bit(Word word) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(word));
}
constexpr std::uint8_t kNotOpen = bit(Word::kBlocked) | bit(Word::kInvisible);

// Refused or not there, by whatever layer.
inline constexpr Expectation kStopped{kNotOpen};
inline constexpr Expectation kKilled{.words = bit(Word::kBlocked), .by_signal = true};
inline constexpr Expectation kHidden{bit(Word::kInvisible)};
inline constexpr Expectation kWorks{bit(Word::kOpen)};
// No promise: told, and not judged.
inline constexpr Expectation kMay{0xff};
constexpr Expectation refused(int os_errno) {
  return {.words = bit(Word::kBlocked), .os_errno = os_errno};
}
constexpr Expectation at_most(long most) {
  return {.words = kNotOpen | bit(Word::kLimited), .most = most};
}

// One expectation for each policy. Without a sandbox nothing is promised but that the canaries
// live.
struct Promises {
  Expectation paranoid;
  Expectation strict;
  Expectation compat;
  Expectation bare = kMay;
};
constexpr Promises everywhere(Expectation expectation) {
  return {expectation, expectation, expectation};
}

struct Probe {
  std::string_view id;  // Stable: what --only, --json and golden files name it by.
  std::string_view title;
  std::string_view reference;  // A CVE, another project's test, a manual page.
  Saw (*attempt)();
  Promises promises;
};

struct Family {
  std::string_view name;
  std::span<const Probe> probes;
};

// The presets for languages promise what strict does, but for what they open and shut (probe.cc).
// One that does neither is held to strict itself.
enum class Policy : std::uint8_t {
  kParanoid,
  kStrict,
  kCompat,
  kNative,
  kGo,
  kPython,
  kNode,
  kBare
};
[[nodiscard]] Expectation promised_of(const Probe& probe, Policy policy) noexcept;

}  // namespace fnrun::probe
