// What serving costs: calls, deadlines and replacements against the least work for the same.
//
// usage: serve_bench POLICY HANDLER [--rounds N] [--only SECTION] [--json FILE] [--assert]
// HANDLER is bench_echo; the sections are call, http, idle, payload, deadline, launch, never,
// large. Prints each number with its limit; a slow machine is no error. --assert is for a quiet
// machine and a person who asked: it exits 1 beyond a limit. See README.md.
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "isolation/launcher.h"
#include "tests/bench/http_rows.h"
#include "tests/bench/serve_rows.h"
#include "tests/bench/setting.h"

namespace fnrun::bench {
namespace {

constexpr std::size_t kRounds = 60;
constexpr struct {
  const char* name;
  std::vector<Section> (*measure)(const Subject&);
} kSections[] = {{"call", round_trips},   {"http", over_http},        {"idle", idle_pool},
                 {"payload", payload},    {"deadline", deadline},     {"launch", cold_launch},
                 {"never", never_reused}, {"large", large_supervisor}};

int run(const Options& options) {
  const WalkableCopy handler(options.handler);
  const auto plan = [&](std::optional<policies::Reuse> reuse) {
    return std::make_shared<const isolation::Plan>(
        make_plan(options.policy, handler.path(), reuse));
  };
  const auto shipped = plan({});
  policies::Reuse always;
  always.mode = policies::Reuse::Mode::kAlways;
  policies::Reuse never;
  never.mode = policies::Reuse::Mode::kNever;
  const About about = describe(*shipped, options);
  for (const auto& [name, value] : about) std::cout << name << ": " << value << '\n';
  auto launcher = isolation::Launcher::make(shipped->host);
  if (!launcher) throw std::runtime_error(launcher.error().to_string());
  const Subject subject{*launcher, shipped, plan(always), plan(never), options.rounds};
  std::vector<Samples> all;
  bool within = true;
  const auto show = [&](const Section& section) {
    std::cout << '\n' << to_text(section) << std::flush;
    all.insert(all.end(), section.rows.begin(), section.rows.end());
    within = within && std::all_of(section.claims.begin(), section.claims.end(),
                                   [](const Claim& claim) { return claim.holds(); });
  };
  for (const auto& [name, measure] : kSections) {
    if (!options.only.empty() && options.only != name) continue;
    for (const Section& section : measure(subject)) show(section);
  }
  if (all.empty()) throw std::runtime_error("there is no section '" + options.only + "'");
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << to_json(about, all);
    if (!file.flush()) throw std::runtime_error(options.json + " could not be written");
  }
  return options.check_limits && !within ? 1 : 0;
}

}  // namespace
}  // namespace fnrun::bench

int main(int argc, char** argv) {
  // As fnrun-supervise does, and protocol/README.md tells every program to that moves megabytes.
  ::mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 32 * 1024 * 1024);
  try {
    return fnrun::bench::run(fnrun::bench::parse_options(argc, argv, fnrun::bench::kRounds));
  } catch (const std::exception& problem) {
    std::cerr << "serve_bench: " << problem.what() << '\n';
    return 2;
  }
}
