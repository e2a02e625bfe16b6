// Typed, bounded reading of a document, with errors that teach.
//
// For this project's own readers of documents; not installed. Knows JSON kinds and ranges, nothing
// of what a document means. The first error is kept and reading goes on with harmless values, so
// that no caller needs a way out of its own. A Reader and its At borrow the document; one thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policies/json_document.h"

namespace fnrun::policies::internal {

// A value of the document, and the way to it.
struct At {
  const Node* node;
  std::string pointer;

  [[nodiscard]] At item(std::size_t index) const {
    return {&node->items[index], pointer_to(pointer, index)};
  }
};

class Reader {
 public:
  // Keeps the first error only.
  void fail(const At& at, std::string message);
  [[nodiscard]] const std::optional<PolicyError>& error() const { return error_; }

  // Is it an object with no key but these?
  bool object(const At& at, std::span<const std::string_view> keys);
  // Is it an object, used as a map from free names to values? `max` bounds the entries.
  bool map(const At& at, std::size_t max);
  bool array(const At& at, std::size_t min, std::size_t max);

  // nullopt when the object has no such key; require() makes that an error.
  [[nodiscard]] std::optional<At> find(const At& object, std::string_view key) const;
  [[nodiscard]] std::optional<At> require(const At& object, std::string_view key);

  [[nodiscard]] std::string string(const At& at, std::size_t max);
  // A text of 1 … 1024 bytes: why something is allowed.
  [[nodiscard]] std::string reason(const At& at);
  [[nodiscard]] bool boolean(const At& at);
  [[nodiscard]] std::uint64_t integer(const At& at, std::uint64_t min, std::uint64_t max);

 private:
  bool kind(const At& at, Kind expected);

  std::optional<PolicyError> error_;
};

}  // namespace fnrun::policies::internal
