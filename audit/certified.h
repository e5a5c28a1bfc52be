/* Inside the certified engine, for its tests. */
#ifndef AUDIT_CERTIFIED_H
#define AUDIT_CERTIFIED_H

#include "audit/search.h"

/* The interval that a level's heads give for the correlation of a query with a database image;
 * false where the level is not used. `search` was opened with ENGINE_CERTIFIED. */
bool certified_bounds(struct search *search, size_t level, size_t query, size_t id, double *lower,
                      double *upper);

#endif
