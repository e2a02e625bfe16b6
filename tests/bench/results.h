// What the launch benchmark measured: samples by case, as a table, as JSON, as the one sentence.
//
// Values and text only; launches nothing.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fnrun::bench {

struct Samples {
  std::string name;
  std::string skipped;       // Why the case did not run; "" if it did.
  std::vector<double> us{};  // In the order of the rounds.

  // 0 <= share <= 1; precondition: there are samples.
  [[nodiscard]] double quantile(double share) const;
};

struct Verdict {
  std::string sentence;
  bool within_limits = true;  // Of performance: 1.25 x raw, faster than bwrap where that is there.
};

inline constexpr double kLimitOfRaw = 1.25;
inline constexpr const char* kFnrun = "fnrun";
inline constexpr const char* kRaw = "raw_full";
inline constexpr const char* kBwrap = "bwrap";

// `raw`: the case that the others are set against; none of that name, no ratios.
[[nodiscard]] std::string table(const std::vector<Samples>& cases, const std::string& raw = kRaw);
// Precondition: kFnrun and kRaw have samples.
[[nodiscard]] Verdict judge(const std::vector<Samples>& cases);
// `about`: what kind of run it was, by name.
[[nodiscard]] std::string to_json(const std::vector<std::pair<std::string, std::string>>& about,
                                  const std::vector<Samples>& cases);

}  // namespace fnrun::bench
