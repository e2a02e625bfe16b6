// The HTTP service of the product as its clients see it, on a thread of its own, and such clients.
//
// Server, front end and function as the command puts them together, with what it counts of each
// call; clients write and read raw sockets, for they are not what is measured. Every answer is
// compared with what must come; a wrong one is an exception. Used from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "isolation/launcher.h"
#include "isolation/unique_fd.h"
#include "supervisor/service.h"

namespace fnrun::bench {

class HttpServing {
 public:
  // Warm: the first sandbox is started on CPU `handler`, the service runs on CPU `service`.
  // `launcher` must outlive it.
  HttpServing(isolation::Launcher& launcher, std::shared_ptr<const isolation::Plan> plan,
              supervisor::ServiceOptions options, int service, int handler);
  HttpServing(const HttpServing&) = delete;
  HttpServing& operator=(const HttpServing&) = delete;
  ~HttpServing();

  [[nodiscard]] std::uint16_t port() const noexcept;
  // CPU time of the service's threads, and of the handlers as calls' reports tell it, since it
  // began. Precondition: nobody calls.
  [[nodiscard]] double service_cpu_us() const;
  [[nodiscard]] double handlers_cpu_us() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A connection that stays: POST /invoke with `size` bytes, one request at a time.
class HttpCaller {
 public:
  HttpCaller(std::uint16_t port, std::size_t size);

  void send() const;
  // False: not all of the answer is there yet. Waits for some of it.
  [[nodiscard]] bool receive();
  [[nodiscard]] int socket() const noexcept { return socket_.get(); }
  // `count` calls one after the other; adds the microseconds of each to `us`.
  void calls(std::size_t count, std::vector<double>& us);

 private:
  isolation::UniqueFd socket_;
  std::string request_;
  std::string body_;
  std::string answer_;
};

// `callers` connections at a time make `count` calls. The microseconds of all that for one call.
[[nodiscard]] double calls_at_a_time(std::vector<HttpCaller>& callers, std::size_t count);

}  // namespace fnrun::bench
