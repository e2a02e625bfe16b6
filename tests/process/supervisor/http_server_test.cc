// Connections of clients that are slow, rude, gone or many: each is its own problem, nobody else's.
//
// The server in a thread of its own, before a site that answers as the test says; real sockets.
#include "supervisor/http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <condition_variable>
#include <future>
#include <list>
#include <mutex>
#include <thread>

#include "supervisor/http/listen.h"
#include "supervisor/http/problem.h"
#include "tests/support/http_client.h"
#include "tests/support/temp_dir.h"

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::HttpAnswer;
using test::HttpClient;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::size_t kBodyMax = 1'000;

// "/echo" answers the body and who asked; "/hold" when the test says so, or when its client is
// gone; "/large/N" N bytes. Everything else is refused before its body.
class TestSite : public Site, public Endpoint {
 public:
  explicit TestSite(asio::io_context& context) : context_(context) {}

  Verdict admit(const RequestHead& head) override {
    const std::string_view target = text(head.target());
    if (target == "/no") return answer(Status::not_found, "text/plain", "no");
    return std::shared_ptr<Endpoint>(std::shared_ptr<void>(), this);
  }
  std::size_t body_max() const override { return body_most; }
  Response too_large() const override { return problem(Status::payload_too_large, "too large"); }
  asio::awaitable<Response> serve(Request request, const Peer& peer,
                                  asio::cancellation_slot gone) override {
    const std::string_view target = text(request.target());
    if (target.starts_with("/large/"))
      co_return answer(Status::ok, "text/plain",
                       std::string(std::stoul(std::string(target.substr(7))), 'x'));
    if (target == "/hold") {
      auto& timer = held_.emplace_back(context_, steady_clock::time_point::max());
      note("held");
      boost::system::error_code error;
      auto token =
          asio::bind_cancellation_slot(gone, asio::redirect_error(asio::use_awaitable, error));
      co_await timer.async_wait(std::move(token));
      note(released_ ? "released" : "gone");
    }
    co_return answer(Status::ok, "text/plain", peer.client + ":" + request.body());
  }

  std::size_t body_most = kBodyMax;

  void release() {
    asio::post(context_, [this] {
      released_ = true;
      for (auto& timer : held_) timer.cancel();
    });
  }
  // Waits until `word` was noted once more often than it was waited for.
  void await(const std::string& word) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(noted_.wait_for(lock, std::chrono::seconds(60), [&] {
      return words_[word] > taken_[word];
    })) << word;
    ++taken_[word];
  }

 private:
  void note(const std::string& word) {
    const std::lock_guard lock(mutex_);
    ++words_[word];
    noted_.notify_all();
  }
  asio::io_context& context_;
  std::list<asio::steady_timer> held_;
  bool released_ = false;
  std::mutex mutex_;
  std::condition_variable noted_;
  std::map<std::string, int> words_;
  std::map<std::string, int> taken_;
};

class HttpServer : public ::testing::Test {
 protected:
  void start(const HttpLimits& limits = {}, const std::string& address = "127.0.0.1:0") {
    server.emplace(context.get_executor(), limits, site);
    const auto where =
        std::get<ListenAddress>(parse_listen_address(address, [](const char*) { return nullptr; }));
    auto socket = std::get<isolation::UniqueFd>(listen_on(where));
    const std::string url = url_of(socket.get());
    if (where.path.empty())
      port = static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
    server->listen(std::move(socket));
    thread = std::thread([this] { context.run(); });
  }
  // On the server's thread.
  template <class Ask>
  auto ask(Ask question) {
    std::packaged_task<decltype(question())()> task(std::move(question));
    auto said = task.get_future();
    asio::post(context, [&task] { task(); });
    return said.get();
  }
  void TearDown() override {
    if (!thread.joinable()) return;
    site.release();
    ask([this] { server->close(); });
    work.reset();
    thread.join();
    EXPECT_EQ(server->status().connections, 0U);
    EXPECT_EQ(server->status().body_bytes, 0U);
  }
  ServerStatus status() {
    return ask([this] { return server->status(); });
  }
  std::future<void> drain(milliseconds most = std::chrono::minutes(10)) {
    return asio::co_spawn(context, server->drain(steady_clock::now() + most), asio::use_future);
  }

  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  TestSite site{context};
  std::optional<Server> server;
  std::thread thread;
  std::uint16_t port = 0;
};

