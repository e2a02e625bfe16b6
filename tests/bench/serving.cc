#include "tests/bench/serving.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <stdexcept>
#include <utility>

namespace fnrun::bench {
namespace {

namespace asio = boost::asio;
using supervisor::Input;
using supervisor::Invocation;
using supervisor::Outcome;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point began) {
  return std::chrono::duration<double, std::micro>(Clock::now() - began).count();
}

void expect(const Invocation& invocation, Outcome outcome) {
  if (invocation.report.outcome == outcome) return;
  throw std::runtime_error("a call ended as " + supervisor::to_json(invocation.report));
}

double process_cpu_us() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

}  // namespace

Serving::Serving(isolation::Launcher& launcher, std::shared_ptr<const isolation::Plan> plan,
                 supervisor::ServiceOptions options)
    : context_(1),
      ready_(options.ready),
      service_(context_.get_executor(), launcher, std::move(plan), std::move(options)) {
  if (const auto warm = service_.warm_up(); !warm)
    throw std::runtime_error(warm.error().to_string());
}

Serving::~Serving() {
  try {
    run(service_.shut_down());
  } catch (const std::exception&) {  // The sandboxes go with their owners.
  }
}

void Serving::run(asio::awaitable<void> work) {
  std::exception_ptr thrown;
  bool done = false;
  asio::co_spawn(context_, std::move(work), [&](std::exception_ptr error) {
    thrown = std::move(error);
    done = true;
  });
  while (!done) context_.run_one();
  if (thrown) std::rethrow_exception(thrown);
}

asio::awaitable<void> Serving::one_call(std::size_t size, double& us) {
  Input input{std::string(size, 'x'), {}};
  const auto began = Clock::now();
  const Invocation invocation = co_await service_.invoke(std::move(input));
  us = since(began);
  expect(invocation, Outcome::kOk);
  if (invocation.result->data != std::string(size, 'x'))
    throw std::runtime_error("the handler answered something else than it was asked");
}

void Serving::calls(std::size_t count, std::size_t size, std::vector<double>& us) {
  const auto work = [&]() -> asio::awaitable<void> {
    for (std::size_t i = 0; i < count; ++i) {
      us.push_back(0);
      co_await one_call(size, us.back());
    }
  };
  run(work());
}

Serving::Overrun Serving::overrun(std::chrono::milliseconds timeout) {
  Overrun overrun;
  const auto work = [&]() -> asio::awaitable<void> {
    Input question{"hang", {}};
    Input next{"x", {}};
    const auto deadline = Clock::now() + timeout;
    const Invocation late = co_await service_.invoke(std::move(question), deadline);
    overrun.answer_us = since(deadline);
    const Invocation answered = co_await service_.invoke(std::move(next));
    overrun.next_us = since(deadline);
    expect(late, Outcome::kTimedOut);
    expect(answered, Outcome::kOk);
  };
  run(work());
  settle();
  return overrun;
}

double Serving::throughput(std::size_t count, std::size_t callers) {
  const auto began = Clock::now();
  std::size_t left = count;
  std::size_t ended = 0;
  std::exception_ptr thrown;
  const auto caller = [&]() -> asio::awaitable<void> {
    double ignored = 0;
    while (left > 0) {
      --left;
      co_await one_call(1, ignored);
    }
  };
  for (std::size_t i = 0; i < callers; ++i)
    asio::co_spawn(context_, caller(), [&](std::exception_ptr error) {
      if (error) thrown = std::move(error);
      ++ended;
    });
  while (ended < callers) context_.run_one();
  if (thrown) std::rethrow_exception(thrown);
  settle();
  return since(began) / static_cast<double>(count);
}

double Serving::idle_cpu_us(std::chrono::milliseconds span) {
  settle();
  const double before = process_cpu_us();
  const auto began = Clock::now();
  context_.run_for(span);
  return (process_cpu_us() - before) / since(began) * 1e6;
}

void Serving::settle() {
  for (;;) {
    const auto status = service_.status();
    if (status.idle >= ready_ && status.starting == 0 && status.dying == 0) return;
    context_.run_one();
  }
}

}  // namespace fnrun::bench
