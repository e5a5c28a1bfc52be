/* How the tiles of a loop are cut and walked, chosen once, when a plan is made.
 *
 * A tile has up to LOOP_TILE elements. Its columns are the loop's; its rows are the loop's too, and
 * where these are few, further axes with them, so that what is done once a tile is done for many
 * elements. Two courses lead through the tiles: over what is kept, and within that over what is
 * reduced. A step along an axis of theirs adds so many bytes to the place of each operand.
 *
 * A loop is cut into units that share no result: every tile of the kept course is one. Where these
 * are fewer than wanted, the reduced course is cut too, always in the same way.
 */
#ifndef TENSOR_CPU_TILING_H
#define TENSOR_CPU_TILING_H

#include "tensor/cpu_parts.h"

struct course {
    int axes;
    size_t size[LOOP_AXES + 2], count;
    int64_t *step; /* axes × operands, in bytes */
};

struct position {
    size_t at[LOOP_AXES + 2];
    int64_t offset[LOOP_OPERANDS]; /* in bytes */
};

/* Rows or columns: of all of one stretch, and of a tile. */
struct side {
    size_t total, each;
    bool reduced;
    int axis; /* of the kept or the reduced course: which block */
};

/* An operand, as seen from a tile. */
struct port {
    struct placing at;
    bool flat;   /* all rows of a tile, of one column each, are moved as one row */
    bool shifts; /* its table of columns is of all of them, not of a tile's */
    bool direct; /* a tile of it is used where it lies */
    cpu_load *load;
    cpu_store *store;
    int64_t *table[2]; /* to be freed */
};

struct tiling {
    const struct loop *loop;
    struct side rows, columns;
    struct course course[2]; /* kept, reduced */
    struct port *port;
    size_t group;               /* rows that are summed in float, before they are added in double */
    size_t splits;              /* units: tiles of the kept course × splits */
    size_t reductions, partial; /* doubles that a reduction has in a unit */
    size_t elements;
};

struct tiling *tiling_new(const struct loop *loop);
void tiling_free(struct tiling *tiling);

void course_seek(const struct course *course, struct position *position, int operands,
                 size_t number);
void course_advance(const struct course *course, struct position *position, int operands);

#endif
