#include "probe.h"

#include <cstring>
#include <utility>

namespace fnrun::doctor {

std::string_view name_of(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kWorks:
      return "works";
    case Verdict::kMissing:
      return "missing";
    case Verdict::kUntested:
      return "untested";
  }
  return "?";
}

Finding works(std::string why) {
  return {Verdict::kWorks, std::move(why)};
}
Finding missing(std::string why) {
  return {Verdict::kMissing, std::move(why)};
}
Finding untested(std::string why) {
  return {Verdict::kUntested, std::move(why)};
}

Finding failed(std::string_view call, int os_errno) {
  const char* name = ::strerrorname_np(os_errno);
  const char* words = ::strerrordesc_np(os_errno);
  return missing(std::string(call) + ": " + (name != nullptr ? name : std::to_string(os_errno)) +
                 (words != nullptr ? std::string(" (") + words + ")" : ""));
}

}  // namespace fnrun::doctor
