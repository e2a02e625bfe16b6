// What happened in the life of a sandbox, for whoever watches it: one struct for each event.
//
// In this order: init.start, init.runtimeDone, init.report, [restore.runtimeDone], invoke.start,
// invoke.runtimeDone, report, end. A suppressed init says its three before the invoke.start that it
// belongs to. extension.init and the span extensionOverhead come with the Extensions API: there is
// nothing to tell of them before. Plain values; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "supervisor/lifecycle/lifecycle.h"

namespace fnrun::supervisor {

// Who asked for the sandbox, in Lambda's words.
enum class InitType : std::uint8_t { kOnDemand, kProvisionedConcurrency, kSnapStart };

// How the answer of an invocation came in. What the supervisor measures by itself, or what a front
// end that copied the answer says it saw.
struct ResponseMetrics {
  using Time = std::chrono::steady_clock::time_point;
  std::uint64_t produced_bytes = 0;
  Time reading_started;
  Time reading_finished;
  std::chrono::nanoseconds throttled{};       // Time that shaping took.
  std::uint64_t outbound_throughput_bps = 0;  // 0: not measured.
};

namespace event {

using Milliseconds = std::chrono::duration<double, std::milli>;
using lifecycle::DoneStatus;
using lifecycle::Phase;

struct InitStart {
  InitType type{};
  Phase phase{};
  std::uint64_t generation = 0;
};
struct InitRuntimeDone {
  InitType type{};
  Phase phase{};
  DoneStatus status{};
  std::string error_type;  // "" for success.
};
struct InitReport {
  InitType type{};
  Phase phase{};
  Milliseconds duration{};
};
struct RestoreRuntimeDone {
  DoneStatus status{};
  std::string error_type;
};
struct InvokeStart {
  std::string request_id;
  std::string version;
  std::string trace_id;
  std::string tenant_id;
};
struct Span {
  std::string name;  // responseLatency, responseDuration, runtimeOverhead
  Milliseconds duration{};
};
struct InvokeRuntimeDone {
  std::string request_id;
  DoneStatus status{};
  std::string error_type;  // "" for success and timeout.
  std::uint64_t produced_bytes = 0;
  Milliseconds duration{};
  std::vector<Span> spans;
};
struct Report {
  std::string request_id;
  DoneStatus status{};
  std::string error_type;
  Milliseconds duration{};
  std::optional<Milliseconds> init_duration;  // Of a suppressed init, within the duration.
};
struct End {
  std::string request_id;
};

}  // namespace event

using Event = std::variant<event::InitStart, event::InitRuntimeDone, event::InitReport,
                           event::RestoreRuntimeDone, event::InvokeStart, event::InvokeRuntimeDone,
                           event::Report, event::End>;

// Called in order, on the sandbox's executor, in the middle of what happens: it must not throw or
// destroy the sandbox, and what it begins comes after.
using EventObserver = std::function<void(const Event&)>;

// "invoke.runtimeDone"
[[nodiscard]] std::string_view name_of(const Event& event) noexcept;
// One object on one line: "event", then the fields in the order above; durations in ms.
[[nodiscard]] std::string to_json(const Event& event);

// When what of an invocation was. Without a start (no request was ever given to the runtime, or the
// time was taken back) all durations and bytes are 0.
struct InvokeTimes {
  std::optional<ResponseMetrics::Time> runtime_started;
  std::optional<ResponseMetrics::Time> overhead_started;  // The answer was whole.
  std::optional<ResponseMetrics> response;                // Only if the runtime did answer.
};
[[nodiscard]] event::InvokeRuntimeDone runtime_done(const InvokeTimes& times,
                                                    ResponseMetrics::Time now);

}  // namespace fnrun::supervisor
