// What serving costs: calls, deadlines and replacements against the least work for the same.
//
// usage: serve_bench POLICY HANDLER [--rounds N] [--json FILE] [--assert]
// HANDLER is bench_echo. Prints each number with its limit; a slow machine is no error. --assert is
// for a quiet machine and a person who asked: it exits 1 beyond a limit. See README.md.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "isolation/launcher.h"
#include "tests/bench/serve_rows.h"
#include "tests/bench/setting.h"

namespace fnrun::bench {
namespace {

constexpr std::size_t kRounds = 60;

int run(const Options& options) {
  const WalkableCopy handler(options.handler);
  const auto plan =
      std::make_shared<const isolation::Plan>(make_plan(options.policy, handler.path()));
  const About about = describe(*plan, options);
  for (const auto& [name, value] : about) std::cout << name << ": " << value << '\n';
  auto launcher = isolation::Launcher::make(plan->host);
  if (!launcher) throw std::runtime_error(launcher.error().to_string());
  const Subject subject{*launcher, plan, options.rounds};
  std::vector<Samples> all;
  bool within = true;
  const auto show = [&](const Section& section) {
    std::cout << '\n' << to_text(section) << std::flush;
    all.insert(all.end(), section.rows.begin(), section.rows.end());
    within = within && std::all_of(section.claims.begin(), section.claims.end(),
                                   [](const Claim& claim) { return claim.holds(); });
  };
  for (const Section& section : round_trips(subject)) show(section);
  for (const auto section :
       {idle_pool, payload, deadline, cold_launch, never_reused, large_supervisor})
    show(section(subject));
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
  try {
    return fnrun::bench::run(fnrun::bench::parse_options(argc, argv, fnrun::bench::kRounds));
  } catch (const std::exception& problem) {
    std::cerr << "serve_bench: " << problem.what() << '\n';
    return 2;
  }
}
