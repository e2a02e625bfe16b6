#include "supervisor/lifecycle/events.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace fnrun::supervisor {
namespace {

using Json = nlohmann::ordered_json;  // Keeps the order of insertion: the documented one.

constexpr std::array<std::string_view, 8> kEventNames{
    "init.start",   "init.runtimeDone",   "init.report", "restore.runtimeDone",
    "invoke.start", "invoke.runtimeDone", "report",      "end"};

std::string_view name_of(InitType type) {
  constexpr std::array<std::string_view, 3> kNames{"on-demand", "provisioned-concurrency",
                                                   "snap-start"};
  return kNames[static_cast<std::size_t>(type)];
}

std::string_view name_of(lifecycle::Phase phase) {
  return phase == lifecycle::Phase::kInit ? "init" : "invoke";
}

event::Milliseconds between(ResponseMetrics::Time from, ResponseMetrics::Time to) {
  return std::max<event::Milliseconds>(to - from, event::Milliseconds::zero());
}

Json type_or_null(const std::string& type) {
  return type.empty() ? Json(nullptr) : Json(type);
}

void fill(Json& out, const event::InitStart& in) {
  out["initializationType"] = name_of(in.type);
  out["phase"] = name_of(in.phase);
  out["generation"] = in.generation;
}
void fill(Json& out, const event::InitRuntimeDone& in) {
  out["initializationType"] = name_of(in.type);
  out["phase"] = name_of(in.phase);
  out["status"] = name_of(in.status);
  out["errorType"] = type_or_null(in.error_type);
}
void fill(Json& out, const event::InitReport& in) {
  out["initializationType"] = name_of(in.type);
  out["phase"] = name_of(in.phase);
  out["durationMs"] = in.duration.count();
}
void fill(Json& out, const event::RestoreRuntimeDone& in) {
  out["status"] = name_of(in.status);
  out["errorType"] = type_or_null(in.error_type);
}
void fill(Json& out, const event::InvokeStart& in) {
  out["requestId"] = in.request_id;
  out["version"] = in.version;
  out["traceId"] = in.trace_id;
  out["tenantId"] = in.tenant_id;
}
void fill(Json& out, const event::InvokeRuntimeDone& in) {
  out["requestId"] = in.request_id;
  out["status"] = name_of(in.status);
  out["errorType"] = type_or_null(in.error_type);
  out["producedBytes"] = in.produced_bytes;
  out["durationMs"] = in.duration.count();
  out["spans"] = Json::array();
  for (const event::Span& span : in.spans)
    out["spans"].push_back({{"name", span.name}, {"durationMs", span.duration.count()}});
}
void fill(Json& out, const event::Report& in) {
  out["requestId"] = in.request_id;
  out["status"] = name_of(in.status);
  out["errorType"] = type_or_null(in.error_type);
  out["durationMs"] = in.duration.count();
  out["initDurationMs"] = in.init_duration ? Json(in.init_duration->count()) : Json(nullptr);
}
void fill(Json& out, const event::End& in) {
  out["requestId"] = in.request_id;
}

}  // namespace

std::string_view name_of(const Event& event) noexcept {
  return kEventNames[event.index()];
}

std::string to_json(const Event& event) {
  Json out;
  out["event"] = name_of(event);
  std::visit([&](const auto& one) { fill(out, one); }, event);
  return out.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

event::InvokeRuntimeDone runtime_done(const InvokeTimes& times, ResponseMetrics::Time now) {
  event::InvokeRuntimeDone done;
  if (!times.runtime_started) return done;
  done.duration = between(*times.runtime_started, now);
  if (times.response) {
    done.produced_bytes = times.response->produced_bytes;
    done.spans.push_back(
        {"responseLatency", between(*times.runtime_started, times.response->reading_started)});
    done.spans.push_back({"responseDuration", between(times.response->reading_started,
                                                      times.response->reading_finished)});
  }
  if (times.overhead_started)
    done.spans.push_back({"runtimeOverhead", between(*times.overhead_started, now)});
  return done;
}

}  // namespace fnrun::supervisor
