// The config file: several functions behind one service, as plain values.
//
// JSON, as strict as a policy: an unknown key, a wrong type, a value out of range or a key given
// twice is an error with file, line and JSON pointer. README.md lists every key. Reads this one
// file; policies, handlers, credentials and addresses are named here and looked up by others.
// Values: copy freely; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"
#include "policies/policy_json.h"
#include "protocol/message_types.h"
#include "supervisor/handler_protocol.h"
#include "supervisor/http_limits.h"

namespace fnrun::supervisor {

struct FunctionConfig {
  std::string name;  // See function_name_fault() in service_check.h.
  // PATH or NAME, for load_policy(). A relative path starts at the config file's folder.
  std::string policy = "strict";
  // argv, 1 … 1'024. A program with a '/' starts there as well, one without is looked up in $PATH.
  std::vector<std::string> handler;
  HandlerProtocol protocol = HandlerProtocol::kFnrun;
  // Of a call, instead of the policy's invoke timeout: 1 ms … a day, as there.
  std::optional<std::chrono::milliseconds> timeout;
  std::vector<policies::ReadOnlyPath> binds;  // Instead of the policy's of that target. Sorted.
  std::vector<protocol::EnvVar> env;          // Instead of the policy's of that name. Sorted.
  std::vector<std::string> credentials;       // Of systemd, by name; each once.
  std::size_t concurrency = 0;                // Calls at a time, 0 … 10'000; 0: one for each CPU.
  std::size_t queue = 1'024;                  // Calls that may wait beyond them, 0 … 1'000'000.
  std::chrono::milliseconds max_wait{0};  // In the queue; 0: until the call's deadline. … a day.
  std::size_t per_client = 0;  // Calls and waiters of one client, 0 … 1'000'000; 0: no bound.
  // Sandboxes kept ready, 0 … 10'000; none said: as many as concurrency. For kExec, where each call
  // has a process of its own, it is 0 or not said.
  std::optional<std::size_t> ready;
  // Accepted events (InvocationType Event) that may wait, 0 … 1'000'000; 0: none is accepted.
  std::size_t events = 1'024;
  friend bool operator==(const FunctionConfig&, const FunctionConfig&) = default;
};

struct ServiceConfig {
  std::vector<std::string> listen;         // As --listen takes them; not parsed here. May be empty.
  std::vector<std::string> allow_origins;  // Web pages that may call; origin_fault().
  std::vector<FunctionConfig> functions;   // 1 … 1'024, sorted by name.
  HttpLimits limits;
  // The longest that a drain may take, … a day; 0: until each call's own deadline.
  std::chrono::milliseconds drain_timeout{0};
  friend bool operator==(const ServiceConfig&, const ServiceConfig&) = default;
};

// `folder`: where relative paths of the document start.
[[nodiscard]] policies::Result<ServiceConfig> parse_service_config(
    std::string_view json, const std::filesystem::path& folder);
// A regular file of at most policies::kPolicyTextMax bytes; its folder, made absolute, is where
// relative paths start, whatever the working directory is by the time that they are used.
[[nodiscard]] policies::Result<ServiceConfig> load_service_config(
    const std::filesystem::path& path);

}  // namespace fnrun::supervisor
