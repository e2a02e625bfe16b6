#include "kernel_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "isolation/unique_fd.h"

namespace fnrun::doctor {
namespace {

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(separators), text.size());
    if (end != 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

}  // namespace

std::string read_file(const std::string& path) {
  const isolation::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> buffer{};
  while (fd && text.size() < kKernelTextMax) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

int write_file(const std::string& path, std::string_view text) {
  const isolation::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  ssize_t n;
  do {
    n = ::write(fd.get(), text.data(), text.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  return n == static_cast<ssize_t>(text.size()) ? 0 : EIO;
}

std::string read_link(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  return size > 0 ? std::string(target.data(), static_cast<std::size_t>(size)) : "";
}

std::vector<std::string_view> lines_of(std::string_view text) {
  return split(text, "\n");
}

std::vector<std::string_view> words_of(std::string_view text) {
  return split(text, " \t\n");
}

bool has_word(std::string_view text, std::string_view word) {
  const auto words = words_of(text);
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string trimmed(std::string_view text) {
  const auto end = text.find_last_not_of(" \t\n");
  return end == std::string_view::npos ? "" : std::string(text.substr(0, end + 1));
}

std::string option_of_proc_mount(std::string_view mountinfo, std::string_view option) {
  std::string found;
  for (const auto line : lines_of(mountinfo)) {
    const auto separator = line.find(" - proc ");
    if (separator == std::string_view::npos) continue;
    const auto before = words_of(line.substr(0, separator));
    const auto after = words_of(line.substr(separator + 3));
    if (before.size() < 5 || before[4] != "/proc" || after.size() < 3) continue;
    found.clear();  // The last one mounted there is the one to be seen.
    for (const auto part : split(after[2], ","))
      if (part.starts_with(option) && part.substr(option.size()).starts_with('='))
        found = part.substr(option.size() + 1);
  }
  return found;
}

}  // namespace fnrun::doctor
