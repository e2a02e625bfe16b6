#include "supervisor/lifecycle/blocking_sandbox.h"

#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

namespace fnrun::supervisor {

namespace asio = boost::asio;

BlockingSandbox::BlockingSandbox(const MakeStarter& make_starter, SandboxOptions options)
    : context_(1),
      work_(asio::make_work_guard(context_)),
      sandbox_(std::make_unique<SandboxContext>(
          context_.get_executor(), make_starter(context_.get_executor()), std::move(options))),
      init_(sandbox_->init_context()),
      thread_([this] { context_.run(); }) {}

BlockingSandbox::~BlockingSandbox() {
  asio::post(context_, [this] {
    sandbox_.reset();
    work_.reset();
  });
  thread_.join();
}

LifecycleResult<void> BlockingSandbox::init(InitRequest request) {
  const auto started = sandbox_->init(request, asio::use_future).get();
  if (!started) return started.error();
  return {};
}

LifecycleResult<InitSuccess> BlockingSandbox::wait_init() {
  return init_.wait(asio::use_future).get();
}

LifecycleResult<InvokeContext> BlockingSandbox::reserve(ReserveRequest request) {
  return init_.reserve(std::move(request), asio::use_future).get();
}

LifecycleResult<void> BlockingSandbox::send_request(const InvokeContext& invocation,
                                                    InvokeRequest request) {
  return invocation.send_request(std::move(request), asio::use_future).get();
}

LifecycleResult<InvokeSuccess> BlockingSandbox::wait(const InvokeContext& invocation) {
  return invocation.wait(asio::use_future).get();
}

LifecycleResult<void> BlockingSandbox::release(const InvokeContext& invocation) {
  return invocation.release(asio::use_future).get();
}

LifecycleResult<ResetResult> BlockingSandbox::reset(ResetReason reason) {
  return sandbox_->reset(reason, asio::use_future).get();
}

LifecycleResult<ShutdownResult> BlockingSandbox::shutdown(Deadline deadline) {
  return sandbox_->shutdown(deadline, asio::use_future).get();
}

LifecycleResult<RestoreResult> BlockingSandbox::restore(RestoreRequest request) {
  return sandbox_->restore(request, asio::use_future).get();
}

LifecycleResult<void> BlockingSandbox::clear() {
  return sandbox_->clear(asio::use_future).get();
}

LifecycleResult<SandboxStatus> BlockingSandbox::status() {
  return sandbox_->status(asio::use_future).get();
}

}  // namespace fnrun::supervisor
