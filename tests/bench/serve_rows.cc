#include "tests/bench/serve_rows.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include "tests/bench/cases.h"
#include "tests/bench/raw_echo.h"
#include "tests/bench/raw_launcher.h"
#include "tests/bench/serving.h"
#include "tests/bench/setting.h"
#include "tests/bench/turns.h"

namespace fnrun::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kSmall = 64;
constexpr std::size_t kLarge = 1024 * 1024;
constexpr double kLimitOfRawCall = 1.3;
constexpr double kLimitAcrossUs = 20;
constexpr double kLimitIdleUs =
    5'000;  // 0.5 % of a CPU, with the looks that a host without controllers needs.
constexpr double kLimitLateUs = 300;
constexpr double kLimitLateP99Us = 2'000;
constexpr double kLimitSpareUs = 600;
constexpr double kLimitOfRawLaunch = 1.1;
constexpr double kLimitOfRawThroughput = 0.9;
constexpr double kLimitOfLarge = 1.2;

supervisor::ServiceOptions with_spares(std::size_t ready) {
  supervisor::ServiceOptions options;
  options.ready = ready;
  return options;
}

void launch(Case& how, std::size_t count, std::vector<double>& us) {
  for (std::size_t i = 0; i < count; ++i) {
    const Launch launched = how.launch();
    if (!launched.problem.empty()) throw std::runtime_error(how.name() + ": " + launched.problem);
    us.push_back(launched.us);
  }
}

std::unique_ptr<Case> find_case(const isolation::Plan& plan, const std::string& name) {
  for (auto& one : make_cases(plan))
    if (one->name() == name) return std::move(one);
  throw std::runtime_error("there is no case " + name);
}

Section round_trip(const Subject& subject, const Placement& at) {
  constexpr std::size_t kCalls = 200;
  constexpr std::size_t kUncounted = 20;  // After the CPU was another's.
  pin_to(at.other);
  Serving serving(subject.launcher, subject.always, {});
  RawEcho raw(Carrier::kPipes, kSmall);
  const auto turn = [&](auto& echo) {
    return [&](std::vector<double>& us) {
      pin_to(at.caller);
      std::vector<double> ignored;
      echo(kUncounted, ignored);
      echo(kCalls, us);
    };
  };
  const auto call = [&](std::size_t count, std::vector<double>& us) {
    serving.calls(count, kSmall, us);
  };
  const auto raw_call = [&](std::size_t count, std::vector<double>& us) { raw.calls(count, us); };
  const std::string ours = "fnrun, " + at.name;
  const std::string theirs = "raw ping-pong, " + at.name;
  const std::string careful = ours + ", reuse as shipped";
  Serving shipped(subject.launcher, subject.shipped, {});
  const auto careful_call = [&](std::size_t count, std::vector<double>& us) {
    shipped.calls(count, kSmall, us);
  };
  Section section{"A warm call of 64 B, " + at.name, theirs, {}, {}};
  section.rows =
      in_turns({{ours, turn(call)}, {theirs, turn(raw_call)}, {careful, turn(careful_call)}},
               subject.rounds);
  section.claims.push_back({"64 B, " + at.name + ": x raw (median)",
                            ratio(section.rows[0], section.rows[1]), kLimitOfRawCall});
  return section;
}

// The supervisor with so much memory of its own, each page touched.
class Ballast {
 public:
  explicit Ballast(std::size_t size) : size_(size) {
    at_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at_ == MAP_FAILED) throw std::runtime_error("no memory for the large supervisor");
    constexpr std::size_t kPage = 4096;
    (void)::madvise(at_, size, MADV_NOHUGEPAGE);  // Many small pages are what a copy costs most.
    for (std::size_t i = 0; i < size; i += kPage) static_cast<volatile char*>(at_)[i] = 1;
  }
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;
  ~Ballast() { ::munmap(at_, size_); }

 private:
  void* at_;
  std::size_t size_;
};

