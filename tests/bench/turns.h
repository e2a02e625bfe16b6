// Rows that are measured in turns, so that a slow moment of the machine is every row's.
//
// On the calling thread, which afterwards may run anywhere again.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "tests/bench/results.h"

namespace fnrun::bench {

inline constexpr std::size_t kWarmUpRounds = 2;  // Beside those that count.

// A row and what one turn of it adds to its samples.
struct Row {
  std::string name;
  std::function<void(std::vector<double>& us)> turn;
};
[[nodiscard]] std::vector<Samples> in_turns(const std::vector<Row>& rows, std::size_t rounds);

[[nodiscard]] double ratio(const Samples& of, const Samples& to, double share = 0.5);

// Where the caller and the one who answers run.
struct Placement {
  std::string name;
  int caller;
  int other;
};
// On one CPU, on two where there are so many, and wherever the kernel likes.
[[nodiscard]] std::vector<Placement> placements();

}  // namespace fnrun::bench
