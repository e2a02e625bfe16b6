#include "supervisor/report.h"

#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

namespace fnrun::supervisor {
namespace {

using Json = nlohmann::ordered_json;  // Keeps the order of insertion: the documented one.

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// At most kReportTextMax bytes; a character is not cut in half.
std::string bounded(const std::string& text) {
  if (text.size() <= kReportTextMax) return text;
  std::size_t end = kReportTextMax;
  constexpr std::size_t kContinuationsMax = 3;
  for (std::size_t back = 0; back < kContinuationsMax; ++back) {
    if ((static_cast<unsigned char>(text[end]) & 0xc0U) != 0x80U) break;
    --end;
  }
  return text.substr(0, end) + "\u2026";
}

Json wait_status_of(const std::optional<int>& status) {
  if (!status) return nullptr;
  if (WIFSIGNALED(*status))
    return {{"signal", WTERMSIG(*status)},
            {"name", signal_name(WTERMSIG(*status))},
            {"core_dumped", static_cast<bool>(WCOREDUMP(*status))}};
  return {{"exited", WEXITSTATUS(*status)}};
}

Json setup_of(const std::optional<isolation::SetupError>& setup) {
  if (!setup) return nullptr;
  const char* name = setup->os_errno != 0 ? ::strerrorname_np(setup->os_errno) : nullptr;
  return {{"step", isolation::name_of(setup->step)},
          {"index", setup->index},
          {"errno", setup->os_errno},
          {"errno_name", name != nullptr ? name : ""},
          {"subject", setup->subject}};
}

Json limits_of(const LimitEvidence& limits) {
  return {{"oom_kills", limits.oom_kills},
          {"memory_max_hits", limits.memory_max_hits},
          {"refused_forks", limits.refused_forks},
          {"processes_at_max", limits.processes_at_max},
          {"memory_max_bytes", limits.memory_max_bytes},
          {"processes_max", limits.processes_max},
          {"cpu_time_max_ms", limits.cpu_time_max_ms}};
}

// Its numbers, where it is known which one it was.
Json forbidden_of(const Evidence& evidence) {
  const std::string_view source = forbidden_source(evidence);
  if (source.empty()) return nullptr;
  Json json = {{"name", nullptr},
               {"number", nullptr},
               {"arch", nullptr},
               {"args", nullptr},
               {"instruction_pointer", nullptr},
               {"by", "handler"},
               {"rule", nullptr},
               {"count", nullptr},
               {"source", source}};
  if (!evidence.forbidden) return json;
  const isolation::ForbiddenCall& call = *evidence.forbidden;
  Json args = Json::array();
  for (const std::uint64_t arg : call.args) args.push_back(isolation::hexadecimal(arg));
  json["name"] = call.name();
  json["number"] = call.number;
  json["arch"] = call.arch_name();
  json["args"] = std::move(args);
  json["instruction_pointer"] = isolation::hexadecimal(call.instruction_pointer);
  if (call.by == isolation::ForbiddenCall::By::kChild) json["by"] = "child";
  json["rule"] = evidence.forbidden_rule;
  json["count"] = call.count;
  return json;
}

Json evidence_of(const Evidence& evidence) {
  const bool killed = evidence.killed_for != isolation::KillReason::kNone;
  return {{"wait_status", wait_status_of(evidence.wait_status)},
          {"killed_for", killed ? Json(isolation::name_of(evidence.killed_for)) : Json(nullptr)},
          {"setup", setup_of(evidence.setup)},
          {"limits", limits_of(evidence.limits)},
          {"forbidden_call", forbidden_of(evidence)},
          {"detail", evidence.detail}};
}

Json sandbox_of(const InvocationReport::Sandbox& sandbox) {
  if (sandbox.pid == 0) return nullptr;
  return {{"pid", sandbox.pid},
          {"slot_uid", or_null(sandbox.slot_uid)},
          {"calls_served", sandbox.calls_served},
          {"start_us", sandbox.start_us}};
}

Json env_of(const std::vector<protocol::EnvVar>& env) {
  Json list = Json::array();
  for (std::size_t i = 0; i < std::min(env.size(), kReportEnvMax); ++i)
    list.push_back({{"name", bounded(env[i].name)}, {"value", bounded(env[i].value)}});
  return list;
}

Json usage_of(const Usage& usage) {
  const bool known = !usage.source.empty();
  return {{"source", usage.source},
          {"reason", usage.reason},
          {"user_us", known ? Json(usage.user_us) : Json(nullptr)},
          {"system_us", known ? Json(usage.system_us) : Json(nullptr)},
          {"throttled_us", or_null(usage.throttled_us)},
          {"memory_peak_bytes", or_null(usage.memory_peak_bytes)},
          {"peak_of", usage.peak_of},
          {"memory_max_hits", or_null(usage.memory_max_hits)},
          {"oom_kills", or_null(usage.oom_kills)},
          {"processes_peak", or_null(usage.processes_peak)},
          {"processes_max_hits", or_null(usage.processes_max_hits)},
          {"io_read_bytes", or_null(usage.io_read_bytes)},
          {"io_written_bytes", or_null(usage.io_written_bytes)},
          {"max_rss_kib", or_null(usage.max_rss_kib)},
          {"context_switches", or_null(usage.context_switches)}};
}

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace

std::string evidence_to_json(const Evidence& evidence) {
  return dumped(evidence_of(evidence));
}

std::string to_json(const InvocationReport& report) {
  const OutcomeInfo& info = info_of(report.outcome);
  Json json;
  json["sequence"] = report.sequence;
  json["request_id"] = bounded(report.request_id);
  json["outcome"] = info.name;
  json["outcome_number"] = static_cast<unsigned>(report.outcome);
  json["exit_code"] = exit_code(report.outcome, report.evidence);
  json["http_status"] = http_status(report.outcome, report.evidence);
  json["lambda_error_type"] = lambda_error_type(report.outcome, report.evidence);
  json["description"] = describe(report.outcome, report.evidence);
  json["evidence"] = evidence_of(report.evidence);
  json["handler"] = report.handler;
  json["policy"] = report.policy;
  json["sandbox"] = sandbox_of(report.sandbox);
  json["start_us"] = report.timings.start_us;
  json["invoke_us"] = report.timings.invoke_us;
  json["wait_us"] = report.timings.wait_us;
  json["request_bytes"] = report.bytes.request;
  json["response_bytes"] = report.bytes.response;
  json["status"] = or_null(report.status);
  json["env"] = env_of(report.env);
  json["env_left_out"] = report.env.size() - std::min(report.env.size(), kReportEnvMax);
  json["warned"] = report.warned;
  json["leftovers"] = report.leftovers;
  json["usage"] = usage_of(report.usage);
  json["layers"] = report.layers ? *report.layers : std::vector<std::string>{};
  json["degraded"] = report.degraded ? *report.degraded : std::map<std::string, std::string>{};
  json["stderr"] = {{"lines_emitted", report.stderr_lines.emitted},
                    {"lines_dropped", report.stderr_lines.dropped}};
  return dumped(json);
}

}  // namespace fnrun::supervisor
