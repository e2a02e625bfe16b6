#include "voice.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace fnrun::tools {

bool use_colour() {
  const char* no_color =
      std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): before any thread
  return (no_color == nullptr || *no_color == '\0') && ::isatty(STDERR_FILENO) == 1;
}

void Voice::complain(std::string_view message) {
  say((colour_ ? "\x1b[1mfnrun-supervise:\x1b[0m " : "fnrun-supervise: ") + std::string(message));
}

}  // namespace fnrun::tools
