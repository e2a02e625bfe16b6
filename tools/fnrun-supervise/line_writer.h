// Lines for people and for reports, written where nobody waits for them.
//
// Who reads our stderr may be slow, or gone to sleep: a handler must not be able to keep its own
// deadline from being noticed by making us talk. So a thread writes; the queue is bounded, and what
// does not fit is dropped and counted in a line of its own. Each line is one write(2), whole, or
// one call of whatever else takes them. Thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace fnrun::tools {

class LineWriter {
 public:
  // Takes a line without its end; false when that failed. Called on a thread of ours, maybe after
  // the LineWriter is gone, until the process ends: it owns what it needs.
  using Write = std::function<bool(std::string_view line)>;
  // The line that says how many were dropped. Called there, too.
  using Dropped = std::function<std::string(std::size_t lines)>;

  LineWriter(Write write, Dropped dropped);
  // `fd` is borrowed, until the process ends.
  explicit LineWriter(int fd);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;
  // Waits until all is written, at most a second; whoever does not read by then misses the rest.
  ~LineWriter();

  // Takes the line without its end. Never blocks.
  void write(std::string_view line);
  // Lines that were not written, ever: dropped, or refused by who was to take them.
  [[nodiscard]] std::size_t lost() const;

  [[nodiscard]] static Write to_descriptor(int fd);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace fnrun::tools
