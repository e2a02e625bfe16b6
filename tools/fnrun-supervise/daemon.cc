#include "daemon.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <list>
#include <optional>

#include "function_maker.h"
#include "report_file.h"
#include "service_log.h"
#include "service_manager.h"
#include "supervisor/descriptor_limit.h"
#include "supervisor/http/listen.h"
#include "supervisor/http/metrics.h"
#include "supervisor/http/page.h"
#include "supervisor/http/server.h"
#include "supervisor/http/status.h"
#include "voice.h"

namespace fnrun::tools {
namespace {

namespace asio = boost::asio;
namespace http = supervisor::http;
using supervisor::Deadline;
using supervisor::ServiceConfig;
using Clock = std::chrono::steady_clock;

// How often systemd hears of a drain, of which it allows so much more each time; and how long one
// function may take to start.
constexpr std::chrono::seconds kBeat{5};
constexpr std::chrono::seconds kBeatsApart{20};
constexpr std::chrono::seconds kStartPatience{60};

// Functions that serve together, and the copies of credentials that their sandboxes show.
struct Generation {
  std::vector<std::shared_ptr<http::Served>> functions;
  std::shared_ptr<Credentials> credentials;
};

constexpr std::string_view kOfSystemd = "systemd";  // In place of an address.

const char* variable(const char* name) {
  return std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
}

// What the command line says, as if a file had said it; a file's own words otherwise.
std::variant<ServiceConfig, FunctionFault> read_config(const Options& options) {
  ServiceConfig config;
  if (!options.config.empty()) {
    auto loaded = supervisor::load_service_config(options.config);
    if (!loaded) return FunctionFault{loaded.error().to_string(), kExitBadPolicy};
    config = std::move(*loaded);
  } else {
    config = options.service;
    config.functions = {options.function};
  }
  if (!options.service.listen.empty()) config.listen = options.service.listen;
  for (const auto& origin : options.service.allow_origins) config.allow_origins.push_back(origin);
  if (config.listen.empty())
    return FunctionFault{options.config + ": /listen: no address; say it here or by --listen",
                         kExitBadPolicy};
  return config;
}

// A fault of a function, with the file that describes it.
FunctionFault in_file(const Options& options, FunctionFault fault) {
  if (!options.config.empty()) fault.message.insert(0, options.config + ": ");
  return fault;
}

// What is wrong with an address is wrong for good; what the host says to it may change.
std::variant<std::vector<http::ListenAddress>, FunctionFault> parse_addresses(
    const Options& options, const ServiceConfig& config) {
  const bool from_file = options.service.listen.empty();
  std::vector<http::ListenAddress> addresses;
  for (const std::string& text : config.listen) {
    if (text == kOfSystemd) continue;
    auto address = http::parse_listen_address(text, variable);
    if (auto* fault = std::get_if<http::ListenFault>(&address))
      return FunctionFault{from_file ? options.config + ": /listen: " + fault->message
                                     : "--listen: " + fault->message,
                           from_file ? kExitBadPolicy : kExitUsage};
    addresses.push_back(std::get<http::ListenAddress>(std::move(address)));
  }
  return addresses;
}

// The largest request of any function must fit into what there is for bodies, or it could never
// be received.
std::string bodies_fault(const ServiceConfig& config, const std::vector<Compiled>& compiled) {
  for (std::size_t i = 0; i < compiled.size(); ++i) {
    const auto most = compiled[i].plan->policy.limits.request_max.bytes;
    if (most > config.limits.bodies_max)
      return "function " + config.functions[i].name + " takes requests of " + std::to_string(most) +
             " bytes, and limits.body_bytes_max is only " +
             std::to_string(config.limits.bodies_max);
  }
  return {};
}

class Daemon {
 public:
  Daemon(const Options& options, ServiceConfig config, isolation::Host host,
         isolation::Launcher launcher, ServiceManager manager, LogForm form)
      : options_(options),
        config_(std::move(config)),
        host_(std::move(host)),
        launcher_(std::move(launcher)),
        manager_(std::move(manager)),
        log_(form, STDERR_FILENO),
        front_end_({.rie_compat = options.rie_compat, .allow_origins = config_.allow_origins}),
        server_(context_.get_executor(), config_.limits, front_end_),
        watchdog_(context_) {
    observers_.line = [this](const http::HandlerLine& line) { handler_says(line); };
    observers_.report = [this](std::string_view function,
                               const supervisor::InvocationReport& report) {
      call_ended(function, report);
    };
    observers_.event = [this](std::string_view function, const supervisor::PoolEvent& event) {
      metrics_.event(function, event);
      statistics_.event(function, event);
      say(LogLevel::kWarning, event.text, function);
    };
    front_end_.show("/metrics", [this] {
      return http::answer(http::Status::ok, http::kMetricsContentType, metrics_.expose(snapshot()));
    });
    front_end_.show("/status", [this] {
      return http::answer(http::Status::ok, "application/json",
                          http::status_json(snapshot(), statistics_));
    });
    front_end_.show("/", [] { return http::page_answer(); });
  }