// How late the kernel itself wakes whoever waits for a time.
double raw_timer_late_us(milliseconds timeout) {
  const isolation::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  const auto deadline = Clock::now() + timeout;
  epoll_event event{};
  const timespec wait{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(timeout).count()};
  (void)::epoll_pwait2(epoll.get(), &event, 1, &wait, nullptr);
  return std::chrono::duration<double, std::micro>(Clock::now() - deadline).count();
}

}  // namespace

std::vector<Section> round_trips(const Subject& subject) {
  std::vector<Section> sections;
  for (const Placement& at : placements()) {
    Section section = round_trip(subject, at);
    if (at.caller != at.other || at.caller == kAnyCpu)
      section.claims.push_back(
          {"64 B, " + at.name + ": us (median)", section.rows[0].quantile(0.5), kLimitAcrossUs});
    sections.push_back(std::move(section));
  }
  return sections;
}

std::vector<Section> idle_pool(const Subject& subject) {
  constexpr std::size_t kSpans = 5;
  constexpr std::size_t kReady = 4;
  Serving serving(subject.launcher, subject.always, with_spares(kReady));
  const auto turn = [&](std::vector<double>& us) {
    std::vector<double> ignored;
    serving.calls(100, kSmall, ignored);
    us.push_back(serving.idle_cpu_us(milliseconds(500)));
  };
  Section section{"An idle pool of four, just after calls: us of CPU time in a second", "", {}, {}};
  section.rows = in_turns({{"fnrun, idle", turn}}, kSpans);
  section.claims.push_back({"idle pool: us of CPU time in a second (median)",
                            section.rows[0].quantile(0.5), kLimitIdleUs});
  return {section};
}

std::vector<Section> payload(const Subject& subject) {
  constexpr std::size_t kCalls = 10;
  Serving serving(subject.launcher, subject.always, {});
  RawEcho pipes(Carrier::kPipes, kLarge);
  RawEcho sockets(Carrier::kSocketPair, kLarge);
  const std::string by_pipes = "raw echo, 1 MiB pipes";
  Section section{"1 MiB there and back", by_pipes, {}, {}};
  section.rows = in_turns(
      {{"fnrun, 1 MiB", [&](std::vector<double>& us) { serving.calls(kCalls, kLarge, us); }},
       {by_pipes, [&](std::vector<double>& us) { pipes.calls(kCalls, us); }},
       {"raw echo, socket pair", [&](std::vector<double>& us) { sockets.calls(kCalls, us); }}},
      subject.rounds);
  const auto& better = section.rows[1].quantile(0.5) < section.rows[2].quantile(0.5)
                           ? section.rows[1]
                           : section.rows[2];
  section.claims.push_back(
      {"1 MiB: x " + better.name + " (median)", ratio(section.rows[0], better), kLimitOfRawCall});
  return {section};
}

std::vector<Section> deadline(const Subject& subject) {
  constexpr milliseconds kTimeout(50);
  constexpr std::size_t kReady = 2;
  Serving serving(subject.launcher, subject.shipped, with_spares(kReady));
  std::vector<double> next;
  const auto turn = [&](std::vector<double>& us) {
    const auto overrun = serving.overrun(kTimeout);
    us.push_back(overrun.answer_us);
    next.push_back(overrun.next_us);
  };
  Section section{"us after a deadline of 50 ms", "raw timer", {}, {}};
  section.rows = in_turns(
      {{"fnrun, the caller knows", turn},
       {"raw timer", [&](std::vector<double>& us) { us.push_back(raw_timer_late_us(kTimeout)); }}},
      subject.rounds);
  next.erase(next.begin(), next.begin() + kWarmUpRounds);
  section.rows.insert(section.rows.begin() + 1,
                      {.name = "fnrun, a spare has answered the next", .skipped = "", .us = next});
  section.claims = {{"deadline: us late (median)", section.rows[0].quantile(0.5), kLimitLateUs},
                    {"deadline: us late (p99)", section.rows[0].quantile(0.99), kLimitLateP99Us},
                    {"deadline: us until a spare has answered (median)",
                     section.rows[1].quantile(0.5), kLimitSpareUs}};
  return {section};
}

