// Classic BPF run over a seccomp_data, as seccomp(2) does it in the kernel.
//
// Lets the tests ask a compiled filter for its verdict on any call, of any architecture, without
// making the call. Written from the kernel's description, not from libseccomp. Pure.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <optional>
#include <span>

namespace fnrun::test {

// The SECCOMP_RET_* value; nothing for a program that the kernel would not have loaded or that does
// not come to an end.
[[nodiscard]] std::optional<std::uint32_t> run_filter(std::span<const sock_filter> program,
                                                      const seccomp_data& call);

}  // namespace fnrun::test
