// What a service's words must be, for whoever takes them: the config file, or a command line.
//
// Each returns what is wrong, to stand behind the name of the thing, or "". Knows none of the
// things named: whether there is such a function or credential, others say. Pure functions; any
// thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fnrun::supervisor {

inline constexpr std::size_t kFunctionNameMax = 64;     // AWS Lambda's.
inline constexpr std::size_t kCredentialNameMax = 255;  // NAME_MAX: systemd makes a file of each.
inline constexpr std::size_t kOriginMax = 512;          // A DNS name has 253 bytes at most.

[[nodiscard]] std::string function_name_fault(std::string_view name);
[[nodiscard]] std::string credential_name_fault(std::string_view name);
// A web page's origin as browsers write it: http or https, lower case, a port only if it is not the
// scheme's own. What they would write otherwise would never match, so it is refused, as are "*"
// and "null", which are anybody.
[[nodiscard]] std::string origin_fault(std::string_view origin);

}  // namespace fnrun::supervisor
