// The status page, as bytes of this library, and the header that keeps it harmless.
//
// One document without anything from outside; it asks for /status and shows what that says. Made of
// page/ when the build is configured. Constants, and a function of them; any
// thread.
#pragma once

#include <string_view>

#include "supervisor/http/message.h"

namespace fnrun::supervisor::http {

extern const std::string_view kPage;
// For `Content-Security-Policy`: this script, this style, nothing else, by their hashes; so that
// whatever words of a handler should ever get into the page, they are text.
extern const std::string_view kPageSecurityPolicy;

// The page with its headers: the answer to GET /.
[[nodiscard]] Response page_answer();

}  // namespace fnrun::supervisor::http
