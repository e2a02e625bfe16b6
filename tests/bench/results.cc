#include "tests/bench/results.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace fnrun::bench {
namespace {

template <class... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

const Samples* find(const std::vector<Samples>& cases, const std::string& name) {
  for (const Samples& each : cases)
    if (each.name == name && !each.us.empty()) return &each;
  return nullptr;
}

// A tenth of a microsecond is something to a call of five, and nothing to a launch.
int digits(double us) {
  return us < 100 ? 1 : 0;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= ' ') result += c;
  }
  return result + "\"";
}

}  // namespace

double Samples::quantile(double share) const {
  std::vector<double> sorted = us;
  std::sort(sorted.begin(), sorted.end());
  const double at = share * static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<std::size_t>(std::lround(at))];
}

std::string table(const std::vector<Samples>& cases, const std::string& raw_name) {
  const Samples* raw = find(cases, raw_name);
  std::string text =
      "| case | min us | p10 us | median us | p99 us | x raw (median) | x raw (p10) |"
      "\n|---|---|---|---|---|---|---|\n";
  for (const Samples& each : cases) {
    if (each.us.empty()) {
      text += "| " + each.name + " | skipped: " + each.skipped + " |\n";
      continue;
    }
    const double p10 = each.quantile(0.1);
    const double median = each.quantile(0.5);
    text += format("| %s | %.*f | %.*f | %.*f | %.*f |", each.name.c_str(), digits(p10),
                   each.quantile(0), digits(p10), p10, digits(p10), median, digits(p10),
                   each.quantile(0.99));
    text += raw == nullptr
                ? " | |\n"
                : format(" %.2f | %.2f |\n", median / raw->quantile(0.5), p10 / raw->quantile(0.1));
  }
  return text;
}

Verdict judge(const std::vector<Samples>& cases) {
  const Samples& fnrun = *find(cases, kFnrun);
  const Samples& raw = *find(cases, kRaw);
  const double of_raw = fnrun.quantile(0.5) / raw.quantile(0.5);
  Verdict verdict;
  verdict.sentence = format("launch overhead: %.2f x raw (median), %.2f x (p10); limit %.2f; ",
                            of_raw, fnrun.quantile(0.1) / raw.quantile(0.1), kLimitOfRaw);
  verdict.within_limits = of_raw <= kLimitOfRaw;
  if (const Samples* bwrap = find(cases, kBwrap)) {
    const double faster = bwrap->quantile(0.5) / fnrun.quantile(0.5);
    verdict.sentence += format("%.2f x faster than bwrap", faster);
    verdict.within_limits = verdict.within_limits && faster > 1;
  } else {
    verdict.sentence += "bwrap: not compared";
  }
  return verdict;
}

std::string to_json(const std::vector<std::pair<std::string, std::string>>& about,
                    const std::vector<Samples>& cases) {
  std::string text = "{\n";
  for (const auto& [name, value] : about)
    text += "  " + quoted(name) + ": " + quoted(value) + ",\n";
  text += "  \"unit\": \"us\",\n  \"cases\": {";
  for (const Samples& each : cases) {
    text += std::string(&each == cases.data() ? "" : ",") + "\n    " + quoted(each.name) + ": [";
    for (std::size_t i = 0; i < each.us.size(); ++i)
      text += format(i == 0 ? "%.1f" : ", %.1f", each.us[i]);
    text += "]";
  }
  return text + "\n  }\n}\n";
}

}  // namespace fnrun::bench
