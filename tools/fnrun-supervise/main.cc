// fnrun-supervise: calls to an untrusted handler, each in a sandbox and under one deadline.
//
// Wires the rooms together: policy, host, plan, launcher, service, front end. Nothing is decided
// here but what is printed where: stdout belongs to data, stderr to people.
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>

#include "daemon.h"
#include "function_maker.h"
#include "isolation/launcher.h"
#include "options.h"
#include "policies/policy_json.h"
#include "policy_search.h"
#include "probe_run.h"
#include "report_file.h"
#include "seccomp_exchange.h"
#include "supervisor/descriptor_limit.h"
#include "supervisor/service.h"
#include "supervisor/stderr_log.h"
#include "supervisor/stdio_front_end.h"
#include "voice.h"

namespace fnrun::tools {
namespace {

namespace asio = boost::asio;

// A program started with a closed stdin, stdout or stderr would give that number to the next thing
// it opens, and then write its messages there.
void fill_closed_stdio() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0) (void)!::open("/dev/null", O_RDWR);
}

int setup_failed(Voice& voice, const isolation::SetupError& error) {
  supervisor::Evidence evidence;
  evidence.setup = error;
  voice.complain(supervisor::describe(supervisor::Outcome::kSetupFailed, evidence));
  return supervisor::exit_code(supervisor::Outcome::kSetupFailed, evidence);
}

// The command line weakens or tightens a copy of the policy; the file stays what it is.
void adapt(const Options& options, policies::Policy& policy) {
  apply(options.function, policy);
  // Nobody waits for what the probe has to say, and on a slow host it takes its time.
  if (options.probe && policy.limits.cpu_time_max.count() != 0)
    policy.limits.cpu_time_max = std::max(policy.limits.cpu_time_max, policy.limits.invoke_timeout);
}

// Non-blocking is a property of the open file description, which a pipe or terminal shares with
// whoever else has it; so it is opened anew where that can be done. 16: out of the way of stdio.
int own_description(int fd, int flags) {
  struct stat info {};
  if (::fstat(fd, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode))) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    const int own = ::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own >= 0) return own;
  }
  return ::fcntl(fd, F_DUPFD_CLOEXEC, 16);
}

protocol::ErrorOr<protocol::Channel> open_stream(asio::io_context& context) {
  return protocol::Channel::adopt(context.get_executor(), own_description(STDIN_FILENO, O_RDONLY),
                                  own_description(STDOUT_FILENO, O_WRONLY));
}

supervisor::LogSink log_sink(Voice& voice, bool quiet) {
  if (quiet) return {};
  return [&voice](std::uint64_t call, std::string_view line) {
    const std::string tag = call == 0 ? "[handler] " : "[handler " + std::to_string(call) + "] ";
    voice.say(tag + std::string(line));
  };
}

