// Reports and snapshots for tests that need no service: values, owned by whoever made them.
#pragma once

#include <linux/audit.h>
#include <sys/syscall.h>

#include <string>

#include "supervisor/http/snapshot.h"

namespace fnrun::supervisor::http {

// A call that a running sandbox answered: 1 ms of waiting, 4 ms of work.
inline InvocationReport answered() {
  InvocationReport report;
  report.request_id = "r-1";
  report.timings = {.start_us = 0, .invoke_us = 4'000, .wait_us = 1'000};
  report.sandbox = {.pid = 42, .slot_uid = {}, .calls_served = 2, .start_us = 20'000};
  report.bytes = {.request = 100, .response = 7};
  report.usage.source = "cgroup";
  report.usage.user_us = 3'000;
  report.usage.system_us = 500;
  return report;
}

inline InvocationReport ended_with(Outcome outcome,
                                   isolation::KillReason killed = isolation::KillReason::kNone) {
  InvocationReport report = answered();
  report.outcome = outcome;
  report.evidence.killed_for = killed;
  return report;
}

inline InvocationReport violated(std::int32_t number) {
  InvocationReport report = ended_with(Outcome::kPolicyViolation);
  report.evidence.forbidden.emplace();
  report.evidence.forbidden->number = number;
  report.evidence.forbidden->arch = AUDIT_ARCH_X86_64;
  return report;
}

inline FunctionStatus one_function(std::string name = "greet") {
  FunctionStatus status;
  status.name = std::move(name);
  status.policy = "strict";
  status.handler = "/opt/greet";
  status.places = 4;
  status.waiting_max = 16;
  status.in_flight = 3;
  status.waiting = 1;
  status.pool.idle = 1;
  status.pool.busy = 2;
  status.pool.started = 5;
  status.pool.failed_starts = 1;
  return status;
}

inline Snapshot one_snapshot() {
  Snapshot snapshot;
  snapshot.version = "1.2.3";
  snapshot.functions = {one_function()};
  snapshot.http.connections = 2;
  snapshot.http.requests = 9;
  return snapshot;
}

}  // namespace fnrun::supervisor::http
