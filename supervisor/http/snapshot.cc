#include "supervisor/http/snapshot.h"

namespace fnrun::supervisor::http {

FunctionStatus status_of(const Function& function) {
  const isolation::Plan& plan = function.plan();
  const ServiceOptions& options = function.options();
  return {.name = function.name(),
          .generation = function.generation(),
          .policy = options.policy_name,
          .handler = plan.handler.path,
          .protocol = function.protocol(),
          .places = options.admission.places,
          .waiting_max = options.admission.waiting_max,
          .in_flight = function.in_flight(),
          .waiting = function.service().waiting(),
          .pool = function.service().status(),
          .degraded_layers = plan.degraded};
}

std::string_view name_of(HandlerProtocol protocol) noexcept {
  switch (protocol) {
    case HandlerProtocol::kFnrun:
      return "fnrun";
    case HandlerProtocol::kLines:
      return "lines";
    case HandlerProtocol::kExec:
      return "exec";
  }
  return "";
}

bool was_served(Outcome outcome) noexcept {
  return outcome != Outcome::kUnavailable && outcome != Outcome::kRequestTooLarge &&
         outcome != Outcome::kShuttingDown && outcome != Outcome::kCancelled;
}

}  // namespace fnrun::supervisor::http