  [[nodiscard]] int run();

 private:
  [[nodiscard]] int serve();
  void say(LogLevel level, std::string_view message, std::string_view function = {});
  void handler_says(const http::HandlerLine& line);
  void call_ended(std::string_view function, const supervisor::InvocationReport& report);

  std::variant<std::vector<Compiled>, FunctionFault> compile_functions(const ServiceConfig& config,
                                                                       Credentials& credentials);
  std::optional<FunctionFault> make_functions(const ServiceConfig& config);
  void still_starting();
  std::optional<FunctionFault> open_sockets();
  void listen();
  void reload();
  [[nodiscard]] std::string reload_fault(const ServiceConfig& fresh) const;
  void wait_for_signals();
  void begin_drain(int signal);
  void remove_files() const;
  asio::awaitable<void> drain(Deadline deadline);
  asio::awaitable<void> retire(Generation old, Deadline deadline);
  void keep_alive();
  [[nodiscard]] std::string status_text() const;
  [[nodiscard]] std::string drain_text() const;
  [[nodiscard]] http::Snapshot snapshot() const;

  const Options& options_;
  ServiceConfig config_;
  isolation::Host host_;
  isolation::Launcher launcher_;
  ServiceManager manager_;
  ServiceLog log_;
  http::Metrics metrics_;
  http::Statistics statistics_;
  std::optional<ReportFile> reports_;
  http::Observers observers_;
  asio::io_context context_{1};
  http::FrontEnd front_end_;
  http::Server server_;
  asio::signal_set signals_{context_, SIGINT, SIGTERM, SIGHUP};
  asio::steady_timer watchdog_;
  Generation serving_;
  std::uint64_t generation_ = 0;
  std::vector<isolation::UniqueFd> sockets_;  // Until the server has them.
  std::vector<std::string> socket_files_;     // To be removed at the end.
  int signal_ = 0;                            // That began the drain.
};

void Daemon::say(LogLevel level, std::string_view message, std::string_view function) {
  log_.write({.level = level, .message = message, .function = function});
}

void Daemon::handler_says(const http::HandlerLine& line) {
  if (options_.quiet) return;
  log_.write({.level = LogLevel::kInfo,
              .kind = LogKind::kHandlerLine,
              .message = line.line,
              .function = line.function,
              .request_id = line.request_id});
}

// Answers are for reports and metrics; what failed is told.
void Daemon::call_ended(std::string_view function, const supervisor::InvocationReport& report) {
  metrics_.count(function, report);
  statistics_.count(function, report);
  if (reports_) reports_->write(report);
  if (report.outcome == supervisor::Outcome::kOk) return;
  const std::string why = describe(report.outcome, report.evidence);
  log_.write({.level = LogLevel::kNotice,
              .kind = LogKind::kInvocation,
              .message = why,
              .function = function,
              .request_id = report.request_id,
              .invocation = report.sequence,
              .sandbox_pid = report.sandbox.pid,
              .outcome = name_of(report.outcome)});
}

// Each step may take its time, and whoever waits for us hears that we are at it.
void Daemon::still_starting() {
  manager_.alive();
  manager_.extend_timeout(kStartPatience);
}

std::variant<std::vector<Compiled>, FunctionFault> Daemon::compile_functions(
    const ServiceConfig& config, Credentials& credentials) {
  std::vector<Compiled> compiled;
  for (const auto& function : config.functions) {
    still_starting();
    auto one = compile_function(function, host_, credentials);
    if (auto* fault = std::get_if<FunctionFault>(&one)) return std::move(*fault);
    compiled.push_back(std::get<Compiled>(std::move(one)));
  }
  if (auto fault = bodies_fault(config, compiled); !fault.empty())
    return FunctionFault{std::move(fault), kExitBadPolicy};
  return compiled;
}

// All or nothing: a function that cannot be made leaves those that serve as they are.
std::optional<FunctionFault> Daemon::make_functions(const ServiceConfig& config) {
  Generation fresh{{}, std::make_shared<Credentials>(Credentials::Use::kServe)};
  auto all = compile_functions(config, *fresh.credentials);
  if (auto* fault = std::get_if<FunctionFault>(&all)) return in_file(options_, std::move(*fault));
  auto& compiled = std::get<std::vector<Compiled>>(all);
  if (!options_.quiet)
    for (std::size_t i = 0; i < compiled.size(); ++i)
      for (const auto& [layer, why] : compiled[i].plan->degraded)
        say(LogLevel::kWarning, "degraded: " + layer + ": " + why, config.functions[i].name);
  for (std::size_t i = 0; i < compiled.size(); ++i) {
    still_starting();
    auto one = make_function(config.functions[i], std::move(compiled[i]),
                             {.executor = context_.get_executor(),
                              .launcher = launcher_,
                              .observers = observers_,
                              .generation = generation_ + 1,
                              .rie_compat = options_.rie_compat});
    if (auto* fault = std::get_if<FunctionFault>(&one)) {
      asio::co_spawn(context_, retire(std::move(fresh), Deadline::min()), asio::detached);
      return in_file(options_, std::move(*fault));
    }
    fresh.functions.push_back(std::get<std::shared_ptr<http::Served>>(std::move(one)));
  }
  ++generation_;
  front_end_.serve(fresh.functions);
  std::swap(serving_, fresh);
  // Calls that the old ones have begun end by their own deadlines, events too.
  asio::co_spawn(context_, retire(std::move(fresh), Deadline::max()), asio::detached);
  return std::nullopt;
}

// Before any function starts: who cannot be reached need not begin.
std::optional<FunctionFault> Daemon::open_sockets() {
  const auto parsed = parse_addresses(options_, config_);
  if (const auto* fault = std::get_if<FunctionFault>(&parsed)) return *fault;
  std::vector<InheritedSocket> inherited = manager_.inherited_sockets();
  const bool wanted =
      std::find(config_.listen.begin(), config_.listen.end(), kOfSystemd) != config_.listen.end();
  const int code = options_.service.listen.empty() ? kExitBadPolicy : kExitUsage;
  if (wanted && inherited.empty())
    return FunctionFault{
        "to listen on 'systemd': no socket was passed; a .socket unit of the service's name does "
        "that, once it is started",
        code};
  if (!wanted && !inherited.empty())
    return FunctionFault{
        "a socket was passed by the service manager, and nobody listens on it; say \"listen\": "
        "[\"systemd\"] in the configuration, or --listen systemd, or stop the .socket unit",
        code};
  for (InheritedSocket& socket : inherited) sockets_.push_back(std::move(socket.fd));
  for (const http::ListenAddress& address : std::get<std::vector<http::ListenAddress>>(parsed)) {
    auto socket = http::listen_on(address);
    if (const auto* fault = std::get_if<http::ListenFault>(&socket))
      return FunctionFault{fault->message, kExitSetup};
    if (!address.path.empty()) socket_files_.push_back(address.path);
    sockets_.push_back(std::get<isolation::UniqueFd>(std::move(socket)));
  }
  return std::nullopt;
}

void Daemon::listen() {
  for (isolation::UniqueFd& socket : sockets_) {
    const std::string url = http::url_of(socket.get());
    const bool is_public = http::is_public(socket.get());
    server_.listen(std::move(socket));
    say(LogLevel::kInfo, "listening on " + url);
    if (is_public)
      say(LogLevel::kWarning, url +
                                  " can be reached from other machines, and whoever reaches it "
                                  "may call: there is no authentication here");
  }
  sockets_.clear();
}

// What a reload cannot change, because sockets and their clients are there already.
std::string Daemon::reload_fault(const ServiceConfig& fresh) const {
  if (fresh.listen != config_.listen) return "/listen has changed";
  if (fresh.limits != config_.limits) return "/limits has changed";
  if (fresh.allow_origins != config_.allow_origins) return "/allow_origins has changed";
  return {};
}

void Daemon::reload() {
  manager_.reloading();
  std::string after;
  const auto refuse = [&](const std::string& why) {
    say(LogLevel::kError, "reload refused, what served before goes on serving: " + why);
    after = "; a reload was refused, the log says why";
  };
  auto fresh = read_config(options_);
  if (const auto* fault = std::get_if<FunctionFault>(&fresh)) {
    refuse(fault->message);
  } else if (auto& config = std::get<ServiceConfig>(fresh); !reload_fault(config).empty()) {
    refuse(reload_fault(config) + "; that takes a restart");
  } else if (const auto broken = make_functions(config)) {
    refuse(broken->message);
  } else {
    config_ = std::move(config);
    say(LogLevel::kInfo, "reloaded: generation " + std::to_string(generation_));
  }
  manager_.ready(status_text() + after);
}

// The first SIGTERM or SIGINT drains, the second ends us, and the sandboxes with us: they hang on
// our lifeline.
void Daemon::wait_for_signals() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    wait_for_signals();
    if (signal == SIGHUP) {
      if (signal_ == 0) reload();
      return;
    }
    if (signal_ != 0) {
      remove_files();
      ::_exit(128 + signal);
    }
    begin_drain(signal);
  });
}

