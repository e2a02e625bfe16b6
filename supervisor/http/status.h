// What a person is told: how calls went lately, what failed, and all of it as one JSON document.
//
// Keeps a bounded past of each function; what comes in a call or an answer is never kept. For
// machines that keep the past themselves there is metrics.h. Owned by the service; on the executor
// of its functions.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/http/snapshot.h"

namespace fnrun::supervisor::http {

// The past that is looked at: this long, and of how long calls took, not more than so many.
inline constexpr std::chrono::seconds kRecentTime{60};
inline constexpr std::size_t kRecentCallsMax = 1'024;
inline constexpr std::chrono::seconds kRateTime{10};  // What "per second" is the mean of.
inline constexpr std::size_t kFailuresMax = 20;
inline constexpr std::size_t kFailureTextMax = 200;  // Bytes.

struct Now {
  std::chrono::steady_clock::time_point steady = std::chrono::steady_clock::now();
  std::chrono::system_clock::time_point wall = std::chrono::system_clock::now();
};

// Equal ones in a row, and not in a row, are one: a queue that is full must not hide a crash.
struct Failure {
  std::chrono::system_clock::time_point last;
  std::uint64_t times = 1;
  Outcome outcome{};
  std::string description;  // One line, cut at kFailureTextMax.
  std::string request_id;   // Of the last.
};

// Nearest rank: a time that a call did take.
struct Latency {
  std::int64_t p50_us = 0;
  std::int64_t p90_us = 0;
  std::int64_t p99_us = 0;
};

// Of one function, whatever generation.
struct CallSummary {
  std::array<std::uint64_t, kOutcomes.size()> outcomes{};   // Since the service began.
  std::map<std::string_view, std::uint64_t> kills;          // By cause, since the service began.
  std::array<std::uint32_t, kRecentTime.count()> ended{};   // In each whole second, oldest first.
  std::array<std::uint32_t, kRecentTime.count()> failed{};  // Those among them.
  double per_second = 0;                                    // Over kRateTime.
  std::size_t latency_of = 0;                               // So many calls; see was_served().
  std::optional<Latency> latency;                           // Of the recent ones; none: no call.
  std::vector<Failure> failures;                            // The latest first.
  std::string degraded_because;                             // "" unless it is.
};

class Statistics {
 public:
  explicit Statistics(Now began = {});

  // A call of `function` has ended.
  void count(std::string_view function, const InvocationReport& report, Now now = {});
  void event(std::string_view function, const PoolEvent& event);
  // There is no function of this name any more, nor a call of it.
  void forget(std::string_view function);

  // All zero for a function that nobody called.
  [[nodiscard]] CallSummary summary(std::string_view function, Now now = {}) const;
  [[nodiscard]] std::chrono::seconds uptime(Now now = {}) const;

 private:
  struct Second {
    std::int64_t number = -1;
    std::uint32_t ended = 0;
    std::uint32_t failed = 0;
  };
  struct Call {
    std::chrono::steady_clock::time_point ended;
    std::int64_t took_us = 0;
  };
  struct OfFunction {
    std::array<std::uint64_t, kOutcomes.size()> outcomes{};
    std::map<std::string_view, std::uint64_t> kills;
    std::array<Second, kRecentTime.count() + 1> seconds;  // One more: the one that runs.
    std::deque<Call> recent;
    std::deque<Failure> failures;  // The latest last.
    std::string degraded_because;
  };
  [[nodiscard]] std::int64_t second_of(Now now) const;
  [[nodiscard]] double rate_of(const CallSummary& summary, Now now) const;

  Now began_;
  std::map<std::string, OfFunction, std::less<>> functions_;
};

// Is a call that ended so somebody's trouble? A client that took it back has none.
[[nodiscard]] constexpr bool is_failure(Outcome outcome) noexcept {
  return outcome != Outcome::kOk && outcome != Outcome::kCancelled;
}

// One JSON object, ASCII only; its members stand in README.md.
[[nodiscard]] std::string status_json(const Snapshot& snapshot, const Statistics& statistics,
                                      Now now = {});

}  // namespace fnrun::supervisor::http
