// A JSON text as a tree in which every value knows its file and its line.
//
// For this project's own readers of documents; not installed, and no general JSON library: it
// refuses duplicate keys, NUL characters and everything beyond its bounds, and it has no writer.
// Pure functions over values; no thread rule.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy_json.h"

namespace fnrun::policies::internal {

// Together with kPolicyTextMax these bound what a hostile text can make us allocate: a text of
// empty arrays would otherwise cost a hundred times its size.
inline constexpr std::size_t kNodesMax = 64 * 1024;
inline constexpr std::size_t kStringMax = 64 * 1024;
inline constexpr std::size_t kKeyMax = 4'096;  // A path is a key.

// kNumber is any number that is not a whole one from 0 to 2^64 - 1.
enum class Kind : std::uint8_t { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };

// Shared by the nodes of one file, so that merged trees still know where each value stands.
using FileName = std::shared_ptr<const std::string>;

struct Node {
  Kind kind = Kind::kNull;
  bool boolean = false;
  unsigned line = 0;
  std::uint64_t integer = 0;
  std::string text;  // kString: the value. kNumber: as written.
  std::vector<Node> items;
  std::map<std::string, Node, std::less<>> members;
  FileName file;

  // Borrowed from *this; nullptr when there is none.
  [[nodiscard]] const Node* find(std::string_view key) const;
};

[[nodiscard]] Result<Node> parse_json(std::string_view text, const FileName& file);

// Lays `top` over `base` as policies/README.md, "extends", says: objects merge key by key, the rest
// replaces, null removes an entry of a map. `base` may be nullptr: `top` extends nothing. A null
// with nothing to remove is an error: it is a misspelt name, and what it meant to close stays open.
[[nodiscard]] Result<Node> merge(const Node* base, const Node& top);

[[nodiscard]] PolicyError error_at(const Node& node, std::string pointer, std::string message);

// RFC 6901: `pointer` with one more step, in which '~' and '/' are escaped.
[[nodiscard]] std::string pointer_to(const std::string& pointer, std::string_view key);
[[nodiscard]] std::string pointer_to(const std::string& pointer, std::size_t index);

// Hostile text made fit for one line of an error: printable ASCII, cut after `max` bytes.
[[nodiscard]] std::string printable(std::string_view text, std::size_t max = 64);

// "an object", "a string" …
[[nodiscard]] const char* describe(Kind kind) noexcept;

}  // namespace fnrun::policies::internal
