#include "tests/support/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>

#include "isolation/unique_fd.h"

namespace fnrun::test {
namespace {

namespace fs = std::filesystem;

// A process may end while its file is being read (ESRCH, which a stream turns into an exception):
// what was read until then is all there is.
std::string read_all(const std::string& path) {
  const isolation::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (ssize_t n; fd && (n = ::read(fd.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  return text;
}

// Every pid there is; processes that end meanwhile just read as empty files.
std::vector<long> all_pids() {
  std::vector<long> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    long pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

// "1234" or "1234 zombie" if `pid` is a child of ours, "" else. The process's name may hold
// anything: the fields are looked for behind its last parenthesis.
std::string describe_child(long pid) {
  const std::string stat = read_all("/proc/" + std::to_string(pid) + "/stat");
  const auto close = stat.rfind(')');
  if (close == std::string::npos || close + 4 > stat.size()) return "";
  if (std::strtol(stat.c_str() + close + 4, nullptr, 10) != ::getpid()) return "";
  return std::to_string(pid) + (stat[close + 2] == 'Z' ? " zombie" : "");
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Ledger& ledger) {
  out << "\n  descriptors: " << ledger.descriptors << "\n  mounts: " << ledger.mounts.size();
  for (const auto& child : ledger.children) out << "\n  child: " << child;
  for (const auto& cgroup : ledger.cgroups) out << "\n  cgroup: " << cgroup;
  return out << "\n";
}

std::set<std::string> cgroups_of(long pid, const std::string& cgroup_dir) {
  std::set<std::string> found;
  if (cgroup_dir.empty()) return found;
  const std::string ours = "fnrun-" + std::to_string(pid) + "-";
  for (const auto& entry : fs::directory_iterator(cgroup_dir)) {
    if (!entry.path().filename().string().starts_with(ours)) continue;
    found.insert(entry.path());
    std::error_code gone;
    for (const auto& inner : fs::directory_iterator(entry.path(), gone))
      if (inner.is_directory(gone)) found.insert(inner.path());
  }
  return found;
}

std::set<long> processes_marked(const std::string& marker) {
  std::set<long> found;
  for (const long pid : all_pids())
    if (read_all("/proc/" + std::to_string(pid) + "/cmdline").find(marker) != std::string::npos)
      found.insert(pid);
  return found;
}

Ledger take_ledger(const std::string& cgroup_dir) {
  Ledger ledger;
  ledger.cgroups = cgroups_of(::getpid(), cgroup_dir);
  for (const long pid : all_pids())
    if (std::string child = describe_child(pid); !child.empty()) ledger.children.insert(child);
  ledger.descriptors = static_cast<std::size_t>(
      std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
  std::ifstream mountinfo("/proc/self/mountinfo");
  for (std::string line; std::getline(mountinfo, line);) ledger.mounts.push_back(line);
  return ledger;
}

}  // namespace fnrun::test
