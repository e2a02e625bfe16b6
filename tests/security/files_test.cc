// Files: what can be reached, what can be written, what can be run, and how much of it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Files : public Attempts {};

TEST_F(Files, AFileOfTheHostIsOutOfReachByAnyPath) {
  const TempDir dir;
  ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
  const std::string secret = dir.file("secret", "of the host", 0644);
  for (const std::string way :
       {"", "/../../../..", "/proc/1/root", "/proc/self/root", "/proc/self/root/..",
        "/proc/self/cwd/../../..", "/proc/self/task/2/root", "/tmp/../..", "/dev/fd/..",
        "/usr/../..", "/proc/thread-self/cwd/..", "/proc/1/cwd", "/dev/fd/0/..", "/dev/fd/3"}) {
    EXPECT_THAT(inside({"read", way + secret}),
                AnyOf("errno ENOENT", "errno EACCES", "errno ENOTDIR"))
        << way;
  }
  for (const std::string way : {"", "/../../../..", "/proc/self/root", "/usr/../.."})
    EXPECT_EQ(outside({"read", way + secret}), "ok\nof the host") << way;
  // The same words reach what is named.
  EXPECT_THAT(inside({"list", "/proc/self/root/usr"}), StartsWith("ok bin"));
  EXPECT_THAT(inside({"list", "/../../../../usr"}), StartsWith("ok bin"));
}

TEST_F(Files, TheRootHoldsWhatThePolicyNames) {
  std::set<std::string> expected{"dev", "proc", "tmp"};
  for (const auto& path : strict.filesystem.read_only) {
    if (path.optional && ::access(path.source.c_str(), F_OK) != 0) continue;
    expected.insert(path.target.substr(1, path.target.find('/', 1) - 1));
  }
  const std::string handler = handlers_dir();  // Its folders lead to the one program.
  expected.insert(handler.substr(1, handler.find('/', 1) - 1));
  std::string root = "ok";
  for (const std::string& name : expected) root += " " + name;
  EXPECT_EQ(inside({"list", "/"}), root);
  EXPECT_THAT(outside({"list", "/"}), HasSubstr(" sys "));
  // Beside the handler lies nothing, though its folder on the host has more.
  EXPECT_EQ(inside({"list", handler}), "ok attempt");
  EXPECT_EQ(inside({"list", "/dev"}), "ok fd full null random stderr stdin stdout urandom zero");
  EXPECT_EQ(inside({"list", "/tmp"}), "ok" + held_by_tmp());
  EXPECT_EQ(inside({"list", "/sys"}), "errno ENOENT");
  EXPECT_EQ(inside({"list", "/run"}), "errno ENOENT");
  EXPECT_EQ(inside({"list", "/home"}), "errno ENOENT");
}

TEST_F(Files, ProcTellsNothingOfTheHost) {
  for (const char* name : {"sys",           "sys/kernel/core_pattern",
                           "sysrq-trigger", "kcore",
                           "kallsyms",      "kmsg",
                           "keys",          "timer_list",
                           "sched_debug",   "iomem",
                           "interrupts",    "config.gz",
                           "modules",       "acpi",
                           "scsi",          "bus",
                           "cpuinfo",       "meminfo",
                           "uptime",        "version",
                           "cmdline",       "stat",
                           "loadavg",       "partitions",
                           "net/dev",       "cgroups",
                           "swaps",         "filesystems",
                           "pressure",      "sys/fs/binfmt_misc/register"}) {
    EXPECT_THAT(inside({"read", std::string("/proc/") + name}),
                AnyOf("errno ENOENT", "errno ENOTDIR"))
        << name;
  }
  EXPECT_THAT(outside({"read", "/proc/version"}), StartsWith("ok\nLinux"));
  EXPECT_EQ(inside({"read", "/proc/self/cgroup"}).find("fnrun"), std::string::npos);
}

