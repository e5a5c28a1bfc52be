/* What bench_audit-power is made of: worlds of images, and the copies that are planted in them. */
#ifndef BENCH_POWER_H
#define BENCH_POWER_H

#include "audit/search.h"
#include "base/arena.h"

#include <stdbool.h>

enum { STRENGTHS = 4, PLANTS_MOST = 32 };
enum { FASHION_WORLD, HEADS_WORLD, WORLDS };

struct world {
    const char *name;
    size_t side;
    struct image_set train, control, clean;
    const uint8_t *masks; /* of the training images: labels; NULL: none */
    struct arena arena;
};

struct world_row {
    const char *name;
    void (*make)(struct world *world, size_t divisor);
};
extern const struct world_row power_worlds[WORLDS];
extern size_t power_fashion_control; /* control images of that world */

/* Room for so many planes; ends the program where there is none. */
unsigned char *power_room(size_t images, size_t plane);
struct image_set power_set(const char *name, unsigned char *images, size_t count, size_t side);

struct copy {
    const struct world *world;
    size_t from;     /* the training image */
    uint64_t stream; /* of random numbers: one a copy */
    unsigned char *out;
};

/* A way of copying: one row of the table, with the strengths in each world. */
struct plant {
    const char *name, *unit;
    void (*make)(const struct copy *copy, double strength);
    double strength[WORLDS][STRENGTHS]; /* NAN: no more */
    double goal;                        /* for the recall; 0: none */
    bool tumour;
};
extern const struct plant power_plants[];
extern const size_t power_plant_count;

/* Copies with one strength, to be made into `images` from `first` on. */
struct making {
    const struct world *world;
    const struct plant *plant;
    double strength;
    size_t first; /* of the queries */
    unsigned char *images;
    size_t *from; /* which training image was copied, by query */
};
void power_make_copy(void *making, size_t item);

#endif