void Daemon::begin_drain(int signal) {
  signal_ = signal;
  const Deadline deadline =
      config_.drain_timeout.count() == 0 ? Deadline::max() : Clock::now() + config_.drain_timeout;
  asio::co_spawn(context_, drain(deadline), [this](const std::exception_ptr&) {
    watchdog_.cancel();
    signals_.cancel();
  });
}

asio::awaitable<void> Daemon::drain(Deadline deadline) {
  front_end_.drain();
  say(LogLevel::kInfo, drain_text() + "; no new call is taken, a second signal ends it");
  manager_.stopping(drain_text());
  keep_alive();
  co_await server_.drain(deadline);
  co_await retire(serving_, deadline);
  say(LogLevel::kInfo, "drained");
}

asio::awaitable<void> Daemon::retire(Generation old, Deadline deadline) {
  for (const auto& served : old.functions) {
    const std::size_t dropped = co_await served->events->finish(deadline);
    if (dropped != 0)
      say(LogLevel::kError, std::to_string(dropped) + " accepted events were dropped",
          served->function->name());
    co_await served->function->retire(deadline);
    const http::Function& gone = *served->function;
    metrics_.settle(status_of(gone));
    if (std::none_of(serving_.functions.begin(), serving_.functions.end(),
                     [&](const auto& other) { return other->function->name() == gone.name(); })) {
      metrics_.forget(gone.name());
      statistics_.forget(gone.name());
    }
  }
}

