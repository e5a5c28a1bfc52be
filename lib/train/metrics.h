/* metrics.jsonl, as training writes it: read into series for curves, and trimmed for a run that
 * goes on.
 *
 *     struct metrics metrics;
 *     if (!metrics_read("run/train/metrics.jsonl", &metrics, err)) …
 *     for (size_t i = 0; i < metrics.series_count; i++)
 *         … metrics.series[i].name, .count, .images[k], .value[k] …
 *     metrics_release(&metrics);
 *
 * Every number of a line but `step` and `images` is a point of the series of its name; loss terms
 * are named "PHASE.TERM" ("main.mse", "Dr1.r1") and marked. A term that is not in each line (a lazy
 * phase, a validation) has fewer points. A last line without its end, as a killed run leaves it, is
 * passed over; any other line that is not one of ours is an error with its number.
 */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include "base/arena.h"

#include <stdint.h>

#include <stdio.h>

struct metrics_series {
    const char *name;
    bool loss;
    size_t count, capacity;
    double *images, *value; /* by point: images trained on so far, and the value */
};

struct metrics {
    struct metrics_series *series; /* in the order of their first points */
    size_t series_count, series_capacity;
    uint64_t step, images; /* of the last line; 0 where there is none */
    struct arena arena;
};

bool metrics_read(const char *path, struct metrics *metrics, struct error *err) MUST_USE;
/* The same from bytes; `name` stands for them in messages. */
bool metrics_parse(const char *bytes, size_t size, const char *name, struct metrics *metrics,
                   struct error *err) MUST_USE;
void metrics_release(struct metrics *metrics);

/* NULL where there is none of that name. */
const struct metrics_series *metrics_find(const struct metrics *metrics, const char *name);

/* Keeps the lines of steps up to `step`; those after it will come again. A missing file is fine. */
bool metrics_trim(const char *path, uint64_t step, struct error *err) MUST_USE;

/* The file, open for further lines; those of steps after `step` are gone. NULL with a message when
 * it cannot be written. */
FILE *metrics_append(const char *path, uint64_t step, struct error *err) MUST_USE;

#endif
