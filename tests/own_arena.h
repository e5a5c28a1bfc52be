/* An arena and an error of a test file, for what its tests read and make.
 *
 *     cmocka_unit_test_setup_teardown(name, own_arena_begin, own_arena_end)
 */
#ifndef TESTS_OWN_ARENA_H
#define TESTS_OWN_ARENA_H

#include "test.h"

#include "base/arena.h"

static struct arena arena;
static struct error err;

static inline int own_arena_begin(void **state)
{
    (void)state;
    arena_init(&arena);
    return 0;
}

static inline int own_arena_end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

#endif
