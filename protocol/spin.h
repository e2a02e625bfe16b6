// Whether to look again at once, instead of waiting, for an answer that may come in microseconds.
//
// To wait costs two context switches, and across CPUs the wake-up of one that went idle: ten times
// what a quick handler needs. To look costs a CPU. So only the first microseconds of an answer are
// looked for; only while answers came sooner by it, lately, than by waiting, which is found out by
// trying the other way now and then; and only while there is a CPU for it: not with as many answers
// due in this process as there are CPUs. Between two looks others of the executor have their turn.
// Internal to channel.cc; owned by one channel, on its executor.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace fnrun::protocol {

class Spin {
 public:
  Spin() = default;
  Spin(const Spin&) = delete;
  Spin& operator=(const Spin&) = delete;
  ~Spin() = default;

  // While it lives an answer is due, which has come, or will not, when it goes.
  class Due {
   public:
    explicit Due(Spin& spin) noexcept : spin_(spin) { spin_.begin(); }
    Due(const Due&) = delete;
    Due& operator=(const Due&) = delete;
    ~Due() { spin_.end(); }

   private:
    Spin& spin_;
  };

  // Nothing was there: look again? Gives the CPU to whoever else is ready on it.
  bool again() noexcept {
    if (Clock::now() >= until_) return false;
    ::sched_yield();
    return true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds kSpan{50};
  static constexpr unsigned kTrialEvery = 64;
  static constexpr float kAverageOver = 8;
  static constexpr float kInVainUs = 100;  // What a span that brought nothing counts as.
  static constexpr float kMostUs = 1'000;  // One slow answer is soon forgotten.

  void begin() noexcept {
    const unsigned due = answers_due_.fetch_add(1, std::memory_order_relaxed) + 1;
    const bool other_way = ++answers_ % kTrialEvery == 0;
    looks_ = due < cpus() && (looked_us_ <= waited_us_) != other_way;
    began_ = Clock::now();
    until_ = began_ + (looks_ ? kSpan : Clock::duration::zero());
  }

  void end() noexcept {
    answers_due_.fetch_sub(1, std::memory_order_relaxed);
    const auto now = Clock::now();
    const std::chrono::duration<float, std::micro> took = now - began_;
    const float in_vain = looks_ && now >= until_ ? kInVainUs : 0;
    float& average = looks_ ? looked_us_ : waited_us_;
    average += (std::min(took.count(), kMostUs) + in_vain - average) / kAverageOver;
  }

  static unsigned cpus() noexcept {
    static const unsigned count = std::max(1U, std::thread::hardware_concurrency());
    return count;
  }
  // Of all channels: the CPUs are all channels' too.
  inline static std::atomic<unsigned> answers_due_{0};

  Clock::time_point began_{};
  Clock::time_point until_{};
  unsigned answers_ = 0;
  float looked_us_ = 0;  // Averages of late: what an answer took by looking, and by waiting.
  float waited_us_ = 0;
  bool looks_ = false;
};

}  // namespace fnrun::protocol
