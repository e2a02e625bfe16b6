// The blocking facade over real sandboxes: a whole life from threads that run no event loop.
#include "supervisor/lifecycle/blocking_sandbox.h"

#include <thread>

#include "sandbox_life.h"

namespace fnrun::supervisor {
namespace {

using testing::ElementsAreArray;

class BlockingSandboxLife : public SandboxLife {
 protected:
  std::unique_ptr<BlockingSandbox> blocking(const Plan& of) {
    return std::make_unique<BlockingSandbox>(
        [&](asio::any_io_executor executor) { return starter(of, std::move(executor)); },
        watched());
  }
};

TEST_F(BlockingSandboxLife, IsAWholeLifeWithoutAnEventLoop) {
  auto box = blocking(counter());
  EXPECT_EQ(box->reserve().error().refused, Refusal::kNotInitialized);
  InitRequest patient;
  patient.invoke_timeout = kLong;
  EXPECT_TRUE(box->init(patient));
  EXPECT_EQ(box->init(patient).error().refused, Refusal::kAlreadyInitialized);
  EXPECT_TRUE(box->wait_init());
  for (const std::string expected : {"1", "2"}) {
    const auto invocation = box->reserve();
    EXPECT_TRUE(BlockingSandbox::send_request(*invocation, request("a")));
    EXPECT_EQ(answer_of(BlockingSandbox::wait(*invocation)), expected);
    EXPECT_EQ(BlockingSandbox::release(*invocation).error().refused, Refusal::kNotReserved);
  }
  EXPECT_EQ(box->restore()->duration, 0ms);
  EXPECT_EQ(box->clear().error().refused, Refusal::kResetRequired);
  EXPECT_EQ(box->reset(ResetReason::kOther)->generation, 2U);
  EXPECT_EQ(box->status()->state, lifecycle::State::kCold);
  EXPECT_TRUE(box->shutdown(Deadline::max()));
  box.reset();
  EXPECT_THAT(events, ElementsAreArray(kInitEvents + kServedEvents + kServedEvents +
                                       Strings{"restore.runtimeDone"}));
}

TEST_F(BlockingSandboxLife, ResetFromAnotherThreadEndsAWait) {
  auto box = blocking(hostile({"never_read"}));
  EXPECT_TRUE(box->init({false, {}, kLong}));
  EXPECT_TRUE(box->wait_init());
  const auto invocation = box->reserve();
  EXPECT_TRUE(BlockingSandbox::send_request(*invocation, request("a")));
  std::thread other([&] { EXPECT_TRUE(box->reset(ResetReason::kTimeout)); });
  EXPECT_TRUE(BlockingSandbox::wait(*invocation).error().reset_received);
  other.join();
}

TEST_F(BlockingSandboxLife, DestroyedInTheMiddleLeavesNothing) {
  auto box = blocking(hostile({"never_read"}));
  EXPECT_TRUE(box->init({false, {}, kLong}));
  EXPECT_TRUE(box->wait_init());
  const auto invocation = box->reserve();
  EXPECT_TRUE(BlockingSandbox::send_request(*invocation, request("a")));
  box.reset();  // The fixture counts.
}

}  // namespace
}  // namespace fnrun::supervisor
