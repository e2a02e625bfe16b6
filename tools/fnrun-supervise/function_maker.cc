#include "function_maker.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "options.h"
#include "policies/policy_json.h"
#include "policy_search.h"
#include "supervisor/http/invoke_api.h"
#include "supervisor/http/lambda_api.h"
#include "supervisor/outcome.h"

namespace fnrun::tools {
namespace {

using supervisor::FunctionConfig;
using supervisor::HandlerProtocol;

FunctionFault setup_fault(const FunctionConfig& config, const isolation::SetupError& error) {
  supervisor::Evidence evidence;
  evidence.setup = error;
  using supervisor::Outcome;
  return {"function " + config.name + ": " + describe(Outcome::kSetupFailed, evidence),
          exit_code(Outcome::kSetupFailed, evidence)};
}

std::size_t cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<std::size_t>(std::max(CPU_COUNT(&set), 1));
}

supervisor::ServiceOptions service_options(const FunctionConfig& config, const Compiled& compiled) {
  const std::size_t places = config.concurrency != 0 ? config.concurrency : cpus();
  const bool exec = config.protocol == HandlerProtocol::kExec;
  const bool reused = compiled.plan->policy.reuse.mode != policies::Reuse::Mode::kNever;
  supervisor::ServiceOptions options;
  options.protocol = config.protocol;
  options.policy_name = compiled.policy_name;
  options.env = config.env;
  options.admission = {.places = places,
                       .waiting_max = config.queue,
                       .per_client_max = config.per_client,
                       .wait_max = config.max_wait};
  options.ready = exec ? 0 : config.ready.value_or(places);
  // Where sandboxes serve once, the next ones start beside those that serve.
  options.sandboxes_max = reused ? std::max(places, options.ready) : 0;
  return options;
}

}  // namespace

void apply(const FunctionConfig& config, policies::Policy& policy) {
  if (config.timeout) policy.limits.invoke_timeout = *config.timeout;
  for (const protocol::EnvVar& variable : config.env)
    policy.environment.set[variable.name] = variable.value;
  auto& shown = policy.filesystem.read_only;
  for (const policies::ReadOnlyPath& bind : config.binds) {
    std::erase_if(shown, [&](const auto& path) { return path.target == bind.target; });
    shown.push_back(bind);
  }
}

std::variant<Compiled, FunctionFault> compile_function(const FunctionConfig& config,
                                                       const isolation::Host& host,
                                                       Credentials& credentials) {
  auto policy = policies::load_policy(config.policy, policy_search_path());
  if (!policy)
    return FunctionFault{"function " + config.name + ": " + policy.error().to_string(),
                         kExitBadPolicy};
  apply(config, *policy);
  if (auto given = credentials.give(config.credentials, host, *policy); !given)
    return FunctionFault{"function " + config.name + ": " + given.error().message, kExitBadPolicy};
  auto& shown = policy->filesystem.read_only;
  std::sort(shown.begin(), shown.end(),
            [](const auto& a, const auto& b) { return a.target < b.target; });
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  auto handler =
      isolation::find_handler(config.handler, *policy, path != nullptr ? path : "", host);
  if (!handler) return setup_fault(config, handler.error());
  auto plan = isolation::compile(*policy, host, std::move(*handler));
  if (!plan && plan.error().step == isolation::SetupStep::kPolicy)
    return FunctionFault{
        "function " + config.name + ": " + config.policy + ": " + plan.error().to_string(),
        kExitBadPolicy};
  if (!plan) return setup_fault(config, plan.error());
  return Compiled{config.policy, std::make_shared<const isolation::Plan>(std::move(*plan))};
}

std::variant<std::shared_ptr<supervisor::http::Served>, FunctionFault> make_function(
    const FunctionConfig& config, Compiled compiled, const FunctionSetting& setting) {
  namespace http = supervisor::http;
  auto served = std::make_shared<http::Served>();
  served->function = std::make_shared<http::Function>(
      setting.executor, setting.launcher, compiled.plan,
      http::FunctionOptions{.name = config.name,
                            .generation = setting.generation,
                            .service = service_options(config, compiled)},
      setting.observers);
  // One is waited for, so that what cannot start is told; the others come behind it.
  if (const auto warm = served->function->service().warm_up(); !warm)
    return setup_fault(config, warm.error());
  served->events = std::make_shared<http::EventQueue>(served->function, config.events);
  served->invoke = http::make_invoke_endpoint(served->function);
  served->lambda = http::make_lambda_endpoint(served->function, served->events, setting.rie_compat);
  return served;
}

}  // namespace fnrun::tools
