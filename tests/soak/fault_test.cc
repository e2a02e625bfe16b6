// The n-th system call of a kind fails, for each n until there is none: the supervisor starts,
// serves, shuts down all the same, or says why not; it leaves nothing, and the next call works.
//
// As SQLite tests its own. FNRUN_TEST_FAULTS=all takes each n; by default some of them.
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "tests/process/supervisor/pool_fixture.h"
#include "traced_run.h"

namespace fnrun::supervisor {
namespace {

struct Kind {
  const char* name;
  long call;
  int os_errno;
  std::optional<int> operation = std::nullopt;  // The second argument; others cannot fail so.
};
void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

class Faults : public PoolTest, public testing::WithParamInterface<Kind> {
 protected:
  std::uint32_t uids() const override { return 64; }

  // One call, to the end; "" or what was wrong with it. A failure must be one of these.
  static asio::awaitable<void> call(Service& service, bool must_succeed, std::string& wrong) {
    Input input;
    input.data = "echo nonce 0\npayload";
    const auto made = co_await service.invoke(std::move(input));
    const Outcome outcome = made.report.outcome;
    if (made.result && made.result->data.starts_with("nonce 7 ")) co_return;
    const bool typed =
        !made.result && (outcome == Outcome::kSetupFailed || outcome == Outcome::kProtocolError ||
                         outcome == Outcome::kCrashed || outcome == Outcome::kUnavailable);
    if (must_succeed || !typed) wrong += " call: " + to_json(made.report);
  }
  static asio::awaitable<void> calls(Service& service, std::string& wrong) {
    co_await call(service, false, wrong);
    co_await call(service, false, wrong);
    test::disarm_faults();
    co_await call(service, true, wrong);
    test::arm_faults();
    co_await service.shut_down();
    test::disarm_faults();
  }

  // A supervisor's life. What fails before there is a service is tried again, without faults.
  std::string live() {
    std::string wrong;
    const test::Ledger before = test::take_ledger(host.cgroup.dir);
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (one_life(wrong, /*faulty=*/attempt == 0)) break;
      test::disarm_faults();
      if (attempt > 0) wrong += " it does not start without a fault either";
    }
    const test::Ledger after = test::take_ledger(host.cgroup.dir);
    if (!(after == before)) {
      std::ostringstream text;
      text << " left behind, before: " << before << " after: " << after;
      wrong += text.str();
    }
    return wrong;
  }
  // The event loop is there before: Asio's own calls to set it up ignore errors and then hang.
  bool one_life(std::string& wrong, bool faulty) {
    asio::io_context loop(1);
    const asio::steady_timer reactor(loop);  // Made with the first object that needs it.
    if (faulty) test::arm_faults();
    auto made = isolation::Launcher::make(host, {.uid_lock_file = uid_lock_file()});
    if (!made) return false;
    try {
      ServiceOptions options;
      options.ready = 1;
      Service service(loop.get_executor(), *made, plan_, options);
      if (auto warm = service.warm_up(); !warm) return false;
      std::exception_ptr failure;
      asio::co_spawn(loop, calls(service, wrong),
                     [&](std::exception_ptr thrown) { failure = std::move(thrown); });
      loop.run();
      if (failure) std::rethrow_exception(failure);
    } catch (const boost::system::system_error&) {
      return false;  // No thread, no epoll: what an event loop's constructor says.
    }
    return true;
  }

  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's own system calls would fail, and it traces by itself";
#endif
    PoolTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    plan_ = handler("stormy", {});
    launcher.reset();  // The tracer waits for every child.
  }
  void TearDown() override {
    plan_.reset();  // It holds descriptors.
    PoolTest::TearDown();
  }
  Plan plan_;
};

TEST_P(Faults, EachIsToldAndLeavesNothing) {
  const char* told = ::secure_getenv("FNRUN_TEST_FAULTS");
  const bool all = told != nullptr && std::string_view(told) == "all";
  unsigned faults = 0;
  for (unsigned n = 1;; n += all || n < 6 ? 1 : n / 3) {
    const test::Fault fault{GetParam().call, GetParam().os_errno, n, GetParam().operation};
    const test::TracedRun run = test::run_with_fault(fault, [this] { return live(); });
    ASSERT_FALSE(run.hung) << GetParam().name << " #" << n << ", in\n" << run.said;
    ASSERT_EQ(run.wait_status, 0) << GetParam().name << " #" << n << ": " << run.said;
    if (!run.hit) break;
    ++faults;
  }
  EXPECT_GT(faults, 0U) << "no such call was made";
  std::cout << "  " << faults << " faults\n";
}

constexpr Kind kKinds[] = {
    {"clone3_EAGAIN", SYS_clone3, EAGAIN},
    {"clone3_ENOMEM", SYS_clone3, ENOMEM},
    {"pipe2_EMFILE", SYS_pipe2, EMFILE},
    {"socketpair_EMFILE", SYS_socketpair, EMFILE},
    {"openat_EMFILE", SYS_openat, EMFILE},
    {"openat_ENOMEM", SYS_openat, ENOMEM},
    {"mkdirat_ENOSPC", SYS_mkdirat, ENOSPC},
    {"mkdirat_EAGAIN", SYS_mkdirat, EAGAIN},
    {"write_EIO", SYS_write, EIO},
    {"write_ENOSPC", SYS_write, ENOSPC},
    {"writev_EINTR", SYS_writev, EINTR},
    {"writev_EIO", SYS_writev, EIO},
    {"read_EINTR", SYS_read, EINTR},
    {"read_EIO", SYS_read, EIO},
    {"pread64_EIO", SYS_pread64, EIO},
    {"recvfrom_EINTR", SYS_recvfrom, EINTR},
    {"recvfrom_ENOMEM", SYS_recvfrom, ENOMEM},
    {"sendmsg_ENOMEM", SYS_sendmsg, ENOMEM},
    {"fcntl_EMFILE", SYS_fcntl, EMFILE},
    {"epoll_ctl_ENOMEM", SYS_epoll_ctl, ENOMEM, EPOLL_CTL_ADD},
    {"epoll_ctl_ENOSPC", SYS_epoll_ctl, ENOSPC, EPOLL_CTL_ADD},
    {"epoll_wait_EINTR", SYS_epoll_wait, EINTR},
    {"poll_EINTR", SYS_poll, EINTR},
    {"poll_ENOMEM", SYS_poll, ENOMEM},
    {"waitid_EINTR", SYS_waitid, EINTR},
    {"unlinkat_EBUSY", SYS_unlinkat, EBUSY},
    {"getdents64_EIO", SYS_getdents64, EIO},
    {"memfd_create_ENOMEM", SYS_memfd_create, ENOMEM},
    {"flock_EINTR", SYS_flock, EINTR},
    {"open_tree_ENOMEM", SYS_open_tree, ENOMEM},
    {"mount_setattr_ENOMEM", SYS_mount_setattr, ENOMEM},
};
INSTANTIATE_TEST_SUITE_P(, Faults, testing::ValuesIn(kKinds),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace fnrun::supervisor
