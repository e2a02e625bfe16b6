// The sections of the serving benchmark: rows that are measured in turns, and what must hold.
//
// Each runs by itself, all on the calling thread, which afterwards may run anywhere again.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "isolation/launcher.h"
#include "tests/bench/results.h"

namespace fnrun::bench {

// A number against its limit.
struct Claim {
  std::string what;
  double value = 0;
  double limit = 0;
  bool at_least = false;  // The limit is the least, not the most.

  [[nodiscard]] bool holds() const { return at_least ? value >= limit : value <= limit; }
};

struct Section {
  std::string title;
  std::string raw;  // The row that the others are set against; "" if there is none.
  std::vector<Samples> rows;
  std::vector<Claim> claims;
  std::vector<std::string> notes{};  // Said below the table.
};

// The plans differ only in how sandboxes are reused.
struct Subject {
  isolation::Launcher& launcher;
  std::shared_ptr<const isolation::Plan> shipped;
  std::shared_ptr<const isolation::Plan> always;
  std::shared_ptr<const isolation::Plan> never;
  std::size_t rounds = 0;
};

// A warm call of 64 bytes: on one CPU, across two, and wherever the kernel likes; and what it costs
// to look after each for what it left behind.
[[nodiscard]] std::vector<Section> round_trips(const Subject& subject);
// What a pool that nobody calls costs, just after it was busy.
[[nodiscard]] std::vector<Section> idle_pool(const Subject& subject);
// A mebibyte there and back.
[[nodiscard]] std::vector<Section> payload(const Subject& subject);
// A handler that does not answer within 50 ms, and the next call.
[[nodiscard]] std::vector<Section> deadline(const Subject& subject);
// One launch, to the end.
[[nodiscard]] std::vector<Section> cold_launch(const Subject& subject);
// A sandbox for each call, from spares.
[[nodiscard]] std::vector<Section> never_reused(const Subject& subject);
// A launch by a small supervisor, and by one that holds 512 MiB.
[[nodiscard]] std::vector<Section> large_supervisor(const Subject& subject);

[[nodiscard]] std::string to_text(const Section& section);

}  // namespace fnrun::bench
