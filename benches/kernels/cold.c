/* Code that is run a few times and no more: whoever translates it earns little for the work. */
#include "kernels.h"

typedef u64 cold_function(u64, u64 *);

/* No two of them are alike, so that no compiler makes one of several. */
#define FUNCTION(n)                                                          \
    static NOINLINE u64 cold_##n(u64 x, u64 *state)                          \
    {                                                                        \
        u64 y = (x ^ 0x9e3779b97f4a7c15ull * n) + state[n % 31];             \
        for (u32 i = 0; i < (y >> 62) + 1; i++)                              \
            y = (y << (n % 23 + 1) | y >> (63 - n % 23)) ^ state[i + n % 7]; \
        if (y >> (n % 11) & 1)                                               \
            state[n % 29] += y;                                              \
        else                                                                 \
            state[(y >> 9) & 31] ^= x - n;                                   \
        return y & 4 ? y - (x >> (n % 13)) : y + n;                          \
    }
#define NAME(n) cold_##n,

/* Ten, a hundred, a thousand times, with the digits of each number in turn. */
#define TEN(make, n)                                                           \
    make(n##0) make(n##1) make(n##2) make(n##3) make(n##4) make(n##5) make(n##6) \
        make(n##7) make(n##8) make(n##9)
#define HUNDRED(make, n)                                                       \
    TEN(make, n##0) TEN(make, n##1) TEN(make, n##2) TEN(make, n##3)            \
    TEN(make, n##4) TEN(make, n##5) TEN(make, n##6) TEN(make, n##7)            \
    TEN(make, n##8) TEN(make, n##9)
#define THOUSAND(make, n)                                                      \
    HUNDRED(make, n##0) HUNDRED(make, n##1) HUNDRED(make, n##2)                \
    HUNDRED(make, n##3) HUNDRED(make, n##4) HUNDRED(make, n##5)                \
    HUNDRED(make, n##6) HUNDRED(make, n##7) HUNDRED(make, n##8)                \
    HUNDRED(make, n##9)

THOUSAND(FUNCTION, 1)
THOUSAND(FUNCTION, 2)

static cold_function *const functions[] = { THOUSAND(NAME, 1) THOUSAND(NAME, 2) };

NOINLINE u64 cold(u64 count)
{
    u64 state[40], seed = 88172645463325252ull, x = 1;
    for (u32 i = 0; i < 40; i++)
        state[i] = next_random(&seed);
    for (u64 round = 0; round < count; round++)
        for (u32 i = 0; i < sizeof functions / sizeof functions[0]; i++)
            x = mix(x, functions[i](x, state));
    return x;
}
