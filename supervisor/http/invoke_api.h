// Our own API: POST /invoke and /invoke/NAME, a body in, a body out.
//
// In:  the body is the event's data. `Fnrun-Timeout: 250ms` makes the deadline sooner;
//      `Fnrun-Env-NAME: value` gives the handler a variable; `X-Request-Id` is the call's name, one
//      is made otherwise; `traceparent` and `tracestate` (W3C Trace Context) are handed on.
// Out: the answer's data. `Fnrun-Outcome: ok`; `Fnrun-Status`, the handler's own; `X-Request-Id`;
//      `Fnrun-Env-NAME` for each variable of the answer (`Fnrun-Env-NAME*`, as RFC 8187 has it,
//      where the value is not plain ASCII; `Fnrun-Env-Left-Out` counts what no header can carry).
//      A call that was not answered is a problem (problem.h) with the outcome's status.
// The handler's variables: FNRUN_REQUEST_ID, TRACEPARENT, TRACESTATE, then the caller's own.
#pragma once

#include <memory>

#include "supervisor/http/function.h"
#include "supervisor/http/message.h"

namespace fnrun::supervisor::http {

// Of variables in the answer's header: a proxy has bounds too.
inline constexpr std::size_t kEnvHeadersMax = 4 * 1024;

[[nodiscard]] std::shared_ptr<Endpoint> make_invoke_endpoint(std::shared_ptr<Function> function);

}  // namespace fnrun::supervisor::http
