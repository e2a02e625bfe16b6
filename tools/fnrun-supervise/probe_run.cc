#include "probe_run.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <string_view>
#include <system_error>

#include "policies/policy_json.h"
#include "policy_search.h"

namespace fnrun::tools {
namespace {

namespace fs = std::filesystem;

// The attempts take a second or two on a host at rest, and this is no handler: nobody waits for an
// answer within the policy's own deadline.
constexpr std::chrono::minutes kDeadline{5};

// Beside this command, or where programs that only others start are installed.
std::optional<fs::path> find_program() {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& place :
       {here / "fnrun-probe", here.parent_path() / "libexec/fnrun/fnrun-probe"})
    if (fs::is_regular_file(place, error)) return place;
  return std::nullopt;
}

bool is_one_of(const fs::path& file, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), file.stem().string()) != names.end();
}

// Whose promises the chain is held to; "" if no file of it has the name of a shipped policy.
std::string shipped_in(const std::vector<fs::path>& files) {
  const auto base = std::find_if(files.begin(), files.end(), [](const fs::path& file) {
    return is_one_of(file, {"paranoid", "strict", "compat"});
  });
  if (base == files.end()) return "";
  // A preset makes promises of its own, and lies beside what it extends: others' files have such
  // names, too.
  for (auto file = files.begin(); file != base; ++file)
    if (is_one_of(*file, {"native", "go", "python", "node"}) &&
        file->parent_path() == base->parent_path())
      return file->stem();
  return base->stem();
}

// Of this process, which may itself be in a container: what the sandbox must not share with it.
std::string own_namespaces() {
  std::string numbers;
  for (const auto& entry : fs::directory_iterator("/proc/self/ns")) {
    struct stat info {};
    if (::stat(entry.path().c_str(), &info) == 0)
      numbers += (numbers.empty() ? "" : ",") + std::to_string(info.st_ino);
  }
  return numbers;
}

// The event is empty, whatever our stdin is: a terminal would be waited for.
bool empty_stdin() {
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const bool done = null >= 0 && ::dup2(null, STDIN_FILENO) >= 0;
  if (null > STDERR_FILENO) ::close(null);
  return done;
}

}  // namespace

std::optional<ProbeFault> prepare_probe(Options& options) {
  const auto program = find_program();
  if (!program)
    return ProbeFault{
        "--probe needs the program fnrun-probe, which is not installed beside this "
        "command, nor in libexec/fnrun",
        127};
  const auto files = policies::policy_files(options.function.policy, policy_search_path());
  if (!files) return ProbeFault{files.error().to_string(), kExitBadPolicy};
  const std::string promises = shipped_in(*files);
  if (promises.empty())
    return ProbeFault{"--probe judges by what paranoid, strict or compat promises, and " +
                          options.function.policy + " extends none of them; '--protocol exec -- " +
                          program->string() + "' tells what is open under it, without a verdict",
                      kExitUsage};
  if (!empty_stdin())
    return ProbeFault{std::string("/dev/null cannot be opened: ") + ::strerrordesc_np(errno), 125};
  options.function.handler = {program->string(), "--expect", promises, "--namespaces-outside",
                              own_namespaces()};
  options.function.protocol = supervisor::HandlerProtocol::kExec;
  if (!options.function.timeout) options.function.timeout = kDeadline;
  return std::nullopt;
}

}  // namespace fnrun::tools
