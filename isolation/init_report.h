// What a sandbox's init said at its end, into the Exit. Private to this room. Pure.
//
// The init is ours, but it runs beside what is not: a datagram is taken for what it says only as
// far as it makes sense.
#pragma once

#include <cstddef>
#include <span>

#include "isolation/sandbox.h"

namespace fnrun::isolation {

// One datagram of child/launch_plan.h. Of another size, kind or maker than there is: passed over.
// False if so.
bool take_report(std::span<const std::byte> datagram, Exit& exit);

}  // namespace fnrun::isolation
