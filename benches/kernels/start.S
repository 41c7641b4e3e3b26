# The first instructions of a bare program: one hart, a stack, floating point on.
    .section .text.start, "ax"
    .globl _start
_start:
    csrr t0, mhartid
    bnez t0, park
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, stack_top
    la t0, trap
    csrw mtvec, t0
    li t0, 1 << 13              # mstatus.FS = initial
    csrs mstatus, t0
    csrw fcsr, zero
    call main
park:
    wfi
    j park

    .balign 4
trap:
    csrr a0, mcause
    la sp, stack_top
    call trapped
