/* Every pair of a block of queries and the database, computed exactly: where bounds would leave so
 * many pairs that to look at each alone takes longer. */
#ifndef AUDIT_EXHAUST_H
#define AUDIT_EXHAUST_H

#include "audit/engine.h"

/* A pair costs so much less when all of a tile are computed. */
enum { EXHAUSTIVE_GAIN = 8 };

/* How many images of the database stay in the last cache together. */
size_t exhaust_tile(const struct search *search);

/* Fills the lists of queries [first, first + count) anew, k each in `nearest`, from what is allowed
 * of all their pairs; `moments` are theirs. */
void exhaust_block(const struct search *search, size_t first, size_t count,
                   const struct moments *moments, struct neighbour *nearest,
                   struct certificate *certificate);

#endif
