// What a call is called: the client's word for it, where that is one, or a new UUID.
//
// Functions; one thread, for what is random is drawn ahead.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fnrun::supervisor::http {

// A word of a client that may stand in headers and logs: 1 to 128 of letters, digits and "-_.:/=+".
[[nodiscard]] bool is_request_id(std::string_view text) noexcept;
// RFC 9562, version 4.
[[nodiscard]] std::string new_request_id();
// `given`, if it is one; else a new one.
[[nodiscard]] std::string request_id_or_new(std::string_view given);

}  // namespace fnrun::supervisor::http
