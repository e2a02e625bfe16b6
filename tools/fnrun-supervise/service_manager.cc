#include "service_manager.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "supervisor/stderr_log.h"

namespace fnrun::tools {
namespace {

// What must arrive is waited for so long, where the service manager is too busy to take it.
constexpr timeval kPatience{1, 0};

std::string errno_in_words(int error) {
  return std::string(::strerrordesc_np(error));
}

// The variable's value, which is then gone.
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any thread
  std::string taken = value != nullptr ? value : "";
  ::unsetenv(name);  // NOLINT(concurrency-mt-unsafe)
  return taken;
}

// sd_notify(3) would read the variable anew each time: it would have to stay in the environment.
boost::system::result<isolation::UniqueFd, ServiceManagerFault> connect_to(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if ((path[0] != '/' && path[0] != '@') || path.size() >= sizeof address.sun_path)
    return ServiceManagerFault{"NOTIFY_SOCKET names no socket: '" +
                               supervisor::escape_for_terminal(path.substr(0, 120)) +
                               "'; expected '/path' or '@name' of at most " +
                               std::to_string(sizeof address.sun_path - 1) + " bytes"};
  path.copy(address.sun_path, path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  // The zero at the end of a path may be left out, and belongs to no abstract name.
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  isolation::UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience) != 0 ||
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
    return ServiceManagerFault{"NOTIFY_SOCKET=" + supervisor::escape_for_terminal(path) +
                               " cannot be connected to: " + errno_in_words(errno) +
                               "; unset it to run without a service manager"};
  return fd;
}

bool is_of_a_family_we_serve(int fd) {
  for (const int family : {AF_INET, AF_INET6, AF_UNIX})
    if (::sd_is_socket(fd, family, SOCK_STREAM, /*listening=*/1) > 0) return true;
  return false;
}

// Owns all of them before it looks at any: what is refused is closed as well.
boost::system::result<std::vector<InheritedSocket>, ServiceManagerFault> take_sockets() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  if (count < 0)
    return ServiceManagerFault{
        "LISTEN_FDS does not tell which sockets were passed: " + errno_in_words(-count) +
        "; unset LISTEN_FDS and LISTEN_PID to run without any"};
  std::vector<InheritedSocket> sockets;
  for (int i = 0; i < count; ++i) {
    sockets.push_back({isolation::UniqueFd(SD_LISTEN_FDS_START + i), names[i]});
    std::free(names[i]);
  }
  std::free(names);
  for (const InheritedSocket& socket : sockets)
    if (!is_of_a_family_we_serve(socket.fd.get()))
      return ServiceManagerFault{"descriptor " + std::to_string(socket.fd.get()) + " ('" +
                                 supervisor::escape_for_terminal(socket.name) +
                                 "') was passed to be listened on, and is no listening stream "
                                 "socket; the socket unit wants ListenStream= and Accept=no"};
  return sockets;
}

// A line that is no second one: a new line would begin another assignment.
std::string status_line(std::string_view text) {
  return "STATUS=" + supervisor::escape_for_terminal(text.substr(0, ServiceManager::kStatusMax));
}

}  // namespace

void throw_exception_from_error(const ServiceManagerFault& fault, const boost::source_location&) {
  throw std::runtime_error(fault.message);
}

boost::system::result<ServiceManager, ServiceManagerFault> ServiceManager::take_over() {
  ServiceManager manager;
  // All of them before anything can fail.
  const std::string path = take_variable("NOTIFY_SOCKET");
  std::uint64_t watchdog = 0;
  const int watched = ::sd_watchdog_enabled(/*unset_environment=*/1, &watchdog);
  auto sockets = take_sockets();
  if (!sockets) return sockets.error();
  manager.sockets_ = std::move(*sockets);
  if (watched < 0)
    return ServiceManagerFault{"WATCHDOG_USEC or WATCHDOG_PID is no number: " +
                               errno_in_words(-watched) + "; unset both to run without a watchdog"};
  if (path.empty()) return manager;
  auto connected = connect_to(path);
  if (!connected) return connected.error();
  manager.notify_ = std::move(*connected);
  if (watched > 0) manager.watchdog_ = std::chrono::microseconds(watchdog / 2);
  return manager;
}

bool ServiceManager::tell(std::string_view message, int flags) {
  if (!notify_) return true;
  ssize_t sent = 0;
  do {
    sent = ::send(notify_.get(), message.data(), message.size(), MSG_NOSIGNAL | flags);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(message.size());
}

bool ServiceManager::ready(std::string_view status) {
  return tell("READY=1\n" + status_line(status), 0);
}

bool ServiceManager::reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto since_boot = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
  return tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(since_boot.count()), 0);
}

bool ServiceManager::stopping(std::string_view status) {
  return tell("STOPPING=1\n" + status_line(status), 0);
}

// The next one says more than one that was waited for.
bool ServiceManager::status(std::string_view text) {
  return tell(status_line(text), MSG_DONTWAIT);
}

bool ServiceManager::extend_timeout(std::chrono::microseconds more) {
  return tell("EXTEND_TIMEOUT_USEC=" + std::to_string(more.count()), 0);
}

bool ServiceManager::alive() {
  return tell("WATCHDOG=1", MSG_DONTWAIT);
}

}  // namespace fnrun::tools
