// The command with one event: handlers of every kind, ends of every kind, options, exit codes.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <csignal>

#include "tests/e2e/fixture.h"

namespace fnrun::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using Strings = std::vector<std::string>;

class Greeter : public CommandTest {};
class Exec : public CommandTest {};
class Ends : public CommandTest {};
class Words : public CommandTest {};
class View : public CommandTest {};

// ---- Handlers ----

TEST_F(Greeter, AnswersOnStdoutAndSaysNothingElse) {
  const Finished ran = run(supervise({"--quiet"}, {handler("greeter")}), "world");
  EXPECT_EQ(ran.out, "Hello, world!");
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.code, 0);
}

TEST_F(Greeter, AnswersInEveryLanguageUnderStrict) {
  for (const char* name : {"greeter", "greeter_static", "greeter.py", "greeter.mjs"}) {
    if (::access(handler(name).c_str(), F_OK) != 0) continue;  // Sanitizers: no static one.
    const Finished ran = run(supervise({"--policy", "strict"}, {handler(name)}), "world");
    EXPECT_EQ(ran.out, "Hello, world!") << name << ": " << ran.err;
    EXPECT_EQ(ran.code, 0) << name;
  }
}

TEST_F(Greeter, OfShellLinesAnswersWithoutItsLineEnd) {
  const Finished ran = run(supervise({"--protocol", "lines"}, {handler("greeter.sh")}), "world\n");
  EXPECT_EQ(ran.out, "Hello, world!");
  EXPECT_EQ(ran.code, 0) << ran.err;
}

TEST_F(Greeter, TakesAnEmptyEventAndAnyBytes) {
  EXPECT_EQ(run(supervise({}, {handler("greeter")}), "").out, "Hello, !");
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(run(supervise({}, {handler("greeter")}), bytes).out, "Hello, " + bytes + "!");
}

TEST_F(Exec, RunsFiltersAsTheyAre) {
  const Finished jq = run(supervise({"--protocol", "exec"}, {"jq", ".a"}), "{\"a\": 1}");
  EXPECT_EQ(jq.out, "1\n");
  EXPECT_EQ(jq.code, 0) << jq.err;
  EXPECT_EQ(run(supervise({"--protocol", "exec"}, {"cat"}), "one\ntwo").out, "one\ntwo");
}

TEST_F(Exec, StreamsBothWaysMoreThanAnyPipeHolds) {
  std::string much(5 << 20, '\0');
  for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * 7 + i / 4096);
  const Finished ran = run(supervise({"--protocol", "exec"}, {"cat"}), much);
  EXPECT_TRUE(ran.out == much) << ran.out.size() << " bytes; " << ran.err;
  EXPECT_EQ(ran.code, 0);
}

TEST_F(Exec, HandsOnTheHandlersExitCode) {
  for (const int code : {0, 3, 7, 255}) {
    const Strings leave{"sh", "-c", "cat; exit " + std::to_string(code)};
    const Finished ran = run(supervise({"--protocol", "exec"}, leave), "said");
    EXPECT_EQ(ran.code, code) << ran.err;
    EXPECT_EQ(ran.out, "said");
  }
}

TEST_F(Exec, HandlerThatLeavesItsStdinUnreadIsNoFailure) {
  const std::string much(1 << 20, 'x');
  const Finished ran = run(supervise({"--protocol", "exec"}, {"true"}), much);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "");
}

TEST_F(Exec, EnvironmentIsThePolicysAndTheOptionsAndNothingElse) {
  const Strings env{"--protocol", "exec", "--env", "GIVEN=a=b", "--env", "HOME=/elsewhere"};
  const Finished ran = run(supervise(env, {"env"}), "", {"FNRUN_SECRET=of the supervisor"});
  Strings lines;
  std::istringstream text(ran.out);
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  EXPECT_THAT(lines,
              testing::UnorderedElementsAre("GIVEN=a=b", "HOME=/elsewhere", "LANG=C.UTF-8",
                                            "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=/tmp"));
}

// ---- Ends ----

TEST_F(Ends, TimeoutIs124) {
  const Finished ran = hostile({"never_read"}, {"--timeout", "300ms"});
  EXPECT_EQ(ran.code, 124);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("timed_out"));
}

