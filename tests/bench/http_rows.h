// The section of the serving benchmark that goes by HTTP: one client, and sixty-four.
//
// The service on a thread of its own, the clients on the calling thread.
#pragma once

#include <vector>

#include "tests/bench/serve_rows.h"

namespace fnrun::bench {

// A warm call of 64 bytes by HTTP against the same call in process, placed alike; the rate at 64
// connections, and the CPU time that a request took.
[[nodiscard]] std::vector<Section> over_http(const Subject& subject);

}  // namespace fnrun::bench
