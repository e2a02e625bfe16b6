// Leases of uids: never one for two, free again when given back or when their process is gone.
#include "isolation/uid_leases.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <thread>

#include "tests/support/sandbox_fixture.h"
#include "tests/support/temp_dir.h"

namespace fnrun::isolation {
namespace {

constexpr UidRange kEight{1'000'000, 8};

class UidLease_ : public ::testing::Test {
 protected:
  UidLeases open(UidRange range = kEight) const {
    return UidLeases::open(range, temp_.path() / "run" / "uids.lock").value();
  }
  static std::vector<UidLease> take_all(UidLeases& leases) {
    std::vector<UidLease> all;
    for (;;) {
      auto lease = leases.acquire();
      if (!lease) return all;
      all.push_back(std::move(*lease));
    }
  }

 private:
  test::TempDir temp_;
};

TEST_F(UidLease_, TwoSupervisorsNeverHoldTheSameUid) {
  UidLeases one = open();
  UidLeases two = open();
  std::vector<UidLease> held;
  std::set<std::uint32_t> uids;
  for (std::uint32_t i = 0; i < kEight.count; ++i) {
    auto lease = (i % 2 == 0 ? one : two).acquire();
    ASSERT_TRUE(lease) << lease.error().to_string();
    EXPECT_GE(lease->uid(), kEight.first);
    EXPECT_LT(lease->uid(), kEight.first + kEight.count);
    uids.insert(lease->uid());
    held.push_back(std::move(*lease));
  }
  EXPECT_EQ(uids.size(), kEight.count);
  for (UidLeases* leases : {&one, &two}) {
    const auto none = leases->acquire();
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().step, SetupStep::kUidLease);
    EXPECT_NE(none.error().to_string().find("all 8 uids of the range are in use"),
              std::string::npos);
  }
}

TEST_F(UidLease_, GivenBackIsFreeForBothAndMovedIsStillHeld) {
  UidLeases one = open();
  UidLeases two = open();
  std::vector<UidLease> all = take_all(one);
  ASSERT_EQ(all.size(), kEight.count);
  const std::uint32_t uid = all.back().uid();
  UidLease moved = std::move(all.back());
  all.pop_back();
  EXPECT_FALSE(two.acquire());  // The control: it is held, by `moved`.
  moved = UidLease();
  const auto again = two.acquire();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->uid(), uid);
  EXPECT_FALSE(one.acquire());
}

TEST_F(UidLease_, AUidJustGivenBackIsTheLastToComeRound) {
  UidLeases leases = open();
  std::set<std::uint32_t> seen;
  for (std::uint32_t i = 0; i < kEight.count; ++i) seen.insert(leases.acquire().value().uid());
  EXPECT_EQ(seen.size(), kEight.count);
}

TEST_F(UidLease_, LeasesOfAKilledProcessAreFree) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    UidLeases leases = open();
    const auto all = take_all(leases);
    const char count = static_cast<char>(all.size());
    if (::write(ready[1], &count, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(ready[1]);
  char count = 0;
  ASSERT_EQ(::read(ready[0], &count, 1), 1);
  ::close(ready[0]);
  EXPECT_EQ(count, 8);
  UidLeases leases = open();
  EXPECT_FALSE(leases.acquire());  // The control.
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, holder, 0)));
  ASSERT_EQ(::kill(holder, SIGKILL), 0);
  ASSERT_TRUE(test::wait_readable(pidfd.get()));
  ASSERT_EQ(::waitpid(holder, nullptr, 0), holder);
  EXPECT_EQ(take_all(leases).size(), kEight.count);
}

TEST_F(UidLease_, ThreadsShareOneTableWithoutGivingAUidTwice) {
  UidLeases leases = open({1'000'000, 64});
  std::vector<std::vector<UidLease>> held(4);
  std::vector<std::thread> threads;
  for (auto& mine : held)
    threads.emplace_back([&leases, &mine] {
      for (int i = 0; i < 100; ++i) {
        (void)leases.acquire();  // Given back at once.
        if (i % 10 == 0) mine.push_back(leases.acquire().value());
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint32_t> uids;
  for (const auto& mine : held)
    for (const UidLease& lease : mine) uids.insert(lease.uid());
  EXPECT_EQ(uids.size(), 40U);
}

TEST_F(UidLease_, AnEmptyRangeIsAnError) {
  const test::TempDir temp;
  const auto none = UidLeases::open({1'000'000, 0}, temp.path() / "uids.lock");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().step, SetupStep::kUidLease);
}

TEST_F(UidLease_, ALockFileThatIsALinkIsRefused) {
  // Somebody may have put it there first, pointing at a file of ours.
  const test::TempDir temp;
  const std::string target = temp.file("target", "precious");
  const auto through_link = UidLeases::open(kEight, temp.link("uids.lock", target));
  ASSERT_FALSE(through_link);
  EXPECT_EQ(through_link.error().os_errno, ELOOP);
  EXPECT_TRUE(UidLeases::open(kEight, target));  // The control: it is the link that is refused.
}

}  // namespace
}  // namespace fnrun::isolation
