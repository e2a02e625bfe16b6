// The table of all probes, in the order of trying and printing.
//
// A row comes after those that it hangs on. Constant; no thread rule.
#pragma once

#include <vector>

#include "probe.h"

namespace fnrun::doctor {

[[nodiscard]] const std::vector<Probe>& probe_table();

}  // namespace fnrun::doctor
