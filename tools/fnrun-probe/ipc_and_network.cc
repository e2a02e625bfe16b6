// Family "network": sockets of all families, ways out, and objects that outlive a process.
//
// Nothing is sent: a datagram socket's connect(2) looks for a route and no more. Families whose
// modules the kernel would load for the asking are asked for with a type that does not exist.
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cstdio>
#include <cstring>

#include "attempt.h"
#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr Promises kNoSocket{refused(EAFNOSUPPORT), refused(EAFNOSUPPORT), kMay};
constexpr Promises kNoSocketAtAll{refused(EAFNOSUPPORT), refused(EAFNOSUPPORT), refused(ENOSYS)};
constexpr Promises kNoRoute{refused(EAFNOSUPPORT), refused(EAFNOSUPPORT), kStopped};
constexpr Promises kNotInCompat{refused(EPERM), refused(EPERM), kMay};
constexpr Promises kNoOob{kKilled, refused(ENOSYS), refused(ENOSYS)};

constexpr int kNoType = 11;  // SOCK_MAX

long make_socket(int family, int type, int protocol = 0) {
  return raw_syscall(__NR_socket, family, type | SOCK_CLOEXEC, protocol);
}
Saw socket_of(int family, int type, int protocol = 0) {
  return done(make_socket(family, type, protocol));
}
Saw family_reached(int family) {
  return reached(make_socket(family, kNoType), {EINVAL});
}

Saw route_to(unsigned address) {
  const long fd = make_socket(AF_INET, SOCK_DGRAM);
  if (fd < 0) return done(fd);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(80);
  to.sin_addr.s_addr = htonl(address);
  return done(raw_syscall(__NR_connect, fd, as_arg(&to), sizeof to));
}

Saw binds_abstract() {
  const long fd = make_socket(AF_UNIX, SOCK_STREAM);
  if (fd < 0) return done(fd);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "fnrun-probe-%ld",
                raw_syscall(__NR_getpid));
  return done(raw_syscall(__NR_bind, fd, as_arg(&name), sizeof name));
}

// Sockets of others in this net namespace; the names among them can be connected to.
Saw unix_sockets_of_others() {
  static char text[65536];
  const long size = read_file("/proc/self/net/unix", text, sizeof text);
  if (size < 0) return size == -ENOENT ? invisible() : blocked(static_cast<int>(-size));
  return std::strstr(text, " /") != nullptr || std::strstr(text, " @") != nullptr ? open()
                                                                                  : invisible();
}

Saw interfaces() {
  static char text[16384];
  const long size = read_file("/proc/self/net/dev", text, sizeof text);
  if (size < 0) return size == -ENOENT ? invisible() : blocked(static_cast<int>(-size));
  long count = 0;
  for (const char* at = text; (at = std::strchr(at, ':')) != nullptr; ++at) ++count;
  // lo, and what tunnels of this kernel put into every namespace, do not lead out by themselves.
  return std::strstr(text, "eth") != nullptr || std::strstr(text, "en") != nullptr ||
                 std::strstr(text, "wl") != nullptr || std::strstr(text, "br") != nullptr
             ? open("an interface of the host")
             : limited(count, "interfaces");
}

struct Pair {
  int fds[2] = {-1, -1};
  long result = raw_syscall(__NR_socketpair, AF_UNIX, SOCK_STREAM, 0, as_arg(fds));
};

struct Message {
  char byte = 'x';
  iovec part{&byte, 1};
  msghdr header{nullptr, 0, &part, 1, nullptr, 0, 0};
};

Saw sends_oob() {
  const Pair pair;
  if (pair.result < 0) return done(pair.result);
  return done(raw_syscall(__NR_sendto, pair.fds[0], as_arg("x"), 1, MSG_OOB, 0, 0));
}
Saw sends_oob_message() {
  const Pair pair;
  if (pair.result < 0) return done(pair.result);
  Message message;
  return done(raw_syscall(__NR_sendmsg, pair.fds[0], as_arg(&message.header), MSG_OOB));
}
// EINVAL, EAGAIN: there is no such byte.
Saw receives_oob() {
  const Pair pair;
  if (pair.result < 0) return done(pair.result);
  char byte;
  return reached(
      raw_syscall(__NR_recvfrom, pair.fds[0], as_arg(&byte), 1, MSG_OOB | MSG_DONTWAIT, 0, 0),
      {EINVAL, EAGAIN});
}
Saw receives_oob_message() {
  const Pair pair;
  if (pair.result < 0) return done(pair.result);
  Message message;
  return reached(
      raw_syscall(__NR_recvmsg, pair.fds[0], as_arg(&message.header), MSG_OOB | MSG_DONTWAIT),
      {EINVAL, EAGAIN});
}

