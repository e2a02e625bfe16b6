// What this process itself uses, as /proc and the kernel's clocks tell it.
//
// Of the supervisor, not of its sandboxes. What cannot be read is absent, never 0. Functions; any
// thread.
#pragma once

#include <cstdint>
#include <optional>

namespace fnrun::supervisor::http {

struct ProcessUse {
  double cpu_seconds = 0;  // User and system.
  std::optional<std::uint64_t> resident_bytes;
  std::optional<std::uint64_t> open_fds;
  std::optional<std::uint64_t> max_fds;  // Absent, too, where there is no limit.
};
[[nodiscard]] ProcessUse process_use();

// Seconds since 1970. By today's clock: to be asked once, so that it stays what it is.
[[nodiscard]] std::optional<double> process_start_time();

}  // namespace fnrun::supervisor::http
