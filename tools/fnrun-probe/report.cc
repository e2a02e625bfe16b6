#include "report.h"

#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>

namespace fnrun::probe {
namespace {

using Json = nlohmann::ordered_json;

std::string padded(std::string_view text, std::size_t width) {
  std::string out(text);
  out.resize(std::max(width, text.size() + 1), ' ');
  return out;
}

// Details may hold names that others have chosen, as of devices.
std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  return out;
}

std::string coloured(Verdict verdict, bool colour) {
  const std::string text = padded(name_of(verdict), 10);
  if (!colour || verdict == Verdict::kUntested) return text;
  const char* start = verdict == Verdict::kHeld ? "\x1b[32m" : "\x1b[33m";
  if (verdict == Verdict::kBroken) start = "\x1b[31m";
  return start + text + "\x1b[0m";
}

std::string line_of(const Row& row, const std::optional<Policy>& policy, bool colour) {
  std::string text = policy ? coloured(row.verdict, colour) : "";
  text += padded(row.probe->id, 6) + padded(to_string(row.saw), 28) + std::string(row.probe->title);
  if (row.saw.detail[0] != '\0') text += " [" + printable(row.saw.detail) + "]";
  text += '\n';
  if (policy && row.verdict == Verdict::kBroken)
    text += std::string(16, ' ') + "promised: " + to_string(promised_of(*row.probe, *policy)) +
            "; why: " + std::string(row.probe->reference) + "\n";
  return text;
}

std::string number_of(const Counts& counts, Word word) {
  return std::to_string(counts.of_word[static_cast<std::size_t>(word)]) + " " +
         std::string(name_of(word));
}

std::string summary(const Report& report) {
  const Counts counts = count(report.rows);
  std::string text = std::to_string(report.rows.size()) + " attempts: ";
  for (const Word word : {Word::kBlocked, Word::kInvisible, Word::kLimited, Word::kOpen,
                          Word::kInconclusive, Word::kSkipped})
    text += (word == Word::kBlocked ? "" : ", ") + number_of(counts, word);
  text += ".\n";
  if (!report.expected) return text;
  text += std::string(name_of(*report.expected)) + ": " +
          (report.holds ? "every promise held" : "NOT held");
  std::string broken;
  for (const Row& row : report.rows)
    if (row.verdict == Verdict::kBroken)
      broken += (broken.empty() ? "" : ", ") + std::string(row.probe->id);
  if (!broken.empty()) text += "; broken: " + broken;
  if (*report.expected == Policy::kBare)
    text += "; " + std::to_string(counts.vacuous) + " vacuous here, " +
            std::to_string(kOpenPercentWhenBare) + " % must be open";
  return text + ".\n";
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

Json entry_of(const Row& row, const std::optional<Policy>& policy) {
  const Saw& saw = row.saw;
  Json entry;
  entry["id"] = row.probe->id;
  entry["family"] = row.family;
  entry["title"] = row.probe->title;
  entry["reference"] = row.probe->reference;
  entry["result"] = name_of(saw.word);
  const char* code = saw.os_errno != 0 ? ::strerrorname_np(saw.os_errno) : nullptr;
  entry["errno"] = saw.os_errno == 0 ? Json(nullptr)
                                     : Json(code != nullptr ? code : std::to_string(saw.os_errno));
  entry["signal"] =
      saw.signal == 0 ? Json(nullptr) : Json(std::string("SIG") + ::sigabbrev_np(saw.signal));
  entry["value"] = saw.word == Word::kLimited ? Json(saw.value) : Json(nullptr);
  entry["layer"] = or_null(std::string(layer_of(saw)));
  entry["detail"] = saw.detail;
  entry["promised"] = policy ? Json(to_string(promised_of(*row.probe, *policy))) : Json(nullptr);
  entry["verdict"] = policy
                         ? Json(row.verdict == Verdict::kBroken ? "broken" : name_of(row.verdict))
                         : Json(nullptr);
  return entry;
}

}  // namespace

std::string to_table(const Report& report, bool colour) {
  std::string text = (report.expected ? padded("verdict", 10) : "") + padded("id", 6) +
                     padded("result", 28) + "attempt\n";
  for (const Row& row : report.rows) text += line_of(row, report.expected, colour);
  return text + "\n" + summary(report);
}

std::string to_json(const Report& report) {
  const Counts counts = count(report.rows);
  Json json;
  json["schema"] = 1;
  json["kernel"] = report.kernel;
  json["uid"] = report.uid;
  json["expect"] = report.expected ? Json(name_of(*report.expected)) : Json(nullptr);
  json["holds"] = report.expected ? Json(report.holds) : Json(nullptr);
  for (const Word word : {Word::kBlocked, Word::kInvisible, Word::kLimited, Word::kOpen,
                          Word::kInconclusive, Word::kSkipped})
    json["counts"][std::string(name_of(word))] = counts.of_word[static_cast<std::size_t>(word)];
  json["counts"]["broken"] = counts.broken;
  json["counts"]["vacuous"] = counts.vacuous;
  json["probes"] = Json::array();
  for (const Row& row : report.rows) json["probes"].push_back(entry_of(row, report.expected));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_list(std::span<const Row> rows) {
  std::string text;
  for (const Row& row : rows) {
    text += padded(row.probe->id, 6) + padded(row.family, 12) + std::string(row.probe->title) +
            " (" + std::string(row.probe->reference) + ")\n";
    const std::string strict = to_string(promised_of(*row.probe, Policy::kStrict));
    for (const Policy policy :
         {Policy::kParanoid, Policy::kStrict, Policy::kCompat, Policy::kNative, Policy::kGo,
          Policy::kPython, Policy::kNode, Policy::kBare}) {
      const std::string promised = to_string(promised_of(*row.probe, policy));
      const bool preset = policy == Policy::kNative || policy == Policy::kGo ||
                          policy == Policy::kPython || policy == Policy::kNode;
      if (preset && promised == strict) continue;  // As nearly everywhere.
      text += std::string(18, ' ') + padded(name_of(policy), 10) + promised + "\n";
    }
  }
  return text;
}

}  // namespace fnrun::probe
