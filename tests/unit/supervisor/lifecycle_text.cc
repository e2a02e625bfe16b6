#include "lifecycle_text.h"

#include <array>

namespace fnrun::supervisor::lifecycle {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

std::string text(const Fault& fault) {
  return fault.type.empty() ? "-" : fault.type;
}
std::string text(Phase phase) {
  return phase == Phase::kInit ? "init" : "invoke";
}

std::string text(const effect::Emit& emit) {
  const std::string status(name_of(emit.status));
  const std::string type = emit.error_type.empty() ? "" : " " + emit.error_type;
  switch (emit.event) {
    case EventKind::kInitStart:
      return "init.start " + text(emit.phase);
    case EventKind::kInitRuntimeDone:
      return "init.runtimeDone " + text(emit.phase) + " " + status + type;
    case EventKind::kInitReport:
      return "init.report " + text(emit.phase);
    case EventKind::kRestoreRuntimeDone:
      return "restore.runtimeDone " + status + type;
    case EventKind::kInvokeStart:
      return "invoke.start";
    case EventKind::kInvokeRuntimeDone:
      return "invoke.runtimeDone " + status + type;
    case EventKind::kReport:
      return "report " + status + type;
    case EventKind::kEnd:
      break;
  }
  return "end";
}

std::string text(const effect::Complete& complete) {
  if (complete.how == effect::Completion::kSuccess) return "done: success";
  if (complete.how == effect::Completion::kReservationDone) return "done: reservation gone";
  return "done: " + text(complete.fault) + (complete.reset_received ? ", by reset" : "") +
         (complete.request_reset ? ", reset wanted" : "");
}

std::string text(effect::KillFor why) {
  constexpr std::array<const char*, 4> kNames{"failure", "deadline", "reset", "shutdown"};
  return kNames[static_cast<std::size_t>(why)];
}

}  // namespace

std::string text_of(const Effect& effect) {
  return std::visit(
      Overloaded{
          [](const effect::Emit& one) { return text(one); },
          [](const effect::StartProcess& one) {
            return "start " + std::to_string(one.generation) + " " + text(one.phase);
          },
          [](const effect::TellInit& one) {
            if (!one.fault) return std::string("init told: success");
            return "init told: " + text(*one.fault) + (one.reset_received ? ", by reset" : "");
          },
          [](const effect::TellInitialised&) { return std::string("init told: was told"); },
          [](const effect::WriteRequest&) { return std::string("write request"); },
          [](const effect::AnswerWithResponse& one) {
            return std::string(one.how == input::Answered::kWithError ? "answer: runtime's error"
                                                                      : "answer");
          },
          [](const effect::AnswerWithError& one) {
            return "answer: " + text(one.fault) + (one.body ? " as " + *one.body : "");
          },
          [](const effect::Complete& one) { return text(one); },
          [](const effect::CancelFlows&) { return std::string("cancel"); },
          [](const effect::Kill& one) { return "kill for " + text(one.reason); },
          [](const effect::AwaitGone&) { return std::string("await gone"); },
          [](const effect::ReleaseFromRestore&) { return std::string("release from restore"); },
          [](const effect::CompleteRestore& one) {
            return "restored" + (one.fault ? ": " + text(*one.fault) : "");
          },
          [](const effect::CompleteReset& one) {
            return "reset" + (one.error_type.empty() ? "" : ": " + one.error_type);
          },
          [](const effect::CompleteShutdown&) { return std::string("down"); },
      },
      effect);
}

Strings texts_of(const std::vector<Effect>& effects) {
  Strings texts;
  texts.reserve(effects.size());
  for (const Effect& one : effects) texts.push_back(text_of(one));
  return texts;
}

std::string text_of(const Input& what) {
  constexpr std::array<const char*, std::variant_size_v<Input>> kNames{
      "Init",          "InitSucceeded",    "InitFailed",      "InitErrorReported",
      "WaitInit",      "WaitInitLeft",     "Reserve",         "Release",
      "SendRequest",   "Response",         "RuntimeReady",    "Spent",
      "RuntimeExited", "InvokeFailed",     "RequestRefused",  "Deadline",
      "Restore",       "RestoreFailed",    "RestoreDeadline", "ResetBy",
      "Shutdown",      "ShutdownDeadline", "ProcessGone",     "Clear"};
  return kNames[what.index()];
}

}  // namespace fnrun::supervisor::lifecycle
