// HTTP/1.1 over stream sockets: connections, their limits and deadlines, draining.
//
// Takes requests off sockets and puts answers on them; what is served, a Site says. No client costs
// another one anything: each has its own deadlines, all of them together have bounds, and who has
// hung up is noticed while its call runs. Knows no handler and no pool. All on one executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>

#include "isolation/unique_fd.h"
#include "supervisor/http/message.h"
#include "supervisor/http_limits.h"

namespace fnrun::supervisor::http {

// For metrics; since the server began, but for the first three.
struct ServerStatus {
  std::size_t connections = 0;
  std::size_t calls = 0;       // Taken by an Endpoint, and their answers not yet written.
  std::size_t body_bytes = 0;  // Reserved for bodies that are being received or served.
  std::uint64_t accepted = 0;
  std::uint64_t turned_away = 0;  // Over connections_max, and nobody was idle.
  std::uint64_t requests = 0;     // Whose header came whole.
  std::uint64_t timed_out = 0;    // Connections that were too slow; idle ones apart.
  std::uint64_t malformed = 0;    // What was no request that could be answered by a Site.
  std::uint64_t vanished = 0;     // Hung up before their answer was written.
};

class Server {
 public:
  // `site` must outlive the server.
  Server(boost::asio::any_io_executor executor, HttpLimits limits, Site& site);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  // Closes everything that is open.
  ~Server();

  // A listening stream socket of whatever family; it is the server's from now on.
  void listen(isolation::UniqueFd socket);

  // The last requests: each connection is closed behind its next answer. Requests go on to be taken
  // to the Site, which refuses calls from now on but can still say how it is, until the calls that
  // it took before are answered, or the deadline has come; then everything is closed.
  [[nodiscard]] boost::asio::awaitable<void> drain(std::chrono::steady_clock::time_point deadline);
  // Whoever drains need not wait any longer.
  void close();

  [[nodiscard]] ServerStatus status() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;  // Shared with sessions.
};

}  // namespace fnrun::supervisor::http
