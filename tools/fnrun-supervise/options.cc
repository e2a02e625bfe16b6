#include "options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>

#include "policies/policy_check.h"
#include "supervisor/duration_text.h"
#include "supervisor/service_check.h"

namespace fnrun::tools {
namespace {

constexpr const char* kDescription =
    "Runs an untrusted handler in a Linux sandbox: one hard deadline for each invocation.\n"
    "The event comes from stdin, the handler's answer goes to stdout, words for people to stderr.";

constexpr const char* kFooter =
    "Examples:\n"
    "  printf world | fnrun-supervise --policy strict -- ./greeter\n"
    "  echo '{\"a\":1}' | fnrun-supervise --protocol exec -- jq .a\n"
    "  seq 3 | fnrun-supervise --lines --protocol lines -- ./greeter.sh\n"
    "  fnrun-supervise --explain -- ./greeter\n"
    "  fnrun-supervise --listen 127.0.0.1:8080 -- ./greeter\n"
    "\n"
    "Exit codes: 0 the handler answered, whatever its status (one event with --protocol exec: the\n"
    "handler's own exit code); 2 usage; 65 event too large, or none for this handler; 70 crashed;\n"
    "74 output failed; 76 not the protocol; 78 bad policy; 124 timed out; 125 no sandbox could be\n"
    "made; 126 handler not executable; 127 handler not found; 137 it reached its limit of memory,\n"
    "processes or CPU time; 128+n killed by signal n (159: a forbidden system call), or stopped "
    "by\n"
    "it.";

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::chrono::milliseconds parse_time(const std::string& option, const std::string& text) {
  if (const auto time = supervisor::parse_duration(text)) return *time;
  throw CLI::ValidationError(option,
                             "'" + text + "' is no time; write 250ms, 2s, 1m or 1h, at most a day");
}

std::string checked(const std::string& option, std::string text,
                    std::string (*fault_of)(std::string_view)) {
  if (const std::string fault = fault_of(text); !fault.empty())
    throw CLI::ValidationError(option, "'" + text + "': " + fault);
  return text;
}

// The rules are those of a policy file's paths and variables.
policies::ReadOnlyPath parse_bind(const std::string& text) {
  const auto colon = text.find(':');
  const std::string source = text.substr(0, colon);
  std::error_code error;
  const auto real = std::filesystem::canonical(source, error);
  if (error) throw CLI::ValidationError("--bind", "'" + source + "': " + error.message());
  policies::ReadOnlyPath path;
  path.source = real.string();
  path.target = colon == std::string::npos
                    ? std::filesystem::absolute(source).lexically_normal().string()
                    : text.substr(colon + 1);
  if (path.target.size() > 1 && path.target.ends_with('/')) path.target.pop_back();
  if (const auto fault = policies::source_fault(path.source); !fault.empty())
    throw CLI::ValidationError("--bind", "the path on the host, " + path.source + ", " + fault);
  if (const auto fault = policies::target_fault(path.target); !fault.empty())
    throw CLI::ValidationError("--bind", "the path inside, " + path.target + ", " + fault +
                                             "; SRC:DST gives it another place");
  path.why = "--bind on the command line";
  return path;
}

protocol::EnvVar parse_variable(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos)
    throw CLI::ValidationError("--env", "'" + text + "' is not NAME=VALUE");
  protocol::EnvVar variable{text.substr(0, equals), text.substr(equals + 1)};
  if (const auto fault = policies::variable_name_fault(variable.name); !fault.empty())
    throw CLI::ValidationError("--env", "'" + variable.name + "': " + fault);
  if (variable.value.size() > policies::kVariableMax)
    throw CLI::ValidationError("--env", variable.name + " is longer than " +
                                            std::to_string(policies::kVariableMax) + " bytes");
  return variable;
}

isolation::UidRange parse_uid_range(const std::string& text) {
  const auto colon = text.find(':');
  const auto first = number<std::uint32_t>(std::string_view(text).substr(0, colon));
  const auto count = colon == std::string::npos
                         ? std::nullopt
                         : number<std::uint32_t>(std::string_view(text).substr(colon + 1));
  // A uid below 1000 is somebody: root, a daemon. 2^31 and above confuses tools that use signed
  // ids.
  if (!first || !count || *first < 1000 || *count == 0 ||
      std::uint64_t{*first} + *count > (1ULL << 31))
    throw CLI::ValidationError("--uid-range",
                               "'" + text + "' is not FIRST:COUNT with uids from 1000 to 2^31 - 1");
  return {*first, *count};
}

void declare(CLI::App& app, Options& options) {
  app.add_option(
         "--policy", options.function.policy,
         "PATH of a policy file, or the NAME of one: strict, paranoid, compat; for languages "
         "native, go, python, node, jvm")
      ->type_name("PATH|NAME")
      ->capture_default_str();
  app.add_flag_callback(
      "--lines", [&] { options.mode = Mode::kLines; },
      "each input line is an event, each result a line; one sandbox serves them all");
  app.add_flag_callback(
      "--frames", [&] { options.mode = Mode::kFrames; },
      "speak the fnrun protocol on stdin and stdout; ends with the first failed call");
  const std::map<std::string, supervisor::HandlerProtocol> protocols{
      {"fnrun", supervisor::HandlerProtocol::kFnrun},
      {"lines", supervisor::HandlerProtocol::kLines},
      {"exec", supervisor::HandlerProtocol::kExec}};
  app.add_option_function<std::string>(
         "--protocol",
         [&options, protocols](const std::string& name) {
           options.function.protocol = protocols.at(name);
         },
         "how the handler is spoken to: fnrun (default): the fnrun protocol; lines: a line in, a "
         "line out; "
         "exec: a new process for each event, data on stdin, answer on stdout")
      ->check(CLI::IsMember({"fnrun", "lines", "exec"}).description(""))
      ->type_name("fnrun|lines|exec");
  app.add_option_function<std::string>(
         "--on-error", [&](const std::string& what) { options.answer_errors = what == "result"; },
         "after a failed call: exit (default), or answer with a result that says so and go on")
      ->check(CLI::IsMember({"exit", "result"}).description(""))
      ->type_name("exit|result");
  app.add_option_function<std::string>(
         "--timeout",
         [&](const std::string& text) { options.function.timeout = parse_time("--timeout", text); },
         "the deadline of each invocation, instead of the policy's: 250ms, 2s, 1m")
      ->type_name("TIME");
  app.add_option_function<std::vector<std::string>>(
         "--bind",
         [&](const std::vector<std::string>& all) {
           for (const auto& text : all) options.function.binds.push_back(parse_bind(text));
         },
         "show a file or folder of the host to the handler, read-only")
      ->type_name("SRC[:DST]")
      ->expected(1)
      ->take_all();
  app.add_option_function<std::vector<std::string>>(
         "--env",
         [&](const std::vector<std::string>& all) {
           for (const auto& text : all) options.function.env.push_back(parse_variable(text));
         },
         "a variable for the handler: in its environment, and in each ExecutionContext")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->take_all();
  app.add_option("--report", options.report_file,
                 "write one JSON object for each invocation to FILE")
      ->type_name("FILE");
  app.add_option_function<std::string>(
         "--uid-range", [&](const std::string& text) { options.uid_range = parse_uid_range(text); },
         "host uids for sandboxes, one each (for a privileged supervisor)")
      ->type_name("FIRST:COUNT");
  app.add_flag("--explain", options.explain, "print the compiled plan in words, run nothing");
  app.add_flag("--check", options.check, "check policy, handler and host, run nothing");
  app.add_flag("--probe", options.probe,
               "run fnrun-probe under the policy: exit 0 only if every promise of it holds here");
  app.add_option("--import-seccomp", options.import_seccomp,
                 "print the policy with the system calls of FILE, a seccomp profile of Docker, "
                 "Podman or OCI, and how it differs from strict; run nothing")
      ->type_name("FILE");
  app.add_flag("--export-seccomp", options.export_seccomp,
               "print the policy's system calls as a seccomp profile of OCI; run nothing");
  app.add_flag("--quiet", options.quiet, "no handler's stderr, no word of degraded layers");
  app.set_version_flag("--version", std::string("fnrun-supervise ") + FNRUN_VERSION);
}

// Of the service alone.
constexpr std::array kServiceOptions{
    "--name",   "--concurrency",  "--queue",      "--max-wait",      "--per-client", "--ready",
    "--events", "--allow-origin", "--rie-compat", "--drain-timeout", "--credential", "--log"};
// Of a function, which a config file describes.
constexpr std::array kFunctionOptions{
    "--policy", "--protocol",   "--timeout",     "--bind",         "--env",
    "--name",   "--queue",      "--concurrency", "--ready",        "--max-wait",
    "--events", "--per-client", "--credential",  "--drain-timeout"};

void declare_service(CLI::App& app, Options& options) {
  supervisor::FunctionConfig& function = options.function;
  function.name = "function";
  const char* const group = "As a service";
  app.add_option("--listen", options.service.listen,
                 "serve HTTP there until SIGTERM: 8080, 127.0.0.1:8080, :8080 (all addresses), "
                 "':$PORT', unix:/PATH, systemd (the sockets it passes)")
      ->type_name("ADDRESS")
      ->expected(1)
      ->take_all()
      ->group(group);
  app.add_option("--config", options.config, "serve the functions that this file describes")
      ->type_name("FILE")
      ->group(group);
  app.add_option_function<std::string>(
         "--name",
         [&](const std::string& name) {
           function.name = checked("--name", name, supervisor::function_name_fault);
         },
         "what the function is called (default: function)")
      ->type_name("NAME")
      ->group(group);
  app.add_option("--concurrency", function.concurrency,
                 "calls at a time (default: one for each CPU)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{10'000}))
      ->type_name("N")
      ->group(group);
  app.add_option("--queue", function.queue, "calls that may wait beyond them")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1'000'000}))
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  app.add_option_function<std::string>(
         "--max-wait",
         [&](const std::string& text) { function.max_wait = parse_time("--max-wait", text); },
         "how long a call may wait (default: until its deadline)")
      ->type_name("TIME")
      ->group(group);
  app.add_option("--per-client", function.per_client,
                 "calls and waiting ones of one client (default: no bound)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}))
      ->type_name("N")
      ->group(group);
  app.add_option("--ready", function.ready,
                 "sandboxes started ahead of need (default: as many as --concurrency)")
      ->check(CLI::Range(std::size_t{0}, std::size_t{10'000}))
      ->type_name("N")
      ->group(group);
  app.add_option("--events", function.events,
                 "accepted events (Lambda's InvocationType Event) that may wait")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1'000'000}))
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  app.add_option_function<std::vector<std::string>>(
         "--credential",
         [&](const std::vector<std::string>& all) {
           for (const auto& name : all)
             function.credentials.push_back(
                 checked("--credential", name, supervisor::credential_name_fault));
         },
         "a credential of the service manager, by name: /run/credentials/NAME for the handler")
      ->type_name("NAME")
      ->expected(1)
      ->take_all()
      ->group(group);
  app.add_option_function<std::vector<std::string>>(
         "--allow-origin",
         [&](const std::vector<std::string>& all) {
           for (const auto& origin : all)
             options.service.allow_origins.push_back(
                 checked("--allow-origin", origin, supervisor::origin_fault));
         },
         "pages of this site may call: https://example.com")
      ->type_name("ORIGIN")
      ->expected(1)
      ->take_all()
      ->group(group);
  app.add_flag("--rie-compat", options.rie_compat,
               "answer Lambda's Invoke API as AWS's own emulator does")
      ->group(group);
  app.add_option_function<std::string>(
         "--drain-timeout",
         [&](const std::string& text) {
           options.service.drain_timeout = parse_time("--drain-timeout", text);
         },
         "the longest that SIGTERM waits for calls in flight (default: their deadlines)")
      ->type_name("TIME")
      ->group(group);
  const std::map<std::string, std::optional<LogForm>> forms{{"auto", std::nullopt},
                                                            {"text", LogForm::kText},
                                                            {"json", LogForm::kJson},
                                                            {"journal", LogForm::kJournal}};
  app.add_option_function<std::string>(
         "--log", [&options, forms](const std::string& form) { options.log_form = forms.at(form); },
         "how the service logs; auto (default): to journald where stderr leads there, as text on "
         "a terminal, as JSON lines otherwise")
      ->check(CLI::IsMember({"auto", "text", "json", "journal"}).description(""))
      ->type_name("auto|text|json|journal")
      ->group(group);
}

