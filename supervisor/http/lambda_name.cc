#include "supervisor/http/lambda_name.h"

namespace fnrun::supervisor::http {

LambdaName parse_lambda_name(std::string_view text) {
  constexpr std::string_view kBefore = ":function:";
  if (const auto at = text.find(kBefore); at != std::string_view::npos)
    text = text.substr(at + kBefore.size());
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return {std::string(text), {}};
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

}  // namespace fnrun::supervisor::http