Saw passes_descriptor() {
  const Pair pair;
  if (pair.result < 0) return done(pair.result);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  Message message;
  message.header.msg_control = control;
  message.header.msg_controllen = sizeof control;
  cmsghdr* const rights = CMSG_FIRSTHDR(&message.header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(rights), &pair.fds[1], sizeof(int));
  return done(raw_syscall(__NR_sendmsg, pair.fds[0], as_arg(&message.header), 0));
}

// What two datagram sockets have of the file system: each may be connected anew, to any path.
Saw connects_by_path() {
  int fds[2];
  if (const long made = raw_syscall(__NR_socketpair, AF_UNIX, SOCK_DGRAM, 0, as_arg(fds)); made < 0)
    return done(made);
  sockaddr_un nobody{AF_UNIX, "/run/fnrun-probe-asks-for-nobody"};
  const long result = raw_syscall(__NR_connect, fds[0], as_arg(&nobody), sizeof nobody);
  for (const int fd : fds) raw_syscall(__NR_close, fd);
  return reached(result, {ENOENT, ECONNREFUSED});
}

Saw shared_memory(long flags) {
  const long id = raw_syscall(__NR_shmget, IPC_PRIVATE, 4096, 0600);
  if (id < 0) return done(id);
  const long at = raw_syscall(__NR_shmat, id, 0, flags);
  raw_syscall(__NR_shmctl, id, IPC_RMID, 0);
  return at < 0 && at > -4096 ? blocked(static_cast<int>(-at)) : open();
}

Saw semaphores() {
  const long id = raw_syscall(__NR_semget, IPC_PRIVATE, 1, 0600);
  if (id >= 0) raw_syscall(__NR_semctl, id, 0, IPC_RMID, 0);
  return done(id);
}

Saw message_queue() {
  const long id = raw_syscall(__NR_msgget, IPC_PRIVATE, 0600);
  if (id >= 0) raw_syscall(__NR_msgctl, id, IPC_RMID, 0);
  return done(id);
}

Saw posix_queue() {
  char name[40];
  std::snprintf(name, sizeof name, "fnrun-probe-%ld", raw_syscall(__NR_getpid));
  const long fd = raw_syscall(__NR_mq_open, as_arg(name), O_CREAT | O_EXCL | O_RDWR, 0600, 0);
  if (fd >= 0) raw_syscall(__NR_mq_unlink, as_arg(name));
  return done(fd);
}

