#include "supervisor/http/listen.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

namespace fnrun::supervisor::http {
namespace {

using boost::asio::ip::tcp;
using isolation::UniqueFd;

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kForms =
    "; write 8080, 127.0.0.1:8080, [::1]:8080, :8080 (all addresses) or unix:/PATH";
constexpr int kBacklog = 4'096;  // The kernel takes the lesser of this and net.core.somaxconn.

ListenFault fault(std::string_view text, std::string_view what) {
  return {"cannot listen on '" + std::string(text) + "': " + std::string(what)};
}

ListenFault failed(std::string_view text, std::string_view step, int error,
                   std::string_view hint = {}) {
  return fault(text, std::string(step) + ": " + ::strerrordesc_np(error) + std::string(hint));
}

std::optional<std::uint16_t> port_of(std::string_view text,
                                     const std::function<const char*(const char*)>& variable) {
  if (text == "$PORT") {
    const char* const said = variable("PORT");
    text = said == nullptr || *said == '\0' ? "8080" : said;
  }
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// As someone would write it who reads the message.
std::string text_of(const ListenAddress& address) {
  if (!address.path.empty()) return std::string(kUnix) + address.path;
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

// Nobody answers at the path: a socket whose server is gone.
bool is_stale(const sockaddr_un& name, socklen_t size) {
  struct stat info {};
  if (::lstat(name.sun_path, &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe && ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0 &&
         errno == ECONNREFUSED;
}

std::variant<UniqueFd, ListenFault> listen_at_path(const ListenAddress& address) {
  const std::string text = text_of(address);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (address.path.size() >= sizeof name.sun_path)
    return fault(text, "the path is longer than " + std::to_string(sizeof name.sun_path - 1) +
                           " bytes, which is all that the kernel takes");
  std::copy(address.path.begin(), address.path.end(), std::begin(name.sun_path));
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return failed(text, "socket", errno);
  const auto* const where = reinterpret_cast<const sockaddr*>(&name);
  int bound = ::bind(socket.get(), where, sizeof name);
  if (bound != 0 && errno == EADDRINUSE && is_stale(name, sizeof name)) {
    (void)::unlink(name.sun_path);
    bound = ::bind(socket.get(), where, sizeof name);
  }
  if (bound != 0)
    return failed(text, "bind", errno,
                  errno == EADDRINUSE ? "; something is there that is no dead socket" : "");
  if (::listen(socket.get(), kBacklog) != 0) return failed(text, "listen", errno);
  return socket;
}

}  // namespace

bool ListenAddress::is_public() const noexcept {
  if (!path.empty()) return false;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(host, error);
  return error || !address.is_loopback();
}

std::variant<ListenAddress, ListenFault> parse_listen_address(
    std::string_view text, const std::function<const char*(const char*)>& variable) {
  ListenAddress address;
  if (text.starts_with(kUnix)) {
    address.path = text.substr(kUnix.size());
    if (!address.path.starts_with('/') || address.path.find('\0') != std::string::npos)
      return fault(text, "the path of a Unix socket must be absolute");
    return address;
  }
  const auto colon = text.rfind(':');
  std::string_view host = colon == std::string_view::npos ? "127.0.0.1" : text.substr(0, colon);
  const auto port =
      port_of(colon == std::string_view::npos ? text : text.substr(colon + 1), variable);
  if (!port) return fault(text, "that is no address with a port" + std::string(kForms));
  if (host.empty()) host = "::";
  if (host == "localhost") host = "127.0.0.1";
  if (host.find(':') != std::string_view::npos && !host.starts_with('[') && host != "::")
    return fault(text, "an IPv6 address stands in brackets" + std::string(kForms));
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  boost::system::error_code error;
  const auto literal = boost::asio::ip::make_address(std::string(host), error);
  if (error || (bracketed && !literal.is_v6()))
    return fault(text, "'" + std::string(host) + "' is no IP address" + std::string(kForms));
  address.host = literal.to_string();
  address.port = *port;
  return address;
}

std::variant<UniqueFd, ListenFault> listen_on(const ListenAddress& address) {
  if (!address.path.empty()) return listen_at_path(address);
  const std::string text = text_of(address);
  auto literal = boost::asio::ip::make_address(address.host);
  UniqueFd socket(::socket(literal.is_v6() ? AF_INET6 : AF_INET,
                           SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket && errno == EAFNOSUPPORT && literal.is_v6() && literal.is_unspecified()) {
    // A host without IPv6: all of its addresses are of the other kind.
    literal = boost::asio::ip::address_v4::any();
    socket.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  if (!socket) return failed(text, "socket", errno);
  const int yes = 1;
  const int no = 0;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (literal.is_v6())  // "::" means every address, whatever net.ipv6.bindv6only says.
    (void)::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY,
                       literal.is_unspecified() ? &no : &yes, sizeof yes);
  const tcp::endpoint where(literal, address.port);
  if (::bind(socket.get(), where.data(), static_cast<socklen_t>(where.size())) != 0) {
    std::string_view hint;
    if (errno == EADDRINUSE) hint = "; another program listens there, or another fnrun-supervise";
    if (errno == EACCES) hint = "; ports below 1024 are for root or CAP_NET_BIND_SERVICE";
    if (errno == EADDRNOTAVAIL) hint = "; no interface of this host has that address";
    return failed(text, "bind", errno, hint);
  }
  if (::listen(socket.get(), kBacklog) != 0) return failed(text, "listen", errno);
  return socket;
}

bool is_public(int listening_socket) {
  tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (::getsockname(listening_socket, endpoint.data(), &size) != 0) return true;
  const int family = endpoint.data()->sa_family;
  return family != AF_UNIX && !endpoint.address().is_loopback();
}

std::string url_of(int listening_socket) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (::getsockname(listening_socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) return "?";
  if (name.ss_family == AF_UNIX) {
    const auto* const at = reinterpret_cast<const sockaddr_un*>(&name);
    return std::string(kUnix) + at->sun_path;
  }
  tcp::endpoint endpoint;
  if (size > endpoint.capacity()) return "?";
  std::memcpy(endpoint.data(), &name, size);
  const std::string host = endpoint.address().to_string();
  return "http://" + (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(endpoint.port());
}

}  // namespace fnrun::supervisor::http
