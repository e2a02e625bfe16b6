// What the service is at one moment, as plain values: for metrics, for status, for their tests.
//
// Collects what others keep; counts nothing itself. Values, owned by whoever holds them;
// status_of() on the Function's executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/http/function.h"
#include "supervisor/http/server.h"

namespace fnrun::supervisor::http {

struct FunctionStatus {
  std::string name;
  std::uint64_t generation = 1;
  std::string policy;
  std::string handler;  // Its path.
  HandlerProtocol protocol = HandlerProtocol::kFnrun;
  std::size_t places = 1;  // Calls at a time.
  std::size_t waiting_max = 0;
  std::size_t in_flight = 0;  // Begun and not answered, waiting ones among them.
  std::size_t waiting = 0;
  PoolStatus pool;
  std::map<std::string, std::string> degraded_layers;  // Layer -> what stands in for it, or why.
};
[[nodiscard]] FunctionStatus status_of(const Function& function);

struct Snapshot {
  std::string version;
  bool draining = false;
  std::vector<FunctionStatus> functions;
  ServerStatus http;
};

// "fnrun", "lines", "exec".
[[nodiscard]] std::string_view name_of(HandlerProtocol protocol) noexcept;

// What no handler was asked about says nothing of how long calls take, and what a client took back
// tells the client's patience.
[[nodiscard]] bool was_served(Outcome outcome) noexcept;

}  // namespace fnrun::supervisor::http
