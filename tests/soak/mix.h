// Calls to tests/handlers/stormy.cc, some of which it does not survive: what each asks for, and
// what may come of it.
//
// Each carries a nonce and a payload of its own, and its answer the nonce and the payload's sum.
// Makes no call. Values; each Mix is one thread's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "supervisor/outcome.h"

namespace fnrun::soak {

// What one call asked for, and what came of it.
struct Call {
  std::string verb;
  std::string nonce;  // "CLIENT.COUNT.RANDOM", counted from 1.
  std::string own_answer;
  unsigned delay_us = 0;
  std::string got;  // Empty: no answer.
  supervisor::Outcome outcome{};
  pid_t sandbox = 0;
  [[nodiscard]] bool own() const { return got == own_answer; }
  // Told to speak again behind its answer.
  [[nodiscard]] bool lies() const {
    return verb == "again" || verb == "answerer" || verb == "reader";
  }
  [[nodiscard]] bool has_no_time() const { return verb == "hang" || verb == "late"; }
};

// The event of a call, and in `call` what is expected of it, by its verb, nonce and delay.
[[nodiscard]] std::string event_of(Call& call, const std::string& payload);

// What a call may come to in a sandbox where nobody lied before it.
[[nodiscard]] bool fits(const Call& call);

using Kinds = std::vector<std::vector<std::string>>;
inline const std::vector<std::string> kCrash{"crash", "leave"};
inline const std::vector<std::string> kHang{"hang"};
inline const std::vector<std::string> kGarbage{"garbage", "negative", "text", "half", "twice"};

// The calls of one client, one after another.
class Mix {
 public:
  // One call of `of` is of each kind, and of one kind any of these; the rest is honest.
  Mix(std::uint64_t seed, int client, Kinds kinds, unsigned of);

  // The event, and in `call` what is expected of it.
  [[nodiscard]] std::string next(Call& call);

 private:
  unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }
  std::string verb();
  std::size_t size();

  std::mt19937_64 random_;
  int client_;
  int count_ = 0;
  Kinds kinds_;
  unsigned of_;
};

[[nodiscard]] std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise);
// FNRUN_TEST_SEED, or any; printed, so that a run can be repeated.
[[nodiscard]] std::uint64_t seed_from_environment();

}  // namespace fnrun::soak
