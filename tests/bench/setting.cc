#include "tests/bench/setting.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <thread>

#include "isolation/handler_file.h"
#include "isolation/host.h"
#include "policies/policy_json.h"

namespace fnrun::bench {
namespace {

std::size_t gcd(std::size_t a, std::size_t b) {
  return b == 0 ? a : gcd(b, a % b);
}

// Before anything was pinned.
const cpu_set_t& cpus_at_start() {
  static const cpu_set_t cpus = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) != 0)
      throw std::runtime_error(std::string("sched_getaffinity: ") + std::strerror(errno));
    return set;
  }();
  return cpus;
}

}  // namespace

Options parse_options(int argc, char** argv, std::size_t rounds) {
  Options options;
  options.rounds = rounds;
  const std::vector<std::string> words(argv + 1, argv + argc);
  std::vector<std::string*> places{&options.policy, &options.handler};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool has_value = i + 1 < words.size();
    if (word == "--assert") {
      options.check_limits = true;
    } else if (word == "--json" && has_value) {
      options.json = words[++i];
    } else if (word == "--only" && has_value) {
      options.only = words[++i];
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
        "usage: POLICY HANDLER [--rounds N] [--only SECTION] [--json FILE] [--assert]");
  return options;
}

WalkableCopy::WalkableCopy(const std::string& file) {
  std::string name = "/var/tmp/fnrun-bench-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  folder_ = name;
  std::filesystem::permissions(folder_, std::filesystem::perms(0755));
  std::filesystem::copy_file(file, path());
}

WalkableCopy::~WalkableCopy() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

isolation::Plan make_plan(const std::string& policy_file, const std::string& handler_file,
                          std::optional<policies::Reuse> reuse) {
  auto policy = policies::load_policy(policy_file, {});
  if (!policy) throw std::runtime_error(policy.error().to_string());
  if (reuse) policy->reuse = *reuse;
  const auto host = isolation::probe_host();
  if (!host) throw std::runtime_error(host.error().to_string());
  auto handler = isolation::find_handler({handler_file}, *policy, "", *host);
  if (!handler) throw std::runtime_error(handler.error().to_string());
  auto plan = isolation::compile(*policy, *host, std::move(*handler));
  if (!plan) throw std::runtime_error(plan.error().to_string());
  return std::move(*plan);
}

About describe(const isolation::Plan& plan, const Options& options) {
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

std::vector<std::size_t> order_of(std::size_t round, std::size_t count) {
  std::vector<std::size_t> steps;
  for (std::size_t step = 1; step < count; ++step)
    if (gcd(step, count) == 1) steps.push_back(step);
  const std::size_t step = steps.empty() ? 1 : steps[round / count % steps.size()];
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < count; ++i) order.push_back((round + i * step) % count);
  return order;
}

void pin_to(int cpu) {
  cpu_set_t set = cpus_at_start();
  if (cpu != kAnyCpu) {
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(cpu), &set);
  }
  if (::sched_setaffinity(0, sizeof set, &set) != 0)
    throw std::runtime_error("sched_setaffinity to CPU " + std::to_string(cpu) + ": " +
                             std::strerror(errno));
}

std::pair<int, int> two_cpus() {
  std::vector<int> found;
  for (int cpu = 0; cpu < CPU_SETSIZE && found.size() < 2; ++cpu)
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &cpus_at_start())) found.push_back(cpu);
  return {found.front(), found.back()};
}

}  // namespace fnrun::bench
