// The function that callers call: the event, JSON, says what is to become of the call.
//
//   {"do": "echo"}, or no "do"   the event is the answer
//   "context"    what the service said besides: request_id, client_context, trace_id
//   "say"        as many lines of the log as "lines" says, then as echo
//   "fail"       status 500 and Lambda's own form of an error
//   "exit"       the process ends, with status 3; "kill": by SIGKILL
//   "length"     how many bytes the event has
//   "large"      an answer of "bytes" bytes
//   "hold"       no answer, ever
//
// Each call leaves "doing <do> <mark>" in the log first: a sandboxed handler has no other way to
// show that it was called.
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>

#include "protocol/handler.h"

namespace {

using fnrun::protocol::Context;
using fnrun::protocol::Event;
using fnrun::protocol::Result;
using nlohmann::json;

json variable(const Context& context, std::string_view name) {
  const std::string* const value = fnrun::protocol::find_env(context.env_vars, name);
  return value != nullptr ? json(*value) : json();
}

Result answer(std::string data, int status = 200) {
  return {.status = status, .data = std::move(data), .env = {}};
}

[[noreturn]] void hold() {
  for (;;) ::pause();
}

Result serve(const Event& event, const Context& context) {
  const json asked = json::parse(event.data, nullptr, /*allow_exceptions=*/false);
  const bool is_object = asked.is_object();
  const std::string what = is_object ? asked.value("do", "echo") : "echo";
  std::cerr << "doing " << what << ' ' << (is_object ? asked.value("mark", "-") : "-") << '\n';
  if (what == "exit") ::_exit(3);
  if (what == "kill") ::kill(::getpid(), SIGKILL);
  if (what == "hold") hold();
  if (what == "length") return answer(std::to_string(event.data.size()));
  if (what == "large") return answer(std::string(asked.at("bytes").get<std::size_t>(), 'a'));
  if (what == "fail")
    return answer(R"({"errorMessage":"it was asked to","errorType":"AskedTo"})", 500);
  if (what == "context")
    return answer(json{{"request_id", variable(context, "FNRUN_REQUEST_ID")},
                       {"client_context", variable(context, "FNRUN_CLIENT_CONTEXT")},
                       {"trace_id", variable(context, "_X_AMZN_TRACE_ID")}}
                      .dump());
  if (what == "say")
    for (int line = 1; line <= asked.at("lines").get<int>(); ++line)
      std::cerr << "line " << line << ' ' << std::string(200, '.') << '\n';
  return answer(event.data);
}

}  // namespace

int main() {
  return fnrun::protocol::serve(serve);
}
