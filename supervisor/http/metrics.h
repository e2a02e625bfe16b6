// What Prometheus is told: counters of calls, kept here, and gauges, read when it asks.
//
// Names, labels and buckets stand in README.md; a test holds the two together. Labels are names
// from the configuration or words of closed sets, so that nobody who calls can make a series.
// Owned by the service; on the executor of its functions.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "supervisor/http/snapshot.h"

namespace fnrun::supervisor::http {

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

class Metrics {
 public:
  Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  ~Metrics();

  // A call of `function` has ended.
  void count(std::string_view function, const InvocationReport& report);
  void event(std::string_view function, const PoolEvent& event);

  // What a Function counted itself, for the last time: it ends, and the next generation begins
  // anew.
  void settle(const FunctionStatus& last);
  // There is no function of this name any more, nor a call of it: its series end.
  void forget(std::string_view function);

  // Text exposition format 0.0.4.
  [[nodiscard]] std::string expose(const Snapshot& snapshot);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fnrun::supervisor::http
