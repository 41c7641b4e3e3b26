/* Kernels of integer arithmetic, branches and calls. */
#include "kernels.h"

/* Straight arithmetic in one loop: the plainest measure of instructions a second. */
NOINLINE u64 alu(u64 count)
{
    u64 a = 1, b = 2, c = 3;
    for (u64 i = 0; i < count; i++) {
        a = a * 5 + b;
        b ^= a >> 11;
        c += (a & b) | i;
        a ^= c << 3;
        b += c >> 5;
        OPAQUE(a);
    }
    return a ^ b ^ c;
}

/* Lengths of the paths of 3x + 1. */
NOINLINE u64 collatz(u64 count)
{
    u64 sum = 0;
    for (u64 start = 1; start <= count; start++) {
        u64 x = start;
        while (x != 1) {
            x = x & 1 ? 3 * x + 1 : x >> 1;
            sum++;
        }
    }
    return sum;
}

/* Euclid with the remainder instruction. */
NOINLINE u64 gcd(u64 count)
{
    u64 sum = 0;
    for (u64 i = 1; i <= count; i++) {
        for (u64 j = 1; j <= 256; j++) {
            u64 a = i * 7919, b = j * 104729;
            while (b != 0) {
                u64 rest = a % b;
                a = b;
                b = rest;
            }
            sum += a;
        }
    }
    return sum;
}

static NOINLINE u64 fib_of(u64 n)
{
    return n < 2 ? n : fib_of(n - 1) + fib_of(n - 2);
}

/* Calls and returns, nothing else. */
NOINLINE u64 fib(u64 count)
{
    OPAQUE(count);
    return fib_of(count);
}

static NOINLINE u64 place_queens(u32 all, u32 columns, u32 left, u32 right)
{
    if (columns == all)
        return 1;
    u64 ways = 0;
    for (u32 free = all & ~(columns | left | right); free != 0; free &= free - 1) {
        u32 here = free & -free;
        ways += place_queens(all, columns | here, (left | here) << 1, (right | here) >> 1);
    }
    return ways;
}

/* Recursion over sets of bits: queens on a board of this size. */
NOINLINE u64 queens(u64 count)
{
    return place_queens((1u << count) - 1, 0, 0, 0);
}

/* CRC-32 by table, over 64 KiB so many times. */
NOINLINE u64 crc(u64 count)
{
    u32 *table = (u32 *)(void *)arena;
    u8 *data = arena + 4096;
    u64 seed = 1;
    for (u32 i = 0; i < 256; i++) {
        u32 value = i;
        for (u32 bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
        table[i] = value;
    }
    for (u32 i = 0; i < 65536; i++)
        data[i] = (u8)next_random(&seed);
    u32 sum = ~0u;
    for (u64 round = 0; round < count; round++)
        for (u32 i = 0; i < 65536; i++)
            sum = table[(sum ^ data[i]) & 255] ^ sum >> 8;
    return ~sum;
}

static inline u32 rotate_right(u32 value, u32 by)
{
    return value >> by | value << (32 - by);
}

/* The constants of FIPS 180-4: bits of the cube roots of the first 64 primes. */
static void sha256_constants(u32 *constants)
{
    u32 found = 0;
    for (u64 prime = 2; found < 64; prime++) {
        u64 factor = 2;
        while (factor * factor <= prime && prime % factor != 0)
            factor++;
        if (factor * factor <= prime)
            continue;
        /* The largest root with root^3 <= prime * 2^96: three whole bits, 32 of the fraction. */
        u64 root = 0;
        for (u32 bit = 35; bit-- > 0;) {
            u64 guess = root | 1ull << bit;
            unsigned __int128 square = (unsigned __int128)guess * guess;
            /* Compared in units of 2^32, with what is below carried exactly. */
            unsigned __int128 high = (square >> 32) * guess;
            unsigned __int128 low = (square & 0xffffffffu) * guess;
            unsigned __int128 cube = high + (low >> 32);
            if (cube < (unsigned __int128)prime << 64)
                root = guess;
        }
        constants[found++] = (u32)root;
    }
}

static void sha256_block(u32 *state, const u32 *constants, const u8 *block)
{
    u32 w[64], v[8];
    for (u32 i = 0; i < 16; i++)
        w[i] = (u32)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8
             | block[4 * i + 3];
    for (u32 i = 16; i < 64; i++) {
        u32 x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (rotate_right(x, 7) ^ rotate_right(x, 18) ^ x >> 3)
             + w[i - 7] + (rotate_right(y, 17) ^ rotate_right(y, 19) ^ y >> 10);
    }
    for (u32 i = 0; i < 8; i++)
        v[i] = state[i];
    for (u32 i = 0; i < 64; i++) {
        u32 e = v[4], a = v[0];
        u32 one = v[7] + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25))
                + ((e & v[5]) ^ (~e & v[6])) + constants[i] + w[i];
        u32 two = (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22))
                + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        v[7] = v[6], v[6] = v[5], v[5] = e, v[4] = v[3] + one;
        v[3] = v[2], v[2] = v[1], v[1] = a, v[0] = one + two;
    }
    for (u32 i = 0; i < 8; i++)
        state[i] += v[i];
}

/* The compression function of SHA-256, over this many blocks. */
NOINLINE u64 sha256(u64 count)
{
    static u32 constants[64];
    u32 state[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
    u64 seed = 2;
    sha256_constants(constants);
    for (u32 i = 0; i < 4096; i++)
        arena[i] = (u8)next_random(&seed);
    for (u64 i = 0; i < count; i++)
        sha256_block(state, constants, arena + i % 64 * 64);
    return (u64)state[0] << 32 | state[7];
}

static inline void quarter_round(u32 *x, u32 a, u32 b, u32 c, u32 d)
{
    x[a] += x[b], x[d] = rotate_right(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = rotate_right(x[b] ^ x[c], 20);
    x[a] += x[b], x[d] = rotate_right(x[d] ^ x[a], 24);
    x[c] += x[d], x[b] = rotate_right(x[b] ^ x[c], 25);
}

/* Blocks of ChaCha20: rotations with many live values. */
NOINLINE u64 chacha(u64 count)
{
    u32 key[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
    u64 sum = 0;
    for (u32 i = 4; i < 12; i++)
        key[i] = i * 0x01010101u;
    for (u64 block = 0; block < count; block++) {
        u32 x[16];
        key[12] = (u32)block;
        for (u32 i = 0; i < 16; i++)
            x[i] = key[i];
        for (u32 round = 0; round < 10; round++) {
            for (u32 i = 0; i < 4; i++)
                quarter_round(x, i, 4 + i, 8 + i, 12 + i);
            for (u32 i = 0; i < 4; i++)
                quarter_round(x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
        }
        for (u32 i = 0; i < 16; i++)
            sum = sum * 31 + (x[i] + key[i]);
    }
    return sum;
}