// Where each call has a sandbox of its own, the next one starts while this one runs.
std::size_t ready_ahead(const Options& options, const policies::Policy& policy) {
  return options.mode != Mode::kSingle && policy.reuse.mode == policies::Reuse::Mode::kNever ? 1
                                                                                             : 0;
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

int serve_stdio(Voice& voice, const Options& options, supervisor::Service& service,
                asio::io_context& context, supervisor::FrontEndOptions front_end) {
  auto stream = open_stream(context);
  if (!stream) {
    voice.complain("stdin or stdout cannot be used: " + stream.error().to_string());
    return supervisor::kExitOutputFailed;
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
  return signals.received() != 0 ? 128 + signals.received() : code;
}

int run(Voice& voice, const Options& options, isolation::Launcher& launcher,
        std::shared_ptr<const isolation::Plan> plan) {
  std::optional<ReportFile> reports;
  if (!options.report_file.empty() && !reports.emplace(options.report_file).is_open()) {
    voice.complain("cannot write the report to " + options.report_file + ": " +
                   ::strerrordesc_np(errno));
    return kExitUsage;
  }
  supervisor::FrontEndOptions front_end;
  front_end.request_max = static_cast<std::size_t>(plan->policy.limits.request_max.bytes);
  front_end.exit_by_status = options.function.protocol == supervisor::HandlerProtocol::kExec;
  front_end.answer_errors = options.answer_errors;
  front_end.complain = [&](std::string_view message) { voice.complain(message); };
  front_end.on_report = [&](const supervisor::InvocationReport& report) {
    if (reports) reports->write(report);
  };
  asio::io_context context(1);
  supervisor::Service service(context.get_executor(), launcher, plan,
                              {.protocol = options.function.protocol,
                               .policy_name = options.function.policy,
                               .env = options.function.env,
                               .log = log_sink(voice, options.quiet),
                               .ready = ready_ahead(options, plan->policy),
                               .on_event = [&](const supervisor::PoolEvent& event) {
                                 voice.complain(supervisor::escape_for_terminal(event.text));
                               }});
  if (auto warm = service.warm_up(); !warm) {
    front_end.on_report(service.refuse(supervisor::Cause::kSetup, warm.error()).report);
    return setup_failed(voice, warm.error());
  }
  const int code = serve_stdio(voice, options, service, context, std::move(front_end));
  if (reports && reports->lost() != 0)
    voice.complain(std::to_string(reports->lost()) + " reports could not be written to " +
                   options.report_file);
  return code;
}

int check_policy_alone(Voice& voice, const Options& options, const policies::Policy& policy) {
  // As a host with a listener has it, which is not asked: some switches need one.
  if (auto filter = isolation::compile_seccomp(policy.seccomp, isolation::KillBy::kListener);
      !filter) {
    voice.complain(options.function.policy + ": " + filter.error().to_string());
    return kExitBadPolicy;
  }
  std::cout << "policy " << options.function.policy << ": ok\n";
  return 0;
}

int supervise(Voice& voice, const Options& options) {
  // What cannot be had is missed where it is needed, and said there.
  (void)supervisor::raise_descriptor_limit();
  auto policy = policies::load_policy(options.function.policy, policy_search_path());
  if (!policy) {
    voice.complain(policy.error().to_string());
    return kExitBadPolicy;
  }
  adapt(options, *policy);
  const auto complain = [&](std::string_view message) { voice.complain(message); };
  if (!options.import_seccomp.empty()) return import_seccomp(options, std::move(*policy), complain);
  if (options.export_seccomp) return export_seccomp(options, *policy, complain);
  const auto host = isolation::probe_host(options.uid_range);
  if (!host) return setup_failed(voice, host.error());
  if (options.uid_range && !host->privileged) {
    voice.complain(
        "--uid-range is for a privileged supervisor; this one's sandboxes run as your own uid");
    return kExitUsage;
  }
  if (options.function.handler.empty()) return check_policy_alone(voice, options, *policy);
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  auto handler = isolation::find_handler(options.function.handler, *policy,
                                         path != nullptr ? path : "", *host);
  if (!handler) return setup_failed(voice, handler.error());
  auto plan = isolation::compile(*policy, *host, std::move(*handler));
  if (!plan && plan.error().step == isolation::SetupStep::kPolicy) {
    voice.complain(options.function.policy + ": " + plan.error().to_string());
    return kExitBadPolicy;
  }
  if (!plan) return setup_failed(voice, plan.error());
  if (options.explain) {
    std::cout << plan->explain();
    return 0;
  }
  if (!options.quiet)
    for (const auto& [layer, why] : plan->degraded)
      voice.complain("degraded: " + layer + ": " + why);
  if (options.check) {
    std::cout << "policy " << options.function.policy << " with " << plan->handler.path << ": ok\n";
    return 0;
  }
  auto launcher = isolation::Launcher::make(*host);
  if (!launcher) return setup_failed(voice, launcher.error());
  return run(voice, options, *launcher, std::make_shared<const isolation::Plan>(std::move(*plan)));
}

}  // namespace
}  // namespace fnrun::tools

int main(int argc, char** argv) {
  fnrun::tools::fill_closed_stdio();
  // Or a payload of megabytes is given back to the kernel, and faulted in again for the next.
  ::mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 32 * 1024 * 1024);
  try {
    auto parsed = fnrun::tools::parse_command_line(argc, argv);
    if (const int* code = std::get_if<int>(&parsed)) return *code;
    auto& options = std::get<fnrun::tools::Options>(parsed);
    if (options.is_service) return fnrun::tools::run_daemon(options);
    fnrun::tools::Voice voice;
    if (options.probe) {
      if (const auto fault = fnrun::tools::prepare_probe(options)) {
        voice.complain(fault->message);
        return fault->exit_code;
      }
    }
    return fnrun::tools::supervise(voice, options);
  } catch (const std::exception& failure) {
    std::cerr << "fnrun-supervise: out of resources: " << failure.what() << '\n';
    return 125;
  }
}
