#include "supervisor/resource_watch.h"

#include <algorithm>
#include <utility>

namespace fnrun::supervisor {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Faster than one CPU of 2026 zeroes fresh pages; so much can be taken between two looks at most.
constexpr std::uint64_t kBytesPerMicrosecond = 4'096;
constexpr microseconds kSoonest = milliseconds(2);
constexpr microseconds kLatestInCall = milliseconds(50);
constexpr microseconds kLatestIdle = milliseconds(500);
constexpr microseconds kSoonestCpu = milliseconds(1);
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

// A timer that is still armed from an earlier call comes too early for this one, never too late.
void ResourceWatch::begin_call(const std::optional<isolation::CpuTime>& used) {
  in_call_ = true;
  resident_peak_.reset();
  threads_peak_.reset();
  if (times_cpu_)
    cpu_now_ = cpu_before_ = used ? used->total() : cpu_used().value_or(microseconds{});
  if (samples_) {
    timer_.cancel();  // It may be as late as between calls.
    armed_ = false;
    resident_now_ = 0;
  }
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

microseconds ResourceWatch::until_next_look() const {
  microseconds wait = microseconds::max();
  const policies::Limits& limits = plan_.policy.limits;
  if (samples_) {
    const std::uint64_t headroom =
        limits.memory_max.bytes - std::min(limits.memory_max.bytes, resident_now_);
    const auto to_fill = microseconds(static_cast<std::int64_t>(
        std::min<std::uint64_t>(headroom / kBytesPerMicrosecond, 1U << 30)));
    wait = std::clamp(to_fill, kSoonest, in_call_ ? kLatestInCall : kLatestIdle);
  }
  if (times_cpu_) {
    const auto left = microseconds(limits.cpu_time_max) - (cpu_now_ - cpu_before_);
    wait = std::min(wait, std::max(kSoonestCpu, left / plan_.host.cgroup.cpus));
  }
  return wait;
}

void ResourceWatch::arm() {
  if (armed_ || over_) return;
  const microseconds wait = until_next_look();
  if (wait == microseconds::max()) return;
  armed_ = true;
  timer_.expires_after(std::max(wait, std::min(kLongestRest, last_look_took_ * kRestPerLook)));
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (!self || error) return;
    self->armed_ = false;
    const auto began = std::chrono::steady_clock::now();
    self->look();
    self->last_look_took_ =
        std::chrono::duration_cast<microseconds>(std::chrono::steady_clock::now() - began);
    self->arm();
  });
}

void ResourceWatch::look() {
  if (over_) return;
  const policies::Limits& limits = plan_.policy.limits;
  if (samples_) {
    const auto exact_above = std::min(limits.memory_max.bytes, resident_peak_.value_or(0));
    if (const auto sample = sandbox_.sample(exact_above)) {
      resident_now_ = sample->resident_bytes;
      resident_peak_ = std::max(resident_peak_.value_or(0), sample->resident_bytes);
      threads_peak_ = std::max(threads_peak_.value_or(0), sample->threads);
    }
    if (plan_.sample_memory && resident_now_ > limits.memory_max.bytes)
      return exceeded(Cause::kOverMemory);
  }
  if (times_cpu_) {
    cpu_now_ = cpu_used().value_or(cpu_now_);
    if (cpu_now_ - cpu_before_ >= microseconds(limits.cpu_time_max))
      return exceeded(Cause::kOverCpuTime);
  }
}

void ResourceWatch::exceeded(Cause cause) {
  over_ = true;
  on_exceeded_(cause);
}

}  // namespace fnrun::supervisor
