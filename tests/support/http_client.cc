#include "tests/support/http_client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cctype>
#include <stdexcept>

namespace fnrun::test {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Stream = asio::generic::stream_protocol;

constexpr int kBoundSeconds = 60;

int connected(int family, const sockaddr* where, socklen_t size) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval bound{kBoundSeconds, 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
  if (fd < 0 || ::connect(fd, where, size) != 0) throw std::runtime_error("cannot connect");
  return fd;
}

}  // namespace

struct HttpClient::State {
  State(int family, int fd) : socket(context, Stream(family, 0), fd) {}
  asio::io_context context;
  Stream::socket socket;
  boost::beast::flat_buffer buffer;
};

std::string HttpAnswer::field(const std::string& name) const {
  const auto found = fields.find(name);
  return found == fields.end() ? "" : found->second;
}

HttpClient::HttpClient(std::uint16_t port) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  state_ = std::make_unique<State>(
      AF_INET, connected(AF_INET, reinterpret_cast<const sockaddr*>(&where), sizeof where));
}

HttpClient::HttpClient(const std::string& unix_path) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::copy_n(unix_path.begin(), std::min(unix_path.size(), sizeof where.sun_path - 1),
              std::begin(where.sun_path));
  state_ = std::make_unique<State>(
      AF_UNIX, connected(AF_UNIX, reinterpret_cast<const sockaddr*>(&where), sizeof where));
}

HttpClient::~HttpClient() = default;

void HttpClient::send(std::string_view bytes) {
  boost::system::error_code ignored;  // Who refuses the rest may have answered already.
  asio::write(state_->socket, asio::buffer(bytes), ignored);
}

void HttpClient::request(std::string_view method, std::string_view target, std::string_view body,
                         std::string_view fields) {
  std::string text = std::string(method) + " " + std::string(target) +
                     " HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields);
  if (!body.empty() || method == "POST")
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  send(text + "\r\n" + std::string(body));
}

std::optional<HttpAnswer> HttpClient::answer(bool to_head) {
  boost::system::error_code error;
  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);
  parser.skip(to_head);
  http::read(state_->socket, state_->buffer, parser, error);
  if (error) return std::nullopt;
  // A provisional answer comes before the real one.
  if (parser.get().result_int() == 100) return answer(to_head);
  HttpAnswer answer;
  answer.status = parser.get().result_int();
  answer.keep_alive = parser.get().keep_alive();
  for (const auto& field : parser.get()) {
    std::string name(field.name_string());
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    answer.fields.insert_or_assign(std::move(name), std::string(field.value()));
  }
  answer.body = std::move(parser.get().body());
  return answer;
}

std::optional<HttpAnswer> HttpClient::call(std::string_view method, std::string_view target,
                                           std::string_view body, std::string_view fields) {
  request(method, target, body, fields);
  return answer(method == "HEAD");
}

bool HttpClient::ended() {
  char byte = 0;
  return state_->buffer.size() == 0 && ::recv(state_->socket.native_handle(), &byte, 1, 0) <= 0 &&
         errno != EAGAIN;
}

void HttpClient::close() {
  boost::system::error_code ignored;
  state_->socket.close(ignored);
}

void HttpClient::receive_little() {
  const int bytes = 4'096;
  (void)::setsockopt(state_->socket.native_handle(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

}  // namespace fnrun::test
