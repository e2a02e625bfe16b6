// From what a configuration says of a function to one that can be called.
//
// Policy, credentials, handler, plan, service: found, compiled, and started once, so that what is
// wrong is told before anybody calls. Used at the start and for each reload. One thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "credentials.h"
#include "isolation/launcher.h"
#include "supervisor/http/front_end.h"
#include "supervisor/service_config.h"

namespace fnrun::tools {

// Why there is none: a line for people, and the exit code of a command that cannot go on.
struct FunctionFault {
  std::string message;
  int exit_code = 0;
};

// What is said of a function beside its policy goes into a copy of that.
void apply(const supervisor::FunctionConfig& config, policies::Policy& policy);

// A function's policy, as the configuration changes it, compiled for its handler.
struct Compiled {
  std::string policy_name;
  std::shared_ptr<const isolation::Plan> plan;
};

[[nodiscard]] std::variant<Compiled, FunctionFault> compile_function(
    const supervisor::FunctionConfig& config, const isolation::Host& host,
    Credentials& credentials);

struct FunctionSetting {
  boost::asio::any_io_executor executor;
  isolation::Launcher& launcher;  // These two outlive every function.
  const supervisor::http::Observers& observers;
  std::uint64_t generation = 1;
  bool rie_compat = false;
};

// Its first sandbox has started; the others are on their way.
[[nodiscard]] std::variant<std::shared_ptr<supervisor::http::Served>, FunctionFault> make_function(
    const supervisor::FunctionConfig& config, Compiled compiled, const FunctionSetting& setting);

}  // namespace fnrun::tools
