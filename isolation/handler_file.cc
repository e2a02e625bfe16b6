#include "isolation/handler_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "isolation/unique_fd.h"

namespace fnrun::isolation {
namespace {

constexpr std::size_t kHeadSize = 4096;
constexpr int kInterpreterDepthMax = 4;  // The kernel's own limit for scripts of scripts is 5.

std::string canonical(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? real.get() : "";
}

bool is_regular_file(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::string read_head(const std::string& path) {
  std::string head(kHeadSize, '\0');
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  const ssize_t n = fd ? ::read(fd.get(), head.data(), head.size()) : 0;
  head.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return head;
}

SetupError not_executable(const std::string& path, const std::string& why) {
  return {SetupStep::kHandlerNotExecutable, 0, 0, path + " " + why};
}

std::string machine_name(unsigned machine) {
  switch (machine) {
    case EM_386:
      return "i386";
    case EM_AARCH64:
      return "aarch64";
    case EM_ARM:
      return "arm";
    case EM_RISCV:
      return "riscv";
    case EM_PPC64:
      return "ppc64";
    case EM_S390:
      return "s390x";
    default:
      return "ELF machine " + std::to_string(machine);
  }
}

// The dynamic loader's path from the program headers, "" if there is none within the head.
std::string loader_of(std::string_view head) {
  Elf64_Ehdr elf;
  if (head.size() < sizeof elf) return "";
  std::memcpy(&elf, head.data(), sizeof elf);
  for (unsigned i = 0; i < elf.e_phnum && elf.e_phentsize == sizeof(Elf64_Phdr); ++i) {
    const std::uint64_t at = elf.e_phoff + std::uint64_t{i} * sizeof(Elf64_Phdr);
    if (elf.e_phoff > head.size() || at + sizeof(Elf64_Phdr) > head.size()) return "";
    Elf64_Phdr header;
    std::memcpy(&header, head.data() + at, sizeof header);
    if (header.p_type != PT_INTERP) continue;
    if (header.p_offset > head.size() || header.p_filesz > head.size() - header.p_offset) return "";
    const std::string_view loader = head.substr(header.p_offset, header.p_filesz);
    return std::string(loader.substr(0, loader.find('\0')));
  }
  return "";
}

// May the sandbox's uid execute it? A privileged supervisor's slots are nobody to the file's owner
// and group, so only the bits for others count; without privilege the kernel can be asked.
std::string why_not_permitted(const std::string& path, const Host& host, bool script) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return std::string("cannot be examined: ") + ::strerrordesc_np(errno);
  if (host.privileged) {
    const mode_t wanted = script ? S_IXOTH | S_IROTH : S_IXOTH;
    if ((info.st_mode & wanted) != wanted)
      return std::string("is not ") + (script ? "readable and " : "") +
             "executable for others, and the sandbox's uid is neither its owner nor in its group: "
             "chmod o+" +
             (script ? "rx" : "x") + " it";
    return "";
  }
  if (::access(path.c_str(), script ? X_OK | R_OK : X_OK) != 0)
    return std::string("is not executable for you: ") + ::strerrordesc_np(errno);
  return "";
}

std::string search(const std::string& name, std::string_view path_list) {
  while (!path_list.empty()) {
    const auto end = path_list.find(':');
    const std::string folder(path_list.substr(0, end));
    path_list.remove_prefix(end == std::string_view::npos ? path_list.size() : end + 1);
    if (folder.empty() || folder.front() != '/') continue;  // A relative PATH entry is a trap.
    const std::string candidate = folder + "/" + name;
    if (is_regular_file(candidate) && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

Result<std::string> locate(const std::string& name, const policies::Policy& policy,
                           std::string_view caller_path) {
  if (name.find('/') == std::string::npos) {
    const auto inside = policy.environment.set.find("PATH");
    std::string found = inside == policy.environment.set.end() ? "" : search(name, inside->second);
    if (found.empty()) found = search(name, caller_path);
    if (found.empty())
      return SetupError{SetupStep::kHandlerNotFound, 0, 0,
                        "'" + name +
                            "' is neither in the policy's PATH nor in yours; a handler that is not "
                            "in PATH is named by its path, as in ./" +
                            name};
    return canonical(found);
  }
  std::string path = canonical(name);
  if (path.empty()) return SetupError{SetupStep::kHandlerNotFound, 0, errno, name};
  return path;
}

// Checks one file and follows "#!" to the program that runs in the end.
Result<void> examine(HandlerFile& handler, const std::string& path, const Host& host, int depth) {
  if (!is_regular_file(path)) return not_executable(path, "is not a regular file");
  const FileKind kind = kind_of_file(read_head(path));
  const bool script = kind.type == FileKind::Type::kScript;
  if (std::string why = why_not_permitted(path, host, script); !why.empty())
    return not_executable(path, why);
  switch (kind.type) {
    case FileKind::Type::kForeignElf:
      return not_executable(path, "is a program for " + kind.detail + ", this machine is x86_64");
    case FileKind::Type::kUnknown:
      return not_executable(path, "is neither an ELF program nor a script that starts with #!");
    case FileKind::Type::kElf:
      handler.loader = loader_of(read_head(path));
      return {};
    case FileKind::Type::kScript:
      break;
  }
  const std::string interpreter = canonical(kind.interpreter);
  if (kind.interpreter.empty() || kind.interpreter.front() != '/' || interpreter.empty())
    return SetupError{
        SetupStep::kHandlerNotFound, 0, 0,
        path + " asks for the interpreter '" + kind.interpreter + "', which does not exist"};
  if (depth >= kInterpreterDepthMax) return not_executable(path, "is a script of too many scripts");
  if (handler.interpreter.empty()) handler.interpreter = kind.interpreter;
  return examine(handler, interpreter, host, depth + 1);
}

}  // namespace

FileKind kind_of_file(std::string_view head) {
  FileKind kind;
  if (head.starts_with("#!")) {
    const std::string_view line = head.substr(2, head.find('\n') - 2);
    const auto start = line.find_first_not_of(" \t");
    kind.type = FileKind::Type::kScript;
    if (start != std::string_view::npos) {
      const auto rest = line.substr(start);
      kind.interpreter = std::string(rest.substr(0, rest.find_first_of(" \t")));
    }
    if (kind.interpreter.size() >= PATH_MAX || kind.interpreter.find('\0') != std::string::npos)
      kind.interpreter.clear();
    return kind;
  }
  if (!head.starts_with(ELFMAG) || head.size() < EI_NIDENT + 4) return kind;
  Elf64_Half machine;
  std::memcpy(&machine, head.data() + EI_NIDENT + 2, sizeof machine);
  const bool ours =
      head[EI_CLASS] == ELFCLASS64 && head[EI_DATA] == ELFDATA2LSB && machine == EM_X86_64;
  kind.type = ours ? FileKind::Type::kElf : FileKind::Type::kForeignElf;
  if (!ours) {
    if (head[EI_DATA] == ELFDATA2MSB)
      machine = static_cast<Elf64_Half>((machine >> 8) | (machine << 8));
    kind.detail = machine == EM_X86_64 ? "x32" : machine_name(machine);
  }
  return kind;
}

Result<HandlerFile> find_handler(std::vector<std::string> argv, const policies::Policy& policy,
                                 std::string_view caller_path, const Host& host) {
  if (argv.empty() || argv[0].empty())
    return SetupError{SetupStep::kHandlerNotFound, 0, 0, "no handler is given"};
  const auto path = locate(argv[0], policy, caller_path);
  if (!path) return path.error();
  HandlerFile handler;
  handler.argv = std::move(argv);
  handler.path = *path;
  if (auto examined = examine(handler, handler.path, host, 0); !examined) return examined.error();
  return handler;
}

}  // namespace fnrun::isolation
