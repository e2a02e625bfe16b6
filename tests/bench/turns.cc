#include "tests/bench/turns.h"

#include "tests/bench/setting.h"

namespace fnrun::bench {

std::vector<Samples> in_turns(const std::vector<Row>& rows, std::size_t rounds) {
  std::vector<Samples> samples;
  for (const Row& row : rows) samples.push_back({.name = row.name, .skipped = ""});
  for (std::size_t round = 0; round < kWarmUpRounds + rounds; ++round) {
    for (const std::size_t i : order_of(round, rows.size())) {
      std::vector<double> us;
      rows[i].turn(us);
      if (round < kWarmUpRounds) continue;
      samples[i].us.insert(samples[i].us.end(), us.begin(), us.end());
    }
  }
  pin_to(kAnyCpu);
  return samples;
}

double ratio(const Samples& of, const Samples& to, double share) {
  return of.quantile(share) / to.quantile(share);
}

std::vector<Placement> placements() {
  const auto [first, second] = two_cpus();
  std::vector<Placement> all{{"one CPU", first, first}};
  if (first != second) all.push_back({"two CPUs", first, second});
  all.push_back({"any CPU", kAnyCpu, kAnyCpu});
  return all;
}

}  // namespace fnrun::bench
