#include "judge.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace fnrun::probe {
namespace {

constexpr std::array<std::string_view, 8> kPolicies{"paranoid", "strict", "compat", "native",
                                                    "go",       "python", "node",   "bare"};

std::string errno_name(int code) {
  const char* name = ::strerrorname_np(code);
  return name != nullptr ? name : std::to_string(code);
}

std::size_t index(Word word) {
  return static_cast<std::size_t>(word);
}

bool keeps(const Saw& saw, const Expectation& promised) {
  if ((promised.words & bit(saw.word)) == 0) return false;
  if (saw.word == Word::kBlocked) {
    if (promised.by_signal) return saw.signal != 0;
    if (promised.os_errno != 0) return saw.os_errno == promised.os_errno;
  }
  return saw.word != Word::kLimited || promised.most < 0 || saw.value <= promised.most;
}

}  // namespace

std::string_view name_of(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kHeld:
      return "held";
    case Verdict::kBroken:
      return "BROKEN";
    case Verdict::kUntested:
      return "untested";
    case Verdict::kVacuous:
      return "vacuous";
  }
  return "";
}

std::string_view name_of(Policy policy) noexcept {
  return kPolicies[static_cast<std::size_t>(policy)];
}

std::optional<Policy> policy_named(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kPolicies.size(); ++i)
    if (kPolicies[i] == name) return static_cast<Policy>(i);
  return std::nullopt;
}

Verdict judge(const Saw& saw, const Expectation& promised, Policy policy) noexcept {
  const bool kept = keeps(saw, promised);
  if (!kept && saw.word == Word::kSkipped && promised.words != kWorks.words)
    return Verdict::kUntested;
  if (!kept) return Verdict::kBroken;
  // A stop that is promised of a canary is no proof that is missing.
  if (policy == Policy::kBare && promised.words == kMay.words && saw.word != Word::kOpen)
    return Verdict::kVacuous;
  return saw.word == Word::kSkipped ? Verdict::kUntested : Verdict::kHeld;
}

Counts count(std::span<const Row> rows) noexcept {
  Counts counts;
  for (const Row& row : rows) {
    ++counts.of_word[index(row.saw.word)];
    counts.held += row.verdict == Verdict::kHeld ? 1 : 0;
    counts.broken += row.verdict == Verdict::kBroken ? 1 : 0;
    counts.untested += row.verdict == Verdict::kUntested ? 1 : 0;
    counts.vacuous += row.verdict == Verdict::kVacuous ? 1 : 0;
  }
  return counts;
}

bool holds(std::span<const Row> rows, Policy policy, bool whole_table) noexcept {
  const Counts counts = count(rows);
  if (counts.broken != 0) return false;
  return policy != Policy::kBare || !whole_table ||
         counts.of_word[index(Word::kOpen)] * 100 >= rows.size() * kOpenPercentWhenBare;
}

// SIGSYS: only a filter sends it. EROFS: the mount. EMFILE, SIGXFSZ: an rlimit. Everything else may
// be the word of several.
std::string_view layer_of(const Saw& saw) noexcept {
  if (saw.word != Word::kBlocked) return "";
  if (saw.signal == SIGSYS) return "seccomp";
  if (saw.os_errno == kTagDefault) return "seccomp-default";
  if (saw.os_errno == kTagRule) return "seccomp-rule";
  if (saw.os_errno == EROFS) return "mounts";
  if (saw.os_errno == EMFILE || saw.signal == SIGXFSZ || saw.signal == SIGXCPU) return "rlimits";
  return "";
}

std::string to_string(const Saw& saw) {
  const std::string word(name_of(saw.word));
  if (saw.word == Word::kLimited) return word + "(" + std::to_string(saw.value) + ")";
  if (saw.word != Word::kBlocked) return word;
  const std::string by =
      saw.signal != 0 ? std::string("SIG") + ::sigabbrev_np(saw.signal) : errno_name(saw.os_errno);
  const std::string layer(layer_of(saw));
  return word + "(" + by + (layer.empty() ? "" : ", ") + layer + ")";
}

std::string to_string(const Expectation& promised) {
  if (promised.words == kMay.words) return "anything";
  if (promised.most >= 0) return "limited to " + std::to_string(promised.most);
  if (promised.by_signal) return "blocked(signal)";
  if (promised.os_errno != 0) return "blocked(" + errno_name(promised.os_errno) + ")";
  std::string text;
  for (const Word word : {Word::kBlocked, Word::kInvisible, Word::kLimited, Word::kOpen})
    if ((promised.words & bit(word)) != 0)
      text += (text.empty() ? "" : " or ") + std::string(name_of(word));
  return text;
}

}  // namespace fnrun::probe
