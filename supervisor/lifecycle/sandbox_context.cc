#include "supervisor/lifecycle/sandbox_context.h"

#include <stdexcept>

#include "supervisor/lifecycle/sandbox_driver.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;

// On the driver's executor: at once, when that is where we are.
template <class What>
void on_executor(const std::shared_ptr<SandboxDriver>& driver, What what) {
  asio::dispatch(driver->executor(), [driver, what = std::move(what)]() mutable { what(*driver); });
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

const asio::any_io_executor& InvokeContext::executor() const {
  return driver_->executor();
}

const std::string& InvokeContext::invoke_id() const noexcept {
  return reservation_->request.invoke_id;
}

const std::string& InvokeContext::reservation_token() const noexcept {
  return reservation_->token;
}

void InvokeContext::start_send(InvokeRequest request, WaiterPtr<LifecycleResult<void>> told) const {
  on_executor(driver_,
              [of = reservation_, request = std::move(request), told = std::move(told)](
                  SandboxDriver& driver) mutable { driver.send(of, std::move(request), told); });
}

void InvokeContext::start_wait(WaiterPtr<LifecycleResult<InvokeSuccess>> told) const {
  on_executor(driver_, [of = reservation_, told = std::move(told)](SandboxDriver& driver) {
    driver.wait_invoke(of, told);
  });
}

void InvokeContext::start_release(WaiterPtr<LifecycleResult<void>> told) const {
  on_executor(driver_, [of = reservation_, told = std::move(told)](SandboxDriver& driver) {
    driver.release(of, told);
  });
}

InitContext::InitContext(std::shared_ptr<SandboxDriver> driver) : driver_(std::move(driver)) {}

const asio::any_io_executor& InitContext::executor() const {
  return driver_->executor();
}

void InitContext::start_wait(WaiterPtr<LifecycleResult<InitSuccess>> told) const {
  on_executor(driver_, [told = std::move(told)](SandboxDriver& driver) { driver.wait_init(told); });
}

void InitContext::start_reserve(ReserveRequest request,
                                WaiterPtr<LifecycleResult<InvokeContext>> told) const {
  on_executor(driver_,
              [request = std::move(request), told = std::move(told)](
                  SandboxDriver& driver) mutable { driver.reserve(std::move(request), told); });
}

SandboxContext::SandboxContext(asio::any_io_executor executor,
                               std::unique_ptr<RuntimeStarter> starter, SandboxOptions options)
    : driver_(std::make_shared<SandboxDriver>(std::move(executor), std::move(starter),
                                              std::move(options))) {}

SandboxContext::~SandboxContext() {
  driver_->close();
}

const asio::any_io_executor& SandboxContext::executor() const {
  return driver_->executor();
}

InitContext SandboxContext::init_context() const {
  return InitContext(driver_);
}

void SandboxContext::start_init(InitRequest request, WaiterPtr<LifecycleResult<InitContext>> told) {
  on_executor(driver_, [request, told = std::move(told)](SandboxDriver& driver) {
    driver.init(request, told);
  });
}

void SandboxContext::start_reset(ResetReason reason, WaiterPtr<LifecycleResult<ResetResult>> told) {
  on_executor(driver_, [reason, told = std::move(told)](SandboxDriver& driver) {
    driver.reset(reason, told);
  });
}

void SandboxContext::start_shutdown(Deadline deadline,
                                    WaiterPtr<LifecycleResult<ShutdownResult>> told) {
  on_executor(driver_, [deadline, told = std::move(told)](SandboxDriver& driver) {
    driver.shutdown(deadline, told);
  });
}

void SandboxContext::start_restore(RestoreRequest request,
                                   WaiterPtr<LifecycleResult<RestoreResult>> told) {
  on_executor(driver_, [request, told = std::move(told)](SandboxDriver& driver) {
    driver.restore(request, told);
  });
}

void SandboxContext::start_clear(WaiterPtr<LifecycleResult<void>> told) {
  on_executor(driver_, [told = std::move(told)](SandboxDriver& driver) { driver.clear(told); });
}

void SandboxContext::start_status(WaiterPtr<LifecycleResult<SandboxStatus>> told) {
  on_executor(driver_, [told = std::move(told)](SandboxDriver& driver) { driver.status(told); });
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
