// What a sandbox may do, as plain values.
//
// A Policy is what a JSON file means; it knows nothing of this host or of any kernel interface
// (isolation/plan.h compiles it). Default-constructed it is the strictest policy that still runs a
// static program: nothing of the host visible, 13 system calls, every layer required.
// Values: copy freely; no thread rule.
#pragma once

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "policies/units.h"

namespace fnrun::policies {

// Bounds. Each is enforced for every sandbox; policies/README.md says by what. Those that need a
// controller of cgroup v2 are enforced as far as the policy's layers memory, pids, cpu, io and
// cpuset are required; where one is only preferred and missing, the report says what stands in.
struct Limits {
  // One invocation: waiting, writing the request, running and reading the answer.
  std::chrono::milliseconds invoke_timeout{3'000};
  // From clone3(2) to the handler's execve(2).
  std::chrono::milliseconds start_timeout{5'000};
  // From SIGKILL to the last process being gone. What is not gone by then is given up and reported.
  std::chrono::milliseconds kill_timeout{2'000};
  // One frame (or one line, or one exec answer) each way. 6 MiB + 100 bytes is AWS Lambda's limit.
  ByteSize request_max{6 * 1024 * 1024 + 100};
  ByteSize response_max{6 * 1024 * 1024 + 100};
  ByteSize tmp_max = mebibytes(16);      // Bytes that /tmp holds.
  std::uint64_t tmp_inodes_max = 1'024;  // Files and folders that /tmp holds.
  std::uint64_t open_files_max = 64;     // Descriptors of one process.
  std::uint64_t processes_max = 16;      // Processes and threads of the sandbox together.
  ByteSize memory_max = mebibytes(128);  // Of everything inside, /tmp and page cache included.
  ByteSize memory_high{0};               // Above it the kernel slows allocation down; 0: nowhere.
  ByteSize memory_swap_max{0};           // Swap beside memory_max.
  // When memory_max is hit: true ends the whole sandbox, false only the process that the kernel
  // chooses.
  bool memory_oom_group = true;
  std::uint64_t cpu_max_percent = 100;  // Of one CPU, in any tenth of a second; 0: no bound.
  std::uint64_t cpu_weight = 100;       // Against other sandboxes, where CPU is short; 100: equal.
  // CPU time of one invocation, of all processes together; 0: no bound.
  std::chrono::milliseconds cpu_time_max{3'000};
  std::string cpus;  // CPUs it may run on, as "0-3,6"; "": all of the supervisor's.
  // Of each block device of the host; 0: no bound, and never 1, which the kernel refuses.
  ByteSize io_read_per_second_max{0};
  ByteSize io_write_per_second_max{0};
  std::uint64_t io_reads_per_second_max = 0;
  std::uint64_t io_writes_per_second_max = 0;
  ByteSize file_size_max = mebibytes(16);
  ByteSize stack_max = mebibytes(8);
  // stderr of the handler: a longer line is cut, more lines a second are dropped and counted.
  ByteSize stderr_line_max{1'024};
  std::uint64_t stderr_lines_per_second_max = 100;
  friend bool operator==(const Limits&, const Limits&) = default;
};

// A file or folder of the host that the handler sees, read-only, with everything mounted below it.
struct ReadOnlyPath {
  std::string target;      // Absolute path inside. Unique within a policy.
  std::string source;      // Absolute path on the host; the same as target unless the file says so.
  bool optional = false;   // A source that does not exist is left out instead of refused.
  bool executable = true;  // false: mounted noexec.
  std::string why;
  friend bool operator==(const ReadOnlyPath&, const ReadOnlyPath&) = default;
};

struct Filesystem {
  std::vector<ReadOnlyPath> read_only;  // Sorted by target.
  // Weakening: non-empty = the reason why files written to /tmp may be executed.
  std::string dangerously_exec_from_tmp;
  std::string dev_shm;  // Non-empty = the reason why /dev/shm is there, as a link to /tmp.
  friend bool operator==(const Filesystem&, const Filesystem&) = default;
};

struct Environment {
  std::map<std::string, std::string> set;   // name -> value
  std::map<std::string, std::string> pass;  // name -> why it is taken over from the supervisor
  friend bool operator==(const Environment&, const Environment&) = default;
};

// What the handler believes to be; its uid on the host is chosen by isolation.
struct Identity {
  std::string hostname = "sandbox";
  std::uint32_t uid = 1000;
  std::uint32_t gid = 1000;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// How long a sandbox that behaves may serve, and what becomes of it between two calls.
struct Reuse {
  enum class Mode : std::uint8_t {
    kNever,   // Each call has a sandbox of its own.
    kClean,   // Until a call leaves something behind: processes, descriptors, files, IPC objects.
    kAlways,  // Whatever a call leaves behind: the next one finds it.
  };
  Mode mode = Mode::kNever;
  std::uint64_t calls_max = 0;           // 0: no bound.
  std::chrono::milliseconds age_max{0};  // 0: no bound. A call in flight is not cut short by it.
  bool freeze_idle = false;              // Stopped while it waits for the next call.
  friend bool operator==(const Reuse&, const Reuse&) = default;
};

// A signal to the handler shortly before its deadline, which ends everything inside without one.
struct Warning {
  std::chrono::milliseconds before{0};  // 0: none.
  int signal = SIGTERM;                 // One of kWarningSignals.
  friend bool operator==(const Warning&, const Warning&) = default;
};
struct NamedSignal {
  std::string_view name;
  int number = 0;
};
inline constexpr std::array kWarningSignals = {
    NamedSignal{"SIGTERM", SIGTERM}, NamedSignal{"SIGINT", SIGINT},
    NamedSignal{"SIGHUP", SIGHUP},   NamedSignal{"SIGQUIT", SIGQUIT},
    NamedSignal{"SIGUSR1", SIGUSR1}, NamedSignal{"SIGUSR2", SIGUSR2},
    NamedSignal{"SIGALRM", SIGALRM}, NamedSignal{"SIGXCPU", SIGXCPU}};

struct SyscallAction {
  enum class Kind : std::uint8_t { kAllow, kErrno, kKillProcess };
  Kind kind = Kind::kKillProcess;
  int os_errno = 0;  // For kErrno only, 1 … 4095.
  friend bool operator==(const SyscallAction&, const SyscallAction&) = default;
};

// A comparison of one 64-bit argument. The conditions of a rule must all hold.
struct ArgCondition {
  enum class Op : std::uint8_t {
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kMaskedEqual,
    kIn
  };
  std::uint32_t arg = 0;  // 0 … 5
  Op op = Op::kEqual;
  std::uint64_t mask = 0;             // For kMaskedEqual only: (argument & mask) == values[0].
  std::vector<std::uint64_t> values;  // Exactly one, but for kIn: one or more.
  friend bool operator==(const ArgCondition&, const ArgCondition&) = default;
};

// Whether a call with this argument satisfies it.
[[nodiscard]] bool holds(const ArgCondition& condition, std::uint64_t arg) noexcept;

struct SyscallRule {
  std::string name;  // Unique within a policy; what `--explain` and errors call it.
  SyscallAction action;
  std::vector<std::string> calls;  // Names as libseccomp knows them.
  std::vector<ArgCondition> when;  // Empty: whatever the arguments.
  std::string why;
  friend bool operator==(const SyscallRule&, const SyscallRule&) = default;
};

struct Seccomp {
  SyscallAction default_action;    // For every call that no rule names, known or not yet invented.
  std::vector<SyscallRule> rules;  // Sorted by name; the order has no meaning.
  // Weakening: non-empty = the reason why memory may be writable and executable at once. Without
  // one, rules that allow mmap and its like allow it for other memory only (seccomp_floor.h).
  std::string write_execute;
  // The handler's own execve(2) is the last one of its sandbox.
  bool exec_once = false;
  friend bool operator==(const Seccomp&, const Seccomp&) = default;
};

// Layers that some hosts lack. Each is required unless the policy prefers it, with a reason; the
// other layers (user, pid, mount, network, ipc, uts namespaces, capabilities, no_new_privs,
// seccomp) are required always. kMemory … kCpuset are the controllers of cgroup v2: each matters to
// a policy only if it sets a limit that needs it.
enum class Layer : std::uint8_t {
  kCgroup,
  kLandlock,
  kTimeNamespace,
  kMemory,
  kPids,
  kCpu,
  kIo,
  kCpuset
};
inline constexpr std::array kLayers = {Layer::kCgroup, Layer::kLandlock, Layer::kTimeNamespace,
                                       Layer::kMemory, Layer::kPids,     Layer::kCpu,
                                       Layer::kIo,     Layer::kCpuset};
inline constexpr std::array kControllers = {Layer::kMemory, Layer::kPids, Layer::kCpu, Layer::kIo,
                                            Layer::kCpuset};

struct Policy {
  std::string description;
  Limits limits;
  Filesystem filesystem;
  Environment environment;
  Identity identity;
  std::string working_directory = "/tmp";
  Reuse reuse;
  Warning warning;
  Seccomp seccomp;                         // Default: see default_seccomp().
  std::map<Layer, std::string> preferred;  // layer -> why its absence is acceptable

  Policy();
  friend bool operator==(const Policy&, const Policy&) = default;
};

// The 13 calls of a static C program that reads and writes; everything else kills the process.
[[nodiscard]] Seccomp default_seccomp();

// Whether the call goes through whatever its arguments.
[[nodiscard]] bool always_allows(const Seccomp& profile, std::string_view call) noexcept;

// Whether a limit of the policy needs the controller.
[[nodiscard]] bool needs_controller(const Limits& limits, Layer controller) noexcept;

// Names as they stand in JSON: "cgroup", "landlock", "time_namespace"; controllers as the kernel
// names them: "memory", "pids", "cpu", "io", "cpuset".
[[nodiscard]] const char* name_of(Layer layer) noexcept;

}  // namespace fnrun::policies
