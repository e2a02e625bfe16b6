#include "supervisor/lifecycle/sandbox_context.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <stdexcept>

#include "supervisor/lifecycle/sandbox_driver.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;

// On the driver's executor: at once, when that is where we are, but after whatever is being done
// (the observer calls back from the middle of it).
template <class What>
void on_executor(const std::shared_ptr<SandboxDriver>& driver, What what) {
  asio::dispatch(driver->executor(), [driver, what = std::move(what)]() mutable {
    if (!driver->in_step()) return what(*driver);
    asio::post(driver->executor(), [driver, what = std::move(what)]() mutable { what(*driver); });
  });
}

// Here and now, so that a cancellation which comes before the driver's turn is heard.
template <class T>
WaiterPtr<LifecycleResult<T>> waiter_on(const SandboxDriver& driver, LifecycleHandler<T> handler) {
  LifecycleFailure cancelled;
  cancelled.kind = LifecycleFailure::Kind::kWaitCancelled;
  cancelled.message = "the wait was cancelled";
  auto waiter = std::make_shared<Waiter<LifecycleResult<T>>>(std::move(handler), driver.executor());
  waiter->listen_for_cancellation(std::move(cancelled));
  return waiter;
}

}  // namespace

std::string LifecycleFailure::to_string() const {
  switch (kind) {
    case Kind::kRefused:
      return "refused: " + message;
    case Kind::kReservationDone:
    case Kind::kAlreadyRead:
    case Kind::kWaitCancelled:
      return message;
    case Kind::kInitFailed:
    case Kind::kInvokeFailed:
    case Kind::kRestoreFailed:
      break;
  }
  return error_type + ": " + message + (reset_received ? " (a reset came)" : "") +
         (request_reset ? "; reset the sandbox before its next invocation" : "");
}

void throw_exception_from_error(const LifecycleFailure& failure, const boost::source_location&) {
  throw std::runtime_error(failure.to_string());
}

InvokeContext::InvokeContext(std::shared_ptr<SandboxDriver> driver,
                             std::shared_ptr<SandboxReservation> reservation)
    : driver_(std::move(driver)), reservation_(std::move(reservation)) {}

const std::string& InvokeContext::invoke_id() const noexcept {
  return reservation_->request.invoke_id;
}

const std::string& InvokeContext::reservation_token() const noexcept {
  return reservation_->token;
}

void InvokeContext::start_send(InvokeRequest request, LifecycleHandler<void> told) const {
  on_executor(driver_,
              [of = reservation_, request = std::move(request),
               told = waiter_on(*driver_, std::move(told))](SandboxDriver& driver) mutable {
                driver.send(of, std::move(request), told);
              });
}

void InvokeContext::start_wait(LifecycleHandler<InvokeSuccess> told) const {
  on_executor(driver_, [of = reservation_, told = waiter_on(*driver_, std::move(told))](
                           SandboxDriver& driver) { driver.wait_invoke(of, told); });
}

void InvokeContext::start_release(LifecycleHandler<void> told) const {
  on_executor(driver_, [of = reservation_, told = waiter_on(*driver_, std::move(told))](
                           SandboxDriver& driver) { driver.release(of, told); });
}

InitContext::InitContext(std::shared_ptr<SandboxDriver> driver) : driver_(std::move(driver)) {}

void InitContext::start_wait(LifecycleHandler<InitSuccess> told) const {
  on_executor(driver_, [told = waiter_on(*driver_, std::move(told))](SandboxDriver& driver) {
    driver.wait_init(told);
  });
}

void InitContext::start_reserve(ReserveRequest request,
                                LifecycleHandler<InvokeContext> told) const {
  on_executor(driver_,
              [request = std::move(request), told = waiter_on(*driver_, std::move(told))](
                  SandboxDriver& driver) mutable { driver.reserve(std::move(request), told); });
}

SandboxContext::SandboxContext(asio::any_io_executor executor,
                               std::unique_ptr<RuntimeStarter> starter, SandboxOptions options)
    : driver_(std::make_shared<SandboxDriver>(std::move(executor), std::move(starter),
                                              std::move(options))) {}

SandboxContext::~SandboxContext() {
  driver_->close();
}

InitContext SandboxContext::init_context() const {
  return InitContext(driver_);
}

void SandboxContext::start_init(InitRequest request, LifecycleHandler<InitContext> told) {
  on_executor(driver_, [request, told = waiter_on(*driver_, std::move(told))](
                           SandboxDriver& driver) { driver.init(request, told); });
}

void SandboxContext::start_reset(ResetReason reason, LifecycleHandler<ResetResult> told) {
  on_executor(driver_, [reason, told = waiter_on(*driver_, std::move(told))](
                           SandboxDriver& driver) { driver.reset(reason, told); });
}

void SandboxContext::start_shutdown(Deadline deadline, LifecycleHandler<ShutdownResult> told) {
  on_executor(driver_, [deadline, told = waiter_on(*driver_, std::move(told))](
                           SandboxDriver& driver) { driver.shutdown(deadline, told); });
}

void SandboxContext::start_restore(RestoreRequest request, LifecycleHandler<RestoreResult> told) {
  on_executor(driver_, [request, told = waiter_on(*driver_, std::move(told))](
                           SandboxDriver& driver) { driver.restore(request, told); });
}

void SandboxContext::start_clear(LifecycleHandler<void> told) {
  on_executor(driver_, [told = waiter_on(*driver_, std::move(told))](SandboxDriver& driver) {
    driver.clear(told);
  });
}

void SandboxContext::start_status(LifecycleHandler<SandboxStatus> told) {
  on_executor(driver_, [told = waiter_on(*driver_, std::move(told))](SandboxDriver& driver) {
    driver.status(told);
  });
}

void SandboxContext::set_runtime_started_time(std::optional<ResponseMetrics::Time> started) {
  on_executor(driver_,
              [started](SandboxDriver& driver) { driver.set_runtime_started_time(started); });
}

void SandboxContext::set_invoke_response_metrics(std::optional<ResponseMetrics> metrics) {
  on_executor(driver_,
              [metrics](SandboxDriver& driver) { driver.set_invoke_response_metrics(metrics); });
}

}  // namespace fnrun::supervisor
