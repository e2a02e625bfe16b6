// AWS Lambda's Invoke API, for callers that were written for AWS: SDKs, the CLI, the emulator's.
//
//   POST /2015-03-31/functions/NAME/invocations     NAME may be an ARN, and have ":$LATEST" behind
//     X-Amz-Invocation-Type: RequestResponse (the answer), Event (202, served later), DryRun (204)
//     X-Amz-Log-Type: Tail                          the end of the log, X-Amz-Log-Result (base64)
//     X-Amz-Client-Context                          base64 of JSON; the handler's
//     FNRUN_CLIENT_CONTEXT X-Amzn-Trace-Id                               the handler's
//     _X_AMZN_TRACE_ID
//
// An answer that a function gave is 200, whatever went wrong in it: X-Amz-Function-Error says so.
// Errors of the service have their AWS names in X-Amzn-ErrorType. Signatures are not looked at: who
// can connect may call. With `rie_compat` the answers are those of AWS's own emulator (RIE), which
// differ. Endpoints on their function's executor.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/http/event_queue.h"
#include "supervisor/http/function.h"
#include "supervisor/http/lambda_name.h"
#include "supervisor/http/message.h"

namespace fnrun::supervisor::http {

inline constexpr std::size_t kLambdaEventMax = 1024UL * 1024;       // Bytes of an Event's payload.
inline constexpr std::size_t kLambdaClientContextMax = 3'583;       // Bytes of it, encoded.
inline constexpr std::size_t kLambdaLogTail = 4'096;                // Bytes of it, decoded.
inline constexpr std::string_view kLambdaAccount = "012345678912";  // As the emulator has it.

[[nodiscard]] std::shared_ptr<Endpoint> make_lambda_endpoint(std::shared_ptr<Function> function,
                                                             std::shared_ptr<EventQueue> events,
                                                             bool rie_compat);

// An error of the service itself, as SDKs read it.
[[nodiscard]] Response lambda_error(Status status, std::string_view type, std::string_view message);
[[nodiscard]] Response lambda_not_found(const LambdaName& name);

}  // namespace fnrun::supervisor::http
