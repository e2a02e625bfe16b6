// Every system call by its number, with zeroes: how many of them answer.
#pragma once

#include "probe.h"

namespace fnrun::probe {

// For the attempt's process. `limited` to the number of calls that were neither refused (ENOSYS,
// EPERM, EAFNOSUPPORT) nor deadly; `open` where hardly any is.
[[nodiscard]] Saw sweep_all_numbers();

}  // namespace fnrun::probe
