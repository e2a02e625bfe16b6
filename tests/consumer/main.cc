// An application that uses each room of the installed libraries a little: enough to need its
// headers and to link its archives. It goes as far as any user on any host can.
#include <cstdio>
#include <string>

#include "isolation/plan.h"
#include "policies/policy_json.h"
#include "protocol/channel.h"
#include "protocol/message.h"
#include "supervisor/invoker_pool.h"
#include "supervisor/lifecycle/blocking_sandbox.h"
#include "supervisor/outcome.h"
#include "supervisor/service.h"

namespace isolation = fnrun::isolation;
namespace policies = fnrun::policies;
namespace protocol = fnrun::protocol;
namespace supervisor = fnrun::supervisor;

// A sandbox that cannot be started, but has a life: one that is refused before its init.
class NothingToStart final : public supervisor::RuntimeStarter {
 public:
  boost::asio::awaitable<supervisor::RuntimeOr> start(std::uint64_t,
                                                      supervisor::Deadline) override {
    co_return supervisor::RuntimeFailure{};
  }
  void stop() override {}
};
bool has_a_life() {
  supervisor::BlockingSandbox sandbox([](auto) { return std::make_unique<NothingToStart>(); });
  const bool refused = !sandbox.reserve();
  const bool failed = sandbox.init({}) && !sandbox.wait_init();
  std::printf("lifecycle: %s\n", sandbox.status()->first_fatal.c_str());
  return refused && failed && sandbox.shutdown(supervisor::Deadline::max());
}

// The plan for /bin/true under this policy, in words, or why there is none.
std::string plan_in_words(const policies::Policy& policy) {
  const auto host = isolation::probe_host();
  if (!host) return host.error().to_string();
  auto handler = isolation::find_handler({"/bin/true"}, policy, "", *host);
  if (!handler) return handler.error().to_string();
  const auto plan = isolation::compile(policy, *host, *std::move(handler));
  return plan ? plan->explain() : plan.error().to_string();
}

int main() {
  const auto bad = policies::parse_policy(R"({"no such key": 0})");
  if (bad) return 1;
  std::printf("policies: %s\n", bad.error().to_string().c_str());

  const auto strict = policies::load_policy("strict", {POLICIES_DIR});
  if (!strict) {
    std::printf("the installed policy: %s\n", strict.error().to_string().c_str());
    return 1;
  }
  std::printf("isolation: %s\n", plan_in_words(*strict).c_str());

  const auto frame = protocol::encode_event({.data = "x"});
  if (!frame || protocol::parse_event("\xff")) return 1;
  std::printf("protocol: an event in a frame of %zu bytes\n", frame->size());

  if (!has_a_life()) return 1;
  const auto outcome = supervisor::decide(supervisor::Cause::kDeadline, {});
  std::printf("supervisor: %s\n", supervisor::describe(outcome, {}).c_str());
  const auto pool = supervisor::InvokerPool::start(*strict, {"/there/is/no/such/handler"});
  if (pool) return 1;
  std::printf("a pool: %s\n", pool.error().to_string().c_str());
  return outcome == supervisor::Outcome::kTimedOut ? 0 : 1;
}
