#include "supervisor/lifecycle/runtime_state.h"

namespace fnrun::supervisor {
namespace {

using enum RuntimeState;
using enum CallEffect;

// A refusal stays where it is: rule_for() puts the state in.
constexpr CallRule kNo{};
constexpr std::array<std::array<CallRule, kRuntimeCalls>, kRuntimeStates> kRules{{
    // /next, /response, /error, /init/error, /restore/next, /restore/error
    {{{kBlocks, kReady}, kNo, kNo, {kAccepted, kInitError}, {kBlocks, kRestoreReady}, kNo}},
    /* InitError */ {{kNo, kNo, kNo, kNo, kNo, kNo}},
    /* Ready */ {{{kBlocks, kReady}, kNo, kNo, kNo, kNo, kNo}},
    /* Running */
    {{{kRepeatsEvent, kRunning},
      {kAccepted, kInvocationResponse},
      {kAccepted, kInvocationErrorResponse},
      kNo,
      kNo,
      kNo}},
    /* RestoreReady */ {{kNo, kNo, kNo, kNo, kNo, kNo}},
    // What says /init/error here means its restore hook.
    {{{kBlocks, kReady}, kNo, kNo, {kAccepted, kRestoreError}, kNo, {kAccepted, kRestoreError}}},
    /* InvocationResponse */ {{kNo, kNo, kNo, kNo, kNo, kNo}},
    /* InvocationErrorResponse */ {{kNo, kNo, kNo, kNo, kNo, kNo}},
    /* ResponseSent */ {{{kBlocks, kReady}, kNo, kNo, kNo, kNo, kNo}},
    /* RestoreError */ {{kNo, kNo, kNo, kNo, kNo, kNo}},
}};

constexpr std::array<std::string_view, kRuntimeStates> kNames{"Started",
                                                              "InitError",
                                                              "Ready",
                                                              "Running",
                                                              "RestoreReady",
                                                              "Restoring",
                                                              "InvocationResponse",
                                                              "InvocationErrorResponse",
                                                              "RuntimeResponseSentState",
                                                              "RuntimeRestoreErrorState"};

// Where a call wants to go, whether or not it may.
constexpr std::array<RuntimeState, kRuntimeCalls> kTargets{
    kReady,     kInvocationResponse, kInvocationErrorResponse,
    kInitError, kRestoreReady,       kRestoreError};

}  // namespace

CallRule rule_for(RuntimeState state, RuntimeCall call) noexcept {
  CallRule rule = kRules[static_cast<std::size_t>(state)][static_cast<std::size_t>(call)];
  if (rule.effect == kRefused) rule.next = state;
  return rule;
}

std::optional<RuntimeState> release_of(RuntimeState state) noexcept {
  if (state == kReady) return kRunning;
  if (state == kRestoreReady) return kRestoring;
  return std::nullopt;
}

std::optional<RuntimeState> response_sent(RuntimeState state) noexcept {
  if (state == kInvocationResponse || state == kInvocationErrorResponse) return kResponseSent;
  return std::nullopt;
}

std::string_view name_of(RuntimeState state) noexcept {
  return kNames[static_cast<std::size_t>(state)];
}

std::string refusal_body(RuntimeState state, RuntimeCall call) {
  const RuntimeState target = kTargets[static_cast<std::size_t>(call)];
  return R"({"errorMessage":"State transition from )" + std::string(name_of(state)) + " to " +
         std::string(name_of(target)) +
         R"( failed for runtime. Error: State transition is not allowed",)" +
         R"("errorType":"InvalidStateTransition"})";
}

}  // namespace fnrun::supervisor
