// The words that the front end's parts share: requests, answers, who asks, who serves.
//
// Beast's messages as they are; nothing of sockets. Values; an Endpoint on the server's executor.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace fnrun::supervisor::http {

namespace beast = boost::beast;

using RequestHead = beast::http::request_header<>;
using Request = beast::http::request<beast::http::string_body>;
using Response = beast::http::response<beast::http::string_body>;
using Status = beast::http::status;

// Beast's own view of a text has no conversion to the standard's.
[[nodiscard]] inline std::string_view text(beast::string_view of) noexcept {
  return {of.data(), of.size()};
}
[[nodiscard]] inline beast::string_view view(std::string_view of) noexcept {
  return {of.data(), of.size()};
}
// The value of a field; "" where there is none.
[[nodiscard]] inline std::string_view field(const RequestHead& head, std::string_view name) {
  const auto found = head.find(view(name));
  return found == head.end() ? std::string_view() : text(found->value());
}

// Who asks, as the socket knows it; never what a header claims.
struct Peer {
  std::string client;  // Shares are counted for it: an IP address, or "uid:1000" of a Unix socket.
};

// What serves a kind of request. Shared with the sessions that it serves.
class Endpoint {
 public:
  Endpoint() = default;
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  virtual ~Endpoint() = default;

  // A request for it is on its way: it must be able to serve it as long as this is kept.
  [[nodiscard]] virtual std::shared_ptr<void> hold() { return nullptr; }
  [[nodiscard]] virtual std::size_t body_max() const = 0;
  // The answer to a body beyond body_max(), which was not read.
  [[nodiscard]] virtual Response too_large() const = 0;
  // `gone` fires when the client has hung up; what is returned then is for nobody.
  [[nodiscard]] virtual boost::asio::awaitable<Response> serve(
      Request request, const Peer& peer, boost::asio::cancellation_slot gone) = 0;
};

// What a server shows: it asks for each request, when the header is in and the body is not.
class Site {
 public:
  Site() = default;
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;
  virtual ~Site() = default;

  // Who serves it, or the answer at once.
  using Verdict = std::variant<std::shared_ptr<Endpoint>, Response>;
  [[nodiscard]] virtual Verdict admit(const RequestHead& head) = 0;
};

// A body of bytes that no browser takes for a page: what handlers say is served from the origin of
// the status page.
[[nodiscard]] Response answer(Status status, std::string_view content_type, std::string body);
[[nodiscard]] inline Response answer(Status status) {
  return answer(status, {}, {});
}

}  // namespace fnrun::supervisor::http
