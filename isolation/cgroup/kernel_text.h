// Reading and splitting the kernel's text files, which are untrusted input: bounded, total.
//
// Private to this room. Pure functions but for the two that read; any thread.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isolation/unique_fd.h"

namespace fnrun::isolation {

inline constexpr std::size_t kKernelTextMax = 1024 * 1024;

// Until its end, at most kKernelTextMax: files in /proc and of cgroups have no size. "" if it
// cannot be opened; errno then says why.
inline std::string read_kernel_text(int dir_fd, const char* path) {
  std::string text;
  const UniqueFd fd(::openat(dir_fd, path, O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  while (fd && text.size() < kKernelTextMax) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}
inline std::string read_kernel_text(const std::string& path) {
  return read_kernel_text(AT_FDCWD, path.c_str());
}

// Without the empty parts.
inline std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

// Is `word` one of the words of a line like "cpuset cpu io memory\n"?
inline bool has_word(std::string_view text, std::string_view word, char separator = ' ') {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  for (const auto part : split(text, separator))
    if (part == word) return true;
  return false;
}

template <class T>
std::optional<T> to_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Of a file of lines "key number", as cpu.stat and memory.events: the number behind `key`.
inline std::optional<std::uint64_t> keyed_number(std::string_view text, std::string_view key) {
  for (const auto line : split(text, '\n'))
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ')
      return to_number<std::uint64_t>(line.substr(key.size() + 1));
  return std::nullopt;
}

}  // namespace fnrun::isolation
