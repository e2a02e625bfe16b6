// What a launch costs: fnrun's against the least work for the same isolation, in one run.
//
// usage: launch_bench POLICY HANDLER [--rounds N] [--json FILE] [--assert]
// Prints ratios; a slow machine is no error. --assert is for a quiet machine and a person who
// asked: it exits 1 beyond the limits. See README.md beside this file.
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "isolation/handler_file.h"
#include "isolation/host.h"
#include "isolation/plan.h"
#include "policies/policy_json.h"
#include "tests/bench/cases.h"
#include "tests/bench/results.h"

namespace fnrun::bench {
namespace {

constexpr std::size_t kWarmUpRounds = 5;

struct Options {
  std::string policy;
  std::string handler;
  std::size_t rounds = 200;
  std::string json;
  bool check_limits = false;
};

Options parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> words(argv + 1, argv + argc);
  std::vector<std::string*> places{&options.policy, &options.handler};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool has_value = i + 1 < words.size();
    if (word == "--assert") {
      options.check_limits = true;
    } else if (word == "--json" && has_value) {
      options.json = words[++i];
    } else if (word == "--rounds" && has_value) {
      const std::string& number = words[++i];
      const auto end = number.data() + number.size();
      if (std::from_chars(number.data(), end, options.rounds).ptr != end || options.rounds == 0)
        throw std::runtime_error("--rounds takes a whole number from 1, not '" + number + "'");
    } else if (!places.empty() && !word.starts_with("--")) {
      *places.front() = word;
      places.erase(places.begin());
    } else {
      throw std::runtime_error("what is '" + word + "'?");
    }
  }
  if (!places.empty())
    throw std::runtime_error(
        "usage: launch_bench POLICY HANDLER [--rounds N] [--json FILE] [--assert]");
  return options;
}

isolation::Plan make_plan(const Options& options) {
  const auto policy = policies::load_policy(options.policy, {});
  if (!policy) throw std::runtime_error(policy.error().to_string());
  const auto host = isolation::probe_host();
  if (!host) throw std::runtime_error(host.error().to_string());
  auto handler = isolation::find_handler({options.handler}, *policy, "", *host);
  if (!handler) throw std::runtime_error(handler.error().to_string());
  auto plan = isolation::compile(*policy, *host, std::move(*handler));
  if (!plan) throw std::runtime_error(plan.error().to_string());
  return std::move(*plan);
}

std::size_t gcd(std::size_t a, std::size_t b) {
  return b == 0 ? a : gcd(b, a % b);
}

// The order of one round. The network namespaces of a launch are taken down after it, by the
// kernel's own threads; so nobody may have the same neighbour every time: each round begins at
// another case and takes other steps.
std::vector<std::size_t> order_of(std::size_t round, std::size_t count) {
  std::vector<std::size_t> steps;
  for (std::size_t step = 1; step < count; ++step)
    if (gcd(step, count) == 1) steps.push_back(step);
  const std::size_t step = steps.empty() ? 1 : steps[round / count % steps.size()];
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < count; ++i) order.push_back((round + i * step) % count);
  return order;
}

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

std::vector<std::pair<std::string, std::string>> describe(const isolation::Plan& plan,
                                                          const Options& options) {
  char date[16];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::strftime(date, sizeof date, "%Y-%m-%d", &utc);
  std::string layers;
  for (const std::string& layer : plan.layers) layers += (layers.empty() ? "" : " ") + layer;
  utsname system{};
  ::uname(&system);
  // The version alone: what follows it names the machine's owner, not the kernel's behaviour.
  const std::string release = system.release;
  return {{"date", date},
          {"kernel", "Linux " + release.substr(0, release.find('-'))},
          {"cpus", std::to_string(std::thread::hardware_concurrency())},
          {"supervisor", plan.host.privileged ? "root" : "unprivileged"},
          {"cgroup", plan.use_cgroup ? "yes" : "no"},
          {"layers", layers},
          {"rounds", std::to_string(options.rounds)}};
}

// The handler where any uid can walk to it: the yardsticks bind it by path, as the sandbox's uid,
// and a checkout may lie below a home of mode 0700. Not in /tmp, which they mount over.
class WalkableCopy {
 public:
  explicit WalkableCopy(const std::string& file) {
    std::string name = "/var/tmp/fnrun-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    folder_ = name;
    std::filesystem::permissions(folder_, std::filesystem::perms(0755));
    std::filesystem::copy_file(file, path());
  }
  ~WalkableCopy() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  WalkableCopy(const WalkableCopy&) = delete;
  WalkableCopy& operator=(const WalkableCopy&) = delete;
  [[nodiscard]] std::string path() const { return (folder_ / "handler").string(); }

 private:
  std::filesystem::path folder_;
};

int run(Options options) {
  const WalkableCopy handler(options.handler);
  options.handler = handler.path();
  const isolation::Plan plan = make_plan(options);
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
    return fnrun::bench::run(fnrun::bench::parse(argc, argv));
  } catch (const std::exception& problem) {
    std::cerr << "launch_bench: " << problem.what() << '\n';
    return 2;
  }
}
