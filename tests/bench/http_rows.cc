#include "tests/bench/http_rows.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <thread>

#include "tests/bench/http_serving.h"
#include "tests/bench/raw_echo.h"
#include "tests/bench/serving.h"
#include "tests/bench/setting.h"
#include "tests/bench/turns.h"

namespace fnrun::bench {
namespace {

constexpr std::size_t kSmall = 64;
constexpr double kLimitOfInProcess = 2.5;
constexpr std::size_t kConnections = 64;

double thread_cpu_us() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

// The caller is the client there, and the service runs beside it.
Section http_round_trip(const Subject& subject, const Placement& at) {
  constexpr std::size_t kCalls = 200;
  constexpr std::size_t kUncounted = 20;  // After the CPU was another's.
  pin_to(at.other);
  Serving in_process(subject.launcher, subject.always, {});
  RawEcho tcp(Carrier::kTcp, kSmall);
  HttpServing served(subject.launcher, subject.always, {}, at.caller, at.other);
  HttpCaller over_http(served.port(), kSmall);
  const auto turn = [&](auto call) {
    return [&at, call](std::vector<double>& us) {
      pin_to(at.caller);
      std::vector<double> ignored;
      call(kUncounted, ignored);
      call(kCalls, us);
    };
  };
  const std::string own = "in process, " + at.name;
  Section section{"64 B over HTTP, " + at.name, own, {}, {}};
  section.rows = in_turns(
      {{"HTTP, " + at.name,
        turn([&](std::size_t count, std::vector<double>& us) { over_http.calls(count, us); })},
       {own, turn([&](std::size_t count, std::vector<double>& us) {
          in_process.calls(count, kSmall, us);
        })},
       {"raw TCP ping-pong, " + at.name,
        turn([&](std::size_t count, std::vector<double>& us) { tcp.calls(count, us); })}},
      subject.rounds);
  section.claims.push_back({"64 B over HTTP, " + at.name + ": x in process (median)",
                            ratio(section.rows[0], section.rows[1]), kLimitOfInProcess});
  return section;
}

// As the command serves: a place for each CPU, sandboxes looked after as the policy says.
Section many_connections(const Subject& subject) {
  constexpr std::size_t kCalls = 2'000;
  supervisor::ServiceOptions options;
  const std::size_t places = std::max(1U, std::thread::hardware_concurrency());
  options.ready = places;
  options.admission = {.places = places, .waiting_max = kConnections};
  HttpServing served(subject.launcher, subject.shipped, std::move(options), kAnyCpu, kAnyCpu);
  std::vector<HttpCaller> callers;
  for (std::size_t i = 0; i < kConnections; ++i) callers.emplace_back(served.port(), kSmall);
  std::array<std::vector<double>, 3> cpu;  // The service's, the handlers', the client's.
  const auto turn = [&](std::vector<double>& us) {
    const std::array began{served.service_cpu_us(), served.handlers_cpu_us(), thread_cpu_us()};
    us.push_back(calls_at_a_time(callers, kCalls));
    const std::array ended{served.service_cpu_us(), served.handlers_cpu_us(), thread_cpu_us()};
    for (std::size_t i = 0; i < cpu.size(); ++i)
      cpu[i].push_back((ended[i] - began[i]) / static_cast<double>(kCalls));
  };
  Section section{"64 connections, reuse as shipped: us for one of many requests", "", {}, {}};
  section.rows = in_turns({{"64 connections, time for a request", turn}}, subject.rounds);
  const std::array names{"its CPU time, service", "its CPU time, handlers", "its CPU time, client"};
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    cpu[i].erase(cpu[i].begin(), cpu[i].begin() + kWarmUpRounds);
    section.rows.push_back({.name = names[i], .skipped = "", .us = cpu[i]});
  }
  std::array<char, 200> note{};
  std::snprintf(note.data(), note.size(),
                "64 connections, medians: %.0f requests a second; CPU time of each: %.1f us of the "
                "service, %.1f of the handlers, %.1f of the client",
                1e6 / section.rows[0].quantile(0.5), section.rows[1].quantile(0.5),
                section.rows[2].quantile(0.5), section.rows[3].quantile(0.5));
  section.notes.emplace_back(note.data());
  return section;
}

}  // namespace

std::vector<Section> over_http(const Subject& subject) {
  std::vector<Section> sections;
  for (const Placement& at : placements()) sections.push_back(http_round_trip(subject, at));
  sections.push_back(many_connections(subject));
  return sections;
}

}  // namespace fnrun::bench
