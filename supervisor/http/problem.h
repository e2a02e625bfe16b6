// Errors as RFC 9457 has them: application/problem+json, with the outcome and its evidence.
//
// Words answers; decides nothing. Functions over values; any thread.
#pragma once

#include <string_view>

#include "supervisor/http/message.h"
#include "supervisor/report.h"

namespace fnrun::supervisor::http {

// A request that no handler was asked about: what is wrong with it, and what would be right.
[[nodiscard]] Response problem(Status status, std::string_view detail);

// What a call that was not answered came to. Members beside the standard's: `outcome`, `evidence`
// (as in reports), `request_id`. 429 and 503 say when to come again.
[[nodiscard]] Response problem(const InvocationReport& report, std::string_view request_id);

}  // namespace fnrun::supervisor::http
