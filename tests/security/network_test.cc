// The network: none. Listeners of the test stand on the host, and nobody comes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "tests/security/attempts.h"

namespace fnrun::test {
namespace {

using isolation::UniqueFd;
using testing::StartsWith;

class Network : public Attempts {};

TEST_F(Network, AListenerOnLoopbackIsOutOfReach) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  ASSERT_EQ(::bind(listener.get(), address, size), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  ASSERT_EQ(::getsockname(listener.get(), address, &size), 0);
  const Words reach{"connect-inet", std::to_string(ntohs(at.sin_port))};
  EXPECT_EQ(inside(reach), "errno EAFNOSUPPORT socket");
  EXPECT_FALSE(wait_readable(listener.get(), 0));
  EXPECT_EQ(outside(reach), "ok 0");
  EXPECT_TRUE(wait_readable(listener.get()));
}

TEST_F(Network, AnAbstractListenerIsOutOfReach) {
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string name = "fnrun-test-" + std::to_string(::getpid());
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::memcpy(at.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  EXPECT_EQ(inside({"connect-abstract", name}), "errno EAFNOSUPPORT socket");
  EXPECT_FALSE(wait_readable(listener.get(), 0));
  EXPECT_EQ(outside({"connect-abstract", name}), "ok 0");
  EXPECT_TRUE(wait_readable(listener.get()));
}

TEST_F(Network, NoKindOfSocketCanBeMade) {
  for (int family = 0; family < 48; ++family)
    EXPECT_EQ(inside(call(SYS_socket, {std::to_string(family), "1", "0"})), "errno EAFNOSUPPORT")
        << family;
  for (const int type : {SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET})
    for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK})
      EXPECT_EQ(inside(call(SYS_socket, {std::to_string(family), std::to_string(type), "0"})),
                "errno EAFNOSUPPORT")
          << family;
  // Outside, those that every host has.
  EXPECT_THAT(outside(call(SYS_socket, {"1", "1", "0"})), StartsWith("ok"));
  EXPECT_THAT(outside(call(SYS_socket, {"2", "1", "0"})), StartsWith("ok"));
  EXPECT_THAT(outside(call(SYS_socket, {std::to_string(AF_NETLINK), "3", "0"})), StartsWith("ok"));
  if (host.privileged) {
    EXPECT_THAT(outside(call(SYS_socket, {std::to_string(AF_PACKET), "3", "0"})), StartsWith("ok"));
  }
}

TEST_F(Network, SocketpairsAreOfUnixAndWithoutUrgentData) {
  EXPECT_EQ(inside(call(SYS_socketpair, {"1", "1", "0", "b:"})), "ok 0");
  EXPECT_EQ(inside(call(SYS_socketpair, {"2", "1", "0", "b:"})), "errno ENOSYS");
  EXPECT_EQ(outside(call(SYS_socketpair, {"2", "1", "0", "b:"})), "errno EOPNOTSUPP");
  // stdout is no socket: what the kernel itself says tells that the call got through.
  struct Case {
    long number;
    int flags;  // Which argument.
  };
  for (const auto& [number, flags] :
       {Case{SYS_sendto, 3}, {SYS_recvfrom, 3}, {SYS_sendmsg, 2}, {SYS_recvmsg, 2}}) {
    Words plain{"1", "b:", "0", "0", "0", "0"};
    Words urgent = plain;
    urgent[static_cast<std::size_t>(flags)] = "0x40000001";  // MSG_OOB and another
    EXPECT_EQ(inside(call(number, plain)), "errno ENOTSOCK") << number;
    EXPECT_EQ(inside(call(number, urgent)), "errno ENOSYS") << number;
    EXPECT_EQ(outside(call(number, urgent)), "errno ENOTSOCK") << number;
  }
}

TEST_F(Network, OnlyLoopbackIsThereAndDown) {
  const Staying staying = stay();
  // The handler's own view, read from here.
  const std::string devices =
      read_text("/proc/" + std::to_string(staying.handler_pid) + "/net/dev");
  const Words lines = split(devices, '\n');
  ASSERT_EQ(lines.size(), 3U) << devices;
  EXPECT_THAT(lines[2], testing::HasSubstr("lo:"));
  // No address, not even that of loopback: the device is down.
  EXPECT_EQ(
      read_text("/proc/" + std::to_string(staying.handler_pid) + "/net/fib_trie").find("LOCAL"),
      std::string::npos);
  EXPECT_NE(read_text("/proc/self/net/fib_trie").find("LOCAL"), std::string::npos);
}

}  // namespace
}  // namespace fnrun::test
