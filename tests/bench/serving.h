// A Service of the product as its caller sees it: calls, timed from invoke() to the answer.
//
// Each runs the event loop on the calling thread. Every answer is compared with what must come; a
// wrong one is an exception. Not thread-safe.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "isolation/launcher.h"
#include "supervisor/service.h"

namespace fnrun::bench {

class Serving {
 public:
  // Warm: the first sandbox is started on this thread, and has its CPUs. `launcher` must outlive
  // it.
  Serving(isolation::Launcher& launcher, std::shared_ptr<const isolation::Plan> plan,
          supervisor::ServiceOptions options);
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  ~Serving();

  // `count` calls of `size` bytes one after the other; adds the microseconds of each to `us`.
  void calls(std::size_t count, std::size_t size, std::vector<double>& us);

  struct Overrun {
    double answer_us = 0;  // From the deadline until the caller knows.
    double next_us = 0;    // From the deadline until the answer to the next call.
  };
  // A call that the handler leaves unanswered, and one more.
  [[nodiscard]] Overrun overrun(std::chrono::milliseconds timeout);

  // `callers` at a time make `count` calls, until all is as before: as many sandboxes ready, none
  // dying. The microseconds of all that for one call.
  [[nodiscard]] double throughput(std::size_t count, std::size_t callers);

  // Nobody calls for so long: the microseconds of CPU time that this process uses in a second.
  [[nodiscard]] double idle_cpu_us(std::chrono::milliseconds span);

  // Until as many sandboxes are ready as there are to be.
  void settle();

 private:
  boost::asio::awaitable<void> one_call(std::size_t size, double& us);
  void run(boost::asio::awaitable<void> work);

  boost::asio::io_context context_;
  std::size_t ready_;
  supervisor::Service service_;
};

}  // namespace fnrun::bench
