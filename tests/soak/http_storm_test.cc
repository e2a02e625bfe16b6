// A storm over HTTP: 200 keep-alive clients, a tenth of whose calls fail, beside others who are
// slow or vanish; the service is told to end in the midst of it, and started anew.
//
// The command as a user runs it, one event loop for all clients. Each request is answered once, to
// whoever asked, with its own answer or the failure that it asked for; and the service's reports
// tell of each call exactly what its client was told. What may be missing is the answer to a client
// who did not wait for it. Others than good clients go at the pace of the good ones' answers: no
// clock decides anything.
#include <gmock/gmock.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "supervisor/descriptor_limit.h"
#include "tests/e2e/fixture.h"
#include "tests/soak/book.h"
#include "tests/soak/line.h"
#include "tests/soak/mix.h"
#include "tests/soak/served.h"

namespace fnrun::soak {
namespace {

namespace asio = boost::asio;
using supervisor::Outcome;
using test::HttpAnswer;
using ::testing::HasSubstr;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kGood = 200;
// Of each kind of the others (Manner).
constexpr std::size_t kOfEach = 4;
// A tenth of the calls fails: one of 40 of each kind.
constexpr unsigned kOneOf = 40;
const Kinds kFailing{{"crash"}, {"leave"}, kHang, kGarbage};
// Long enough to be waited for in the queue, and to hang for a while after that.
constexpr std::string_view kHangTime = "Fnrun-Timeout: 150ms\r\n";
constexpr std::uint64_t kStep = 32;         // Good answers: what others than good clients wait for.
constexpr std::uint64_t kRest = 8 * kStep;  // Between two deeds of such a client.
// For each part of a request, and for an answer.
constexpr std::chrono::milliseconds kTimeout{5'000};
constexpr long kGrowthMaxKib = 4'096;

// What others than good clients do. The slow ones come to their end and are answered, or are cut
// off at kTimeout; each of the rest hangs up in the midst of what its name says.
enum class Manner {
  kSlowHeader,
  kSlowBody,
  kNeverReads,
  kGoneInHeader,
  kGoneInBody,
  kGoneInCall,
  kGoneInAnswer
};
constexpr std::size_t kManners = 7;

std::string post_of(const std::string& nonce, std::string_view fields, std::string_view event) {
  return "POST /invoke/storm HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: " + nonce + "\r\n" +
         std::string(fields) + "Content-Length: " + std::to_string(event.size()) + "\r\n\r\n" +
         std::string(event);
}

// Requests for the status page, `count` of them behind one another.
std::string pages(std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  return all;
}

// A connection to the service's so-manieth life.
struct Visit {
  explicit Visit(asio::io_context& loop) : line(loop) {}
  Line line;
  std::size_t life = 0;
};

class HttpStorm : public test::CommandTest {
 protected:
  void start_service();
  void end_service();
  // Until so many more calls of good clients were answered and everybody has hung up; `drain`: in
  // the midst of it the service is told to end, and another takes over.
  void stage(std::uint64_t calls, bool drain);
  // What the service holds once nobody calls and the dead are buried.
  Held at_rest();

  void tell(Clock::duration took);

 private:
  bool hurried() const { return over_ || port_ == 0; }
  void expect_good_end();
  void begin_drain();
  void spawn(asio::awaitable<void> client);
  asio::awaitable<bool> connect(Visit& visit, bool small = false);
  asio::awaitable<void> good_client(std::size_t number);
  asio::awaitable<void> until_answered(Visit& visit, Call& call, const std::string& request);
  static bool is_refusal(const HttpAnswer& answer);
  void take(Call& call, HttpAnswer answer);
  void count_answer(const Visit& visit);
  asio::awaitable<void> other_client(std::size_t number, Manner manner);
  asio::awaitable<void> be_slow(Visit& visit, Call& call, const std::string& request,
                                std::size_t at_once, std::uint64_t pace);
  asio::awaitable<void> vanish(Visit& visit, Manner manner, const std::string& request);
  asio::awaitable<bool> wait_for(std::uint64_t good_answers);

 protected:
  asio::io_context loop_{1};
  std::vector<std::unique_ptr<Served>> lives_;
  Book book_{kGood + kManners * kOfEach};
  std::vector<Mix> mixes_;                     // One for each good client.
  std::map<std::size_t, std::size_t> others_;  // Client -> its calls, of the others.
  std::vector<std::string> handler_{test::handler("stormy"), temp.path().string()};

  std::uint16_t port_ = 0;   // 0: nobody takes connections.
  std::size_t drained_ = 0;  // Lives that were told to end.
  bool over_ = true;         // The stage's calls are made: the others go home.
  std::uint64_t begun_ = 0;
  std::uint64_t goal_ = 0;
  std::uint64_t drain_at_ = 0;
  std::uint64_t answered_ = 0;
  std::size_t good_left_ = 0;
  asio::steady_timer changed_{loop_, Clock::time_point::max()};  // Its wait ends with each change.
  asio::steady_timer stepped_{loop_, Clock::time_point::max()};  // … each step, change, end.

  std::vector<float> took_ms_;           // Honest calls of good clients.
  std::uint64_t asked_in_drain_ = 0;     // Good clients that waited for an answer when it began.
  std::uint64_t answered_in_drain_ = 0;  // By a service that was told to end.
  std::uint64_t asked_again_ = 0;
  std::uint64_t waiting_ = 0;  // Good clients, for an answer.
  std::uint64_t slow_answered_ = 0;
  std::uint64_t slow_cut_off_ = 0;
  std::uint64_t vanished_ = 0;
};

void HttpStorm::start_service() {
  const nlohmann::json config{{"version", 1},
                              {"functions",
                               {{"storm",
                                 {{"policy", "strict"},
                                  {"handler", handler_},
                                  {"timeout_ms", 600'000},
                                  {"concurrency", 8},
                                  {"queue", 1'024},
                                  {"ready", 8}}}}},
                              {"limits",
                               {{"header_timeout_ms", kTimeout.count()},
                                {"body_timeout_ms", kTimeout.count()},
                                {"write_timeout_ms", kTimeout.count()}}}};
  const std::string file = temp.file("functions.json", config.dump());
  const std::vector<std::string> argv{test::bin_dir() + "/fnrun-supervise",
                                      "--listen",
                                      "127.0.0.1:0",
                                      "--config",
                                      file,
                                      "--report",
                                      report_file(),
                                      "--log",
                                      "text"};
  lives_.push_back(std::make_unique<Served>(argv, loop_, [this] {
    if (over_) return;
    expect_good_end();
    start_service();
  }));
  port_ = lives_.back()->port();
  ASSERT_NE(port_, 0);
  changed_.cancel();
}

void HttpStorm::end_service() {
  lives_.back()->terminate();
  expect_good_end();
}

void HttpStorm::expect_good_end() {
  const auto end = lives_.back()->finish();
  EXPECT_EQ(end.code, 0);
  EXPECT_THAT(end.err, HasSubstr("drained"));
  EXPECT_THAT(end.err, Not(HasSubstr("could not be written"))) << "reports are missing";
}

void HttpStorm::begin_drain() {
  drain_at_ = 0;
  port_ = 0;
  ++drained_;
  asked_in_drain_ = waiting_;
  lives_.back()->terminate();
  stepped_.cancel();
}

void HttpStorm::spawn(asio::awaitable<void> client) {
  asio::co_spawn(loop_, std::move(client), [](const std::exception_ptr& failure) {
    if (failure) std::rethrow_exception(failure);
  });
}

void HttpStorm::stage(std::uint64_t calls, bool with_drain) {
  begun_ = 0;
  goal_ = calls;
  drain_at_ = with_drain ? answered_ + calls / 2 : 0;
  over_ = false;
  good_left_ = kGood;
  for (std::size_t number = 0; number < kGood; ++number) spawn(good_client(number));
  for (std::size_t i = 0; i < kManners * kOfEach; ++i)
    spawn(other_client(kGood + i, static_cast<Manner>(i % kManners)));
  loop_.restart();
  loop_.run();
}

// Waits for the next service where the last one was told to end. False: nobody serves any more, for
// the stage is over.
Held HttpStorm::at_rest() {
  const auto bound = Clock::now() + test::kHardLimit;
  test::HttpClient client(port_);
  for (;;) {
    const auto answer = client.call("GET", "/status");
    if (!answer || Clock::now() > bound) {
      ADD_FAILURE() << "never at rest: " << (answer ? answer->body : "no answer");
      return {};
    }
    const auto status = nlohmann::json::parse(answer->body);
    const auto& storm = status["functions"][0];
    const auto& slots = storm["slots"];
    EXPECT_EQ(slots["quarantined"], 0);
    EXPECT_EQ(storm["failed_starts"], 0);
    if (storm["in_flight"] == 0 && slots["busy"] == 0 && slots["dying"] == 0 &&
        slots["starting"] == 0 && status["http"]["connections"] == 1)
      return lives_.back()->held();
  }
}

// Waits for the next service where the last one was told to end. False: the stage is over.
asio::awaitable<bool> HttpStorm::connect(Visit& visit, bool small) {
  while (!over_) {
    if (port_ == 0) {
      co_await changed_.async_wait(kToken);
      continue;
    }
    visit.life = drained_;
    auto opening = visit.line.open(port_, small);
    const bool opened = co_await std::move(opening);
    if (opened) co_return true;
    EXPECT_GT(drained_, visit.life) << "cannot connect";
  }
  co_return false;
}

asio::awaitable<void> HttpStorm::good_client(std::size_t number) {
  Mix& mix = mixes_.at(number);
  Visit visit(loop_);
  while (begun_ < goal_) {
    ++begun_;
    Call call;
    const std::string event = mix.next(call);
    const std::string request = post_of(call.nonce, call.has_no_time() ? kHangTime : "", event);
    auto exchange = until_answered(visit, call, request);
    co_await std::move(exchange);
  }
  if (visit.line.is_open()) {
    auto ending = visit.line.ends_clean();
    const bool clean = co_await std::move(ending);
    EXPECT_TRUE(clean || drained_ > visit.life) << "more came than was asked for";
  }
  if (--good_left_ > 0) co_return;
  over_ = true;
  stepped_.cancel();
  changed_.cancel();
}

// Where a service that was told to end has not answered, the same request again: that the first one
// was not taken, the reports must show.
asio::awaitable<void> HttpStorm::until_answered(Visit& visit, Call& call,
                                                const std::string& request) {
  for (;;) {
    if (!visit.line.is_open()) {
      auto connecting = connect(visit);
      (void)co_await std::move(connecting);
    }
    const auto began = Clock::now();
    ++waiting_;
    auto sending = visit.line.send(request);
    (void)co_await std::move(sending);
    auto answering = visit.line.answer();
    auto answer = co_await std::move(answering);
    --waiting_;
    if (answer && !is_refusal(*answer)) {
      const std::chrono::duration<float, std::milli> took = Clock::now() - began;
      if (call.verb == "echo") took_ms_.push_back(took.count());
      take(call, std::move(*answer));
      count_answer(visit);
      co_return;
    }
    EXPECT_GT(drained_, visit.life) << "no answer to " << call.verb << " " << call.nonce;
    ++asked_again_;
  }
}

// Of a service that drains: no call was made of it, therefore it has no outcome.
bool HttpStorm::is_refusal(const HttpAnswer& answer) {
  return answer.status == 503 && answer.field("fnrun-outcome").empty();
}

void HttpStorm::take(Call& call, HttpAnswer answer) {
  const std::string outcome = answer.field("fnrun-outcome");
  ASSERT_FALSE(outcome.empty()) << answer.status << " " << answer.body;
  call.outcome = outcome_named(outcome);
  if (call.outcome == Outcome::kOk) call.got = std::move(answer.body);
  EXPECT_EQ(answer.status == 200, call.outcome == Outcome::kOk);
  EXPECT_EQ(answer.field("x-request-id"), call.nonce);
  EXPECT_TRUE(fits(call)) << call.verb << " " << call.nonce << ": " << outcome << " '" << call.got
                          << "'";
  book_.told(call.nonce, call.outcome);
}

void HttpStorm::count_answer(const Visit& visit) {
  if (drained_ > visit.life) ++answered_in_drain_;
  if (++answered_ % kStep == 0) stepped_.cancel();
  if (answered_ == drain_at_) begin_drain();
}

// False, and at once, when it is time to come to an end.
asio::awaitable<bool> HttpStorm::wait_for(std::uint64_t good_answers) {
  const std::uint64_t until = answered_ + good_answers;
  while (answered_ < until && !hurried()) co_await stepped_.async_wait(kToken);
  co_return !hurried();
}

asio::awaitable<void> HttpStorm::other_client(std::size_t number, Manner manner) {
  std::size_t& count = others_[number];
  while (!over_) {
    Visit visit(loop_);
    auto connecting = connect(visit, manner == Manner::kNeverReads);
    if (const bool connected = co_await std::move(connecting); !connected) co_return;
    Call call;
    call.verb = manner == Manner::kGoneInCall ? "hang" : "echo";
    call.nonce = std::to_string(number) + "." + std::to_string(++count) + ".other";
    const std::string event = event_of(call, "a payload of some bytes, one after another");
    const std::string request = post_of(call.nonce, "", event);
    const bool slow = manner == Manner::kSlowHeader || manner == Manner::kSlowBody;
    const std::size_t at_once = manner == Manner::kSlowHeader ? 1 : request.size() - event.size();
    // Some come to their end in time, some would take for ever.
    const std::uint64_t pace = kStep * (1 + number % kOfEach * 2);
    auto deed =
        slow ? be_slow(visit, call, request, at_once, pace) : vanish(visit, manner, request);
    co_await std::move(deed);
    auto rest = wait_for(kRest);
    (void)co_await std::move(rest);
  }
}

// Byte by byte; the rest at once when it is time. Whose request was begun is answered, drain or
// not, if it is whole in time.
asio::awaitable<void> HttpStorm::be_slow(Visit& visit, Call& call, const std::string& request,
                                         std::size_t at_once, std::uint64_t pace) {
  const auto began = Clock::now();
  bool sent = true;
  for (std::size_t at = 0; sent && at < request.size();) {
    const bool rest = at != 0 && hurried();
    const std::size_t size = rest ? request.size() - at : at == 0 ? at_once : 1;
    auto sending = visit.line.send(std::string_view(request).substr(at, size));
    sent = co_await std::move(sending);
    at += size;
    auto pausing = wait_for(pace);
    (void)co_await std::move(pausing);
  }
  auto answering = visit.line.answer();
  auto answer = co_await std::move(answering);
  if (answer && !is_refusal(*answer)) {
    ++slow_answered_;
    take(call, std::move(*answer));
    co_return;
  }
  ++slow_cut_off_;
  EXPECT_TRUE(drained_ > visit.life || (!answer && Clock::now() - began >= kTimeout))
      << "cut off before its time";
}

asio::awaitable<void> HttpStorm::vanish(Visit& visit, Manner manner, const std::string& request) {
  const std::size_t header = request.find("\r\n\r\n") + 4;
  std::string bytes = request;
  if (manner == Manner::kGoneInHeader) bytes.resize(header / 2);
  if (manner == Manner::kGoneInBody) bytes.resize(header + 3);
  if (manner == Manner::kGoneInAnswer) bytes = pages(20);
  if (manner == Manner::kNeverReads) bytes = pages(200);
  auto sending = visit.line.send(bytes);
  (void)co_await std::move(sending);
  auto staying = wait_for(manner == Manner::kNeverReads ? 32 * kRest : kStep);
  (void)co_await std::move(staying);
  ++vanished_;
  if (vanished_ % 2 == 0)
    visit.line.reset();
  else
    visit.line.close();
}

void HttpStorm::tell(Clock::duration took) {
  const auto at = [&](double share) {
    const auto nth = took_ms_.begin() +
                     static_cast<std::ptrdiff_t>(share * static_cast<double>(took_ms_.size() - 1));
    std::nth_element(took_ms_.begin(), nth, took_ms_.end());
    return *nth;
  };
  const double seconds = std::chrono::duration<double>(took).count();
  std::cout << "  " << answered_ << " calls of " << kGood << " clients in " << seconds << " s, "
            << static_cast<double>(answered_) / seconds << " a second; honest ones took " << at(0.5)
            << " ms (median), " << at(0.99) << " ms (p99)\n  drain: " << asked_in_drain_
            << " waited for an answer, " << answered_in_drain_ << " answers came, " << asked_again_
            << " had not been heard and asked again\n  slow: " << slow_answered_ << " answered, "
            << slow_cut_off_ << " cut off; vanished: " << vanished_ << ", " << book_.unheard(kGood)
            << " of them in a call\n";
}

TEST_F(HttpStorm, AnswersEachRequestOnceAndThroughADrainAndKeepsNothing) {
  const std::uint64_t calls = number_from_environment("FNRUN_TEST_CALLS", 6'000);
  const std::uint64_t seed = seed_from_environment();
  for (std::size_t number = 0; number < kGood; ++number)
    mixes_.emplace_back(seed, static_cast<int>(number), kFailing, kOneOf);
  const std::string cgroups = isolation::probe_host()->cgroup.dir;
  const auto before = test::take_ledger(cgroups);
  start_service();
  const auto began = Clock::now();
  stage(calls / 10, false);
  const Held first = at_rest();
  stage(calls * 8 / 10, false);
  const Held last = at_rest();
  std::cout << "  descriptors: " << first.descriptors << " after the first tenth, "
            << last.descriptors << " after nine; resident KiB: " << first.resident_kib << ", "
            << last.resident_kib << "\n";
  // One sandbox may be in another stage of its life; a leak is one for each of many calls.
  EXPECT_LE(last.descriptors, first.descriptors + supervisor::kDescriptorsPerSandbox);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // They keep what is freed.
  EXPECT_LT(last.resident_kib - first.resident_kib, kGrowthMaxKib);
#endif
  stage(calls / 10, true);
  const auto took = Clock::now() - began;
  end_service();

  EXPECT_EQ(lives_.size(), 2U);
  EXPECT_GE(answered_in_drain_ + asked_again_, asked_in_drain_);
  EXPECT_GT(answered_in_drain_, 0U);
  EXPECT_GT(slow_answered_, 0U);
  book_.read_reports(report_file());
  const auto complaints = book_.complaints(kGood);
  EXPECT_EQ(complaints.size(), 0U) << "the first: " << complaints.front();
  EXPECT_TRUE(test::processes_marked(temp.path().string()).empty());
  for (const auto& life : lives_) EXPECT_TRUE(test::cgroups_of(life->pid(), cgroups).empty());
  lives_.clear();
  EXPECT_EQ(test::take_ledger(cgroups), before);
  tell(took);
}

}  // namespace
}  // namespace fnrun::soak
