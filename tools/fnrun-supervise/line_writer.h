// Lines for people and for reports, written where nobody waits for them.
//
// Who reads our stderr may be slow, or gone to sleep: a handler must not be able to keep its own
// deadline from being noticed by making us talk. So a thread writes; the queue is bounded, and what
// does not fit is dropped and counted in a line of its own. Each line is one write(2), whole.
// Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace fnrun::tools {

class LineWriter {
 public:
  // `fd` is borrowed, until the process ends.
  explicit LineWriter(int fd);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;
  // Waits until all is written, at most a second; whoever does not read by then misses the rest.
  ~LineWriter();

  // Takes the line without its end. Never blocks.
  void write(std::string_view line);
  // Lines that were not written, ever: dropped, or refused by the descriptor.
  [[nodiscard]] std::size_t lost() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace fnrun::tools
