#include "supervisor/lifecycle/fnrun_runtime.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>
#include <utility>

#include "supervisor/lifecycle/error_type.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using Kind = RuntimeFailure::Kind;

Kind kind_of(const InvocationReport& report) {
  switch (report.outcome) {
    case Outcome::kTimedOut:
      return Kind::kDeadline;
    case Outcome::kCancelled:
      return Kind::kCancelled;
    case Outcome::kCrashed:
    case Outcome::kPolicyViolation:
      return Kind::kExited;
    case Outcome::kRequestTooLarge:
    case Outcome::kSetupFailed:  // A request that this protocol cannot carry.
      return Kind::kUntouched;
    default:
      return Kind::kFailed;
  }
}

// Runtimes that end are told apart by how they ended, in the words that clients know.
RuntimeFailure failure_of(InvocationReport report) {
  RuntimeFailure failure;
  failure.kind = kind_of(report);
  failure.fault.type = lambda_error_type(report.outcome, report.evidence);
  failure.fault.message = failure.kind == Kind::kExited && report.evidence.wait_status
                              ? exit_message(*report.evidence.wait_status)
                              : describe(report.outcome, report.evidence);
  failure.report = std::move(report);
  return failure;
}

RuntimeFailure failure_of(isolation::SetupError error) {
  Evidence evidence;
  evidence.setup = std::move(error);
  const Outcome outcome = decide(Cause::kSetup, evidence);
  RuntimeFailure failure;
  failure.fault.type = lambda_error_type(outcome, evidence);
  failure.fault.message = describe(outcome, evidence);
  return failure;
}

RuntimeFailure ended_after_its_answer(const std::optional<isolation::Exit>& exit) {
  const bool ended = exit && exit->wait_status;
  RuntimeFailure failure;
  failure.kind = ended ? Kind::kExited : Kind::kFailed;
  failure.fault.type = ended ? error_type::kRuntimeExitError : error_type::kRuntimeUnknown;
  failure.fault.message =
      ended ? exit_message(*exit->wait_status) : "the handler wrote to its stdout after its answer";
  return failure;
}

RuntimeFailure not_woken() {
  RuntimeFailure failure;
  failure.fault.type = error_type::kSandboxFailure;
  failure.fault.message = "the sandbox was frozen while idle and could not be woken";
  return failure;
}

class FnrunRuntime final : public Runtime {
 public:
  explicit FnrunRuntime(std::unique_ptr<Invoker> invoker) : invoker_(std::move(invoker)) {}

  asio::awaitable<AnswerOr> ask(const Input& input, std::uint64_t call,
                                Deadline deadline) override {
    if (!invoker_->wake()) co_return not_woken();
    auto invocation = co_await invoker_->invoke(input, call, deadline);
    if (!invocation.result) co_return failure_of(std::move(invocation.report));
    co_return RuntimeAnswer{lifecycle::input::Answered::kWithResult, std::move(*invocation.result),
                            std::move(invocation.report)};
  }

  // The answer was the last word: the next one that nobody asked for is noticed before the next
  // request at the latest.
  asio::awaitable<std::optional<RuntimeFailure>> ready(Deadline) override {
    if (invoker_->dirty()) co_return std::nullopt;  // A good answer, of one that is spent.
    if (invoker_->usable()) {
      if (!spent()) invoker_->rest();
      co_return std::nullopt;
    }
    invoker_->kill(isolation::KillReason::kProtocolError);
    co_await invoker_->finish();
    co_return ended_after_its_answer(invoker_->exit());
  }

  bool spent() override {
    const policies::Reuse& reuse = invoker_->plan()->policy.reuse;
    const std::uint64_t served = invoker_->calls_served();
    return invoker_->dirty() || (reuse.mode == policies::Reuse::Mode::kNever && served > 0) ||
           (reuse.calls_max != 0 && served >= reuse.calls_max) ||
           (reuse.age_max.count() != 0 && invoker_->age() >= reuse.age_max);
  }

  asio::awaitable<std::optional<RuntimeFailure>> restore(Deadline) override {
    co_return std::nullopt;  // Never asked: awaits_restore() says that there is no hook.
  }

  void cancel() noexcept override { invoker_->cancel(); }
  void kill(isolation::KillReason reason) noexcept override { invoker_->kill(reason); }
  asio::awaitable<bool> gone() override {
    co_await invoker_->finish();
    co_return invoker_->exit().has_value();
  }
  bool gone_by_now() override { return invoker_->try_finish(); }
  pid_t pid() const noexcept override { return invoker_->pid(); }

 private:
  std::unique_ptr<Invoker> invoker_;
};

}  // namespace

FnrunRuntimeStarter::FnrunRuntimeStarter(asio::any_io_executor executor,
                                         isolation::Launcher& launcher,
                                         std::shared_ptr<const isolation::Plan> plan,
                                         FnrunRuntimeOptions options)
    : executor_(std::move(executor)),
      launcher_(launcher),
      plan_(std::move(plan)),
      options_(std::move(options)),
      thread_(1) {}

FnrunRuntimeStarter::~FnrunRuntimeStarter() {
  stop();
}

asio::awaitable<RuntimeOr> FnrunRuntimeStarter::start(std::uint64_t, Deadline latest) {
  std::optional<isolation::Result<Invoker::Launched>> launched;
  const auto launch = [&]() -> asio::awaitable<void> {
    launched.emplace(Invoker::launch(launcher_, plan_, options_.environment, latest));
    co_return;
  };
  co_await asio::co_spawn(thread_, launch(), asio::use_awaitable);
  if (!*launched) co_return failure_of(std::move(*launched).error());
  auto served =
      Invoker::serve(executor_, std::move(**launched), HandlerProtocol::kFnrun, options_.log);
  if (!served) co_return failure_of(std::move(served).error());
  co_return std::make_unique<FnrunRuntime>(std::move(*served));
}

void FnrunRuntimeStarter::stop() {
  thread_.join();
}

void throw_exception_from_error(const RuntimeFailure& failure, const boost::source_location&) {
  throw std::runtime_error(failure.fault.type + ": " + failure.fault.message);
}

}  // namespace fnrun::supervisor
