// Each layer switched off: the attempts that it stops must then succeed, and others must not.
//
// So every attempt of this folder is known to notice, and which layers stand alone before the
// kernel is written down. Where two layers stop the same attempt, each alone is shown to hold, and
// both have to go. Linked with a library of its own (CMakeLists.txt): the real one has no switches.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/mount.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <functional>

#include "isolation/child/launch_plan.h"
#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using namespace child;  // The switches.
using isolation::RootEntry;
using isolation::UniqueFd;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kNoCapability = "0000000000000000";

class Mutation : public Attempts {
 protected:
  using Change = std::function<void(isolation::Plan&)>;
  // All layers of `off` are switched off.
  std::string without(std::uint32_t off, const Words& words, const Change& change = {}) {
    isolation::Plan mutant = plan(attempt(words));
    mutant.switched_off = off;
    if (change) change(mutant);
    return verdict(run(mutant));
  }
  static Change at(const std::string& path, const std::function<void(RootEntry&)>& change) {
    return [=](isolation::Plan& mutant) {
      for (RootEntry& entry : mutant.root)
        if (entry.path == path && entry.kind != RootEntry::Kind::kDirectory) change(entry);
    };
  }
  // The options of the mount at `path`, of a mountinfo.
  static std::string mount_options(const std::string& mountinfo, const std::string& path) {
    for (const std::string& line : split(mountinfo, '\n')) {
      const Words words = split(line, ' ');
      if (words.size() > 5 && words[4] == path) return words[5];
    }
    return "no mount";
  }
  const Words status{"read", "/proc/self/status"};
  const Words mounts{"read", "/proc/self/mountinfo"};
};

TEST_F(Mutation, NothingSwitchedOffIsTheRealThing) {
  const std::string said = without(0, status);
  EXPECT_EQ(field(said, "Seccomp"), "2");
  EXPECT_EQ(field(said, "NoNewPrivs"), "1");
  EXPECT_EQ(field(said, "CapBnd"), kNoCapability);
  EXPECT_EQ(without(0, {"descriptors"}), "ok 0 1 2");
}

TEST_F(Mutation, WithoutSeccompTheCallsThatItAloneStopsSucceed) {
  EXPECT_EQ(field(without(kSwitchSeccomp, status), "Seccomp"), "0");
  // The door to the rest of the kernel; ENOSPC where the sandbox's own count of these is limited.
  for (const Words& door : {call(SYS_unshare, {std::to_string(CLONE_NEWUSER)}),
                            call(SYS_clone, {std::to_string(CLONE_NEWUSER | 17)})})
    EXPECT_THAT(without(kSwitchSeccomp, door), AnyOf(HasSubstr("ok "), "errno ENOSPC")) << door[1];
  // The kernel's surface that one layer carries: this list growing is news.
  for (const Words& carried :
       {call(SYS_memfd_create, {"s:name", "0"}), call(SYS_keyctl, {"0", "-3", "0"}),
        call(SYS_personality, {"0x40000"}), call(SYS_socket, {"1", "1", "0"}),
        call(SYS_socket, {"16", "3", "0"}), call(SYS_socket, {"2", "1", "0"}),
        call(SYS_shmget, {"0", "4096", "0600"}), call(SYS_pidfd_open, {"2", "0"}),
        call(SYS_setpgid, {"0", "0"}), call(SYS_chmod, {"s:/tmp", "0700"}),
        call(SYS_inotify_init1, {"0"}), call(SYS_prctl, {"29", "1"}),
        call(SYS_kcmp, {"2", "2", "0", "0", "1"})}) {
    EXPECT_THAT(without(kSwitchSeccomp, carried), HasSubstr("ok ")) << carried[1];
    EXPECT_THAT(inside(carried), Not(HasSubstr("ok "))) << carried[1];
  }
  EXPECT_NE(without(kSwitchSeccomp, {"int80"}), "signal SYS");
  EXPECT_NE(without(kSwitchSeccomp, call(0x40000000L + SYS_getpid)), "signal SYS");
  EXPECT_NE(without(kSwitchSeccomp, call(SYS_ioctl, {"1", "0x5412", "b:"})), "errno ENOSYS");
  // What other layers stop as well stays stopped.
  for (const Words& held :
       {call(SYS_mount, {"s:none", "s:/tmp", "s:tmpfs", "0", "0"}),
        call(SYS_umount2, {"s:/proc", "2"}), call(SYS_pivot_root, {"s:/", "s:/tmp"}),
        call(SYS_chroot, {"s:/tmp"}), call(SYS_sethostname, {"s:x", "1"}),
        call(SYS_unshare, {std::to_string(CLONE_NEWNS)}), call(SYS_setuid, {"0"}),
        call(SYS_mknod, {"s:/tmp/null", "0020666", "0x103"}), call(SYS_bpf, {"0", "b:", "64"}),
        call(SYS_init_module, {"b:", "1", "s:"}),
        call(SYS_reboot, {"0xfee1dead", "672274793", "0"}), call(SYS_socket, {"17", "3", "0"}),
        call(SYS_setpriority, {"0", "0", "-5"})}) {
    EXPECT_THAT(without(kSwitchSeccomp, held), StartsWith("errno E")) << held[1];
  }
}

