#include "supervisor/descriptor_limit.h"

#include <sys/resource.h>

#include <cerrno>

namespace fnrun::supervisor {

isolation::Result<std::size_t> raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return static_cast<std::size_t>(limit.rlim_cur);
  }
  return isolation::SetupError{isolation::SetupStep::kNone, 0, errno,
                               "raising the limit of open descriptors (RLIMIT_NOFILE)"};
}

}  // namespace fnrun::supervisor
