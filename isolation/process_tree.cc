#include "isolation/process_tree.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>

#include "isolation/cgroup/kernel_text.h"

namespace fnrun::isolation {
namespace {

// RLIMIT_NPROC bounds a sandbox; this bounds us.
constexpr std::size_t kProcessesMax = 65'536;

struct CloseDir {
  void operator()(DIR* dir) const noexcept { ::closedir(dir); }
};

}  // namespace

std::vector<std::string> names_in(int dir_fd, const char* path, std::size_t max) {
  std::vector<std::string> names;
  UniqueFd fd(::openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return names;
  const std::unique_ptr<DIR, CloseDir> dir(::fdopendir(fd.get()));
  if (!dir) return names;
  (void)fd.release();  // closedir() closes it.
  while (names.size() < max) {
    const dirent* const entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

// proc(5): flags are field 9; the state, field 3, is the first behind the name.
bool is_exiting(pid_t pid) {
  constexpr std::size_t kFlags = 6;
  constexpr std::uint64_t kPfExiting = 4;
  const std::string stat = read_kernel_text(proc_file(pid, "stat"));
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return true;
  const auto fields = split(std::string_view(stat).substr(name_end + 1), ' ');
  return fields.size() <= kFlags ||
         (to_number<std::uint64_t>(fields[kFlags]).value_or(0) & kPfExiting) != 0;
}

std::string proc_file(pid_t pid, std::string_view file) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(file);
}

std::uint64_t status_number(std::string_view status, std::string_view key) {
  for (const auto line : split(status, '\n')) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    std::string_view value = line.substr(key.size() + 1);
    value.remove_prefix(std::min(value.find_first_not_of("\t "), value.size()));
    return to_number<std::uint64_t>(value.substr(0, value.find(' '))).value_or(0);
  }
  return 0;
}

bool can_see_children() {
  return ::access("/proc/thread-self/children", R_OK) == 0;
}

void add_children(pid_t pid, std::vector<Process>& found) {
  const std::string tasks = proc_file(pid, "task");
  for (const std::string& task : names_in(AT_FDCWD, tasks.c_str(), kProcessesMax)) {
    const std::string children = read_kernel_text(tasks + "/" + task + "/children");
    for (const auto child : split(children, ' '))
      if (const auto number = to_number<pid_t>(child); number && found.size() < kProcessesMax)
        found.push_back({*number, pid});
  }
}

std::vector<Process> descendants(pid_t root) {
  std::vector<Process> all;
  add_children(root, all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const pid_t pid = all[i].pid;
    add_children(pid, all);
  }
  return all;
}

std::optional<pid_t> handler_below(pid_t init) {
  std::vector<Process> children;
  add_children(init, children);
  for (const Process& child : children) {
    const std::string status = read_kernel_text(proc_file(child.pid, "status"));
    for (const auto line : split(status, '\n'))
      if (line.starts_with("NSpid:") && line.ends_with("\t2")) return child.pid;
  }
  return std::nullopt;
}

}  // namespace fnrun::isolation
