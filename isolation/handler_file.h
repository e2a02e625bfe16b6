// The handler's executable: found, checked, and with what it needs in order to start.
//
// Everything that would make execve(2) fail later with an errno that explains little is looked at
// here, before anything is launched: a name that is nowhere, a missing x bit, a program of another
// architecture, a script whose interpreter does not exist. Reads files; pure otherwise.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "isolation/host.h"
#include "isolation/setup_error.h"
#include "policies/policy.h"

namespace fnrun::isolation {

struct HandlerFile {
  std::vector<std::string> argv;  // As given; argv[0] is not rewritten, programs look at it.
  std::string path;               // Canonical absolute path, on the host and inside.
  std::string interpreter;        // Of a script, canonical; "" for a program.
  std::string loader;             // Of a dynamic program: PT_INTERP, as written; "" if static.
};

// Finds argv[0]: with a '/' it is a path; without, it is looked up in the policy's PATH first,
// which is what the handler itself will search, then in `caller_path`. The errors are
// kHandlerNotFound and kHandlerNotExecutable.
[[nodiscard]] Result<HandlerFile> find_handler(std::vector<std::string> argv,
                                               const policies::Policy& policy,
                                               std::string_view caller_path, const Host& host);

// What the first bytes of a file say of it. Total on any bytes.
struct FileKind {
  enum class Type { kUnknown, kElf, kForeignElf, kScript } type = Type::kUnknown;
  std::string interpreter;  // kScript: the path after "#!".
  std::string detail;       // kForeignElf: "aarch64".
};
[[nodiscard]] FileKind kind_of_file(std::string_view head);

}  // namespace fnrun::isolation
