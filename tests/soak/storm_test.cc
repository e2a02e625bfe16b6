// A storm of calls by eight clients, a quarter of them to a handler that crashes, hangs, lies, is
// late or leaves somebody behind: each caller gets exactly one answer, its own or a fitting
// failure.
//
// The seed of the calls (mix.h) is printed, and FNRUN_TEST_SEED repeats it.
#include <iostream>
#include <map>

#include "tests/process/supervisor/pool_fixture.h"
#include "tests/soak/mix.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using policies::Reuse;
using soak::Call;
using soak::fits;
using soak::kCrash;
using soak::kGarbage;
using soak::kHang;
using soak::Kinds;
using soak::Mix;
using std::chrono::steady_clock;

constexpr int kClients = 8;
constexpr auto kShort = 30ms;  // Deadline of a call that will not be answered in time.

// Five in a hundred of each kind.
constexpr unsigned kOneOf = 20;
const Kinds kEverything{kCrash, kHang, kGarbage, {"late", "again"}, {"answerer", "reader"}};

class OfStorm : public PoolTest {
 protected:
  std::uint32_t uids() const override { return 64; }

  std::vector<Call> storm_of(int calls, std::uint64_t seed, const Kinds& kinds) {
    ServiceOptions options;
    options.admission = {.places = 4, .waiting_max = 64, .per_client_max = 1};
    options.ready = 2;
    options.launching_threads = 2;
    Service service(context().get_executor(), *launcher, handler("stormy", {}), options);
    EXPECT_TRUE(service.warm_up());
    std::vector<Call> done;
    done.reserve(static_cast<std::size_t>(calls));
    left_ = kClients;
    for (int client = 0; client < kClients; ++client)
      asio::co_spawn(context(),
                     one_client(service, Mix(seed, client, kinds, kOneOf), client, calls, done),
                     [](const std::exception_ptr& failure) {
                       if (failure) std::rethrow_exception(failure);
                     });
    context().run();
    EXPECT_EQ(status_.busy, 0U);
    EXPECT_EQ(status_.quarantined, 0U);
    EXPECT_EQ(status_.failed_starts, 0U) << "but for those that a caller's time cut short";
    EXPECT_FALSE(status_.degraded);
    EXPECT_EQ(service.waiting(), 0U);
    return done;
  }

  // Every eighth call, one after another; the last one shuts the service down.
  asio::awaitable<void> one_client(Service& service, Mix mix, int client, int calls,
                                   std::vector<Call>& done) {
    const std::string name = "client-" + std::to_string(client);
    for (int i = client; i < calls; i += kClients) {
      Call call;
      Input input;
      input.data = mix.next(call);
      const Deadline deadline = call.has_no_time() ? steady_clock::now() + kShort : Deadline::max();
      auto made = co_await service.invoke(std::move(input), deadline, name);
      call.outcome = made.report.outcome;
      call.sandbox = made.report.sandbox.pid;
      if (made.result) call.got = std::move(made.result->data);
      EXPECT_EQ(made.result.has_value(), call.outcome == Outcome::kOk);
      done.push_back(std::move(call));
    }
    if (--left_ > 0) co_return;
    status_ = service.status();
    co_await service.shut_down();
  }

  static void tell(const std::vector<Call>& done) {
    std::map<std::string, std::map<std::string_view, int>> table;
    for (const Call& call : done) {
      const bool stolen = call.outcome == Outcome::kOk && !call.own();
      ++table[call.verb][stolen ? "somebody else's" : name_of(call.outcome)];
    }
    for (const auto& [verb, outcomes] : table) {
      std::cout << "  " << verb << ":";
      for (const auto& [outcome, count] : outcomes) std::cout << " " << count << " " << outcome;
      std::cout << "\n";
    }
  }
  void everybody_is_served(const Kinds& kinds, int calls);
  static int calls() {
    return static_cast<int>(soak::number_from_environment("FNRUN_TEST_CALLS", 1'500));
  }
  PoolStatus status_;
  int left_ = 0;  // Clients that still call.
};

// Each answer its own caller's, and every failure the one that was asked for.
void OfStorm::everybody_is_served(const Kinds& kinds, int calls) {
  const auto done = storm_of(calls, soak::seed_from_environment(), kinds);
  tell(done);
  EXPECT_EQ(done.size(), static_cast<std::size_t>(calls));
  for (const Call& call : done)
    EXPECT_TRUE(fits(call)) << call.verb << " " << call.nonce << ": " << name_of(call.outcome)
                            << " '" << call.got << "'";
}

TEST_F(OfStorm, UnderCleanReuseEachCallerGetsItsOwnAnswerOrAFittingFailure) {
  strict.reuse.mode = Reuse::Mode::kClean;
  everybody_is_served(kEverything, calls());
}

TEST_F(OfStorm, UnderNeverReuseToo) {
  strict.reuse.mode = Reuse::Mode::kNever;
  everybody_is_served(kEverything, calls() / 4);
}

TEST_F(OfStorm, UnderAlwaysReuseTooAsLongAsNobodySpeaksBehindItsAnswer) {
  strict.reuse.mode = Reuse::Mode::kAlways;
  everybody_is_served({kCrash, kHang, kGarbage, {"late"}}, calls());
}

// The other side: warm reuse as it comes. What is written after the next question was written is
// taken for the answer, and so it goes on until two are there at once. Never beyond that sandbox,
// and never in one where nobody lied. (No call that hangs: misled, it would hold up the next.)
TEST_F(OfStorm, UnderAlwaysReuseALieStaysInItsSandbox) {
  strict.reuse.mode = Reuse::Mode::kAlways;
  const auto done =
      storm_of(calls(), soak::seed_from_environment(), {kCrash, {"again"}, {"answerer"}});
  tell(done);
  EXPECT_EQ(done.size(), static_cast<std::size_t>(calls()));
  std::set<pid_t> liars;
  std::map<pid_t, std::set<std::string>> answers_in;
  for (const Call& call : done) {
    if (call.lies()) liars.insert(call.sandbox);
    answers_in[call.sandbox].insert(call.own_answer);
    answers_in[call.sandbox].insert("stolen " + call.own_answer);
  }
  int misled = 0;
  for (const Call& call : done) {
    if (fits(call)) continue;
    ++misled;
    const std::string what = call.verb + ": " + std::string(name_of(call.outcome)) + " " + call.got;
    EXPECT_TRUE(liars.contains(call.sandbox)) << what;
    EXPECT_TRUE(call.outcome == Outcome::kProtocolError || call.outcome == Outcome::kCrashed ||
                answers_in[call.sandbox].contains(call.got))
        << what;
  }
  std::cout << "  " << misled << " calls in sandboxes whose handler had lied\n";
}

}  // namespace
}  // namespace fnrun::supervisor
