/* The platform of a bare RISC-V program on a `virt` board: UART, interrupt controller, syscon. */
#include "kernels.h"

#define REGISTER8(at) (*(volatile u8 *)(at))
#define REGISTER32(at) (*(volatile u32 *)(at))

/* A 16550 at one byte a register. */
#define UART 0x10000000ul
#define UART_DATA REGISTER8(UART)
#define UART_ENABLE REGISTER8(UART + 1)
#define UART_STATUS REGISTER8(UART + 5)
enum { UART_RECEIVED = 1, UART_CAN_SEND = 0x20, UART_LINE = 10 };

/* The PLIC, whose first context is the machine mode of the first hart. */
#define PLIC 0xc000000ul
#define PLIC_PRIORITY REGISTER32(PLIC + 4 * UART_LINE)
#define PLIC_ENABLE REGISTER32(PLIC + 0x2000)
#define PLIC_THRESHOLD REGISTER32(PLIC + 0x200000)
#define PLIC_CLAIM REGISTER32(PLIC + 0x200004)

#define SYSCON REGISTER32(0x100000ul)
enum { SYSCON_PASS = 0x5555, SYSCON_FAIL = 0x3333, MACHINE_EXTERNAL = 1 << 11 };

static u8 code[CODE_BYTES] __attribute__((aligned(65536)));

void platform_start(void)
{
    UART_ENABLE = UART_RECEIVED;
    PLIC_PRIORITY = 1;
    PLIC_THRESHOLD = 0;
    PLIC_ENABLE = 1 << UART_LINE;
    /* Interrupts stay disabled in mstatus: they wake the hart and trap nowhere. */
    __asm__ volatile("csrs mie, %0" ::"r"(MACHINE_EXTERNAL));
}

void platform_write(const char *bytes, u32 length)
{
    for (u32 i = 0; i < length; i++) {
        while (!(UART_STATUS & UART_CAN_SEND))
            ;
        UART_DATA = (u8)bytes[i];
    }
}

i32 platform_read(void)
{
    for (;;) {
        if (UART_STATUS & UART_RECEIVED)
            return UART_DATA;
        __asm__ volatile("wfi" ::: "memory");
        u32 line = PLIC_CLAIM;
        if (line != 0) {
            i32 byte = UART_STATUS & UART_RECEIVED ? UART_DATA : -1;
            PLIC_CLAIM = line;
            if (byte >= 0)
                return byte;
        }
    }
}

u8 *platform_code(void)
{
    return code;
}

u64 platform_instructions(void)
{
    u64 retired;
    __asm__ volatile("csrr %0, minstret" : "=r"(retired));
    return retired;
}

_Noreturn void platform_exit(i32 code)
{
    SYSCON = code == 0 ? SYSCON_PASS : SYSCON_FAIL | (u32)code << 16;
    for (;;)
        ;
}

/* Where a trap ends: no kernel should cause one. */
_Noreturn void trapped(u64 cause)
{
    platform_write("trapped\n", 8);
    platform_exit((i32)(cause & 0xff) + 1);
}
