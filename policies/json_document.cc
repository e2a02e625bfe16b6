#include "policies/json_document.h"

#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace fnrun::policies::internal {
namespace {

// How far the lexer has read.
struct Position {
  unsigned line = 1;
  char last = '\0';
};

// Hands the text to nlohmann's lexer and counts the lines that it takes: its SAX events carry no
// position, but they come before the next token is read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, Position* position) : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    position_->last = *at_++;
    if (position_->last == '\n') ++position_->line;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ == b.at_;
  }

 private:
  const char* at_;
  Position* position_;
};

// nlohmann's words without its own prefix and position, which are ours to give.
std::string reason_of(std::string_view what) {
  constexpr std::string_view kColumn = ", column ";
  if (const auto column = what.find(kColumn); column != std::string_view::npos) {
    const auto colon = what.find(": ", column);
    if (colon != std::string_view::npos) what.remove_prefix(colon + 2);
  } else if (const auto bracket = what.find("] "); bracket != std::string_view::npos) {
    what.remove_prefix(bracket + 2);
  }
  return "not JSON: " + printable(what, 200);
}

// Builds the tree from SAX events. The method names and signatures are nlohmann's.
class Builder {
 public:
  Builder(const Position& position, FileName file) : position_(position), file_(std::move(file)) {}

  bool null() { return add(Kind::kNull) != nullptr; }
  bool boolean(bool value) {
    Node* node = add(Kind::kBool);
    if (node != nullptr) node->boolean = value;
    return node != nullptr;
  }
  bool number_integer(std::int64_t value) {
    return value >= 0 ? number_unsigned(std::uint64_t(value)) : other_number(std::to_string(value));
  }
  bool number_unsigned(std::uint64_t value) {
    Node* node = add(Kind::kInteger);
    if (node != nullptr) node->integer = value;
    return node != nullptr;
  }
  bool number_float(double, const std::string& text) { return other_number(text); }
  bool string(std::string& value) {
    if (value.size() > kStringMax)
      return fail("a string may hold " + std::to_string(kStringMax) + " bytes at most");
    if (value.find('\0') != std::string::npos) return fail("a string may not hold \\u0000");
    Node* node = add(Kind::kString);
    if (node != nullptr) node->text = std::move(value);
    return node != nullptr;
  }
  bool binary(nlohmann::json::binary_t&) { return fail("binary values do not exist in JSON"); }

  bool start_object(std::size_t) { return open(Kind::kObject); }
  bool start_array(std::size_t) { return open(Kind::kArray); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    Frame& frame = stack_.back();
    if (name.size() > kKeyMax)
      return fail("a key may hold " + std::to_string(kKeyMax) + " bytes at most");
    if (name.find('\0') != std::string::npos) return fail("a key may not hold \\u0000");
    frame.key = std::move(name);
    frame.has_key = true;
    if (const Node* first = frame.node->find(frame.key); first != nullptr)
      return fail("this key is given twice in one object, first on line " +
                  std::to_string(first->line) + "; keep one of them");
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) {
    return fail(reason_of(error.what()));
  }

  Node take_root() { return std::move(root_); }
  PolicyError take_error() { return std::move(error_); }

 private:
  struct Frame {
    Node* node;  // Stays valid: only the innermost open container grows.
    std::string key;
    bool has_key = false;
  };

  bool other_number(std::string text) {
    Node* node = add(Kind::kNumber);
    if (node != nullptr) node->text = std::move(text);
    return node != nullptr;
  }

  // The end of a number is known only from the character after it, which may be a line break.
  unsigned line(Kind kind) const {
    const bool number = kind == Kind::kInteger || kind == Kind::kNumber;
    return position_.line - (number && position_.last == '\n' ? 1 : 0);
  }

  Node* add(Kind kind) {
    if (++nodes_ > kNodesMax) {
      fail("a document may hold " + std::to_string(kNodesMax) + " values at most");
      return nullptr;
    }
    Node node;
    node.kind = kind;
    node.line = line(kind);
    node.file = file_;
    if (stack_.empty()) {
      root_ = std::move(node);
      return &root_;
    }
    Frame& frame = stack_.back();
    if (frame.node->kind == Kind::kObject)
      return &frame.node->members.emplace(frame.key, std::move(node)).first->second;
    frame.node->items.push_back(std::move(node));
    return &frame.node->items.back();
  }

