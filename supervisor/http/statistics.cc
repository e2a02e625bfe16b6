// The past that is kept of calls: seconds, times, failures, all bounded.
#include <algorithm>
#include <cmath>

#include "supervisor/http/status.h"

namespace fnrun::supervisor::http {
namespace {

// A character is not cut in half.
std::string cut(std::string_view text) {
  if (text.size() <= kFailureTextMax) return std::string(text);
  std::size_t end = kFailureTextMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "\u2026";
}

void keep(std::deque<Failure>& failures, Failure failure) {
  const auto same = std::find_if(failures.begin(), failures.end(), [&](const Failure& other) {
    return other.outcome == failure.outcome && other.description == failure.description;
  });
  if (same != failures.end()) {
    failure.times += same->times;
    failures.erase(same);
  }
  failures.push_back(std::move(failure));
  if (failures.size() > kFailuresMax) failures.pop_front();
}

// Precondition: `sorted` is, and holds something.
std::int64_t percentile(const std::vector<std::int64_t>& sorted, double part) {
  const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

}  // namespace

Statistics::Statistics(Now began) : began_(began) {}

std::int64_t Statistics::second_of(Now now) const {
  return std::chrono::floor<std::chrono::seconds>(now.steady - began_.steady).count();
}

std::chrono::seconds Statistics::uptime(Now now) const {
  return std::chrono::seconds(second_of(now));
}

void Statistics::count(std::string_view function, const InvocationReport& report, Now now) {
  auto found = functions_.find(function);
  if (found == functions_.end()) found = functions_.try_emplace(std::string(function)).first;
  OfFunction& of = found->second;
  ++of.outcomes.at(static_cast<std::size_t>(report.outcome));
  if (report.evidence.killed_for != isolation::KillReason::kNone)
    ++of.kills[isolation::name_of(report.evidence.killed_for)];

  const std::int64_t number = second_of(now);
  Second& second = of.seconds.at(static_cast<std::size_t>(number) % of.seconds.size());
  if (second.number != number) second = {.number = number};
  ++second.ended;
  if (was_served(report.outcome)) {
    of.recent.push_back({now.steady, report.timings.wait_us + report.timings.invoke_us});
    if (of.recent.size() > kRecentCallsMax) of.recent.pop_front();
  }
  if (!is_failure(report.outcome)) return;
  ++second.failed;
  keep(of.failures, {.last = now.wall,
                     .outcome = report.outcome,
                     .description = cut(describe(report.outcome, report.evidence)),
                     .request_id = cut(report.request_id)});
}

void Statistics::event(std::string_view function, const PoolEvent& event) {
  auto found = functions_.find(function);
  if (found == functions_.end()) found = functions_.try_emplace(std::string(function)).first;
  if (event.kind == PoolEvent::Kind::kDegraded) found->second.degraded_because = cut(event.text);
  if (event.kind == PoolEvent::Kind::kRecovered) found->second.degraded_because.clear();
}

void Statistics::forget(std::string_view function) {
  const auto found = functions_.find(function);
  if (found != functions_.end()) functions_.erase(found);
}

double Statistics::rate_of(const CallSummary& summary, Now now) const {
  const auto seconds = std::clamp<std::int64_t>(second_of(now), 1, kRateTime.count());
  double ended = 0;
  for (auto i = summary.ended.size() - static_cast<std::size_t>(seconds); i < summary.ended.size();
       ++i)
    ended += summary.ended.at(i);
  return ended / static_cast<double>(seconds);
}

CallSummary Statistics::summary(std::string_view function, Now now) const {
  CallSummary summary;
  const auto found = functions_.find(function);
  if (found == functions_.end()) return summary;
  const OfFunction& of = found->second;
  summary.outcomes = of.outcomes;
  summary.kills = of.kills;
  summary.failures.assign(of.failures.rbegin(), of.failures.rend());
  summary.degraded_because = of.degraded_because;

  for (const Second& second : of.seconds) {
    const std::int64_t ago = second_of(now) - second.number;
    if (second.number < 0 || ago < 1 || ago > kRecentTime.count()) continue;
    const auto place = summary.ended.size() - static_cast<std::size_t>(ago);
    summary.ended.at(place) = second.ended;
    summary.failed.at(place) = second.failed;
  }
  summary.per_second = rate_of(summary, now);

  std::vector<std::int64_t> times;
  for (const Call& call : of.recent)
    if (now.steady - call.ended <= kRecentTime) times.push_back(call.took_us);
  summary.latency_of = times.size();
  if (times.empty()) return summary;
  std::sort(times.begin(), times.end());
  summary.latency = {percentile(times, .5), percentile(times, .9), percentile(times, .99)};
  return summary;
}

}  // namespace fnrun::supervisor::http
