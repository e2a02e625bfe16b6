#include "tests/e2e/service_run.h"

#include <gtest/gtest.h>

#include <csignal>

namespace fnrun::test {
namespace {

constexpr std::string_view kListening = "listening on http://127.0.0.1:";

std::vector<std::string> argv_of(std::vector<std::string> options,
                                 const std::vector<std::string>& of_handler) {
  options.insert(options.end(), {"--listen", "127.0.0.1:0", "--log", "text"});
  if (!of_handler.empty()) return supervise(std::move(options), of_handler);
  options.insert(options.begin(), bin_dir() + "/fnrun-supervise");
  return options;
}

}  // namespace

ServiceRun::ServiceRun(std::vector<std::string> options, const std::vector<std::string>& of_handler,
                       const std::vector<std::string>& environment)
    : command_(argv_of(std::move(options), of_handler), environment) {
  if (!command_.wait_for_stderr(kListening)) return;
  const std::string& said = command_.stderr_so_far();
  const std::size_t at = said.find(kListening) + kListening.size();
  if (said.find('\n', at) == std::string::npos) (void)command_.wait_for_stderr("\n");
  port_ = static_cast<std::uint16_t>(std::stoul(command_.stderr_so_far().substr(at)));
}

HttpAnswer ServiceRun::call(std::string_view method, std::string_view target, std::string_view body,
                            std::string_view fields) const {
  HttpClient client(port_);
  auto answer = client.call(method, target, body, fields);
  if (!answer) {
    ADD_FAILURE() << "no answer to " << method << " " << target << " " << body;
    return {};
  }
  return std::move(*answer);
}

HttpAnswer ServiceRun::invoke(std::string_view body, std::string_view fields) const {
  return call("POST", "/invoke", body, fields);
}

Finished ServiceRun::stop() {
  command_.signal(SIGTERM);
  return command_.finish();
}

std::vector<std::string> obedient() {
  return {"/bin/sh", "-c",
          "read -r what rest; case \"$what\" in"
          " hang) echo hanging >&2; exec sleep 100000;;"
          " fail) exit 3;;"
          " forbidden) exec unshare --user true;;"
          " env) env | sort;;"
          " log) echo \"$rest\" >&2; printf '%s' \"$rest\";;"
          " *) printf '%s' \"$what\";; esac"};
}

}  // namespace fnrun::test