  bool open(Kind kind) {
    if (stack_.size() >= std::size_t{kPolicyDepthMax})
      return fail("nested deeper than " + std::to_string(kPolicyDepthMax) + " levels");
    Node* node = add(kind);
    if (node != nullptr) stack_.push_back({.node = node, .key = {}, .has_key = false});
    return node != nullptr;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  std::string here() const {
    std::string pointer;
    for (std::size_t depth = 0; depth < stack_.size(); ++depth) {
      const Frame& frame = stack_[depth];
      const bool innermost = depth + 1 == stack_.size();
      const std::size_t count = frame.node->items.size();
      if (frame.has_key)
        pointer = pointer_to(pointer, frame.key);
      else if (frame.node->kind == Kind::kArray)
        pointer = pointer_to(pointer, innermost ? count : count - 1);
    }
    return pointer;
  }

  // Always false, which ends the parse.
  bool fail(std::string message) {
    error_ = {*file_, here(), line(Kind::kNumber), std::move(message)};
    return false;
  }

  const Position& position_;
  FileName file_;
  Node root_;
  std::vector<Frame> stack_;
  std::size_t nodes_ = 0;
  PolicyError error_;
};

// Maps whose entries `extends` brings and null takes away, as paths from the root. Elsewhere null
// is a wrong type: a limit has no "none".
bool removable(const std::vector<std::string_view>& path) {
  if (path.size() == 2)
    return path[0] == "prefer" ||
           (path[0] == "filesystem" &&
            (path[1] == "dangerously_exec_from_tmp" || path[1] == "dev_shm")) ||
           (path[0] == "seccomp" && path[1] == "write_execute");
  if (path.size() != 3) return false;
  return (path[0] == "seccomp" && path[1] == "rules") ||
         (path[0] == "filesystem" && path[1] == "read_only") ||
         (path[0] == "environment" && (path[1] == "set" || path[1] == "pass"));
}

// Recursion is bounded by kPolicyDepthMax: neither tree is deeper.
class Merger {
 public:
  Node merge(const Node* base, const Node& top) {
    if (top.kind != Kind::kObject) return top;
    const bool into = base != nullptr && base->kind == Kind::kObject;
    Node merged = into ? *base : Node{};
    merged.kind = Kind::kObject;
    merged.line = top.line;
    merged.file = top.file;
    for (const auto& [key, value] : top.members) {
      path_.emplace_back(key);
      const Node* below = into ? base->find(key) : nullptr;
      if (value.kind == Kind::kNull && removable(path_)) {
        if (below == nullptr) nothing_to_remove(value);
        merged.members.erase(key);
      } else {
        merged.members[key] = merge(below, value);
      }
      path_.pop_back();
    }
    return merged;
  }
  const std::optional<PolicyError>& error() const { return error_; }

 private:
  void nothing_to_remove(const Node& node) {
    if (error_) return;
    std::string pointer;
    for (const std::string_view step : path_) pointer = pointer_to(pointer, step);
    error_ = error_at(node, std::move(pointer),
                      "null removes what \"extends\" brings, but nothing of this name comes from "
                      "there; check the spelling");
  }

  std::vector<std::string_view> path_;
  std::optional<PolicyError> error_;
};

}  // namespace

const Node* Node::find(std::string_view key) const {
  const auto found = members.find(key);
  return found == members.end() ? nullptr : &found->second;
}

Result<Node> parse_json(std::string_view text, const FileName& file) {
  if (text.size() > kPolicyTextMax)
    return PolicyError{*file, "", 0,
                       "a document may hold " + std::to_string(kPolicyTextMax) + " bytes at most"};
  Position position;
  Builder builder(position, file);
  const CountingIterator first(text.data(), &position);
  const CountingIterator last(text.data() + text.size(), &position);
  if (!nlohmann::json::sax_parse(first, last, &builder)) return builder.take_error();
  return builder.take_root();
}

Result<Node> merge(const Node* base, const Node& top) {
  Merger merger;
  Node merged = merger.merge(base, top);
  if (merger.error()) return *merger.error();
  return merged;
}

PolicyError error_at(const Node& node, std::string pointer, std::string message) {
  return {node.file ? *node.file : "", std::move(pointer), node.line, std::move(message)};
}

std::string pointer_to(const std::string& pointer, std::string_view key) {
  std::string longer = pointer + '/';
  for (const char c : key) {
    if (c == '~')
      longer += "~0";
    else if (c == '/')
      longer += "~1";
    else
      longer += c;
  }
  return longer;
}

std::string pointer_to(const std::string& pointer, std::size_t index) {
  return pointer + '/' + std::to_string(index);
}

std::string printable(std::string_view text, std::size_t max) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : text.substr(0, max)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f)
      out += c;
    else
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
  }
  if (text.size() > max) out += "...";
  return out;
}

const char* describe(Kind kind) noexcept {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return "true or false";
    case Kind::kInteger:
      return "a whole number";
    case Kind::kNumber:
      return "a number";
    case Kind::kString:
      return "a string";
    case Kind::kArray:
      return "an array";
    case Kind::kObject:
      return "an object";
  }
  return "?";
}

}  // namespace fnrun::policies::internal
