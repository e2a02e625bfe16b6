// What was seen, held against what was promised. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "probe.h"

namespace fnrun::probe {

enum class Verdict : std::uint8_t {
  kHeld,
  kBroken,
  kUntested,  // Skipped; nothing was promised of a canary.
  kVacuous,   // Bare: stopped without any sandbox, so this probe proves nothing of one here.
};
[[nodiscard]] std::string_view name_of(Verdict verdict) noexcept;
[[nodiscard]] std::string_view name_of(Policy policy) noexcept;
[[nodiscard]] std::optional<Policy> policy_named(std::string_view name) noexcept;

struct Row {
  const Probe* probe = nullptr;
  std::string_view family;
  Saw saw;
  Verdict verdict = Verdict::kUntested;  // Only where a policy was given.
};

[[nodiscard]] Verdict judge(const Saw& saw, const Expectation& promised, Policy policy) noexcept;

// Without a sandbox at least so many of a hundred attempts must succeed, or the table is no proof.
inline constexpr std::size_t kOpenPercentWhenBare = 70;

struct Counts {
  std::size_t of_word[6] = {};  // By Word.
  std::size_t held = 0;
  std::size_t broken = 0;
  std::size_t untested = 0;
  std::size_t vacuous = 0;
};
[[nodiscard]] Counts count(std::span<const Row> rows) noexcept;
// Whether the run as a whole did what was promised; a run of chosen probes is not held to the share
// of open ones.
[[nodiscard]] bool holds(std::span<const Row> rows, Policy policy, bool whole_table) noexcept;

// Errnos that no kernel returns: a profile that refuses with nothing else (SECCOMP_RET_ERRNO
// carries up to 4095) shows in a report as the layer "seccomp-default", "seccomp-rule".
inline constexpr int kTagDefault = 3001;
inline constexpr int kTagRule = 3003;

// The layer that stopped it, where the answer can come from one only; "" where it is not known.
[[nodiscard]] std::string_view layer_of(const Saw& saw) noexcept;
// "blocked(EPERM)", "blocked(SIGSYS, seccomp)", "limited(64)", "open".
[[nodiscard]] std::string to_string(const Saw& saw);
// "blocked(ENOSYS)", "blocked or invisible", "limited to 64", "anything".
[[nodiscard]] std::string to_string(const Expectation& expectation);

}  // namespace fnrun::probe
