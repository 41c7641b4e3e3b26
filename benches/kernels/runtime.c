/* What a compiler may call even in a program without a C library. */
#include "kernels.h"

void *memcpy(void *to, const void *from, unsigned long bytes)
{
    for (unsigned long i = 0; i < bytes; i++)
        ((u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}

void *memset(void *to, int byte, unsigned long bytes)
{
    for (unsigned long i = 0; i < bytes; i++)
        ((u8 *)to)[i] = (u8)byte;
    return to;
}
