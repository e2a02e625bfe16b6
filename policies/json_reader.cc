#include "policies/json_reader.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace fnrun::policies::internal {
namespace {

constexpr std::size_t kReasonMax = 1'024;

// Levenshtein's distance; both texts are short.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string unknown_key(std::string_view key, std::span<const std::string_view> keys) {
  std::string message = "unknown key";
  std::string_view nearest;
  std::size_t best = key.size() / 3 + 1;  // Farther than that is another word, not a slip.
  if (key.size() <= 64)
    for (const std::string_view known : keys)
      if (const std::size_t d = distance(key, known); d <= best) {
        nearest = known;
        best = d;
      }
  if (!nearest.empty()) message += "; did you mean \"" + std::string(nearest) + "\"?";
  message += " Allowed here: ";
  for (const std::string_view known : keys) {
    if (known != keys.front()) message += ", ";
    message += known;
  }
  return message;
}

std::string written(const Node& node) {
  switch (node.kind) {
    case Kind::kInteger:
      return std::to_string(node.integer);
    case Kind::kNumber:
      return printable(node.text);
    case Kind::kString:
      return '"' + printable(node.text) + '"';
    case Kind::kBool:
      return node.boolean ? "true" : "false";
    default:
      return describe(node.kind);
  }
}

std::string range(std::uint64_t min, std::uint64_t max) {
  return std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

void Reader::fail(const At& at, std::string message) {
  if (!error_) error_ = error_at(*at.node, at.pointer, std::move(message));
}

bool Reader::kind(const At& at, Kind expected) {
  if (at.node->kind == expected) return true;
  fail(at, std::string("must be ") + describe(expected) + ", not " + written(*at.node));
  return false;
}

bool Reader::object(const At& at, std::span<const std::string_view> keys) {
  if (!kind(at, Kind::kObject)) return false;
  for (const auto& [key, value] : at.node->members)
    if (!error_ && std::find(keys.begin(), keys.end(), key) == keys.end())
      fail({&value, pointer_to(at.pointer, key)}, unknown_key(key, keys));
  return true;
}

bool Reader::map(const At& at, std::size_t max) {
  if (!kind(at, Kind::kObject)) return false;
  if (at.node->members.size() <= max) return true;
  fail(at, "may hold " + std::to_string(max) + " entries at most, not " +
               std::to_string(at.node->members.size()));
  return false;
}

bool Reader::array(const At& at, std::size_t min, std::size_t max) {
  if (!kind(at, Kind::kArray)) return false;
  const std::size_t size = at.node->items.size();
  if (size >= min && size <= max) return true;
  fail(at, "must hold " + range(min, max) + " values, not " + std::to_string(size));
  return false;
}

std::optional<At> Reader::find(const At& object, std::string_view key) const {
  const Node* node = object.node->find(key);
  if (node == nullptr) return std::nullopt;
  return At{node, pointer_to(object.pointer, key)};
}

std::optional<At> Reader::require(const At& object, std::string_view key) {
  auto found = find(object, key);
  if (!found) fail(object, "the key \"" + std::string(key) + "\" is missing");
  return found;
}

std::string Reader::string(const At& at, std::size_t max) {
  if (!kind(at, Kind::kString)) return {};
  if (at.node->text.size() > max)
    fail(at, "may hold " + std::to_string(max) + " bytes at most, not " +
                 std::to_string(at.node->text.size()));
  return at.node->text;
}

std::string Reader::reason(const At& at) {
  std::string text = string(at, kReasonMax);
  if (at.node->kind == Kind::kString && text.find_first_not_of(" \t\r\n") == std::string::npos)
    fail(at, "must say why; an empty reason is none");
  return text;
}

bool Reader::boolean(const At& at) {
  return kind(at, Kind::kBool) && at.node->boolean;
}

std::uint64_t Reader::integer(const At& at, std::uint64_t min, std::uint64_t max) {
  const bool number = at.node->kind == Kind::kInteger || at.node->kind == Kind::kNumber;
  if (!number && !kind(at, Kind::kInteger)) return min;
  if (at.node->kind == Kind::kInteger && at.node->integer >= min && at.node->integer <= max)
    return at.node->integer;
  fail(at, "must be a whole number from " + range(min, max) + ", not " + written(*at.node));
  return min;
}

}  // namespace fnrun::policies::internal
