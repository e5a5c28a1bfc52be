/* Companions; see companions.h. */
#include "audit/companions.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_LEAST = 20 }; /* images of each kind in a cell, for a normal approximation of U */

/* ---- drawing whole groups -------------------------------------------------------------------- */

/* A sample with its groups numbered from 0, for drawing. */
struct drawing {
    size_t count, groups;
    uint32_t *group; /* by image */
    uint64_t stream;
};

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void drawing_init(struct drawing *drawing, const struct sample *sample, const char *stream)
{
    size_t n = sample->count;
    uint32_t *sorted = memory_grow(NULL, n ? n : 1, sizeof *sorted);
    *drawing = (struct drawing){ .count = n, .stream = random_stream(stream) };
    drawing->group = memory_grow(NULL, n ? n : 1, sizeof *drawing->group);
    for (size_t i = 0; i < n; i++)
        sorted[i] = drawing->group[i] = sample->groups ? sample->groups[i] : (uint32_t)i;
    if (n)
        qsort(sorted, n, sizeof *sorted, by_number);
    for (size_t i = 0; i < n; i++)
        if (!i || sorted[i] != sorted[i - 1])
            sorted[drawing->groups++] = sorted[i];
    for (size_t i = 0; i < n; i++) {
        uint32_t *place =
            bsearch(&drawing->group[i], sorted, drawing->groups, sizeof *sorted, by_number);
        drawing->group[i] = (uint32_t)(place - sorted);
    }
    free(sorted);
}

/* How often each image stands in a replicate; replicate 0 is the sample itself. */
static void draw(const struct drawing *drawing, uint64_t seed, size_t replicate, uint32_t *drawn,
                 double *weights)
{
    memset(drawn, 0, drawing->groups * sizeof *drawn);
    for (size_t g = 0; g < drawing->groups; g++)
        drawn[replicate ? random_below(seed, drawing->stream,
                                       (uint64_t)replicate * drawing->groups + g, drawing->groups)
                        : g]++;
    for (size_t i = 0; i < drawing->count; i++)
        weights[i] = drawn[drawing->group[i]];
}

/* ---- two samples in one order ---------------------------------------------------------------- */

struct ranked {
    double value;
    uint32_t cell, index;
    bool second; /* of the second sample */
};

static int by_cell_and_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->cell != y->cell)
        return x->cell < y->cell ? -1 : 1;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return 0;
}

/* What is computed of a replicate: up to 3 numbers. */
enum { NUMBERS = 3 };
struct comparison {
    struct ranked *ranked;
    size_t count;
    struct drawing drawing[2];
    const struct bootstrap *bootstrap;
    double *numbers; /* (replicates + 1, NUMBERS) */
    void (*measure)(const struct comparison *comparison, const double *first, const double *second,
                    double numbers[NUMBERS]);
};

static void replicate_range(void *context, size_t begin, size_t end)
{
    struct comparison *comparison = context;
    double *weights[2];
    uint32_t *drawn[2];
    for (int s = 0; s < 2; s++) {
        const struct drawing *drawing = &comparison->drawing[s];
        weights[s] = memory_grow(NULL, drawing->count + 1, sizeof *weights[s]);
        drawn[s] = memory_grow(NULL, drawing->groups + 1, sizeof *drawn[s]);
    }
    for (size_t r = begin; r < end; r++) {
        for (int s = 0; s < 2; s++)
            draw(&comparison->drawing[s], comparison->bootstrap->seed, r, drawn[s], weights[s]);
        comparison->measure(comparison, weights[0], weights[1], comparison->numbers + r * NUMBERS);
    }
    for (int s = 0; s < 2; s++) {
        free(weights[s]);
        free(drawn[s]);
    }
}

static void comparison_run(struct comparison *comparison, const struct sample *first,
                           const uint32_t *first_cell, const struct sample *second,
                           const uint32_t *second_cell)
{
    size_t total = first->count + second->count, replicates = comparison->bootstrap->replicates + 1;
    comparison->count = total;
    comparison->ranked = memory_grow(NULL, total + 1, sizeof *comparison->ranked);
    for (size_t i = 0; i < first->count; i++)
        comparison->ranked[i] =
            (struct ranked){ first->values[i], first_cell ? first_cell[i] : 0, (uint32_t)i, false };
    for (size_t i = 0; i < second->count; i++)
        comparison->ranked[first->count + i] =
            (struct ranked){ second->values[i], second_cell ? second_cell[i] : 0, (uint32_t)i,
                             true };
    qsort(comparison->ranked, total, sizeof *comparison->ranked, by_cell_and_value);
    drawing_init(&comparison->drawing[0], first, "audit/bootstrap/first");
    drawing_init(&comparison->drawing[1], second, "audit/bootstrap/second");
    comparison->numbers = memory_grow(NULL, replicates * NUMBERS, sizeof *comparison->numbers);
    parallel_ranges(replicates, 1, replicate_range, comparison);
}

