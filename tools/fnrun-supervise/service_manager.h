// What the command says to the service manager that started it, and what it was handed by it.
//
// systemd's readiness protocol (sd_notify(3)), its watchdog, its listening sockets. Started by
// nobody of that kind, everything here does nothing and says so. The variables that it comes by are
// taken out of the environment, so that no child inherits a way to speak for the service: make one,
// before there is any thread. Decides nothing: when to be ready, alive or gone is the caller's
// business. Owns its sockets; calls block a second at most, alive() and status() never. One thread.
#pragma once

#include <boost/system/result.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isolation/unique_fd.h"

namespace fnrun::tools {

// What was passed cannot be used. One line for people.
struct ServiceManagerFault {
  std::string message;
};
[[noreturn]] void throw_exception_from_error(const ServiceManagerFault& fault,
                                             const boost::source_location& where);

struct InheritedSocket {
  isolation::UniqueFd fd;  // A listening stream socket: IPv4, IPv6 or AF_UNIX. Close-on-exec.
  std::string name;        // FileDescriptorName=; "unknown" without one.
};

class ServiceManager {
 public:
  // Takes what the environment says, once: a second one finds nothing.
  [[nodiscard]] static boost::system::result<ServiceManager, ServiceManagerFault> take_over();

  // Somebody listens to what follows.
  [[nodiscard]] bool is_there() const noexcept { return static_cast<bool>(notify_); }

  // False where the service manager was there and did not take it.
  //
  // `status` is for people, in `systemctl status`: one line, cut at kStatusMax.
  bool ready(std::string_view status);
  bool reloading();  // To be followed by ready().
  bool stopping(std::string_view status);
  bool status(std::string_view text);
  // Of starting, reloading or stopping, whichever it is: so much from now before it is too late.
  bool extend_timeout(std::chrono::microseconds more);
  bool alive();

  // How often alive() is wanted: half of what the service manager waits. Empty: it does not wait.
  [[nodiscard]] std::optional<std::chrono::microseconds> watchdog_interval() const noexcept {
    return watchdog_;
  }

  // Those that socket units passed, in their order; they are the caller's from then on.
  [[nodiscard]] std::vector<InheritedSocket> inherited_sockets() { return std::move(sockets_); }

  static constexpr std::size_t kStatusMax = 512;  // Bytes, before what is not printable is escaped.

 private:
  ServiceManager() = default;
  bool tell(std::string_view message, int flags);

  isolation::UniqueFd notify_;  // Connected; none without a service manager.
  std::optional<std::chrono::microseconds> watchdog_;
  std::vector<InheritedSocket> sockets_;
};

}  // namespace fnrun::tools
