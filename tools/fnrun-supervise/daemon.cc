#include "daemon.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <list>
#include <optional>
#include <utility>

#include "daemon_config.h"
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

// A Unix socket that we made; somebody else's may have taken its place.
struct SocketFile {
  std::string path;
  dev_t device{};
  ino_t inode{};
};

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
        watchdog_(context_),
        changed_(context_) {
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

  asio::awaitable<std::variant<std::vector<Compiled>, FunctionFault>> compile_functions(
      const ServiceConfig& config, Credentials& credentials);
  asio::awaitable<std::optional<FunctionFault>> make_functions(const ServiceConfig& config);
  std::optional<FunctionFault> make_first_functions();
  asio::awaitable<void> still_starting();
  std::optional<FunctionFault> open_sockets();
  void listen();
  void look_at_descriptors();
  void want_reload();
  asio::awaitable<void> reload();
  [[nodiscard]] std::string reload_fault(const ServiceConfig& fresh) const;
  void wait_for_signals();
  void begin_drain(int signal);
  void remove_files() const;
  asio::awaitable<void> drain(Deadline deadline);
  void begin_retiring(Generation old);
  asio::awaitable<void> retire(const Generation& old);
  static void hurry(const Generation& generation, Deadline end);
  void forget_if_gone(const http::Function& gone);
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
  std::list<Generation> retiring_;  // Of earlier reloads, until their last call has ended.
  asio::steady_timer changed_;      // Its wait ends when one of those has, or a reload.
  bool reloading_ = false;
  bool reload_wanted_ = false;  // Once more: a signal came during one.
  std::uint64_t generation_ = 0;
  std::vector<isolation::UniqueFd> sockets_;  // Until the server has them.
  std::vector<SocketFile> socket_files_;      // To be removed at the end.
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

// Each step may take its time: whoever waits for us hears that we are at it, and calls in flight
// have their turn.
asio::awaitable<void> Daemon::still_starting() {
  manager_.alive();
  manager_.extend_timeout(kStartPatience);
  co_await asio::post(context_, asio::use_awaitable);
}

asio::awaitable<std::variant<std::vector<Compiled>, FunctionFault>> Daemon::compile_functions(
    const ServiceConfig& config, Credentials& credentials) {
  std::vector<Compiled> compiled;
  for (const auto& function : config.functions) {
    co_await still_starting();
    auto one = compile_function(function, host_, credentials);
    if (auto* fault = std::get_if<FunctionFault>(&one)) co_return std::move(*fault);
    compiled.push_back(std::get<Compiled>(std::move(one)));
  }
  if (auto fault = bodies_fault(config, compiled); !fault.empty())
    co_return FunctionFault{std::move(fault), kExitBadPolicy};
  co_return compiled;
}

// All or nothing: a function that cannot be made leaves those that serve as they are.
asio::awaitable<std::optional<FunctionFault>> Daemon::make_functions(const ServiceConfig& config) {
  Generation fresh{{}, std::make_shared<Credentials>(Credentials::Use::kServe)};
  auto compiling = compile_functions(config, *fresh.credentials);
  auto all = co_await std::move(compiling);
  if (auto* fault = std::get_if<FunctionFault>(&all))
    co_return in_file(options_, std::move(*fault));
  auto& compiled = std::get<std::vector<Compiled>>(all);
  if (!options_.quiet)
    for (std::size_t i = 0; i < compiled.size(); ++i)
      for (const auto& [layer, why] : compiled[i].plan->degraded)
        say(LogLevel::kWarning, "degraded: " + layer + ": " + why, config.functions[i].name);
  std::optional<FunctionFault> broken;
  for (std::size_t i = 0; i < compiled.size() && !broken; ++i) {
    co_await still_starting();
    auto one = make_function(config.functions[i], std::move(compiled[i]),
                             {.executor = context_.get_executor(),
                              .launcher = launcher_,
                              .observers = observers_,
                              .generation = generation_ + 1,
                              .rie_compat = options_.rie_compat});
    if (auto* fault = std::get_if<FunctionFault>(&one))
      broken = in_file(options_, std::move(*fault));
    else
      fresh.functions.push_back(std::get<std::shared_ptr<http::Served>>(std::move(one)));
  }
  if (!broken && signal_ != 0) broken = FunctionFault{"the service is stopping", kExitSetup};
  if (broken) {
    hurry(fresh, Deadline::min());
    begin_retiring(std::move(fresh));
    co_return broken;
  }
  ++generation_;
  front_end_.serve(fresh.functions);
  std::swap(serving_, fresh);
  // Calls that the old ones have begun end by their own deadlines, events too.
  begin_retiring(std::move(fresh));
  co_return std::nullopt;
}

std::optional<FunctionFault> Daemon::make_first_functions() {
  std::optional<std::optional<FunctionFault>> made;
  asio::co_spawn(context_, make_functions(config_),
                 [&](const std::exception_ptr& failure, std::optional<FunctionFault> fault) {
                   if (failure) fault = FunctionFault{"out of memory", kExitSetup};
                   made = std::move(fault);
                 });
  while (!made) context_.run_one();
  return std::move(*made);
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
    struct stat info {};
    if (!address.path.empty() && ::lstat(address.path.c_str(), &info) == 0)
      socket_files_.push_back({address.path, info.st_dev, info.st_ino});
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

// Connections must not take the descriptors that sandboxes need.
void Daemon::look_at_descriptors() {
  std::size_t need = config_.limits.connections_max;
  for (const auto& served : serving_.functions) {
    const supervisor::ServiceOptions& options = served->function->options();
    need += supervisor::kDescriptorsPerSandbox * (options.admission.places + options.ready);
  }
  ::rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need) return;
  say(LogLevel::kWarning, "connections and sandboxes together may need " + std::to_string(need) +
                              " descriptors, and only " + std::to_string(limit.rlim_cur) +
                              " may be open: when they run out, sandboxes fail to start; raise "
                              "`ulimit -n` (LimitNOFILE=), or lower limits.connections_max");
}

// What a reload cannot change, because sockets and their clients are there already.
std::string Daemon::reload_fault(const ServiceConfig& fresh) const {
  if (fresh.listen != config_.listen) return "/listen has changed";
  if (fresh.limits != config_.limits) return "/limits has changed";
  if (fresh.allow_origins != config_.allow_origins) return "/allow_origins has changed";
  return {};
}

// One at a time: what is asked for meanwhile is one more.
void Daemon::want_reload() {
  if (signal_ != 0) return;
  reload_wanted_ = true;
  if (reloading_) return;
  reloading_ = true;
  asio::co_spawn(context_, reload(), [this](const std::exception_ptr& failure) {
    if (failure) say(LogLevel::kError, "reload refused: out of memory");
    reloading_ = false;
    changed_.cancel();
  });
}

asio::awaitable<void> Daemon::reload() {
  while (std::exchange(reload_wanted_, false) && signal_ == 0) {
    manager_.reloading();
    std::string refused;
    auto fresh = read_config(options_);
    auto* const config = std::get_if<ServiceConfig>(&fresh);
    if (config == nullptr) {
      refused = std::get<FunctionFault>(fresh).message;
    } else if (refused = reload_fault(*config); !refused.empty()) {
      refused += "; that takes a restart";
    } else {
      auto making = make_functions(*config);
      const auto broken = co_await std::move(making);
      if (broken) refused = broken->message;
    }
    if (refused.empty()) {
      config_ = std::move(*config);
      say(LogLevel::kInfo, "reloaded: generation " + std::to_string(generation_));
    } else {
      say(LogLevel::kError, "reload refused, what served before goes on serving: " + refused);
    }
    const std::string after = refused.empty() ? "" : "; a reload was refused, the log says why";
    if (signal_ == 0) manager_.ready(status_text() + after);
  }
}

// The first SIGTERM or SIGINT drains, the second ends us, and the sandboxes with us: they hang on
// our lifeline.
void Daemon::wait_for_signals() {
  signals_.async_wait([this](const boost::system::error_code& error, int signal) {
    if (error) return;
    wait_for_signals();
    if (signal == SIGHUP) return want_reload();
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
  begin_retiring(serving_);
  // Also what earlier reloads have left, and what one has made that came too late.
  while (reloading_ || !retiring_.empty()) {
    for (const Generation& generation : retiring_) hurry(generation, deadline);
    changed_.expires_at(Deadline::max());
    co_await changed_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  say(LogLevel::kInfo, "drained");
}

void Daemon::hurry(const Generation& generation, Deadline end) {
  for (const auto& served : generation.functions) {
    served->events->hurry(end);
    served->function->hurry(end);
  }
}

void Daemon::begin_retiring(Generation old) {
  const auto at = retiring_.insert(retiring_.end(), std::move(old));
  asio::co_spawn(context_, retire(*at), [this, at](const std::exception_ptr&) {
    retiring_.erase(at);
    changed_.cancel();
  });
}

// First what is still on its way to it, which may be one more event; then those.
asio::awaitable<void> Daemon::retire(const Generation& old) {
  for (const auto& served : old.functions) {
    co_await served->function->released();
    const std::size_t dropped = co_await served->events->finish();
    if (dropped != 0)
      say(LogLevel::kError, std::to_string(dropped) + " accepted events were dropped",
          served->function->name());
    co_await served->function->retire();
    metrics_.settle(status_of(*served->function));
    forget_if_gone(*served->function);
  }
}

void Daemon::forget_if_gone(const http::Function& gone) {
  const auto& now = serving_.functions;
  if (std::any_of(now.begin(), now.end(),
                  [&](const auto& other) { return other->function->name() == gone.name(); }))
    return;
  metrics_.forget(gone.name());
  statistics_.forget(gone.name());
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
  const auto count = [&](const Generation& generation) {
    for (const auto& served : generation.functions) {
      calls += served->function->in_flight();
      events += served->events->waiting();
    }
  };
  if (retiring_.empty() || retiring_.back().functions != serving_.functions) count(serving_);
  for (const Generation& generation : retiring_) count(generation);
  return "draining: " + std::to_string(calls) + (calls == 1 ? " call" : " calls") + " in flight, " +
         std::to_string(events) + (events == 1 ? " event" : " events") + " waiting";
}

// What would outlive us.
void Daemon::remove_files() const {
  for (const SocketFile& file : socket_files_) {
    struct stat info {};
    if (::lstat(file.path.c_str(), &info) == 0 && info.st_dev == file.device &&
        info.st_ino == file.inode)
      (void)::unlink(file.path.c_str());
  }
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
  if (!fault) fault = make_first_functions();
  if (fault) {
    say(LogLevel::kError, fault->message);
    return fault->exit_code;
  }
  listen();
  look_at_descriptors();
  wait_for_signals();
  keep_alive();
  manager_.ready(status_text());
  context_.run();
  if (reports_ && reports_->lost() != 0)
    say(LogLevel::kError, std::to_string(reports_->lost()) + " reports could not be written to " +
                              options_.report_file);
  return 0;
}

}  // namespace

int run_daemon(const Options& options) {
  // Who reads our log may go, and others may come.
  std::signal(SIGPIPE, SIG_IGN);
  const bool check_only = options.check || options.explain;
  auto manager = ServiceManager::take_over();
  const char* const journal = std::getenv("JOURNAL_STREAM");  // NOLINT(concurrency-mt-unsafe)
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
    const auto fault = check_config(options, std::get<ServiceConfig>(config), *host);
    return fault ? fail(*fault) : 0;
  }
  auto launcher = isolation::Launcher::make(*host);
  if (!launcher) return fail({launcher.error().to_string(), kExitSetup});
  return Daemon(options, std::get<ServiceConfig>(std::move(config)), std::move(*host),
                std::move(*launcher), std::move(*manager), form)
      .run();
}

}  // namespace fnrun::tools
