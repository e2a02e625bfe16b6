// What channel tests share: descriptors that close themselves, pairs of them, running a coroutine.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/channel.h"
#include "protocol/frame.h"

namespace fnrun::protocol {

namespace asio = boost::asio;

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

enum class Kind { kPipes, kSockets };

// The four ends between a channel and its peer, which is the test itself or a process.
struct Ends {
  Fd channel_in, channel_out, peer_in, peer_out;

  explicit Ends(Kind kind) {
    std::array<int, 2> to{};
    std::array<int, 2> from{};
    if (kind == Kind::kPipes) {
      EXPECT_EQ(::pipe2(to.data(), O_CLOEXEC), 0);
      EXPECT_EQ(::pipe2(from.data(), O_CLOEXEC), 0);
      peer_in = Fd(to[0]);
      channel_out = Fd(to[1]);
      channel_in = Fd(from[0]);
      peer_out = Fd(from[1]);
    } else {
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to.data()), 0);
      channel_in = Fd(to[0]);
      channel_out = Fd(::fcntl(to[0], F_DUPFD_CLOEXEC, 0));
      peer_in = Fd(to[1]);
      peer_out = Fd(::fcntl(to[1], F_DUPFD_CLOEXEC, 0));
    }
  }
  void peer_writes(std::string_view bytes) const {
    ASSERT_EQ(::write(peer_out.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }
  void peer_closes() {
    peer_in.close();
    peer_out.close();
  }
};

// Far enough that no test gets there, and a few milliseconds for those that want to.
inline Channel::Deadline far_off() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(100);
}
inline Channel::Deadline soon() {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
}
inline Channel::Deadline expired() {
  return std::chrono::steady_clock::now() - std::chrono::nanoseconds(1);
}

// A coroutine that is on its way; get() runs the context until it is done.
template <class T>
class Running {
 public:
  Running(asio::io_context& io, asio::awaitable<T> operation) : io_(io) {
    asio::co_spawn(io, std::move(operation), [this](std::exception_ptr thrown, T value) {
      thrown_ = thrown;
      value_ = std::move(value);
    });
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  // Lets it go as far as it can without waiting.
  void poll() {
    io_.restart();
    io_.poll();
  }
  [[nodiscard]] bool done() const { return value_.has_value(); }
  T get() {
    while (!value_) {
      io_.restart();
      io_.run_one();
    }
    if (thrown_) std::rethrow_exception(thrown_);
    return *std::move(value_);
  }

 private:
  asio::io_context& io_;
  std::exception_ptr thrown_;
  std::optional<T> value_;
};

template <class T>
T run(asio::io_context& io, asio::awaitable<T> operation) {
  Running<T> running(io, std::move(operation));
  return running.get();
}

inline std::string framed(std::string_view body) {
  const FrameHeader header = encode_frame_header(body.size()).value();
  return std::string(header.data(), header.size()).append(body);
}

// "ok", or the name of the error: what most tests want to say about an outcome.
template <class T>
std::string outcome(const ErrorOr<T>& result) {
  return result.has_value() ? "ok" : name_of(result.error().code);
}

class ChannelTest : public ::testing::TestWithParam<Kind> {
 protected:
  ChannelTest() : ends(kind()) {
    auto adopted =
        Channel::adopt(io.get_executor(), ends.channel_in.release(), ends.channel_out.release());
    channel.emplace(std::move(adopted).value());
  }
  static Kind kind() { return GetParam(); }

  std::string write(std::string_view bytes, Channel::Deadline deadline) {
    const asio::const_buffer buffer(bytes.data(), bytes.size());
    return outcome(run(io, channel->write(std::span(&buffer, 1), deadline)));
  }
  // What came, or the name of the error in brackets.
  std::string frame(Channel::Deadline deadline, std::size_t max = 1 << 20) {
    return text(run(io, channel->read_frame(max, deadline)));
  }
  std::string line(Channel::Deadline deadline, std::size_t max = 1 << 20) {
    return text(run(io, channel->read_line(max, deadline)));
  }
  static std::string text(const ErrorOr<std::string>& result) {
    return result.has_value() ? *result : "[" + outcome(result) + "]";
  }

  asio::io_context io;
  Ends ends;
  std::optional<Channel> channel;
};

inline std::string kind_name(const ::testing::TestParamInfo<Kind>& info) {
  return info.param == Kind::kPipes ? "Pipes" : "Sockets";
}

}  // namespace fnrun::protocol
