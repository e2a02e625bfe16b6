/* The init program as bytes of this library: no path to look up, nothing to tamper with. */
    .section .rodata
    .globl fnrun_init_image_begin
    .globl fnrun_init_image_end
    .balign 16
fnrun_init_image_begin:
    .incbin FNRUN_INIT_PATH
fnrun_init_image_end:
    .section .note.GNU-stack,"",@progbits
