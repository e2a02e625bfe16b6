#include "report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace fnrun::doctor {
namespace {

constexpr std::size_t kVerdictWidth = 10;
constexpr std::size_t kIdWidth = 22;
constexpr std::size_t kDemandWidth = 11;

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += escaped;
    }
  }
  return out;
}

std::string padded(std::string_view text, std::size_t width) {
  std::string out(text);
  out.resize(std::max(width, text.size() + 1), ' ');
  return out;
}

std::string coloured(const Row& row, bool colour) {
  const std::string text = padded(name_of(row.finding.verdict), kVerdictWidth);
  if (!colour || row.finding.verdict == Verdict::kUntested) return text;
  const char* start = "\x1b[33m";  // Missing, and this policy can do without: yellow.
  if (row.finding.verdict == Verdict::kWorks) start = "\x1b[32m";
  if (row.finding.verdict == Verdict::kMissing && row.demand == Demand::kRequired)
    start = "\x1b[31m";
  return start + text + "\x1b[0m";
}

std::string joined(const std::vector<std::string_view>& words) {
  std::string text;
  for (const auto word : words) text += (text.empty() ? "" : ", ") + std::string(word);
  return text;
}

std::string sentence(const Report& report) {
  const Assessment& found = report.assessment;
  const std::string policy = "policy " + printable(report.policy);
  std::string text = found.holds
                         ? "This host can hold " + policy + "."
                         : "This host cannot hold " + policy +
                               "; it requires and does not find: " + joined(found.stopped_by) + ".";
  if (!found.degraded.empty())
    text += " It prefers, and would do without: " + joined(found.degraded) + ".";
  return text;
}

}  // namespace

std::string to_table(const Report& report, bool colour) {
  std::string text = padded("verdict", kVerdictWidth) + padded("layer", kIdWidth) +
                     padded("needed", kDemandWidth) + "why\n";
  std::string_view told;  // Rows that follow each other are often enabled together.
  for (const Row& row : report.rows) {
    text += coloured(row, colour) + padded(row.probe->id, kIdWidth) +
            padded(name_of(row.demand), kDemandWidth) + printable(row.finding.why) + "\n";
    if (row.finding.verdict != Verdict::kMissing || row.probe->enable == told) continue;
    told = row.probe->enable;
    text += std::string(kVerdictWidth + kIdWidth + kDemandWidth, ' ') +
            "to enable: " + std::string(told) + "\n";
  }
  return text + "\n" + sentence(report) + "\n";
}

std::string to_json(const Report& report) {
  nlohmann::ordered_json json;
  json["host"] = report.host;
  json["policy"] = report.policy;
  json["holds"] = report.assessment.holds;
  json["stopped_by"] = report.assessment.stopped_by;
  json["degraded"] = report.assessment.degraded;
  json["rows"] = nlohmann::ordered_json::array();
  for (const Row& row : report.rows) {
    nlohmann::ordered_json entry;
    entry["id"] = row.probe->id;
    entry["title"] = row.probe->title;
    entry["needed"] = name_of(row.demand);
    entry["hangs_on"] = row.probe->hangs_on;
    entry["verdict"] = name_of(row.finding.verdict);
    entry["why"] = row.finding.why;
    entry["enable"] = row.probe->enable;
    json["rows"].push_back(std::move(entry));
  }
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fnrun::doctor
