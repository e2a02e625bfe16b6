#include "supervisor/http/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <vector>

#include "supervisor/http/process_use.h"

namespace fnrun::supervisor::http {
namespace {

using prometheus::ClientMetric;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;
using prometheus::Registry;
using Labels = std::vector<ClientMetric::Label>;

constexpr double kMicro = 1e-6;
constexpr std::size_t kKillReasons = static_cast<std::size_t>(isolation::KillReason::kCpuTime) + 1;
constexpr std::array kEvents{"degraded", "recovered", "quarantined", "released"};

// From half a millisecond, which a running handler may well take, to a minute.
const Histogram::BucketBoundaries& duration_buckets() {
  static const Histogram::BucketBoundaries kSeconds{.0005, .001, .0025, .005, .01, .025, .05, .1,
                                                    .25,   .5,   1,     2.5,  5,   10,   30,  60};
  return kSeconds;
}
// From 1 MiB to 8 GiB, each twice the last.
const Histogram::BucketBoundaries& memory_buckets() {
  static const Histogram::BucketBoundaries kBytes = [] {
    Histogram::BucketBoundaries bytes;
    for (double bound = 1 << 20; bound <= 8.0 * (1 << 30); bound *= 2) bytes.push_back(bound);
    return bytes;
  }();
  return kBytes;
}

// A name of the kernel's table, or that there is none: a closed set.
std::string syscall_label(const Evidence& evidence) {
  if (!evidence.forbidden) return "unknown";  // Only the kernel's own log has it.
  std::string name = evidence.forbidden->name();
  return name.starts_with("syscall ") ? "other" : name;
}

// What is kept of one function. Its counters go when it goes.
class OfFunction {
 public:
  explicit OfFunction(const std::string& name) : function_{{"function", name}} {
    for (const OutcomeInfo& info : kOutcomes)
      outcomes_.at(static_cast<std::size_t>(info.outcome)) =
          &invocations_.Add({{"outcome", std::string(info.name)}});
    for (std::size_t i = 1; i < kKillReasons; ++i)
      kills_.at(i) = &killed_.Add(
          {{"cause", std::string(isolation::name_of(static_cast<isolation::KillReason>(i)))}});
    for (std::size_t i = 0; i < kEvents.size(); ++i)
      events_.at(i) = &pool_events_.Add({{"event", kEvents.at(i)}});
    denials_.Add({{"syscall", "other"}});
  }

  void count(const InvocationReport& report) {
    outcomes_.at(static_cast<std::size_t>(report.outcome))->Increment();
    const InvocationReport::Timings& timings = report.timings;
    if (was_served(report.outcome))
      duration_.Observe(static_cast<double>(timings.wait_us + timings.invoke_us) * kMicro);
    wait_.Observe(static_cast<double>(timings.wait_us) * kMicro);
    if (report.sandbox.calls_served == 1)
      init_.Observe(static_cast<double>(report.sandbox.start_us) * kMicro);
    const Evidence& evidence = report.evidence;
    if (auto* kills = kills_.at(static_cast<std::size_t>(evidence.killed_for))) kills->Increment();
    if (!forbidden_source(evidence).empty())
      denials_.Add({{"syscall", syscall_label(evidence)}}).Increment();
    if (!report.usage.source.empty()) {
      user_.Increment(static_cast<double>(report.usage.user_us) * kMicro);
      system_.Increment(static_cast<double>(report.usage.system_us) * kMicro);
    }
    if (report.usage.memory_peak_bytes)
      memory_.Observe(static_cast<double>(*report.usage.memory_peak_bytes));
    request_.Increment(static_cast<double>(report.bytes.request));
    response_.Increment(static_cast<double>(report.bytes.response));
  }

  void event(PoolEvent::Kind kind) { events_.at(static_cast<std::size_t>(kind))->Increment(); }

  // A pool counts from its own beginning. What it has counted since the last look is added, so that
  // a reload takes nothing back.
  void look(const FunctionStatus& status) {
    PoolStatus& seen = seen_[status.generation];
    started_.Increment(static_cast<double>(status.pool.started - seen.started));
    failed_.Increment(static_cast<double>(status.pool.failed_starts - seen.failed_starts));
    dirty_.Increment(static_cast<double>(status.pool.dirty - seen.dirty));
    seen = status.pool;
  }
  void end(std::uint64_t generation) { seen_.erase(generation); }

  [[nodiscard]] std::vector<MetricFamily> collect() const { return registry_.Collect(); }

