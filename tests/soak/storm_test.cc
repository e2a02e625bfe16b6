// A storm of calls by eight clients, a quarter of them to a handler that crashes, hangs, lies, is
// late or leaves somebody behind: each caller gets exactly one answer, its own or a fitting
// failure.
//
// Each request carries a nonce and a payload of its own, each answer the nonce and the payload's
// sum. The seed is printed, and FNRUN_TEST_SEED repeats it.
#include <cinttypes>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>

#include "tests/process/supervisor/pool_fixture.h"

namespace fnrun::supervisor {
namespace {

using namespace std::chrono_literals;
using policies::Reuse;
using std::chrono::steady_clock;

constexpr int kClients = 8;
constexpr auto kShort = 30ms;  // Deadline of a call that will not be answered in time.

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* told = ::secure_getenv(name);
  return told != nullptr ? std::strtoull(told, nullptr, 10) : otherwise;
}

// What one call asked for, and what came of it.
struct Call {
  std::string verb;
  std::string nonce;
  std::string own_answer;
  unsigned delay_us = 0;
  std::string got;  // Empty: no answer.
  Outcome outcome{};
  pid_t sandbox = 0;
  bool own() const { return got == own_answer; }
  // Told to speak again behind its answer.
  bool lies() const { return verb == "again" || verb == "answerer" || verb == "reader"; }
  bool has_no_time() const { return verb == "hang" || verb == "late"; }
};

// FNV-1a, as the handler does it.
std::string answer_of(const std::string& nonce, const std::string& payload) {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (const char byte : payload) sum = (sum ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  char text[96];
  std::snprintf(text, sizeof text, "%s %zu %016" PRIx64, nonce.c_str(), payload.size(), sum);
  return text;
}

// Five in a hundred of each kind, and of one kind any of these; the rest is honest.
using Kinds = std::vector<std::vector<std::string>>;
const std::vector<std::string> kCrash{"crash", "leave"};
const std::vector<std::string> kHang{"hang"};
const std::vector<std::string> kGarbage{"garbage", "negative", "text", "half", "twice"};
const Kinds kEverything{kCrash, kHang, kGarbage, {"late", "again"}, {"answerer", "reader"}};

// The calls of one client, one after another.
class Mix {
 public:
  Mix(std::uint64_t seed, int client, Kinds kinds)
      : random_(seed * kClients + static_cast<std::uint64_t>(client)),
        client_(client),
        kinds_(std::move(kinds)) {}

  // The event, and in `call` what is expected of it.
  std::string next(Call& call) {
    call.verb = verb();
    call.nonce = std::to_string(client_) + "." + std::to_string(++count_) + "." +
                 std::to_string(random_() % 1'000'000'000);
    // A late answer comes after its caller's time; what comes behind an answer, at any moment.
    call.delay_us = call.verb == "late" ? 30'000 + below(30'000) : below(2'000);
    std::string payload(size(), '\0');
    for (char& byte : payload) byte = static_cast<char>(random_());
    call.own_answer = answer_of(call.nonce, payload);
    return call.verb + " " + call.nonce + " " + std::to_string(call.delay_us) + "\n" + payload;
  }

 private:
  unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }
  std::string one_of(const std::vector<std::string>& verbs) {
    return verbs[below(static_cast<unsigned>(verbs.size()))];
  }
  std::string verb() {
    const unsigned kind = below(20);
    return kind < kinds_.size() ? one_of(kinds_[kind]) : "echo";
  }
  // Mostly small; some that no pipe holds at once together with what is around them.
  std::size_t size() {
    switch (below(4)) {
      case 0:
        return 0;
      case 1:
        return below(65'537);
      default:
        return below(512);
    }
  }
  std::mt19937_64 random_;
  int client_;
  int count_ = 0;
  Kinds kinds_;
};

// What a call may come to in a sandbox where nobody lied before it.
bool fits(const Call& call) {
  const std::string& verb = call.verb;
  const Outcome outcome = call.outcome;
  if (verb == "crash" || verb == "leave" || verb == "half") return outcome == Outcome::kCrashed;
  if (verb == "garbage" || verb == "negative" || verb == "twice")
    return outcome == Outcome::kProtocolError;
  if (verb == "text") return outcome == Outcome::kOutputTooLarge;
  // So short a time may be over before there is a place or a sandbox.
  if (call.has_no_time())
    return outcome == Outcome::kTimedOut || outcome == Outcome::kInitTimedOut ||
           outcome == Outcome::kUnavailable;
  // Its second word may come with the first.
  if (verb == "again" && outcome == Outcome::kProtocolError) return true;
  if (verb == "answerer" && outcome == Outcome::kProtocolError) return true;
  return outcome == Outcome::kOk && call.own();
}

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
      asio::co_spawn(context(), one_client(service, Mix(seed, client, kinds), client, calls, done),
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
    return static_cast<int>(number_from_environment("FNRUN_TEST_CALLS", 1'500));
  }
  static std::uint64_t seed() {
    const std::uint64_t seed = number_from_environment("FNRUN_TEST_SEED", std::random_device{}());
    std::cout << "  FNRUN_TEST_SEED=" << seed << "\n";
    return seed;
  }
  PoolStatus status_;
  int left_ = 0;  // Clients that still call.
};

// Each answer its own caller's, and every failure the one that was asked for.
void OfStorm::everybody_is_served(const Kinds& kinds, int calls) {
  const auto done = storm_of(calls, seed(), kinds);
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
  const auto done = storm_of(calls(), seed(), {kCrash, {"again"}, {"answerer"}});
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
