#include "options.h"

#include <CLI/CLI.hpp>
#include <iostream>

namespace fnrun::doctor {
namespace {

constexpr const char* kDescription =
    "Tries, one by one, what sandboxes need of this host, and says if a policy can be held here.\n"
    "Run it as the user, and in the unit or container, that fnrun-supervise is to run in.";

constexpr const char* kFooter =
    "Examples:\n"
    "  fnrun-doctor                        the table, and whether the policy strict can be held\n"
    "  fnrun-doctor --policy ./mine.json   the same for a policy of your own\n"
    "  fnrun-doctor --json | jq '.rows[] | select(.verdict != \"works\") | .id'\n"
    "  systemd-run --scope -p Delegate=yes fnrun-doctor    with a cgroup of its own\n"
    "\n"
    "Verdicts: works: it was tried; missing: why, and how to enable it; untested: why not.\n"
    "Exit codes: 0 this host can hold the policy; 2 usage; 78 bad policy; 125 it cannot;\n"
    "128+n stopped by signal n.";

}  // namespace

std::variant<Options, int> parse_command_line(int argc, char** argv) {
  Options options;
  CLI::App app(kDescription, "fnrun-doctor");
  app.footer(kFooter);
  app.add_option(
         "--policy", options.policy,
         "PATH of a policy file, or the NAME of one: strict, paranoid, compat; for languages "
         "native, go, python, node, jvm")
      ->type_name("PATH|NAME")
      ->capture_default_str();
  app.add_flag("--json", options.json, "one JSON object instead of the table");
  app.set_version_flag("--version", std::string("fnrun-doctor ") + FNRUN_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::cerr << "fnrun-doctor: " << error.what() << "\nTry 'fnrun-doctor --help'.\n";
    return kExitUsage;
  }
  return options;
}

}  // namespace fnrun::doctor
