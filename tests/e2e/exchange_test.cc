// --import-seccomp and --export-seccomp as a user runs them: documents on stdout, words on stderr,
// and a handler under what came out.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/e2e/fixture.h"

namespace fnrun::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using Strings = std::vector<std::string>;

// About what a container may: everything that the tests' handlers need.
constexpr const char* kProfile = R"({
  "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
  "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}],
  "syscalls": [
    {"names": ["access", "arch_prctl", "brk", "clock_gettime", "close", "execve", "exit",
               "exit_group", "fcntl", "fstat", "futex", "getcwd", "getegid", "geteuid", "getgid",
               "getdents64", "getpid", "getppid", "getrandom", "gettid", "getuid", "ioctl", "keyctl", "lseek", "madvise", "mmap",
               "mprotect", "munmap", "newfstatat", "openat", "poll", "ppoll", "pread64", "ptrace",
               "read", "readlink", "readv", "rseq", "rt_sigaction", "rt_sigprocmask",
               "rt_sigreturn", "sched_getaffinity", "sigaltstack", "set_robust_list", "set_tid_address", "sysinfo", "uname", "write",
               "writev"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["prlimit64"], "action": "SCMP_ACT_ALLOW",
     "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
  ]})";

class Exchange : public CommandTest {
 protected:
  [[nodiscard]] static Finished alone(const Strings& options) {
    Strings argv{bin_dir() + "/fnrun-supervise"};
    argv.insert(argv.end(), options.begin(), options.end());
    return run(argv);
  }
};

TEST_F(Exchange, AnImportedProfileIsAPolicyThatRunsAndTheFloorHolds) {
  const std::string profile = temp.file("profile.json", kProfile);
  const Finished imported = alone({"--import-seccomp", profile});
  ASSERT_EQ(imported.code, 0) << imported.err;
  const json policy = json::parse(imported.out);
  EXPECT_FALSE(policy.contains("extends")) << "flat";
  EXPECT_EQ(policy["limits"]["processes_max"], 64) << "all else is strict's";
  EXPECT_THAT(imported.err, HasSubstr("SCMP_ARCH_X32 is not taken over"));
  EXPECT_THAT(imported.err, HasSubstr("never by a policy: 1 call: ptrace"));
  EXPECT_THAT(imported.err, HasSubstr("opens 1 call: keyctl\n"));
  EXPECT_THAT(imported.err, HasSubstr("closes "));
  const std::string path = temp.file("imported.json", imported.out);
  EXPECT_EQ(alone({"--check", "--policy", path}).code, 0);
  const Strings options{"--policy", path};
  EXPECT_EQ(hostile({"forbidden_call", "none"}, options).out, "the call came back");
  EXPECT_EQ(hostile({"forbidden_call", "ptrace"}, options).code, 159);
}

TEST_F(Exchange, TheSwitchesOfThePolicyStayOrTheirOpeningIsSaid) {
  const std::string profile = temp.file("profile.json", kProfile);
  const Finished strict = alone({"--import-seccomp", profile});
  EXPECT_EQ(json::parse(strict.out)["seccomp"]["exec_once"], false);
  EXPECT_THAT(strict.err, Not(HasSubstr("write_execute")));
  const Finished paranoid = alone({"--import-seccomp", profile, "--policy", "paranoid"});
  ASSERT_EQ(paranoid.code, 0) << paranoid.err;
  EXPECT_EQ(json::parse(paranoid.out)["seccomp"]["exec_once"], true);
  EXPECT_THAT(paranoid.err, HasSubstr("which paranoid forbids and the profile does not"));
}

TEST_F(Exchange, AnExportedPolicyIsAProfileThatComesBack) {
  const Finished exported = alone({"--export-seccomp", "--policy", "strict"});
  ASSERT_EQ(exported.code, 0) << exported.err;
  EXPECT_EQ(exported.err, "");
  EXPECT_EQ(json::parse(exported.out)["defaultErrnoRet"], 38);
  const Finished again = alone({"--import-seccomp", temp.file("strict.json", exported.out)});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.err, Not(HasSubstr("opens")));
  EXPECT_THAT(again.err, Not(HasSubstr("closes")));
  EXPECT_THAT(alone({"--export-seccomp", "--policy", "paranoid"}).err,
              HasSubstr("exec_once is not in the profile"));
}

TEST_F(Exchange, NothingIsPrintedThatCannotBeRead) {
  const std::string profile = temp.file("profile.json", R"({"defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{"names": ["execve", "read"], "action": "SCMP_ACT_ALLOW"}]})");
  EXPECT_EQ(alone({"--import-seccomp", profile}).code, 0);
  const Finished ran = alone({"--import-seccomp", profile, "--policy", "paranoid"});
  EXPECT_EQ(ran.code, 78);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("exit_group"));
}

TEST_F(Exchange, WhatCannotBeImportedIsSaidWithItsPlace) {
  const std::string bad = temp.file("bad.json", R"({"defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRACE"}]})");
  const Finished ran = alone({"--import-seccomp", bad});
  EXPECT_EQ(ran.code, 78);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("bad.json:2: /syscalls/0/action: "));
  EXPECT_EQ(alone({"--import-seccomp", "/nonexistent"}).code, 2);
  EXPECT_EQ(alone({"--import-seccomp", "/dev/zero"}).code, 2) << "not read for ever";
}

TEST_F(Exchange, StandAlone) {
  for (const Strings& options :
       {Strings{"--export-seccomp", "--check"}, Strings{"--export-seccomp", "--", "/bin/true"},
        Strings{"--export-seccomp", "--import-seccomp", "f"},
        Strings{"--export-seccomp", "--lines"}, Strings{"--export-seccomp", "--report", "f"},
        Strings{"--export-seccomp", "--explain"}})
    EXPECT_EQ(alone(options).code, 2) << options[1];
  const Finished timed = alone({"--import-seccomp", temp.file("profile.json", kProfile),
                                "--timeout", "123ms", "--env", "A=b"});
  ASSERT_EQ(timed.code, 0) << timed.err;
  EXPECT_EQ(json::parse(timed.out)["limits"]["invoke_timeout_ms"], 123)
      << "what --policy says, changed";
  EXPECT_EQ(json::parse(timed.out)["environment"]["set"]["A"], "b");
}

}  // namespace
}  // namespace fnrun::test
