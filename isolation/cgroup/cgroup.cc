#include "isolation/cgroup/cgroup.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "isolation/cgroup/kernel_text.h"

namespace fnrun::isolation {
namespace {

SetupError limit_error(const CgroupSetting& setting, const std::string& what, int os_errno) {
  return {SetupStep::kCgroupLimit, 0, os_errno, setting.file + " = " + setting.value + what};
}

// A kernel without swap accounting has no file to write to; where there is no swap, nothing is
// lost.
bool is_moot(const CgroupSetting& setting) {
  return setting.file == "memory.swap.max" && setting.value == "0" &&
         split(read_kernel_text("/proc/swaps"), '\n').size() <= 1;
}

// What the kernel holds now, of a file that may hold a line for each disk: the line that is ours.
std::string line_of(const std::string& text, const CgroupSetting& setting) {
  const std::string_view key = std::string_view(setting.value).substr(0, setting.value.find(' '));
  std::string_view found;
  for (const auto line : split(text, '\n')) {
    found = line;
    if (setting.file != "io.max" || line.starts_with(std::string(key) + ' ')) break;
  }
  return std::string(found);
}

Result<void> set_one(int dir, const CgroupSetting& setting) {
  const UniqueFd file(::openat(dir, setting.file.c_str(), O_RDWR | O_CLOEXEC));
  if (!file && errno == ENOENT && is_moot(setting)) return {};
  if (!file) return limit_error(setting, "", errno);
  if (::write(file.get(), setting.value.data(), setting.value.size()) < 0)
    return limit_error(setting, "", errno);
  std::array<char, 8192> buffer;  // NOLINT(*-member-init): only n of them looked at.
  const ssize_t n = ::pread(file.get(), buffer.data(), buffer.size(), 0);
  if (n < 0) return limit_error(setting, ": reading it back", errno);
  const std::string held = line_of({buffer.data(), static_cast<std::size_t>(n)}, setting);
  if (held != setting.value)
    return limit_error(setting, ": the kernel made of it '" + held + "'", 0);
  return {};
}

// cpuset.cpus keeps what was written; what holds is what the groups above leave of it.
Result<void> check_cpus(int dir, const CgroupSetting& setting) {
  const std::string effective = line_of(read_kernel_text(dir, "cpuset.cpus.effective"), setting);
  if (effective == setting.value) return {};
  return limit_error(setting, ": only '" + effective + "' of these can be had here", 0);
}

Result<void> write_file(int dir, const char* file, const std::string& text) {
  const UniqueFd fd(::openat(dir, file, O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) < 0)
    return SetupError{SetupStep::kCgroup, 0, errno, std::string("writing ") + text + " to " + file};
  return {};
}

}  // namespace

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  if (this != &other) {
    let_go();
    dir_ = std::move(other.dir_);
    counters_ = std::move(other.counters_);
    peak_ = std::move(other.peak_);
    parent_fd_ = other.parent_fd_;
    name_ = std::move(other.name_);
    leftovers_ = std::move(other.leftovers_);
  }
  return *this;
}

Result<void> Cgroup::set(std::span<const CgroupSetting> settings) const {
  for (const CgroupSetting& setting : settings) {
    if (auto done = set_one(dir_.get(), setting); !done) return done;
    if (setting.file != "cpuset.cpus") continue;
    if (auto held = check_cpus(dir_.get(), setting); !held) return held;
  }
  return {};
}

void Cgroup::kill() const noexcept {
  if (!dir_) return;
  const UniqueFd file(::openat(dir_.get(), "cgroup.kill", O_WRONLY | O_CLOEXEC));
  if (file) (void)!::write(file.get(), "1", 1);
}

// The file is opened before the write: what changes after the open is told by poll(2).
Result<void> Cgroup::freeze(std::chrono::milliseconds patience) const {
  const UniqueFd events(::openat(dir_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (!events) return SetupError{SetupStep::kCgroup, 0, errno, "opening cgroup.events"};
  if (auto written = write_file(dir_.get(), "cgroup.freeze", "1"); !written) return written;
  const auto limit = std::chrono::steady_clock::now() + patience;
  for (;;) {
    std::array<char, 256> text{};
    const ssize_t n = ::pread(events.get(), text.data(), text.size(), 0);
    if (n > 0 && keyed_number({text.data(), static_cast<std::size_t>(n)}, "frozen") == 1) return {};
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd changed{events.get(), POLLPRI, 0};
    (void)::poll(&changed, 1, static_cast<int>(left.count()));
  }
  (void)thaw();
  return SetupError{SetupStep::kCgroup, 0, ETIMEDOUT, "freezing: a process did not stop in time"};
}

Result<void> Cgroup::begin_freeze() const {
  return write_file(dir_.get(), "cgroup.freeze", "1");
}

Result<void> Cgroup::thaw() const {
  return write_file(dir_.get(), "cgroup.freeze", "0");
}

Result<void> Cgroup::reclaim(policies::ByteSize bytes) const {
  auto written = write_file(dir_.get(), "memory.reclaim", std::to_string(bytes.bytes));
  if (!written && written.error().os_errno == EAGAIN) return {};  // There was less to take.
  return written;
}

const CounterFiles& Cgroup::counters() {
  if (!counters_) counters_.emplace(dir_.get());
  return *counters_;
}

ResourceUse Cgroup::use() {
  if (!dir_) return {};
  ResourceUse use = counters().read();
  std::array<char, 32> text{};
  const ssize_t n = peak_ && *peak_ ? ::pread(peak_->get(), text.data(), text.size(), 0) : 0;
  if (n > 1) {  // A number and a newline.
    const std::string_view digits(text.data(), static_cast<std::size_t>(n) - 1);
    use.memory_peak_bytes = to_number<std::uint64_t>(digits);
    use.peak_of_call = true;
  }
  return use;
}

std::optional<CpuTime> Cgroup::cpu_time() {
  if (!dir_) return std::nullopt;
  return counters().read_cpu_time();
}

bool Cgroup::reset_peak() noexcept {
  if (!dir_) return false;
  if (!peak_) peak_ = UniqueFd(::openat(dir_.get(), "memory.peak", O_RDWR | O_CLOEXEC));
  if (!*peak_) return false;
  if (::pwrite(peak_->get(), "r", 1, 0) == 1) return true;
  peak_->reset();  // Before 6.12: not to be tried again.
  return false;
}

void Cgroup::let_go() noexcept {
  if (remove()) return;
  try {
    const std::lock_guard guard(leftovers_->mutex);
    leftovers_->names.push_back(std::move(name_));
  } catch (const std::bad_alloc&) {  // Then the janitor, at our end.
  }
}

bool Cgroup::remove() noexcept {
  if (!dir_) return true;
  if (::unlinkat(parent_fd_, name_.c_str(), AT_REMOVEDIR) != 0 && errno == EBUSY) return false;
  dir_.reset();
  counters_.reset();
  peak_.reset();
  return true;
}

}  // namespace fnrun::isolation
