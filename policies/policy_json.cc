#include "policies/policy_json.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "policies/json_document.h"
#include "policies/policy_read.h"

namespace fnrun::policies {
namespace {

namespace fs = std::filesystem;
using internal::Header;
using internal::Node;

// Which file, and who asked for it: errors of a file that is not there belong to the asker.
struct Wanted {
  std::string name;  // As it was given.
  PolicyError from;  // Place to blame; its message is filled in.
};

PolicyError blame(const Wanted& wanted, std::string message) {
  PolicyError error = wanted.from;
  error.message = std::move(message);
  return error;
}

// A PolicyError could be made of one string too, so the plain conversion to a Result is ambiguous.
template <class T>
Result<T> found(T value) {
  return Result<T>(boost::system::in_place_value, std::move(value));
}

bool is_name(std::string_view text) {
  return text.find('/') == std::string_view::npos && !text.ends_with(".json");
}

bool is_file(const fs::path& path) {
  std::error_code ignored;  // What cannot be looked at is not there for us.
  return fs::is_regular_file(path, ignored);
}

// A folder, a FIFO or a device is refused before it is opened: reading one could block for ever.
Result<fs::path> locate(const Wanted& wanted, const std::vector<fs::path>& folders) {
  const bool named = is_name(wanted.name);
  const fs::path file = named ? wanted.name + ".json" : wanted.name;
  if (file.is_absolute() || folders.empty()) {
    if (!named && is_file(file)) return found(file);
  } else {
    for (const fs::path& folder : folders)
      if (fs::path candidate = folder / file; is_file(candidate)) return found(candidate);
  }
  std::string message = named ? "no policy of the name \"" : "no policy file \"";
  message += internal::printable(wanted.name) + '"';
  if (!file.is_absolute() && !folders.empty()) {
    message += "; looked for " + internal::printable(file.string()) + " in ";
    for (const fs::path& folder : folders) {
      if (&folder != &folders.front()) message += ", ";
      message += folder.empty() ? "." : internal::printable(folder.string(), 256);
    }
  } else if (named) {
    message += "; there is no folder to look in, give a path that ends with .json";
  }
  return blame(wanted, std::move(message));
}

Result<std::string> read_text(const Wanted& wanted, const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kPolicyTextMax + 1, '\0');  // One more, so that a longer file is seen to be so.
  if (in) in.read(text.data(), std::streamsize(text.size()));
  if (!in.is_open() || in.bad())
    return blame(wanted, "cannot read " + internal::printable(path.string(), 256) + ": " +
                             std::error_code(errno, std::generic_category()).message());
  text.resize(std::size_t(in.gcount()));
  return found(std::move(text));
}

// One file with all it extends laid under it.
class Loader {
 public:
  explicit Loader(const std::vector<fs::path>& search) : search_(search) {}

  Result<Node> load(std::string_view path_or_name) {
    Wanted wanted{std::string(path_or_name), {std::string(path_or_name), "", 0, ""}};
    std::vector<fs::path> folders;  // A path is relative to the working directory.
    if (is_name(path_or_name)) folders = search_;
    // From the file named to its last base.
    std::vector<Node> chain;
    for (;;) {
      auto path = locate(wanted, folders);
      if (!path) return path.error();
      if (auto fault = enter(wanted, *path)) return *fault;
      auto node = read(wanted, *path);
      if (!node) return node.error();
      auto header = internal::read_header(*node);
      if (!header) return header.error();
      chain.push_back(std::move(*node));
      if (header->extends.empty()) break;
      wanted = {header->extends,
                {chain.back().file ? *chain.back().file : "", header->extends_pointer,
                 header->extends_line, ""}};
      folders = {path->parent_path()};
      folders.insert(folders.end(), search_.begin(), search_.end());
    }
    return flatten(std::move(chain));
  }

  // After load(): from the file named to its last base.
  [[nodiscard]] const std::vector<fs::path>& files() const { return seen_; }

 private:
  // Bounds the chain and refuses a circle, by the files themselves: two names may mean one.
  std::optional<PolicyError> enter(const Wanted& wanted, const fs::path& path) {
    std::error_code error;
    fs::path file = fs::canonical(path, error);
    if (error) file = path;
    if (std::find(seen_.begin(), seen_.end(), file) != seen_.end())
      return blame(wanted, "extends itself, by way of " +
                               internal::printable(path.filename().string()) +
                               "; a chain of \"extends\" must end");
    if (seen_.size() > std::size_t{kPolicyExtendsMax})
      return blame(wanted,
                   "more than " + std::to_string(kPolicyExtendsMax) + " steps of \"extends\"");
    seen_.push_back(std::move(file));
    return std::nullopt;
  }

  static Result<Node> read(const Wanted& wanted, const fs::path& path) {
    const auto text = read_text(wanted, path);
    if (!text) return text.error();
    return internal::parse_json(*text, std::make_shared<const std::string>(path.string()));
  }

  static Result<Node> flatten(std::vector<Node> chain) {
    auto merged = internal::merge(nullptr, chain.back());
    for (auto top = chain.rbegin() + 1; merged && top != chain.rend(); ++top) {
      merged->members.erase("description");  // Says what that file is, not what this one is.
      merged = internal::merge(&*merged, *top);
    }
    return merged;
  }

  const std::vector<fs::path>& search_;
  std::vector<fs::path> seen_;
};

}  // namespace

std::string PolicyError::to_string() const {
  std::string text;
  if (!file.empty()) text += file + ':';
  if (line != 0) text += (file.empty() ? "line " : "") + std::to_string(line) + ':';
  if (!pointer.empty()) text += (text.empty() ? "" : " ") + pointer + ':';
  text += (text.empty() ? "" : " ") + message;
  return internal::printable(text, 8 * internal::kKeyMax);
}

void throw_exception_from_error(const PolicyError& error, const boost::source_location&) {
  throw std::runtime_error(error.to_string());
}

Result<Policy> parse_policy(std::string_view json) {
  const auto root = internal::parse_json(json, std::make_shared<const std::string>());
  if (!root) return root.error();
  const Result<Header> header = internal::read_header(*root);
  if (!header) return header.error();
  if (!header->extends.empty())
    return PolicyError{"", header->extends_pointer, header->extends_line,
                       "a policy that does not come from a file cannot extend another; write it "
                       "out in full"};
  const auto merged = internal::merge(nullptr, *root);
  if (!merged) return merged.error();
  return internal::read_policy(*merged);
}

Result<Policy> load_policy(std::string_view path_or_name, const std::vector<fs::path>& search) {
  const auto merged = Loader(search).load(path_or_name);
  if (!merged) return merged.error();
  return internal::read_policy(*merged);
}

Result<std::string> read_document(const fs::path& path) {
  const Wanted wanted{path.string(), {path.string(), "", 0, ""}};
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (error) return blame(wanted, "cannot be read: " + error.message());
  if (!fs::is_regular_file(status)) return blame(wanted, "is no regular file");
  return read_text(wanted, path);
}

Result<std::vector<fs::path>> policy_files(std::string_view path_or_name,
                                           const std::vector<fs::path>& search) {
  Loader loader(search);
  const auto merged = loader.load(path_or_name);
  if (!merged) return merged.error();
  return loader.files();
}

}  // namespace fnrun::policies
