// What SandboxContext and its kin are handles to: feeds the machine, carries out its effects.
//
// Private to this folder. Owns the runtime of the current generation, the remains of earlier ones,
// the clocks and everybody who waits; decides nothing (lifecycle.h does). All on one executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/lifecycle/sandbox_context.h"
#include "supervisor/lifecycle/waiter.h"

namespace fnrun::supervisor {

// One reservation from reserve() to the end of its invocation.
struct SandboxReservation {
  explicit SandboxReservation(const boost::asio::any_io_executor& executor) : timer(executor) {}
  std::string token;
  ReserveRequest request;  // Its invoke_id is never empty.
  std::uint64_t call = 0;
  Input input;
  Deadline deadline{};
  boost::asio::steady_timer timer;  // The deadline, as long as no runtime watches it.
  std::optional<RuntimeAnswer> answer;
  std::optional<InvocationReport> report;
  std::string body;
  InvokeTimes times;
  std::optional<event::Milliseconds> init_duration;
  std::optional<LifecycleResult<InvokeSuccess>> result;
  bool read = false;
  WaiterPtr<LifecycleResult<InvokeSuccess>> waiter;
};
using ReservationPtr = std::shared_ptr<SandboxReservation>;

class SandboxDriver : public std::enable_shared_from_this<SandboxDriver> {
 public:
  SandboxDriver(boost::asio::any_io_executor executor, std::unique_ptr<RuntimeStarter> starter,
                SandboxOptions options);

  [[nodiscard]] const boost::asio::any_io_executor& executor() const { return executor_; }
  // The effects of an input are being carried out; the next one has to wait for that.
  [[nodiscard]] bool in_step() const noexcept { return in_step_; }
  // Ends everything; see ~SandboxContext.
  void close();

  void init(const InitRequest& request, const WaiterPtr<LifecycleResult<InitContext>>& told);
  void wait_init(const WaiterPtr<LifecycleResult<InitSuccess>>& told);
  void reserve(ReserveRequest request, const WaiterPtr<LifecycleResult<InvokeContext>>& told);
  void send(const ReservationPtr& reservation, InvokeRequest request,
            const WaiterPtr<LifecycleResult<void>>& told);
  void wait_invoke(const ReservationPtr& reservation,
                   const WaiterPtr<LifecycleResult<InvokeSuccess>>& told);
  void release(const ReservationPtr& reservation, const WaiterPtr<LifecycleResult<void>>& told);
  void reset(ResetReason reason, const WaiterPtr<LifecycleResult<ResetResult>>& told);
  void shutdown(Deadline deadline, const WaiterPtr<LifecycleResult<ShutdownResult>>& told);
  void restore(RestoreRequest request, const WaiterPtr<LifecycleResult<RestoreResult>>& told);
  void clear(const WaiterPtr<LifecycleResult<void>>& told);
  void status(const WaiterPtr<LifecycleResult<SandboxStatus>>& told);
  void set_runtime_started_time(std::optional<ResponseMetrics::Time> started);
  void set_invoke_response_metrics(std::optional<ResponseMetrics> metrics);

 private:
  using Clock = std::chrono::steady_clock;
  using Self = std::shared_ptr<SandboxDriver>;

  Refusal feed(const lifecycle::Input& what);
  void perform(const lifecycle::effect::Emit& what);
  void perform(const lifecycle::effect::StartProcess& what);
  void perform(const lifecycle::effect::TellInit& what);
  void perform(const lifecycle::effect::TellInitialised& what);
  void perform(const lifecycle::effect::WriteRequest& what);
  void perform(const lifecycle::effect::AnswerWithResponse& what);
  void perform(const lifecycle::effect::AnswerWithError& what);
  void perform(const lifecycle::effect::Complete& what);
  void perform(const lifecycle::effect::CancelFlows& what);
  void perform(const lifecycle::effect::Kill& what);
  void perform(const lifecycle::effect::AwaitGone& what);
  void perform(const lifecycle::effect::ReleaseFromRestore& what);
  void perform(const lifecycle::effect::CompleteRestore& what);
  void perform(const lifecycle::effect::CompleteReset& what);
  void perform(const lifecycle::effect::CompleteShutdown& what);

  [[nodiscard]] Event event_of(const lifecycle::effect::Emit& what);
  [[nodiscard]] LifecycleResult<InvokeSuccess> result_of(const lifecycle::effect::Complete& what);
  WaiterPtr<LifecycleResult<InitSuccess>> next_init_waiter();
  void deliver(SandboxReservation& reservation);
  void retire_if_spent();
  void feed_failure(const RuntimeFailure& failure);
  void end_patience();
  void watch_deadline(const ReservationPtr& reservation);
  void flow_ended();
  [[nodiscard]] bool heard(std::uint64_t flow) const { return flow == flow_; }
  void bury(std::shared_ptr<Runtime> runtime, isolation::KillReason reason);

  // Flows: each hears in the end whether it is still listened to.
  static boost::asio::awaitable<void> start_flow(Self self, std::uint64_t flow,
                                                 std::uint64_t generation, Deadline latest);
  static boost::asio::awaitable<void> invoke_flow(Self self, std::uint64_t flow,
                                                  ReservationPtr reservation);
  static boost::asio::awaitable<void> restore_flow(Self self, std::uint64_t flow);
  static boost::asio::awaitable<void> burial(Self self, std::shared_ptr<Runtime> dead);
  static boost::asio::awaitable<void> await_gone(Self self);
  boost::asio::awaitable<void> change();

  boost::asio::any_io_executor executor_;
  std::unique_ptr<RuntimeStarter> starter_;
  SandboxOptions options_;
  lifecycle::Machine machine_;
  bool in_step_ = false;

  std::shared_ptr<Runtime> runtime_;  // Of the current generation; nothing once it is killed.
  bool in_exchange_ = false;          // It can be cancelled.
  std::vector<std::shared_ptr<Runtime>> left_behind_;  // Could not be killed in time.
  std::uint64_t flow_ = 0;  // What bears an older number is not listened to.
  std::size_t flows_ = 0;   // In flight, listened to or not.
  std::size_t burials_ = 0;
  boost::asio::steady_timer changed_;  // Cancelled when one of the two went down.

  InitRequest init_;
  Clock::time_point init_started_;
  std::uint64_t calls_ = 0;
  ReservationPtr reservation_;  // Whose turn it is.
  ReservationPtr open_;         // Whose invocation's events are not closed.
  std::deque<WaiterPtr<LifecycleResult<InitSuccess>>> init_waiters_;
  std::vector<WaiterPtr<LifecycleResult<ResetResult>>> reset_waiters_;
  std::vector<WaiterPtr<LifecycleResult<ShutdownResult>>> shutdown_waiters_;
  WaiterPtr<LifecycleResult<RestoreResult>> restore_waiter_;
  Clock::time_point restore_started_;
  Deadline restore_deadline_ = Deadline::max();
  bool hook_ran_ = false;
  boost::asio::steady_timer shutdown_timer_;
  bool cut_short_ = false;
};

}  // namespace fnrun::supervisor
