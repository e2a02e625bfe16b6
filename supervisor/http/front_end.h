// What the service shows over HTTP: which path is served by whom.
//
// The Site of a Server. Knows functions by name, and the APIs that each is served under; decides
// who may call from a web page. Counts, pages and metrics are others'. On the server's executor.
//
//   POST /invoke, /invoke/NAME                                our own API (invoke_api.h)
//   POST /2015-03-31/functions/NAME/invocations               AWS Lambda's (lambda_api.h)
//   GET  /healthz, /_/health                                  200 as long as anything is answered
//   GET  /readyz, /_/ready                                    200 if a call would be served; 503,
//                                                             or 429 of the latter when all is full
//   GET  /metrics, /status, /                                 for machines, scripts, people
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/http/event_queue.h"
#include "supervisor/http/function.h"
#include "supervisor/http/lambda_api.h"
#include "supervisor/http/message.h"
#include "supervisor/http/target.h"

namespace fnrun::supervisor::http {

struct FrontEndOptions {
  bool rie_compat = false;                 // Lambda's emulator's answers instead of Lambda's.
  std::vector<std::string> allow_origins;  // Web pages that may call: "https://example.com".
};

// A function with all that it is served under. Shared with calls in flight.
struct Served {
  std::shared_ptr<Function> function;
  std::shared_ptr<EventQueue> events;
  std::shared_ptr<Endpoint> invoke;
  std::shared_ptr<Endpoint> lambda;
};

class FrontEnd : public Site {
 public:
  // What is shown at a path that belongs to no function; nothing of a request is asked for.
  using Show = std::function<Response()>;

  explicit FrontEnd(FrontEndOptions options);
  ~FrontEnd() override;

  // From now on these are served, and no others. Calls that others have begun go on.
  void serve(const std::vector<std::shared_ptr<Served>>& functions);
  // GET of exactly this path. Not to be changed while the server runs.
  void show(std::string path, Show page);
  // A drain has begun: not ready any more, and no call is taken.
  void drain() noexcept { draining_ = true; }
  [[nodiscard]] bool draining() const noexcept { return draining_; }

  // Why no call would be served now; empty: one would.
  [[nodiscard]] std::vector<std::string> not_ready() const;

  [[nodiscard]] Verdict admit(const RequestHead& head) override;

 private:
  [[nodiscard]] bool may_call(const RequestHead& head) const;
  [[nodiscard]] std::shared_ptr<Served> find(std::string_view name) const;
  [[nodiscard]] Verdict invoke(const Target& target) const;
  [[nodiscard]] Verdict lambda(const Target& target) const;
  [[nodiscard]] Verdict page(const RequestHead& head, const Target& target) const;
  [[nodiscard]] Response ready(bool full_is_429) const;

  FrontEndOptions options_;
  std::map<std::string, std::shared_ptr<Served>, std::less<>> served_;
  std::map<std::string, Show, std::less<>> pages_;
  bool draining_ = false;
};

}  // namespace fnrun::supervisor::http
