// The kernel's text files, bounded and totally parsed: what they say is input like any other.
//
// Reads and writes single files; the parsers are pure. No state, no thread rule.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fnrun::doctor {

inline constexpr std::size_t kKernelTextMax = 1024 * 1024;

// Until the end or the bound; "" if it cannot be read.
[[nodiscard]] std::string read_file(const std::string& path);
// 0, or errno of what failed. One write(2): the kernel takes a value whole or not at all.
[[nodiscard]] int write_file(const std::string& path, std::string_view text);
[[nodiscard]] std::string read_link(const std::string& path);

// Views of `text`, which therefore may not be a temporary.
[[nodiscard]] std::vector<std::string_view> lines_of(std::string_view text);
[[nodiscard]] std::vector<std::string_view> words_of(std::string_view text);
std::vector<std::string_view> lines_of(std::string&& text) = delete;
std::vector<std::string_view> words_of(std::string&& text) = delete;
[[nodiscard]] bool has_word(std::string_view text, std::string_view word);
// Without what is white at its end.
[[nodiscard]] std::string trimmed(std::string_view text);

// The value of `option` of the file system mounted at /proc: "invisible"; "" if it is not set.
[[nodiscard]] std::string option_of_proc_mount(std::string_view mountinfo, std::string_view option);

}  // namespace fnrun::doctor