// Says so while the event loop comes round. A drain may take longer than TimeoutStopSec= allows:
// as long as the calls in flight have.
void Daemon::keep_alive() {
  if (!manager_.is_there()) return;
  manager_.alive();
  if (signal_ != 0) {
    manager_.extend_timeout(kBeatsApart);
    manager_.status(drain_text());
  }
  const std::chrono::microseconds beat = kBeat;
  watchdog_.expires_after(std::min(beat, manager_.watchdog_interval().value_or(beat)));
  watchdog_.async_wait([this](const boost::system::error_code& error) {
    if (!error) keep_alive();
  });
}

std::string Daemon::status_text() const {
  return "serving " + std::to_string(serving_.functions.size()) +
         (serving_.functions.size() == 1 ? " function" : " functions") + ", generation " +
         std::to_string(generation_);
}

std::string Daemon::drain_text() const {
  std::size_t calls = 0;
  std::size_t events = 0;
  for (const auto& served : serving_.functions) {
    calls += served->function->in_flight();
    events += served->events->waiting();
  }
  return "draining: " + std::to_string(calls) + (calls == 1 ? " call" : " calls") + " in flight, " +
         std::to_string(events) + (events == 1 ? " event" : " events") + " waiting";
}

// What would outlive us.
void Daemon::remove_files() const {
  for (const std::string& path : socket_files_) (void)::unlink(path.c_str());
  Credentials::remove_leftovers();
}

http::Snapshot Daemon::snapshot() const {
  http::Snapshot snapshot{.version = FNRUN_VERSION,
                          .draining = signal_ != 0,
                          .functions = {},
                          .http = server_.status()};
  for (const auto& served : serving_.functions)
    snapshot.functions.push_back(status_of(*served->function));
  return snapshot;
}

