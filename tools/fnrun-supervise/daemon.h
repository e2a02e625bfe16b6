// The command as a service: functions over HTTP, until a signal ends it.
//
// Wires functions, front end, server and log together, and does what the service manager and its
// signals ask: ready, reload, drain, stop. Decides nothing about a call. One thread.
#pragma once

#include "options.h"

namespace fnrun::tools {

// Until the service has ended; the command's exit code. To be called before there is any thread.
[[nodiscard]] int run_daemon(const Options& options);

}  // namespace fnrun::tools