unsigned status_of(const std::optional<HttpAnswer>& answer) {
  return answer ? answer->status : 0;
}

TEST_F(HttpServer, AnswersOneRequestAfterAnotherOfAConnection) {
  start();
  HttpClient client(port);
  for (const char* body : {"one", "two", ""}) {
    const auto answer = client.call("POST", "/echo", body);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200U);
    EXPECT_EQ(answer->body, std::string("127.0.0.1:") + body);
    EXPECT_TRUE(answer->keep_alive);
    EXPECT_FALSE(answer->field("date").empty());
  }
  EXPECT_EQ(status().accepted, 1U);
  EXPECT_EQ(status().requests, 3U);
}

TEST_F(HttpServer, AnswersPipelinedRequestsInTheirOrder) {
  start();
  HttpClient client(port);
  client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1"
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n0\r\n\r\n"
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\n3");
  for (const char* body : {"1", "2", "3"}) {
    const auto answer = client.answer();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, std::string("127.0.0.1:") + body);
  }
  EXPECT_TRUE(client.ended());
}

TEST_F(HttpServer, ServesHttp10AndHead) {
  start();
  HttpClient old(port);
  old.send("POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_EQ(old.answer()->body, "127.0.0.1:hi");
  EXPECT_TRUE(old.ended());
  HttpClient head(port);
  const auto answer = head.call("HEAD", "/large/5");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->field("content-length"), "5");
  EXPECT_EQ(head.call("POST", "/echo", "x")->body, "127.0.0.1:x") << "no body of the HEAD before";
}

TEST_F(HttpServer, TellsThePeersOfAUnixSocketByTheirUid) {
  const test::TempDir temp;
  const std::string path = (temp.path() / "socket").string();
  start({}, "unix:" + path);
  HttpClient client(path);
  EXPECT_EQ(client.call("POST", "/echo", "x")->body, "uid:" + std::to_string(::getuid()) + ":x");
}