TEST_F(Ends, CrashBySignalIs128AndTheSignal) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGKILL, SIGTERM, SIGFPE})
    EXPECT_EQ(hostile({"crash_signal", std::to_string(signal)}).code, 128 + signal);
}

TEST_F(Ends, ForbiddenCallIs159) {
  for (const char* call : {"ptrace", "unshare", "int80"}) {
    const Finished ran = hostile({"forbidden_call", call}, {"--report", report_file()});
    EXPECT_EQ(ran.code, 128 + SIGSYS) << call;
    EXPECT_EQ(ran.out, "") << call;
    EXPECT_EQ(reports().back()["outcome"], "policy_violation") << call;
    // A foreign architecture's is the kernel's to kill for, whatever the host.
    const auto told = reports().back()["evidence"]["forbidden_call"];
    if (told["source"] == "user_notification") {
      EXPECT_EQ(told["name"], call);
    } else {
      EXPECT_EQ(told["source"], "kernel_log") << call;
    }
  }
  // The other side: without such a call the same program answers.
  EXPECT_EQ(hostile({"forbidden_call", "none"}).out, "the call came back");
}

TEST_F(Ends, ExitWithoutAnAnswerIs70WhateverTheExitCode) {
  for (const char* code : {"0", "3", "124"}) EXPECT_EQ(hostile({"leave", code}).code, 70) << code;
}

TEST_F(Ends, HandlerThatIsNotThereIs127) {
  for (const Strings& handler : {Strings{"/nonexistent/handler"}, Strings{"no-such-program"}}) {
    const Finished ran = run(supervise({}, handler));
    EXPECT_EQ(ran.code, 127);
    EXPECT_THAT(ran.err, HasSubstr(handler[0]));
  }
  const std::string script = temp.file("script", "#!/nonexistent/interpreter\n", 0755);
  EXPECT_EQ(run(supervise({}, {script})).code, 127);
}

TEST_F(Ends, HandlerThatCannotBeExecutedIs126) {
  EXPECT_EQ(run(supervise({}, {temp.file("plain", "#!/bin/sh\n", 0644)})).code, 126);
  EXPECT_EQ(run(supervise({}, {temp.folder("folder")})).code, 126);
  // An ELF file for another machine (AArch64), as far as its header goes.
  std::string elf(
      "\x7f"
      "ELF\x02\x01\x01",
      7);
  elf += std::string(9, '\0');
  elf += std::string("\x02\x00\xb7\x00\x01\x00\x00\x00", 8);
  elf += std::string(40, '\0');
  const Finished foreign = run(supervise({}, {temp.file("foreign", elf, 0755)}));
  EXPECT_EQ(foreign.code, 126) << foreign.err;
}

TEST_F(Ends, BadPolicyIs78AndItsPlaceIsNamed) {
  const std::string bad =
      temp.file("bad.json", "{\n  \"version\": 1,\n  \"limits\": {\"invoke_timeout_ms\": -1}\n}\n");
  const Finished ran = run(supervise({"--policy", bad}, {handler("greeter")}), "world");
  EXPECT_EQ(ran.code, 78);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, AllOf(HasSubstr(bad + ":3"), HasSubstr("/limits/invoke_timeout_ms")));
  EXPECT_EQ(run(supervise({"--policy", "nosuch"}, {handler("greeter")})).code, 78);
}

TEST_F(Ends, EventOverTheLimitIs65AndNoHandlerSeesIt) {
  const std::string over(6291556 + 1, 'x');
  const Finished ran = run(supervise({"--protocol", "exec"}, {"cat"}), over);
  EXPECT_EQ(ran.code, 65) << ran.err;
  EXPECT_EQ(ran.out, "");
}

TEST_F(Ends, UsageIs2) {
  const std::string greeter = handler("greeter");
  for (const Strings& options :
       {Strings{"--no-such-option"}, Strings{"--timeout", "soon"}, Strings{"--lines", "--frames"},
        Strings{"--on-error", "result"}, Strings{"--env", "1=2"}, Strings{"--bind", "/nonexistent"},
        Strings{"--protocol", "morse"}, Strings{"stray"}}) {
    const Finished ran = run(supervise(options, {greeter}), "world");
    EXPECT_EQ(ran.code, 2) << options[0];
    EXPECT_EQ(ran.out, "") << options[0];
    EXPECT_THAT(ran.err, HasSubstr("fnrun-supervise: ")) << options[0];
  }
  EXPECT_EQ(run({bin_dir() + "/fnrun-supervise"}).code, 2);
  EXPECT_EQ(run(supervise({}, {})).code, 2);
}