 private:
  Family<Counter>& counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Labels(function_).Register(registry_);
  }
  Histogram& histogram(const char* name, const char* help,
                       const Histogram::BucketBoundaries& buckets) {
    return prometheus::BuildHistogram()
        .Name(name)
        .Help(help)
        .Labels(function_)
        .Register(registry_)
        .Add({}, buckets);
  }
  Counter& counter(const char* name, const char* help) { return counters(name, help).Add({}); }

  prometheus::Labels function_;
  Registry registry_;
  Family<Counter>& invocations_ =
      counters("fnrun_invocations_total", "Calls that have ended, by outcome.");
  Histogram& duration_ = histogram(
      "fnrun_invocation_duration_seconds",
      "From a call's beginning to its end, waiting and starting a sandbox included; calls that no "
      "handler was asked for, and cancelled ones, apart.",
      duration_buckets());
  Histogram& wait_ = histogram("fnrun_queue_wait_seconds",
                               "From a call's beginning until a sandbox was its own, or until it "
                               "was given up: for a place, and for a start.",
                               duration_buckets());
  Histogram& init_ =
      histogram("fnrun_init_duration_seconds",
                "What starting a sandbox took; counted with its first call.", duration_buckets());
  Family<Counter>& killed_ =
      counters("fnrun_kills_total", "Sandboxes that the supervisor killed in a call, by cause.");
  Family<Counter>& denials_ =
      counters("fnrun_seccomp_denials_total",
               "Calls that failed with a system call that the policy forbids, by its name.");
  Family<Counter>& pool_events_ =
      counters("fnrun_pool_events_total", "What befell the pool of sandboxes.");
  Family<Counter>& cpu_ =
      counters("fnrun_invocation_cpu_seconds_total", "CPU time of calls, where it is known.");
  Counter& user_ = cpu_.Add({{"mode", "user"}});
  Counter& system_ = cpu_.Add({{"mode", "system"}});
  Histogram& memory_ = histogram("fnrun_worker_memory_peak_bytes",
                                 "Memory peak of a sandbox at the end of a call; before Linux 6.12 "
                                 "since the sandbox began.",
                                 memory_buckets());
  Counter& request_ = counter("fnrun_request_bytes_total", "Bytes of calls' inputs.");
  Counter& response_ = counter("fnrun_response_bytes_total", "Bytes of handlers' answers.");
  Counter& started_ = counter("fnrun_workers_started_total", "Sandboxes that were started.");
  Counter& failed_ =
      counter("fnrun_worker_start_failures_total", "Sandboxes that could not be started.");
  Counter& dirty_ = counter("fnrun_workers_dirty_total",
                            "Sandboxes that were retired because a call left something behind.");
  std::array<Counter*, kOutcomes.size()> outcomes_{};
  std::array<Counter*, kKillReasons> kills_{};
  std::array<Counter*, kEvents.size()> events_{};
  std::map<std::uint64_t, PoolStatus> seen_;  // By generation.
};

// Families by name, from several sources: each may stand only once in the text.
class Exposition {
 public:
  void add(const char* name, const char* help, double value, Labels labels = {},
           MetricType type = MetricType::Gauge) {
    MetricFamily& family = families_[name];
    family.name = name;
    family.help = help;
    family.type = type;
    ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  }
  void add_total(const char* name, const char* help, double value) {
    add(name, help, value, {}, MetricType::Counter);
  }
  void add(std::vector<MetricFamily> families) {
    for (MetricFamily& family : families) {
      const auto [place, is_new] = families_.try_emplace(family.name);
      if (is_new)
        place->second = std::move(family);
      else
        place->second.metric.insert(place->second.metric.end(), family.metric.begin(),
                                    family.metric.end());
    }
  }

  [[nodiscard]] std::string text() && {
    std::vector<MetricFamily> all;
    all.reserve(families_.size());
    for (auto& [name, family] : families_) {
      std::sort(family.metric.begin(), family.metric.end(),
                [](const auto& one, const auto& other) { return one.label < other.label; });
      all.push_back(std::move(family));
    }
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, all);
    return std::move(out).str();
  }

 private:
  std::map<std::string, MetricFamily> families_;
};

