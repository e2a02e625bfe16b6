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
  explicit State(int descriptor) : fd(descriptor) {}
  const int fd;
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
    std::string line = std::move(queue.front());
    queue.pop_front();
    queued_bytes -= line.size();
    if (queue.empty() && dropped > 0)
      line +=
          "… " + std::to_string(std::exchange(dropped, 0)) + " lines dropped: nobody read them\n";
    writing = true;
    lock.unlock();
    const bool written = write_whole(fd, line);
    lock.lock();
    writing = false;
    if (!written) ++lost;
    changed.notify_all();
  }
}

LineWriter::LineWriter(int fd) : state_(std::make_shared<State>(fd)) {
  // Detached: a reader that never reads again must not keep us from ending.
  std::thread([state = state_] { state->run(); }).detach();
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
  if (state_->queued_bytes + line.size() > kQueueMax) {
    ++state_->dropped;
    ++state_->lost;
    return;
  }
  state_->queue.emplace_back(line).push_back('\n');
  state_->queued_bytes += line.size() + 1;
  state_->changed.notify_all();
}

std::size_t LineWriter::lost() const {
  const std::lock_guard guard(state_->mutex);
  return state_->lost;
}

}  // namespace fnrun::tools
