#include "supervisor/resource_watch.h"

#include <algorithm>
#include <utility>

namespace fnrun::supervisor {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Faster than one CPU of 2026 zeroes fresh pages; so much can be taken between two looks at most.
constexpr std::uint64_t kBytesPerMicrosecond = 4'096;
constexpr microseconds kSoonest = milliseconds(2);
constexpr microseconds kLatestInCall = milliseconds(50);
constexpr microseconds kLatestIdle = milliseconds(500);
constexpr microseconds kSoonestCpu = milliseconds(1);
constexpr microseconds kBeforeDeadline = milliseconds(2);
constexpr int kRestPerLook = 9;
constexpr microseconds kLongestRest = milliseconds(500);

}  // namespace

ResourceWatch::ResourceWatch(boost::asio::any_io_executor executor, isolation::Sandbox& sandbox,
                             const isolation::Plan& plan, std::function<void(Cause)> on_exceeded)
    : sandbox_(sandbox),
      plan_(plan),
      on_exceeded_(std::move(on_exceeded)),
      timer_(std::move(executor)),
      samples_(plan.sample_memory || plan.sample_processes ||
               (plan.use_cgroup && !plan.host.cgroup.has_peaks)),
      times_cpu_(plan.policy.limits.cpu_time_max.count() != 0) {}

void ResourceWatch::start() {
  arm();
}

std::optional<microseconds> ResourceWatch::cpu_used() {
  if (const auto used = sandbox_.cpu_time()) return used->total();
  if (const auto sample = sandbox_.sample(UINT64_MAX)) return sample->cpu;
  return std::nullopt;
}

// What was seen between calls may be rougher than a call's own peak is to be.
void ResourceWatch::begin_call(const std::optional<isolation::CpuTime>& used, TimePoint deadline) {
  in_call_ = true;
  deadline_ = deadline;
  resident_peak_.reset();
  threads_peak_.reset();
  sampled_at_.reset();
  resident_now_ = 0;
  if (times_cpu_)
    cpu_now_ = cpu_before_ = used ? used->total() : cpu_used().value_or(microseconds{});
  arm();
}

// From here on what goes on in the background has a budget of its own, as large as a call's.
void ResourceWatch::end_call(const std::optional<isolation::CpuTime>& used) {
  in_call_ = false;
  if (!times_cpu_ || over_) return;
  if (used) cpu_now_ = used->total();
  cpu_before_ = cpu_now_;
  arm();
}

void ResourceWatch::stop() {
  over_ = true;
  timer_.cancel();
}

microseconds ResourceWatch::before_deadline() const {
  return std::max(kBeforeDeadline, 2 * last_look_took_);
}

microseconds ResourceWatch::until_next_look(TimePoint now) const {
  microseconds wait = microseconds::max();
  const policies::Limits& limits = plan_.policy.limits;
  if (samples_) {
    const std::uint64_t headroom =
        limits.memory_max.bytes - std::min(limits.memory_max.bytes, resident_now_);
    const auto to_fill = microseconds(static_cast<std::int64_t>(
        std::min<std::uint64_t>(headroom / kBytesPerMicrosecond, 1U << 30)));
    wait = std::clamp(to_fill, kSoonest, in_call_ ? kLatestInCall : kLatestIdle);
    const auto last = deadline_ - before_deadline();
    if (in_call_ && last > now)
      wait = std::min(wait, std::chrono::duration_cast<microseconds>(last - now));
  }
  if (times_cpu_) {
    const auto left = microseconds(limits.cpu_time_max) - (cpu_now_ - cpu_before_);
    wait = std::min(wait, std::max(kSoonestCpu, left / plan_.host.cgroup.cpus));
  }
  return wait;
}

// Lazy: on the warm path each call's first look is due later than the one before, so a timer that
// is set stays, and comes too early for a call rather than costs it a system call.
void ResourceWatch::arm() {
  if (over_) return;
  const auto now = steady_clock::now();
  const microseconds wait = until_next_look(now);
  if (wait == microseconds::max()) return;
  const auto at = now + std::max(wait, std::min(kLongestRest, last_look_took_ * kRestPerLook));
  if (armed_ && armed_for_ <= at) return;
  armed_ = true;
  armed_for_ = at;
  timer_.expires_at(at);
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (!self || error) return;
    self->armed_ = false;
    self->look();
    self->arm();
  });
}

void ResourceWatch::look_at_end() {
  if (steady_clock::now() - last_look_ > 2 * before_deadline()) look();
}

void ResourceWatch::look() {
  if (over_) return;
  last_look_ = steady_clock::now();
  const policies::Limits& limits = plan_.policy.limits;
  if (samples_) {
    take_sample();
    if (plan_.sample_memory && resident_now_ > limits.memory_max.bytes)
      return exceeded(Cause::kOverMemory);
  }
  if (times_cpu_) {
    cpu_now_ = cpu_used().value_or(cpu_now_);
    if (cpu_now_ - cpu_before_ >= microseconds(limits.cpu_time_max))
      return exceeded(Cause::kOverCpuTime);
  }
  last_look_took_ = std::chrono::duration_cast<microseconds>(steady_clock::now() - last_look_);
}

void ResourceWatch::take_sample() {
  const auto used = sandbox_.cpu_time();
  if (!used || used->total() != sampled_at_) {
    const std::uint64_t memory_max = plan_.policy.limits.memory_max.bytes;
    sample_ = sandbox_.sample(std::min(memory_max, resident_peak_.value_or(0)));
    sampled_at_.reset();
    if (used) sampled_at_ = used->total();
  }
  if (!sample_) return;
  resident_now_ = sample_->resident_bytes;
  resident_peak_ = std::max(resident_peak_.value_or(0), sample_->resident_bytes);
  threads_peak_ = std::max(threads_peak_.value_or(0), sample_->threads);
}

void ResourceWatch::exceeded(Cause cause) {
  over_ = true;
  on_exceeded_(cause);
}

}  // namespace fnrun::supervisor