int Daemon::run() {
  Credentials::remove_leftovers();  // Of one that was killed.
  const int code = serve();
  remove_files();
  return code;
}

int Daemon::serve() {
  if (!options_.report_file.empty() && !reports_.emplace(options_.report_file).is_open()) {
    say(LogLevel::kError,
        "cannot write the report to " + options_.report_file + ": " + ::strerrordesc_np(errno));
    return kExitUsage;
  }
  auto fault = open_sockets();
  if (!fault) fault = make_functions(config_);
  if (fault) {
    say(LogLevel::kError, fault->message);
    return fault->exit_code;
  }
  listen();
  wait_for_signals();
  keep_alive();
  manager_.ready(status_text());
  context_.run();
  if (reports_ && reports_->lost() != 0)
    say(LogLevel::kError, std::to_string(reports_->lost()) + " reports could not be written to " +
                              options_.report_file);
  return 0;
}

// Everything that a start would refuse, but for what only a start can tell: whether the addresses
// are free, and whether the handlers come up.
std::optional<FunctionFault> check(const Options& options, const ServiceConfig& config,
                                   const isolation::Host& host) {
  const auto addresses = parse_addresses(options, config);
  if (const auto* fault = std::get_if<FunctionFault>(&addresses)) return *fault;
  Credentials credentials(Credentials::Use::kCheck);
  std::vector<Compiled> compiled;
  for (const auto& function : config.functions) {
    auto one = compile_function(function, host, credentials);
    if (auto* fault = std::get_if<FunctionFault>(&one)) return in_file(options, std::move(*fault));
    compiled.push_back(std::get<Compiled>(std::move(one)));
    const auto& plan = *compiled.back().plan;
    if (options.explain)
      std::cout << "function " << function.name << "\n\n" << plan.explain() << '\n';
    else
      std::cout << "function " << function.name << ", policy " << function.policy << " with "
                << plan.handler.path << ": ok\n";
    if (!options.explain && !options.quiet)
      for (const auto& [layer, why] : plan.degraded)
        std::cout << "  degraded: " << layer << ": " << why << '\n';
  }
  if (auto fault = bodies_fault(config, compiled); !fault.empty())
    return in_file(options, {std::move(fault), kExitBadPolicy});
  if (credentials.unchecked() != 0)
    std::cout << "credentials that were not looked for: " << credentials.unchecked()
              << "; only the service manager can tell "
                 "(CREDENTIALS_DIRECTORY is not set)\n";
  return std::nullopt;
}

}  // namespace

int run_daemon(const Options& options) {
  // Who reads our log may go, and others may come.
  std::signal(SIGPIPE, SIG_IGN);
  const bool check_only = options.check || options.explain;
  auto manager = ServiceManager::take_over();
  const char* const journal = variable("JOURNAL_STREAM");
  const LogForm form = check_only ? LogForm::kText
                                  : options.log_form.value_or(choose_log_form(
                                        STDERR_FILENO, journal != nullptr ? journal : ""));
  const auto fail = [form](const FunctionFault& fault) {
    ServiceLog(form, STDERR_FILENO).write({.level = LogLevel::kError, .message = fault.message});
    return fault.exit_code;
  };
  if (!manager) return fail({manager.error().message, kExitUsage});
  (void)supervisor::raise_descriptor_limit();
  auto config = read_config(options);
  if (const auto* fault = std::get_if<FunctionFault>(&config)) return fail(*fault);
  auto host = isolation::probe_host(options.uid_range);
  if (!host) return fail({host.error().to_string(), kExitSetup});
  if (options.uid_range && !host->privileged)
    return fail(
        {"--uid-range is for a privileged supervisor; this one's sandboxes run as your own uid",
         kExitUsage});
  if (check_only) {
    const auto fault = check(options, std::get<ServiceConfig>(config), *host);
    return fault ? fail(*fault) : 0;
  }
  auto launcher = isolation::Launcher::make(*host);
  if (!launcher) return fail({launcher.error().to_string(), kExitSetup});
  return Daemon(options, std::get<ServiceConfig>(std::move(config)), std::move(*host),
                std::move(*launcher), std::move(*manager), form)
      .run();
}

}  // namespace fnrun::tools
