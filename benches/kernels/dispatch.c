/* Kernels of indirect control flow: an interpreter, calls by pointer, code made while running. */
#include "kernels.h"

enum operation { PUSH, LOAD, STORE, ADD, SUB, MUL, AND, XOR, LESS, JUMP_IF, END };

/* sum = 0; i = 0; do { sum = (sum ^ i * i) + (i & 7) - 3; i = i + 1; } while (i < count); */
static const i32 program[] = {
    PUSH, 0, STORE, 0, PUSH, 0, STORE, 1,
    LOAD, 0, LOAD, 1, LOAD, 1, MUL, XOR, LOAD, 1, PUSH, 7, AND, ADD, PUSH, 3, SUB, STORE, 0,
    LOAD, 1, PUSH, 1, ADD, STORE, 1, LOAD, 1, LOAD, 2, LESS, JUMP_IF, 8,
    END,
};

static NOINLINE u64 run(const i32 *code, u64 *locals)
{
    u64 stack[16], *top = stack;
    for (const i32 *pc = code;;) {
        switch ((enum operation)*pc++) {
        case PUSH: *top++ = (u64)*pc++; break;
        case LOAD: *top++ = locals[*pc++]; break;
        case STORE: locals[*pc++] = *--top; break;
        case ADD: top--, top[-1] += *top; break;
        case SUB: top--, top[-1] -= *top; break;
        case MUL: top--, top[-1] *= *top; break;
        case AND: top--, top[-1] &= *top; break;
        case XOR: top--, top[-1] ^= *top; break;
        case LESS: top--, top[-1] = top[-1] < *top; break;
        case JUMP_IF: pc = *--top ? code + *pc : pc + 1; break;
        case END: return locals[0];
        }
    }
}

/* A stack machine that dispatches by switch, for so many turns of its loop. */
NOINLINE u64 interpret(u64 count)
{
    u64 locals[3] = { 0, 0, count };
    return run(program, locals);
}

#define FUNCTION(number)                                                                           \
    static NOINLINE u64 function_##number(u64 x)                                                   \
    {                                                                                              \
        return x * (2 * number + 1) + number;                                                      \
    }
FUNCTION(0) FUNCTION(1) FUNCTION(2) FUNCTION(3)
FUNCTION(4) FUNCTION(5) FUNCTION(6) FUNCTION(7)

/* Calls through pointers, to another function each time. */
NOINLINE u64 indirect(u64 count)
{
    static u64 (*const volatile functions[8])(u64) = {
        function_0, function_1, function_2, function_3,
        function_4, function_5, function_6, function_7,
    };
    u64 x = 1;
    u32 which = 1;
    for (u64 i = 0; i < count; i++) {
        which = which * 1103515245 + 12345;
        x = functions[which >> 16 & 7](x);
    }
    return x;
}

typedef u64 generated(u64);

/* Writes the code of x -> y + (y << shift), where y is x + added, and makes it visible. */
static generated *emit(u8 *at, u32 added, u32 shift)
{
#if defined(__riscv)
    u32 *word = (u32 *)(void *)at;
    word[0] = 0x00050513u | added << 20; /* addi a0, a0, added */
    word[1] = 0x00051293u | shift << 20; /* slli t0, a0, shift */
    word[2] = 0x00550533u;               /* add  a0, a0, t0    */
    word[3] = 0x00008067u;               /* ret                */
    __asm__ volatile("fence.i" ::: "memory");
#elif defined(__x86_64__)
    u8 code[] = {
        0x48, 0x8d, 0xbf, (u8)added, (u8)(added >> 8), 0, 0, /* lea rdi, [rdi + added] */
        0x48, 0x89, 0xf8,                                    /* mov rax, rdi           */
        0x48, 0xc1, 0xe0, (u8)shift,                         /* shl rax, shift         */
        0x48, 0x01, 0xf8, 0xc3,                              /* add rax, rdi; ret      */
    };
    for (u32 i = 0; i < sizeof code; i++)
        at[i] = code[i];
    __asm__ volatile("" ::: "memory");
#elif defined(__aarch64__)
    u32 *word = (u32 *)(void *)at;
    word[0] = 0x91000000u | added << 10; /* add x0, x0, #added          */
    word[1] = 0x8b000000u | shift << 10; /* add x0, x0, x0, lsl #shift  */
    word[2] = 0xd65f03c0u;               /* ret                         */
    __builtin___clear_cache((char *)at, (char *)at + 12);
#else
#error "generate: say how this architecture adds and shifts"
#endif
    return (generated *)(void *)at;
}

/* Makes a function, calls it a few times, makes the next over old code: translators dread it. */
NOINLINE u64 generate(u64 count)
{
    u8 *code = platform_code();
    u64 x = 1;
    for (u64 i = 0; i < count; i++) {
        generated *made = emit(code + (i * 64 & (CODE_BYTES - 1)), (u32)(i % 1999), i % 31 + 1);
        for (u32 call = 0; call < 4; call++)
            x = made(x);
    }
    return x;
}
