#include "credentials.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/throw_exception.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "isolation/unique_fd.h"

namespace fnrun::tools {
namespace {

namespace fs = std::filesystem;
using isolation::UniqueFd;

constexpr const char* kInside = "/run/credentials";
constexpr const char* kHostFolder = "/run";
constexpr std::string_view kFolderPrefix = "fnrun-credentials-";

const char* variable(const char* name) {
  return std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
}

CredentialFault failed(const std::string& what, const fs::path& path) {
  return {what + " " + path.string() + ": " + ::strerrordesc_np(errno)};
}

CredentialFault unreadable(const fs::path& path) {
  const bool missing = errno == ENOENT;
  CredentialFault fault = failed("cannot read the credential", path);
  if (missing) fault.message += "; LoadCredential= of the unit gives it, from the next start on";
  return fault;
}

// RuntimeDirectory= below /run, where files stay in memory. "" where there is none, or several:
// which of them is ours alone cannot be told.
std::string runtime_folder() {
  const char* const folder = variable("RUNTIME_DIRECTORY");
  return folder == nullptr || *folder != '/' || std::strchr(folder, ':') != nullptr ? "" : folder;
}

// Mode 0700. Where no unit has made a folder, one of a session or of the host will do; who is
// killed there leaves it until the next boot.
std::optional<fs::path> new_folder() {
  const char* const session = variable("XDG_RUNTIME_DIR");
  const std::string own = runtime_folder();
  for (const std::string& at :
       {own, std::string(session != nullptr ? session : ""), std::string(kHostFolder)}) {
    if (!at.starts_with('/')) continue;
    std::string name = at + "/" + std::string(kFolderPrefix) + "XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) return name;
  }
  return std::nullopt;
}

boost::system::result<std::string, CredentialFault> read(const fs::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return unreadable(path);
  if (!S_ISREG(info.st_mode) || info.st_size > static_cast<off_t>(kCredentialMax))
    return CredentialFault{"the credential " + path.string() + " is no file of at most 1 MiB"};
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  const ssize_t n = ::read(file.get(), bytes.data(), bytes.size());
  if (n != info.st_size) return failed("cannot read the credential", path);
  return {boost::system::in_place_value, std::move(bytes)};
}

}  // namespace

void throw_exception_from_error(const CredentialFault& fault, const boost::source_location& where) {
  boost::throw_exception(std::runtime_error(fault.message), where);
}

Credentials::~Credentials() {
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

void Credentials::remove_leftovers() {
  const std::string at = runtime_folder();
  if (at.empty()) return;
  std::error_code error;
  std::error_code ignored;
  for (fs::directory_iterator entry(at, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().filename().string().starts_with(kFolderPrefix))
      fs::remove_all(entry->path(), ignored);
}

boost::system::result<fs::path, CredentialFault> Credentials::copy_of(const fs::path& original) {
  const auto bytes = read(original);
  if (!bytes) return bytes.error();
  if (folder_.empty()) {
    const auto folder = new_folder();
    if (!folder)
      return CredentialFault{
          "there is no folder in memory for copies of credentials: RuntimeDirectory= of the unit "
          "makes one, and must name no second one"};
    folder_ = *folder;
  }
  // The sandbox's uid may read the file and cannot walk to it: its folder is ours alone.
  const fs::path path = folder_ / std::to_string(++made_);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file || ::fchmod(file.get(), 0444) != 0) return failed("cannot make", path);
  if (::write(file.get(), bytes->data(), bytes->size()) != static_cast<ssize_t>(bytes->size()))
    return failed("cannot write", path);
  return {boost::system::in_place_value, path};
}

boost::system::result<void, CredentialFault> Credentials::give(
    const std::vector<std::string>& names, const isolation::Host& host, policies::Policy& policy) {
  if (names.empty()) return {};
  const char* const folder = variable("CREDENTIALS_DIRECTORY");
  const bool given = folder != nullptr && *folder == '/';
  if (!given && use_ == Use::kCheck) {
    unchecked_ += names.size();
    return {};
  }
  if (!given)
    return CredentialFault{"credential " + names.front() +
                           ": no service manager has given any (CREDENTIALS_DIRECTORY is not set; "
                           "LoadCredential= of a unit does that)"};
  for (const std::string& name : names) {
    fs::path source = fs::path(folder) / name;
    // Without privilege a sandbox runs as our own uid, which reads them as we do.
    if (host.privileged && use_ == Use::kServe) {
      auto copy = copy_of(source);
      if (!copy) return copy.error();
      source = std::move(*copy);
    } else if (::access(source.c_str(), R_OK) != 0) {
      return unreadable(source);
    }
    policy.filesystem.read_only.push_back({.target = std::string(kInside) + "/" + name,
                                           .source = source.string(),
                                           .optional = false,
                                           .executable = false,
                                           .why = "a credential of the service"});
  }
  policy.environment.set["CREDENTIALS_DIRECTORY"] = kInside;
  return {};
}

}  // namespace fnrun::tools
