// What one invocation was: outcome, evidence, sandbox, times, sizes, use of the machine.
//
// The caller of a front end gets an answer; whoever runs the supervisor gets this. Plain values,
// filled by the invoker and the service, written as JSON here and nowhere else; any thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/message_types.h"
#include "supervisor/outcome.h"

namespace fnrun::supervisor {

// What the invocation used. An empty source: CPU time is not known, and the reason says why. What
// is not known is absent, never 0.
struct Usage {
  std::string source;  // "cgroup": all processes; "wait4": the handler and who it waited for; "".
  std::string reason;  // Only without a source.
  std::int64_t user_us = 0;
  std::int64_t system_us = 0;
  std::optional<std::int64_t> throttled_us;  // Waited because of cpu_max_percent.
  std::optional<std::uint64_t> memory_peak_bytes;
  // Since when, and by whom, the peaks are: "call", "sandbox" (kernels before 6.12 cannot start
  // anew), "sampled" (looks at /proc: what came and went between two goes unseen); "" without any.
  std::string peak_of;
  std::optional<std::uint64_t> memory_max_hits;
  std::optional<std::uint64_t> oom_kills;
  std::optional<std::uint64_t> processes_peak;  // Threads are processes here.
  std::optional<std::uint64_t> processes_max_hits;
  std::optional<std::uint64_t> io_read_bytes;
  std::optional<std::uint64_t> io_written_bytes;
  // Of the handler and who it waited for; known only once it has ended.
  std::optional<std::int64_t> max_rss_kib;
  std::optional<std::int64_t> context_switches;
};

struct InvocationReport {
  struct Sandbox {
    pid_t pid = 0;  // Of its init, on the host; 0: there was no sandbox.
    std::optional<std::uint32_t> slot_uid;
    std::uint64_t calls_served = 0;  // With this one.
    std::int64_t start_us = 0;       // What making it took, whenever that was.
  };
  struct Timings {
    std::int64_t start_us = 0;  // Of this call's time; 0 when a running sandbox served it.
    std::int64_t invoke_us = 0;
    // From the call's beginning until a sandbox was its own, or until it was given up: for a place,
    // and for a start.
    std::int64_t wait_us = 0;
  };
  struct Bytes {
    std::uint64_t request = 0;
    std::uint64_t response = 0;
  };
  struct StderrLines {
    std::uint64_t emitted = 0;
    std::uint64_t dropped = 0;
  };

  std::uint64_t sequence = 0;
  std::string request_id;  // The caller's word for the call, as it came; "" without one.
  Outcome outcome = Outcome::kOk;
  Evidence evidence;
  std::string handler;  // Its path, as the command names it.
  std::string policy;   // Its name, as the command names it.
  Sandbox sandbox;
  Timings timings;
  Bytes bytes;
  std::optional<std::int32_t> status;  // The handler's own word, as is env.
  std::vector<protocol::EnvVar> env;
  bool warned = false;  // The handler got the policy's warning before the deadline.
  std::vector<std::string>
      leftovers;  // What the call left behind: why nobody else gets its sandbox.
  Usage usage;
  // Of the plan, which many calls share; null: none.
  std::shared_ptr<const std::vector<std::string>> layers;  // In force, in the order of setting up.
  // Layer or limit -> what stands in for it, or why.
  std::shared_ptr<const std::map<std::string, std::string>> degraded;
  StderrLines stderr_lines;
};

// How much of a handler's words a report repeats: a handler that answers megabytes of variables
// must not fill the log with them.
inline constexpr std::size_t kReportEnvMax = 32;
inline constexpr std::size_t kReportTextMax = 1'024;  // Bytes of one name or value.

// One JSON object on one line, without a line end. ASCII only: whatever the texts hold, it steers
// no terminal; bytes that are not UTF-8 become U+FFFD. Keys, always all of them and in this order:
//
//   sequence           number
//   request_id         text, cut at kReportTextMax with "…"
//   outcome            name, see supervisor/outcome.h
//   outcome_number, exit_code, http_status      numbers
//   lambda_error_type  text; "" for ok
//   description        one line for people
//   evidence           {wait_status: {exited} or {signal, name, core_dumped} or null,
//                       killed_for: name or null,
//                       setup: {step, index, errno, errno_name, subject} or null,
//                       limits: {oom_kills, memory_max_hits, refused_forks, processes_at_max,
//                       memory_max_bytes, processes_max, cpu_time_max_ms},
//                       forbidden_call: {name, number, arch, args: ["0x…", six],
//                       instruction_pointer, by: "handler" or "child" (count: since the sandbox
//                       began), rule: name or "" for the default action, count, source:
//                       "user_notification"} or, with source "kernel_log", null for all but by and
//                       source, or null, detail}
//   handler, policy    text
//   sandbox            {pid, slot_uid or null, calls_served, start_us}, or null
//   start_us, invoke_us, wait_us, request_bytes, response_bytes      numbers
//   status             number or null
//   env                [{name, value}], at most kReportEnvMax, texts cut at kReportTextMax with "…"
//   env_left_out       number of variables that are not in env
//   warned             true or false
//   leftovers          [text], of a call that was answered, where the policy's reuse is clean
//   usage              {source, reason, user_us, system_us, throttled_us, memory_peak_bytes,
//   peak_of,
//                      memory_max_hits, oom_kills, processes_peak, processes_max_hits,
//                      io_read_bytes, io_written_bytes, max_rss_kib, context_switches}; null where
//                      not known, user_us and system_us too when source is ""
//   layers             [name]
//   degraded           {name: text}
//   stderr             {lines_emitted, lines_dropped}
[[nodiscard]] std::string to_json(const InvocationReport& report);
// Its `evidence` alone.
[[nodiscard]] std::string evidence_to_json(const Evidence& evidence);

}  // namespace fnrun::supervisor
