#include "isolation/uid_leases.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <set>

#include "isolation/unique_fd.h"

namespace fnrun::isolation {

// Locks of one open file never conflict with each other, so what this process holds is in `held`.
struct UidLease::Table {
  Table(UidRange r, UniqueFd f, std::uint32_t start) : range(r), file(std::move(f)), next(start) {}
  const UidRange range;
  const UniqueFd file;
  std::mutex mutex;
  std::uint32_t next;  // Offset into the range.
  std::set<std::uint32_t> held;
};

namespace {
int set_lock(int fd, short type, std::uint32_t uid) noexcept {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(uid);
  lock.l_len = 1;
  return ::fcntl(fd, F_OFD_SETLK, &lock);
}
}  // namespace

UidLease& UidLease::operator=(UidLease&& other) noexcept {
  if (this != &other) {
    give_back();
    table_ = std::move(other.table_);
    uid_ = other.uid_;
  }
  return *this;
}

void UidLease::give_back() noexcept {
  if (!table_) return;
  const std::lock_guard guard(table_->mutex);
  set_lock(table_->file.get(), F_UNLCK, uid_);
  table_->held.erase(uid_);
  table_.reset();
}

Result<UidLeases> UidLeases::open(UidRange range, const std::filesystem::path& lock_file) {
  if (range.count == 0) return SetupError{SetupStep::kUidLease, 0, 0, "the range of uids is empty"};
  const auto folder = lock_file.parent_path();
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return SetupError{SetupStep::kUidLease, 0, errno, "making " + folder.string()};
  UniqueFd file(::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return SetupError{SetupStep::kUidLease, 0, errno, "opening " + lock_file.string()};
  // Supervisors start at different places, so that they seldom ask for each other's uids.
  const auto start = static_cast<std::uint32_t>(::getpid()) * 61U % range.count;
  return UidLeases(std::make_shared<UidLease::Table>(range, std::move(file), start));
}

Result<UidLease> UidLeases::acquire() {
  UidLease::Table& table = *table_;
  const std::lock_guard guard(table.mutex);
  for (std::uint32_t tried = 0; tried < table.range.count; ++tried) {
    const std::uint32_t uid = table.range.first + table.next;
    table.next = (table.next + 1) % table.range.count;
    if (table.held.contains(uid)) continue;
    if (set_lock(table.file.get(), F_WRLCK, uid) == 0) {
      table.held.insert(uid);
      return UidLease(table_, uid);
    }
    if (errno != EAGAIN && errno != EACCES)
      return SetupError{SetupStep::kUidLease, 0, errno, "locking uid " + std::to_string(uid)};
  }
  return SetupError{SetupStep::kUidLease, 0, 0,
                    "all " + std::to_string(table.range.count) + " uids of the range are in use"};
}

}  // namespace fnrun::isolation
