// Times as people write them: "250ms", "2s", "1m", "1h"; a bare number is seconds, as for
// timeout(1). Pure; any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace fnrun::supervisor {

// From 1 ms to a day; anything else is none.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace fnrun::supervisor
