#include "supervisor/http/target.h"

#include <algorithm>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

namespace fnrun::supervisor::http {

const std::string* Target::parameter(std::string_view name) const noexcept {
  const auto found = std::find_if(parameters.begin(), parameters.end(),
                                  [&](const auto& pair) { return pair.first == name; });
  return found == parameters.end() ? nullptr : &found->second;
}

std::optional<Target> parse_target(std::string_view text) {
  const auto url = boost::urls::parse_origin_form({text.data(), text.size()});
  if (url.has_error()) return std::nullopt;
  if (url->encoded_segments().size() > kTargetPartsMax ||
      url->encoded_params().size() > kTargetPartsMax)
    return std::nullopt;
  Target target;
  for (const auto& segment : url->segments()) target.path.emplace_back(segment);
  for (const auto& parameter : url->params())
    target.parameters.emplace_back(parameter.key, parameter.value);
  return target;
}

}  // namespace fnrun::supervisor::http