std::vector<Section> cold_launch(const Subject& subject) {
  constexpr std::size_t kLaunches = 3;
  const auto ours = find_case(*subject.shipped, kFnrun);
  const auto raw = find_case(*subject.shipped, kRaw);
  Section section{"A launch, until the handler is gone", kRaw, {}, {}};
  section.rows = in_turns({{kFnrun, [&](std::vector<double>& us) { launch(*ours, kLaunches, us); }},
                           {kRaw, [&](std::vector<double>& us) { launch(*raw, kLaunches, us); }}},
                          subject.rounds);
  section.claims.push_back(
      {"cold launch: x raw (median)", ratio(section.rows[0], section.rows[1]), kLimitOfRawLaunch});
  return {section};
}

std::vector<Section> never_reused(const Subject& subject) {
  constexpr std::size_t kLaunchers = 2;
  constexpr std::size_t kCalls = 40;
  constexpr std::size_t kReady = 4;
  auto options = with_spares(kReady);
  options.admission.places = kLaunchers;
  options.launching_threads = kLaunchers;
  Serving serving(subject.launcher, subject.never, std::move(options));
  std::vector<std::unique_ptr<Case>> raws;
  for (std::size_t i = 0; i < kLaunchers; ++i) raws.push_back(find_case(*subject.shipped, kRaw));
  const auto raw_turn = [&](std::vector<double>& us) {
    const auto began = Clock::now();
    std::array<std::exception_ptr, kLaunchers> thrown;
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < kLaunchers; ++i)
      threads.emplace_back([&, i] {
        try {
          std::vector<double> ignored;
          launch(*raws[i], kCalls / kLaunchers, ignored);
        } catch (...) {
          thrown[i] = std::current_exception();
        }
      });
    threads.clear();
    for (const auto& problem : thrown)
      if (problem) std::rethrow_exception(problem);
    const std::chrono::duration<double, std::micro> took = Clock::now() - began;
    us.push_back(took.count() / kCalls);
  };
  const std::string raw = "raw, two launchers";
  Section section{"us for one of many sandboxes, each for one call, by two launchers", raw, {}, {}};
  section.rows = in_turns(
      {{"fnrun, from spares",
        [&](std::vector<double>& us) { us.push_back(serving.throughput(kCalls, kLaunchers)); }},
       {raw, raw_turn}},
      subject.rounds);
  section.claims.push_back({"reuse never: throughput, x raw (median)",
                            ratio(section.rows[1], section.rows[0]), kLimitOfRawThroughput,
                            /*at_least=*/true});
  return {section};
}

std::vector<Section> large_supervisor(const Subject& subject) {
  constexpr std::size_t kLaunches = 5;
  constexpr std::size_t kSize = 512UL * 1024 * 1024;
  const auto ours = find_case(*subject.shipped, kFnrun);
  const std::string small = "fnrun, small supervisor";
  Section section{"A launch by a supervisor with memory of its own", small, {}, {}};
  section.rows = in_turns({{"fnrun, supervisor of 512 MiB",
                            [&](std::vector<double>& us) {
                              const Ballast ballast(kSize);
                              launch(*ours, kLaunches, us);
                            }},
                           {small, [&](std::vector<double>& us) { launch(*ours, kLaunches, us); }}},
                          (subject.rounds + 3) / 4);
  section.claims.push_back(
      {"512 MiB: x small (median)", ratio(section.rows[0], section.rows[1]), kLimitOfLarge});
  return {section};
}

std::string to_text(const Section& section) {
  std::string text = section.title + "\n\n" + table(section.rows, section.raw) + '\n';
  for (const std::string& note : section.notes) text += note + '\n';
  for (const Claim& claim : section.claims) {
    std::array<char, 160> line{};
    std::snprintf(line.data(), line.size(), "%s %s: %.2f, limit %s %.2f\n",
                  claim.holds() ? "holds " : "BEYOND", claim.what.c_str(), claim.value,
                  claim.at_least ? ">=" : "<=", claim.limit);
    text += line.data();
  }
  return text;
}

}  // namespace fnrun::bench