void add_function(const FunctionStatus& status, Exposition& out) {
  const Labels function{{"function", status.name}};
  const PoolStatus& pool = status.pool;
  const std::array<std::pair<const char*, std::size_t>, 5> states{
      {{"idle", pool.idle},
       {"starting", pool.starting},
       {"busy", pool.busy},
       {"dying", pool.dying},
       {"quarantined", pool.quarantined}}};
  for (const auto& [state, count] : states)
    out.add("fnrun_workers", "Sandboxes, by what they do.", static_cast<double>(count),
            {{"function", status.name}, {"state", state}});
  out.add("fnrun_invocations_in_flight", "Calls that were begun and not answered.",
          static_cast<double>(status.in_flight), function);
  out.add("fnrun_waiting", "Calls that wait for a place.", static_cast<double>(status.waiting),
          function);
  out.add("fnrun_waiting_limit", "Calls that may wait for a place.",
          static_cast<double>(status.waiting_max), function);
  out.add("fnrun_concurrency_limit", "Calls that are served at a time.",
          static_cast<double>(status.places), function);
  out.add("fnrun_degraded", "1 while the handler fails to start.", pool.degraded ? 1 : 0, function);
  out.add("fnrun_generation", "1, and one more for each reload that made the function anew.",
          static_cast<double>(status.generation), function);
}

void add_http(const ServerStatus& http, Exposition& out) {
  const auto of = [](std::uint64_t count) { return static_cast<double>(count); };
  out.add("fnrun_http_connections", "Connections that are open.", of(http.connections));
  out.add("fnrun_http_body_bytes", "Bytes that are reserved for the bodies of requests.",
          of(http.body_bytes));
  out.add_total("fnrun_http_connections_total", "Connections that were accepted.",
                of(http.accepted));
  out.add_total("fnrun_http_connections_refused_total",
                "Connections that were closed at once: too many were open.", of(http.turned_away));
  out.add_total("fnrun_http_requests_total", "Requests whose header came whole.",
                of(http.requests));
  out.add_total("fnrun_http_timeouts_total", "Connections that were closed for being too slow.",
                of(http.timed_out));
  out.add_total("fnrun_http_malformed_requests_total", "What came and was no request.",
                of(http.malformed));
  out.add_total("fnrun_http_vanished_clients_total",
                "Clients that hung up before their answer was written.", of(http.vanished));
}

// The names that every client library of Prometheus uses.
void add_process(std::optional<double> start_time, Exposition& out) {
  const ProcessUse use = process_use();
  out.add_total("process_cpu_seconds_total", "CPU time of the supervisor itself.", use.cpu_seconds);
  if (use.resident_bytes)
    out.add("process_resident_memory_bytes", "Memory of the supervisor itself.",
            static_cast<double>(*use.resident_bytes));
  if (use.open_fds)
    out.add("process_open_fds", "Open descriptors of the supervisor.",
            static_cast<double>(*use.open_fds));
  if (use.max_fds)
    out.add("process_max_fds", "Descriptors that the supervisor may have.",
            static_cast<double>(*use.max_fds));
  if (start_time)
    out.add("process_start_time_seconds", "When the supervisor began, since 1970.", *start_time);
}

}  // namespace

struct Metrics::State {
  std::optional<double> start_time = process_start_time();
  std::map<std::string, OfFunction, std::less<>> functions;

  OfFunction& of(std::string_view name) {
    const auto found = functions.find(name);
    if (found != functions.end()) return found->second;
    return functions.try_emplace(std::string(name), std::string(name)).first->second;
  }
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

void Metrics::count(std::string_view function, const InvocationReport& report) {
  state_->of(function).count(report);
}

void Metrics::event(std::string_view function, const PoolEvent& event) {
  state_->of(function).event(event.kind);
}

void Metrics::settle(const FunctionStatus& last) {
  OfFunction& function = state_->of(last.name);
  function.look(last);
  function.end(last.generation);
}

void Metrics::forget(std::string_view function) {
  const auto found = state_->functions.find(function);
  if (found != state_->functions.end()) state_->functions.erase(found);
}

std::string Metrics::expose(const Snapshot& snapshot) {
  Exposition out;
  for (const FunctionStatus& status : snapshot.functions) {
    state_->of(status.name).look(status);
    add_function(status, out);
  }
  for (const auto& [name, function] : state_->functions) out.add(function.collect());
  add_http(snapshot.http, out);
  add_process(state_->start_time, out);
  out.add("fnrun_build_info", "Always 1; the version is a label.", 1,
          {{"version", snapshot.version}});
  out.add("fnrun_draining", "1 while the service takes no further call.",
          snapshot.draining ? 1 : 0);
  return std::move(out).text();
}

}  // namespace fnrun::supervisor::http
