// The service's log in its three forms. journald is a socket of the test's own, at its fixed path,
// in a mount namespace of a child's.
#include "service_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "isolation/unique_fd.h"

namespace fnrun::tools {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr LogRecord kCall{.level = LogLevel::kWarning,
                          .kind = LogKind::kInvocation,
                          .message = "no answer within 10 s",
                          .function = "greet",
                          .request_id = "r-1",
                          .invocation = 7,
                          .sandbox_pid = 4242,
                          .outcome = "timed_out"};
constexpr LogRecord kHostile{.kind = LogKind::kHandlerLine,
                             .message = "a\nPRIORITY=0\x1b[2J\xff\"\\",
                             .function = "x\ny",
                             .request_id = "\"},{\""};
constexpr auto kNow = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'000'042));

TEST(ServiceLogText, TellsWhoSpeaks) {
  EXPECT_EQ(to_text({.message = "ready"}, false), "fnrun-supervise: ready");
  EXPECT_EQ(to_text({.message = "ready"}, true), "\x1b[1mfnrun-supervise:\x1b[0m ready");
  EXPECT_EQ(to_text(kCall, false), "fnrun-supervise: [greet 7] timed_out: no answer within 10 s");
  EXPECT_EQ(to_text({.kind = LogKind::kHandlerLine, .message = "hm"}, true), "[handler] hm");
  EXPECT_EQ(to_text({.kind = LogKind::kHandlerLine, .message = "hm", .invocation = 3}, true),
            "[handler 3] hm");
}

TEST(ServiceLogText, IsOneLineWhateverAHandlerSays) {
  EXPECT_EQ(to_text(kHostile, false), "[x\\x0ay] a\\x0aPRIORITY=0\\x1b[2J\\xff\"\\");
}

TEST(ServiceLogJson, HasWhatIsKnown) {
  EXPECT_EQ(to_json(kCall, kNow),
            R"({"time":"1970-01-01T00:16:40.042Z","level":"warning","kind":"invocation",)"
            R"("message":"no answer within 10 s","function":"greet","request_id":"r-1",)"
            R"("invocation":7,"sandbox_pid":4242,"outcome":"timed_out"})");
  EXPECT_EQ(to_json({.message = "ready"}, kNow),
            R"({"time":"1970-01-01T00:16:40.042Z","level":"info","kind":"service",)"
            R"("message":"ready"})");
}

TEST(ServiceLogJson, IsOneObjectWhateverAHandlerSays) {
  const std::string line = to_json(kHostile, kNow);
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_EQ(parsed["message"], "a\\x0aPRIORITY=0\\x1b[2J\\xff\"\\");
  EXPECT_EQ(parsed["request_id"], "\"},{\"");
  EXPECT_EQ(parsed.size(), 6U);
}

TEST(ServiceLogJson, IsBounded) {
  const std::string endless(10'000'000, '\xff');
  EXPECT_LT(to_json({.message = endless}, kNow).size(), kLogTextMax * 6);
}

TEST(ServiceLogJournal, HasTheFieldsThatFiltersName) {
  EXPECT_THAT(to_journal(kCall),
              ElementsAre("MESSAGE=no answer within 10 s", "PRIORITY=4",
                          "MESSAGE_ID=a177186490744e9b91ada2e5e0c547b7",
                          "SYSLOG_IDENTIFIER=fnrun-supervise", "FNRUN_FUNCTION=greet",
                          "FNRUN_REQUEST_ID=r-1", "FNRUN_INVOCATION=7", "FNRUN_SANDBOX_PID=4242",
                          "FNRUN_OUTCOME=timed_out"));
}

TEST(ServiceLogJournal, HasNoFieldThatAHandlerMadeUp) {
  const auto fields = to_journal(kHostile);
  EXPECT_THAT(fields, Contains(StartsWith("MESSAGE=a\\x0aPRIORITY=0")));
  EXPECT_THAT(fields, Contains("PRIORITY=6"));
  // A zero would end a field in the queue.
  using namespace std::string_view_literals;
  for (const std::string& field : to_journal({.message = "a\0PRIORITY=0"sv}))
    EXPECT_EQ(field.find('\0'), std::string::npos);
}

