// What the benchmarks share: the plan they measure, the order of their rows, where they run.
//
// Each function throws std::runtime_error, with the reason, where it cannot do its work.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "isolation/plan.h"

namespace fnrun::bench {

struct Options {
  std::string policy;
  std::string handler;
  std::size_t rounds = 0;
  std::string json;
  std::string only;  // One section, by name; "": all.
  bool check_limits = false;
};
// usage: NAME POLICY HANDLER [--rounds N] [--only SECTION] [--json FILE] [--assert]
[[nodiscard]] Options parse_options(int argc, char** argv, std::size_t rounds);

// The handler where any uid can walk to it: the yardsticks bind it by path, as the sandbox's uid,
// and a checkout may lie below a home of mode 0700. Not in /tmp, which they mount over.
class WalkableCopy {
 public:
  explicit WalkableCopy(const std::string& file);
  ~WalkableCopy();
  WalkableCopy(const WalkableCopy&) = delete;
  WalkableCopy& operator=(const WalkableCopy&) = delete;
  [[nodiscard]] std::string path() const { return (folder_ / "handler").string(); }

 private:
  std::filesystem::path folder_;
};

// By the policy as it is, or with another way of reusing sandboxes.
[[nodiscard]] isolation::Plan make_plan(const std::string& policy_file, const std::string& handler,
                                        std::optional<policies::Reuse> reuse = {});

// Where and when, by name: for the head of the output and of the raw samples.
using About = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] About describe(const isolation::Plan& plan, const Options& options);

// The order of one round. What one row leaves to the kernel (network namespaces that its threads
// take down) the next one pays for; so nobody may have the same neighbour every time: each round
// begins at another row and takes other steps.
[[nodiscard]] std::vector<std::size_t> order_of(std::size_t round, std::size_t count);

// The calling thread, and what it starts, on one CPU; or, for kAnyCpu, where it could run at first.
inline constexpr int kAnyCpu = -1;
void pin_to(int cpu);
// The first two that may be used; the same twice where there is but one.
[[nodiscard]] std::pair<int, int> two_cpus();

}  // namespace fnrun::bench