// CLI11 does not know that a handler follows "--".
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: fnrun-supervise [OPTIONS] -- HANDLER [ARGUMENTS...]\n";
  }
};

// What the options of a service say against each other; "": nothing.
std::string contradiction_of_service(const CLI::App& app, Options& options) {
  options.is_service = app.count("--listen") != 0 || app.count("--config") != 0;
  if (!options.is_service) {
    for (const char* of_service : kServiceOptions)
      if (app.count(of_service) != 0)
        return std::string(of_service) + " is for a service: --listen or --config makes one";
    return {};
  }
  for (const char* of_stream :
       {"--lines", "--frames", "--on-error", "--probe", "--import-seccomp", "--export-seccomp"})
    if (app.count(of_stream) != 0)
      return std::string(of_stream) + " is not for a service, which --listen and --config make";
  if (options.function.protocol == supervisor::HandlerProtocol::kExec &&
      options.function.ready.value_or(0) != 0)
    return "--ready is for handlers that serve many calls; with --protocol exec each call starts "
           "its own";
  if (options.rie_compat && app.count("--events") != 0)
    return "--events is for Lambda's own answers; its emulator (--rie-compat) knows no events";
  if (options.config.empty())
    return options.function.handler.empty() ? "no handler is given; it goes behind --" : "";
  for (const char* of_function : kFunctionOptions)
    if (app.count(of_function) != 0)
      return std::string(of_function) + " belongs into the file that --config names";
  return options.function.handler.empty() ? ""
                                          : "the handlers stand in the file that --config names";
}

