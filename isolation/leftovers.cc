#include "isolation/leftovers.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>

#include "isolation/cgroup/kernel_text.h"
#include "isolation/process_tree.h"

namespace fnrun::isolation {
namespace {

// Of one process, and of one folder. A policy's open_files_max and tmp_inodes_max bound a sandbox;
// these bound us.
constexpr std::size_t kDescriptorsMax = 65'536;
constexpr std::size_t kNamesMax = 1'024;

SetupError cannot_look(const std::string& at, int os_errno) {
  return {SetupStep::kNone, 0, os_errno, "looking at " + at};
}

// "pid (name) S …": the name is the handler's choice.
char state_of(std::string_view stat) {
  const auto name_end = stat.rfind(')');
  return name_end == std::string_view::npos || name_end + 2 >= stat.size() ? '?'
                                                                           : stat[name_end + 2];
}

bool is_zombie(pid_t pid) {
  return state_of(read_kernel_text(proc_file(pid, "stat"))) == 'Z';
}

// KERNEL >= 6.2 tells the number of descriptors as the folder's size; before, it is 0.
std::uint64_t count_descriptors(int folder) {
  struct stat info {};
  if (::fstat(folder, &info) == 0 && info.st_size > 0)
    return static_cast<std::uint64_t>(info.st_size);
  return names_in(folder, ".", kDescriptorsMax).size();
}

struct Used {
  std::uint64_t blocks = 0;
  std::uint64_t inodes = 0;
};
Used used_of(int tmpfs) {
  struct statfs info {};
  if (::fstatfs(tmpfs, &info) != 0) return {UINT64_MAX, UINT64_MAX};  // Never clean.
  return {info.f_blocks - info.f_bfree, info.f_files - info.f_ffree};
}

void add(std::vector<std::string>& found, std::string text) {
  if (found.size() >= Leftovers::kItemsMax) return;
  if (text.size() > Leftovers::kTextMax) text.resize(Leftovers::kTextMax);
  found.push_back(std::move(text));
}

// What `now` has and `before` has not.
std::vector<std::string> only_in(std::vector<std::string> now, std::vector<std::string> before) {
  std::sort(now.begin(), now.end());
  std::sort(before.begin(), before.end());
  std::vector<std::string> more;
  std::set_difference(now.begin(), now.end(), before.begin(), before.end(),
                      std::back_inserter(more));
  return more;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string amount(std::uint64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::uint64_t more_than(std::uint64_t now, std::uint64_t before) {
  return now > before ? now - before : 0;
}

}  // namespace

bool allows_ipc_objects(const policies::Seccomp& profile) {
  return std::any_of(profile.rules.begin(), profile.rules.end(), [](const auto& rule) {
    return rule.action.kind == policies::SyscallAction::Kind::kAllow &&
           std::any_of(rule.calls.begin(), rule.calls.end(), [](const std::string& call) {
             return call == "shmget" || call == "semget" || call == "msgget";
           });
  });
}

Leftovers::Leftovers(pid_t init, int init_pidfd, int cgroup, const Plan& plan)
    : init_(init),
      init_pidfd_(init_pidfd),
      has_cgroup_(cgroup >= 0),
      counts_ipc_(allows_ipc_objects(plan.policy.seccomp)) {
  if (has_cgroup_) cgroup_procs_ = UniqueFd(::openat(cgroup, "cgroup.procs", O_RDONLY | O_CLOEXEC));
  for (const RootEntry& entry : plan.root) {
    if (entry.kind != RootEntry::Kind::kTmpfs) continue;
    tmpfs_.emplace_back();
    tmpfs_.back().path = "/" + entry.path;
  }
}

// Living processes, sorted, without the init. The group's own list costs one read, however many
// there are; the other way is for supervisors without a cgroup.
Result<std::vector<pid_t>> Leftovers::members() {
  std::vector<pid_t> pids;
  if (!has_cgroup_) {
    for (const Process& process : descendants(init_))
      if (!is_zombie(process.pid)) pids.push_back(process.pid);
  } else {
    if (!cgroup_procs_ || ::lseek(cgroup_procs_.get(), 0, SEEK_SET) != 0)
      return cannot_look("cgroup.procs", errno);
    std::string text;
    char buffer[4096];
    for (;;) {
      const ssize_t n = ::read(cgroup_procs_.get(), buffer, sizeof buffer);
      if (n < 0 && errno != EINTR) return cannot_look("cgroup.procs", errno);
      if (n == 0 || text.size() >= kKernelTextMax) break;
      if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    }
    for (const auto line : split(text, '\n'))
      if (const auto pid = to_number<pid_t>(line); pid && *pid != init_) pids.push_back(*pid);
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

bool Leftovers::settled() const {
  for (const Process& process : descendants(init_)) {
    const std::string tasks = proc_file(process.pid, "task");
    for (const std::string& task : names_in(AT_FDCWD, tasks.c_str(), kDescriptorsMax)) {
      const char state = state_of(read_kernel_text(tasks + "/" + task + "/stat"));
      if (state != 'S' && state != 'Z') return false;
    }
  }
  return true;
}

// By way of the handler's root: the paths lead through nothing that the handler could have put
// there, for its root is read-only and these are mounts.
Result<void> Leftovers::open_tmpfs(pid_t handler) {
  for (Tmpfs& tmpfs : tmpfs_) {
    const std::string path = proc_file(handler, "root") + tmpfs.path;
    tmpfs.root = UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!tmpfs.root) return cannot_look(tmpfs.path + " of the sandbox", errno);
  }
  return {};
}

Result<void> Leftovers::remember() {
  const auto handler = handler_below(init_);
  if (!handler) return cannot_look("the handler", ESRCH);
  if (auto opened = open_tmpfs(*handler); !opened) return opened;
  auto processes = members();
  if (!processes) return processes.error();
  processes_ = std::move(*processes);
  for (Tmpfs& tmpfs : tmpfs_) {
    const Used used = used_of(tmpfs.root.get());
    tmpfs.blocks = used.blocks;
    tmpfs.inodes = used.inodes;
    tmpfs.names = names_in(tmpfs.root.get(), ".", kNamesMax);
  }
  descriptors_.clear();
  for (const pid_t pid : processes_) {
    const std::string path = proc_file(pid, "fd");
    UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder && errno == ENOENT) continue;  // It has ended meanwhile.
    if (!folder) return cannot_look(path, errno);
    auto numbers = names_in(folder.get(), ".", kDescriptorsMax);
    const auto count = count_descriptors(folder.get());
    descriptors_.push_back({pid, std::move(folder), count, std::move(numbers)});
  }
  if (counts_ipc_) {
    const auto counts = count_ipc();
    if (!counts) return counts.error();
    ipc_ = *counts;
  }
  return {};
}

Result<std::vector<std::string>> Leftovers::find() {
  std::vector<std::string> found;
  const auto now = members();
  if (!now) return now.error();
  find_processes(*now, found);
  find_descriptors(found);
  find_files(found);
  if (counts_ipc_) {
    const auto counts = count_ipc();
    if (!counts) return counts.error();
    constexpr std::array kNames = {"segment", "set", "queue"};
    constexpr std::array kOf = {" of shared memory", " of semaphores", " of messages"};
    for (std::size_t i = 0; i < ipc_.size(); ++i)
      if (const auto more = more_than((*counts)[i], ipc_[i]); more != 0)
        add(found, amount(more, kNames[i]) + kOf[i] + " (System V)");
  }
  return found;
}

void Leftovers::find_processes(const std::vector<pid_t>& now,
                               std::vector<std::string>& found) const {
  std::vector<pid_t> more;
  std::set_difference(now.begin(), now.end(), processes_.begin(), processes_.end(),
                      std::back_inserter(more));
  for (const pid_t pid : more) {
    if (found.size() >= kItemsMax) return;  // Of a thousand, sixteen tell enough.
    std::string name = read_kernel_text(proc_file(pid, "comm"));
    if (name.ends_with('\n')) name.pop_back();
    add(found, "process " + std::to_string(pid) + " (" + name + ")");
  }
}

void Leftovers::find_descriptors(std::vector<std::string>& found) const {
  for (const Descriptors& of : descriptors_) {
    if (count_descriptors(of.folder.get()) <= of.count) continue;
    for (const std::string& number :
         only_in(names_in(of.folder.get(), ".", kDescriptorsMax), of.numbers)) {
      char target[kTextMax];
      const ssize_t n = ::readlinkat(of.folder.get(), number.c_str(), target, sizeof target);
      add(found, "descriptor " + number + " (" +
                     std::string(target, n > 0 ? static_cast<std::size_t>(n) : 0) + ")");
      if (found.size() >= kItemsMax) return;
    }
  }
}

void Leftovers::find_files(std::vector<std::string>& found) const {
  for (const Tmpfs& tmpfs : tmpfs_) {
    const Used used = used_of(tmpfs.root.get());
    if (used.blocks <= tmpfs.blocks && used.inodes <= tmpfs.inodes) continue;
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    std::string text = amount(more_than(used.inodes, tmpfs.inodes), "file") + " and " +
                       std::to_string(more_than(used.blocks, tmpfs.blocks) * page) +
                       " bytes more in " + tmpfs.path;
    const auto names = joined(only_in(names_in(tmpfs.root.get(), ".", kNamesMax), tmpfs.names));
    if (!names.empty()) text += ": " + names;
    add(found, std::move(text));
  }
}

// A thread that joins the namespace and ends there: nobody need find the way back.
Result<Leftovers::IpcCounts> Leftovers::count_ipc() const {
  IpcCounts counts{};
  int failed = 0;
  const auto count = [&] {
    shm_info shared{};
    seminfo semaphores{};
    msginfo queues{};
    union semun {
      int value;
      seminfo* info;
    } argument{.info = &semaphores};
    if (::setns(init_pidfd_, CLONE_NEWIPC) != 0 ||
        ::shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&shared)) < 0 ||
        ::semctl(0, 0, SEM_INFO, argument) < 0 ||
        ::msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&queues)) < 0) {
      failed = errno;
      return;
    }
    counts = {static_cast<std::uint64_t>(shared.used_ids),
              static_cast<std::uint64_t>(semaphores.semusz),
              static_cast<std::uint64_t>(queues.msgpool)};
  };
  try {
    std::thread(count).join();
  } catch (const std::system_error& error) {
    failed = error.code().value();
  }
  if (failed != 0) return cannot_look("the sandbox's IPC objects", failed);
  return counts;
}

}  // namespace fnrun::isolation
