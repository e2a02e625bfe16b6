#include "supervisor/http/function.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace fnrun::supervisor::http {
namespace {

namespace asio = boost::asio;

ServiceOptions observed(const FunctionOptions& options, const Observers& observers) {
  ServiceOptions service = options.service;
  service.log = [name = options.name, &observers](std::uint64_t, std::string_view line) {
    if (observers.line) observers.line({name, {}, line});
  };
  service.on_event = [name = options.name, &observers](const PoolEvent& event) {
    if (observers.event) observers.event(name, event);
  };
  return service;
}

}  // namespace

Function::Function(asio::any_io_executor executor, isolation::Launcher& launcher,
                   std::shared_ptr<const isolation::Plan> plan, FunctionOptions options,
                   const Observers& observers)
    : executor_(std::move(executor)),
      options_(std::move(options)),
      observers_(observers),
      plan_(std::move(plan)),
      changed_(executor_),
      service_(executor_, launcher, plan_, observed(options_, observers)) {}

bool Function::failed(const protocol::Result& result) const noexcept {
  if (protocol() == HandlerProtocol::kExec) return result.status != 0;
  // An HTTP status, or a plain 0.
  return result.status != 0 && (result.status < 100 || result.status >= 400);
}

asio::awaitable<Invocation> Function::call(Call call) {
  const auto self = shared_from_this();
  call.caller.log = [self, id = call.caller.request_id,
                     also = std::move(call.caller.log)](std::string_view line) {
    if (also) also(line);
    self->say(id, line);
  };
  ++in_flight_;
  auto token = asio::bind_cancellation_slot(call.cancelled, asio::use_awaitable);
  auto answer = service_.async_invoke(std::move(call.input), call.deadline, std::move(call.caller),
                                      std::move(token));
  Invocation invocation = co_await std::move(answer);
  --in_flight_;
  changed_.cancel();
  const bool ended = !call.asks_again || invocation.report.outcome != Outcome::kUnavailable;
  if (ended && observers_.report) observers_.report(name(), invocation.report);
  co_return invocation;
}

Invocation Function::refuse(Cause cause, std::string request_id) {
  Invocation refused = service_.refuse(cause);
  refused.report.request_id = std::move(request_id);
  if (observers_.report) observers_.report(name(), refused.report);
  return refused;
}

void Function::say(std::string_view request_id, std::string_view line) const {
  if (observers_.line) observers_.line({name(), request_id, line});
}

std::shared_ptr<void> Function::hold() {
  ++held_;
  return {this, [self = shared_from_this()](void*) {
            --self->held_;
            self->changed_.cancel();
          }};
}

void Function::hurry(Deadline end) {
  end_ = std::min(end_, end);
  changed_.cancel();
}

asio::awaitable<void> Function::change(Deadline latest) {
  changed_.expires_at(latest);
  co_await changed_.async_wait(asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<void> Function::released() {
  const auto self = shared_from_this();
  while (held_ != 0 && std::chrono::steady_clock::now() < end_) co_await change(end_);
}

asio::awaitable<void> Function::retire() {
  const auto self = shared_from_this();
  while (in_flight_ != 0 && std::chrono::steady_clock::now() < end_) co_await change(end_);
  service_.stop();
  // Those that were cut short end by themselves now.
  while (in_flight_ != 0) co_await change(Deadline::max());
  co_await service_.shut_down();
}

}  // namespace fnrun::supervisor::http
