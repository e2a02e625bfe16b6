// Sandboxes without number, each ended by a failure: what the host and this process have afterwards
// is what they had before.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

constexpr int kClients = 4;
// The first ones pay for what is made once: allocator, caches, the kernel's own.
constexpr int kWarmUp = 1'000;

long resident_kib() {
  std::ifstream file("/proc/self/statm");
  long pages = 0;
  file >> pages >> pages;
  return pages * (::sysconf(_SC_PAGESIZE) / 1024);
}

class OfRecreation : public PoolTest {
 protected:
  std::uint32_t uids() const override { return 64; }

  static int sandboxes() {
    const char* told = ::secure_getenv("FNRUN_TEST_SANDBOXES");
    return told != nullptr ? std::atoi(told) : 400;
  }

  // One call after another, each its sandbox's last: it crashes, or says what it is killed for.
  asio::awaitable<void> one_client(Service& service, int& left) {
    while (left > 0) {
      const bool crash = left-- % 2 == 0;
      Input input;
      input.data = crash ? "crash 1 0\n" : "garbage 1 0\n";
      const auto made = co_await service.invoke(std::move(input));
      EXPECT_EQ(made.report.outcome, crash ? Outcome::kCrashed : Outcome::kProtocolError);
      starts_us_.push_back(made.report.sandbox.start_us);
    }
  }

  void end_sandboxes(Service& service, int count) {
    int clients = kClients;
    for (int i = 0; i < kClients; ++i)
      asio::co_spawn(context(), one_client(service, count), [&](const std::exception_ptr& failure) {
        if (failure) std::rethrow_exception(failure);
        if (--clients == 0) context().stop();
      });
    context().restart();  // The wait for burials may have run it dry.
    context().run();
    context().restart();
  }

  // Until the dead are buried, whose descriptors would count.
  void await_burials(Service& service) {
    while (service.status().dying > 0) context().run_one();
  }
  void shut_down(Service& service) {
    asio::co_spawn(context(), service.shut_down(), asio::detached);
    context().restart();
    context().run();
  }

  // Microseconds that 99 of 100 starts did not exceed.
  std::int64_t p99(std::size_t first, std::size_t count) const {
    std::vector<std::int64_t> some(starts_us_.begin() + static_cast<std::ptrdiff_t>(first),
                                   starts_us_.begin() + static_cast<std::ptrdiff_t>(first + count));
    std::sort(some.begin(), some.end());
    return some.at(some.size() * 99 / 100);
  }
  std::vector<std::int64_t> starts_us_;
};

TEST_F(OfRecreation, LeavesNothingAndTakesNoMoreMemory) {
  const int all = sandboxes();
  const int warm_up = std::min(kWarmUp, all / 2);
  starts_us_.reserve(static_cast<std::size_t>(all));
  ServiceOptions options = frames({.places = kClients, .waiting_max = kClients});
  options.launching_threads = 2;
  Service service(context().get_executor(), *launcher, handler("stormy", {}), options);
  end_sandboxes(service, warm_up);
  await_burials(service);
  const test::Ledger before = test::take_ledger(host.cgroup.dir);
  const long resident_before = resident_kib();
  end_sandboxes(service, all - warm_up);
  await_burials(service);
  EXPECT_EQ(test::take_ledger(host.cgroup.dir), before);
  const long grown = resident_kib() - resident_before;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // They keep what is freed.
  EXPECT_LT(grown, 1'024) << "KiB";
#endif
  EXPECT_EQ(starts_us_.size(), static_cast<std::size_t>(all));
  EXPECT_EQ(service.status().started, static_cast<std::uint64_t>(all));
  EXPECT_EQ(service.status().quarantined, 0U);
  const auto some = static_cast<std::size_t>(warm_up);
  std::cout << "  " << all << " sandboxes; resident " << grown << " KiB more than after " << warm_up
            << "; start p99 of the first " << some << ": " << p99(0, some)
            << " us, of the last: " << p99(starts_us_.size() - some, some) << " us\n";
  shut_down(service);
}

}  // namespace
}  // namespace fnrun::supervisor
