#include "isolation/setup_error.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace fnrun::isolation {
namespace {

struct StepText {
  SetupStep step;
  std::string_view name;
  std::string_view hint;  // What to do about it, where that does not depend on errno.
};

constexpr std::array kSteps{
    StepText{SetupStep::kNone, "none", ""},
    StepText{SetupStep::kHandlerNotFound, "find-handler", ""},
    StepText{SetupStep::kHandlerNotExecutable, "check-handler", ""},
    StepText{SetupStep::kPolicy, "compile-policy", ""},
    StepText{SetupStep::kLayerMissing, "require-layer",
             "add the layer to the policy's \"prefer\" with a reason, or enable it on this host; "
             "fnrun-doctor tells what this host has"},
    StepText{SetupStep::kMountSource, "check-mount-source", ""},
    StepText{SetupStep::kCommandTooLong, "check-command", "arguments and environment are too long"},
    StepText{SetupStep::kRequest, "check-request", ""},
    StepText{SetupStep::kUidLease, "lease-uid",
             "root supervisors give each sandbox a uid of its own; see --uid-range"},
    StepText{SetupStep::kCgroup, "make-cgroup",
             "the supervisor's own cgroup must be writable to it"},
    StepText{SetupStep::kCgroupLimit, "set-cgroup-limit",
             "the kernel does not take this limit of the policy; choose one that it does"},
    StepText{SetupStep::kInitImage, "make-init-image",
             "sysctl vm.memfd_noexec=2 forbids executing a memory file; 0 or 1 allows it"},
    StepText{SetupStep::kControlSocket, "make-control-socket", ""},
    StepText{SetupStep::kClone, "clone", ""},
    StepText{SetupStep::kIdMap, "write-id-map",
             "is /proc mounted, and may this user make user namespaces?"},
    StepText{SetupStep::kOpenTree, "open-mount-source", ""},
    StepText{SetupStep::kSendPlan, "send-plan", ""},
    StepText{SetupStep::kStartTimeout, "start-timeout", "limits.start_timeout_ms bounds the start"},
    StepText{SetupStep::kKilledBeforeExec, "killed-before-exec",
             "something outside killed it; the kernel log may say what"},
    StepText{SetupStep::kEnterFds, "enter-fds", ""},
    StepText{SetupStep::kEnterCapabilities, "enter-capabilities",
             "the user namespace gave no capabilities: is AppArmor restricting it "
             "(kernel.apparmor_restrict_unprivileged_userns)?"},
    StepText{SetupStep::kEnterExec, "enter-exec", ""},
    StepText{SetupStep::kReceivePlan, "receive-plan", ""},
    StepText{SetupStep::kNonDumpable, "non-dumpable", ""},
    StepText{SetupStep::kCredentials, "become-slot-user", ""},
    StepText{SetupStep::kNamespaces, "unshare", ""},
    StepText{SetupStep::kTimeOffsets, "write-time-offsets", ""},
    StepText{SetupStep::kOomScore, "write-oom-score-adj", ""},
    StepText{SetupStep::kMountPropagation, "make-mounts-private", ""},
    StepText{SetupStep::kRootMount, "mount-root", ""},
    StepText{SetupStep::kFsOp, "fs-op", ""},
    StepText{SetupStep::kPivotRoot, "pivot-root", "a supervisor inside a chroot cannot do this"},
    StepText{SetupStep::kDetachOldRoot, "detach-old-root", ""},
    StepText{SetupStep::kRootReadOnly, "root-read-only", ""},
    StepText{SetupStep::kWorkingDirectory, "working-directory",
             "working_directory must be a folder that the policy makes visible, or /tmp"},
    StepText{SetupStep::kHostname, "hostname", ""},
    StepText{SetupStep::kSession, "new-session", ""},
    StepText{SetupStep::kKeyring, "new-session-keyring", ""},
    StepText{SetupStep::kScheduling, "scheduling", ""},
    StepText{SetupStep::kRlimit, "rlimit",
             "a limit above the supervisor's own hard limit is refused"},
    StepText{SetupStep::kBoundingSet, "drop-bounding-set", ""},
    StepText{SetupStep::kSecurebits, "securebits", ""},
    StepText{SetupStep::kCapabilities, "drop-capabilities", ""},
    StepText{SetupStep::kNoNewPrivs, "no-new-privs", ""},
    StepText{SetupStep::kLandlockRuleset, "landlock-ruleset", ""},
    StepText{SetupStep::kLandlockRule, "landlock-rule", ""},
    StepText{SetupStep::kSignals, "signals", ""},
    StepText{SetupStep::kSpawn, "spawn-handler", "processes_max may be too small"},
    StepText{SetupStep::kStdio, "handler-stdio", ""},
    StepText{SetupStep::kLandlockRestrict, "landlock-restrict", ""},
    StepText{SetupStep::kSeccomp, "load-seccomp", ""},
    StepText{SetupStep::kExec, "exec-handler", ""},
};

const StepText& text_of(SetupStep step) noexcept {
  for (const StepText& text : kSteps)
    if (text.step == step) return text;
  return kSteps[0];
}

// What errno means at a step, where that says more than the step alone.
std::string_view hint_for(SetupStep step, int os_errno) noexcept {
  if (step == SetupStep::kClone) {
    if (os_errno == EPERM)
      return "user namespaces are refused here: inside a chroot, by a seccomp filter, or by the "
             "sysctl "
             "kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns";
    if (os_errno == ENOSPC) return "a sysctl user.max_*_namespaces is exhausted or 0";
    if (os_errno == EAGAIN) return "a process limit (RLIMIT_NPROC, pids.max) is reached";
    if (os_errno == EINVAL) return "the kernel lacks one of the namespaces";
    if (os_errno == EMFILE || os_errno == ENFILE) return "the supervisor is out of descriptors";
    if (os_errno == EACCES || os_errno == EBUSY) return "the cgroup does not take new processes";
  }
  if (step == SetupStep::kCgroup && os_errno == EAGAIN)
    return "cgroup.max.descendants or cgroup.max.depth of a group above is reached";
  if (step == SetupStep::kCgroup && os_errno == EOPNOTSUPP)
    return "a threaded cgroup takes no processes; start fnrun in another";
  if (step == SetupStep::kExec) {
    if (os_errno == ENOENT)
      return "its interpreter or dynamic loader is not visible inside; bind it or use a policy "
             "that does";
    if (os_errno == EACCES)
      return "it is not executable for the sandbox's uid, or its mount is noexec";
    if (os_errno == ENOEXEC) return "it is neither a program of this machine nor a script with #!";
    if (os_errno == E2BIG) return "arguments and environment are too long for the stack limit";
  }
  if (step == SetupStep::kTimeOffsets && os_errno == ERANGE)
    return "a supervisor in a time namespace of its own cannot do this yet; let the policy prefer "
           "time_namespace, or start it outside";
  if (step == SetupStep::kFsOp && os_errno == ESTALE)
    return "what is there now is not what was there when the policy was compiled";
  if (step == SetupStep::kFsOp && os_errno == EPERM)
    return "in a container with masked /proc the kernel refuses a new proc mount";
  return text_of(step).hint;
}

}  // namespace

std::string_view name_of(SetupStep step) noexcept {
  return text_of(step).name;
}

std::string SetupError::to_string() const {
  std::string text(name_of(step));
  if (index != 0) text += " #" + std::to_string(index);
  if (!subject.empty()) text += ": " + subject;
  if (os_errno != 0) {
    const char* name = ::strerrorname_np(os_errno);
    text += std::string(": ") + (name != nullptr ? name : std::to_string(os_errno).c_str());
    const char* words = ::strerrordesc_np(os_errno);
    if (words != nullptr) text += std::string(" (") + words + ")";
  }
  if (const auto hint = hint_for(step, os_errno); !hint.empty())
    text += "; hint: " + std::string(hint);
  return text;
}

void throw_exception_from_error(const SetupError& error, const boost::source_location&) {
  throw std::runtime_error(error.to_string());
}

}  // namespace fnrun::isolation
