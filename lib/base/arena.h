/* Arenas: memory for things that live and die together (a graph, a plan, a report).
 *
 *     struct arena arena;
 *     arena_init(&arena);
 *     char *name = arena_format(&arena, "%s_%d", stem, 3);
 *     arena_release(&arena);                  // everything at once
 *
 * Allocations are zeroed, aligned to 16 bytes, and never move. There is no freeing of single
 * ones. Running out of memory ends all: an arena holds descriptions, never voxels or tensors;
 * large buffers are allocated with memory_allocate below, which reports instead.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/error.h"

#include <stdint.h>

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used, capacity;      /* of the newest block */
    size_t total;               /* bytes taken from the system, over all blocks */
};

void arena_init(struct arena *arena);
void arena_release(struct arena *arena);

/* `size` zeroed bytes. */
void *arena_allocate(struct arena *arena, size_t size) __attribute__((malloc));
#define arena_new(arena, type)          ((type *)arena_allocate(arena, sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_allocate_array(arena, count, sizeof(type)))
void *arena_allocate_array(struct arena *arena, size_t count, size_t size) __attribute__((malloc));

char *arena_string(struct arena *arena, const char *text);
char *arena_substring(struct arena *arena, const char *text, size_t length);
char *arena_format(struct arena *arena, const char *format, ...) PRINTF(2, 3);

/* A large buffer of count × size zeroed bytes, aligned to 64; NULL and a message when it cannot
 * be had or the product overflows. `what` names it in that message. Free with memory_free. */
void *memory_allocate(size_t count, size_t size, const char *what, struct error *err) MUST_USE;
/* The same, not set to zero: for what will be filled by several threads. */
void *memory_reserve(size_t count, size_t size, const char *what, struct error *err) MUST_USE;
void memory_free(void *pointer);

/* realloc that ends the program when out of memory; for small growing arrays of descriptions. */
void *memory_grow(void *pointer, size_t count, size_t size) MUST_USE;

/* Makes room for one more element in a growing array: doubles `*capacity` when it is full. */
#define ARRAY_RESERVE(array, count, capacity)                                                      \
    do {                                                                                           \
        if ((count) == (capacity)) {                                                               \
            (capacity) = (capacity) ? 2 * (capacity) : 8;                                          \
            (array) = memory_grow((array), (capacity), sizeof *(array));                           \
        }                                                                                          \
    } while (0)

/* Whether a × b overflows; the product, when it does not, is left in *product. */
static inline bool size_multiply(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

#endif
