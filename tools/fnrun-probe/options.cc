#include "options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "probe_table.h"

namespace fnrun::probe {
namespace {

constexpr const char* kDescription =
    "Tries to get out of the sandbox it runs in, and to take what it was not given: one harmless\n"
    "attempt after the other, each in a process of its own. In any sandbox, and without one.";

constexpr const char* kFooter =
    "Examples:\n"
    "  fnrun-supervise --policy strict --probe     in fnrun's sandbox, judged by what strict "
    "promises\n"
    "  fnrun-probe --expect bare                   the positive control: without a sandbox\n"
    "  bwrap --unshare-all --ro-bind / / fnrun-probe --expect strict    another tool's\n"
    "  fnrun-probe --only K05,N01 --json\n"
    "\n"
    "Results: blocked(errno or signal, layer if known); invisible; limited(value); open;\n"
    "inconclusive; skipped. Exit codes: 0 every expectation held (or none was given); 1 not; 2 "
    "usage.";

bool is_family(const std::string& name) {
  return std::any_of(probe_table().begin(), probe_table().end(),
                     [&](const Family& family) { return family.name == name; });
}

bool is_id(const std::string& id) {
  return std::any_of(probe_table().begin(), probe_table().end(), [&](const Family& family) {
    return std::any_of(family.probes.begin(), family.probes.end(),
                       [&](const Probe& probe) { return probe.id == id; });
  });
}

std::string known_families() {
  std::string text;
  for (const Family& family : probe_table())
    text += (text.empty() ? "" : ", ") + std::string(family.name);
  return text;
}

void declare(CLI::App& app, Options& options) {
  app.add_flag("--json", options.json, "one JSON object on one line instead of the table");
  app.add_flag("--list", options.list, "the probes and what each policy promises; run nothing");
  app.add_option_function<std::string>(
         "--expect", [&](const std::string& name) { options.expected = policy_named(name); },
         "judge by what this policy promises; bare: no sandbox, at least 70 % must be open")
      ->check([](const std::string& name) {
        return policy_named(name) ? std::string() : "nothing is known of '" + name + "'";
      })
      ->type_name("paranoid|strict|compat|native|go|python|node|bare");
  app.add_option("--only", options.only, "these probes only")
      ->delimiter(',')
      ->type_name("ID,...")
      ->check([](const std::string& id) {
        return is_id(id) ? std::string() : "there is no probe '" + id + "'; --list tells them";
      });
  app.add_option("--family", options.family, "the probes of this family only")
      ->type_name("NAME")
      ->check([](const std::string& name) {
        return is_family(name) ? std::string()
                               : "there is no family '" + name + "'; there are " + known_families();
      });
  app.add_option(
         "--namespaces-outside", options.namespaces_outside,
         "inode numbers of namespaces (/proc/self/ns) that the sandbox must not be in, beside "
         "those that the host booted with; fnrun-supervise --probe gives its own")
      ->delimiter(',')
      ->type_name("N,...");
  app.set_version_flag("--version", std::string("fnrun-probe ") + FNRUN_VERSION);
}

}  // namespace

std::variant<Options, int> parse_command_line(int argc, char** argv) {
  Options options;
  CLI::App app(kDescription, "fnrun-probe");
  app.footer(kFooter);
  declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::cerr << "fnrun-probe: " << error.what() << "\nTry 'fnrun-probe --help'.\n";
    return kExitUsage;
  }
  return options;
}

}  // namespace fnrun::probe
