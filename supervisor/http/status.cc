#include "supervisor/http/status.h"

#include <nlohmann/json.hpp>

namespace fnrun::supervisor::http {
namespace {

using Json = nlohmann::ordered_json;  // Keeps the order of insertion: the documented one.

double milliseconds(std::int64_t microseconds) {
  return static_cast<double>(microseconds) / 1e3;
}

Json latency_of(const CallSummary& summary) {
  if (!summary.latency) return nullptr;
  return {{"p50", milliseconds(summary.latency->p50_us)},
          {"p90", milliseconds(summary.latency->p90_us)},
          {"p99", milliseconds(summary.latency->p99_us)},
          {"calls", summary.latency_of}};
}

Json failures_of(const CallSummary& summary) {
  Json failures = Json::array();
  for (const Failure& failure : summary.failures) {
    const auto since_1970 = failure.last.time_since_epoch();
    failures.push_back(
        {{"time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count()},
         {"times", failure.times},
         {"outcome", name_of(failure.outcome)},
         {"description", failure.description},
         {"request_id", failure.request_id}});
  }
  return failures;
}

// Only what there was: fifteen zeros tell nothing.
Json counts_of(const CallSummary& summary) {
  Json counts = Json::object();
  for (const OutcomeInfo& info : kOutcomes)
    if (const auto count = summary.outcomes.at(static_cast<std::size_t>(info.outcome)); count != 0)
      counts[std::string(info.name)] = count;
  return counts;
}

std::string_view state_of(const Snapshot& snapshot, const FunctionStatus& status) {
  if (snapshot.draining) return "draining";
  return status.pool.degraded ? "degraded" : "ok";
}
std::string_view state_of(const Snapshot& snapshot) {
  if (snapshot.draining) return "draining";
  for (const FunctionStatus& status : snapshot.functions)
    if (status.pool.degraded) return "degraded";
  return "ok";
}

Json slots_of(const PoolStatus& pool) {
  return {{"idle", pool.idle},
          {"starting", pool.starting},
          {"busy", pool.busy},
          {"dying", pool.dying},
          {"quarantined", pool.quarantined}};
}

Json function_of(const Snapshot& snapshot, const FunctionStatus& status,
                 const CallSummary& summary) {
  Json json{{"name", status.name},
            {"state", state_of(snapshot, status)},
            {"generation", status.generation},
            {"policy", status.policy},
            {"handler", status.handler},
            {"protocol", name_of(status.protocol)},
            {"concurrency", status.places},
            {"in_flight", status.in_flight},
            {"waiting", status.waiting},
            {"waiting_max", status.waiting_max},
            {"slots", slots_of(status.pool)},
            {"started", status.pool.started},
            {"failed_starts", status.pool.failed_starts},
            {"dirty", status.pool.dirty},
            {"degraded", status.pool.degraded},
            {"degraded_because", status.pool.degraded ? summary.degraded_because : ""},
            {"retry_in_ms", status.pool.retry_in.count()},
            {"degraded_layers", status.degraded_layers},
            {"invocations", counts_of(summary)},
            {"kills", Json::object()},
            {"per_second", summary.per_second},
            {"latency_ms", latency_of(summary)},
            {"ended_by_second", summary.ended},
            {"failed_by_second", summary.failed},
            {"recent_failures", failures_of(summary)}};
  for (const auto& [cause, count] : summary.kills) json["kills"][std::string(cause)] = count;
  return json;
}

Json http_of(const ServerStatus& http) {
  return {{"connections", http.connections}, {"body_bytes", http.body_bytes},
          {"accepted", http.accepted},       {"turned_away", http.turned_away},
          {"requests", http.requests},       {"timed_out", http.timed_out},
          {"malformed", http.malformed},     {"vanished", http.vanished}};
}

}  // namespace

std::string status_json(const Snapshot& snapshot, const Statistics& statistics, Now now) {
  Json json{{"version", snapshot.version},   {"state", state_of(snapshot)},
            {"draining", snapshot.draining}, {"uptime_s", statistics.uptime(now).count()},
            {"functions", Json::array()},    {"http", http_of(snapshot.http)}};
  for (const FunctionStatus& status : snapshot.functions)
    json["functions"].push_back(
        function_of(snapshot, status, statistics.summary(status.name, now)));
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace fnrun::supervisor::http
