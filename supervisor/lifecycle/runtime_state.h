// What a runtime of the Lambda Runtime API may call when: one table, and the words of a refusal.
//
// Nothing of the fnrun protocol uses it: its handlers make no calls. The Runtime API's server asks
// rule_for() at each call and tells release_of() when the supervisor lets a blocked one go. Pure;
// any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fnrun::supervisor {

enum class RuntimeState : std::uint8_t {
  kStarted,
  kInitError,
  kReady,  // Blocked in /next.
  kRunning,
  kRestoreReady,  // Blocked in /restore/next.
  kRestoring,
  kInvocationResponse,
  kInvocationErrorResponse,
  kResponseSent,
  kRestoreError,
};
inline constexpr std::size_t kRuntimeStates = 10;

enum class RuntimeCall : std::uint8_t {
  kNext,
  kResponse,
  kError,
  kInitError,
  kRestoreNext,
  kRestoreError,
};
inline constexpr std::size_t kRuntimeCalls = 6;

enum class CallEffect : std::uint8_t {
  kRefused,       // 403, refusal_body(). No change of state.
  kAccepted,      // 202.
  kBlocks,        // Until it is released.
  kRepeatsEvent,  // 200 with the same event again.
};
struct CallRule {
  CallEffect effect = CallEffect::kRefused;
  RuntimeState next{};  // The state after it; the same where it is refused.
  friend bool operator==(const CallRule&, const CallRule&) = default;
};
[[nodiscard]] CallRule rule_for(RuntimeState state, RuntimeCall call) noexcept;

// The supervisor's own steps: a blocked runtime is let go, an answer has been sent on.
[[nodiscard]] std::optional<RuntimeState> release_of(RuntimeState state) noexcept;
[[nodiscard]] std::optional<RuntimeState> response_sent(RuntimeState state) noexcept;

// As clients of the original see them.
[[nodiscard]] std::string_view name_of(RuntimeState state) noexcept;
// {"errorMessage":"State transition from <A> to <B> failed for runtime. …","errorType":"…"}
[[nodiscard]] std::string refusal_body(RuntimeState state, RuntimeCall call);

}  // namespace fnrun::supervisor