static void comparison_release(struct comparison *comparison)
{
    free(comparison->ranked);
    free(comparison->drawing[0].group);
    free(comparison->drawing[1].group);
    free(comparison->numbers);
}

/* Of a single group every replicate is the same: how groups differ, it cannot show. */
static bool can_vary(const struct comparison *comparison)
{
    return comparison->drawing[0].groups > 1 && comparison->drawing[1].groups > 1;
}

/* The number of the sample itself, and the middle of the replicates' numbers. */
static struct estimate estimate_of(const struct comparison *comparison, size_t number)
{
    size_t count = comparison->bootstrap->replicates;
    struct estimate estimate = { comparison->numbers[number], { NAN, NAN } };
    double side = (1 - comparison->bootstrap->confidence) / 2;
    /* the quantile at the side of fewer is their least */
    if (side * (double)count < 1 - 1e-9 || !can_vary(comparison))
        return estimate;
    double *values = memory_grow(NULL, count, sizeof *values);
    for (size_t r = 0; r < count; r++)
        values[r] = comparison->numbers[(r + 1) * NUMBERS + number];
    sort_doubles(values, count);
    size_t low = (size_t)(side * (double)(count + 1) + 1e-9), high = count + 1 - low;
    estimate.interval = (struct interval){ values[low - 1], values[high - 1] };
    free(values);
    return estimate;
}

/* ---- C_T ------------------------------------------------------------------------------------- */

struct cell_sums {
    double first, second; /* weights seen so far */
    double greater;       /* pairs in which the first sample's value is the greater; ties half */
    double ties;          /* Σ t³ − t */
};

/* Takes in the run of equal values at `begin` of a cell; returns its end. */
static size_t add_tied(const struct ranked *ranked, size_t begin, size_t end, const double *first,
                       const double *second, struct cell_sums *sums)
{
    double a = 0, b = 0;
    size_t i = begin;
    for (; i < end && ranked[i].value == ranked[begin].value; i++)
        *(ranked[i].second ? &b : &a) += (ranked[i].second ? second : first)[ranked[i].index];
    sums->greater += a * (sums->second + b / 2);
    sums->first += a;
    sums->second += b;
    sums->ties += (a + b) * (a + b) * (a + b) - (a + b);
    return i;
}

/* Mann and Whitney's z: negative when the first sample's values are the smaller. */
static double standardised(const struct cell_sums *sums)
{
    double m = sums->first, n = sums->second, all = m + n;
    double variance = m * n / 12 * (all + 1 - sums->ties / (all * (all - 1)));
    return variance > 0 ? (sums->greater - m * n / 2) / sqrt(variance) : 0;
}

static void measure_copying(const struct comparison *comparison, const double *first,
                            const double *second, double numbers[NUMBERS])
{
    const struct ranked *ranked = comparison->ranked;
    double sum = 0, weight = 0;
    for (size_t begin = 0, end; begin < comparison->count; begin = end) {
        struct cell_sums sums = { 0 };
        for (end = begin; end < comparison->count && ranked[end].cell == ranked[begin].cell;)
            end++;
        if (ranked[begin].cell == UINT32_MAX) /* too few even together */
            continue;
        for (size_t i = begin; i < end;)
            i = add_tied(ranked, i, end, first, second, &sums);
        if (sums.first == 0 || sums.second == 0)
            continue;
        sum += sums.second * standardised(&sums);
        weight += sums.second;
    }
    numbers[0] = weight > 0 ? sum / weight : 0;
}

/* Cells by number, with their images of each kind. */
struct cells {
    uint32_t *renamed; /* by old number */
    size_t counted;
};

/* Cells with enough images of both kinds stay; the others become cell 0 together, which counts when
 * it has enough, or when there is no other. */
