// The text form: what is refused, where the error points, and that writing reads back equal.
#include <gmock/gmock.h>

#include "policy_test_support.h"

namespace fnrun::policies {
namespace {

using ::testing::HasSubstr;

TEST(PolicyJson, MinimalDocumentIsTheStrictestPolicy) {
  EXPECT_EQ(parsed(R"({"version": 1})"), Policy{});
}

TEST(PolicyJson, DefaultPolicyRoundTrips) {
  EXPECT_EQ(parsed(to_json(Policy{})), Policy{});
}

TEST(PolicyJson, WritingIsDeterministicAndKeepsTheDocumentedOrder) {
  const std::string text = to_json(Policy{});
  EXPECT_EQ(text, to_json(parsed(text)));
  std::size_t last = 0;
  for (const char* key : {"\"version\"", "\"description\"", "\"limits\"", "\"filesystem\"",
                          "\"environment\"", "\"identity\"", "\"working_directory\"", "\"reuse\"",
                          "\"warning\"", "\"seccomp\"", "\"prefer\""}) {
    const std::size_t at = text.find(std::string("\n  ") + key);
    ASSERT_NE(at, std::string::npos) << key;
    EXPECT_GT(at, last) << key;
    last = at;
  }
}

TEST(PolicyJson, EverySectionRoundTrips) {
  const std::string text = with_version(R"(
    "description": "é \" \\ / \u0001",
    "limits": {"invoke_timeout_ms": 1, "processes_max": 4194303, "file_size_max_bytes": 0},
    "filesystem": {"read_only": {"/a~b/c d": {"source": "/x", "optional": true, "executable": false,
                                             "why": "w"}},
                   "dangerously_exec_from_tmp": "reason", "dev_shm": "semaphores"},
    "environment": {"set": {"A": "", "_b9": "=\n"}, "pass": {"TZ": "local time"}},
    "identity": {"hostname": "a-1", "uid": 1, "gid": 65533},
    "working_directory": "/",
    "reuse": {"mode": "clean", "calls_max": 7, "age_max_ms": 8, "freeze_idle": true},
    "warning": {"before_ms": 9, "signal": "SIGUSR1"},
    "seccomp": {"default": "errno:3001", "rules": {}},
    "prefer": {"cgroup": "a", "landlock": "b", "time_namespace": "c", "memory": "d", "pids": "e",
               "cpu": "f", "io": "g", "cpuset": "h"})");
  const Policy policy = parsed(text);
  EXPECT_EQ(policy.filesystem.read_only.at(0).source, "/x");
  EXPECT_FALSE(policy.filesystem.read_only.at(0).executable);
  EXPECT_EQ(policy.filesystem.dev_shm, "semaphores");
  EXPECT_EQ(policy.environment.set.at("_b9"), "=\n");
  EXPECT_EQ(policy.identity.gid, 65'533U);
  EXPECT_EQ(policy.reuse, (Reuse{Reuse::Mode::kClean, 7, std::chrono::milliseconds(8), true}));
  EXPECT_EQ(policy.warning.before.count(), 9);
  EXPECT_EQ(policy.warning.signal, SIGUSR1);
  EXPECT_EQ(policy.seccomp.default_action.os_errno, 3001);
  EXPECT_TRUE(policy.seccomp.rules.empty());
  EXPECT_EQ(policy.preferred.size(), policies::kLayers.size());
  EXPECT_EQ(parsed(to_json(policy)), policy);
}

TEST(PolicyJson, EveryLimitLandsInItsOwnMember) {
  const Limits limits = parsed(with_version(R"("limits": {
    "invoke_timeout_ms": 200001, "start_timeout_ms": 200002, "kill_timeout_ms": 200003,
    "request_max_bytes": 200004, "response_max_bytes": 200005, "tmp_max_bytes": 200006,
    "tmp_inodes_max": 200007, "open_files_max": 200008, "processes_max": 200009,
    "file_size_max_bytes": 200010, "stack_max_bytes": 200011, "stderr_line_max_bytes": 200012,
    "stderr_lines_per_second_max": 200013, "memory_max_bytes": 4200014,
    "memory_high_bytes": 200015, "memory_swap_max_bytes": 200016, "memory_oom_group": false,
    "cpu_max_percent": 200017, "cpu_weight": 9018, "cpu_time_max_ms": 200019, "cpus": "0-3,6",
    "io_read_per_second_max_bytes": 200020, "io_write_per_second_max_bytes": 200021,
    "io_reads_per_second_max": 200022, "io_writes_per_second_max": 200023})"))
                            .limits;
  const Limits expected = {.invoke_timeout = std::chrono::milliseconds(200'001),
                           .start_timeout = std::chrono::milliseconds(200'002),
                           .kill_timeout = std::chrono::milliseconds(200'003),
                           .request_max = {200'004},
                           .response_max = {200'005},
                           .tmp_max = {200'006},
                           .tmp_inodes_max = 200'007,
                           .open_files_max = 200'008,
                           .processes_max = 200'009,
                           .memory_max = {4'200'014},
                           .memory_high = {200'015},
                           .memory_swap_max = {200'016},
                           .memory_oom_group = false,
                           .cpu_max_percent = 200'017,
                           .cpu_weight = 9'018,
                           .cpu_time_max = std::chrono::milliseconds(200'019),
                           .cpus = "0-3,6",
                           .io_read_per_second_max = {200'020},
                           .io_write_per_second_max = {200'021},
                           .io_reads_per_second_max = 200'022,
                           .io_writes_per_second_max = 200'023,
                           .file_size_max = {200'010},
                           .stack_max = {200'011},
                           .stderr_line_max = {200'012},
                           .stderr_lines_per_second_max = 200'013};
  EXPECT_EQ(limits, expected);
}

TEST(PolicyJson, UnknownKeyIsAnErrorThatNamesTheNearestAndTheAllowed) {
  const PolicyError error = error_of("{\n\"version\": 1,\n\"limits\": {\n\"process_max\": 1}}");
  EXPECT_EQ(error.pointer, "/limits/process_max");
  EXPECT_EQ(error.line, 4U);
  EXPECT_THAT(error.message, HasSubstr("did you mean \"processes_max\"?"));
  EXPECT_THAT(error.message, HasSubstr("Allowed here: invoke_timeout_ms, "));
}

TEST(PolicyJson, KeyGivenTwiceIsAnErrorThatNamesTheFirst) {
  const PolicyError error = error_of("{\"version\": 1,\n\"prefer\": {},\n\n\"prefer\": {}}");
  EXPECT_EQ(error.pointer, "/prefer");
  EXPECT_EQ(error.line, 4U);
  EXPECT_THAT(error.message, HasSubstr("first on line 2"));
}

TEST(PolicyJson, LineOfANumberIsItsOwnThoughTheLexerReadsOn) {
  EXPECT_EQ(error_of("{\"version\": 1, \"limits\": {\"processes_max\": 0\n\n}}").line, 1U);
  EXPECT_EQ(error_of("{\"version\": 1, \"limits\": {\"processes_max\":\n-1\n}}").line, 2U);
}

TEST(PolicyJson, PointerEscapesSlashAndTilde) {
  EXPECT_EQ(error_of(with_version(R"("filesystem": {"read_only": {"/a~b": 1}})")).pointer,
            "/filesystem/read_only/~1a~0b");
}

TEST(PolicyJson, EveryErrorIsOneLineWhateverTheTextHeld) {
  const PolicyError error = error_of("{\"version\": 1, \"a\\nb\\u001b[2J\": 1}");
  EXPECT_EQ(error.pointer, "/a\nb\x1b[2J");
  EXPECT_EQ(error.to_string().find_first_of("\n\x1b"), std::string::npos) << error.to_string();
}

TEST(PolicyJson, ErrorTextNamesFileLinePointerAndMessage) {
  EXPECT_EQ((PolicyError{"a.json", "/limits", 3, "is bad"}.to_string()),
            "a.json:3: /limits: is bad");
  EXPECT_EQ((PolicyError{"", "/limits", 3, "is bad"}.to_string()), "line 3: /limits: is bad");
  EXPECT_EQ((PolicyError{"a.json", "", 0, "is bad"}.to_string()), "a.json: is bad");
  EXPECT_EQ((PolicyError{"", "", 0, "is bad"}.to_string()), "is bad");
}

TEST(PolicyJson, ValueOfAnErrorThrowsItsText) {
  try {
    (void)parse_policy("{}").value();
    FAIL() << "did not throw";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "line 1: the key \"version\" is missing");
  }
}

struct Broken {
  const char* name;
  const char* members;  // Of a document of one line that has its version.
  const char* pointer;
  const char* message;  // A part of it.
};
void PrintTo(const Broken& broken, std::ostream* out) {
  *out << broken.name;
}

class PolicyJsonRefuses : public ::testing::TestWithParam<Broken> {};

TEST_P(PolicyJsonRefuses, WithItsPointerAndWhatWouldBeRight) {
  const PolicyError error = error_of(with_version(GetParam().members));
  EXPECT_EQ(error.pointer, GetParam().pointer) << error.to_string();
  EXPECT_EQ(error.line, 1U);
  EXPECT_THAT(error.message, HasSubstr(GetParam().message));
}

constexpr char kPaths[] = "/filesystem/read_only";
const Broken kBroken[] = {
    {"SchemaKeyOfWrongType", R"("$schema": 1)", "/$schema", "must be a string, not 1"},
    {"DescriptionOfWrongType", R"("description": [])", "/description", "not an array"},
    {"SectionOfWrongType", R"("limits": [])", "/limits", "must be an object, not an array"},
    {"NullSection", R"("limits": null)", "/limits", "must be an object, not null"},
    {"LimitAsText", R"("limits": {"processes_max": "1"})", "/limits/processes_max",
     "must be a whole number, not \"1\""},
    {"LimitWithFraction", R"("limits": {"processes_max": 1.5})", "/limits/processes_max",
     "from 1 to 4194303, not 1.5"},
    {"LimitWithExponent", R"("limits": {"processes_max": 1e3})", "/limits/processes_max",
     "whole number from 1 to 4194303, not 1e3"},
    {"LimitNegative", R"("limits": {"processes_max": -1})", "/limits/processes_max", "not -1"},
    {"LimitZero", R"("limits": {"processes_max": 0})", "/limits/processes_max", "not 0"},
    {"LimitBeyond64Bits", R"("limits": {"processes_max": 18446744073709551616})",
     "/limits/processes_max", "not 18446744073709551616"},
    {"LimitNull", R"("limits": {"processes_max": null})", "/limits/processes_max", "not null"},
    {"TmpWithoutBound", R"("limits": {"tmp_max_bytes": 0})", "/limits/tmp_max_bytes", "from 4096"},
    {"PathWithoutReason", R"("filesystem": {"read_only": {"/usr": {}}})",
     "/filesystem/read_only/~1usr", "\"why\" is missing"},
    {"PathWithEmptyReason", R"("filesystem": {"read_only": {"/usr": {"why": ""}}})",
     "/filesystem/read_only/~1usr/why", "must say why"},
    {"PathOptionalAsText", R"("filesystem": {"read_only": {"/a": {"why": "w", "optional": "no"}}})",
     "/filesystem/read_only/~1a/optional", "true or false"},
    {"PathWithUnknownKey", R"("filesystem": {"read_only": {"/a": {"why": "w", "mode": "rw"}}})",
     "/filesystem/read_only/~1a/mode", "Allowed here: source, optional, executable, why"},
    {"EmptyReasonForTmp", R"("filesystem": {"dangerously_exec_from_tmp": ""})",
     "/filesystem/dangerously_exec_from_tmp", "must say why"},
    {"TrueIsNoReason", R"("filesystem": {"dangerously_exec_from_tmp": true})",
     "/filesystem/dangerously_exec_from_tmp", "must be a string, not true"},
    {"EmptyReasonForShm", R"("filesystem": {"dev_shm": ""})", "/filesystem/dev_shm",
     "must say why"},
    {"VariableNameWithDigit", R"("environment": {"set": {"1A": ""}})", "/environment/set/1A",
     "first no digit"},
    {"VariableNameEmpty", R"("environment": {"set": {"": ""}})", "/environment/set/", "named by"},
    {"VariableNameWithEquals", R"("environment": {"pass": {"A=B": "w"}})", "/environment/pass/A=B",
     "named by"},
    {"VariableSetAndPassed", R"("environment": {"set": {"A": ""}, "pass": {"A": "w"}})",
     "/environment/pass/A", "in \"set\" as well"},
    {"VariablePassedWithoutReason", R"("environment": {"pass": {"A": ""}})", "/environment/pass/A",
     "must say why"},
    {"VariableWithNul", R"("environment": {"set": {"A": "a\u0000b"}})", "/environment/set/A",
     "\\u0000"},
    {"HostnameEmpty", R"("identity": {"hostname": ""})", "/identity/hostname", "1 to 63"},
    {"HostnameWithCapital", R"("identity": {"hostname": "Host"})", "/identity/hostname", "a-z"},
    {"RootUser", R"("identity": {"uid": 0})", "/identity/uid", "root"},
    {"RootGroup", R"("identity": {"gid": 0})", "/identity/gid", "root"},
    {"NobodyUser", R"("identity": {"uid": 65534})", "/identity/uid", "1 to 65533"},
    {"RelativeWorkingDirectory", R"("working_directory": "tmp")", "/working_directory", "absolute"},
    {"EmptyWorkingDirectory", R"("working_directory": "")", "/working_directory", "absolute"},
    {"UnknownReuse", R"("reuse": {"mode": "sometimes"})", "/reuse/mode", "clean"},
    {"ReuseOfNothing", R"("reuse": {"mode": "never", "freeze_idle": true})", "/reuse",
     "never between two"},
    {"WarningThatNobodyHears", R"("warning": {"signal": "SIGKILL"})", "/warning/signal",
     "act upon"},
    {"UnknownLayer", R"("prefer": {"seccomp": "w"})", "/prefer/seccomp",
     "Allowed here: cgroup, landlock, time_namespace"},
    {"LayerWithoutReason", R"("prefer": {"cgroup": ""})", "/prefer/cgroup", "must say why"},
    {"ExtendsFromMemory", R"("extends": "strict")", "/extends", "does not come from a file"},
    {"ExtendsNothing", R"("extends": "")", "/extends", "name or the path"},
    {"NullThatRemovesNothing", R"("prefer": {"cgroup": null})", "/prefer/cgroup",
     "check the spelling"},
};
INSTANTIATE_TEST_SUITE_P(, PolicyJsonRefuses, ::testing::ValuesIn(kBroken),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(PolicyJson, VersionIsRequiredAndMustBeOne) {
  EXPECT_THAT(error_of("{}").message, HasSubstr("\"version\" is missing"));
  EXPECT_EQ(error_of(R"({"version": 2})").pointer, "/version");
  EXPECT_EQ(error_of(R"({"version": "1"})").pointer, "/version");
}

TEST(PolicyJson, PathsThatEscapeOrHideAreRefused) {
  for (const char* path :
       {"", "usr", "/", "/proc", "/proc/self", "/dev", "/dev/null", "/tmp", "/tmp/x", "/usr/",
        "//usr", "/usr//lib", "/usr/../etc", "/usr/..", "/.", "/usr/./lib", "/a\\nb"}) {
    const std::string text = with_version(std::string(R"("filesystem": {"read_only": {")") + path +
                                          R"(": {"why": "w"}}})");
    EXPECT_THAT(error_of(text).pointer, HasSubstr(kPaths)) << path;
  }
  for (const char* path :
       {"/procs", "/devel", "/tmpfs", "/usr/..a", "/usr/.hidden", "/sys/devices"})
    parsed(with_version(std::string(R"("filesystem": {"read_only": {")") + path +
                        R"(": {"why": "w"}}})"));
  for (const char* path : {"/", "/proc", "/proc/sys", "/dev/sda", "a", "/a/../b"}) {
    const std::string text =
        with_version(std::string(R"("filesystem": {"read_only": {"/a": {"source": ")") + path +
                     R"(", "why": "w"}}})");
    EXPECT_EQ(error_of(text).pointer, std::string(kPaths) + "/~1a/source") << path;
  }
}

TEST(PolicyJson, WhatIsNotJsonIsRefusedWithItsPlace) {
  EXPECT_THAT(error_of("").message, HasSubstr("not JSON"));
  EXPECT_THAT(error_of("\xff\xfe").message, HasSubstr("not JSON"));
  EXPECT_THAT(error_of("{\"version\": 1} x").message, HasSubstr("not JSON"));
  EXPECT_THAT(error_of("// comment\n{}").message, HasSubstr("not JSON"));
  EXPECT_THAT(error_of(with_version(R"("description": ")"
                                    "\xc3\x28\""))
                  .message,
              HasSubstr("not JSON"));
  EXPECT_THAT(error_of(with_version(R"("limits": {"processes_max": 1e999})")).pointer,
              "/limits/processes_max");
  const PolicyError error = error_of("{\n\"version\": 1,\n\"limits\": {\"processes_max\": [1, }}");
  EXPECT_EQ(error.line, 3U);
  EXPECT_EQ(error.pointer, "/limits/processes_max/1");
  for (const char* text : {"[]", "1", "\"a\"", "null", "true"})
    EXPECT_THAT(error_of(text).message, HasSubstr("must be an object")) << text;
}

TEST(PolicyJson, NestingIsBounded) {
  const auto nested = [](int depth) {
    return with_version("\"limits\": " + std::string(std::size_t(depth), '[') +
                        std::string(std::size_t(depth), ']'));
  };
  EXPECT_THAT(error_of(nested(kPolicyDepthMax - 1)).message, HasSubstr("must be an object"));
  EXPECT_THAT(error_of(nested(kPolicyDepthMax)).message, HasSubstr("nested deeper than 16"));
  EXPECT_THAT(error_of(std::string(kPolicyTextMax, '[')).message, HasSubstr("nested deeper"));
}

TEST(PolicyJson, TextIsBoundedAtItsLastByte) {
  const std::string text = R"({"version": 1})";
  parsed(text + std::string(kPolicyTextMax - text.size(), ' '));
  EXPECT_THAT(error_of(text + std::string(kPolicyTextMax - text.size() + 1, ' ')).message,
              HasSubstr("1048576 bytes at most"));
}

TEST(PolicyJson, ValuesAreBoundedInNumber) {
  std::string many = "[";
  for (int i = 0; i < 70'000; ++i) many += "1,";
  EXPECT_THAT(error_of(with_version("\"limits\": " + many + "1]")).message,
              HasSubstr("65536 values at most"));
}

TEST(PolicyJson, StringsAreBounded) {
  const auto description = [](std::size_t size) {
    return with_version("\"description\": \"" + std::string(size, 'x') + '"');
  };
  parsed(description(4'096));
  EXPECT_EQ(error_of(description(4'097)).pointer, "/description");
  EXPECT_THAT(error_of(description(70'000)).message, HasSubstr("65536 bytes at most"));
  EXPECT_THAT(error_of(with_version('"' + std::string(5'000, 'k') + "\": 1")).message,
              HasSubstr("4096 bytes at most"));
}

TEST(PolicyJson, BytesThatAreNoUtf8AreReplacedInWriting) {
  Policy policy;
  policy.description = "a\xff";
  EXPECT_EQ(parsed(to_json(policy)).description, "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace fnrun::policies
