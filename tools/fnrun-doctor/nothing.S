/* What the doctor launches in a sandbox: ends at once, needs no library and one system call. */
#include <asm/unistd.h>

    .globl _start
_start:
    movl $__NR_exit_group, %eax
    xorl %edi, %edi
    syscall
    hlt
    .section .note.GNU-stack, "", @progbits
