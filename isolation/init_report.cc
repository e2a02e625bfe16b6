#include "isolation/init_report.h"

#include <algorithm>
#include <cstring>

#include "isolation/child/launch_plan.h"

namespace fnrun::isolation {
namespace {

void take_exit(const child::Report& report, Exit& exit) {
  exit.wait_status = report.wait_status;
  exit.user_time = std::chrono::microseconds(report.user_us);
  exit.system_time = std::chrono::microseconds(report.system_us);
  exit.max_rss_kib = report.max_rss_kib;
  // Unsigned: whatever the numbers are, adding them is defined.
  exit.context_switches =
      static_cast<std::int64_t>(static_cast<std::uint64_t>(report.voluntary_switches) +
                                static_cast<std::uint64_t>(report.involuntary_switches));
}

// The handler's own call says why it ended; before that one, others' are what there is to tell.
bool take_forbidden(const child::Report& report, std::optional<ForbiddenCall>& kept) {
  if (report.count == 0) return false;
  ForbiddenCall told;
  if (report.made_by == child::MadeBy::kHandler)
    told.by = ForbiddenCall::By::kHandler;
  else if (report.made_by == child::MadeBy::kChild)
    told.by = ForbiddenCall::By::kChild;
  else
    return false;
  told.number = report.call.number;
  told.arch = report.call.arch;
  told.instruction_pointer = report.call.instruction_pointer;
  std::copy(std::begin(report.call.args), std::end(report.call.args), told.args.begin());
  told.count = report.count;
  if (!kept || told.by == kept->by || told.by == ForbiddenCall::By::kHandler) kept = told;
  return true;
}

}  // namespace

bool take_report(std::span<const std::byte> datagram, Exit& exit) {
  child::Report report{};
  if (datagram.size() != sizeof report) return false;
  std::memcpy(&report, datagram.data(), sizeof report);
  switch (report.kind) {
    case child::ReportKind::kExited:
      take_exit(report, exit);
      return true;
    case child::ReportKind::kForbidden:
      return take_forbidden(report, exit.forbidden);
    case child::ReportKind::kStarted:
    case child::ReportKind::kFailed:
      break;
  }
  return false;
}

}  // namespace fnrun::isolation
