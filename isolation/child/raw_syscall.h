// System calls without libc: no errno, no TLS, no cancellation points.
//
// Between clone3(2) and execve(2) the child may share the memory, and so the thread-local errno, of
// a running parent; libc's wrappers would write to it. And the init of a sandbox has no libc at
// all. Returns what the kernel returns: a value, or -errno.
#pragma once

#ifndef __x86_64__
#error "fnrun needs x86_64: its system call profiles are written for that ABI"
#endif

namespace fnrun::child {

// SAFETY: the kernel clobbers rcx and r11 and may write memory through pointer arguments.
inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                        long f = 0) noexcept {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

template <class T>
inline long as_arg(T* pointer) noexcept {
  return reinterpret_cast<long>(pointer);
}

}  // namespace fnrun::child
