// The life of a sandbox under whatever order of inputs: what must hold always.
//
// A driver that does what the effects say, and a crowd that calls anything at any time. The seed is
// printed with a failure; FNRUN_TEST_SEED runs that one alone.
#include <gmock/gmock.h>

#include <cstdlib>
#include <random>

#include "lifecycle_text.h"

namespace fnrun::supervisor::lifecycle {
namespace {

// Keeps count of what the effects promised, and complains of the first thing that is not so.
class Witness {
 public:
  void step(Machine& machine, const Input& what) {
    const bool was_down = machine.state() == State::kDown;
    const Step step = machine.step(what);
    said_.push_back(text_of(what));
    if (step.refused == Refusal::kNone || step.refused == Refusal::kResponseTooLarge)
      accept(what);
    else
      check(step.effects.empty(), "what is refused has no effect");
    for (const Effect& one : step.effects) {
      said_.push_back("  " + text_of(one));
      std::visit([this](const auto& effect) { see(effect); }, one);
    }
    if (was_down) check(machine.state() == State::kDown, "down is terminal");
    if (was_down && !std::holds_alternative<input::WaitInit>(what) &&
        !std::holds_alternative<input::Shutdown>(what))
      check(step.effects.empty(), "nothing happens after the end");
    check(machine.generation() >= generation_, "generations do not go back");
    generation_ = machine.generation();
  }

  // At the very end, after a shutdown that was seen through.
  void nothing_is_owed() {
    check(reservations_ == completions_, "each reservation came to one end");
    check(init_waits_ == inits_told_, "everybody who waited for the init was told");
    check(!reset_owed_, "each reset was told");
    check(shutdown_told_, "the shutdown was told");
    check(!restore_owed_, "each restore was told");
    check(!in_init_, "each init.start has its report");
    check(!in_invoke_, "each invoke.start has its end");
  }

  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  [[nodiscard]] std::string story() const {
    std::string text;
    for (std::size_t i = said_.size() > 40 ? said_.size() - 40 : 0; i < said_.size(); ++i)
      text += said_[i] + "\n";
    return text;
  }
  [[nodiscard]] bool awaited() const { return awaited_ > 0; }
  [[nodiscard]] std::size_t successes() const { return successes_; }

 private:
  void check(bool holds, const char* what) {
    if (!holds && complaint_.empty()) complaint_ = what;
  }

  void accept(const Input& what) {
    if (std::holds_alternative<input::Reserve>(what)) {
      ++reservations_;
      answers_ = 0;
    } else if (std::holds_alternative<input::WaitInit>(what)) {
      ++init_waits_;
    } else if (std::holds_alternative<input::WaitInitLeft>(what)) {
      if (init_waits_ > inits_told_) --init_waits_;
    } else if (std::holds_alternative<input::ResetBy>(what)) {
      reset_owed_ = true;
    } else if (std::holds_alternative<input::Shutdown>(what)) {
      shutdown_told_ = false;
    } else if (std::holds_alternative<input::Restore>(what)) {
      restore_owed_ = true;
    } else if (std::holds_alternative<input::ProcessGone>(what)) {
      if (awaited_ > 0) alive_ = false;
      awaited_ = 0;
    }
  }

  void see(const effect::Emit& one) {
    if (one.event == EventKind::kInitStart) {
      check(!in_init_, "one init at a time");
      in_init_ = true;
      runtime_done_ = false;
    } else if (one.event == EventKind::kInitRuntimeDone) {
      check(in_init_ && !runtime_done_, "init.runtimeDone once, within an init");
      runtime_done_ = true;
    } else if (one.event == EventKind::kInitReport) {
      check(in_init_ && runtime_done_, "init.report after init.runtimeDone");
      in_init_ = false;
    } else if (one.event == EventKind::kInvokeStart) {
      check(!in_invoke_ && !in_init_, "invoke.start outside of any other");
      in_invoke_ = true;
      runtime_done_ = reported_ = false;
    } else if (one.event == EventKind::kInvokeRuntimeDone) {
      check(in_invoke_ && !runtime_done_ && !reported_, "invoke.runtimeDone once, before report");
      runtime_done_ = true;
    } else if (one.event == EventKind::kReport) {
      check(in_invoke_ && !reported_, "report once, within an invocation");
      reported_ = true;
    } else if (one.event == EventKind::kEnd) {
      check(in_invoke_ && reported_, "end after report");
      in_invoke_ = false;
    }
  }
  void see(const effect::StartProcess&) {
    check(!alive_, "no process is started while another may live");
    alive_ = true;
  }
  void see(const effect::WriteRequest&) { check(alive_, "a request goes to a process"); }
  void see(const effect::AnswerWithResponse&) { answer(); }
  void see(const effect::AnswerWithError&) { answer(); }
  void answer() { check(++answers_ == 1, "one answer for a reservation"); }
  void see(const effect::Complete& one) {
    check(++completions_ == reservations_, "one end for a reservation");
    const bool success = one.how == effect::Completion::kSuccess;
    successes_ += success ? 1U : 0U;
    if (success) check(answers_ == 1, "success has an answer");
    if (one.request_reset) check(answers_ == 1, "a failed invocation has an answer");
  }
  void see(const effect::TellInit&) { ++inits_told_; }
  void see(const effect::TellInitialised&) { ++inits_told_; }
  void see(const effect::CancelFlows&) {}
  void see(const effect::Kill&) {}
  void see(const effect::AwaitGone&) { ++awaited_; }
  void see(const effect::ReleaseFromRestore&) {}
  void see(const effect::CompleteRestore&) {
    check(restore_owed_, "a restore is told once");
    restore_owed_ = false;
  }
  void see(const effect::CompleteReset&) {
    check(reset_owed_, "a reset is told once");
    reset_owed_ = false;
  }
  void see(const effect::CompleteShutdown&) { shutdown_told_ = true; }

