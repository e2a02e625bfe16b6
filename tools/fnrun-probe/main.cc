// fnrun-probe: what does this sandbox stop? Wires table, runner, judge and report together.
//
// One static program, one thread, without need of /proc, of threads or of any file: it has to run
// where next to nothing is allowed. Every attempt is a process of its own.
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

#include "attempt.h"
#include "options.h"
#include "probe_table.h"
#include "report.h"
#include "runner.h"

namespace fnrun::probe {
namespace {

bool use_colour() {
  const char* no_color = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): one thread
  return (no_color == nullptr || *no_color == '\0') && ::isatty(STDOUT_FILENO) == 1;
}

bool is_wanted(const Options& options, const Family& family, const Probe& probe) {
  if (!options.family.empty() && options.family != family.name) return false;
  return options.only.empty() ||
         std::find(options.only.begin(), options.only.end(), probe.id) != options.only.end();
}

std::vector<Row> chosen_rows(const Options& options) {
  std::vector<Row> rows;
  for (const Family& family : probe_table())
    for (const Probe& probe : family.probes)
      if (is_wanted(options, family, probe)) rows.push_back({&probe, family.name, {}, {}});
  return rows;
}

Report make_report(const Options& options, Runner& runner) {
  Report report;
  utsname names{};
  if (raw_syscall(__NR_uname, as_arg(&names)) == 0) report.kernel = names.release;
  report.uid = raw_syscall(__NR_geteuid);
  report.expected = options.expected;
  report.rows = chosen_rows(options);
  for (Row& row : report.rows) {
    row.saw = runner.run(*row.probe);
    if (options.expected)
      row.verdict = judge(row.saw, promised_of(*row.probe, *options.expected), *options.expected);
  }
  const bool whole = options.only.empty() && options.family.empty();
  if (options.expected) report.holds = holds(report.rows, *options.expected, whole);
  return report;
}

int probe(const Options& options) {
  if (options.list) {
    std::cout << to_list(chosen_rows(options)) << std::flush;
    return std::cout ? 0 : kExitBroken;
  }
  Runner runner;
  if (!runner.usable()) {
    std::cerr << "fnrun-probe: no shared memory for what the attempts tell: mmap failed; "
                 "nothing was tried\n";
    return kExitBroken;
  }
  namespaces_outside = options.namespaces_outside;
  const Report report = make_report(options, runner);
  std::cout << (options.json ? to_json(report) : to_table(report, use_colour())) << std::flush;
  if (!std::cout) {
    std::cerr << "fnrun-probe: the report could not be written to stdout\n";
    return kExitBroken;
  }
  return report.holds ? 0 : kExitBroken;
}

}  // namespace
}  // namespace fnrun::probe

int main(int argc, char** argv) {
  try {
    const auto parsed = fnrun::probe::parse_command_line(argc, argv);
    if (const int* code = std::get_if<int>(&parsed)) return *code;
    return fnrun::probe::probe(std::get<fnrun::probe::Options>(parsed));
  } catch (const std::exception& failure) {
    std::cerr << "fnrun-probe: out of resources: " << failure.what() << '\n';
    return fnrun::probe::kExitBroken;
  }
}
