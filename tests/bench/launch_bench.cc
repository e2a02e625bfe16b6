// What a launch costs: fnrun's against the least work for the same isolation, in one run.
//
// usage: launch_bench POLICY HANDLER [--rounds N] [--json FILE] [--assert]
// Prints ratios; a slow machine is no error. --assert is for a quiet machine and a person who
// asked: it exits 1 beyond the limits. See README.md beside this file.
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/bench/cases.h"
#include "tests/bench/results.h"
#include "tests/bench/setting.h"

namespace fnrun::bench {
namespace {

constexpr std::size_t kRounds = 200;
constexpr std::size_t kWarmUpRounds = 5;

std::vector<Samples> measure(const std::vector<std::unique_ptr<Case>>& all, std::size_t rounds) {
  std::vector<Samples> samples;
  std::vector<std::size_t> running;
  for (std::size_t i = 0; i < all.size(); ++i) {
    samples.push_back({.name = all[i]->name(), .skipped = all[i]->skipped()});
    if (samples[i].skipped.empty()) running.push_back(i);
  }
  for (std::size_t round = 0; round < kWarmUpRounds + rounds; ++round) {
    for (const std::size_t at : order_of(round, running.size())) {
      const std::size_t i = running[at];
      const Launch launch = all[i]->launch();
      if (!launch.problem.empty()) throw std::runtime_error(all[i]->name() + ": " + launch.problem);
      if (round >= kWarmUpRounds) samples[i].us.push_back(launch.us);
    }
  }
  return samples;
}

int run(const Options& options) {
  const WalkableCopy handler(options.handler);
  const isolation::Plan plan = make_plan(options.policy, handler.path());
  const auto about = describe(plan, options);
  for (const auto& [name, value] : about) std::cout << name << ": " << value << '\n';
  std::cout << '\n' << std::flush;
  const auto samples = measure(make_cases(plan), options.rounds);
  const Verdict verdict = judge(samples);
  std::cout << table(samples) << '\n' << verdict.sentence << std::endl;
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << to_json(about, samples);
    if (!file.flush()) throw std::runtime_error(options.json + " could not be written");
  }
  return options.check_limits && !verdict.within_limits ? 1 : 0;
}

}  // namespace
}  // namespace fnrun::bench

int main(int argc, char** argv) {
  try {
    return fnrun::bench::run(fnrun::bench::parse_options(argc, argv, fnrun::bench::kRounds));
  } catch (const std::exception& problem) {
    std::cerr << "launch_bench: " << problem.what() << '\n';
    return 2;
  }
}
