/* What kernels and platforms share. A kernel gives a checksum that is the same wherever it runs. */
#ifndef KERNELS_H
#define KERNELS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#define NOINLINE __attribute__((noinline))

/* The compiler must believe that this value may be anything: nothing is folded across it. */
#define OPAQUE(value) __asm__ volatile("" : "+r"(value))

enum { ARENA_BYTES = 24 << 20, CODE_BYTES = 64 << 10 };

/* Memory of the kernel that runs; it holds what the last one left. */
extern u8 arena[ARENA_BYTES];

/* The next number of a fixed sequence: xorshift by Marsaglia, 64 bits. */
static inline u64 next_random(u64 *state)
{
    u64 x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static inline u64 mix(u64 sum, u64 value)
{
    sum ^= value;
    sum *= 0x9e3779b97f4a7c15ull;
    return sum ^ (sum >> 29);
}

static inline u64 bits_of(double value)
{
    union { double value; u64 bits; } both = { .value = value };
    return both.bits;
}

typedef u64 kernel(u64 count);

/* integer.c */
kernel alu, collatz, gcd, fib, queens, crc, sha256, chacha;
/* memory.c */
kernel sieve, copy, strings, chase, sort, hash, tree, lz;
/* real.c */
kernel int_matrix, matrix, nbody, mandelbrot, convert;
/* dispatch.c */
kernel interpret, indirect, generate;
/* cold.c */
kernel cold;

/* The platform: where a program runs. */
void platform_start(void);
/* Writes these bytes to whoever listens. */
void platform_write(const char *bytes, u32 length);
/* The next byte, waiting for it; negative when there will be none. */
i32 platform_read(void);
/* CODE_BYTES that may be written and executed. */
u8 *platform_code(void);
/* Instructions retired so far, where the platform can tell, or zero. */
u64 platform_instructions(void);
_Noreturn void platform_exit(i32 code);

#endif
