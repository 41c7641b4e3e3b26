/* Kernels whose work is loads and stores: arrays, strings, links, tables. */
#include "kernels.h"

/* Primes below two million, so many times. */
NOINLINE u64 sieve(u64 count)
{
    enum { LIMIT = 2000000 };
    u64 sum = 0;
    for (u64 round = 0; round < count; round++) {
        for (u32 i = 0; i < LIMIT; i++)
            arena[i] = 1;
        for (u32 i = 2; i * i < LIMIT; i++)
            if (arena[i])
                for (u32 j = i * i; j < LIMIT; j += i)
                    arena[j] = 0;
        for (u32 i = 2; i < LIMIT; i++)
            sum += arena[i];
    }
    return sum;
}

static NOINLINE void copy_words(u64 *to, const u64 *from, u64 words)
{
    for (u64 i = 0; i < words; i++)
        to[i] = from[i];
}

static NOINLINE void copy_bytes(u8 *to, const u8 *from, u64 bytes)
{
    for (u64 i = 0; i < bytes; i++) {
        to[i] = from[i];
        /* Byte for byte, as it is written. */
        __asm__ volatile("" ::: "memory");
    }
}

/* A MiB by words and 64 KiB by bytes, so many times. */
NOINLINE u64 copy(u64 count)
{
    u64 *from = (u64 *)(void *)arena, *to = from + (1 << 17);
    u64 seed = 3, sum = 0;
    for (u32 i = 0; i < 1 << 17; i++)
        from[i] = next_random(&seed);
    for (u64 round = 0; round < count; round++) {
        from[round & 0xffff] += round;
        copy_words(to, from, 1 << 17);
        copy_bytes(arena + (4 << 20) + (round & 7), (u8 *)to, 1 << 16);
        sum = mix(sum, to[round * 4099 & 0x1ffff] + arena[(4 << 20) + (round & 0xffff)]);
    }
    return sum;
}

static NOINLINE u64 length_of(const char *text)
{
    u64 length = 0;
    while (text[length] != 0) {
        length++;
        __asm__ volatile("" ::: "memory");
    }
    return length;
}

static NOINLINE i32 compare(const char *a, const char *b)
{
    while (*a != 0 && *a == *b)
        a++, b++;
    return (u8)*a - (u8)*b;
}

/* Makes words, measures them, upper-cases them, looks each up in a list. */
NOINLINE u64 strings(u64 count)
{
    enum { WORDS = 64, ROOM = 32 };
    char(*words)[ROOM] = (char(*)[ROOM])(void *)arena;
    char copy[ROOM];
    u64 seed = 4, sum = 0;
    for (u32 i = 0; i < WORDS; i++) {
        u32 length = 4 + next_random(&seed) % (ROOM - 5);
        for (u32 at = 0; at < length; at++)
            words[i][at] = (char)('a' + next_random(&seed) % 3);
        words[i][length] = 0;
    }
    for (u64 round = 0; round < count; round++) {
        const char *word = words[next_random(&seed) % WORDS];
        u64 length = length_of(word);
        for (u64 at = 0; at <= length; at++)
            copy[at] = word[at] >= 'a' && word[at] <= 'z' ? (char)(word[at] - 32) : word[at];
        u32 found = 0;
        while (compare(words[found], word) != 0)
            found++;
        sum = mix(sum, length + found + (u64)compare(copy, word));
    }
    return sum;
}