TEST_F(Ends, HandlersErrorComesBeforeAnyInputIsTaken) {
  Command command(supervise({}, {"/nonexistent/handler"}));
  // stdin stays open and empty: a command that waited for it would wait for ever.
  ASSERT_TRUE(command.wait_for_stderr("/nonexistent/handler"));
  EXPECT_EQ(command.finish().code, 127);
}

TEST_F(Ends, TerminationIs143AndLeavesNoProcess) {
  const std::string marker = "fnrun-e2e-marker-" + std::to_string(::getpid());
  Command command(supervise({}, {handler("hostile"), "fork_and_hold", marker}));
  command.feed("event");
  command.close_stdin();
  ASSERT_TRUE(command.wait_for_stderr("holding"));
  EXPECT_GT(processes_marked(marker).size(), 1U);  // The control: they can be found.
  command.signal(SIGTERM);
  const Finished ran = command.finish();
  EXPECT_EQ(ran.code, 128 + SIGTERM) << ran.err;
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(processes_marked(marker), IsEmpty());
}

TEST_F(Ends, TerminationWhileInputIsAwaitedIs143) {
  Command command(supervise({}, {handler("hostile"), "never_read"}));
  ASSERT_TRUE(command.wait_for_stderr("not reading"));
  command.signal(SIGTERM);
  EXPECT_EQ(command.finish().code, 128 + SIGTERM);
}

// ---- Words ----

