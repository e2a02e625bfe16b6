// What Lambda, or its emulator, would say of a call: bodies, log lines, headers.
//
// Words only; makes no call. Private to lambda_api.cc. Functions and values; one thread.
#pragma once

#include <string>
#include <string_view>

#include "supervisor/http/function.h"
#include "supervisor/http/message.h"

namespace fnrun::supervisor::http {

// The end of a function's log during one call.
class LogTail {
 public:
  explicit LogTail(std::size_t max) : max_(max) {}
  void add(std::string_view line);
  // The last `max` bytes, as a client reads them: base64.
  [[nodiscard]] std::string base64() const;

 private:
  std::size_t max_;
  std::string text_;  // At most twice `max_`.
};

struct LambdaCall {
  std::string_view request_id;
  const policies::Limits& limits;
};

// "START RequestId: … Version: $LATEST"
[[nodiscard]] std::string start_line(const LambdaCall& call);
[[nodiscard]] std::string end_line(const LambdaCall& call);
// "REPORT RequestId: …\tDuration: 1.73 ms\t…": what was measured; what is not known is left out.
[[nodiscard]] std::string report_line(const LambdaCall& call, const InvocationReport& report);

// The answer of Lambda: 200 with X-Amz-Function-Error, or the service's own error. `failed`: the
// handler answered, and that it failed.
[[nodiscard]] Response lambda_answer(const LambdaCall& call, Invocation invocation, bool failed);
// The emulator's.
[[nodiscard]] Response rie_answer(const LambdaCall& call, Invocation invocation);

}  // namespace fnrun::supervisor::http
