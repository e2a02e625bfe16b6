// The messages of the protocol as plain structs, for both ends.
//
// Not the wire form: protocol/message.h (supervisor) and protocol/handler_codec.h (handler) encode
// and parse them. Values, owned by whoever holds them; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fnrun::protocol {

struct EnvVar {
  std::string name;  // UTF-8, as is the value: proto3 strings.
  std::string value;
  friend bool operator==(const EnvVar&, const EnvVar&) = default;
};

// What a handler is asked: opaque bytes.
struct Event {
  std::string data;
  friend bool operator==(const Event&, const Event&) = default;
};

// Under what conditions it is asked.
struct ExecutionContext {
  // Wall clock with nanoseconds: when the handler will be stopped at the latest. A hint for the
  // handler's own planning; the supervisor's deadline is on its monotonic clock.
  std::chrono::sys_time<std::chrono::nanoseconds> stop_time{};
  std::vector<EnvVar> env_vars;
  friend bool operator==(const ExecutionContext&, const ExecutionContext&) = default;
};

// What a handler answers. `status` is its own: an HTTP status, an exit code.
struct Result {
  std::int32_t status = 0;
  std::string data;
  std::vector<EnvVar> env;  // Parsed: no name twice, the last value given wins.
  friend bool operator==(const Result&, const Result&) = default;
};

// The value of the last variable called `name`; nullptr when there is none. Points into `env`.
[[nodiscard]] inline const std::string* find_env(std::span<const EnvVar> env,
                                                 std::string_view name) {
  const std::string* found = nullptr;
  for (const EnvVar& variable : env)
    if (variable.name == name) found = &variable.value;
  return found;
}

// Parsers of either end refuse a message of more fields than this, however small the fields: an
// empty variable takes two bytes on the wire and sixty-four in memory.
inline constexpr std::size_t kMessageFieldsMax = 16'384;

}  // namespace fnrun::protocol
