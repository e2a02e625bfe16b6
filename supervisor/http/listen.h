// Where the front end listens: addresses as people write them, and the sockets behind them.
//
// Binds and listens; accepts nothing. Functions; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

#include "isolation/unique_fd.h"

namespace fnrun::supervisor::http {

struct ListenAddress {
  std::string host;  // A literal of IPv4 or IPv6; "" for a Unix socket.
  std::uint16_t port = 0;
  std::string path;  // Of a Unix socket.

  // Whoever can reach this machine can reach it.
  [[nodiscard]] bool is_public() const noexcept;
};

// Why there is none, and what to do about it.
struct ListenFault {
  std::string message;
};

// "8080" and "localhost:8080": the loopback. "127.0.0.1:8080", "[::1]:8080": that address. ":8080":
// all addresses. "unix:/run/fnrun.sock": a socket in the file system. A port of 0 is any free one;
// one of "$PORT" is what `variable` says of PORT, 8080 if nothing (Knative's contract).
[[nodiscard]] std::variant<ListenAddress, ListenFault> parse_listen_address(
    std::string_view text, const std::function<const char*(const char*)>& variable);

// A Unix socket that nobody serves any more is replaced; its file's mode is the umask's.
[[nodiscard]] std::variant<isolation::UniqueFd, ListenFault> listen_on(
    const ListenAddress& address);

// Other machines reach it, wherever it came from.
[[nodiscard]] bool is_public(int listening_socket);

// How a client would write it: "http://127.0.0.1:8080", "unix:/run/fnrun.sock".
[[nodiscard]] std::string url_of(int listening_socket);

}  // namespace fnrun::supervisor::http
