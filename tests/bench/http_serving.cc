#include "tests/bench/http_serving.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstring>
#include <ctime>
#include <future>
#include <optional>
#include <stdexcept>
#include <thread>

#include "supervisor/http/front_end.h"
#include "supervisor/http/invoke_api.h"
#include "supervisor/http/listen.h"
#include "supervisor/http/metrics.h"
#include "supervisor/http/server.h"
#include "supervisor/http/status.h"
#include "tests/bench/setting.h"

namespace fnrun::bench {
namespace {

namespace asio = boost::asio;
namespace http = supervisor::http;
using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

double cpu_us(clockid_t clock) {
  timespec used{};
  ::clock_gettime(clock, &used);
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

isolation::UniqueFd listening(std::uint16_t& port) {
  auto socket = http::listen_on(std::get<http::ListenAddress>(
      http::parse_listen_address("127.0.0.1:0", [](const char*) { return nullptr; })));
  if (const auto* fault = std::get_if<http::ListenFault>(&socket))
    throw std::runtime_error(fault->message);
  auto& fd = std::get<isolation::UniqueFd>(socket);
  const std::string url = http::url_of(fd.get());
  port = static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
  return std::move(fd);
}

}  // namespace

struct HttpServing::State {
  std::uint16_t port = 0;
  double handlers_us = 0;
  http::Metrics metrics;
  http::Statistics statistics;
  http::Observers observers;
  asio::io_context context{1};
  http::FrontEnd front_end{{}};
  http::Server server{context.get_executor(), {}, front_end};
  std::shared_ptr<http::Function> function;
  std::thread thread;

  void serve(isolation::Launcher& launcher, std::shared_ptr<const isolation::Plan> plan,
             supervisor::ServiceOptions options);
  asio::awaitable<void> end();
};

void HttpServing::State::serve(isolation::Launcher& launcher,
                               std::shared_ptr<const isolation::Plan> plan,
                               supervisor::ServiceOptions options) {
  observers.report = [this](std::string_view name, const supervisor::InvocationReport& report) {
    metrics.count(name, report);
    statistics.count(name, report);
    handlers_us += static_cast<double>(report.usage.user_us + report.usage.system_us);
  };
  function = std::make_shared<http::Function>(
      context.get_executor(), launcher, std::move(plan),
      http::FunctionOptions{.name = "function", .service = std::move(options)}, observers);
  if (const auto warm = function->service().warm_up(); !warm)
    throw std::runtime_error(warm.error().to_string());
  auto served = std::make_shared<http::Served>();
  served->function = function;
  served->invoke = http::make_invoke_endpoint(function);
  front_end.serve({served});
  server.listen(listening(port));
}

asio::awaitable<void> HttpServing::State::end() {
  auto drained = server.drain(Clock::now());
  co_await std::move(drained);
  function->hurry(Clock::now());
  auto retired = function->retire();
  co_await std::move(retired);
}

HttpServing::HttpServing(isolation::Launcher& launcher, std::shared_ptr<const isolation::Plan> plan,
                         supervisor::ServiceOptions options, int service, int handler)
    : state_(std::make_unique<State>()) {
  std::promise<void> ready;
  state_->thread = std::thread([&, state = state_.get()] {
    try {
      pin_to(handler);
      state->serve(launcher, std::move(plan), std::move(options));
      pin_to(service);
    } catch (...) {
      return ready.set_exception(std::current_exception());
    }
    ready.set_value();
    state->context.run();
  });
  try {
    ready.get_future().get();
  } catch (...) {
    state_->thread.join();
    throw;
  }
}

HttpServing::~HttpServing() {
  asio::post(state_->context,
             [this] { asio::co_spawn(state_->context, state_->end(), asio::detached); });
  state_->thread.join();
}

std::uint16_t HttpServing::port() const noexcept {
  return state_->port;
}

double HttpServing::service_cpu_us() const {
  clockid_t clock{};
  if (::pthread_getcpuclockid(state_->thread.native_handle(), &clock) != 0) fail("its CPU clock");
  return cpu_us(clock);
}

double HttpServing::handlers_cpu_us() const {
  return state_->handlers_us;
}

HttpCaller::HttpCaller(std::uint16_t port, std::size_t size)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), body_(size, 'x') {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0)
    fail("connect");
  const int on = 1;
  (void)::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  request_ = "POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(size) +
             "\r\n\r\n" + body_;
}

void HttpCaller::send() const {
  if (::send(socket_.get(), request_.data(), request_.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request_.size()))
    fail("send");
}

bool HttpCaller::receive() {
  char some[4096];
  const ssize_t n = ::recv(socket_.get(), some, sizeof some, 0);
  if (n <= 0) fail("the service has closed a connection");
  answer_.append(some, static_cast<std::size_t>(n));
  const auto header = answer_.find("\r\n\r\n");
  if (header == std::string::npos || answer_.size() < header + 4 + body_.size()) return false;
  if (!answer_.starts_with("HTTP/1.1 200 ") || answer_.substr(header + 4) != body_)
    throw std::runtime_error("a call was answered: " + answer_);
  answer_.clear();
  return true;
}

void HttpCaller::calls(std::size_t count, std::vector<double>& us) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto began = Clock::now();
    send();
    while (!receive()) {
    }
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - began).count());
  }
}

double calls_at_a_time(std::vector<HttpCaller>& callers, std::size_t count) {
  const auto began = Clock::now();
  std::size_t left = count;
  std::size_t open = 0;
  std::vector<pollfd> watched;
  const auto next = [&](const HttpCaller& caller) {
    if (left == 0) return;
    --left;
    ++open;
    caller.send();
  };
  for (HttpCaller& caller : callers) {
    watched.push_back({caller.socket(), POLLIN, 0});
    next(caller);
  }
  while (open > 0) {
    if (::poll(watched.data(), watched.size(), -1) < 0) fail("poll");
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (watched[i].revents == 0 || !callers[i].receive()) continue;
      --open;
      next(callers[i]);
    }
  }
  const std::chrono::duration<double, std::micro> took = Clock::now() - began;
  return took.count() / static_cast<double>(count);
}

}  // namespace fnrun::bench
