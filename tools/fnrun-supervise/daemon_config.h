// What a service is to be: from the command line and the file that it names, read and checked.
//
// Everything that can be known before anything runs; nothing is bound or started here. Functions;
// one thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "function_maker.h"
#include "options.h"
#include "supervisor/http/listen.h"

namespace fnrun::tools {

inline constexpr std::string_view kOfSystemd = "systemd";  // In place of an address.

// What the command line says, as if a file had said it; a file's own words otherwise.
[[nodiscard]] std::variant<supervisor::ServiceConfig, FunctionFault> read_config(
    const Options& options);

// A fault of a function, with the file that describes it.
[[nodiscard]] FunctionFault in_file(const Options& options, FunctionFault fault);

// What is wrong with an address is wrong for good; what the host says to it may change.
[[nodiscard]] std::variant<std::vector<supervisor::http::ListenAddress>, FunctionFault>
parse_addresses(const Options& options, const supervisor::ServiceConfig& config);

// The largest request of any function must fit into what there is for bodies, or it could never
// be received; "": each does.
[[nodiscard]] std::string bodies_fault(const supervisor::ServiceConfig& config,
                                       const std::vector<Compiled>& compiled);

// Everything that a start would refuse, but for what only a start can tell: whether the addresses
// are free, and whether the handlers come up. Prints what is well, or the plans (--explain).
[[nodiscard]] std::optional<FunctionFault> check_config(const Options& options,
                                                        const supervisor::ServiceConfig& config,
                                                        const isolation::Host& host);

}  // namespace fnrun::tools
