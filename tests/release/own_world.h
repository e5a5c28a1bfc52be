/* The world of a test file (world.h), and how its tests begin and end.
 *
 *     cmocka_unit_test_setup_teardown(name, own_world_signed, own_world_end)
 */
#ifndef TESTS_RELEASE_OWN_WORLD_H
#define TESTS_RELEASE_OWN_WORLD_H

#include "release/world.h"

static struct world world;

/* Keys, files, manifest. */
static inline int own_world_begin(void **state)
{
    (void)state;
    world_begin(&world);
    return 0;
}

/* Packed and signed by both, too. */
static inline int own_world_signed(void **state)
{
    own_world_begin(state);
    world_pack(&world, NULL);
    world_sign_both(&world);
    return 0;
}

/* And to be extracted into the folder "out". */
static inline int own_world_extracted(void **state)
{
    own_world_signed(state);
    world.extract = world_path(&world, "out");
    return 0;
}

static inline int own_world_end(void **state)
{
    (void)state;
    world_end(&world);
    return 0;
}

#endif
