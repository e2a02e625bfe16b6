#include "tests/soak/line.h"

#include <gtest/gtest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

namespace fnrun::soak {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

}  // namespace

asio::awaitable<bool> Line::open(std::uint16_t port, bool small) {
  close();
  buffer_.clear();
  socket_.open(tcp::v4());
  if (small) socket_.set_option(asio::socket_base::receive_buffer_size(4'096));
  const tcp::endpoint where(asio::ip::address_v4::loopback(), port);
  const auto [error] = co_await socket_.async_connect(where, kToken);
  if (error) {
    close();
    co_return false;
  }
  socket_.set_option(tcp::no_delay(true));
  co_return true;
}

void Line::close() {
  error_code ignored;
  socket_.close(ignored);
}

void Line::reset() {
  error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  close();
}

asio::awaitable<bool> Line::send(std::string_view bytes) {
  const auto [error, sent] = co_await asio::async_write(socket_, asio::buffer(bytes), kToken);
  co_return !error;
}

asio::awaitable<std::optional<test::HttpAnswer>> Line::answer() {
  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);
  const auto [error, bytes] = co_await http::async_read(socket_, buffer_, parser, kToken);
  if (error) {
    EXPECT_FALSE(parser.got_some()) << "half an answer: " << error.message();
    close();
    co_return std::nullopt;
  }
  test::HttpAnswer answer;
  answer.status = parser.get().result_int();
  answer.keep_alive = parser.get().keep_alive();
  for (const char* name : {"fnrun-outcome", "x-request-id"})
    answer.fields[name] = std::string(parser.get()[name]);
  answer.body = std::move(parser.get().body());
  if (!answer.keep_alive) close();
  co_return answer;
}

asio::awaitable<bool> Line::ends_clean() {
  error_code ignored;
  socket_.shutdown(asio::socket_base::shutdown_send, ignored);
  char byte = 0;
  const auto [error, bytes] = co_await socket_.async_read_some(asio::buffer(&byte, 1), kToken);
  const bool clean = buffer_.size() == 0 && bytes == 0 && error == asio::error::eof;
  close();
  co_return clean;
}

}  // namespace fnrun::soak
