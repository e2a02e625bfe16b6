#include "supervisor/resource_watch.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "isolation/signal_block.h"

namespace fnrun::supervisor {
namespace {

namespace asio = boost::asio;
using std::chrono::duration_cast;
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
constexpr microseconds kPatienceAtEnd = milliseconds(2);
constexpr microseconds kLong = milliseconds(50);  // To be looked at.
constexpr int kQuickLooks = 100;  // In a row, of a watch that is to count as quick again.
constexpr int kRestPerLook = 9;
constexpr microseconds kLongestRest = milliseconds(500);

// The threads that look, for all watches of this process. Not Asio's system_executor: what a
// program does there could keep limits from being held. Two: who takes long to be looked at keeps
// others waiting who do as well, and nobody else for more than one look.
asio::thread_pool& lookers(bool long_ones) {
  const auto start = []() -> asio::thread_pool& {
    const isolation::SignalBlock signals_are_the_programs;
    return *new asio::thread_pool(1);  // Never joined: a look that hangs would hang the exit.
  };
  static asio::thread_pool& at_quick_ones = start();
  static asio::thread_pool& at_long_ones = start();
  return long_ones ? at_long_ones : at_quick_ones;
}

}  // namespace

// One, and what it saw.
struct ResourceWatch::Look {
  What what{};
  std::uint64_t call = 0;  // In which it began.
  std::optional<microseconds> cpu_by_cgroup;
  TimePoint asked;
  microseconds took{};  // Looking alone.
  std::optional<isolation::ProcessSample> seen;
};

ResourceWatch::ResourceWatch(asio::any_io_executor executor, isolation::Sandbox& sandbox,
                             const isolation::Plan& plan, std::function<void(Cause)> on_exceeded,
                             Sampler sampler)
    : sandbox_(sandbox),
      plan_(plan),
      on_exceeded_(std::move(on_exceeded)),
      sampler_(std::move(sampler)),
      way_back_(std::make_shared<WayBack>(executor)),
      given_up_(std::make_shared<std::atomic<bool>>(false)),
      timer_(executor),
      look_ended_(executor),
      samples_(plan.sample_memory || plan.sample_processes ||
               (plan.use_cgroup && !plan.host.cgroup.has_peaks)),
      times_cpu_(plan.policy.limits.cpu_time_max.count() != 0),
      cgroup_tells_(plan.use_cgroup),
      quick_looks_(kQuickLooks) {
  if (samples()) lookers(false);  // Now, where somebody hears that it cannot be.
}

ResourceWatch::~ResourceWatch() {
  stop();
  way_back_->close();
}

void ResourceWatch::start() {
  const auto now = steady_clock::now();
  if (times_cpu_ && cgroup_tells_) cpu_due_ = now + until_cpu_is_used_up();
  sample_due_ = next_sample(now);
  arm();
}

// What was seen between calls may be rougher than a call's own peak is to be.
void ResourceWatch::begin_call(const std::optional<isolation::CpuTime>& used, TimePoint deadline) {
  const auto now = steady_clock::now();
  in_call_ = true;
  ++call_;
  deadline_ = deadline;
  resident_peak_.reset();
  threads_peak_.reset();
  sampled_at_.reset();
  resident_now_ = 0;
  if (times_cpu_) {
    cpu_before_.reset();
    if (const auto known = used ? used : sandbox_.cpu_time())
      take_cpu(known->total(), now);
    else if (now >= rest_until_)
      begin_look(What::kCpuTime, std::nullopt);
  }
  sample_due_ = std::min(sample_due_, next_sample(now));
  arm();
}

// From here on what goes on in the background has a budget of its own, as large as a call's.
void ResourceWatch::end_call(const std::optional<isolation::CpuTime>& used) {
  in_call_ = false;
  if (!times_cpu_ || over_) return;
  if (used) {
    cpu_before_.reset();
    take_cpu(used->total(), steady_clock::now());
  } else if (cpu_before_) {
    cpu_before_ = cpu_now_;
  }
  arm();
}

void ResourceWatch::stop() {
  over_ = true;
  *given_up_ = true;
  timer_.cancel();
}

asio::awaitable<void> ResourceWatch::looked_away(TimePoint limit) {
  while (looking_ && steady_clock::now() < limit) {
    look_ended_.expires_at(limit);
    co_await look_ended_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

microseconds ResourceWatch::before_deadline() const {
  return std::max(kBeforeDeadline, 2 * last_look_took_);
}

microseconds ResourceWatch::until_cpu_is_used_up() const {
  const auto used = cpu_before_ ? cpu_now_ - *cpu_before_ : microseconds{};
  const auto left = microseconds(plan_.policy.limits.cpu_time_max) - used;
  return std::max(kSoonestCpu, left / plan_.host.cgroup.cpus);
}

ResourceWatch::TimePoint ResourceWatch::next_sample(TimePoint now) const {
  if (!samples()) return TimePoint::max();
  microseconds wait = microseconds::max();
  if (samples_) {
    const std::uint64_t memory_max = plan_.policy.limits.memory_max.bytes;
    const std::uint64_t headroom = memory_max - std::min(memory_max, resident_now_);
    const auto to_fill = microseconds(static_cast<std::int64_t>(
        std::min<std::uint64_t>(headroom / kBytesPerMicrosecond, 1U << 30)));
    wait = std::clamp(to_fill, kSoonest, in_call_ ? kLatestInCall : kLatestIdle);
    const auto last = deadline_ - before_deadline();
    if (in_call_ && last > now) wait = std::min(wait, duration_cast<microseconds>(last - now));
  }
  if (times_cpu_ && !cgroup_tells_)  // At once, where a call's account has not begun.
    wait = std::min(wait, cpu_before_ ? until_cpu_is_used_up() : microseconds{});
  return std::max(now + wait, rest_until_);
}

// Lazy: on the warm path each call's first look is due later than the one before, so a timer that
// is set stays, and comes too early for a call rather than costs it a system call.
void ResourceWatch::arm() {
  if (over_) return;
  const auto at = std::min(cpu_due_, looking_ ? TimePoint::max() : sample_due_);
  if (at == TimePoint::max() || (armed_ && armed_for_ <= at)) return;
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

asio::awaitable<void> ResourceWatch::look_at_end() {
  const auto now = steady_clock::now();
  if (over_ || now - last_look_ <= 2 * before_deadline()) co_return;
  if (samples() && last_look_took_ <= kPatienceAtEnd) sample_due_ = now;
  look();
  if (!looking_ || over_ || last_look_took_ > kPatienceAtEnd) co_return;
  look_ended_.expires_at(now + kPatienceAtEnd);
  co_await look_ended_.async_wait(asio::as_tuple(asio::use_awaitable));
}

void ResourceWatch::look() {
  if (over_) return;
  const auto now = steady_clock::now();
  const auto used = sandbox_.cpu_time();
  cgroup_tells_ = used.has_value();
  if (times_cpu_ && used) take_cpu(used->total(), now);
  if (!cgroup_tells_) {
    cpu_due_ = TimePoint::max();
    sample_due_ = std::min(sample_due_, next_sample(now));
  }
  if (over_ || looking_ || now < sample_due_) return;
  if (used && used->total() == sampled_at_) {  // The last one still holds.
    last_look_ = now;
    sample_due_ = next_sample(now);
    return;
  }
  begin_look(What::kEverything, used ? std::optional(used->total()) : std::nullopt);
}

// The other thread has no part in us or the sandbox. The pid is nobody else's until the sandbox is
// reaped, and what is seen after that nobody hears.
void ResourceWatch::begin_look(What what, std::optional<microseconds> cpu_by_cgroup) {
  if (over_ || looking_) return;
  looking_ = true;
  Look look{what, call_, cpu_by_cgroup, steady_clock::now(), {}, {}};
  const bool rough = what == What::kCpuTime || !samples_;
  const std::uint64_t exact_above =
      rough ? UINT64_MAX
            : std::min(plan_.policy.limits.memory_max.bytes, resident_peak_.value_or(0));
  asio::post(lookers(quick_looks_ < kQuickLooks),
             [weak = weak_from_this(), way_back = way_back_, given_up = given_up_,
              sampler = sampler_, pid = sandbox_.pid(), exact_above, look]() mutable {
               const auto began = steady_clock::now();
               if (!*given_up) look.seen = sampler(pid, exact_above, given_up.get());
               look.took = duration_cast<microseconds>(steady_clock::now() - began);
               way_back->post([weak, look] {
                 if (const auto self = weak.lock()) self->looked(look);
               });
             });
}

void ResourceWatch::looked(const Look& look) {
  looking_ = false;
  look_ended_.cancel();
  if (over_) return;
  const auto now = steady_clock::now();
  const bool of_this_call = look.call == call_;
  quick_looks_ = look.took > kLong ? 0 : std::min(quick_looks_ + 1, kQuickLooks);
  rest_until_ = now + std::min(kLongestRest, look.took * kRestPerLook);
  if (look.what == What::kEverything) {
    last_look_ = look.asked;
    last_look_took_ = duration_cast<microseconds>(now - look.asked);
    sample_due_ = TimePoint::max();
    if (look.seen && samples_) take_memory(look);
  }
  if (look.seen && times_cpu_ && !cgroup_tells_ && of_this_call) take_cpu(look.seen->cpu, now);
  sample_due_ = std::min(sample_due_, next_sample(now));
  arm();
}

// What an earlier call held is not on the account of this one. It is held all the same: beyond the
// limit it ends the sandbox, or short calls in a row would keep any look from counting.
void ResourceWatch::take_memory(const Look& look) {
  const std::uint64_t resident = look.seen->resident_bytes;
  const bool over = plan_.sample_memory && resident > plan_.policy.limits.memory_max.bytes;
  if (look.call != call_ && !over) return;
  sampled_at_ = look.cpu_by_cgroup;
  resident_now_ = resident;
  resident_peak_ = std::max(resident_peak_.value_or(0), resident);
  threads_peak_ = std::max(threads_peak_.value_or(0), look.seen->threads);
  if (over) exceeded(Cause::kOverMemory);
}

void ResourceWatch::take_cpu(microseconds used, TimePoint now) {
  if (over_) return;
  if (!cpu_before_) cpu_before_ = used;
  cpu_now_ = used;
  if (cgroup_tells_) cpu_due_ = now + until_cpu_is_used_up();
  if (cpu_now_ - *cpu_before_ >= microseconds(plan_.policy.limits.cpu_time_max))
    exceeded(Cause::kOverCpuTime);
}

void ResourceWatch::exceeded(Cause cause) {
  over_ = true;
  on_exceeded_(cause);
}

}  // namespace fnrun::supervisor
