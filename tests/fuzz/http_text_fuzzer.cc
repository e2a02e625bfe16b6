// What clients and operators write as text: targets, names, base64, addresses, times, ids.
// Properties: what was taken apart is bounded and what it claims to be; base64 goes both ways;
// nothing that was accepted could break out of a header or a log.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "supervisor/duration_text.h"
#include "supervisor/http/base64.h"
#include "supervisor/http/lambda_name.h"
#include "supervisor/http/listen.h"
#include "supervisor/http/request_id.h"
#include "supervisor/http/target.h"

namespace {
namespace http = fnrun::supervisor::http;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_target(std::string_view text) {
  const auto target = http::parse_target(text);
  if (!target) return;
  require(text.starts_with('/'));
  require(target->path.size() <= http::kTargetPartsMax);
  require(target->parameters.size() <= http::kTargetPartsMax);
  std::size_t bytes = 0;
  for (const auto& segment : target->path) bytes += segment.size();
  for (const auto& [name, value] : target->parameters) {
    bytes += name.size() + value.size();
    require(target->parameter(name) != nullptr);
  }
  require(bytes <= text.size());  // Decoding makes nothing longer.
}

void check_address(std::string_view text) {
  const auto parsed = http::parse_listen_address(text, [](const char*) { return nullptr; });
  const auto* const address = std::get_if<http::ListenAddress>(&parsed);
  if (address == nullptr) return;
  require(address->host.empty() != address->path.empty());
  require(address->path.empty() || address->path[0] == '/');
  // Whoever says nothing of an address is not shown to the world.
  require(text.find(':') != std::string_view::npos || !address->is_public());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_target(text);
  check_address(text);
  require(http::decode_base64(http::encode_base64(text)) == text);
  if (const auto bytes = http::decode_base64(text))
    require(http::decode_base64(http::encode_base64(*bytes)) == *bytes);
  const auto name = http::parse_lambda_name(text);
  require(name.name.size() + name.qualifier.size() <= text.size());
  require(name.name.find(':') == std::string::npos);
  if (const auto time = fnrun::supervisor::parse_duration(text))
    require(time->count() >= 1 && *time <= std::chrono::hours(24));
  const std::string id = http::request_id_or_new(text);
  require(!id.empty() && id.size() <= 128);
  require(
      std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c <= '~' && c != '"'; }));
  return 0;
}