  std::vector<std::string> said_;
  std::string complaint_;
  std::uint64_t generation_ = 0;
  std::size_t reservations_ = 0, completions_ = 0, answers_ = 0, successes_ = 0;
  std::size_t init_waits_ = 0, inits_told_ = 0, awaited_ = 0;
  bool alive_ = false, in_init_ = false, in_invoke_ = false;
  bool runtime_done_ = false, reported_ = false;
  bool reset_owed_ = false, shutdown_told_ = true, restore_owed_ = false;
};

class Crowd {
 public:
  explicit Crowd(std::uint64_t seed) : random_(seed) {}

  // Shutdowns are rare, or nothing else would ever be seen.
  Input next(const Witness& witness) {
    if (witness.awaited() && below(3) == 0) return input::ProcessGone{};
    switch (below(150)) {
      case 0:
        return below(20) == 0 ? Input(input::Shutdown{}) : Input(input::Clear{});
      case 1:
        return input::ShutdownDeadline{};
      case 2:
        return input::ResetBy{static_cast<Reset>(below(3))};
      case 3:
        return input::RestoreDeadline{};
      case 4:
        return input::RestoreFailed{fault()};
      case 5:
        return input::Restore{};
      case 6:
        return input::WaitInitLeft{};
      case 7:
        return input::InitErrorReported{fault(), "{}"};
      case 8:
        return input::RequestRefused{fault()};
      case 9:
        return input::Release{};
      case 10:
        return input::InvokeFailed{fault()};
      case 11:
        return input::RuntimeExited{fault()};
      case 12:
        return input::Deadline{};
      case 13:
        return input::InitFailed{fault()};
      case 14:
        return input::Spent{};
      default:
        return usual();
    }
  }

 private:
  Input usual() {
    switch (below(7)) {
      case 0:
        return input::Init{below(4) == 0};
      case 1:
        return input::InitSucceeded{below(4) == 0};
      case 2:
        return input::WaitInit{};
      case 3:
        return input::Reserve{std::string(1, static_cast<char>('a' + below(2)))};
      case 4:
        return input::SendRequest{};
      case 5:
        return input::Response{std::string(1, static_cast<char>('a' + below(2))),
                               static_cast<input::Answered>(below(3))};
      default:
        return input::RuntimeReady{};
    }
  }
  Fault fault() { return {below(2) == 0 ? "" : "Runtime.ExitError", "it failed"}; }
  unsigned below(unsigned bound) {
    return std::uniform_int_distribution<unsigned>(0, bound - 1)(random_);
  }
  std::mt19937_64 random_;
};

// The number of invocations that went well, so that a test of nothing is noticed.
std::size_t live(std::uint64_t seed) {
  Machine machine;
  Witness witness;
  Crowd crowd(seed);
  for (int i = 0; i < 400 && witness.complaint().empty(); ++i)
    witness.step(machine, crowd.next(witness));
  const std::vector<Input> end{input::Shutdown{}, input::ShutdownDeadline{}, input::ProcessGone{},
                               input::ProcessGone{}, input::Shutdown{}};
  for (const Input& one : end) witness.step(machine, one);
  witness.nothing_is_owed();
  EXPECT_EQ(witness.complaint(), "") << "seed " << seed << ", the end of the story:\n"
                                     << witness.story();
  EXPECT_EQ(name_of(machine.state()), "down") << "seed " << seed;
  return witness.successes();
}

TEST(LifecycleAtRandom, HoldsWhatItPromises) {
  if (const char* told = ::secure_getenv("FNRUN_TEST_SEED"); told != nullptr) {
    live(std::strtoull(told, nullptr, 10));
    return;
  }
  std::random_device entropy;
  const std::uint64_t first = entropy();
  std::size_t successes = 0;
  for (std::uint64_t seed = first; seed < first + 5'000 && !testing::Test::HasFailure(); ++seed)
    successes += live(seed);
  if (!testing::Test::HasFailure()) {
    EXPECT_GT(successes, 5'000U);
  }
}

}  // namespace
}  // namespace fnrun::supervisor::lifecycle