static void merge_cells(struct cells *cells, const uint32_t *cell[2], const size_t count[2])
{
    uint32_t most = 0;
    for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < count[s]; i++)
            most = cell[s][i] > most ? cell[s][i] : most;
    size_t(*seen)[2] = memory_grow(NULL, (size_t)most + 1, sizeof *seen), rest[2] = { 0, 0 };
    memset(seen, 0, ((size_t)most + 1) * sizeof *seen);
    for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < count[s]; i++)
            seen[cell[s][i]][s]++;
    cells->renamed = memory_grow(NULL, (size_t)most + 1, sizeof *cells->renamed);
    cells->counted = 0;
    for (size_t c = 0; c <= most; c++) {
        bool enough = seen[c][0] >= CELL_LEAST && seen[c][1] >= CELL_LEAST;
        cells->renamed[c] = enough ? (uint32_t)++cells->counted : 0;
        rest[0] += enough ? 0 : seen[c][0];
        rest[1] += enough ? 0 : seen[c][1];
    }
    bool use_rest = (rest[0] >= CELL_LEAST && rest[1] >= CELL_LEAST) || !cells->counted;
    for (size_t c = 0; c <= most; c++)
        if (!cells->renamed[c] && !use_rest)
            cells->renamed[c] = UINT32_MAX;
    cells->counted += use_rest;
    free(seen);
}

struct copying_test copying_test(const struct sample *synthetic, const uint32_t *synthetic_cell,
                                 const struct sample *holdout, const uint32_t *holdout_cell,
                                 const struct bootstrap *bootstrap)
{
    const uint32_t *old[2] = { synthetic_cell, holdout_cell };
    const size_t count[2] = { synthetic->count, holdout->count };
    uint32_t *renamed[2];
    struct cells cells;
    merge_cells(&cells, old, count);
    for (int s = 0; s < 2; s++) {
        renamed[s] = memory_grow(NULL, count[s] + 1, sizeof *renamed[s]);
        for (size_t i = 0; i < count[s]; i++)
            renamed[s][i] = cells.renamed[old[s][i]];
    }
    struct comparison comparison = { .bootstrap = bootstrap, .measure = measure_copying };
    comparison_run(&comparison, synthetic, renamed[0], holdout, renamed[1]);
    struct copying_test test = { .value = estimate_of(&comparison, 0), .cells = cells.counted };
    comparison_release(&comparison);
    const struct bootstrap once = { 0, 0, 0.95 };
    comparison = (struct comparison){ .bootstrap = &once, .measure = measure_copying };
    comparison_run(&comparison, synthetic, NULL, holdout, NULL);
    test.z = comparison.numbers[0];
    comparison_release(&comparison);
    for (int s = 0; s < 2; s++)
        free(renamed[s]);
    free(cells.renamed);
    return test;
}

/* ---- membership inference -------------------------------------------------------------------- */

/* Walks along the ROC curve: an image is called a member when its distance is at most … */
static void measure_membership(const struct comparison *comparison, const double *members,
                               const double *others, double numbers[NUMBERS])
{
    static const double rates[2] = { 0.01, 0.001 };
    const struct ranked *ranked = comparison->ranked;
    double all[2] = { 0, 0 }, positives[2] = { 0, 0 };
    for (size_t i = 0; i < comparison->count; i++)
        all[ranked[i].second] += (ranked[i].second ? others : members)[ranked[i].index];
    double area = 0, found[2] = { 0, 0 };
    for (size_t i = 0, end; i < comparison->count; i = end) {
        double step[2] = { 0, 0 };
        for (end = i; end < comparison->count && ranked[end].value == ranked[i].value; end++)
            step[ranked[end].second] += (ranked[end].second ? others : members)[ranked[end].index];
        area += step[1] * (positives[0] + step[0] / 2);
        positives[0] += step[0];
        positives[1] += step[1];
        for (int r = 0; r < 2; r++)
            if (positives[1] <= rates[r] * all[1] * (1 + 1e-12))
                found[r] = positives[0];
    }
    numbers[0] = all[0] * all[1] > 0 ? area / (all[0] * all[1]) : 0.5;
    numbers[1] = all[0] > 0 ? found[0] / all[0] : 0;
    numbers[2] = all[0] > 0 ? found[1] / all[0] : 0;
}

struct membership_inference membership_inference(const struct sample *members,
                                                 const struct sample *others,
                                                 const struct bootstrap *bootstrap)
{
    struct comparison comparison = { .bootstrap = bootstrap, .measure = measure_membership };
    comparison_run(&comparison, members, NULL, others, NULL);
    struct membership_inference result = { .auc = estimate_of(&comparison, 0),
                                           .tpr_1 = estimate_of(&comparison, 1),
                                           .tpr_01 = estimate_of(&comparison, 2),
                                           .members = members->count,
                                           .others = others->count,
                                           .supported_1 = others->count >= 100,
                                           .supported_01 = others->count >= 1000 };
    comparison_release(&comparison);
    return result;
}

