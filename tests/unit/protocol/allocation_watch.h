// The largest single allocation by operator new since it was last set to 0, in the whole program.
#pragma once

#include <atomic>
#include <cstddef>

extern std::atomic<std::size_t> largest_allocation;
