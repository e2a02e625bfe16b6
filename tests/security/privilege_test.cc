// Privilege: whose uid it is on the host, and that nothing else is left.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kNoCapability = "0000000000000000";

class Privilege : public Attempts {
 protected:
  static std::string status_of(long pid) {
    return read_text("/proc/" + std::to_string(pid) + "/status");
  }
};

TEST_F(Privilege, TheHostSeesTheSlotsUidAndNeverRoot) {
  const Staying one = stay();
  const Staying two = stay();
  const std::string uids = field(status_of(one.handler_pid), "Uid");
  const auto of = [](const std::string& id) { return id + "\t" + id + "\t" + id + "\t" + id; };
  EXPECT_THAT(uids, testing::Not(HasSubstr("0\t0")));
  if (host.privileged) {
    const std::string slot = std::to_string(one.running.sandbox.slot_uid().value());
    EXPECT_NE(slot, "0");
    EXPECT_EQ(uids, of(slot));
    EXPECT_EQ(field(status_of(one.handler_pid), "Gid"), of(slot));
    EXPECT_EQ(field(status_of(one.running.sandbox.pid()), "Uid"), of(slot));
    EXPECT_NE(uids, field(status_of(two.handler_pid), "Uid"));
  } else {
    EXPECT_EQ(uids, of(std::to_string(::getuid())));
    EXPECT_EQ(field(status_of(one.handler_pid), "Gid"), of(std::to_string(::getgid())));
  }
}

TEST_F(Privilege, InsideItIsAnOrdinaryUser) {
  EXPECT_EQ(inside({"identity"}), "ok 1000 1000 1000 1000 1000 1000");
  EXPECT_EQ(inside({"read", "/proc/self/uid_map"}).find("\n         0"), std::string::npos);
}

TEST_F(Privilege, GroupsOfTheSupervisorAreGone) {
  if (!host.privileged) {
    if (host.supplementary_groups > 0)
      GTEST_SKIP() << "without privilege they stay, as the plan's degraded says";
    EXPECT_EQ(inside(call(SYS_getgroups, {"0", "0"})), "ok 0");
    return;
  }
  const gid_t docker_and_disk[] = {6, 999};
  gid_t before[64];
  const int count = ::getgroups(64, before);
  ASSERT_GE(count, 0);
  ASSERT_EQ(::setgroups(2, docker_and_disk), 0);
  EXPECT_EQ(outside(call(SYS_getgroups, {"0", "0"})), "ok 2");
  EXPECT_EQ(inside(call(SYS_getgroups, {"0", "0"})), "ok 0");
  const Staying staying = stay();
  EXPECT_EQ(field(status_of(staying.handler_pid), "Groups"), "");
  EXPECT_EQ(field(status_of(staying.running.sandbox.pid()), "Groups"), "");
  ASSERT_EQ(::setgroups(static_cast<std::size_t>(count), before), 0);
}

TEST_F(Privilege, NoCapabilityIsInAnySet) {
  const std::string status = inside({"read", "/proc/self/status"});
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_EQ(field(status, set), kNoCapability) << set;
  EXPECT_NE(field(outside({"read", "/proc/self/status"}), "CapBnd"), kNoCapability);
  EXPECT_EQ(field(status, "NoNewPrivs"), "1");
  EXPECT_EQ(field(status, "Seccomp"), "2");
  EXPECT_EQ(field(status, "Seccomp_filters"), "2");
  // NOROOT, NO_SETUID_FIXUP, no KEEP_CAPS, NO_CAP_AMBIENT_RAISE, and each of them locked.
  EXPECT_EQ(inside(call(SYS_prctl, {std::to_string(PR_GET_SECUREBITS)})),
            "ok " + std::to_string(0xef));
  EXPECT_EQ(outside(call(SYS_prctl, {std::to_string(PR_GET_SECUREBITS)})), "ok 0");
}

TEST_F(Privilege, SetuidFilesGiveNothing) {
  if (!host.privileged) GTEST_SKIP() << "only root can make a setuid file that would give anything";
  const TempDir dir;
  struct statvfs filesystem {};
  ASSERT_EQ(::statvfs(dir.path().c_str(), &filesystem), 0);
  if ((filesystem.f_flag & ST_NOSUID) != 0)
    GTEST_SKIP() << "without a control: temporary files lie on a nosuid mount here";
  const std::string program = dir.file("setuid", read_text(handlers_dir() + "/attempt"), 0755);
  ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
  policies::Policy showing = strict;
  showing.filesystem.read_only.push_back({.target = "/opt/setuid",
                                          .source = program,
                                          .optional = false,
                                          .executable = true,
                                          .why = "a setuid program of root"});
  const auto ids = [&] {
    return verdict(run(plan({"/bin/sh", "-c", "exec /opt/setuid identity"}, showing)));
  };
  EXPECT_EQ(ids(), "ok 1000 1000 1000 1000 1000 1000") << "without the bit";
  ASSERT_EQ(::chmod(program.c_str(), 06755), 0);
  EXPECT_EQ(ids(), "ok 1000 1000 1000 1000 1000 1000");
  // Outside it does give, to nobody; but not where the test's folder is mounted nosuid.
  ASSERT_EQ(::setenv("FNRUN_TEST_HANDLERS", dir.path().c_str(), 1), 0);
  ASSERT_EQ(::rename(program.c_str(), (dir.path() / "attempt").c_str()), 0);
  EXPECT_THAT(outside({"identity"}, {.as = As::kNobody}), StartsWith("ok 65534 0 0"));
  ::unsetenv("FNRUN_TEST_HANDLERS");
}

TEST_F(Privilege, TheSessionKeyringsOfTheHostAreNotNamed) {
  EXPECT_EQ(inside({"read", "/proc/keys"}), "errno ENOENT");
  EXPECT_EQ(inside({"read", "/proc/key-users"}), "errno ENOENT");
  // The keyring itself: mutation_test.cc, where the filter does not stand before it.
  EXPECT_EQ(inside(call(SYS_keyctl, {"0", "-3", "0"})), "errno EPERM");
}

}  // namespace
}  // namespace fnrun::test
