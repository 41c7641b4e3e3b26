/* The platform Linux: the host's C library natively, bare system calls for RISC-V. */
#include "kernels.h"

static u8 code[CODE_BYTES] __attribute__((aligned(65536)));

enum { READ_WRITE_EXECUTE = 7 };

#ifdef __riscv
/* System calls by number, so that a cross-compiler without a C library will do. */
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93, SYS_MPROTECT = 226 };

static long system_call(long number, long first, long second, long third)
{
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = first;
    register long a1 __asm__("a1") = second;
    register long a2 __asm__("a2") = third;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}
#define read(file, to, bytes) system_call(SYS_READ, file, (long)(to), bytes)
#define write(file, from, bytes) system_call(SYS_WRITE, file, (long)(from), bytes)
#define mprotect(at, bytes, how) system_call(SYS_MPROTECT, (long)(at), bytes, how)
#define exit(code) (void)system_call(SYS_EXIT, code, 0, 0)
i32 main(void);

__asm__(".globl _start\n"
        "_start:\n"
        ".option push\n"
        ".option norelax\n"
        "la gp, __global_pointer$\n"
        ".option pop\n"
        "andi sp, sp, -16\n"
        "call main\n");
#else
long read(int, void *, unsigned long);
long write(int, const void *, unsigned long);
int mprotect(void *, unsigned long, int);
_Noreturn void exit(int);
#endif

void platform_start(void)
{
    if (mprotect(code, CODE_BYTES, READ_WRITE_EXECUTE) != 0)
        platform_exit(2);
}

void platform_write(const char *bytes, u32 length)
{
    while (length != 0) {
        long wrote = write(1, bytes, length);
        if (wrote <= 0)
            platform_exit(1);
        bytes += wrote;
        length -= (u32)wrote;
    }
}

i32 platform_read(void)
{
    u8 byte;
    return read(0, &byte, 1) == 1 ? byte : -1;
}

u8 *platform_code(void)
{
    return code;
}

u64 platform_instructions(void)
{
    return 0;
}

_Noreturn void platform_exit(i32 code)
{
    exit(code);
    __builtin_unreachable();
}
