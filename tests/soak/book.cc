#include "tests/soak/book.h"

#include <charconv>
#include <fstream>
#include <stdexcept>

namespace fnrun::soak {
namespace {

using supervisor::Outcome;

// The value of a member that is a plain word. In others' words a quote stands escaped, so that they
// cannot look like a member.
std::string_view member(std::string_view line, std::string_view name) {
  const std::string key = "\"" + std::string(name) + "\":\"";
  const auto at = line.find(key);
  if (at == std::string_view::npos) return {};
  const auto begin = at + key.size();
  return line.substr(begin, line.find('"', begin) - begin);
}

std::string words(std::uint8_t noted) {
  if (noted == 0xFF) return "nothing";
  if (noted == 0xFE) return "more than one end";
  return std::string(supervisor::name_of(static_cast<Outcome>(noted)));
}

}  // namespace

Outcome outcome_named(std::string_view name) {
  for (const auto& info : supervisor::kOutcomes)
    if (info.name == name) return info.outcome;
  throw std::runtime_error("there is no outcome '" + std::string(name) + "'");
}

Book::Call* Book::find(std::string_view nonce) {
  std::size_t client = 0;
  std::size_t count = 0;
  const char* const end = nonce.data() + nonce.size();
  const auto [dot, no_client] = std::from_chars(nonce.data(), end, client);
  if (no_client != std::errc{} || dot == end || client >= calls_.size()) return nullptr;
  const auto [rest, no_count] = std::from_chars(dot + 1, end, count);
  if (no_count != std::errc{} || count == 0) return nullptr;
  auto& calls = calls_[client];
  if (calls.size() < count) calls.resize(count);
  return &calls[count - 1];
}

void Book::note(std::uint8_t& where, Outcome outcome) {
  where = where == kNothing ? static_cast<std::uint8_t>(outcome) : kTwice;
}

void Book::told(const std::string& nonce, Outcome outcome) {
  ++answers_;
  note(find(nonce)->told, outcome);
}

void Book::read_reports(const std::string& file) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    ++reports_;
    Call* const call = find(member(line, "request_id"));
    if (call == nullptr)
      strange_.push_back("a report of a call that nobody made: " + line);
    else
      note(call->reported, outcome_named(member(line, "outcome")));
  }
}

std::uint64_t Book::unheard(std::size_t stayed) const {
  std::uint64_t count = 0;
  for (std::size_t client = stayed; client < calls_.size(); ++client)
    for (const Call& call : calls_[client])
      if (call.told == kNothing && call.reported != kNothing) ++count;
  return count;
}

std::vector<std::string> Book::complaints(std::size_t stayed) const {
  std::vector<std::string> all = strange_;
  for (std::size_t client = 0; client < calls_.size(); ++client) {
    for (std::size_t i = 0; i < calls_[client].size(); ++i) {
      const Call& call = calls_[client][i];
      const bool may_miss = client >= stayed && call.told == kNothing;
      if (call.told == call.reported && call.told < kTwice) continue;
      if (may_miss && call.reported != kTwice) continue;
      all.push_back("call " + std::to_string(i + 1) + " of client " + std::to_string(client) +
                    ": told " + words(call.told) + ", reported " + words(call.reported));
    }
  }
  return all;
}

}  // namespace fnrun::soak
