#include "supervisor/stderr_log.h"

#include <algorithm>
#include <array>

namespace fnrun::supervisor {
namespace {

constexpr std::chrono::seconds kWindow{1};
constexpr std::string_view kEllipsis = "\u2026";

struct Character {
  char32_t code = 0;
  std::size_t size = 0;     // Bytes; 0 where the text does not begin with a character.
  bool unfinished = false;  // More bytes could make it one.
};

// What UTF-8 text begins with. Precondition: it is not empty.
Character first_character(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, false};
  // 0x80-0xc1 continue a character or encode ASCII in two bytes; 0xf5 and above encode nothing.
  if (lead < 0xc2 || lead > 0xf4) return {};
  const std::size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t code = lead & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if (i == text.size()) return {0, 0, true};
    // The second byte tells overlong forms, surrogates and what is beyond U+10FFFF.
    const unsigned char low = i > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = i > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (byte(i) < low || byte(i) > high) return {};
    code = (code << 6U) | (byte(i) & 0x3fU);
  }
  return {code, size, false};
}

bool is_safe(char32_t code) noexcept {
  if (code == '\t') return true;
  if (code < 0x20) return false;                       // C0, with ESC, NUL and line feed.
  if (code >= 0x7f && code <= 0x9f) return false;      // DEL and C1: U+009B is ESC [ in one.
  if (code >= 0x2028 && code <= 0x202e) return false;  // Line and paragraph end, bidi embeddings.
  return code < 0x2066 || code > 0x2069;               // Bidi isolates.
}

// "\x1b", "\u202e": everything unsafe is below U+10000.
void append_escaped(std::string& to, char letter, char32_t code, unsigned digits) {
  constexpr std::string_view kHex = "0123456789abcdef";
  to += '\\';
  to += letter;
  while (digits-- > 0) to += kHex[(code >> (4 * digits)) & 0xfU];
}

void append_safe(std::string& to, std::string_view text) {
  while (!text.empty()) {
    const Character character = first_character(text);
    const std::size_t size = std::max<std::size_t>(character.size, 1);
    if (character.size == 0)
      append_escaped(to, 'x', static_cast<unsigned char>(text[0]), 2);
    else if (is_safe(character.code))
      to += text.substr(0, size);
    else if (character.code < 0x80)
      append_escaped(to, 'x', character.code, 2);
    else
      append_escaped(to, 'u', character.code, 4);
    text.remove_prefix(size);
  }
}

// How much of a cut text ends between characters.
std::size_t whole_characters(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= std::min<std::size_t>(text.size(), 3); ++back)
    if (first_character(text.substr(text.size() - back)).unfinished) return text.size() - back;
  return text.size();
}

}  // namespace

std::string escape_for_terminal(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  append_safe(safe, text);
  return safe;
}

void StderrLog::feed(std::span<const char> bytes, TimePoint now, const Sink& sink) {
  enter_window(now, sink);
  std::string_view rest(bytes.data(), bytes.size());
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view piece = rest.substr(0, end);
    const std::size_t room = limits_.line_max - line_.size();
    line_ += piece.substr(0, room);
    cut_ += piece.size() - std::min(piece.size(), room);
    if (end == std::string_view::npos) return;
    end_line(now, sink);
    rest.remove_prefix(end + 1);
  }
}

void StderrLog::finish(TimePoint now, const Sink& sink) {
  enter_window(now, sink);
  if (!line_.empty() || cut_ > 0) end_line(now, sink);
  say_dropped(sink);
}

void StderrLog::end_line(TimePoint now, const Sink& sink) {
  if (!window_) window_ = now;
  if (in_window_ >= limits_.lines_per_second_max) {
    ++unsaid_;
    ++dropped_;
  } else {
    std::string_view kept = line_;
    // Half a character would look like bytes that are none; one that is whole elsewhere is cut.
    if (cut_ > 0) kept = kept.substr(0, whole_characters(kept));
    const std::uint64_t cut = cut_ + (line_.size() - kept.size());
    std::string safe;
    safe.reserve(kept.size());
    if (kept.starts_with(kEllipsis)) {
      append_escaped(safe, 'u', 0x2026, 4);
      kept.remove_prefix(kEllipsis.size());
    }
    append_safe(safe, kept);
    if (cut > 0) safe.append(kEllipsis).append(" (" + std::to_string(cut) + " bytes cut)");
    ++in_window_;
    ++emitted_;
    sink(safe);
  }
  line_.clear();
  cut_ = 0;
}

void StderrLog::enter_window(TimePoint now, const Sink& sink) {
  if (!window_ || now - *window_ < kWindow) return;
  say_dropped(sink);
  window_.reset();
  in_window_ = 0;
}

void StderrLog::say_dropped(const Sink& sink) {
  if (unsaid_ == 0) return;
  std::string line(kEllipsis);
  line += ' ' + std::to_string(unsaid_) + (unsaid_ == 1 ? " line dropped" : " lines dropped");
  unsaid_ = 0;
  sink(line);
}

}  // namespace fnrun::supervisor