TEST_F(HttpServer, RefusesWhatCouldBeTakenForAnotherRequest) {
  start();
  const std::pair<const char*, unsigned> rows[] = {
      {"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400},  // No Host.
      {"POST /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
       "5\r\n\r\n0\r\n\r\n",
       400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n",
       400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nhi", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost : a\r\nContent-Length: 0\r\n\r\n", 400},
      {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"\x16\x03\x01\x02 what TLS begins with\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400},
  };
  for (const auto& [bytes, expected] : rows) {
    HttpClient client(port);
    client.send(bytes);
    const auto answer = client.answer();
    EXPECT_EQ(status_of(answer), expected) << bytes;
    EXPECT_EQ(answer ? answer->field("content-type") : "", "application/problem+json") << bytes;
    EXPECT_TRUE(client.ended()) << bytes;
  }
  HttpClient fine(port);
  fine.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n");
  EXPECT_EQ(status_of(fine.answer()), 200U);
}

TEST_F(HttpServer, BoundsTheHeader) {
  start({.header_max = 2'048});
  HttpClient large(port);
  large.request("POST", "/echo", "", "X: " + std::string(3'000, 'x') + "\r\n");
  EXPECT_EQ(status_of(large.answer()), 431U);
  EXPECT_TRUE(large.ended());
  HttpClient fits(port);
  EXPECT_EQ(status_of(fits.call("POST", "/echo", "", "X: " + std::string(1'500, 'x') + "\r\n")),
            200U);
}

TEST_F(HttpServer, BoundsTheBodyHoweverItsLengthIsTold) {
  start();
  HttpClient told(port);
  told.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(status_of(told.answer()), 413U) << "before any of it came";
  HttpClient chunked(port);
  chunked.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
               std::string(1'001, 'x'));
  EXPECT_EQ(status_of(chunked.answer()), 413U);
  HttpClient fits(port);
  EXPECT_EQ(fits.call("POST", "/echo", std::string(1'000, 'x'))->status, 200U);
}

// What stands between the bytes of a body has no limit of its own in the format.
TEST_F(HttpServer, BoundsWhatIsNeitherHeaderNorBody) {
  start();
  const std::string endless(1'000'000, 'a');
  for (const char* begin : {"5;", "5\r\nhello\r\n0\r\nX: ", "0\r\n"}) {
    HttpClient client(port);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
                std::string(begin) + endless);
    EXPECT_NE(status_of(client.answer()), 200U) << begin;
  }
  HttpClient honest(port);
  honest.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2;name=value\r\nhi\r\n0\r\nX: trailer\r\n\r\n");
  EXPECT_EQ(honest.answer()->body, "127.0.0.1:hi");
}

TEST_F(HttpServer, CountsBodiesByWhatHasComeNotByWhatIsTold) {
  site.body_most = 1'000'000;
  start({.bodies_max = 1'400'000});
  std::list<HttpClient> promising;
  for (int i = 0; i < 3; ++i) {
    promising.emplace_back(port).send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    while (status().calls <= static_cast<std::size_t>(i)) std::this_thread::yield();
  }
  HttpClient client(port);
  EXPECT_EQ(status_of(client.call("POST", "/echo", std::string(500'000, 'x'))), 200U);
}

TEST_F(HttpServer, LetsAClientWaitForContinue) {
  start();
  HttpClient client(port);
  client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  // Only the server's word for it makes this client go on.
  std::thread rest([&] { client.send("ok"); });
  EXPECT_EQ(client.answer()->body, "127.0.0.1:ok");
  rest.join();
  HttpClient refused(port);
  refused.send("POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(status_of(refused.answer()), 404U) << "without its body";
}

TEST_F(HttpServer, BoundsAllBodiesTogether) {
  start({.bodies_max = 1'500});
  HttpClient first(port);
  first.request("POST", "/hold", std::string(800, 'x'));
  site.await("held");
  EXPECT_EQ(status().body_bytes, 800U);
  HttpClient second(port);
  const auto busy = second.call("POST", "/echo", std::string(800, 'x'));
  EXPECT_EQ(status_of(busy), 503U);
  EXPECT_EQ(busy->field("retry-after"), "1");
  HttpClient small(port);
  EXPECT_EQ(status_of(small.call("POST", "/echo", "x")), 200U);
  site.release();
  EXPECT_EQ(status_of(first.answer()), 200U);
  HttpClient later(port);
  EXPECT_EQ(status_of(later.call("POST", "/echo", std::string(800, 'x'))), 200U);
}

// The end of the connection is the event; how long that took is not looked at.
TEST_F(HttpServer, GivesUpOnSlowClients) {
  const milliseconds soon{500};  // Enough for a client on a slow machine to begin.
  start(
      {.header_timeout = soon, .body_timeout = soon, .idle_timeout = soon, .write_timeout = soon});
  HttpClient silent(port);
  EXPECT_TRUE(silent.ended());
  HttpClient slow_header(port);
  slow_header.send("POST /echo HTTP/1.1\r\nHost: ");
  EXPECT_TRUE(slow_header.ended());
  HttpClient slow_body(port);
  slow_body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
  EXPECT_TRUE(slow_body.ended());
  HttpClient slow_reader(port);
  slow_reader.receive_little();
  slow_reader.request("GET", "/large/64000000");
  // It does not read until the server has given up on it.
  while (status().timed_out < 3) std::this_thread::yield();
  HttpClient quick(port);
  EXPECT_EQ(status_of(quick.call("POST", "/echo", "x")), 200U);
  EXPECT_EQ(status().timed_out, 3U) << "the silent one was only idle";
}

TEST_F(HttpServer, NoticesThatAClientIsGone) {
  start();
  HttpClient client(port);
  client.request("POST", "/hold", "x");
  site.await("held");
  client.close();
  site.await("gone");
  while (status().connections != 0) std::this_thread::yield();
  EXPECT_EQ(status().vanished, 1U);
  // The twin who stays is served.
  HttpClient stays(port);
  stays.request("POST", "/hold", "x");
  site.await("held");
  site.release();
  EXPECT_EQ(status_of(stays.answer()), 200U);
}

TEST_F(HttpServer, MakesRoomByClosingWhoIsIdle) {
  start({.connections_max = 2});
  HttpClient idle(port);
  EXPECT_EQ(status_of(idle.call("POST", "/echo", "x")), 200U);
  HttpClient busy(port);
  busy.request("POST", "/hold", "x");
  site.await("held");
  HttpClient third(port);
  third.request("POST", "/hold", "x");
  site.await("held");
  EXPECT_TRUE(idle.ended());
  // Nobody is idle any more.
  HttpClient fourth(port);
  const auto answer = fourth.answer();
  EXPECT_EQ(status_of(answer), 503U);
  EXPECT_EQ(status().turned_away, 1U);
  site.release();
  EXPECT_EQ(status_of(busy.answer()), 200U);
  EXPECT_EQ(status_of(third.answer()), 200U);
}

TEST_F(HttpServer, MakesRoomByCuttingOffWhoSendsForTooLong) {
  start({.connections_max = 3});
  HttpClient served(port);
  served.request("POST", "/hold", "x");
  site.await("held");
  std::list<HttpClient> slow;
  for (int i = 0; i < 2; ++i)
    slow.emplace_back(port).send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
  // At first they may yet come to their end; then they are too slow.
  for (unsigned status = 0; status != 200;) {
    HttpClient client(port);
    status = status_of(client.call("POST", "/echo", "x"));
  }
  EXPECT_TRUE(slow.front().ended());
  site.release();
  EXPECT_EQ(status_of(served.answer()), 200U) << "a call is no slow request";
}

TEST_F(HttpServer, DrainsWithoutLosingACallThatItTook) {
  start();
  HttpClient idle(port);
  EXPECT_EQ(status_of(idle.call("POST", "/echo", "x")), 200U);
  HttpClient other(port);
  EXPECT_EQ(status_of(other.call("POST", "/echo", "x")), 200U);
  HttpClient busy(port);
  busy.request("POST", "/hold", "x");
  site.await("held");
  auto drained = drain();
  // Whoever still asks is told by the site, and is not kept.
  const auto last = other.call("POST", "/echo", "x");
  EXPECT_EQ(status_of(last), 200U);
  EXPECT_FALSE(last->keep_alive);
  HttpClient fresh(port);
  EXPECT_EQ(status_of(fresh.call("GET", "/no")), 404U);
  site.release();
  const auto answer = busy.answer();
  EXPECT_EQ(status_of(answer), 200U);
  EXPECT_FALSE(answer->keep_alive);
  EXPECT_TRUE(busy.ended());
  EXPECT_TRUE(idle.ended());
  drained.get();
  EXPECT_ANY_THROW(HttpClient{port}) << "nobody listens any more";
}

// The loop may have taken a request off its socket when the drain begins, and not have told anybody
// yet: nothing waits in the socket, and the connection looks idle.
TEST_F(HttpServer, DrainsWithoutLosingACallThatItsOwnLoopHasJustRead) {
  start();
  HttpClient client(port);
  ASSERT_TRUE(client.call("POST", "/echo", "first"));
  auto drained = std::make_shared<std::promise<void>>();
  ask([&] {
    client.request("POST", "/echo", "second");
    asio::post(context, [this, drained] {
      asio::co_spawn(context, server->drain(steady_clock::time_point::max()),
                     [drained](const std::exception_ptr&) { drained->set_value(); });
    });
  });
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "127.0.0.1:second");
  drained->get_future().get();
}

TEST_F(HttpServer, DrainsAtOnceWhenNobodyIsServed) {
  start();
  HttpClient idle(port);
  EXPECT_EQ(status_of(idle.call("POST", "/echo", "x")), 200U);
  drain().get();
  EXPECT_TRUE(idle.ended());
  EXPECT_ANY_THROW(HttpClient{port});
}

TEST_F(HttpServer, ADrainEndsAtItsDeadline) {
  start();
  HttpClient busy(port);
  busy.request("POST", "/hold", "x");
  site.await("held");
  drain(milliseconds(20)).get();
  site.await("gone");
  EXPECT_FALSE(busy.answer());
}

TEST_F(HttpServer, AnswersWhoWasConnectedBeforeTheDrainAndNotYetAccepted) {
  start();
  // The server's thread is held while the connection is made, so that nobody accepts it.
  std::promise<void> go;
  auto drained = std::make_shared<std::promise<void>>();
  asio::post(context, [&] { go.get_future().wait(); });
  HttpClient early(port);
  early.request("POST", "/echo", "x");
  asio::co_spawn(context, server->drain(steady_clock::time_point::max()),
                 [drained](const std::exception_ptr&) { drained->set_value(); });
  go.set_value();
  EXPECT_EQ(status_of(early.answer()), 200U);
  drained->get_future().get();
}

}  // namespace
}  // namespace fnrun::supervisor::http