constexpr Probe kProbes[] = {
    {"I01", "socket(AF_INET, SOCK_STREAM)", "P3", [] { return socket_of(AF_INET, SOCK_STREAM); },
     kNoSocket},
    {"I01b", "socket(AF_INET, SOCK_DGRAM)", "P3", [] { return socket_of(AF_INET, SOCK_DGRAM); },
     kNoSocket},
    {"I01c", "socket(AF_INET6, SOCK_STREAM)", "P3", [] { return socket_of(AF_INET6, SOCK_STREAM); },
     kNoSocket},
    {"I01d", "a route to 169.254.169.254, where clouds keep credentials", "deepce, CDK",
     [] { return route_to(0xA9FEA9FE); }, kNoRoute},
    {"I01e", "a route to 10.0.0.1", "P3", [] { return route_to(0x0A000001); }, kNoRoute},
    {"I01f", "a route to 8.8.8.8", "P3", [] { return route_to(0x08080808); }, kNoRoute},
    {"I01g", "a route to 127.0.0.1", "P3", [] { return route_to(0x7F000001); }, kNoSocket},
    {"I02", "AF_VSOCK: to the hypervisor, through net namespaces", "CVE-2021-26708, CVE-2025-21756",
     [] { return family_reached(AF_VSOCK); }, kNoSocketAtAll},
    {"I03", "AF_PACKET", "CVE-2020-14386, CVE-2017-7308",
     [] { return also_in_own_namespaces([](bool) { return socket_of(AF_PACKET, SOCK_RAW, 0); }); },
     kNoSocketAtAll},
    {"I03b", "a raw socket", "CVE-2017-17712",
     [] {
       return also_in_own_namespaces(
           [](bool) { return socket_of(AF_INET, SOCK_RAW, IPPROTO_ICMP); });
     },
     kNoRoute},
    {"I03c", "AF_ALG", "CVE-2026-31431", [] { return family_reached(AF_ALG); }, kNoSocketAtAll},
    {"I03d", "AF_KEY", "CVE-2022-1353", [] { return family_reached(AF_KEY); }, kNoSocketAtAll},
    {"I03e", "AF_RDS", "CVE-2026-43494, CVE-2010-3904", [] { return family_reached(AF_RDS); },
     kNoSocketAtAll},
    {"I03f", "AF_TIPC", "CVE-2021-43267, CVE-2026-64564", [] { return family_reached(AF_TIPC); },
     kNoSocketAtAll},
    {"I03g", "AF_CAN", "CVE-2021-3609", [] { return family_reached(AF_CAN); }, kNoSocketAtAll},
    {"I03h", "AF_BLUETOOTH", "CVE-2021-3573", [] { return family_reached(AF_BLUETOOTH); },
     kNoSocketAtAll},
    {"I03i", "AF_SMC", "address_families(7)", [] { return family_reached(43); }, kNoSocketAtAll},
    {"I03j", "AF_XDP", "af_xdp: memory shared with the kernel", [] { return family_reached(44); },
     kNoSocketAtAll},
    {"I03k", "AF_PPPOX, AF_APPLETALK: old families", "address_families(7)",
     [] {
       const Saw first = family_reached(24);
       return first.word == Word::kOpen ? first : family_reached(5);
     },
     kNoSocketAtAll},
    {"I04", "AF_NETLINK: routes", "CVE-2024-1086",
     [] { return socket_of(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }, kNoSocketAtAll},
    {"I04b", "AF_NETLINK: events of devices", "CVE-2009-1185",
     [] { return socket_of(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT); }, kNoSocketAtAll},
    {"I04c", "AF_NETLINK: generic", "netlink(7): families of modules",
     [] { return socket_of(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC); }, kNoSocketAtAll},
    {"I05", "socket(AF_UNIX)", "CVE-2020-15257", [] { return socket_of(AF_UNIX, SOCK_STREAM); },
     kNoSocket},
    {"I05b", "an abstract name", "CVE-2020-15257", binds_abstract, kNoSocket},
    {"I05c", "sockets of others: /proc/self/net/unix", "CVE-2020-15257", unix_sockets_of_others,
     everywhere(kHidden)},
    {"I05d", "sockets of services: docker, containerd, dbus, systemd", "deepce, botb",
     [] {
       return any_seen({"/run/docker.sock", "/var/run/docker.sock", "/run/containerd", "/run/dbus",
                        "/run/systemd", "/run/udev"});
     },
     everywhere(kHidden)},
    {"I05e",
     "a socket of the file system, from a socketpair of datagrams",
     "unix(7)",
     connects_by_path,
     {kStopped, kStopped, kMay}},
    {"I06", "interfaces of the host", "network_namespaces(7)", interfaces, everywhere(at_most(16))},
    {"I07", "pass a descriptor over a socketpair of one's own", "unix(7)", passes_descriptor,
     everywhere(kMay)},
    {"K25", "send MSG_OOB", "CVE-2025-38236", sends_oob, kNoOob},
    {"K25b", "sendmsg MSG_OOB", "CVE-2025-38236", sends_oob_message, kNoOob},
    {"K25c", "recv MSG_OOB", "CVE-2025-38236", receives_oob, kNoOob},
    {"K25d", "recvmsg MSG_OOB", "CVE-2025-38236", receives_oob_message, kNoOob},
    {"I09",
     "socketpair of another family than AF_UNIX",
     "socketpair(2)",
     [] {
       int fds[2];
       // AF_INET has none: EOPNOTSUPP is the kernel's own.
       return reached(raw_syscall(__NR_socketpair, AF_INET, SOCK_STREAM, 0, as_arg(fds)),
                      {EOPNOTSUPP, EPROTONOSUPPORT});
     },
     {kKilled, refused(ENOSYS), refused(ENOSYS)}},
    {"I08", "shared memory of System V", "shmget(2): a channel between sandboxes",
     [] { return shared_memory(0); }, kNotInCompat},
    {"I08b", "semaphores of System V", "a channel between sandboxes", semaphores, kNotInCompat},
    {"I08c", "message queues of System V", "CVE-2021-22555 (as a primitive)", message_queue,
     kNotInCompat},
    {"I08d",
     "message queues of POSIX",
     "CVE-2017-11176",
     posix_queue,
     {refused(EPERM), refused(EPERM), kStopped}},
    {"K15d", "executable shared memory", "W^X", [] { return shared_memory(SHM_EXEC); },
     kNotInCompat},
};

}  // namespace

Family ipc_and_network() {
  return {"network", kProbes};
}

}  // namespace fnrun::probe
