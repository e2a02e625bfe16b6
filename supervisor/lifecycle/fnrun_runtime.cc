#include "supervisor/lifecycle/fnrun_runtime.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <stdexcept>
#include <utility>

#include "supervisor/lifecycle/error_type.h"
#include "supervisor/way_back.h"

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

// One launch, which knows nothing of who waits for it. If nobody does any more, the thread that
// launched kills what there is and waits for its end.
struct Launch {
  isolation::Launcher& launcher;
  std::shared_ptr<const isolation::Plan> plan;
  std::vector<std::string> environment;
  Deadline latest;
  std::shared_ptr<const std::atomic<bool>> stopped;
  std::optional<isolation::Result<Invoker::Launched>> result{};

  // It may have waited for its turn.
  void run() {
    using isolation::SetupError;
    using isolation::SetupStep;
    if (*stopped)
      result.emplace(SetupError{SetupStep::kNone, 0, ECANCELED,
                                "its sandbox was closed before its turn to start came"});
    else if (std::chrono::steady_clock::now() >= latest)
      result.emplace(
          SetupError{SetupStep::kStartTimeout, 0, 0, "its turn to start did not come in time"});
    else
      result.emplace(Invoker::launch(launcher, plan, environment, latest));
  }
};

// Also where the coroutine that has it is destroyed with its event loop.
struct ClosedAtLast {
  explicit ClosedAtLast(const asio::any_io_executor& executor)
      : way_back(std::make_shared<WayBack>(executor)) {}
  ~ClosedAtLast() { way_back->close(); }
  ClosedAtLast(const ClosedAtLast&) = delete;
  ClosedAtLast& operator=(const ClosedAtLast&) = delete;
  const std::shared_ptr<WayBack> way_back;
};

}  // namespace

FnrunRuntimeStarter::FnrunRuntimeStarter(asio::any_io_executor executor, asio::thread_pool& threads,
                                         isolation::Launcher& launcher,
                                         std::shared_ptr<const isolation::Plan> plan,
                                         FnrunRuntimeOptions options)
    : executor_(std::move(executor)),
      threads_(threads),
      launcher_(launcher),
      plan_(std::move(plan)),
      options_(std::move(options)),
      stopped_(std::make_shared<std::atomic<bool>>(false)) {}

FnrunRuntimeStarter::~FnrunRuntimeStarter() {
  stop();
}

// The thread holds nothing of ours but the launch: whoever waits may go at any time, and so may we.
asio::awaitable<RuntimeOr> FnrunRuntimeStarter::start(std::uint64_t, Deadline latest) {
  const asio::any_io_executor executor = executor_;
  const LogSink log = options_.log;
  const auto launch =
      std::make_shared<Launch>(Launch{launcher_, plan_, options_.environment, latest, stopped_});
  const auto done = std::make_shared<asio::steady_timer>(executor, Deadline::max());
  const ClosedAtLast here(executor);
  asio::post(threads_, [launch, way_back = here.way_back, weak = std::weak_ptr(done)] {
    launch->run();
    way_back->post([weak] {
      if (const auto waiting = weak.lock()) waiting->expires_at(Deadline::min());
    });
  });
  co_await done->async_wait(asio::as_tuple(asio::use_awaitable));
  auto& launched = *launch->result;
  if (!launched) co_return failure_of(std::move(launched).error());
  auto served = Invoker::serve(executor, std::move(*launched), HandlerProtocol::kFnrun, log);
  if (!served) co_return failure_of(std::move(served).error());
  co_return std::make_unique<FnrunRuntime>(std::move(*served));
}

void FnrunRuntimeStarter::stop() {
  *stopped_ = true;
}

void throw_exception_from_error(const RuntimeFailure& failure, const boost::source_location&) {
  throw std::runtime_error(failure.fault.type + ": " + failure.fault.message);
}

}  // namespace fnrun::supervisor
