// A client's connection in an event loop full of clients: bytes out, one answer in.
//
// Errors are values; nothing is tried again. Owned by its client; on the loop's thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "tests/support/http_client.h"

namespace fnrun::soak {

class Line {
 public:
  explicit Line(boost::asio::io_context& loop) : socket_(loop) {}

  // `small`: with so small a window that the other end soon cannot write any more.
  [[nodiscard]] boost::asio::awaitable<bool> open(std::uint16_t port, bool small = false);
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  void close();
  // As who pulls the plug: what is under way is lost.
  void reset();

  [[nodiscard]] boost::asio::awaitable<bool> send(std::string_view bytes);
  // Nothing where the connection ended without any of it. An answer that breaks off is a failure of
  // the test.
  [[nodiscard]] boost::asio::awaitable<std::optional<test::HttpAnswer>> answer();
  // Hangs up one way; true if the other end does too, and nothing more came.
  [[nodiscard]] boost::asio::awaitable<bool> ends_clean();

 private:
  boost::asio::ip::tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
};

}  // namespace fnrun::soak
