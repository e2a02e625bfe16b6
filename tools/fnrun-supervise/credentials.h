// Secrets for handlers: systemd's credentials, by name, as files that only the handler's sandbox
// has.
//
// A function names the credentials it gets; the service manager has put them into the folder that
// CREDENTIALS_DIRECTORY names (LoadCredential=). Inside they are files below /run/credentials, and
// CREDENTIALS_DIRECTORY says so. They are on no command line and in no environment. Copies are made
// where the sandbox's own uid could not read the original, in memory, in a folder of ours; they are
// removed with this, and what a service that was killed has left by remove_leftovers(). One of
// these for each generation of functions. One thread.
#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "isolation/host.h"
#include "policies/policy.h"

namespace fnrun::tools {

struct CredentialFault {
  std::string message;
};
[[noreturn]] void throw_exception_from_error(const CredentialFault& fault,
                                             const boost::source_location& where);

inline constexpr std::size_t kCredentialMax = 1024 * 1024;  // Bytes; systemd's own bound.

class Credentials {
 public:
  // kCheck makes no copies, and takes no offence where no service manager has given any: --check
  // runs in somebody's shell.
  enum class Use : std::uint8_t { kServe, kCheck };
  explicit Credentials(Use use) : use_(use) {}
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;
  ~Credentials();

  // Shows them to sandboxes of this policy.
  [[nodiscard]] boost::system::result<void, CredentialFault> give(
      const std::vector<std::string>& names, const isolation::Host& host, policies::Policy& policy);

  // kCheck: how many could not be looked for.
  [[nodiscard]] std::size_t unchecked() const noexcept { return unchecked_; }

  // Every copy in the service's runtime folder, whoever made it. That folder is one service's
  // alone.
  static void remove_leftovers();

 private:
  boost::system::result<std::filesystem::path, CredentialFault> copy_of(
      const std::filesystem::path& original);

  Use use_;
  std::size_t unchecked_ = 0;
  std::filesystem::path folder_;  // Of the copies; made when the first is.
  std::size_t made_ = 0;
};

}  // namespace fnrun::tools
