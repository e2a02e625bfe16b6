// fnrun-supervise: calls to an untrusted handler, each in a sandbox and under one deadline.
//
// Wires the rooms together: policy, host, plan, launcher, service, front end. Nothing is decided
// here but what is printed where: stdout belongs to data, stderr to people.
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>

#include "isolation/launcher.h"
#include "options.h"
#include "policies/policy_json.h"
#include "policy_search.h"
#include "supervisor/service.h"
#include "supervisor/stderr_log.h"
#include "supervisor/stdio_front_end.h"

namespace fnrun::tools {
namespace {

namespace asio = boost::asio;

constexpr int kExitBadPolicy = 78;  // EX_CONFIG

bool use_colour() {
  const char* no_color =
      std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): before any thread
  return (no_color == nullptr || *no_color == '\0') && ::isatty(STDERR_FILENO) == 1;
}

void complain(std::string_view message) {
  static const bool colour = use_colour();
  std::cerr << (colour ? "\x1b[1mfnrun-supervise:\x1b[0m " : "fnrun-supervise: ") << message
            << '\n';
}

int setup_failed(const isolation::SetupError& error) {
  supervisor::Evidence evidence;
  evidence.setup = error;
  complain(supervisor::describe(supervisor::Outcome::kSetupFailed, evidence));
  return supervisor::exit_code(supervisor::Outcome::kSetupFailed, evidence);
}

// The command line weakens or tightens a copy of the policy; the file stays what it is.
void apply(const Options& options, policies::Policy& policy) {
  if (options.timeout) policy.limits.invoke_timeout = *options.timeout;
  for (const protocol::EnvVar& variable : options.env)
    policy.environment.set[variable.name] = variable.value;
  for (const policies::ReadOnlyPath& bind : options.binds) {
    std::erase_if(policy.filesystem.read_only,
                  [&](const auto& path) { return path.target == bind.target; });
    policy.filesystem.read_only.push_back(bind);
  }
}

// The command's own stdin and stdout. Copies: the channel closes what it has.
protocol::ErrorOr<protocol::Channel> open_stream(asio::io_context& context) {
  return protocol::Channel::adopt(context.get_executor(), ::dup(STDIN_FILENO),
                                  ::dup(STDOUT_FILENO));
}

supervisor::LogSink log_sink(bool quiet) {
  if (quiet) return {};
  return [](std::uint64_t call, std::string_view line) {
    if (call == 0)
      std::cerr << "[handler] " << line << '\n';
    else
      std::cerr << "[handler " << call << "] " << line << '\n';
  };
}

asio::awaitable<int> serve(supervisor::Service& service, protocol::Channel& stream, Mode mode,
                           supervisor::FrontEndOptions front_end) {
  int code = 0;
  switch (mode) {
    case Mode::kSingle:
      code = co_await supervisor::serve_single(service, stream, front_end);
      break;
    case Mode::kLines:
      code = co_await supervisor::serve_lines(service, stream, front_end);
      break;
    case Mode::kFrames:
      code = co_await supervisor::serve_frames(service, stream, front_end);
      break;
  }
  co_await service.shut_down();
  co_return code;
}

// The first SIGINT, SIGTERM or SIGHUP ends the call in flight and the sandbox; the second ends us,
// and the sandbox with us, for it hangs on our lifeline.
class StopSignals {
 public:
  StopSignals(asio::io_context& context, supervisor::Service& service, protocol::Channel& stream)
      : signals_(context, SIGINT, SIGTERM, SIGHUP), service_(service), stream_(stream) {
    wait();
  }
  [[nodiscard]] int received() const noexcept { return received_; }
  void forget() { signals_.cancel(); }

 private:
  void wait() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
      if (error) return;
      if (received_ != 0) ::_exit(128 + signal);
      received_ = signal;
      service_.stop();
      stream_.cancel();
      wait();
    });
  }
  asio::signal_set signals_;
  supervisor::Service& service_;
  protocol::Channel& stream_;
  int received_ = 0;
};

