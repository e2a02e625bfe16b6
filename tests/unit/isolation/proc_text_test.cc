// The kernel's texts about this host, as other hosts write them, and as nobody should.
#include <gmock/gmock.h>

#include <chrono>

#include "isolation/cgroup/stats.h"
#include "isolation/host.h"

namespace fnrun::isolation {
namespace {

using std::chrono::microseconds;

// mountinfo lines: id parent dev root mount-point options tags - type source options
constexpr const char* kPureV2 =
    "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 "
    "rw,nsdelegate,memory_recursiveprot\n";
constexpr const char* kHybrid =
    "30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n"
    "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n"
    "34 30 0:30 / /sys/fs/cgroup/memory rw,nosuid shared:11 - cgroup cgroup rw,memory\n";
constexpr const char* kHybridOwn =
    "9:name=systemd:/user.slice\n4:memory:/user.slice\n0::/user.slice/user-1000.slice\n";

TEST(FindCgroupDir, PureV2) {
  EXPECT_EQ(find_cgroup_dir(kPureV2, "0::/user.slice/session-1.scope\n"),
            "/sys/fs/cgroup/user.slice/session-1.scope");
  EXPECT_EQ(find_cgroup_dir(kPureV2, "0::/\n"), "/sys/fs/cgroup");
}

TEST(FindCgroupDir, HybridTakesTheV2MountAndTheV2Line) {
  EXPECT_EQ(find_cgroup_dir(kHybrid, kHybridOwn),
            "/sys/fs/cgroup/unified/user.slice/user-1000.slice");
}

TEST(FindCgroupDir, OnlyV1IsNone) {
  const char* v1 = "34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
  EXPECT_EQ(find_cgroup_dir(v1, "4:memory:/a\n"), "");
  EXPECT_EQ(find_cgroup_dir(v1, "4:memory:/a\n0::/a\n"), "");  // A v2 hierarchy nobody mounted.
  EXPECT_EQ(find_cgroup_dir(kPureV2, "4:memory:/a\n"), "");
}

TEST(FindCgroupDir, AContainersBindShowsOnlyWhatLiesBelowItsRoot) {
  const char* bind = "31 24 0:27 /a/b /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
  EXPECT_EQ(find_cgroup_dir(bind, "0::/a/b\n"), "/sys/fs/cgroup");
  EXPECT_EQ(find_cgroup_dir(bind, "0::/a/b/c/d\n"), "/sys/fs/cgroup/c/d");
  for (const char* elsewhere : {"0::/\n", "0::/a\n", "0::/a/bc\n", "0::/x/a/b\n"})
    EXPECT_EQ(find_cgroup_dir(bind, elsewhere), "") << elsewhere;
}

TEST(FindCgroupDir, ASecondMountServesWhereTheFirstDoesNotShowUs) {
  const char* two =
      "31 24 0:27 /other /mnt/part rw - cgroup2 cgroup rw\n"
      "32 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
  EXPECT_EQ(find_cgroup_dir(two, "0::/mine\n"), "/sys/fs/cgroup/mine");
}

TEST(FindCgroupDir, EscapesOfMountinfoAreUndone) {
  const char* spaces = "31 24 0:27 /a\\040b /mnt/c\\011d\\134e\\012f rw - cgroup2 cgroup rw\n";
  EXPECT_EQ(find_cgroup_dir(spaces, "0::/a b/c\n"), "/mnt/c\td\\e\nf/c");
  EXPECT_EQ(find_cgroup_dir("31 24 0:27 / /x\\04 rw - cgroup2 c rw\n", "0::/\n"), "/x\\04");
}

TEST(FindCgroupDir, ACgroupOutsideOurNamespaceIsNoneAndNotThePathAbove) {
  // In a cgroup namespace, a process outside its root reads "/..": the folder above the mount is
  // not a cgroup, and must not be taken for one.
  for (const char* outside : {"0::/..\n", "0::/../sibling\n", "0::/a/../..\n"})
    EXPECT_EQ(find_cgroup_dir(kPureV2, outside), "") << outside;
  EXPECT_EQ(find_cgroup_dir(kPureV2, "0::/..a/b..\n"), "/sys/fs/cgroup/..a/b..");  // Just names.
}

TEST(FindCgroupDir, AnyTextIsTakenWithoutHarm) {
  for (const char* text : {"", "\n\n", " - ", "a - cgroup2", "1 2 3 4 - cgroup2 x", "- - - -",
                           "1 2 3 / /x rw - \n", "1 2 3 / /x rw -cgroup2"})
    EXPECT_EQ(find_cgroup_dir(text, "0::/\n"), "") << text;
  for (const char* own : {"", "0::", "0::relative", "::/", "0:/", "00::/"})
    EXPECT_EQ(find_cgroup_dir(kPureV2, own), "") << own;
}

TEST(ParseIdMap, ReadsTheKernelsColumns) {
  const auto map =
      parse_id_map("         0       1000          1\n         1     100000      65536\n");
  ASSERT_EQ(map.size(), 2U);
  EXPECT_EQ(map[0].outside, 1'000U);
  EXPECT_EQ(map[1].inside, 1U);
  EXPECT_EQ(map[1].count, 65'536U);
  const auto all = parse_id_map("         0          0 4294967295\n");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].count, 4'294'967'295U);
}

TEST(ParseIdMap, SkipsWhatIsNoExtent) {
  for (const char* text :
       {"", "\n", "0 0", "0 0 1 2", "a b c", "-1 0 1", "0 0 4294967296", "0 0 1x", "0\t0\t1"})
    EXPECT_TRUE(parse_id_map(text).empty()) << text;
  EXPECT_EQ(parse_id_map("nonsense\n0 0 1\n").size(), 1U);
}

TEST(ChooseUidRange, TakesUidsThatNobodyElseUsesWhereTheyAreMapped) {
  const auto host = choose_uid_range({{0, 0, 4'294'967'295U}});
  ASSERT_TRUE(host);
  EXPECT_GE(host->first, 1'879'048'192U);
  EXPECT_LE(std::uint64_t{host->first} + host->count, 2'147'483'648U);
  const auto container = choose_uid_range({{0, 100'000, 65'536}});
  ASSERT_TRUE(container);
  EXPECT_GE(container->first, 60'000U);
  EXPECT_LE(container->first + container->count, 65'536U);
}

TEST(ChooseUidRange, NeverARangeThatIsMappedInPartOnly) {
  EXPECT_FALSE(choose_uid_range({}));
  EXPECT_FALSE(choose_uid_range({{0, 1'000, 1}}));
  EXPECT_FALSE(choose_uid_range({{0, 1'000, 1}, {1, 100'000, 60'000}}));
  EXPECT_FALSE(choose_uid_range({{4'294'967'295U, 0, 4'294'967'295U}}));  // No overflow.
  // Two extents that touch are not seen as one: less is safe.
  EXPECT_FALSE(choose_uid_range({{0, 0, 62'000}, {62'000, 500'000, 3'536}}));
}

TEST(GroupsBeside, AreThoseThatThePrimaryGroupIsNot) {
  EXPECT_EQ(groups_beside(990, {}), 0U);
  EXPECT_EQ(groups_beside(990, {990}), 0U);  // As systemd has it for User= of one group.
  EXPECT_EQ(groups_beside(990, {4, 990, 27}), 2U);
  EXPECT_EQ(groups_beside(0, {990}), 1U);
}

TEST(ParseKernelRelease, ReadsTheNumbersInFront) {
  EXPECT_EQ(parse_kernel_release("6.1.0-50-amd64"), std::pair(6, 1));
  EXPECT_EQ(parse_kernel_release("5.14"), std::pair(5, 14));
  EXPECT_EQ(parse_kernel_release("6.18.44+"), std::pair(6, 18));
  EXPECT_EQ(parse_kernel_release("10.0-rc1"), std::pair(10, 0));
  EXPECT_LT(parse_kernel_release("5.9.1"), std::pair(5, 14));  // Numbers, not letters.
}

TEST(ParseKernelRelease, IsZeroForAnythingElse) {
  for (const char* text : {"", ".", "6", "6.", "x.1", "6.x", "-6.1", "6.-1", " 6.1", "+6.1",
                           "99999999999.1", "6.99999999999", "6 .1"})
    EXPECT_EQ(parse_kernel_release(text), std::pair(0, 0)) << text;
}

TEST(ParseCpuStat, ReadsTheTwoTimes) {
  const auto time = parse_cpu_stat("usage_usec 30\nuser_usec 12\nsystem_usec 18\nnice_usec 0\n");
  ASSERT_TRUE(time);
  EXPECT_EQ(time->user, microseconds(12));
  EXPECT_EQ(time->system, microseconds(18));
}

TEST(ParseCpuStat, IsNothingWhereOneIsMissingOrNoNumber) {
  for (const char* text :
       {"", "user_usec 1", "system_usec 1", "user_usec 1\nsystem_usec x", "user_usec\nsystem_usec",
        "user_usec -1\nsystem_usec 1", "user_usec 1 2\nsystem_usec 1",
        "user_usec 99999999999999999999\nsystem_usec 1",
        "user_usec 9223372036854775808\n"
        "system_usec 1",
        "xuser_usec 1\nsystem_usec 1"})
    EXPECT_FALSE(parse_cpu_stat(text)) << text;
  EXPECT_TRUE(parse_cpu_stat("user_usec 4611686018427387903\nsystem_usec 0"));
}

}  // namespace
}  // namespace fnrun::isolation
