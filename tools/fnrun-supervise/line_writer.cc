#include "line_writer.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace fnrun::tools {
namespace {

constexpr std::size_t kQueueMax = 1024 * 1024;  // Bytes that wait to be written.
constexpr std::chrono::seconds kFarewell{1};

// False when the descriptor takes nothing any more. Somebody else may have made it non-blocking.
bool write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

struct LineWriter::State {
  State(Write w, Dropped d) : write(std::move(w)), say_dropped(std::move(d)) {}
  const Write write;
  const Dropped say_dropped;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> queue;
  std::size_t queued_bytes = 0;
  std::size_t dropped = 0;  // Since that was last said.
  std::size_t lost = 0;
  bool writing = false;
  bool closing = false;

  void run();
};

void LineWriter::State::run() {
  std::unique_lock lock(mutex);
  for (;;) {
    changed.wait(lock, [&] { return closing || !queue.empty(); });
    if (queue.empty()) return;
    const std::string line = std::move(queue.front());
    queue.pop_front();
    queued_bytes -= line.size() + 1;
    const std::size_t unsaid = queue.empty() ? std::exchange(dropped, 0) : 0;
    writing = true;
    lock.unlock();
    const bool written = write(line);
    if (unsaid > 0) write(say_dropped(unsaid));
    lock.lock();
    writing = false;
    if (!written) ++lost;
    changed.notify_all();
  }
}

LineWriter::LineWriter(Write write, Dropped dropped)
    : state_(std::make_shared<State>(std::move(write), std::move(dropped))) {
  // Detached: a reader that never reads again must not keep us from ending.
  std::thread([state = state_] { state->run(); }).detach();
}

LineWriter::LineWriter(int fd)
    : LineWriter(to_descriptor(fd), [](std::size_t lines) {
        return "… " + std::to_string(lines) + " lines dropped: nobody read them";
      }) {}

LineWriter::Write LineWriter::to_descriptor(int fd) {
  return [fd](std::string_view line) { return write_whole(fd, std::string(line) + '\n'); };
}

LineWriter::~LineWriter() {
  std::unique_lock lock(state_->mutex);
  state_->closing = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kFarewell,
                           [&] { return state_->queue.empty() && !state_->writing; });
}

void LineWriter::write(std::string_view line) {
  const std::lock_guard guard(state_->mutex);
  if (state_->queued_bytes + line.size() + 1 > kQueueMax) {
    ++state_->dropped;
    ++state_->lost;
    return;
  }
  state_->queue.emplace_back(line);
  state_->queued_bytes += line.size() + 1;  // Empty lines are not without end, either.
  state_->changed.notify_all();
}

std::size_t LineWriter::lost() const {
  const std::lock_guard guard(state_->mutex);
  return state_->lost;
}

}  // namespace fnrun::tools
