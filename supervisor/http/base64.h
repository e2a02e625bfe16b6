// RFC 4648's base64, for headers that carry bytes. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fnrun::supervisor::http {

[[nodiscard]] std::string encode_base64(std::string_view bytes);
// With or without its padding; nothing for what is none.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace fnrun::supervisor::http
