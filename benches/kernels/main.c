/* The program: takes a line with a kernel's name and a count, answers with its checksum. */
#include "kernels.h"

u8 arena[ARENA_BYTES] __attribute__((aligned(4096)));

static const struct {
    const char *name;
    kernel *run;
} kernels[] = {
    { "alu", alu },           { "collatz", collatz },
    { "gcd", gcd },           { "fib", fib },
    { "queens", queens },     { "crc", crc },
    { "sha256", sha256 },     { "chacha", chacha },
    { "sieve", sieve },       { "copy", copy },
    { "strings", strings },   { "chase", chase },
    { "sort", sort },         { "hash", hash },
    { "tree", tree },         { "lz", lz },
    { "int-matrix", int_matrix }, { "matrix", matrix },
    { "nbody", nbody },       { "mandelbrot", mandelbrot },
    { "convert", convert },   { "interpret", interpret },
    { "indirect", indirect }, { "generate", generate },
    { "cold", cold },
};

static void say(const char *text)
{
    u32 length = 0;
    while (text[length] != 0)
        length++;
    platform_write(text, length);
}

static void say_hex(u64 value)
{
    char text[18];
    text[0] = ' ';
    for (u32 i = 0; i < 16; i++)
        text[1 + i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    text[17] = 0;
    say(text);
}

/* Reads a line without its end; what does not fit is dropped. Negative at the end of input. */
static i32 hear_line(char *line, u32 room)
{
    u32 length = 0;
    for (;;) {
        i32 byte = platform_read();
        if (byte < 0)
            return -1;
        if (byte == '\n') {
            line[length] = 0;
            return (i32)length;
        }
        if (length + 1 < room)
            line[length++] = (char)byte;
    }
}

/* Where the count begins, if the line begins with this name. */
static const char *after_name(const char *line, const char *name)
{
    while (*name != 0 && *line == *name)
        line++, name++;
    return *name == 0 && *line == ' ' ? line + 1 : 0;
}

static void answer(const char *line)
{
    for (u32 i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        const char *digits = after_name(line, kernels[i].name);
        u64 count = 0;
        if (digits == 0)
            continue;
        for (; *digits >= '0' && *digits <= '9'; digits++)
            count = count * 10 + (u64)(*digits - '0');
        u64 before = platform_instructions();
        u64 sum = kernels[i].run(count);
        u64 retired = platform_instructions() - before;
        say("done");
        say_hex(sum);
        say_hex(retired);
        say("\n");
        return;
    }
    say("unknown\n");
}

i32 main(void)
{
    char line[64];
    platform_start();
    say("ready\n");
    while (hear_line(line, sizeof line) >= 0)
        answer(line);
    platform_exit(0);
}
