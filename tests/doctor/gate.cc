#include "tests/doctor/gate.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <stdexcept>

#include "isolation/unique_fd.h"

namespace fnrun::test {
namespace {

using isolation::UniqueFd;

// Below the red zone and what a call may use of the stack.
constexpr std::uint64_t kScratchBelowStack = 8192;

std::string peek(pid_t pid, std::uint64_t address, std::size_t size) {
  std::string bytes(size, '\0');
  const iovec to{bytes.data(), size};
  const iovec from{reinterpret_cast<void*>(address), size};
  const ssize_t n = ::process_vm_readv(pid, &to, 1, &from, 1, 0);
  bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return bytes;
}

void poke(pid_t pid, std::uint64_t address, std::string bytes) {
  const iovec from{bytes.data(), bytes.size()};
  const iovec to{reinterpret_cast<void*>(address), bytes.size()};
  if (::process_vm_writev(pid, &from, 1, &to, 1, 0) != static_cast<ssize_t>(bytes.size()))
    throw std::runtime_error("the gate cannot write to a process that it traces");
}

// One process under the gate, between two stops.
struct Traced {
  bool seen_first_stop = false;
  int refused = 0;                            // The call it is in fails so.
  std::optional<std::uint64_t> own_path_arg;  // Restored when the call returns.
};

class Tracer {
 public:
  Tracer(pid_t program, const Gate& gate) : program_(program), gate_(gate) {
    traced_[program].seen_first_stop = true;
  }

  // The wait status of the program. The last process may end much later than it.
  int run() {
    int of_program = 0;
    for (;;) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, __WALL);
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) return of_program;
      if (WIFSTOPPED(status)) {
        stopped(pid, status);
      } else {
        traced_.erase(pid);
        if (pid == program_) of_program = status;
      }
    }
  }

 private:
  void stopped(pid_t pid, int status) {
    Traced& traced = traced_[pid];
    const int signal = WSTOPSIG(status);
    int deliver = 0;
    if (signal == (SIGTRAP | 0x80)) {
      at_call(pid, traced);
    } else if (!traced.seen_first_stop && signal == SIGSTOP) {
      traced.seen_first_stop = true;  // Of our own making: every new process begins with it.
    } else if (status >> 16 == 0) {
      deliver = signal;
    }
    // Fails if it was killed meanwhile; then its end is the next thing to be seen.
    ::ptrace(PTRACE_SYSCALL, pid, 0, deliver);
  }

  void at_call(pid_t pid, Traced& traced) {
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, pid, 0, &registers) != 0) return;
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) enter(pid, registers, traced);
    if (info.op == PTRACE_SYSCALL_INFO_EXIT) leave(registers, traced);
    ::ptrace(PTRACE_SETREGS, pid, 0, &registers);
  }

  void enter(pid_t pid, user_regs_struct& registers, Traced& traced) const {
    const GatedCall call{.program = program_,
                         .caller = pid,
                         .number = static_cast<long>(registers.orig_rax),
                         .args = {registers.rdi, registers.rsi, registers.rdx, registers.r10,
                                  registers.r8, registers.r9}};
    const GateAnswer answer = gate_(call);
    if (answer.os_errno != 0) {
      registers.orig_rax = ~0ULL;  // No call at all.
      traced.refused = answer.os_errno;
    } else if (!answer.other_path.empty() && call.number == SYS_openat) {
      traced.own_path_arg = registers.rsi;
      registers.rsi = registers.rsp - kScratchBelowStack;
      poke(pid, registers.rsi, answer.other_path + '\0');
    }
  }

  static void leave(user_regs_struct& registers, Traced& traced) {
    if (traced.refused != 0)
      registers.rax = static_cast<std::uint64_t>(-std::int64_t{traced.refused});
    if (traced.own_path_arg) registers.rsi = *traced.own_path_arg;
    traced.refused = 0;
    traced.own_path_arg.reset();
  }

  pid_t program_;
  const Gate& gate_;
  std::map<pid_t, Traced> traced_;
};

[[noreturn]] void be_program(const std::vector<std::string>& argv, int out, int err,
                             const std::function<int()>& prepare, bool traced) {
  if (prepare) {
    if (const int code = prepare(); code != 0) ::_exit(code);
  }
  std::vector<char*> words;
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));  // NOLINT
  words.push_back(nullptr);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (traced) {
    ::ptrace(PTRACE_TRACEME, 0, 0, 0);
    ::raise(SIGSTOP);  // Until the tracer has set its options.
  }
  ::execv(words[0], words.data());
  ::_exit(127);
}

std::string content_of(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n;
       (n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(text.size()))) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  return text;
}

}  // namespace

std::string GatedCall::text(unsigned index) const {
  constexpr std::size_t kPage = 4096;
  std::string text = peek(caller, args.at(index), kPage);
  // A string near the end of what is mapped: up to the end of its page.
  if (text.empty()) text = peek(caller, args.at(index), kPage - args.at(index) % kPage);
  return text.substr(0, text.find('\0'));
}

std::uint64_t GatedCall::word(unsigned index, std::size_t bytes) const {
  const std::string memory = peek(caller, args.at(index), bytes);
  std::uint64_t value = 0;
  for (std::size_t i = memory.size(); i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(memory[i]);
  return value;
}

GatedRun run_gated(const std::vector<std::string>& argv, const Gate& gate,
                   const std::function<int()>& prepare) {
  const UniqueFd out(::memfd_create("out", MFD_CLOEXEC));
  const UniqueFd err(::memfd_create("err", MFD_CLOEXEC));
  const pid_t program = ::fork();
  if (program < 0 || !out || !err) throw std::runtime_error("no process for the gated program");
  if (program == 0) be_program(argv, out.get(), err.get(), prepare, static_cast<bool>(gate));
  int status = 0;
  while (::waitpid(program, &status, __WALL) < 0 && errno == EINTR) {
  }
  if (WIFSTOPPED(status)) {
    constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                              PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (::ptrace(PTRACE_SETOPTIONS, program, 0, kOptions) != 0)
      throw std::runtime_error("the gated program cannot be traced");
    ::ptrace(PTRACE_SYSCALL, program, 0, 0);
    status = Tracer(program, gate).run();
  }
  return {.program = program,
          .code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = content_of(out.get()),
          .err = content_of(err.get())};
}

}  // namespace fnrun::test
