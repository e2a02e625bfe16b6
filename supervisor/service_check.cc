#include "supervisor/service_check.h"

#include <algorithm>
#include <charconv>

namespace fnrun::supervisor {
namespace {

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view kDigits = "0123456789";

// 1 to `max` letters, digits and characters of `others`?
bool is_word(std::string_view text, std::size_t max, std::string_view others) {
  return !text.empty() && text.size() <= max && std::all_of(text.begin(), text.end(), [&](char c) {
    return kLower.find(c) != kLower.npos || kUpper.find(c) != kUpper.npos ||
           kDigits.find(c) != kDigits.npos || others.find(c) != others.npos;
  });
}

bool holds_only(std::string_view text, std::string_view first, std::string_view second) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return first.find(c) != first.npos || second.find(c) != second.npos;
  });
}

// A DNS name, an IPv4 address, or an IPv6 address in brackets; whether it exists is not asked.
bool is_host(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']'))
    return holds_only(host.substr(1, host.size() - 2), "0123456789abcdef", ":.");
  return !host.starts_with('.') && !host.starts_with('-') &&
         host.find("..") == std::string_view::npos && (holds_only(host, kLower, "0123456789.-_"));
}

std::string port_fault(std::string_view port, unsigned own) {
  unsigned number = 0;
  const char* const end = port.data() + port.size();
  const auto [stop, error] = std::from_chars(port.data(), end, number);
  if (error != std::errc{} || stop != end || number == 0 || number > 65'535 ||
      port.starts_with('0'))
    return "has a port that is none: 1 to 65535, without zeros before it";
  if (number == own)
    return "names the port " + std::to_string(own) +
           ", which browsers leave out as the scheme's own; leave it out, too";
  return "";
}

}  // namespace

std::string function_name_fault(std::string_view name) {
  if (is_word(name, kFunctionNameMax, "_-")) return "";
  return "a function is named by 1 to " + std::to_string(kFunctionNameMax) +
         " of A-Z, a-z, 0-9, _ and -";
}

std::string credential_name_fault(std::string_view name) {
  if (is_word(name, kCredentialNameMax, "._-") && name != "." && name != "..") return "";
  return "must name a credential of systemd: 1 to " + std::to_string(kCredentialNameMax) +
         " of A-Z, a-z, 0-9, \".\", _ and -, not \".\" or \"..\"";
}

std::string origin_fault(std::string_view origin) {
  if (origin == "*" || origin == "null")
    return "must name one web site: \"" + std::string(origin) +
           "\" would let every page that a user opens call; list those that may";
  const bool secure = origin.starts_with("https://");
  if (origin.size() > kOriginMax || (!secure && !origin.starts_with("http://")))
    return "must be a web page's origin, as \"https://example.com\" or \"http://localhost:3000\"";
  const std::string_view place = origin.substr(origin.find("://") + 3);
  const std::size_t in_brackets = place.starts_with('[') ? place.find(']') : 0;
  const std::size_t colon = place.find(':', std::min(in_brackets, place.size()));
  if (!is_host(place.substr(0, colon)))
    return "must be scheme://host or scheme://host:port in lower case, with nothing behind: no "
           "path, no \"/\" at its end, no \"*\"";
  if (colon == std::string_view::npos) return "";
  return port_fault(place.substr(colon + 1), secure ? 443 : 80);
}

}  // namespace fnrun::supervisor
