#include "isolation/root_builder.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

#include "policies/policy_check.h"

namespace fnrun::isolation {
namespace {

constexpr std::uint64_t kReadOnly = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
// What a device node of our own needs: to be one, and nothing else.
constexpr std::uint64_t kDeviceNode = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
constexpr int kLinkDepthMax = 16;

std::string without_slash(const std::string& path) {
  return path.substr(path.find_first_not_of('/'));
}

bool is_below(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

SetupError source_error(std::uint16_t index, int os_errno, std::string subject) {
  return {SetupStep::kMountSource, index, os_errno, std::move(subject)};
}

// May the sandbox's uid, a stranger to the file's owner and group, read it? Named before launch,
// because inside it would be an EACCES that nobody can explain. Deeper files are not looked at.
std::string why_unreadable(const struct stat& info, const std::string& source, const Host& host) {
  const mode_t wanted = S_ISDIR(info.st_mode) ? S_IROTH | S_IXOTH : S_IROTH;
  if (host.privileged)
    return (info.st_mode & wanted) == wanted || (info.st_mode & S_IXOTH) != 0
               ? ""
               : source +
                     " is not readable for others, and the sandbox's uid is neither its owner nor "
                     "in its group";
  return ::access(source.c_str(), R_OK) == 0 || ::access(source.c_str(), X_OK) == 0
             ? ""
             : source + " is not readable for you";
}

std::string canonical(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? real.get() : "";
}

std::string link_text(const std::string& path) {
  std::string text(PATH_MAX, '\0');
  const ssize_t size = ::readlink(path.c_str(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

}  // namespace

Result<void> RootBuilder::add_read_only(const policies::ReadOnlyPath& path, std::uint16_t index) {
  struct stat info {};
  if (::lstat(path.source.c_str(), &info) != 0) {
    if (errno == ENOENT && path.optional) return {};
    return source_error(
        index, errno,
        path.source + (errno == ENOENT ? " (\"optional\": true would leave it out)" : ""));
  }
  // A link of the host, as /lib of a merged /usr, stays a link: what it points to must be shown
  // too.
  if (S_ISLNK(info.st_mode) && path.source == path.target) {
    if (auto parents = make_parents(path.target); !parents) return parents.error();
    const std::string text = link_text(path.source);
    links_[path.target] = text;
    entries_.push_back({.kind = RootEntry::Kind::kSymlink,
                        .path = without_slash(path.target),
                        .source = text,
                        .why = path.why});
    return {};
  }
  return mount(path.target, path.source,
               path.executable ? kReadOnly : kReadOnly | MOUNT_ATTR_NOEXEC, path.why, index);
}

Result<void> RootBuilder::add_executable(const std::string& target, const std::string& source,
                                         const std::string& why) {
  if (shows(target, /*executable=*/true)) return {};
  return mount(resolve_links(target), source, kReadOnly, why, 0);
}

Result<void> RootBuilder::make_parents(const std::string& target) {
  for (auto slash = target.find('/', 1); slash != std::string::npos;
       slash = target.find('/', slash + 1)) {
    const std::string folder = target.substr(0, slash);
    if (links_.contains(folder))
      return SetupError{SetupStep::kMountSource, 0, ENOTDIR,
                        target + " passes through the link " + folder + "; name the real place"};
    if (made_.contains(folder)) continue;
    if (const RootEntry* cover = covering_mount(folder)) {
      struct stat info {};
      const std::string there = cover->source + folder.substr(cover->path.size() + 1);
      if (::stat(there.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
        return SetupError{SetupStep::kMountSource, 0, ENOENT,
                          "mount point " + target + " lies in the read-only " + cover->source +
                              ", where it does not exist"};
      continue;
    }
    made_.insert(folder);
    entries_.push_back({.kind = RootEntry::Kind::kDirectory,
                        .path = without_slash(folder),
                        .source = "",
                        .why = ""});
  }
  return {};
}

Result<void> RootBuilder::mount(std::string target, const std::string& source,
                                std::uint64_t attributes, const std::string& why,
                                std::uint16_t index) {
  const std::string real = canonical(source);
  // What the policy's text may not name, no link on the way may lead to.
  if (const std::string fault = real.empty() ? "" : policies::source_fault(real); !fault.empty())
    return source_error(index, EINVAL, source + " leads to " + real + ", and a source " + fault);
  struct stat info {};
  UniqueFd fd(real.empty() ? -1 : ::open(real.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
  if (!fd || ::fstat(fd.get(), &info) != 0) return source_error(index, errno, source);
  struct statfs system {};
  if (::fstatfs(fd.get(), &system) == 0 && system.f_type == PROC_SUPER_MAGIC)
    return source_error(index, EINVAL,
                        source + " is of a /proc of the host's, wherever it is mounted");
  if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
    return source_error(index, EINVAL, source + " is neither a folder nor a regular file");
  if (std::string why_not = why_unreadable(info, real, host_); !why_not.empty())
    return source_error(index, EACCES, std::move(why_not));
  if (auto parents = make_parents(target); !parents) return parents.error();
  const bool directory = S_ISDIR(info.st_mode);
  if (const RootEntry* cover = covering_mount(target)) {
    struct stat there {};
    const std::string point = cover->source + target.substr(cover->path.size() + 1);
    // An absolute link on the way would lead the init into the old root, and the mount with it.
    if (const std::string real_point = canonical(point); !real_point.empty() && real_point != point)
      return source_error(index, ELOOP,
                          "mount point " + target + " passes through a link of the host's " +
                              cover->source + "; name the real place");
    if (::stat(point.c_str(), &there) != 0 || S_ISDIR(there.st_mode) != directory)
      return source_error(index, ENOENT,
                          "mount point " + target + " lies in the read-only " + cover->source +
                              ", where no such " + (directory ? "folder" : "file") + " exists");
  } else if (made_.insert(target).second) {
    entries_.push_back({.kind = directory ? RootEntry::Kind::kDirectory : RootEntry::Kind::kFile,
                        .path = without_slash(target),
                        .source = "",
                        .why = ""});
  }
  entries_.push_back({.kind = RootEntry::Kind::kMount,
                      .path = without_slash(target),
                      .source = real,
                      .attributes = attributes,
                      .flags = 0,
                      .source_fd = host_.privileged ? std::move(fd) : UniqueFd(),
                      .is_directory = directory,
                      .why = why});
  entries_.back().device = info.st_dev;
  entries_.back().inode = info.st_ino;
  return {};
}

// The innermost mount at or above `target`: the last one made wins.
const RootEntry* RootBuilder::covering_mount(const std::string& target) const {
  const RootEntry* cover = nullptr;
  for (const RootEntry& entry : entries_) {
    if (entry.kind != RootEntry::Kind::kMount) continue;
    const std::string at = "/" + entry.path;
    if ((target == at || is_below(target, at)) &&
        (cover == nullptr || entry.path.size() >= cover->path.size()))
      cover = &entry;
  }
  return cover;
}

// Follows the links that we make at the top of the path ("/bin" -> "usr/bin"), no others: those
// below a mount are the host's own and lead where they lead there.
std::string RootBuilder::resolve_links(const std::string& path) const {
  std::string at = path;
  for (int depth = 0; depth < kLinkDepthMax; ++depth) {
    bool followed = false;
    for (const auto& [link, text] : links_) {
      if (at != link && !is_below(at, link)) continue;
      const std::string base = link.substr(0, link.rfind('/') + 1);
      at = (text.starts_with('/') ? text : base + text) + at.substr(link.size());
      followed = true;
      break;
    }
    if (!followed) return at;
  }
  return path;
}

bool RootBuilder::shows(const std::string& path, bool executable) const {
  const std::string inside = resolve_links(path);
  const RootEntry* cover = covering_mount(inside);
  if (cover == nullptr || (executable && (cover->attributes & MOUNT_ATTR_NOEXEC) != 0))
    return false;
  const std::string on_host = cover->source + inside.substr(cover->path.size() + 1);
  const std::string wanted = canonical(path);
  return !wanted.empty() && canonical(on_host) == wanted;
}

bool RootBuilder::shows_folder(const std::string& path) const {
  const std::string inside = resolve_links(path);
  struct stat info {};
  if (const RootEntry* cover = covering_mount(inside)) {
    const std::string on_host = cover->source + inside.substr(cover->path.size() + 1);
    return ::stat(on_host.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  }
  return inside == "/" || made_.contains(inside);
}

void RootBuilder::add_device_nodes(const policies::Filesystem& filesystem) {
  entries_.push_back({.kind = RootEntry::Kind::kDirectory, .path = "dev", .source = "", .why = ""});
  made_.insert("/dev");
  for (const char* name : {"null", "zero", "full", "random", "urandom"}) {
    const std::string node = std::string("/dev/") + name;
    // A host without one of these is broken; the open_tree of the launch says which.
    UniqueFd fd(host_.privileged ? ::open(node.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW) : -1);
    struct stat info {};
    (void)!::stat(node.c_str(), &info);
    entries_.push_back(
        {.kind = RootEntry::Kind::kFile, .path = without_slash(node), .source = "", .why = ""});
    entries_.push_back({.kind = RootEntry::Kind::kMount,
                        .path = without_slash(node),
                        .source = node,
                        .attributes = kDeviceNode,
                        .flags = 0,
                        .source_fd = std::move(fd),
                        .device = info.st_dev,
                        .inode = info.st_ino,
                        .is_directory = false,
                        .why = "device node"});
  }
  for (const auto& [name, target] :
       {std::pair{"dev/fd", "/proc/self/fd"}, std::pair{"dev/stdin", "/proc/self/fd/0"},
        std::pair{"dev/stdout", "/proc/self/fd/1"}, std::pair{"dev/stderr", "/proc/self/fd/2"}})
    entries_.push_back(
        {.kind = RootEntry::Kind::kSymlink, .path = name, .source = target, .why = ""});
  // A link, so that /tmp's bounds hold for both together and nothing more is to be counted.
  if (!filesystem.dev_shm.empty())
    entries_.push_back({.kind = RootEntry::Kind::kSymlink,
                        .path = "dev/shm",
                        .source = "/tmp",
                        .why = filesystem.dev_shm});
}

void RootBuilder::add_tmp(const policies::Policy& policy) {
  const bool exec = !policy.filesystem.dangerously_exec_from_tmp.empty();
  entries_.push_back({.kind = RootEntry::Kind::kDirectory, .path = "tmp", .source = "", .why = ""});
  entries_.push_back({.kind = RootEntry::Kind::kTmpfs,
                      .path = "tmp",
                      .source = "mode=1777,size=" + std::to_string(policy.limits.tmp_max.bytes),
                      .attributes = 0,
                      .flags = MS_NOSUID | MS_NODEV | (exec ? 0U : MS_NOEXEC),
                      .source_fd = {},
                      .is_directory = true,
                      .why = exec ? policy.filesystem.dangerously_exec_from_tmp : ""});
  made_.insert("/tmp");
  tmp_inodes_max_ = policy.limits.tmp_inodes_max;
}

// The folder /tmp itself, and what leads to a handler that lies in it, are not the handler's doing.
std::vector<RootEntry> RootBuilder::take() && {
  const auto ours = [](const RootEntry& entry) {
    return entry.path.starts_with("tmp/") &&
           (entry.kind == RootEntry::Kind::kDirectory || entry.kind == RootEntry::Kind::kFile);
  };
  const auto inodes =
      tmp_inodes_max_ + 1 +
      static_cast<std::uint64_t>(std::count_if(entries_.begin(), entries_.end(), ours));
  for (RootEntry& entry : entries_)
    if (entry.kind == RootEntry::Kind::kTmpfs)
      entry.source += ",nr_inodes=" + std::to_string(inodes);
  return std::move(entries_);
}

void RootBuilder::add_proc() {
  entries_.push_back(
      {.kind = RootEntry::Kind::kDirectory, .path = "proc", .source = "", .why = ""});
  entries_.push_back({.kind = RootEntry::Kind::kProc,
                      .path = "proc",
                      .source = "subset=pid",
                      .attributes = 0,
                      .flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
                      .source_fd = {},
                      .is_directory = true,
                      .why = ""});
  made_.insert("/proc");
}

}  // namespace fnrun::isolation
