// Where setting up a sandbox can stop. The parent and the init share these numbers; the names and
// hints are in isolation/setup_error.cc. New steps go at the end of their part, numbers are not
// kept stable across versions: they never leave the machine.
#pragma once

#include <cstdint>

namespace fnrun::isolation {

enum class SetupStep : std::uint16_t {
  kNone = 0,

  // In the supervisor, before anything is launched.
  kHandlerNotFound,
  kHandlerNotExecutable,
  kPolicy,        // The policy cannot be compiled: an unknown call, contradicting rules.
  kLayerMissing,  // A layer that the policy requires is not there on this host.
  kMountSource,   // index: which read-only path
  kCommandTooLong,
  kRequest,  // What is asked cannot be given to this handler.
  kUidLease,
  kCgroup,
  kCgroupLimit,
  kInitImage,
  kControlSocket,

  // In the supervisor, while the init starts.
  kClone,
  kIdMap,
  kOpenTree,  // index: which mount
  kSendPlan,
  kStartTimeout,
  kKilledBeforeExec,  // The init is gone and never said why.

  // In the child, between clone3 and the init's execve.
  kEnterFds,
  kEnterCapabilities,
  kEnterExec,

  // In the init.
  kReceivePlan,
  kNonDumpable,
  kCredentials,  // index: 0 setgroups, 1 setresgid, 2 setresuid
  kNamespaces,
  kTimeOffsets,
  kOomScore,
  kMountPropagation,
  kRootMount,
  kFsOp,  // index: which operation of the plan's list
  kPivotRoot,
  kDetachOldRoot,
  kRootReadOnly,
  kWorkingDirectory,
  kHostname,
  kSession,
  kKeyring,
  kScheduling,
  kRlimit,       // index: which of the plan's list
  kBoundingSet,  // index: the capability
  kSecurebits,
  kCapabilities,
  kNoNewPrivs,
  kLandlockRuleset,
  kLandlockRule,  // index: which rule
  kSignals,
  kSpawn,

  // In the handler's process, before its execve.
  kStdio,
  kLandlockRestrict,
  kSeccomp,
  kExec,
};

}  // namespace fnrun::isolation
