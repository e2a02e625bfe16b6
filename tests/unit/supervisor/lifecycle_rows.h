// The rows of the lifecycle's table, and how they are written.
#pragma once

#include <ostream>
#include <vector>

#include "lifecycle_text.h"

namespace fnrun::supervisor::lifecycle {

using Inputs = std::vector<Input>;

struct Row {
  const char* name;       // Operation, then what of it.
  const char* operation;  // Of the table that is implemented; see supervisor/README.md.
  Inputs before;          // The way there, none of it refused.
  Input what;
  Refusal refused;
  Strings effects;
  State after;
  const char* original = "";  // Tests of rapidcore's that show the same, where there are any.
};
void PrintTo(const Row& row, std::ostream* out);

[[nodiscard]] std::vector<Row> init_rows();
[[nodiscard]] std::vector<Row> suppressed_rows();
[[nodiscard]] std::vector<Row> reserve_rows();
[[nodiscard]] std::vector<Row> answer_rows();
[[nodiscard]] std::vector<Row> release_rows();
[[nodiscard]] std::vector<Row> reset_rows();
[[nodiscard]] std::vector<Row> end_rows();

inline const Fault kExit{"Runtime.ExitError", "Runtime exited with error: exit status 1"};
inline const Fault kEntry{"Runtime.InvalidEntrypoint", "no such file"};
inline const Fault kNobodyKnows{"", "something of ours"};
inline const Fault kOwnWord{"Function.OwnWord", "said by the runtime"};
inline constexpr Refusal kOk = Refusal::kNone;

inline Inputs operator+(Inputs left, const Inputs& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// Where rows begin. Functions: tables of other files are made while the program starts.
namespace from {
inline Inputs starting() {
  return {input::Init{}};
}
inline Inputs up() {
  return {input::Init{}, input::WaitInit{}, input::InitSucceeded{}};
}
inline Inputs reserved() {
  return up() + Inputs{input::Reserve{"a"}};
}
inline Inputs running() {
  return reserved() + Inputs{input::SendRequest{}};
}
inline Inputs answered() {
  return running() + Inputs{input::Response{"a", input::Answered::kWithResult}};
}
inline Inputs served() {
  return answered() + Inputs{input::RuntimeReady{}};
}
inline Inputs crashed() {
  return running() + Inputs{input::RuntimeExited{kExit}};
}
inline Inputs reset() {
  return up() + Inputs{input::ResetBy{}, input::ProcessGone{}};
}
inline Inputs inside_inline_init() {
  return reset() + Inputs{input::Reserve{"b"}, input::SendRequest{}};
}
inline Inputs bad_init() {
  return {input::Init{}, input::WaitInit{}, input::InitFailed{kEntry}};
}
inline Inputs snapshot() {
  return {input::Init{}, input::WaitInit{}, input::InitSucceeded{true}};
}
inline Inputs down() {
  return up() + Inputs{input::Shutdown{}, input::ProcessGone{}};
}
}  // namespace from

}  // namespace fnrun::supervisor::lifecycle
