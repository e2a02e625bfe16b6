// Opening, closing and cancelling one descriptor of a channel.
#include "protocol/direction.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <string>
#include <system_error>

namespace fnrun::protocol {
namespace {

// Best effort, largest first. A pipe has 64 KiB, or 8 KiB once its user has more than
// fs.pipe-user-pages-soft; over fs.pipe-max-size or that limit an unprivileged F_SETPIPE_SZ is
// EPERM. Across two cores 1 MiB moves payloads three to four times as fast as 64 KiB.
void grow_pipe(int fd) noexcept {
  constexpr std::array kSizes{1024 * 1024, 512 * 1024, 256 * 1024, 128 * 1024};
  const int size = ::fcntl(fd, F_GETPIPE_SZ);
  for (const int wanted : kSizes) {
    if (size < 0 || size >= wanted) return;
    if (::fcntl(fd, F_SETPIPE_SZ, wanted) >= 0) return;
  }
}

}  // namespace

ErrorOr<void> Direction::open(int fd) {
  if (fd < 0) return {};
  fd_ = fd;
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    fd_ = -1;
    return ProtocolError{ErrorCode::kIo, "descriptor " + std::to_string(fd) + " is not open"};
  }
  is_file_ = S_ISREG(status.st_mode);
  if (S_ISFIFO(status.st_mode)) grow_pipe(fd);
  flags_before_ = ::fcntl(fd, F_GETFL);
  // Regular files and /dev/null, which epoll_ctl(2) refuses, Asio takes all the same; to wait for
  // them is an error, but they never make anybody wait.
  boost::system::error_code failed;
  stream_.assign(fd, failed);
  if (!failed) stream_.native_non_blocking(true, failed);
  if (!failed) return {};
  close();
  return ProtocolError{ErrorCode::kIo,
                       "descriptor " + std::to_string(fd) + ": " + failed.message()};
}

void Direction::close() noexcept {
  if (fd_ < 0) return;
  if ((flags_before_ & O_NONBLOCK) == 0) ::fcntl(fd_, F_SETFL, flags_before_);
  boost::system::error_code ignored;
  if (stream_.is_open())
    stream_.close(ignored);
  else
    ::close(fd_);
  fd_ = -1;
}

void Direction::close_for_writing() noexcept {
  if (fd_ >= 0) ::shutdown(fd_, SHUT_WR);  // ENOTSOCK on all else: there, closing is enough.
  close();
}

void Direction::stop_waiting() noexcept {
  boost::system::error_code ignored;
  if (stream_.is_open()) stream_.cancel(ignored);
}

void Direction::begin() noexcept {
  assert(!busy_ && "one reader and one writer at a time");
  busy_ = true;
  cancelled = false;
}

ErrorOr<void> Direction::end() noexcept {
  busy_ = false;
  return {};
}

ErrorOr<void> Direction::end(const ProtocolError& why, bool place_lost) {
  busy_ = false;
  if (place_lost) error = why;
  return why;
}

void Direction::cancel() noexcept {
  if (!busy_) return;
  cancelled = true;
  stop_waiting();
}

}  // namespace fnrun::protocol
