// A handler's stderr as lines that are safe to print: cut, escaped, and so many a second.
//
// Nothing that a handler writes can make a second line, hide or colour one, or steer a terminal,
// and however much it writes, what is kept is one line. Reads no descriptor and no clock: both come
// with the call. One for each sandbox; not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fnrun::supervisor {

// Control characters (but the tab), characters that end lines or turn their direction, and bytes
// that are not UTF-8, in words: "\x1b", "\u202e", "\xff". Everything else stays, the backslash too,
// so this is for reading, not for getting the bytes back.
[[nodiscard]] std::string escape_for_terminal(std::string_view text);

class StderrLog {
 public:
  struct Limits {
    std::size_t line_max = 1'024;  // Bytes of the handler; escaped they may be four times as many.
    std::uint64_t lines_per_second_max = 100;
  };
  // Takes one line, without its end; the view is valid during the call. What the log itself says
  // starts with "… ": a handler's own line that starts so has its ellipsis escaped.
  using Sink = std::function<void(std::string_view line)>;
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit StderrLog(Limits limits) : limits_(limits) {}

  // How the bytes are cut into calls makes no difference. Without bytes it still says what was
  // dropped, once a second has passed.
  void feed(std::span<const char> bytes, TimePoint now, const Sink& sink);
  // The handler will write no more, or its invocation is over: an unfinished line is finished, what
  // was dropped is said. feed() may follow.
  void finish(TimePoint now, const Sink& sink);

  // Lines of the handler, ever.
  [[nodiscard]] std::uint64_t emitted() const noexcept { return emitted_; }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  void end_line(TimePoint now, const Sink& sink);
  void enter_window(TimePoint now, const Sink& sink);
  void say_dropped(const Sink& sink);

  Limits limits_;
  std::string line_;       // At most line_max bytes, as they came.
  std::uint64_t cut_ = 0;  // Bytes of this line that are not in line_.
  // A window opens with its first line and lasts a second.
  std::optional<TimePoint> window_;
  std::uint64_t in_window_ = 0;
  std::uint64_t unsaid_ = 0;  // Dropped, and nobody was told yet.
  std::uint64_t emitted_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace fnrun::supervisor
