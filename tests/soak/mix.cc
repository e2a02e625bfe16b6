#include "tests/soak/mix.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace fnrun::soak {

using supervisor::Outcome;

// FNV-1a, as the handler does it.
std::string event_of(Call& call, const std::string& payload) {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (const char byte : payload) sum = (sum ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  char text[96];
  std::snprintf(text, sizeof text, "%s %zu %016" PRIx64, call.nonce.c_str(), payload.size(), sum);
  call.own_answer = text;
  return call.verb + " " + call.nonce + " " + std::to_string(call.delay_us) + "\n" + payload;
}

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

Mix::Mix(std::uint64_t seed, int client, Kinds kinds, unsigned of)
    : random_(seed * 1'000 + static_cast<std::uint64_t>(client)),
      client_(client),
      kinds_(std::move(kinds)),
      of_(of) {}

std::string Mix::next(Call& call) {
  call.verb = verb();
  call.nonce = std::to_string(client_) + "." + std::to_string(++count_) + "." +
               std::to_string(random_() % 1'000'000'000);
  // A late answer comes after its caller's time; what comes behind an answer, at any moment.
  call.delay_us = call.verb == "late" ? 30'000 + below(30'000) : below(2'000);
  std::string payload(size(), '\0');
  for (char& byte : payload) byte = static_cast<char>(random_());
  return event_of(call, payload);
}

std::string Mix::verb() {
  const unsigned kind = below(of_);
  if (kind >= kinds_.size()) return "echo";
  const auto& verbs = kinds_[kind];
  return verbs[below(static_cast<unsigned>(verbs.size()))];
}

// Mostly small; some that no pipe holds at once together with what is around them.
std::size_t Mix::size() {
  switch (below(4)) {
    case 0:
      return 0;
    case 1:
      return below(65'537);
    default:
      return below(512);
  }
}

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* told = ::secure_getenv(name);
  return told != nullptr ? std::strtoull(told, nullptr, 10) : otherwise;
}

std::uint64_t seed_from_environment() {
  const std::uint64_t seed = number_from_environment("FNRUN_TEST_SEED", std::random_device{}());
  std::cout << "  FNRUN_TEST_SEED=" << seed << "\n";
  return seed;
}

}  // namespace fnrun::soak
