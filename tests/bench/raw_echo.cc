#include "tests/bench/raw_echo.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>

namespace fnrun::bench {
namespace {

using Clock = std::chrono::steady_clock;
using isolation::UniqueFd;

constexpr int kPipeSize = 1024 * 1024;

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

struct Ends {
  UniqueFd read;
  UniqueFd write;
};

Ends make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) fail("pipe2");
  (void)::fcntl(fds[0], F_SETPIPE_SZ, kPipeSize);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// A connection of this process with itself: its two ends.
std::pair<UniqueFd, UniqueFd> tcp_pair() {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof where;
  auto* const address = reinterpret_cast<sockaddr*>(&where);
  UniqueFd near(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listener.get(), address, size) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), address, &size) != 0 ||
      ::connect(near.get(), address, size) != 0)
    fail("a TCP connection over the loopback");
  UniqueFd far(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int on = 1;
  for (const UniqueFd* end : {&near, &far})
    (void)::setsockopt(end->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return {std::move(near), std::move(far)};
}

std::pair<UniqueFd, UniqueFd> unix_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) fail("socketpair");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// False at the end of the input, or when nobody reads any more.
bool read_all(int fd, char* to, std::size_t size) {
  for (std::size_t have = 0; have < size;) {
    const ssize_t n = ::read(fd, to + have, size - have);
    if (n <= 0) return false;
    have += static_cast<std::size_t>(n);
  }
  return true;
}

bool write_all(int fd, const char* from, std::size_t size) {
  for (std::size_t sent = 0; sent < size;) {
    const ssize_t n = ::write(fd, from + sent, size - sent);
    if (n <= 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

RawEcho::RawEcho(Carrier carrier, std::size_t size) : message_(size, 'x') {
  UniqueFd in;
  UniqueFd out;
  if (carrier == Carrier::kPipes) {
    Ends there = make_pipe();
    Ends back = make_pipe();
    to_peer_ = std::move(there.write);
    from_peer_ = std::move(back.read);
    in = std::move(there.read);
    out = std::move(back.write);
  } else {
    auto [near, far] = carrier == Carrier::kTcp ? tcp_pair() : unix_pair();
    from_peer_ = UniqueFd(::fcntl(near.get(), F_DUPFD_CLOEXEC, 0));
    out = UniqueFd(::fcntl(far.get(), F_DUPFD_CLOEXEC, 0));
    to_peer_ = std::move(near);
    in = std::move(far);
  }
  pid_ = ::fork();
  if (pid_ < 0) fail("fork");
  if (pid_ == 0) peer(in.get(), out.get(), size);
}

RawEcho::~RawEcho() {
  to_peer_.reset();
  from_peer_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// Others' descriptors go, or their peers would never see their end.
void RawEcho::peer(int in, int out, std::size_t size) {
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::close_range(STDERR_FILENO + 1, ~0U, 0);
  std::vector<char> message(size);
  while (read_all(STDIN_FILENO, message.data(), size) &&
         write_all(STDOUT_FILENO, message.data(), size)) {
  }
  ::_exit(0);
}

void RawEcho::calls(std::size_t count, std::vector<double>& us) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto began = Clock::now();
    if (!write_all(to_peer_.get(), message_.data(), message_.size()) ||
        !read_all(from_peer_.get(), message_.data(), message_.size()))
      fail("the peer of the raw echo");
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - began).count());
  }
}

}  // namespace fnrun::bench