TEST_F(Mutation, WithoutSeccompTheNamespaceStillHasNoNetwork) {
  EXPECT_EQ(without(kSwitchSeccomp, {"interfaces"}), "ok lo-down");
  EXPECT_THAT(outside({"interfaces"}), HasSubstr("-up"));
  const UniqueFd inet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof there;
  ASSERT_EQ(::bind(inet.get(), reinterpret_cast<sockaddr*>(&there), size), 0);
  ASSERT_EQ(::listen(inet.get(), 4), 0);
  ASSERT_EQ(::getsockname(inet.get(), reinterpret_cast<sockaddr*>(&there), &size), 0);
  const Words by_inet{"connect-inet", std::to_string(ntohs(there.sin_port))};
  EXPECT_EQ(without(kSwitchSeccomp | kSwitchLandlock, by_inet), "errno ENETUNREACH");
  EXPECT_EQ(without(kSwitchSeccomp, by_inet),
            host.landlock_abi >= 4 ? "errno EACCES" : "errno ENETUNREACH");

  const UniqueFd abstract(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string name = "fnrun-mutation-" + std::to_string(::getpid());
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path + 1, name.data(), name.size());
  ASSERT_EQ(::bind(abstract.get(), reinterpret_cast<sockaddr*>(&local),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  ASSERT_EQ(::listen(abstract.get(), 4), 0);
  EXPECT_EQ(without(kSwitchSeccomp | kSwitchLandlock, {"connect-abstract", name}),
            "errno ECONNREFUSED");
  EXPECT_EQ(outside({"connect-abstract", name}), "ok 0");
  EXPECT_FALSE(wait_readable(inet.get(), 0));
}

TEST_F(Mutation, WithoutGivingUpCapabilitiesTheyShowAndServe) {
  const std::string said = without(kSwitchCapabilities, status);
  for (const char* set : {"CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_NE(field(said, set), kNoCapability) << set;
  EXPECT_EQ(field(said, "Seccomp"), "2");
  EXPECT_EQ(without(kSwitchCapabilities, call(SYS_prctl, {"27"})), "ok 0");
  const Words rename = call(SYS_sethostname, {"s:renamed", "7"});
  EXPECT_EQ(without(kSwitchCapabilities, rename), killed_for("sethostname"));
  EXPECT_EQ(without(kSwitchSeccomp, rename), "errno EPERM");
  EXPECT_EQ(without(kSwitchCapabilities | kSwitchSeccomp, rename), "ok 0");
  // Three layers before a mount.
  const Words mount = call(SYS_mount, {"s:none", "s:/tmp", "s:tmpfs", "0", "0"});
  EXPECT_EQ(without(kSwitchCapabilities | kSwitchSeccomp, mount),
            host.landlock_abi > 0 ? "errno EPERM" : "ok 0");
  EXPECT_EQ(without(kSwitchSeccomp | kSwitchLandlock, mount), "errno EPERM");
  EXPECT_EQ(without(kSwitchCapabilities | kSwitchSeccomp | kSwitchLandlock, mount), "ok 0");
}

TEST_F(Mutation, WithoutNoNewPrivsItShows) {
  // The kernel takes neither filter nor ruleset from an unprivileged process without it.
  EXPECT_FALSE([&] {
    isolation::Plan mutant = plan(attempt(status));
    mutant.switched_off = kSwitchNoNewPrivs;
    Pipes pipes;
    return bool(launcher->launch(mutant, std::move(pipes.theirs)));
  }());
  constexpr auto kOff = kSwitchNoNewPrivs | kSwitchSeccomp | kSwitchLandlock;
  EXPECT_EQ(field(without(kOff, status), "NoNewPrivs"), "0");
  EXPECT_EQ(field(without(kOff, status), "CapBnd"), kNoCapability);
}

TEST_F(Mutation, WithoutTheReadOnlyRootFilesAppearInIt) {
  const Words make = open_file("/made", O_CREAT | O_EXCL | O_WRONLY);
  EXPECT_THAT(inside(make), AnyOf("errno EROFS", "errno EACCES"));
  EXPECT_EQ(without(kSwitchLandlock, make), "errno EROFS");
  EXPECT_EQ(without(kSwitchReadOnlyRoot, make), host.landlock_abi > 0 ? "errno EACCES" : "ok 3");
  constexpr auto kOff = kSwitchReadOnlyRoot | kSwitchLandlock;
  EXPECT_EQ(without(kOff, make), "ok 3");
  EXPECT_THAT(mount_options(without(kSwitchReadOnlyRoot, mounts), "/"), StartsWith("rw"));
  EXPECT_THAT(mount_options(inside(mounts), "/"), StartsWith("ro"));
  EXPECT_EQ(without(kOff, open_file("/usr/made", O_CREAT | O_EXCL | O_WRONLY)), "errno EROFS");
}

TEST_F(Mutation, WithoutLandlockTheMountsAndNamespacesHoldAlone) {
  if (host.landlock_abi == 0) GTEST_SKIP() << "no Landlock here: every other test is this one";
  if (host.landlock_abi >= 6) {
    EXPECT_EQ(inside(call(SYS_kill, {"1", "0"})), "errno EPERM");
    EXPECT_EQ(without(kSwitchLandlock, call(SYS_kill, {"1", "0"})), "ok 0");
    EXPECT_EQ(without(kSwitchLandlock, call(SYS_kill, {"1", "9"})), "ok 0") << "and survived";
  }
  EXPECT_EQ(without(kSwitchLandlock, {"walk-create", "/dev"}), inside({"walk-create", "/dev"}));
  // An emulated machine takes minutes to look at all of /usr.
  const char* everywhere = emulated() ? "/tmp" : "/";
  const std::string walked = without(kSwitchLandlock, {"walk-create", everywhere});
  EXPECT_THAT(walked, testing::EndsWith(" /tmp"));
  EXPECT_EQ(split(walked, ' ').size(), 3U);
  EXPECT_EQ(without(kSwitchLandlock, {"exec-copy", "/tmp"}), "errno EACCES");
  EXPECT_EQ(field(without(kSwitchLandlock, status), "Seccomp"), "2");
}

TEST_F(Mutation, WithoutLandlockStdioThatIsAFileOfTheHostIsAWayToMore) {
  if (host.landlock_abi == 0) GTEST_SKIP() << "no Landlock here: whatever is handed is handed";
  const TempDir dir;
  const std::string file = dir.file("log", "what others wrote\n", 0666);
  const auto with_stdio = [&](std::uint32_t off, const Words& words) {
    isolation::Plan mutant = plan(attempt(words));
    mutant.switched_off = off;
    Pipes pipes;
    // A careless caller: a folder as stdin, a log for appending as stderr.
    pipes.theirs.in = UniqueFd(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    pipes.theirs.err = UniqueFd(::open(file.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    Running running{launcher->launch(mutant, std::move(pipes.theirs)).value(),
                    std::move(pipes.ours)};
    const std::string said = read_to_end(running.ends.from_stdout.get());
    EXPECT_TRUE(wait_readable(running.sandbox.pidfd()));
    EXPECT_TRUE(running.sandbox.reap());
    return said;
  };
  ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
  for (const Words& words :
       {open_file("/proc/self/fd/2", O_RDONLY), open_file("/proc/self/fd/2", O_RDWR | O_TRUNC),
        call(SYS_openat, {"0", "s:log", "0"}), call(SYS_openat, {"0", "s:../..", "0"})}) {
    EXPECT_EQ(with_stdio(0, words), "errno EACCES\n") << words[3];
    EXPECT_THAT(with_stdio(kSwitchLandlock, words), StartsWith("ok")) << words[3];
  }
}

TEST_F(Mutation, WithoutRlimitsBombsGoOn) {
  // The controller would hold alone: that is another layer.
  host.cgroup.missing[policies::Layer::kPids] = {"taken away by the test", ""};
  const auto few = [&](std::uint32_t off, const Words& words) {
    policies::Policy policy = strict;
    policy.limits.processes_max = 20;
    isolation::Plan mutant = plan(attempt(words), policy);
    mutant.switched_off = off;
    return verdict(run(mutant));
  };
  for (const char* bomb : {"fork-bomb", "thread-bomb"}) {
    EXPECT_EQ(few(0, {bomb, "100"}), "errno EAGAIN 19");
    EXPECT_EQ(few(kSwitchRlimits, {bomb, "100"}), "ok 100");
  }
  EXPECT_NE(few(0, {"settings"}), few(kSwitchRlimits, {"settings"}));
  EXPECT_EQ(field(few(kSwitchRlimits, status), "Seccomp"), "2");
}

TEST_F(Mutation, WithoutAKeyringOfItsOwnItHasTheSupervisors) {
  ASSERT_GE(::syscall(SYS_keyctl, /*JOIN_SESSION_KEYRING=*/1, nullptr), 0);
  const long ours = ::syscall(SYS_keyctl, /*GET_KEYRING_ID=*/0, /*session*/ -3, 0);
  ASSERT_GT(ours, 0);
  const Words which = call(SYS_keyctl, {"0", "-3", "0"});
  const std::string supervisors = "ok " + std::to_string(ours);
  EXPECT_EQ(outside(which), supervisors);
  EXPECT_EQ(without(kSwitchSeccomp | kSwitchKeyring, which), supervisors);
  EXPECT_THAT(without(kSwitchSeccomp, which), StartsWith("ok "));
  EXPECT_NE(without(kSwitchSeccomp, which), supervisors);
  EXPECT_EQ(without(kSwitchKeyring, which), "errno EPERM");
}

TEST_F(Mutation, WithADumpableInitItsMemoryIsReadable) {
  for (const char* file : {"environ", "maps", "auxv"}) {
    const Words look{"read", std::string("/proc/1/") + file};
    EXPECT_THAT(inside(look), StartsWith("errno E"));
    EXPECT_THAT(without(kSwitchLandlock, look), StartsWith("errno E")) << file;
    EXPECT_THAT(without(kSwitchNonDumpable | kSwitchLandlock, look), StartsWith("ok")) << file;
    if (host.landlock_abi > 0) {
      EXPECT_THAT(without(kSwitchNonDumpable, look), StartsWith("errno E")) << file;
    }
  }
  EXPECT_THAT(without(kSwitchNonDumpable | kSwitchLandlock, {"list", "/proc/1/fd"}),
              StartsWith("ok"));
}

TEST_F(Mutation, WithoutClosingDescriptorsTheLifelineIsHanded) {
  EXPECT_EQ(without(kSwitchCloseFds, {"descriptors"}), "ok 0 1 2 3");
  EXPECT_EQ(inside({"descriptors"}), "ok 0 1 2");
}

TEST_F(Mutation, WithoutNoexecOnTmpAndLandlockItRunsThere) {
  const auto exec = at("tmp", [](RootEntry& entry) { entry.flags &= ~unsigned{MS_NOEXEC}; });
  for (const Words& words : {Words{"exec-copy", "/tmp"}, Words{"map-exec", "/tmp"}}) {
    EXPECT_THAT(without(kSwitchLandlock, words), StartsWith("errno E")) << words[0];
    EXPECT_THAT(without(kSwitchLandlock, words, exec), StartsWith("ok")) << words[0];
  }
  EXPECT_EQ(without(0, {"exec-copy", "/tmp"}, exec),
            host.landlock_abi > 0 ? "errno EACCES" : "ok\nran");
}

TEST_F(Mutation, WithoutMountFlagsItShows) {
  const auto usr = [&](std::uint64_t flag) {
    return at("usr", [=](RootEntry& entry) { entry.attributes &= ~flag; });
  };
  EXPECT_THAT(mount_options(inside(mounts), "/usr"), StartsWith("ro,nosuid,nodev"));
  EXPECT_THAT(mount_options(without(0, mounts, usr(MOUNT_ATTR_NOSUID)), "/usr"),
              Not(HasSubstr("nosuid")));
  EXPECT_THAT(mount_options(without(0, mounts, usr(MOUNT_ATTR_NODEV)), "/usr"),
              Not(HasSubstr("nodev")));
  EXPECT_THAT(mount_options(without(0, mounts, usr(MOUNT_ATTR_RDONLY)), "/usr"), StartsWith("rw"));
  // Even so it is the host's file of another uid.
  EXPECT_THAT(without(kSwitchLandlock, open_file("/usr/bin/env", O_WRONLY), usr(MOUNT_ATTR_RDONLY)),
              AnyOf("errno EACCES", "errno ETXTBSY"));
}

TEST_F(Mutation, WithoutBoundsTmpTakesMore) {
  policies::Policy small = strict;
  small.limits.tmp_max.bytes = 1U << 20;
  isolation::Plan mutant = plan(attempt({"fill", "/tmp", "0x200000"}), small);
  EXPECT_EQ(verdict(run(mutant)), "errno ENOSPC 1048576");
  at("tmp", [](RootEntry& entry) { entry.source = "mode=1777"; })(mutant);
  EXPECT_EQ(verdict(run(mutant)), "ok 2097152");
}

TEST_F(Mutation, WithAWholeProcTheHostShows) {
  const auto whole = at("proc", [](RootEntry& entry) { entry.source = ""; });
  EXPECT_EQ(inside({"read", "/proc/version"}), "errno ENOENT");
  EXPECT_THAT(without(0, {"read", "/proc/version"}, whole), StartsWith("ok\nLinux"));
  // The next layers: a uid that is nobody on the host, and a read-only mount.
  EXPECT_THAT(without(0, open_file("/proc/sys/kernel/core_pattern", O_WRONLY), whole),
              AnyOf("errno EACCES", "errno EROFS"));
}

}  // namespace
}  // namespace fnrun::test