/* Follows a random cycle through 8 MiB: nothing but dependent loads. */
NOINLINE u64 chase(u64 count)
{
    enum { NODES = 1 << 20 };
    struct node { struct node *next; } *nodes = (struct node *)(void *)arena;
    u32 *order = (u32 *)(void *)(arena + NODES * sizeof(struct node));
    u64 seed = 5, sum = 0;
    for (u32 i = 0; i < NODES; i++)
        order[i] = i;
    for (u32 i = NODES - 1; i > 0; i--) {
        u32 other = (u32)(next_random(&seed) % i), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    for (u32 i = 0; i < NODES; i++)
        nodes[i].next = &nodes[order[i]];
    const struct node *at = nodes;
    for (u64 step = 0; step < count; step++) {
        at = at->next;
        sum += (u64)(at - nodes);
    }
    return sum;
}

static NOINLINE void sort_range(u32 *items, i64 low, i64 high)
{
    while (low < high) {
        u32 pivot = items[(low + high) / 2];
        i64 i = low, j = high;
        while (i <= j) {
            while (items[i] < pivot)
                i++;
            while (items[j] > pivot)
                j--;
            if (i <= j) {
                u32 kept = items[i];
                items[i++] = items[j];
                items[j--] = kept;
            }
        }
        /* The smaller part by recursion, so that the stack stays small. */
        if (j - low < high - i) {
            sort_range(items, low, j);
            low = i;
        } else {
            sort_range(items, i, high);
            high = j;
        }
    }
}

/* Quicksort of so many numbers. */
NOINLINE u64 sort(u64 count)
{
    u32 *items = (u32 *)(void *)arena;
    u64 seed = 6, sum = 0;
    for (u64 i = 0; i < count; i++)
        items[i] = (u32)next_random(&seed);
    sort_range(items, 0, (i64)count - 1);
    for (u64 i = 0; i < count; i += 97)
        sum = mix(sum, items[i]);
    return sum;
}

/* Counts keys in an open hash table of 4 MiB. */
NOINLINE u64 hash(u64 count)
{
    enum { SLOTS = 1 << 18 };
    struct slot { u64 key, count; } *slots = (struct slot *)(void *)arena;
    u64 seed = 7, sum = 0;
    for (u32 i = 0; i < SLOTS; i++)
        slots[i] = (struct slot){ 0, 0 };
    for (u64 i = 0; i < count; i++) {
        u64 key = next_random(&seed) % 100000 + 1;
        u64 at = key * 0x9e3779b97f4a7c15ull >> 46;
        while (slots[at].key != 0 && slots[at].key != key)
            at = (at + 1) & (SLOTS - 1);
        slots[at].key = key;
        sum += slots[at].count++ * key;
    }
    return sum;
}

/* Builds a binary tree of so many keys, then walks down it for as many others. */
NOINLINE u64 tree(u64 count)
{
    struct node { struct node *side[2]; u64 key; } *pool = (struct node *)(void *)arena, *root = 0;
    u64 seed = 8, sum = 0;
    for (u64 i = 0; i < count; i++) {
        struct node *fresh = &pool[i], **link = &root;
        *fresh = (struct node){ { 0, 0 }, next_random(&seed) };
        while (*link != 0)
            link = &(*link)->side[fresh->key > (*link)->key];
        *link = fresh;
    }
    for (u64 i = 0; i < count; i++) {
        u64 wanted = next_random(&seed);
        for (struct node *at = root; at != 0; at = at->side[wanted > at->key])
            sum++;
    }
    return sum;
}

static u32 pack(const u8 *from, u32 bytes, u8 *to, u32 *seen)
{
    u32 at = 0, out = 0;
    while (at < bytes) {
        u32 length = 0, distance = 0;
        if (at + 4 <= bytes) {
            u32 word = from[at] | from[at + 1] << 8 | from[at + 2] << 16 | (u32)from[at + 3] << 24;
            u32 *last = &seen[word * 2654435761u >> 18];
            u32 candidate = *last;
            *last = at + 1;
            if (candidate != 0 && at + 1 - candidate < 65536) {
                distance = at + 1 - candidate;
                while (length < 255 && at + length < bytes
                       && from[at + length] == from[at + length - distance])
                    length++;
            }
        }
        if (length >= 4) {
            to[out++] = (u8)length;
            to[out++] = (u8)distance;
            to[out++] = (u8)(distance >> 8);
            at += length;
        } else {
            to[out++] = 0;
            to[out++] = from[at++];
        }
    }
    return out;
}

static u32 unpack(const u8 *from, u32 bytes, u8 *to)
{
    u32 out = 0;
    for (u32 at = 0; at < bytes;) {
        u32 length = from[at++];
        if (length == 0) {
            to[out++] = from[at++];
            continue;
        }
        u32 distance = from[at] | from[at + 1] << 8;
        at += 2;
        for (; length != 0; length--, out++)
            to[out] = to[out - distance];
    }
    return out;
}

/* Packs and unpacks 256 KiB of text-like bytes by references back, so many times. */
NOINLINE u64 lz(u64 count)
{
    enum { BYTES = 256 << 10 };
    static const char *const words[8] = { "machine ", "guest ",  "a tick ", "of the ",
                                          "page\n",   "record ", "space ",  "0x80" };
    u8 *plain = arena, *packed = arena + (1 << 20), *back = arena + (2 << 20);
    u32 *seen = (u32 *)(void *)(arena + (3 << 20));
    u64 seed = 9, sum = 0;
    for (u32 at = 0; at < BYTES;) {
        for (const char *c = words[next_random(&seed) % 8]; *c != 0 && at < BYTES; c++)
            plain[at++] = (u8)*c;
        if (next_random(&seed) % 8 == 0 && at < BYTES)
            plain[at++] = (u8)next_random(&seed);
    }
    for (u64 round = 0; round < count; round++) {
        for (u32 i = 0; i < 1 << 14; i++)
            seen[i] = 0;
        u32 bytes = pack(plain, BYTES, packed, seen);
        u32 same = unpack(packed, bytes, back) == BYTES;
        for (u32 i = 0; i < BYTES; i++)
            same &= plain[i] == back[i];
        sum = mix(sum, bytes + same);
        plain[round * 4099 % BYTES] ^= 1;
    }
    return sum;
}