// What the options say against each other; "": nothing.
std::string contradiction(const CLI::App& app, Options& options) {
  if (auto mistake = contradiction_of_service(app, options); !mistake.empty() || options.is_service)
    return mistake;
  if (app.count("--lines") != 0 && app.count("--frames") != 0)
    return "--lines and --frames exclude each other";
  if (options.probe && (!options.function.handler.empty() || options.check ||
                        options.mode != Mode::kSingle || app.count("--protocol") != 0))
    return "--probe runs a handler of its own, once";
  const bool exchange = !options.import_seccomp.empty() || options.export_seccomp;
  if (exchange && (!options.function.handler.empty() || options.probe ||
                   (options.export_seccomp && !options.import_seccomp.empty())))
    return "--import-seccomp and --export-seccomp stand alone: they run nothing";
  for (const char* of_a_run : {"--lines", "--frames", "--protocol", "--on-error", "--report",
                               "--explain", "--check", "--uid-range"})
    if (exchange && app.count(of_a_run) != 0)
      return std::string(of_a_run) +
             " is for running; --import-seccomp and --export-seccomp run nothing";
  if (options.function.handler.empty() && !options.check && !options.probe && !exchange)
    return "no handler is given; it goes behind --";
  if (options.answer_errors && options.mode == Mode::kSingle)
    return "--on-error result is for --lines and --frames";
  return {};
}

int usage_error(const std::string& message) {
  std::cerr << "fnrun-supervise: " << message << "\nTry 'fnrun-supervise --help'.\n";
  return kExitUsage;
}

}  // namespace

std::variant<Options, int> parse_command_line(int argc, char** argv) {
  Options options;
  // Everything behind the first "--" is the handler's, whatever it looks like.
  char** const end = argv + argc;
  char** const separator = std::find_if(
      argv + std::min(argc, 1), end, [](const char* word) { return std::strcmp(word, "--") == 0; });
  if (separator != end) options.function.handler.assign(separator + 1, end);

  CLI::App app(kDescription, "fnrun-supervise");
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(kFooter);
  declare(app, options);
  declare_service(app, options);
  try {
    app.parse(static_cast<int>(separator - argv), argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (const std::string mistake = contradiction(app, options); !mistake.empty())
    return usage_error(mistake);
  return options;
}

}  // namespace fnrun::tools
