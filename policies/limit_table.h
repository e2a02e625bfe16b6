// The limits that are whole numbers, as a table: key in JSON, range, place in Limits.
//
// Private to this room. Reading, writing and the tests walk the same table, so that a limit cannot
// be read and forgotten in writing. Ranges stand again in policy.schema.json and in README.md;
// tests hold the three together.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "policies/policy.h"

namespace fnrun::policies::internal {

struct LimitField {
  std::string_view key;
  std::uint64_t min;
  std::uint64_t max;
  std::uint64_t (*get)(const Limits&);
  void (*set)(Limits&, std::uint64_t);
};

inline std::uint64_t to_number(std::chrono::milliseconds value) {
  return std::uint64_t(value.count());
}
inline std::uint64_t to_number(ByteSize value) {
  return value.bytes;
}
inline std::uint64_t to_number(std::uint64_t value) {
  return value;
}
inline void from_number(std::uint64_t number, std::chrono::milliseconds& value) {
  value = std::chrono::milliseconds(std::int64_t(number));
}
inline void from_number(std::uint64_t number, ByteSize& value) {
  value = {number};
}
inline void from_number(std::uint64_t number, std::uint64_t& value) {
  value = number;
}

template <auto kMember>
constexpr LimitField limit(std::string_view key, std::uint64_t min, std::uint64_t max) {
  return {key, min, max, [](const Limits& limits) { return to_number(limits.*kMember); },
          [](Limits& limits, std::uint64_t number) { from_number(number, limits.*kMember); }};
}

inline constexpr std::uint64_t kHourMs = 3'600'000;
inline constexpr std::uint64_t kGiB = 1024ULL * 1024 * 1024;

// The two limits that are no numbers.
inline constexpr std::string_view kOomGroupKey = "memory_oom_group";
inline constexpr std::string_view kCpusKey = "cpus";

inline constexpr LimitField kLimitFields[] = {
    limit<&Limits::invoke_timeout>("invoke_timeout_ms", 1, 24 * kHourMs),
    limit<&Limits::start_timeout>("start_timeout_ms", 1, kHourMs),
    limit<&Limits::kill_timeout>("kill_timeout_ms", 1, kHourMs),
    // A frame's length is a signed 32-bit number; half of that leaves room for its envelope.
    limit<&Limits::request_max>("request_max_bytes", 1, kGiB),
    limit<&Limits::response_max>("response_max_bytes", 1, kGiB),
    // tmpfs reads 0 as "no limit" in both of these, so 0 must not get there.
    limit<&Limits::tmp_max>("tmp_max_bytes", 4'096, 1024 * kGiB),
    limit<&Limits::tmp_inodes_max>("tmp_inodes_max", 2, 16'777'216),
    // 0, 1 and 2 are stdio; the dynamic loader needs one more.
    limit<&Limits::open_files_max>("open_files_max", 4, 1'048'576),
    // The kernel has 4,194,304 process ids at most, and the init needs one.
    limit<&Limits::processes_max>("processes_max", 1, 4'194'303),
    // Less than 4 MiB does not hold what the kernel itself needs for a sandbox.
    limit<&Limits::memory_max>("memory_max_bytes", 4'194'304, 1024 * kGiB),
    limit<&Limits::memory_high>("memory_high_bytes", 0, 1024 * kGiB),
    limit<&Limits::memory_swap_max>("memory_swap_max_bytes", 0, 1024 * kGiB),
    limit<&Limits::cpu_max_percent>("cpu_max_percent", 0, 819'200),  // NR_CPUS is 8192 at most.
    limit<&Limits::cpu_weight>("cpu_weight", 1, 10'000),             // The kernel's own range.
    limit<&Limits::cpu_time_max>("cpu_time_max_ms", 0, 24 * kHourMs),
    limit<&Limits::io_read_per_second_max>("io_read_per_second_max_bytes", 0, 1024 * kGiB),
    limit<&Limits::io_write_per_second_max>("io_write_per_second_max_bytes", 0, 1024 * kGiB),
    limit<&Limits::io_reads_per_second_max>("io_reads_per_second_max", 0, 1'000'000'000),
    limit<&Limits::io_writes_per_second_max>("io_writes_per_second_max", 0, 1'000'000'000),
    limit<&Limits::file_size_max>("file_size_max_bytes", 0, 1024 * kGiB),
    // execve(2) puts arguments and environment there and wants 128 KiB at least.
    limit<&Limits::stack_max>("stack_max_bytes", 131'072, kGiB),
    limit<&Limits::stderr_line_max>("stderr_line_max_bytes", 64, 1'048'576),
    limit<&Limits::stderr_lines_per_second_max>("stderr_lines_per_second_max", 0, 1'000'000),
};

}  // namespace fnrun::policies::internal
