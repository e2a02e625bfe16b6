// Hostile config files. Properties: nothing crashes; an error is one line with a message; what
// parses keeps every promise of service_config.h that others build upon.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "policies/policy_check.h"
#include "supervisor/service_check.h"
#include "supervisor/service_config.h"

namespace {

using fnrun::supervisor::FunctionConfig;
using fnrun::supervisor::HandlerProtocol;
using fnrun::supervisor::HttpLimits;
using fnrun::supervisor::ServiceConfig;

void require(bool property) {
  if (!property) std::abort();
}

// A path stands below the folder or is absolute; a name has no '/'.
bool placed(const std::string& path) {
  return path.find('/') == std::string::npos || path.starts_with('/');
}

void check_function(const FunctionConfig& function) {
  require(fnrun::supervisor::function_name_fault(function.name).empty());
  require(!function.policy.empty() && placed(function.policy));
  require(!function.handler.empty() && !function.handler.front().empty());
  require(placed(function.handler.front()));
  for (const auto& argument : function.handler) require(argument.find('\0') == std::string::npos);
  for (const auto& bind : function.binds) {
    require(fnrun::policies::target_fault(bind.target).empty());
    require(fnrun::policies::source_fault(bind.source).empty());
    require(!bind.why.empty());
  }
  for (const auto& variable : function.env)
    require(fnrun::policies::variable_name_fault(variable.name).empty());
  for (const auto& name : function.credentials)
    require(fnrun::supervisor::credential_name_fault(name).empty());
  require(!function.timeout || function.timeout->count() > 0);
  require(function.concurrency <= 10'000 && function.queue <= 1'000'000);
  require(function.ready.value_or(0) == 0 || function.protocol != HandlerProtocol::kExec);
}

void check_config(const ServiceConfig& config) {
  require(!config.functions.empty());
  require(std::is_sorted(config.functions.begin(), config.functions.end(),
                         [](const auto& a, const auto& b) { return a.name < b.name; }));
  std::for_each(config.functions.begin(), config.functions.end(), check_function);
  for (const auto& origin : config.allow_origins)
    require(fnrun::supervisor::origin_fault(origin).empty());
  const HttpLimits& limits = config.limits;
  require(limits.connections_max > 0 && limits.header_max >= 1'024 && limits.bodies_max >= 1'024);
  for (const auto timeout :
       {limits.header_timeout, limits.body_timeout, limits.idle_timeout, limits.write_timeout})
    require(timeout.count() > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes are read as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = fnrun::supervisor::parse_service_config(text, "/etc/fnrun");
  if (config) {
    check_config(*config);
    return 0;
  }
  require(!config.error().message.empty());
  require(config.error().to_string().find('\n') == std::string::npos);
  return 0;
}
