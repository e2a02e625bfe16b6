// Why a sandbox could not be made: the step, the position in that step's list, and errno.
//
// A plain value; its text says what failed, on what, and what to do about it.
#pragma once

#include <boost/assert/source_location.hpp>
#include <boost/system/result.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "isolation/child/setup_step.h"

namespace fnrun::isolation {

struct SetupError {
  SetupStep step = SetupStep::kNone;
  std::uint16_t index = 0;  // Which mount, limit, rule … of that step.
  int os_errno = 0;         // 0 where no system call failed.
  std::string subject;      // What it was about: a path, a rule, a layer.

  // "mount 3 '/usr/lib' (step fs-op): EACCES (Permission denied); hint: …"
  [[nodiscard]] std::string to_string() const;
};
// boost::system::result wants this for .value(); throws std::runtime_error.
[[noreturn]] void throw_exception_from_error(const SetupError& error,
                                             const boost::source_location& where);

template <class T>
using Result = boost::system::result<T, SetupError>;

// "pivot-root": stable within a version, for reports.
[[nodiscard]] std::string_view name_of(SetupStep step) noexcept;

}  // namespace fnrun::isolation