TEST_F(Words, HelpHasExamplesAndExitCodes) {
  const Finished ran = run({bin_dir() + "/fnrun-supervise", "--help"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");
  for (const char* word : {"Usage:", "Examples:", "Exit codes:", "124", "--policy", "--report"})
    EXPECT_THAT(ran.out, HasSubstr(word));
}

TEST_F(Words, VersionIsOneLine) {
  const Finished ran = run({bin_dir() + "/fnrun-supervise", "--version"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, testing::MatchesRegex("fnrun-supervise [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Words, CheckAndExplainRunNothing) {
  // A handler that would be heard: it writes on stderr as soon as it runs.
  const Strings loud{handler("hostile"), "never_read"};
  const Finished check = run(supervise({"--check"}, loud), "event");
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_THAT(check.out, HasSubstr("ok"));
  EXPECT_THAT(check.err, Not(HasSubstr("not reading")));
  const Finished explain = run(supervise({"--explain"}, loud), "event");
  EXPECT_EQ(explain.code, 0) << explain.err;
  EXPECT_THAT(explain.err, Not(HasSubstr("not reading")));
  for (const char* layer :
       {"user_namespace", "pid_namespace", "mount_namespace", "network_namespace", "private_root",
        "rlimits", "no_capabilities", "no_new_privs", "seccomp", "tripwire-mounts", "/usr", "/tmp"})
    EXPECT_THAT(explain.out, HasSubstr(layer));
  EXPECT_EQ(run({bin_dir() + "/fnrun-supervise", "--check"}).code, 0);
  EXPECT_EQ(run(supervise({"--check"}, {"/nonexistent/handler"})).code, 127);
}

TEST_F(Words, ReportIsOneObjectForEachCall) {
  const Strings options{"--lines", "--report", report_file(), "--on-error", "result"};
  const Finished ran =
      run(supervise(options, {handler("hostile"), "count_calls"}), "a\ncrash\nb\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto all = reports();
  ASSERT_EQ(all.size(), 3U);
  const Strings outcomes{"ok", "crashed", "ok"};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const nlohmann::json& report = all[i];
    EXPECT_EQ(report["sequence"], i + 1);
    EXPECT_EQ(report["outcome"], outcomes[i]);
    EXPECT_GT(report["invoke_us"], 0);
    EXPECT_EQ(report["handler"], handler("hostile"));
    EXPECT_EQ(report["policy"], "strict");
    EXPECT_TRUE(report["usage"].contains("source"));
    EXPECT_TRUE(report["degraded"].is_object());
    EXPECT_THAT(report["layers"].get<Strings>(), testing::Contains("seccomp"));
    EXPECT_GT(report["sandbox"]["pid"], 0);
  }
  EXPECT_GT(all[2]["start_us"], 0);  // A new sandbox served it.
  EXPECT_EQ(all[1]["evidence"]["wait_status"]["name"], "SIGABRT");
  EXPECT_NE(all[2]["sandbox"]["pid"], all[1]["sandbox"]["pid"]);
}

TEST_F(Words, ReportThatCannotBeWrittenIsSaidBeforeAnythingRuns) {
  const Strings options{"--report", (temp.path() / "no/such/folder").string()};
  const Finished ran = run(supervise(options, {handler("hostile"), "never_read"}), "event");
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, Not(HasSubstr("not reading")));
}

TEST_F(Words, HandlersStderrIsEscapedAndTagged) {
  const Finished ran = hostile({"stderr_escapes"});
  EXPECT_EQ(ran.out, "written");
  EXPECT_THAT(ran.err, HasSubstr("[handler 1] \\x1b[31mred\\x1b[0m\\x0d\\x07 and \\xff\n"
                                 "[handler 1] second line\n"));
  EXPECT_EQ(ran.err.find('\x1b'), std::string::npos);
  EXPECT_THAT(hostile({"stderr_escapes"}, {"--quiet"}).err, IsEmpty());
}

TEST_F(Words, FloodOfStderrIsLimitedAndTheCallStillAnswered) {
  const Finished ran = hostile({"stderr_flood"}, {"--report", report_file()});
  EXPECT_EQ(ran.out, "flooded") << ran.err;
  const nlohmann::json log = reports().at(0)["stderr"];
  // However many seconds it took: each line was either printed or counted as dropped.
  EXPECT_GT(log["lines_dropped"], 0);
  EXPECT_LE(log["lines_emitted"].get<int>() + log["lines_dropped"].get<int>(), 20'000);
  EXPECT_THAT(ran.err, HasSubstr("[handler 1] flood 0\n"));
  EXPECT_LT(std::count(ran.err.begin(), ran.err.end(), '\n'), 20'000);
}

TEST_F(Words, ColourNeedsATerminalAndNoNoColor) {
  // script(1) gives the command a terminal; what it prints then is the command's.
  const std::string command = bin_dir() + "/fnrun-supervise -- /nonexistent/handler";
  const Strings on_terminal{"script", "-qec", command, "/dev/null"};
  const Finished plain = run(supervise({}, {"/nonexistent/handler"}));
  EXPECT_EQ(plain.err.find('\x1b'), std::string::npos);
  const Finished coloured = run(on_terminal);
  if (coloured.code == 127 && coloured.out.empty()) GTEST_SKIP() << "script(1) is not installed";
  EXPECT_THAT(coloured.out, HasSubstr("\x1b[1mfnrun-supervise:"));
  EXPECT_THAT(run(on_terminal, "", {"NO_COLOR=1"}).out, HasSubstr("fnrun-supervise:"));
  EXPECT_EQ(run(on_terminal, "", {"NO_COLOR=1"}).out.find('\x1b'), std::string::npos);
}

// ---- View ----

TEST_F(View, BoundFileIsThereReadOnlyAndNotOtherwise) {
  const std::string file = temp.file("shown", "of the host", 0666);
  EXPECT_NE(run(supervise({"--protocol", "exec"}, {"cat", file})).out, "of the host");
  // The rules are those of policy files: /tmp, /proc and /dev inside are the sandbox's own, and the
  // host's /proc and / are not shown.
  for (const std::string& bad :
       {file, std::string("/proc:/x"), std::string("/:/x"), file + ":/x//y"})
    EXPECT_EQ(run(supervise({"--protocol", "exec", "--bind", bad}, {"true"})).code, 2) << bad;
  const Strings elsewhere{"--protocol", "exec", "--bind", file + ":/data/here"};
  EXPECT_EQ(run(supervise(elsewhere, {"cat", "/data/here"})).out, "of the host");
  const Strings write{"sh", "-c", "echo changed > /data/here || echo refused"};
  EXPECT_EQ(run(supervise(elsewhere, write)).out, "refused\n");
  EXPECT_EQ(run({"cat", file}).out, "of the host");
}

}  // namespace
}  // namespace fnrun::test
