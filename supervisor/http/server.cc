#include "supervisor/http/server.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>
#include <set>

#include "supervisor/http/session.h"

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Stream = asio::generic::stream_protocol;
using Acceptor = asio::basic_socket_acceptor<Stream>;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
// Without descriptors or memory an accept fails at once, and would again.
constexpr std::chrono::milliseconds kAcceptPause{50};
// Where every connection is taken, a request that is not whole after so long gives its place away.
constexpr std::chrono::seconds kSendingTime{1};
// Connections that were told to leave and have not had their turn yet.
constexpr std::size_t kLeavingMax = 64;
// When no call is in flight any more: how long the end of a drain waits for those whose request was
// about to be refused.
constexpr std::chrono::milliseconds kLastWords{500};

int family_of(int socket) {
  int family = AF_UNSPEC;
  socklen_t size = sizeof family;
  (void)::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family;
}

Peer peer_of(Stream::socket& socket, int family) {
  if (family == AF_UNIX) {
    ::ucred who{};
    socklen_t size = sizeof who;
    const bool known =
        ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    return {known ? "uid:" + std::to_string(who.uid) : "uid:?"};
  }
  error_code error;
  const auto remote = socket.remote_endpoint(error);
  if (error) return {"?"};
  asio::ip::tcp::endpoint address;
  if (remote.size() > address.capacity()) return {"?"};
  std::memcpy(address.data(), remote.data(), remote.size());
  return {address.address().to_string()};
}

}  // namespace

struct Server::State : std::enable_shared_from_this<Server::State> {
  State(asio::any_io_executor ex, HttpLimits limits, Site& site)
      : executor(ex),
        shared(std::make_shared<Shared>(Shared{limits, site, {}, false, {}})),
        changed(ex) {
    shared->on_change = [this] { changed.cancel(); };
  }
  ~State() {
    shared->on_change = [] {};
  }

  asio::any_io_executor executor;
  std::shared_ptr<Shared> shared;
  std::list<Acceptor> acceptors;
  std::set<std::shared_ptr<Session>> sessions;
  asio::steady_timer changed;  // Its wait ends when a call does, or a connection.

  asio::awaitable<void> accept_all(Acceptor& acceptor, int family);
  void begin(Stream::socket socket, int family);
  bool make_room();
  void stop_accepting();
  void close_idle();
  // Until something has changed, or then.
  asio::awaitable<void> change(std::chrono::steady_clock::time_point latest) {
    changed.expires_at(latest);
    co_await changed.async_wait(kToken);
  }
};

// A place for one more: that of the connection that has been idle for longest; where nobody is, of
// the one whose client has been sending its request for longest, and too long to be doing just
// that.
bool Server::State::make_room() {
  if (sessions.size() < shared->limits.connections_max) return true;
  Session* idle = nullptr;
  Session* slow = nullptr;
  const auto older = [](const auto& one, const auto& other) {
    return one && (!other || *one < *other);
  };
  for (const auto& session : sessions) {
    if (older(session->idle_since(), idle == nullptr ? std::nullopt : idle->idle_since()))
      idle = session.get();
    if (older(session->reading_since(), slow == nullptr ? std::nullopt : slow->reading_since()))
      slow = session.get();
  }
  if (idle != nullptr) {
    idle->leave();
  } else if (slow != nullptr && *slow->reading_since() + kSendingTime < Session::Clock::now()) {
    ++shared->status.timed_out;
    slow->close();
  } else {
    return false;
  }
  return sessions.size() < shared->limits.connections_max + kLeavingMax;
}

void Server::State::begin(Stream::socket socket, int family) {
  ++shared->status.accepted;
  if (!make_room()) {
    ++shared->status.turned_away;
    static constexpr std::string_view kBusy =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
        "Content-Length: 0\r\n\r\n";
    (void)!::send(socket.native_handle(), kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  if (family != AF_UNIX) {
    // An answer is written at once, whole: nothing is gained by waiting for more.
    error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  }
  Peer peer = peer_of(socket, family);
  const auto session = std::make_shared<Session>(std::move(socket), shared, std::move(peer));
  sessions.insert(session);
  shared->status.connections = sessions.size();
  asio::co_spawn(executor, session->run(),
                 [self = shared_from_this(), session](const std::exception_ptr&) {
                   // Only memory running out can throw in there: it ends that connection.
                   self->sessions.erase(session);
                   self->shared->status.connections = self->sessions.size();
                   self->changed.cancel();
                 });
}

asio::awaitable<void> Server::State::accept_all(Acceptor& acceptor, int family) {
  const auto self = shared_from_this();
  asio::steady_timer pause(executor);
  for (;;) {
    Stream::socket socket(executor);
    const auto [error] = co_await acceptor.async_accept(socket, kToken);
    if (error == asio::error::operation_aborted || !acceptor.is_open()) {
      if (!error) begin(std::move(socket), family);
      co_return;
    }
    if (error == asio::error::connection_aborted) continue;
    try {
      if (!error) {
        begin(std::move(socket), family);
        continue;
      }
    } catch (const std::exception&) {  // No memory for this one; later there may be.
    }
    pause.expires_after(kAcceptPause);
    co_await pause.async_wait(kToken);
  }
}

// Those whose connection the kernel has already made are taken: they may have sent a request. No
// more than may be open: others may go on to come for ever.
void Server::State::stop_accepting() {
  for (Acceptor& acceptor : acceptors) {
    const int family = family_of(acceptor.native_handle());
    error_code error;
    acceptor.non_blocking(true, error);
    while (!error && sessions.size() < shared->limits.connections_max) {
      Stream::socket socket(executor);
      acceptor.accept(socket, error);
      if (!error) begin(std::move(socket), family);
    }
    acceptor.close(error);
  }
}

void Server::State::close_idle() {
  for (const auto& session : sessions) session->leave();
}

Server::Server(asio::any_io_executor executor, HttpLimits limits, Site& site)
    : state_(std::make_shared<State>(std::move(executor), limits, site)) {}

Server::~Server() {
  close();
}

void Server::listen(isolation::UniqueFd socket) {
  const int family = family_of(socket.get());
  Acceptor& acceptor = state_->acceptors.emplace_back(state_->executor);
  acceptor.assign(Stream(family, 0), socket.release());
  asio::co_spawn(state_->executor, state_->accept_all(acceptor, family), asio::detached);
}

asio::awaitable<void> Server::drain(std::chrono::steady_clock::time_point deadline) {
  const auto state = state_;
  const auto now = [] { return std::chrono::steady_clock::now(); };
  state->shared->draining = true;
  while (state->shared->status.calls != 0 && now() < deadline) co_await state->change(deadline);
  state->stop_accepting();
  state->close_idle();
  const auto last = std::min(deadline, now() + kLastWords);
  while (!state->sessions.empty() && now() < last) co_await state->change(last);
  close();
}

void Server::close() {
  state_->shared->draining = true;
  for (Acceptor& acceptor : state_->acceptors) {
    error_code ignored;
    acceptor.close(ignored);
  }
  const auto open = state_->sessions;
  for (const auto& session : open) session->close();
}

ServerStatus Server::status() const noexcept {
  return state_->shared->status;
}

}  // namespace fnrun::supervisor::http
