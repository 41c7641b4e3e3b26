/* Kernels of matrices and floating point. No contraction, so all hosts round alike. */
#include "kernels.h"

enum { SIDE = 64 };

/* Products of matrices of integers. */
NOINLINE u64 int_matrix(u64 count)
{
    static i32 a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
    u64 seed = 10, sum = 0;
    for (u32 i = 0; i < SIDE * SIDE; i++) {
        a[i / SIDE][i % SIDE] = (i32)(next_random(&seed) & 1023);
        b[i / SIDE][i % SIDE] = (i32)(next_random(&seed) & 1023);
    }
    for (u64 round = 0; round < count; round++) {
        for (u32 i = 0; i < SIDE; i++)
            for (u32 j = 0; j < SIDE; j++) {
                i32 dot = 0;
                for (u32 k = 0; k < SIDE; k++)
                    dot += a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        a[round % SIDE][round * 7 % SIDE] = c[round * 5 % SIDE][round % SIDE] & 1023;
        sum = mix(sum, (u64)c[round * 11 % SIDE][round * 13 % SIDE]);
    }
    return sum;
}

/* Products of matrices of doubles. */
NOINLINE u64 matrix(u64 count)
{
    static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
    u64 sum = 0;
    for (u32 i = 0; i < SIDE; i++)
        for (u32 j = 0; j < SIDE; j++) {
            a[i][j] = i * 0.015625 + j;
            b[i][j] = i - j * 0.03;
        }
    for (u64 round = 0; round < count; round++) {
        for (u32 i = 0; i < SIDE; i++)
            for (u32 j = 0; j < SIDE; j++) {
                double dot = 0;
                for (u32 k = 0; k < SIDE; k++)
                    dot += a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        a[round % SIDE][round * 7 % SIDE] += 0.1;
        sum = mix(sum, bits_of(c[round * 11 % SIDE][round * 13 % SIDE]));
    }
    return sum;
}

struct body {
    double at[3], speed[3], mass;
};

static void advance(struct body *bodies, u32 count, double dt)
{
    for (u32 i = 0; i < count; i++)
        for (u32 j = i + 1; j < count; j++) {
            double apart[3], square = 0;
            for (u32 k = 0; k < 3; k++) {
                apart[k] = bodies[i].at[k] - bodies[j].at[k];
                square += apart[k] * apart[k];
            }
            double pull = dt / (square * __builtin_sqrt(square));
            for (u32 k = 0; k < 3; k++) {
                bodies[i].speed[k] -= apart[k] * bodies[j].mass * pull;
                bodies[j].speed[k] += apart[k] * bodies[i].mass * pull;
            }
        }
    for (u32 i = 0; i < count; i++)
        for (u32 k = 0; k < 3; k++)
            bodies[i].at[k] += dt * bodies[i].speed[k];
}

/* A sun and four planets for so many steps: square roots and divisions. */
NOINLINE u64 nbody(u64 count)
{
    struct body bodies[5];
    for (u32 i = 0; i < 5; i++) {
        double far = i * 5.25;
        bodies[i] = (struct body){ { far, far * 0.125 - i, 0.0625 * i },
                                   { 0.03 * i, i ? 1.5 / i : 0.0, -0.01 * i },
                                   i ? 0.04 / i : 39.5 };
    }
    for (u64 step = 0; step < count; step++)
        advance(bodies, 5, 0.001);
    u64 sum = 0;
    for (u32 i = 0; i < 5; i++)
        for (u32 k = 0; k < 3; k++)
            sum = mix(sum, bits_of(bodies[i].at[k]));
    return sum;
}

/* The set on a grid this wide. */
NOINLINE u64 mandelbrot(u64 count)
{
    u64 sum = 0;
    double step = 3.0 / (double)count;
    for (u64 row = 0; row < count; row++)
        for (u64 column = 0; column < count; column++) {
            double cr = (double)column * step - 2.0, ci = (double)row * step - 1.5;
            double zr = 0, zi = 0;
            u32 steps = 0;
            while (steps < 100 && zr * zr + zi * zi < 4.0) {
                double next = zr * zr - zi * zi + cr;
                zi = 2.0 * zr * zi + ci;
                zr = next;
                steps++;
            }
            sum = sum * 3 + steps;
        }
    return sum;
}

/* Between integers, floats and doubles. */
NOINLINE u64 convert(u64 count)
{
    u64 sum = 0;
    float single = 1.0f;
    for (u64 i = 0; i < count; i++) {
        single = single * 1.0001f + (float)(i & 15);
        if (single > 1e6f)
            single = 1.0f;
        double wide = (double)single * 3.5;
        sum = mix(sum, (u64)(i64)wide + (u64)(i64)(i32)single);
    }
    return sum;
}
