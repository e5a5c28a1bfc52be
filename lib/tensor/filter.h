/* Products of rows with rows, and which of them reach a bar: what a GPU does for a search.
 *
 * There are N columns (the rows of a database) and blocks of queries, all of `length` bf16 numbers.
 * A block's products with all columns, its bounds, lie on the device from one call to the next;
 * what comes back is the best of each stripe of columns, and the pairs that reach their query's
 * bar:
 *
 *     struct filter_size size = { .columns = n, .length = 4160, .queries = 2048, .stripes = 1024 };
 *     struct filter_plan plan;
 *     if (!device->plan(&size, &plan, err)) …          // plan.bytes of the device's memory
 *     struct filter *filter = device->open(&plan, err);
 *     device->set_columns(filter, 0, n, rows);           // where plan.resident
 *     device->bound(filter, &queries, NULL, err);
 *     device->best(filter, values, ids, err);
 *     device->count(filter, bars, counts, err);
 *     device->collect(filter, 0, some, pairs, err);      // whose counts' sum is at most plan.pairs
 *
 * Products of bf16 numbers are exact, their sums are of single precision in an unknown order.
 * Everything comes in an order that depends on the numbers alone: by query, then by column.
 */
#ifndef TENSOR_FILTER_H
#define TENSOR_FILTER_H

#include "base/error.h"

#include <stdint.h>

enum { FILTER_ALIGN = 64 }; /* lengths are multiples of it */

struct filter_size {
    size_t columns, length;
    size_t queries; /* as many as may ever be asked; blocks need not be larger */
    size_t stripes; /* column j is of stripe j % stripes */
    size_t memory;  /* bytes on the device at most; 0: nine tenths of what is free */
};

struct filter_plan {
    size_t columns, length, stripes;
    size_t queries; /* of a block, at most */
    size_t block;   /* columns on the device at a time */
    bool resident;  /* all of them, so that they stay there */
    size_t pairs;   /* that can be collected at once, at least `columns` */
    size_t bytes;   /* of the device's memory */
};

struct filter_queries {
    size_t count;
    const uint16_t *rows;          /* (count, length), bf16 */
    const uint32_t *group, *avoid; /* of each query: columns of these do not count; NULL: all do */
};

struct filter_pair {
    uint32_t column;
    float bound;
};

struct filter; /* opaque */

struct filter_methods {
    const char *name; /* "cuda" */
    /* What it would take; refused when even the smallest blocks do not fit. */
    bool (*plan)(const struct filter_size *size, struct filter_plan *plan, struct error *err);
    struct filter *(*open)(const struct filter_plan *plan, struct error *err);
    void (*close)(struct filter *filter); /* NULL is fine */

    /* Rows [first, first + count) of the columns; only where the plan has them resident. */
    void (*set_columns)(struct filter *filter, size_t first, size_t count, const uint16_t *rows);
    /* A group for each column; NULL: none. Queries without groups ignore them. */
    bool (*set_groups)(struct filter *filter, const uint32_t *groups, struct error *err);

    /* A block's products with all columns. `columns`: all of them on the host, where the plan does
     * not have them resident. */
    bool (*bound)(struct filter *filter, const struct filter_queries *queries,
                  const uint16_t *columns, struct error *err);
    /* (count, stripes): the largest bound and the first column that has it; −∞ where none counts.
     */
    bool (*best)(struct filter *filter, float *values, uint32_t *columns, struct error *err);
    /* Of each query, how many columns have a bound at or above its bar. */
    bool (*count)(struct filter *filter, const float *bars, uint64_t *counts, struct error *err);
    /* These pairs, of queries [first, first + count) of the last `count`. */
    bool (*collect)(struct filter *filter, size_t first, size_t count, struct filter_pair *pairs,
                    struct error *err);
};

#endif
