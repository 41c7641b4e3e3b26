/* The program that the debugger is tried on: bare, one hart, on the RISC-V board. */
volatile long balance = 100;
volatile long other;

__attribute__((noinline)) void pay(long amount) {
    balance += amount;
}

__attribute__((noinline)) long walk(int depth) {
    if (depth == 0) {
        pay(-42);
        return 1;
    }
    return walk(depth - 1) + 1;
}

__attribute__((noinline)) void close_books(void) {
    other = -1;
}

int main(void) {
    for (int day = 0; day < 200000; day++) {
        other += day;
        if (day == 777)
            pay(5);
        if (day == 150000)
            walk(3);
    }
    close_books();
    return 0;
}

__asm__(".pushsection .text.start, \"ax\"\n"
        ".globl _start\n"
        "_start:\n"
        "    la sp, stack_top\n"
        "    call main\n"
        "    li t0, 0x100000\n"
        "    li t1, 0x5555\n"
        "    sw t1, 0(t0)\n"
        "1:  j 1b\n"
        ".popsection\n"
        ".pushsection .bss\n"
        ".balign 16\n"
        ".space 4096\n"
        "stack_top:\n"
        ".popsection\n");
