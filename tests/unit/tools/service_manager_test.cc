// The service manager's protocol, with a socket of the test's own in its place.
#include "service_manager.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <cstdlib>

#include "tests/support/temp_dir.h"

namespace fnrun::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

socklen_t address_of(std::string_view name, sockaddr_un& address) {
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  if (name[0] == '@') address.sun_path[0] = '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
}

// What systemd listens on.
class Listener {
 public:
  explicit Listener(const std::string& name)
      : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    const socklen_t length = address_of(name, address);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  // The next message; "" if there is none.
  std::string next() {
    std::array<char, 4096> text{};
    const ssize_t n = ::recv(fd_.get(), text.data(), text.size(), MSG_DONTWAIT);
    return n > 0 ? std::string(text.data(), static_cast<std::size_t>(n)) : "";
  }

 private:
  isolation::UniqueFd fd_;
};

class ServiceManagerTest : public ::testing::Test {
 protected:
  ServiceManagerTest() {
    for (const char* name : kVariables) ::unsetenv(name);
  }
  ~ServiceManagerTest() override {
    for (const char* name : kVariables) ::unsetenv(name);
  }
  static constexpr std::array kVariables{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                         "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};
  test::TempDir temp_;
  std::string path_ = (temp_.path() / "notify").string();
};

TEST_F(ServiceManagerTest, IsNobodyWhereNobodyStartedUs) {
  auto manager = ServiceManager::take_over().value();
  EXPECT_FALSE(manager.is_there());
  EXPECT_TRUE(manager.ready("serving"));
  EXPECT_TRUE(manager.alive());
  EXPECT_FALSE(manager.watchdog_interval());
  EXPECT_TRUE(manager.inherited_sockets().empty());
}

TEST_F(ServiceManagerTest, IsToldEachStep) {
  Listener systemd(path_);
  auto manager = ServiceManager::take_over().value();
  ASSERT_TRUE(manager.is_there());
  EXPECT_TRUE(manager.ready("2 functions"));
  EXPECT_EQ(systemd.next(), "READY=1\nSTATUS=2 functions");
  EXPECT_TRUE(manager.reloading());
  EXPECT_THAT(systemd.next(), ::testing::MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
  EXPECT_TRUE(manager.status("3 calls"));
  EXPECT_EQ(systemd.next(), "STATUS=3 calls");
  EXPECT_TRUE(manager.stopping("draining"));
  EXPECT_EQ(systemd.next(), "STOPPING=1\nSTATUS=draining");
  EXPECT_TRUE(manager.extend_timeout(std::chrono::seconds(5)));
  EXPECT_EQ(systemd.next(), "EXTEND_TIMEOUT_USEC=5000000");
  EXPECT_TRUE(manager.alive());
  EXPECT_EQ(systemd.next(), "WATCHDOG=1");
  EXPECT_EQ(systemd.next(), "");
}

TEST_F(ServiceManagerTest, IsFoundByAnAbstractName) {
  Listener systemd("@fnrun-test-" + std::to_string(::getpid()));
  auto manager = ServiceManager::take_over().value();
  EXPECT_TRUE(manager.ready("serving"));
  EXPECT_THAT(systemd.next(), StartsWith("READY=1"));
}

TEST_F(ServiceManagerTest, StaysBetweenUsTwo) {
  Listener systemd(path_);
  ::setenv("WATCHDOG_USEC", "10000000", 1);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", "1", 1);  // Somebody else's.
  auto manager = ServiceManager::take_over().value();
  for (const char* name : kVariables) EXPECT_EQ(std::getenv(name), nullptr) << name;
  EXPECT_TRUE(manager.inherited_sockets().empty());
  EXPECT_TRUE(manager.is_there());
  EXPECT_FALSE(ServiceManager::take_over().value().is_there());
}

TEST_F(ServiceManagerTest, TakesNoSecondAssignmentForAStatus) {
  Listener systemd(path_);
  auto manager = ServiceManager::take_over().value();
  manager.status("a\nWATCHDOG=trigger\xff");
  EXPECT_EQ(systemd.next(), "STATUS=a\\x0aWATCHDOG=trigger\\xff");
  manager.status(std::string(100'000, 'x'));
  EXPECT_EQ(systemd.next().size(), ServiceManager::kStatusMax + std::string("STATUS=").size());
}

TEST_F(ServiceManagerTest, IsNotWaitedForToHearThatWeAreAlive) {
  Listener systemd(path_);
  auto manager = ServiceManager::take_over().value();
  constexpr int kMoreThanAnyQueue = 100'000;
  int taken = 0;
  while (taken < kMoreThanAnyQueue && manager.alive()) ++taken;
  EXPECT_LT(taken, kMoreThanAnyQueue);
}

TEST_F(ServiceManagerTest, WatchesWhoeverItMeans) {
  Listener systemd(path_);
  ::setenv("WATCHDOG_USEC", "10000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(ServiceManager::take_over().value().watchdog_interval(), std::chrono::seconds(5));

  ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "10000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_FALSE(ServiceManager::take_over().value().watchdog_interval());
}

TEST_F(ServiceManagerTest, IsNoPathThatLeadsNowhere) {
  ::setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  auto nobody = ServiceManager::take_over();
  ASSERT_FALSE(nobody);
  EXPECT_THAT(nobody.error().message, HasSubstr("No such file or directory"));
  for (const std::string& name : {std::string("vsock:2:1"), "/" + std::string(200, 'x')}) {
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    auto refused = ServiceManager::take_over();
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, StartsWith("NOTIFY_SOCKET names no socket"));
  }
  ::setenv("WATCHDOG_USEC", "soon", 1);
  EXPECT_FALSE(ServiceManager::take_over());
}

// Descriptors are passed from 3 on, which are gtest's in this process: so in a child, which takes
// them over and tells what came of it.
std::string taken_over_in_child(int passed, const std::string& names) {
  int told[2];
  EXPECT_EQ(::pipe2(told, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const int out = ::fcntl(told[1], F_DUPFD_CLOEXEC, 100);
    ::dup2(::fcntl(passed, F_DUPFD_CLOEXEC, 100), 3);
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
    auto manager = ServiceManager::take_over();
    std::string text = manager ? "" : manager.error().message;
    if (manager) {
      for (const InheritedSocket& socket : manager->inherited_sockets())
        text += socket.name + " " + std::to_string(socket.fd.get()) +
                (::fcntl(socket.fd.get(), F_GETFD) == FD_CLOEXEC ? " close-on-exec" : " stays");
    }
    (void)!::write(out, text.data(), text.size());
    ::_exit(0);
  }
  ::close(told[1]);
  std::array<char, 1024> text{};
  const ssize_t n = ::read(told[0], text.data(), text.size());
  ::close(told[0]);
  ::waitpid(child, nullptr, 0);
  return std::string(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
}

isolation::UniqueFd socket_of(int family, int type, bool listening) {
  isolation::UniqueFd fd(::socket(family, type | SOCK_CLOEXEC, 0));
  sockaddr_un name{AF_UNIX, ""};
  // Only a family: bound to a name that the kernel chooses.
  if (family == AF_UNIX) {
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name.sun_family), 0);
  }
  if (listening) {
    EXPECT_EQ(::listen(fd.get(), 1), 0);
  }
  return fd;
}

TEST_F(ServiceManagerTest, PassesSocketsToListenOn) {
  for (const int family : {AF_INET, AF_UNIX})
    EXPECT_EQ(taken_over_in_child(socket_of(family, SOCK_STREAM, true).get(), "http"),
              "http 3 close-on-exec");
}

TEST_F(ServiceManagerTest, PassesNothingElse) {
  const auto teaches = AllOf(StartsWith("descriptor 3 ('http')"), HasSubstr("Accept=no"));
  EXPECT_THAT(taken_over_in_child(socket_of(AF_INET, SOCK_STREAM, false).get(), "http"), teaches);
  EXPECT_THAT(taken_over_in_child(socket_of(AF_INET, SOCK_DGRAM, false).get(), "http"), teaches);
  EXPECT_THAT(taken_over_in_child(socket_of(AF_UNIX, SOCK_SEQPACKET, true).get(), "http"), teaches);
  EXPECT_THAT(taken_over_in_child(isolation::UniqueFd(::open("/dev/null", O_RDWR)).get(), "http"),
              teaches);
}

}  // namespace
}  // namespace fnrun::tools
