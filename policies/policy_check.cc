#include "policies/policy_check.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace fnrun::policies {
namespace {

constexpr std::size_t kPathNameMax = 255;  // NAME_MAX

bool below(std::string_view path, std::string_view folder) {
  return path == folder || (path.starts_with(folder) && path[folder.size()] == '/');
}

// A CPU's number at the start of `text`, taken off it.
std::optional<unsigned> take_cpu(std::string_view& text) {
  unsigned cpu = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpu);
  if (error != std::errc{} || cpu >= kCpusMax) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return cpu;
}

}  // namespace

// "" when `path` is absolute and normalised, else what is wrong with it.
std::string path_fault(std::string_view path) {
  if (path.empty() || path[0] != '/') return "must be an absolute path, one that starts with \"/\"";
  if (path.size() > kPathMax) return "is longer than " + std::to_string(kPathMax) + " bytes";
  if (std::any_of(path.begin(), path.end(), [](char c) { return c >= 0 && std::iscntrl(c) != 0; }))
    return "must not hold control characters";
  if (path == "/") return "";
  for (std::size_t begin = 1; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    if (name.empty()) return "must not hold \"//\" nor end with \"/\"";
    if (name == "." || name == "..") return "must not hold \".\" or \"..\" as a step";
    if (name.size() > kPathNameMax)
      return "holds a name longer than " + std::to_string(kPathNameMax) + " bytes";
    begin = end + 1;
  }
  return "";
}

std::string target_fault(std::string_view path) {
  if (std::string fault = path_fault(path); !fault.empty()) return fault;
  if (path == "/") return "must not be \"/\"; name the folders that the handler needs";
  for (const std::string_view own : {"/proc", "/dev", "/tmp"})
    if (below(path, own))
      return "must not be " + std::string(own) + " or below: every sandbox has its own";
  return "";
}

std::string source_fault(std::string_view path) {
  if (std::string fault = path_fault(path); !fault.empty()) return fault;
  if (path == "/") return "must not be \"/\": the whole host would be visible";
  for (const std::string_view host : {"/proc", "/dev"})
    if (below(path, host))
      return "must not be " + std::string(host) +
             " or below: the host's own would be visible, the sandbox has one already";
  return "";
}

std::string cpus_fault(std::string_view cpus) {
  const std::string fault = "must list CPUs from 0 to " + std::to_string(kCpusMax - 1) +
                            " as \"0-3,6\"; leave it out for all";
  if (cpus.empty() || cpus.size() > kCpusTextMax) return fault;
  for (;;) {
    const auto first = take_cpu(cpus);
    if (!first) return fault;
    if (cpus.starts_with('-')) {
      cpus.remove_prefix(1);
      const auto last = take_cpu(cpus);
      if (!last || *last < *first) return fault;
    }
    if (cpus.empty()) return "";
    if (!cpus.starts_with(',')) return fault;
    cpus.remove_prefix(1);
  }
}

std::string variable_name_fault(std::string_view name) {
  const auto word = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  };
  if (!name.empty() && name.size() <= kVariableNameMax && word(name[0]) &&
      std::all_of(name.begin(), name.end(),
                  [&](char c) { return word(c) || (c >= '0' && c <= '9'); }))
    return "";
  return "a variable is named by 1 to " + std::to_string(kVariableNameMax) +
         " of A-Z, a-z, 0-9 and _, the first no digit";
}

}  // namespace fnrun::policies
