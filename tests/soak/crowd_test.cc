// Very many sandboxes alive at a time in one supervisor: each answers, the threads stay as many as
// they were, and all of them go.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "supervisor/descriptor_limit.h"
#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

namespace fs = std::filesystem;

std::size_t entries(const char* dir) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir), {}));
}

std::size_t crowd() {
  const char* told = ::secure_getenv("FNRUN_TEST_CROWD");
  return told != nullptr ? std::strtoul(told, nullptr, 10) : 64;
}

class OfCrowd : public PoolTest {
 protected:
  std::uint32_t uids() const override { return static_cast<std::uint32_t>(crowd()) + 64; }

  void SetUp() override {
    PoolTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string meet = (temp_.path() / "meet").string();
    ASSERT_EQ(::mkfifo(meet.c_str(), 0644), 0);
    ASSERT_EQ(::chmod(temp_.path().c_str(), 0755), 0);
    policies::ReadOnlyPath path;
    path.source = temp_.path().string();
    path.target = "/data";
    strict.filesystem.read_only.push_back(path);
  }

  // Each call ends only once all of them have begun, so that each has a sandbox of its own.
  std::vector<Invocation> ask_everybody(Service& service) {
    std::vector<Invocation> done;
    isolation::UniqueFd gate;
    for (std::size_t i = 0; i < crowd(); ++i)
      asio::co_spawn(context(), ask(service, i, done), asio::detached);
    while (done.size() < crowd()) {
      context().run_one();
      if (!gate && service.status().busy == crowd())
        gate.reset(::open((temp_.path() / "meet").c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
    }
    return done;
  }
  static asio::awaitable<void> ask(Service& service, std::size_t who,
                                   std::vector<Invocation>& done) {
    Input input;
    input.data = "meet " + std::to_string(who) + " 0\n";
    done.push_back(co_await service.invoke(std::move(input)));
  }

 private:
  test::TempDir temp_;
};

TEST_F(OfCrowd, EachAnswersAndTheThreadsStayAsMany) {
  const auto limit = raise_descriptor_limit();
  ASSERT_TRUE(limit);
  if (*limit < kDescriptorsPerSandbox * crowd())
    GTEST_SKIP() << "a process may open only " << *limit << " descriptors";
  ServiceOptions options = frames({.places = crowd()});
  options.launching_threads = 2;
  Service service(context().get_executor(), *launcher, handler("stormy", {}), options);
  ASSERT_TRUE(service.warm_up());
  const std::size_t threads = entries("/proc/self/task");
  const std::size_t descriptors = entries("/proc/self/fd");
  const auto warm = service.warm_up(crowd());
  ASSERT_TRUE(warm) << warm.error().to_string();
  EXPECT_EQ(service.status().idle, crowd());
  EXPECT_EQ(entries("/proc/self/task"), threads);
  const std::size_t idle = entries("/proc/self/fd") - descriptors;
  for (int round = 0; round < 2; ++round) {
    std::set<std::string> answers;
    const auto done = ask_everybody(service);
    for (const Invocation& one : done) {
      ASSERT_TRUE(one.result) << to_json(one.report);
      answers.insert(one.result->data);
    }
    EXPECT_EQ(answers.size(), crowd()) << "each has its own";
    EXPECT_EQ(sandboxes_of(done).size(), crowd());
    EXPECT_EQ(service.status().started, crowd()) << "nobody was replaced";
    EXPECT_EQ(entries("/proc/self/task"), threads);
  }
  const std::size_t served = entries("/proc/self/fd") - descriptors;
  std::cout << "  " << crowd() << " sandboxes, " << threads
            << " threads; descriptors each: " << double(idle) / double(crowd() - 1)
            << " ahead of need, " << double(served) / double(crowd() - 1)
            << " once it has served\n";
  asio::co_spawn(context(), service.shut_down(), asio::detached);
  context().run();
  EXPECT_EQ(service.status().quarantined, 0U);
}

}  // namespace
}  // namespace fnrun::supervisor
