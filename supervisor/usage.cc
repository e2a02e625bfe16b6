#include "supervisor/usage.h"

namespace fnrun::supervisor {

Usage usage_of(const isolation::ResourceUse& use, const std::optional<isolation::Exit>& exit,
               std::uint64_t calls_served) {
  Usage usage;
  const bool waited_for = exit && exit->wait_status && calls_served == 1;
  if (waited_for) {
    usage.max_rss_kib = exit->max_rss_kib;
    usage.context_switches = exit->context_switches;
  }
  if (use.cpu) {
    usage.source = "cgroup";
    usage.user_us = use.cpu->user.count();
    usage.system_us = use.cpu->system.count();
  } else if (waited_for) {
    usage.source = "wait4";
    usage.user_us = exit->user_time.count();
    usage.system_us = exit->system_time.count();
  } else {
    usage.reason = calls_served > 1
                       ? "there is no cgroup to ask, and the handler served other calls"
                       : "there is no cgroup to ask, and the handler has not ended by "
                         "itself";
  }
  if (use.throttled) usage.throttled_us = use.throttled->count();
  usage.memory_peak_bytes = use.memory_peak_bytes;
  if (use.memory_peak_bytes) usage.peak_of = use.peak_of_call ? "call" : "sandbox";
  usage.memory_max_hits = use.memory_max_hits;
  usage.oom_kills = use.oom_kills;
  usage.processes_peak = use.processes_peak;
  usage.processes_max_hits = use.processes_max_hits;
  usage.io_read_bytes = use.io_read_bytes;
  usage.io_written_bytes = use.io_written_bytes;
  return usage;
}

void add_samples(Usage& usage, const ResourceWatch& watch) {
  if (!usage.memory_peak_bytes && watch.resident_peak()) {
    usage.memory_peak_bytes = watch.resident_peak();
    usage.peak_of = "sampled";
  }
  if (!usage.processes_peak) usage.processes_peak = watch.threads_peak();
}

}  // namespace fnrun::supervisor