int run(const Options& options, isolation::Launcher& launcher,
        std::shared_ptr<const isolation::Plan> plan) {
  std::ofstream report_file;
  if (!options.report_file.empty()) {
    report_file.open(options.report_file, std::ios::app);
    if (!report_file) {
      complain("cannot write the report to " + options.report_file);
      return kExitUsage;
    }
  }
  supervisor::FrontEndOptions front_end;
  front_end.request_max = static_cast<std::size_t>(plan->policy.limits.request_max.bytes);
  front_end.exit_by_status = options.protocol == supervisor::HandlerProtocol::kExec;
  front_end.answer_errors = options.answer_errors;
  front_end.complain = complain;
  if (report_file.is_open())
    front_end.on_report = [&](const supervisor::InvocationReport& report) {
      report_file << supervisor::to_json(report)
                  << std::endl;  // Flushed: we may be killed any time.
    };

  asio::io_context context(1);
  supervisor::Service service(context.get_executor(), launcher, plan,
                              {.protocol = options.protocol,
                               .policy_name = options.policy,
                               .env = options.env,
                               .log = log_sink(options.quiet)});
  if (auto warm = service.warm_up(); !warm) return setup_failed(warm.error());
  auto stream = open_stream(context);
  if (!stream) {
    complain("stdin or stdout cannot be used: " + stream.error().to_string());
    return kExitUsage;
  }
  StopSignals signals(context, service, *stream);
  int code = 0;
  asio::co_spawn(context, serve(service, *stream, options.mode, std::move(front_end)),
                 [&](const std::exception_ptr& failure, int served) {
                   // Only memory running out can throw here.
                   code = failure ? supervisor::info_of(supervisor::Outcome::kUnavailable).exit_code
                                  : served;
                   signals.forget();
                 });
  context.run();
  if (report_file.is_open() && !report_file)
    complain("the report in " + options.report_file + " is not complete");
  return signals.received() != 0 ? 128 + signals.received() : code;
}

int supervise(const Options& options) {
  auto policy = policies::load_policy(options.policy, policy_search_path());
  if (!policy) {
    complain(policy.error().to_string());
    return kExitBadPolicy;
  }
  apply(options, *policy);
  const auto host = isolation::probe_host(options.uid_range);
  if (!host) return setup_failed(host.error());
  if (options.handler.empty()) {  // --check of a policy alone
    if (auto filter = isolation::compile_seccomp(policy->seccomp); !filter) {
      complain(filter.error().to_string());
      return kExitBadPolicy;
    }
    std::cout << "policy " << options.policy << ": ok\n";
    return 0;
  }
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): before any thread
  auto handler =
      isolation::find_handler(options.handler, *policy, path != nullptr ? path : "", *host);
  if (!handler) return setup_failed(handler.error());
  auto plan = isolation::compile(*policy, *host, std::move(*handler));
  if (!plan && plan.error().step == isolation::SetupStep::kPolicy) {
    complain(options.policy + ": " + plan.error().to_string());
    return kExitBadPolicy;
  }
  if (!plan) return setup_failed(plan.error());
  if (options.explain) {
    std::cout << plan->explain();
    return 0;
  }
  if (!options.quiet)
    for (const auto& [layer, why] : plan->degraded) complain("degraded: " + layer + ": " + why);
  if (options.check) {
    std::cout << "policy " << options.policy << " with " << plan->handler.path << ": ok\n";
    return 0;
  }
  auto launcher = isolation::Launcher::make(*host);
  if (!launcher) return setup_failed(launcher.error());
  return run(options, *launcher, std::make_shared<const isolation::Plan>(std::move(*plan)));
}

}  // namespace
}  // namespace fnrun::tools

int main(int argc, char** argv) {
  try {
    const auto parsed = fnrun::tools::parse_command_line(argc, argv);
    if (const int* code = std::get_if<int>(&parsed)) return *code;
    return fnrun::tools::supervise(std::get<fnrun::tools::Options>(parsed));
  } catch (const std::exception& failure) {
    fnrun::tools::complain(std::string("out of resources: ") + failure.what());
    return 125;
  }
}