TEST_F(Files, EveryMountIsAsDeclared) {
  const std::string text = inside({"read", "/proc/self/mountinfo"});
  struct stat host_root {};
  ASSERT_EQ(::stat("/", &host_root), 0);
  const std::string host_device =
      std::to_string(major(host_root.st_dev)) + ":" + std::to_string(minor(host_root.st_dev));
  std::size_t mounts = 0;
  for (const std::string& line : split(text, '\n')) {
    if (line == "ok") continue;
    ++mounts;
    const Words words = split(line, ' ');
    ASSERT_GT(words.size(), 7U) << line;
    const std::string& at = words[4];
    const auto set = split(words[5], ',');
    const auto has = [&](const char* flag) {
      return std::find(set.begin(), set.end(), flag) != set.end();
    };
    EXPECT_EQ(words[6], "-") << "propagation: " << line;
    EXPECT_TRUE(has("nosuid")) << line;
    EXPECT_EQ(has("ro"), at != "/tmp") << line;
    const bool device = at.starts_with("/dev/");
    EXPECT_EQ(has("nodev"), !device) << line;
    bool exec = at == handlers_dir() + "/attempt";
    for (const auto& path : strict.filesystem.read_only)
      exec = exec || (path.executable && (at == path.target || at.starts_with(path.target + "/")));
    EXPECT_EQ(has("noexec"), !exec) << line;
    EXPECT_FALSE(words[2] == host_device && words[3] == "/") << "the host's root: " << line;
    // The root is ours: a tmpfs, not a folder of the host's.
    if (at == "/") {
      EXPECT_EQ(words[7], "tmpfs") << line;
    }
    if (at == "/proc") {
      EXPECT_THAT(words.back(), HasSubstr("subset=pid")) << line;
    }
  }
  EXPECT_GE(mounts, 8U);
}

// Of /usr, where there may be hundreds of thousands.
constexpr const char* kLooksAtEveryFile =
    "looks at every file, which takes minutes in an emulated machine and asks its kernel nothing "
    "new";

TEST_F(Files, NoFolderButTmpTakesAFile) {
  if (emulated()) GTEST_SKIP() << kLooksAtEveryFile;
  const Words walked = split(inside({"walk-create", "/"}), ' ');
  ASSERT_GE(walked.size(), 2U);
  EXPECT_GT(std::stoul(walked[1]), 50U) << "folders tried: the canary of the walk";
  EXPECT_EQ(Words(walked.begin() + 2, walked.end()), Words{"/tmp"});
  const TempDir dir;
  const std::string deep = dir.folder("deep");
  EXPECT_EQ(outside({"walk-create", dir.path().string()}),
            "ok 2 " + dir.path().string() + " " + deep);
}

TEST_F(Files, NoFileButTheDevicesOpensForWriting) {
  if (emulated()) GTEST_SKIP() << kLooksAtEveryFile;
  const Words walked = split(inside({"walk-write", "/"}), ' ');
  ASSERT_GE(walked.size(), 2U);
  EXPECT_GT(std::stoul(walked[1]), 500U) << "files tried: the canary of the walk";
  EXPECT_THAT(Words(walked.begin() + 2, walked.end()),
              testing::UnorderedElementsAre("/dev/full", "/dev/null", "/dev/random", "/dev/urandom",
                                            "/dev/zero"));
  const TempDir dir;
  const std::string file = dir.file("file", "");
  EXPECT_EQ(outside({"walk-write", dir.path().string()}), "ok 1 " + file);
  if (host.privileged) {
    EXPECT_THAT(outside(open_file("/usr/share", O_RDONLY | O_DIRECTORY)), StartsWith("ok"));
    EXPECT_THAT(outside(open_file("/proc/sys/kernel/core_pattern", O_WRONLY)), StartsWith("ok"));
  }
  EXPECT_EQ(inside(open_file("/proc/sys/kernel/core_pattern", O_WRONLY)), "errno ENOENT");
}

TEST_F(Files, ReadOnlyFilesCannotBeTakenAlong) {
  // Links, renames and descriptors with more rights than they were opened with.
  EXPECT_THAT(inside(call(SYS_link, {"s:/usr/bin/env", "s:/tmp/env"})),
              AnyOf("errno EXDEV", "errno EPERM", "errno EACCES"));
  EXPECT_THAT(inside(call(SYS_rename, {"s:/usr/bin/env", "s:/tmp/env"})), StartsWith("errno E"));
  EXPECT_THAT(inside(open_file("/proc/self/exe", O_RDWR)), StartsWith("errno E"));
  EXPECT_EQ(inside(call(SYS_symlink, {"s:/usr", "s:/tmp/usr"})), "ok 0");
}

