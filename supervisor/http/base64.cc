#include "supervisor/http/base64.h"

// Beast's own, which it does not promise to keep: this file is all that would have to change.
#include <boost/beast/core/detail/base64.hpp>

namespace fnrun::supervisor::http {

namespace codec = boost::beast::detail::base64;

std::string encode_base64(std::string_view bytes) {
  std::string out(codec::encoded_size(bytes.size()), '\0');
  out.resize(codec::encode(out.data(), bytes.data(), bytes.size()));
  return out;
}

std::optional<std::string> decode_base64(std::string_view text) {
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out(codec::decoded_size(text.size() + 3), '\0');
  const auto [written, read] = codec::decode(out.data(), text.data(), text.size());
  if (read != text.size()) return std::nullopt;
  out.resize(written);
  return out;
}

}  // namespace fnrun::supervisor::http