/* The area under the ROC curve is that probability. */
struct estimate probability_below(const struct sample *first, const struct sample *second,
                                  const struct bootstrap *bootstrap)
{
    return membership_inference(first, second, bootstrap).auc;
}

/* ---- exchanging groups ----------------------------------------------------------------------- */

/* The groups of two samples, dealt anew: which of them are the first sample's. */
struct exchange {
    const struct comparison *comparison;
    uint32_t *group; /* by ranked image, over both samples */
    double *ones;    /* every image stands there once */
    double *areas;   /* by replicate */
};

/* The first so many of the groups in a random order are the first sample's. */
static void deal(const struct exchange *exchange, size_t replicate, uint32_t *order, bool *second)
{
    const struct comparison *comparison = exchange->comparison;
    size_t first = comparison->drawing[0].groups, groups = first + comparison->drawing[1].groups;
    uint64_t seed = comparison->bootstrap->seed, stream = random_stream("audit/exchange");
    for (size_t g = 0; g < groups; g++) {
        order[g] = (uint32_t)g;
        second[g] = true;
    }
    for (size_t g = 0; g < first; g++) {
        size_t from = g + random_below(seed, stream, (uint64_t)replicate * groups + g, groups - g);
        uint32_t dealt = order[from];
        order[from] = order[g];
        second[dealt] = false;
    }
}

static void exchange_range(void *context, size_t begin, size_t end)
{
    const struct exchange *exchange = context;
    struct comparison mine = *exchange->comparison;
    size_t groups = mine.drawing[0].groups + mine.drawing[1].groups;
    uint32_t *order = memory_grow(NULL, groups, sizeof *order);
    bool *second = memory_grow(NULL, groups, sizeof *second);
    mine.ranked = memory_grow(NULL, mine.count, sizeof *mine.ranked);
    for (size_t i = 0; i < mine.count; i++) /* an image is now known by its rank */
        mine.ranked[i] =
            (struct ranked){ exchange->comparison->ranked[i].value, 0, (uint32_t)i, 0 };
    for (size_t r = begin; r < end; r++) {
        double numbers[NUMBERS];
        deal(exchange, r, order, second);
        for (size_t i = 0; i < mine.count; i++)
            mine.ranked[i].second = second[exchange->group[i]];
        measure_membership(&mine, exchange->ones, exchange->ones, numbers);
        exchange->areas[r] = numbers[0];
    }
    free(mine.ranked);
    free(second);
    free(order);
}

double chance_of_exchange(const struct sample *first, const struct sample *second,
                          const struct bootstrap *bootstrap)
{
    const struct bootstrap itself = { bootstrap->seed, 0, bootstrap->confidence };
    struct comparison comparison = { .bootstrap = &itself, .measure = measure_membership };
    comparison_run(&comparison, first, NULL, second, NULL);
    double found = comparison.numbers[0], as_much = 1;
    size_t count = comparison.count, replicates = bootstrap->replicates;
    bool varies = can_vary(&comparison);
    struct exchange exchange = { &comparison, memory_grow(NULL, count + 1, sizeof(uint32_t)),
                                 memory_grow(NULL, count + 1, sizeof(double)),
                                 memory_grow(NULL, replicates + 1, sizeof(double)) };
    for (size_t i = 0; i < count; i++) {
        const struct ranked *image = &comparison.ranked[i];
        exchange.group[i] = comparison.drawing[image->second].group[image->index] +
                            (image->second ? (uint32_t)comparison.drawing[0].groups : 0);
        exchange.ones[i] = 1;
    }
    if (varies)
        parallel_ranges(replicates, 1, exchange_range, &exchange);
    for (size_t r = 0; varies && r < replicates; r++)
        as_much += exchange.areas[r] >= found;
    comparison_release(&comparison);
    free(exchange.group);
    free(exchange.ones);
    free(exchange.areas);
    return varies ? as_much / (double)(replicates + 1) : NAN;
}

/* ---- shares ---------------------------------------------------------------------------------- */

struct share share_of(size_t count, size_t of, double confidence)
{
    return (struct share){ count, of, of ? (double)count / (double)of : NAN,
                           clopper_pearson(count, of, confidence) };
}

struct share share_below(const double *a, const double *b, size_t count, double confidence)
{
    size_t twice = 0, of = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(a[i]) || isnan(b[i]))
            continue;
        of++;
        twice += a[i] < b[i] ? 2 : a[i] == b[i];
    }
    struct share share = share_of(twice / 2, of, confidence);
    share.fraction = of ? (double)twice / 2 / (double)of : NAN;
    return share;
}
