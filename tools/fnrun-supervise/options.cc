#include "options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>

#include "policies/policy_check.h"
#include "supervisor/duration_text.h"

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

std::chrono::milliseconds parse_timeout(const std::string& text) {
  if (const auto time = supervisor::parse_duration(text)) return *time;
  throw CLI::ValidationError("--timeout",
                             "'" + text + "' is no time; write 250ms, 2s, 1m or 1h, at most a day");
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
         "--policy", options.policy,
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
         [&options, protocols](const std::string& name) { options.protocol = protocols.at(name); },
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
         "--timeout", [&](const std::string& text) { options.timeout = parse_timeout(text); },
         "the deadline of each invocation, instead of the policy's: 250ms, 2s, 1m")
      ->type_name("TIME");
  app.add_option_function<std::vector<std::string>>(
         "--bind",
         [&](const std::vector<std::string>& all) {
           for (const auto& text : all) options.binds.push_back(parse_bind(text));
         },
         "show a file or folder of the host to the handler, read-only")
      ->type_name("SRC[:DST]")
      ->expected(1)
      ->take_all();
  app.add_option_function<std::vector<std::string>>(
         "--env",
         [&](const std::vector<std::string>& all) {
           for (const auto& text : all) options.env.push_back(parse_variable(text));
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

// CLI11 does not know that a handler follows "--".
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override {
    return "Usage: fnrun-supervise [OPTIONS] -- HANDLER [ARGUMENTS...]\n";
  }
};

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
  if (separator != end) options.handler.assign(separator + 1, end);

  CLI::App app(kDescription, "fnrun-supervise");
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(kFooter);
  declare(app, options);
  try {
    app.parse(static_cast<int>(separator - argv), argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (app.count("--lines") != 0 && app.count("--frames") != 0)
    return usage_error("--lines and --frames exclude each other");
  if (options.probe && (!options.handler.empty() || options.check ||
                        options.mode != Mode::kSingle || app.count("--protocol") != 0))
    return usage_error("--probe runs a handler of its own, once");
  const bool exchange = !options.import_seccomp.empty() || options.export_seccomp;
  if (exchange && (!options.handler.empty() || options.probe ||
                   (options.export_seccomp && !options.import_seccomp.empty())))
    return usage_error("--import-seccomp and --export-seccomp stand alone: they run nothing");
  for (const char* of_a_run : {"--lines", "--frames", "--protocol", "--on-error", "--report",
                               "--explain", "--check", "--uid-range"})
    if (exchange && app.count(of_a_run) != 0)
      return usage_error(std::string(of_a_run) +
                         " is for running; --import-seccomp and --export-seccomp run nothing");
  if (options.handler.empty() && !options.check && !options.probe && !exchange)
    return usage_error("no handler is given; it goes behind --");
  if (options.answer_errors && options.mode == Mode::kSingle)
    return usage_error("--on-error result is for --lines and --frames");
  return options;
}

}  // namespace fnrun::tools
