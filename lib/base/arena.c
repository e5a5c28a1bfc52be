/* Arenas as a list of blocks that double in size, and the two other ways to get memory.
 *
 * A block is never resized, so what was handed out stays where it is. Blocks begin at 64 KiB:
 * a graph of a few thousand nodes then takes about ten system allocations.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 64 * 1024, ALIGNMENT = 16, LARGE_ALIGNMENT = 64 };

struct arena_block {
    struct arena_block *next;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

void arena_init(struct arena *arena)
{
    *arena = (struct arena){ 0 };
}

void arena_release(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks; block;) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena_init(arena);
}

/* Descriptions have no way back to whoever waits for an answer: it is "could not tell", the exit
 * code of all that the machine could not do. */
static _Noreturn void give_up(size_t bytes)
{
    enum { COULD_NOT_TELL = 2 };
    fprintf(stderr,
            "lethe: out of memory: %zu more bytes could not be had; free some, raise the limit "
            "(ulimit -v, or the job's), or use fewer threads. What was finished is not lost\n",
            bytes);
    _Exit(COULD_NOT_TELL);
}

static void add_block(struct arena *arena, size_t at_least)
{
    size_t capacity = arena->capacity ? 2 * arena->capacity : FIRST_BLOCK;
    if (capacity < at_least)
        capacity = at_least;
    struct arena_block *block = calloc(1, sizeof *block + capacity);
    if (!block)
        give_up(capacity);
    block->next = arena->blocks;
    arena->blocks = block;
    arena->capacity = capacity;
    arena->used = 0;
    arena->total += sizeof *block + capacity;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    CHECK(size <= SIZE_MAX / 4, "an arena was asked for %zu bytes", size);
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (!arena->blocks || arena->capacity - arena->used < rounded)
        add_block(arena, rounded);
    void *pointer = arena->blocks->bytes + arena->used;
    arena->used += rounded;
    return pointer;
}

void *arena_allocate_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    CHECK(size_multiply(count, size, &bytes), "an array of %zu × %zu bytes", count, size);
    return arena_allocate(arena, bytes);
}

char *arena_substring(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_allocate(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *arena_string(struct arena *arena, const char *text)
{
    return arena_substring(arena, text, strlen(text));
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    CHECK(length >= 0, "bad format \"%s\"", format);
    char *text = arena_allocate(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void *memory_reserve(size_t count, size_t size, const char *what, struct error *err)
{
    size_t bytes;
    if (!size_multiply(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        error_set(err, "%s: %zu × %zu bytes is more than an address can reach", what, count, size);
        return NULL;
    }
    size_t rounded = (bytes + LARGE_ALIGNMENT) & ~(size_t)(LARGE_ALIGNMENT - 1);
    void *pointer = aligned_alloc(LARGE_ALIGNMENT, rounded);
    if (!pointer) {
        error_set(err, "%s: %.1f MB of memory could not be had; free some, or use fewer threads",
                  what, (double)bytes / 1e6);
        return NULL;
    }
    return pointer;
}

void *memory_allocate(size_t count, size_t size, const char *what, struct error *err)
{
    void *pointer = memory_reserve(count, size, what, err);
    if (pointer)
        memset(pointer, 0, count * size);
    return pointer;
}

void memory_free(void *pointer)
{
    free(pointer);
}

void *memory_grow(void *pointer, size_t count, size_t size)
{
    size_t bytes;
    CHECK(size_multiply(count, size, &bytes), "an array of %zu × %zu bytes", count, size);
    void *grown = realloc(pointer, bytes ? bytes : 1);
    if (!grown)
        give_up(bytes);
    return grown;
}
