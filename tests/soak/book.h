// Who was told what of which call, and what the service reported of it: the two must agree.
//
// A call is known by its nonce, "CLIENT.COUNT.…", which is its request id. Two bytes for each call.
// One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/outcome.h"

namespace fnrun::soak {

class Book {
 public:
  explicit Book(std::size_t clients) : calls_(clients) {}

  // A client got this answer.
  void told(const std::string& nonce, supervisor::Outcome outcome);
  // The lines of a report file (supervisor/report.h).
  void read_reports(const std::string& file);

  [[nodiscard]] std::uint64_t answers() const noexcept { return answers_; }
  [[nodiscard]] std::uint64_t reports() const noexcept { return reports_; }
  // Reports of calls that nobody was told the end of, and no client below `stayed` made.
  [[nodiscard]] std::uint64_t unheard(std::size_t stayed) const;
  // What was answered twice, reported twice, reported otherwise than answered, or never; and each
  // report without an answer where the client, one of the first `stayed`, was there to hear it.
  [[nodiscard]] std::vector<std::string> complaints(std::size_t stayed) const;

 private:
  static constexpr std::uint8_t kNothing = 0xFF;
  static constexpr std::uint8_t kTwice = 0xFE;
  struct Call {
    std::uint8_t told = kNothing;
    std::uint8_t reported = kNothing;
  };
  Call* find(std::string_view nonce);
  static void note(std::uint8_t& where, supervisor::Outcome outcome);

  std::vector<std::vector<Call>> calls_;
  std::vector<std::string> strange_;
  std::uint64_t answers_ = 0;
  std::uint64_t reports_ = 0;
};

// The outcome of this name; an exception for any other.
[[nodiscard]] supervisor::Outcome outcome_named(std::string_view name);

}  // namespace fnrun::soak
