// Looks at what a sandbox uses, where nobody else ends it at a limit: CPU time always, of a call
// and of what goes on behind its answer; memory only on hosts without the controller.
//
// Wakes as late as the limit allows: CPU time cannot grow faster than there are CPUs, memory not
// faster than it can be written, and neither grows without CPU time: where a cgroup says that none
// was used since the last look, that look still holds. After a look it rests nine times as long as
// that took, however many threads a handler has for us to look at, but half a second at most. Says
// when a limit is passed, once; kills nothing itself. Owned by the Invoker, on its executor; the
// sandbox and the plan must outlive it.
//
// Counters of a cgroup are read on the executor. Processes are looked at on one of two threads that
// all watches share: that takes as long as the handler likes, and others have deadlines. Those that
// took long have the second thread among themselves, until they were quick many times in a row. One
// look at a time; what it says is heard on the executor, unless the watch was stopped meanwhile.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "isolation/plan.h"
#include "isolation/process_sample.h"
#include "isolation/sandbox.h"
#include "supervisor/outcome.h"
#include "supervisor/way_back.h"

namespace fnrun::supervisor {

class ResourceWatch : public std::enable_shared_from_this<ResourceWatch> {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // Called on another thread, which knows the sandbox by its init's pid alone.
  using Sampler = std::function<std::optional<isolation::ProcessSample>(
      pid_t init, std::uint64_t exact_above, const std::atomic<bool>* given_up)>;

  // `on_exceeded` gets kOverMemory or kOverCpuTime. Throws boost::system::system_error where the
  // host has no thread left to look with.
  ResourceWatch(boost::asio::any_io_executor executor, isolation::Sandbox& sandbox,
                const isolation::Plan& plan, std::function<void(Cause)> on_exceeded,
                Sampler sampler = isolation::sample_processes);
  ResourceWatch(const ResourceWatch&) = delete;
  ResourceWatch& operator=(const ResourceWatch&) = delete;
  ~ResourceWatch();

  // Call once, when somebody owns us.
  void start();
  // `used`: the CPU time before the call, where a cgroup tells. The last look is taken shortly
  // before the deadline: at the deadline itself the caller waits.
  void begin_call(const std::optional<isolation::CpuTime>& used, TimePoint deadline);
  // `used`: the same after it.
  void end_call(const std::optional<isolation::CpuTime>& used);
  // Before the sandbox is reaped. Never waits; a look that is under way is heard no more.
  void stop();
  // After stop(): until no thread looks at it any more, at most until `limit`.
  [[nodiscard]] boost::asio::awaitable<void> looked_away(TimePoint limit);

  // Where only looking tells: what there is to see before it is killed. The look that was taken
  // shortly before is enough; for another the caller waits two milliseconds at most, and for one
  // that is known to take longer not at all: then what was seen last stands.
  [[nodiscard]] boost::asio::awaitable<void> look_at_end();
  // The most that any look saw since the call began. No value: nobody looked.
  [[nodiscard]] std::optional<std::uint64_t> resident_peak() const { return resident_peak_; }
  [[nodiscard]] std::optional<std::uint64_t> threads_peak() const { return threads_peak_; }

 private:
  struct Look;
  enum class What : std::uint8_t { kEverything, kCpuTime };  // The latter is the cheaper.

  [[nodiscard]] bool samples() const { return samples_ || (times_cpu_ && !cgroup_tells_); }
  [[nodiscard]] std::chrono::microseconds until_cpu_is_used_up() const;
  [[nodiscard]] std::chrono::microseconds before_deadline() const;
  [[nodiscard]] TimePoint next_sample(TimePoint now) const;
  void arm();
  void look();
  void begin_look(What what, std::optional<std::chrono::microseconds> cpu_by_cgroup);
  void looked(const Look& look);
  void take_memory(const Look& look);
  void take_cpu(std::chrono::microseconds used, TimePoint now);
  void exceeded(Cause cause);

  isolation::Sandbox& sandbox_;
  const isolation::Plan& plan_;
  std::function<void(Cause)> on_exceeded_;
  const Sampler sampler_;
  const std::shared_ptr<WayBack> way_back_;
  const std::shared_ptr<std::atomic<bool>> given_up_;  // By us: no look of ours matters any more.
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer look_ended_;  // Cancelled when it has.
  const bool samples_;                    // Somebody has to look at processes, for memory or peaks.
  const bool times_cpu_;                  // The policy bounds CPU time.
  bool cgroup_tells_;                     // Of CPU time.
  bool armed_ = false;
  TimePoint armed_for_{};
  bool in_call_ = false;
  bool over_ = false;
  bool looking_ = false;
  int quick_looks_;  // In a row, as far as they count.
  std::uint64_t call_ = 0;
  TimePoint deadline_ = TimePoint::max();  // Of the call.
  TimePoint cpu_due_ = TimePoint::max();   // To read the cgroup's counter.
  TimePoint sample_due_ = TimePoint::max();
  TimePoint rest_until_{};
  TimePoint last_look_{};
  std::chrono::microseconds last_look_took_{};           // With the ways there and back.
  std::optional<std::chrono::microseconds> sampled_at_;  // CPU time, when memory was sampled.
  // When the call began. No value: to be taken from the first look that begins in the call.
  std::optional<std::chrono::microseconds> cpu_before_{std::chrono::microseconds{}};
  std::chrono::microseconds cpu_now_{};
  std::uint64_t resident_now_ = 0;
  std::optional<std::uint64_t> resident_peak_;
  std::optional<std::uint64_t> threads_peak_;
};

}  // namespace fnrun::supervisor
