// Who lives below a process, by /proc: the children, their children, and which one is the handler.
//
// A look at one instant. For a sandbox the root is its init, to which every orphan inside is
// handed, so nothing inside is outside the tree. Private to this room. Kernel text, read bounded;
// any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fnrun::isolation {

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
};

// Whether this kernel tells the children of a process (CONFIG_PROC_CHILDREN).
[[nodiscard]] bool can_see_children();
// The children of every thread of it: a thread that forks is the parent. Appended.
void add_children(pid_t pid, std::vector<Process>& found);
// All below `root`, parents before their children; without the root. At most kProcessesMax.
[[nodiscard]] std::vector<Process> descendants(pid_t root);

// The child of a sandbox's init that has pid 2 inside: no other process ever had, for its end is
// the sandbox's end. Nothing once it has ended.
[[nodiscard]] std::optional<pid_t> handler_below(pid_t init);

// The names in a folder, without "." and "..", in no order; at most `max`. None
// where the process whose folder it is has ended.
[[nodiscard]] std::vector<std::string> names_in(int dir_fd, const char* path, std::size_t max);

// Has begun to exit (PF_EXITING), or is gone: its descriptors are closed after that.
[[nodiscard]] bool is_exiting(pid_t pid);

// "/proc/PID/file".
[[nodiscard]] std::string proc_file(pid_t pid, std::string_view file);
// Of /proc/PID/status: "Threads:\t4", by key.
[[nodiscard]] std::uint64_t status_number(std::string_view status, std::string_view key);

}  // namespace fnrun::isolation
