#include "daemon_config.h"

#include <cstdlib>
#include <iostream>

namespace fnrun::tools {

namespace http = supervisor::http;
using supervisor::ServiceConfig;

namespace {

const char* variable(const char* name) {
  return std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
}

}  // namespace

std::variant<ServiceConfig, FunctionFault> read_config(const Options& options) {
  ServiceConfig config;
  if (!options.config.empty()) {
    auto loaded = supervisor::load_service_config(options.config);
    if (!loaded) return FunctionFault{loaded.error().to_string(), kExitBadPolicy};
    config = std::move(*loaded);
  } else {
    config = options.service;
    config.functions = {options.function};
  }
  if (!options.service.listen.empty()) config.listen = options.service.listen;
  for (const auto& origin : options.service.allow_origins) config.allow_origins.push_back(origin);
  if (config.listen.empty())
    return FunctionFault{options.config + ": /listen: no address; say it here or by --listen",
                         kExitBadPolicy};
  return config;
}

FunctionFault in_file(const Options& options, FunctionFault fault) {
  if (!options.config.empty()) fault.message.insert(0, options.config + ": ");
  return fault;
}

std::variant<std::vector<http::ListenAddress>, FunctionFault> parse_addresses(
    const Options& options, const ServiceConfig& config) {
  const bool from_file = options.service.listen.empty();
  std::vector<http::ListenAddress> addresses;
  for (const std::string& text : config.listen) {
    if (text == kOfSystemd) continue;
    auto address = http::parse_listen_address(text, variable);
    if (auto* fault = std::get_if<http::ListenFault>(&address))
      return FunctionFault{from_file ? options.config + ": /listen: " + fault->message
                                     : "--listen: " + fault->message,
                           from_file ? kExitBadPolicy : kExitUsage};
    addresses.push_back(std::get<http::ListenAddress>(std::move(address)));
  }
  return addresses;
}

std::string bodies_fault(const ServiceConfig& config, const std::vector<Compiled>& compiled) {
  for (std::size_t i = 0; i < compiled.size(); ++i) {
    const auto most = compiled[i].plan->policy.limits.request_max.bytes;
    if (most > config.limits.bodies_max)
      return "function " + config.functions[i].name + " takes requests of " + std::to_string(most) +
             " bytes, and limits.body_bytes_max is only " +
             std::to_string(config.limits.bodies_max);
  }
  return {};
}

std::optional<FunctionFault> check_config(const Options& options, const ServiceConfig& config,
                                          const isolation::Host& host) {
  const auto addresses = parse_addresses(options, config);
  if (const auto* fault = std::get_if<FunctionFault>(&addresses)) return *fault;
  Credentials credentials(Credentials::Use::kCheck);
  std::vector<Compiled> compiled;
  for (const auto& function : config.functions) {
    auto one = compile_function(function, host, credentials);
    if (auto* fault = std::get_if<FunctionFault>(&one)) return in_file(options, std::move(*fault));
    compiled.push_back(std::get<Compiled>(std::move(one)));
    const auto& plan = *compiled.back().plan;
    if (options.explain)
      std::cout << "function " << function.name << "\n\n" << plan.explain() << '\n';
    else
      std::cout << "function " << function.name << ", policy " << function.policy << " with "
                << plan.handler.path << ": ok\n";
    if (!options.explain && !options.quiet)
      for (const auto& [layer, why] : plan.degraded)
        std::cout << "  degraded: " << layer << ": " << why << '\n';
  }
  if (auto fault = bodies_fault(config, compiled); !fault.empty())
    return in_file(options, {std::move(fault), kExitBadPolicy});
  if (credentials.unchecked() != 0)
    std::cout << "credentials that were not looked for: " << credentials.unchecked()
              << "; only the service manager can tell "
                 "(CREDENTIALS_DIRECTORY is not set)\n";
  return std::nullopt;
}

}  // namespace fnrun::tools