TEST_F(Files, TmpHoldsItsBytesAndNoMore) {
  policies::Policy small = strict;
  small.limits.tmp_max.bytes = 1U << 20;
  EXPECT_EQ(verdict(run(plan(attempt({"fill", "/tmp", "0x200000"}), small))),
            "errno ENOSPC 1048576");
  EXPECT_EQ(verdict(run(plan(attempt({"fill", "/tmp", "0x100000"}), small))), "ok 1048576");
  EXPECT_EQ(inside({"fill", "/tmp", "0x8000000"}),
            "errno ENOSPC " + std::to_string(strict.limits.tmp_max.bytes));
  const TempDir dir;
  EXPECT_EQ(outside({"fill", dir.path().string(), "0x200000"}), "ok 2097152");
}

TEST_F(Files, TmpHoldsItsFilesAndNoMore) {
  EXPECT_EQ(inside({"inodes", "/tmp", "5000"}),
            "errno ENOSPC " + std::to_string(strict.limits.tmp_inodes_max));
  const TempDir dir;
  EXPECT_EQ(outside({"inodes", dir.path().string(), "5000"}), "ok 5000");
}

TEST_F(Files, TmpOfOneSandboxIsNotThatOfAnother) {
  EXPECT_THAT(inside(open_file("/tmp/left", O_CREAT | O_WRONLY)), StartsWith("ok"));
  EXPECT_EQ(inside({"list", "/tmp"}), "ok" + held_by_tmp());
}

TEST_F(Files, NothingInTmpRuns) {
  const TempDir dir;
  EXPECT_EQ(inside({"exec-copy", "/tmp"}), "errno EACCES");
  EXPECT_EQ(outside({"exec-copy", dir.path().string()}), "ok\nran");
  EXPECT_THAT(inside({"map-exec", "/tmp"}), AnyOf("errno EPERM", "errno EACCES"));
  EXPECT_EQ(outside({"map-exec", dir.path().string()}), "ok");
  policies::Policy open = strict;
  open.filesystem.dangerously_exec_from_tmp = "the allowed twin";
  EXPECT_EQ(verdict(run(plan(attempt({"exec-copy", "/tmp"}), open))), "ok\nran");
}

// POSIX shared memory by another name for /tmp: the same bounds hold, and nothing is added.
TEST_F(Files, DevShmIsAnotherNameForTmpWhereThePolicySaysSo) {
  EXPECT_EQ(inside({"list", "/dev/shm"}), "errno ENOENT");
  policies::Policy with_shm = strict;
  with_shm.filesystem.dev_shm = "the allowed twin";
  const auto inside_with = [&](const Words& words) {
    return verdict(run(plan(attempt(words), with_shm)));
  };
  EXPECT_EQ(inside_with({"list", "/dev/shm"}), "ok" + held_by_tmp());
  EXPECT_THAT(inside_with(open_file("/dev/shm/new", O_CREAT | O_WRONLY)), StartsWith("ok"));
  EXPECT_THAT(inside_with(open_file("/dev/new", O_CREAT | O_WRONLY)), "errno EROFS");
  EXPECT_THAT(inside_with({"map-exec", "/dev/shm"}), AnyOf("errno EPERM", "errno EACCES"));
  EXPECT_EQ(inside_with({"exec-copy", "/dev/shm"}), "errno EACCES");
  with_shm.limits.tmp_max.bytes = 1 << 20;
  EXPECT_EQ(inside_with({"fill", "/dev/shm", "0x200000"}), "errno ENOSPC 1048576");
}

TEST_F(Files, AFileGrowsToItsLimitOnly) {
  policies::Policy small = strict;
  small.limits.file_size_max.bytes = 32'768;  // One write of 64 KiB is cut; the next would kill.
  const std::string said = verdict(run(plan(attempt({"fill", "/tmp", "65536"}), small)));
  EXPECT_EQ(said, "ok 65536") << "two files of 32 KiB";
  small.limits.file_size_max.bytes = 4096;
  EXPECT_EQ(
      verdict(run(plan(attempt({"call", std::to_string(SYS_truncate), "s:/tmp", "8192"}), small))),
      "errno EISDIR");
}

}  // namespace
}  // namespace fnrun::test