TEST(ServiceLogForm, IsTheJournalsWhereStderrLeadsThere) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const isolation::UniqueFd reader(pipe[0]);
  const isolation::UniqueFd writer(pipe[1]);
  struct stat info {};
  ASSERT_EQ(::fstat(writer.get(), &info), 0);
  const std::string device = std::to_string(info.st_dev);
  const std::string inode = std::to_string(info.st_ino);
  EXPECT_EQ(choose_log_form(writer.get(), device + ":" + inode), LogForm::kJournal);
  // Inherited from a service, and stderr redirected since.
  EXPECT_EQ(choose_log_form(writer.get(), device + ":" + inode + "0"), LogForm::kJson);
  for (const std::string_view nothing : {"", ":", "x:y"})
    EXPECT_EQ(choose_log_form(writer.get(), nothing), LogForm::kJson);
}

TEST(ServiceLogForm, IsTextOnATerminal) {
  const isolation::UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(master);
  ASSERT_EQ(::unlockpt(master.get()), 0);
  std::array<char, 64> name{};
  ASSERT_EQ(::ptsname_r(master.get(), name.data(), name.size()), 0);
  const isolation::UniqueFd terminal(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_EQ(choose_log_form(terminal.get(), ""), LogForm::kText);
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 65'536> bytes{};
  ssize_t n = 0;
  while ((n = ::read(fd, bytes.data(), bytes.size())) > 0)
    text.append(bytes.data(), static_cast<std::size_t>(n));
  return text;
}

TEST(ServiceLog, WritesEachRecordOnALine) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const isolation::UniqueFd reader(pipe[0]);
  isolation::UniqueFd writer(pipe[1]);
  {
    ServiceLog log(LogForm::kText, writer.get());
    log.write({.message = "one"});
    log.write({.message = "two"});
  }
  writer.reset();
  EXPECT_EQ(read_all(reader.get()), "fnrun-supervise: one\nfnrun-supervise: two\n");
}

// Nobody reads the pipe until all is written: writing must come back all the same, and what was
// left out is told in a record of the same form.
TEST(ServiceLog, NeverWaitsAndCountsWhatItDropped) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const isolation::UniqueFd reader(pipe[0]);
  isolation::UniqueFd writer(pipe[1]);
  const std::string text(kLogTextMax, 'x');
  std::size_t lost = 0;
  std::string seen;
  {
    ServiceLog log(LogForm::kJson, writer.get());
    constexpr int kMoreThanIsKept = 1'000;
    for (int i = 0; i < kMoreThanIsKept; ++i) log.write({.message = text});
    lost = log.lost();
    EXPECT_GT(lost, 0U);
    std::array<char, 65'536> bytes{};
    const std::string last = std::to_string(lost) + " log records dropped: nobody read them";
    while (seen.find(last) == std::string::npos) {
      const ssize_t n = ::read(reader.get(), bytes.data(), bytes.size());
      ASSERT_GT(n, 0);
      seen.append(bytes.data(), static_cast<std::size_t>(n));
    }
  }
  const auto parsed = nlohmann::json::parse(seen.substr(seen.rfind("{\"time")));
  EXPECT_EQ(parsed["level"], "warning");
}

// What journald would get of one record; nothing where a step before that failed.
std::string sent_to_journal() {
  if (::mount("", "/", "", MS_REC | MS_PRIVATE, "") != 0 ||
      ::mount("run", "/run", "tmpfs", 0, "") != 0 || ::mkdir("/run/systemd", 0755) != 0 ||
      ::mkdir("/run/systemd/journal", 0755) != 0)
    return "";
  const isolation::UniqueFd journald(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address{AF_UNIX, "/run/systemd/journal/socket"};
  if (::bind(journald.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return "";
  ServiceLog(LogForm::kJournal, -1).write(kCall);  // Waits for its thread as it goes.
  std::array<char, 4'096> bytes{};
  const ssize_t n = ::recv(journald.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  return std::string(bytes.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
}

TEST(ServiceLog, SendsJournaldItsOwnRecords) {
  constexpr int kMayNotMount = 77;
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const isolation::UniqueFd reader(pipe[0]);
  isolation::UniqueFd writer(pipe[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0) ::_exit(kMayNotMount);
    const std::string sent = sent_to_journal();
    (void)!::write(writer.get(), sent.data(), sent.size());
    ::_exit(0);
  }
  writer.reset();
  const std::string sent = read_all(reader.get());
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kMayNotMount)
    GTEST_SKIP() << "needs root, for a mount namespace";
  std::string expected;
  for (const std::string& field : to_journal(kCall)) expected += field + "\n";
  EXPECT_EQ(sent, expected);
}

}  // namespace
}  // namespace fnrun::tools
