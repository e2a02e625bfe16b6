// One connection: requests one after another, each read under its deadlines, served, answered.
//
// Private to the server, which owns it together with its own coroutine. On the server's executor.
#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "supervisor/http/message.h"
#include "supervisor/http/server.h"

namespace fnrun::supervisor::http {

// What sessions share with their server.
struct Shared {
  HttpLimits limits;
  Site& site;
  ServerStatus status;
  bool draining = false;
  std::function<void()> on_change;  // A call has been answered, or a connection is closed.
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;
  using Clock = std::chrono::steady_clock;

  Session(Socket socket, std::shared_ptr<Shared> shared, Peer peer);

  // Until the connection is closed, by whomever.
  [[nodiscard]] boost::asio::awaitable<void> run();
  // Between two requests, with nothing received: since when.
  [[nodiscard]] std::optional<Clock::time_point> idle_since() const;
  // While its client is still sending a request: since when.
  [[nodiscard]] std::optional<Clock::time_point> reading_since() const;
  // Ends an idle one, unless a request has come by now: that is answered.
  void leave();
  // Ends run() soon, whatever it waits for; a call in flight is cancelled.
  void close();

 private:
  using Parser = beast::http::request_parser<beast::http::string_body>;
  enum class Next { kRequest, kLinger, kClose };
  class BodyShare;
  class CallCount;
  // How an answer is to be sent.
  struct Form {
    unsigned version = 11;
    bool to_head = false;
    bool whole = false;  // All of the request was read.
    bool keep = false;   // The connection, for the next one.
  };

  boost::asio::awaitable<bool> first_byte();
  boost::system::error_code take_from_buffer(Parser& parser);
  boost::asio::awaitable<Next> one_request();
  boost::asio::awaitable<Next> refuse(Response response);
  boost::asio::awaitable<Next> call(Endpoint& endpoint, Parser& parser);
  static Form form_of(const Parser& parser);
  boost::asio::awaitable<boost::system::error_code> read_more(Parser& parser);
  boost::asio::awaitable<void> skip_body(Parser& parser);
  boost::asio::awaitable<bool> read_body(Parser& parser, const Endpoint& endpoint, BodyShare& share,
                                         std::optional<Response>& refused);
  boost::asio::awaitable<Next> reply(Response response, Form form);
  boost::asio::awaitable<boost::system::error_code> write(const Response& response);
  boost::asio::awaitable<void> linger();
  // Of all that is awaited until it is said again.
  void expire_after(Clock::duration time);
  void start_timer();
  void note_failure();
  void watch();
  bool has_input();

  std::shared_ptr<Shared> shared_;
  Peer peer_;
  Socket socket_;
  boost::asio::steady_timer timer_;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool timer_runs_ = false;
  bool timed_out_ = false;
  beast::flat_buffer buffer_;
  boost::asio::cancellation_signal gone_signal_;
  bool serving_ = false;
  bool gone_ = false;
  std::optional<Clock::time_point> idle_since_;
  std::optional<Clock::time_point> reading_since_;
};

}  // namespace fnrun::supervisor::http
