#include "locked_group.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace fnrun::doctor {

isolation::UniqueFd make_locked_group(const std::string& dir) {
  // Between its making and its locking a sweeping supervisor may remove it: then it is made again.
  constexpr int kAttempts = 16;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (::mkdir(dir.c_str(), 0755) != 0) return {};
    isolation::UniqueFd group(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!group && errno == ENOENT) continue;
    struct stat now {};
    struct stat opened {};
    if (group && ::flock(group.get(), LOCK_EX) == 0) {
      if (::stat(dir.c_str(), &now) == 0 && ::fstat(group.get(), &opened) == 0 &&
          now.st_ino == opened.st_ino)
        return group;
      continue;  // It was swept while we waited for the lock.
    }
    const int error = errno;
    ::rmdir(dir.c_str());
    errno = error;
    return {};
  }
  errno = EBUSY;
  return {};
}

}  // namespace fnrun::doctor
