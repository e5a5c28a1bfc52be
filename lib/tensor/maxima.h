/* The largest product in each run of rows: what a GPU does for searches whose rows are short and
 * many.
 *
 * There are N columns (the rows of a database) and queries, all of `length` floats, each at a
 * place. 64 columns that follow each other, from a multiple of 64 on, are a run. For any queries
 * and any runs it is told how large the largest product of the query with a column of the run is,
 * of those columns that lie within reach of it:
 *
 *     struct maxima_size size = { .columns = n, .length = 64, .reach = 16, .times = 128,
 *                                 .queries = 96, .values = 96 * runs, .items = 288 };
 *     struct maxima_plan plan;
 *     if (!device->plan(&size, &plan, err)) …                  // plan.bytes of the device's memory
 *     struct maxima *maxima = device->open(&plan, err);
 *     struct maxima_columns columns = { rows, places };
 *     device->set_columns(maxima, &columns);                   // where plan.resident
 *     device->find(maxima, &question, &columns, values, err);
 *
 * Sums are of single precision in an unknown order: a product is off by at most
 * maxima_sum_error(length) for each unit of Σ|x_i y_i|.
 */
#ifndef TENSOR_MAXIMA_H
#define TENSOR_MAXIMA_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    MAXIMA_RUN = 64,
    MAXIMA_GROUP = 64, /* queries of an item, at most */
};

/* n products and n − 1 sums, each rounded, fused or not (Higham's γ): n u / (1 − n u). */
static inline double maxima_sum_error(size_t length)
{
    double nu = (double)length * 0x1p-24;
    return nu / (1 - nu);
}

/* Where a row lies, and whose it is. A column counts for a query when it is no further than `reach`
 * along either axis, and of another group where the query wants to be apart from its own. */
struct maxima_place {
    int32_t y, x;
    uint32_t group, apart; /* apart: 0 or 1; of queries */
};

/* What is asked at once: of queries [query, query + queries) the maxima of runs [run, run + runs),
 * into values[value … value + queries · runs), by query, then by run. */
struct maxima_item {
    uint64_t query, queries, run, runs, value;
};

struct maxima_size {
    size_t columns, length, reach;
    size_t queries, values, items; /* that must be asked at once at least … */
    size_t times;                  /* … and so many times as much may be, where it fits */
    size_t memory;                 /* bytes on the device at most; 0: nine tenths of what is free */
};

struct maxima_plan {
    size_t columns, length, reach;
    size_t queries, values, items; /* that can be asked at once */
    size_t times;
    size_t block;  /* columns on the device at a time */
    bool resident; /* all of them, so that they stay there */
    size_t bytes;  /* of the device's memory */
};

struct maxima_columns {
    const float *rows; /* (columns, length) */
    const struct maxima_place *places;
};

struct maxima_question {
    size_t queries, items, values;
    const float *rows; /* (queries, length) */
    const struct maxima_place *places;
    const struct maxima_item *item;
};

struct maxima; /* opaque */

struct maxima_methods {
    const char *name; /* "cuda" */
    /* What it would take; refused when even the smallest block of columns does not fit. */
    bool (*plan)(const struct maxima_size *size, struct maxima_plan *plan, struct error *err);
    struct maxima *(*open)(const struct maxima_plan *plan, struct error *err);
    void (*close)(struct maxima *maxima); /* NULL is fine */
    /* All columns, once; only where the plan has them resident. */
    void (*set_columns)(struct maxima *maxima, const struct maxima_columns *columns);
    /* −∞ where none of a run counts. Columns that are not resident pass by. */
    bool (*find)(struct maxima *maxima, const struct maxima_question *question,
                 const struct maxima_columns *columns, float *values, struct error *err);
};

#endif
