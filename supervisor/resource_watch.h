// Looks at what a sandbox uses, where nobody else ends it at a limit: CPU time always, of a call
// and of what goes on behind its answer; memory only on hosts without the controller.
//
// Wakes as late as the limit allows: CPU time cannot grow faster than there are CPUs, memory not
// faster than it can be written, and neither grows without CPU time: where a cgroup says that none
// was used since the last look, that look still holds. After a look it rests nine times as long as
// that took, however many threads a handler has for us to look at, but half a second at most. Says
// when a limit is passed, once; kills nothing itself. Owned by the Invoker, on its executor; the
// sandbox and the plan must outlive it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "isolation/plan.h"
#include "isolation/sandbox.h"
#include "supervisor/outcome.h"

namespace fnrun::supervisor {

class ResourceWatch : public std::enable_shared_from_this<ResourceWatch> {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `on_exceeded` gets kOverMemory or kOverCpuTime.
  ResourceWatch(boost::asio::any_io_executor executor, isolation::Sandbox& sandbox,
                const isolation::Plan& plan, std::function<void(Cause)> on_exceeded);

  // Call once, when somebody owns us.
  void start();
  // `used`: the CPU time before the call, where a cgroup tells. The last look is taken shortly
  // before the deadline: at the deadline itself the caller waits.
  void begin_call(const std::optional<isolation::CpuTime>& used, TimePoint deadline);
  // `used`: the same after it.
  void end_call(const std::optional<isolation::CpuTime>& used);
  void stop();

  // Where only looking tells: what there is to see before it is killed. The look that was taken
  // shortly before is enough.
  void look_at_end();
  // The most that any look saw since the call began. No value: nobody looked.
  [[nodiscard]] std::optional<std::uint64_t> resident_peak() const { return resident_peak_; }
  [[nodiscard]] std::optional<std::uint64_t> threads_peak() const { return threads_peak_; }

 private:
  [[nodiscard]] std::optional<std::chrono::microseconds> cpu_used();
  [[nodiscard]] std::chrono::microseconds until_next_look(TimePoint now) const;
  [[nodiscard]] std::chrono::microseconds before_deadline() const;
  void arm();
  void look();
  void take_sample();
  void exceeded(Cause cause);

  isolation::Sandbox& sandbox_;
  const isolation::Plan& plan_;
  std::function<void(Cause)> on_exceeded_;
  boost::asio::steady_timer timer_;
  const bool samples_;    // Somebody has to look at processes.
  const bool times_cpu_;  // The policy bounds CPU time.
  bool armed_ = false;
  TimePoint armed_for_{};
  bool in_call_ = false;
  bool over_ = false;
  TimePoint deadline_ = TimePoint::max();  // Of the call.
  TimePoint last_look_{};
  std::chrono::microseconds last_look_took_{};
  std::optional<std::chrono::microseconds> sampled_at_;  // CPU time, when memory was sampled.
  std::chrono::microseconds cpu_before_{};
  std::chrono::microseconds cpu_now_{};
  std::optional<isolation::ProcessSample> sample_;
  std::uint64_t resident_now_ = 0;
  std::optional<std::uint64_t> resident_peak_;
  std::optional<std::uint64_t> threads_peak_;
};

}  // namespace fnrun::supervisor
