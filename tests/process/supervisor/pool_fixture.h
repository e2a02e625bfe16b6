// A Service over real sandboxes on one event loop, and callers for it.
#pragma once

#include <gmock/gmock.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fstream>
#include <set>

#include "supervisor/service.h"
#include "tests/support/sandbox_fixture.h"

namespace fnrun::supervisor {

namespace asio = boost::asio;
using Plan = std::shared_ptr<const isolation::Plan>;

class PoolTest : public test::SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    // Where others have the processor, a sandbox may wait for its turn for minutes.
    strict.limits.invoke_timeout = std::chrono::minutes(10);
    strict.limits.start_timeout = std::chrono::minutes(10);
    own_context_.emplace(1);
  }
  void TearDown() override {
    own_context_.reset();  // Its descriptors are none of the launcher's.
    SandboxTest::TearDown();
  }
  Plan greedy() const { return handler("greedy", {}); }
  Plan hostile(std::vector<std::string> verb) const { return handler("hostile", std::move(verb)); }

  static ServiceOptions frames(AdmissionLimits admission) {
    ServiceOptions options;
    options.admission = admission;
    return options;
  }
  static ServiceOptions lines(AdmissionLimits admission = {.places = 4, .waiting_max = 64}) {
    ServiceOptions options;
    options.protocol = HandlerProtocol::kLines;
    options.admission = admission;
    return options;
  }

  // `clients` of them at a time, each making `calls` calls one after another, then a shut-down.
  // The event of a call is what `event` says of its number.
  template <class Event>
  std::vector<Invocation> storm(Service& service, int clients, int calls, Event event) {
    std::vector<Invocation> done;
    int left = clients;
    for (int client = 0; client < clients; ++client)
      asio::co_spawn(
          context(),
          [&, client]() -> asio::awaitable<void> {
            for (int i = 0; i < calls; ++i) {
              Input input;
              input.data = event(client * calls + i);
              done.push_back(co_await service.invoke(std::move(input)));
            }
            if (--left == 0) co_await service.shut_down();
          },
          [](const std::exception_ptr& failure) {
            if (failure) std::rethrow_exception(failure);
          });
    context().run();
    return done;
  }
  static std::string hello(int) { return "hello"; }
  static std::set<pid_t> sandboxes_of(const std::vector<Invocation>& done) {
    std::set<pid_t> pids;
    for (const Invocation& one : done) pids.insert(one.report.sandbox.pid);
    return pids;
  }
  static std::vector<Outcome> outcomes_of(const std::vector<Invocation>& done) {
    std::vector<Outcome> outcomes;
    for (const Invocation& one : done) outcomes.push_back(one.report.outcome);
    return outcomes;
  }

  // A file of the cgroup that a process of ours is in.
  static std::string group_file(pid_t pid, const char* name) {
    const auto text = [](const std::string& path) {
      std::ifstream file(path);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    return isolation::find_cgroup_dir(text("/proc/self/mountinfo"),
                                      text("/proc/" + std::to_string(pid) + "/cgroup")) +
           "/" + name;
  }

  asio::io_context& context() { return *own_context_; }

  Plan handler(const std::string& name, std::vector<std::string> verb) const {
    return std::make_shared<const isolation::Plan>(plan_of(name, std::move(verb)));
  }
  isolation::Plan plan_of(const std::string& name, std::vector<std::string> verb) const {
    const char* told = ::secure_getenv("FNRUN_TEST_BIN");
    std::vector<std::string> argv{
        (told != nullptr ? std::string(told) + "/handlers/" : FNRUN_HANDLERS "/") + name};
    argv.insert(argv.end(), verb.begin(), verb.end());
    return plan(argv, strict);
  }

 private:
  std::optional<asio::io_context> own_context_;
};

}  // namespace fnrun::supervisor
