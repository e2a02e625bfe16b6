// When a handler that failed to start may be tried again, and whether its pool is degraded.
//
// Pure but for the jitter: times are given, so that tests need no clock. One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <random>

namespace fnrun::supervisor {

class StartBackoff {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // As systemd's StartLimitBurst and StartLimitIntervalSec.
  static constexpr std::size_t kBurst = 5;
  static constexpr std::chrono::seconds kInterval{10};
  static constexpr std::chrono::milliseconds kFirst{100};
  static constexpr std::chrono::milliseconds kLongest{30'000};

  void failed(TimePoint now) {
    ++streak_;
    recent_.push_back(now);
    if (recent_.size() > kBurst) recent_.pop_front();
    degraded_ = degraded_ || (recent_.size() == kBurst && now - recent_.front() <= kInterval);
    constexpr unsigned kDoublingsMax = 9;  // 100 ms · 2^9 is beyond the longest.
    const auto full = std::min<std::chrono::milliseconds>(
        kLongest, kFirst * (1U << std::min(streak_ - 1, kDoublingsMax)));
    // Between half and all of it: many pools that failed together do not come back together.
    std::uniform_int_distribution<std::int64_t> part(full.count() / 2, full.count());
    not_before_ = now + std::chrono::milliseconds(part(random_));
  }
  void succeeded() {
    streak_ = 0;
    recent_.clear();
    degraded_ = false;
    not_before_ = {};
  }
  // Until it succeeds: that time passes mends no handler.
  [[nodiscard]] bool degraded() const { return degraded_; }
  // When the next attempt is due, for whoever starts ahead of need.
  [[nodiscard]] TimePoint not_before() const { return not_before_; }

 private:
  unsigned streak_ = 0;
  std::deque<TimePoint> recent_;
  bool degraded_ = false;
  TimePoint not_before_{};
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace fnrun::supervisor
