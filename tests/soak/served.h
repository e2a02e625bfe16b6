// One life of the real service, from "listening" to its end: what it holds, and how it ends.
//
// Waits in the constructor; its end is told on the loop of whoever asked. To be kept until then.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <future>
#include <string>

#include "tests/e2e/command.h"

namespace fnrun::soak {

struct Held {
  std::size_t descriptors = 0;  // But for cpu.stat, which each sandbox has from its first call on.
  long resident_kib = 0;
};

class Served {
 public:
  // `on_end` runs on `loop`.
  Served(const std::vector<std::string>& argv, boost::asio::io_context& loop,
         std::function<void()> on_end);

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  // Precondition: it lives.
  [[nodiscard]] Held held() const;
  void terminate() const;
  // Waits for its end.
  [[nodiscard]] test::Finished finish() { return end_.get(); }

 private:
  test::Command command_;
  pid_t pid_;
  std::uint16_t port_ = 0;
  std::future<test::Finished> end_;
};

}  // namespace fnrun::soak
