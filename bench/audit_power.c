/* bench_audit-power: does the audit find what it must? Copies of training images, plain and in
 * disguise, are planted among images that copy nothing, and the share that is flagged is counted.
 *
 * Two worlds:
 *
 *     fashion   Fashion-MNIST (28 × 28): 8,000 images to train on, 20,000 as control, 2,000 clean
 *     heads     phantoms that are deformations of one real head (lethe phantom --template, 128 ×
 *               128 FLAIR slices with tumours): 50 subjects, 110 as control, 40 clean
 *
 *     --control N    so many control images of Fashion-MNIST (default 20000)
 *
 * Clean images are real images that are in neither of the other sets; in the world of heads, of
 * other subjects. Copies are made with code of this file alone (interpolation is cubic, where the
 * detector's is linear), from training images drawn at random, 100 for each transformation and
 * strength. A pasted tumour comes from a training image by its mask, with a soft rim, and goes into
 * a clean head of another subject, in its place or moved.
 *
 * All statistics of the audit are calibrated together (audit/calibrate.h) at a declared rate of one
 * false positive in 1,000, in turns of the same order as by `lethe audit`. Beside it stand two
 * statistics alone, each with the whole rate: the plain correlation and the Euclidean distance to
 * the nearest training image. The columns at the right count which of ours flagged the copies.
 *
 *     --world NAME   only that world
 *     --quick        a quarter of the copies, the control and the clean images
 *     --plants LIST  only copies of these kinds, e.g. blur,shift
 *     --values FILE  CSV: world, kind, strength and every statistic of each image
 *
 * The last column, traced, counts the copies that led back to the very image that was copied: by
 * tile_ratio for a pasted tumour, by disguise for the others.
 */
#include "bench.h"
#include "power.h"

#include "audit/blas.h"
#include "audit/calibrate.h"
#include "audit/disguise.h"
#include "audit/lesion.h"
#include "audit/tile.h"
#include "base/json.h"
#include "base/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COPIES = 100, STRANGERS = 5 };
#define RATE 0.001

/* ---- statistics ------------------------------------------------------------------------------ */

enum { /* ours in the order of their turns (list_statistics of audit/memorization.c) */
       DISGUISE_RATIO,
       LOCAL_RATIO,
       TILE_RATIO,
       LESION_RATIO, /* where there are no masks there is none */
       DISGUISE,
       CORRELATION,
       OURS,
       EUCLID = OURS, /* a rival: the distance to the nearest training image */
       STATISTICS
};

/* Names are the audit's own. */
struct statistic_row {
    const char *name;
    bool small;
};
static const struct statistic_row statistic_rows[STATISTICS] = {
    [CORRELATION] = { "correlation", false },
    [LOCAL_RATIO] = { "local_ratio", true },
    [DISGUISE] = { "disguise_correlation", false },
    [DISGUISE_RATIO] = { "disguise_local_ratio", true },
    [TILE_RATIO] = { "tile_local_ratio", true },
    [LESION_RATIO] = { "lesion_local_ratio", true },
    [EUCLID] = { "euclid", true },
};

struct values {
    size_t count;
    const uint32_t *groups; /* whose image each is; NULL: unknown */
    bool lesions;           /* were looked for */
    double *of[STATISTICS];
    uint64_t *nearest, *disguised, *tiled, *lesion; /* ids */
};

static void values_init(struct values *values, size_t count)
{
    *values = (struct values){ .count = count };
    for (int s = 0; s < STATISTICS; s++)
        values->of[s] = memory_grow(NULL, count, sizeof(double));
    values->nearest = memory_grow(NULL, count, sizeof(uint64_t));
    values->disguised = memory_grow(NULL, count, sizeof(uint64_t));
    values->tiled = memory_grow(NULL, count, sizeof(uint64_t));
    values->lesion = memory_grow(NULL, count, sizeof(uint64_t));
}

static void values_release(struct values *values)
{
    for (int s = 0; s < STATISTICS; s++)
        memory_free(values->of[s]);
    memory_free(values->nearest);
    memory_free(values->disguised);
    memory_free(values->tiled);
    memory_free(values->lesion);
}

static struct search_result neighbours(const struct image_set *queries,
                                       const struct image_set *train, size_t count,
                                       bool other_groups)
{
    struct search_settings settings = { .neighbours = count, .other_groups = other_groups };
    struct search_result result;
    struct error err;
    struct search *search = search_open(queries, train, &settings, &err);
    if (!search || !search_run(search, 0, queries->count, &result, &err))
        bench_fail("%s", err.message);
    search_close(search);
    return result;
}

/* The nearest image, and the next ones of other subjects than its. */
static void plain_values(const struct image_set *queries, const struct world *world,
                         struct values *values)
{
    const struct image_set *train = &world->train;
    struct image_set database = *train, asked = *queries;
    uint32_t *own = memory_grow(NULL, train->count, sizeof *own),
             *avoided = memory_grow(NULL, queries->count, sizeof *avoided);
    for (size_t i = 0; i < train->count; i++)
        own[i] = train->groups ? train->groups[i] : (uint32_t)i;
    struct search_result nearest = neighbours(queries, train, 1, false);
    for (size_t q = 0; q < queries->count; q++)
        avoided[q] = own[nearest.nearest[q].id];
    database.groups = own;
    asked.groups = avoided;
    struct search_result next = neighbours(&asked, &database, STRANGERS, true);
    for (size_t q = 0; q < queries->count; q++) {
        double sum = 0, r = nearest.nearest[q].correlation;
        for (size_t i = 0; i < STRANGERS; i++)
            sum += sqrt(2 * (1 - next.nearest[q * STRANGERS + i].correlation)) / STRANGERS;
        values->of[CORRELATION][q] = r;
        values->of[LOCAL_RATIO][q] = sum > 0 ? sqrt(2 * (1 - r)) / sum : 1;
        values->nearest[q] = nearest.nearest[q].id;
    }
    search_result_release(&nearest);
    search_result_release(&next);
    memory_free(own);
    memory_free(avoided);
}

static float *as_floats(const struct image_set *set, size_t first, size_t count, double *squares)
{
    size_t plane = set->height * set->width;
    float *out = memory_grow(NULL, count * plane, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        squares[i] = 0;
        for (size_t p = 0; p < plane; p++) {
            double value = set->images[(first + i) * plane + p];
            out[i * plane + p] = (float)value;
            squares[i] += value * value;
        }
    }
    return out;
}

/* ‖x − y‖² = ‖x‖² + ‖y‖² − 2⟨x, y⟩; in single precision, good enough for a rival. */
static void euclid_values(const struct image_set *queries, const struct world *world,
                          struct values *values)
{
    const struct image_set *train = &world->train;
    enum { BLOCK = 500 };
    size_t plane = train->height * train->width;
    double *squares = memory_grow(NULL, train->count, sizeof *squares), own[BLOCK];
    float *database = as_floats(train, 0, train->count, squares),
          *products = memory_grow(NULL, BLOCK * train->count, sizeof *products);
    struct error err;
    if (!blas_set_threads(parallel_threads(), &err))
        bench_fail("%s", err.message);
    for (size_t first = 0; first < queries->count; first += BLOCK) {
        size_t count = queries->count - first < BLOCK ? queries->count - first : BLOCK;
        float *block = as_floats(queries, first, count, own);
        blas_product_transposed(count, train->count, plane, block, plane, database, plane, products,
                                train->count);
        for (size_t q = 0; q < count; q++) {
            double least = INFINITY;
            for (size_t j = 0; j < train->count; j++)
                least =
                    fmin(least, own[q] + squares[j] - 2 * (double)products[q * train->count + j]);
            values->of[EUCLID][first + q] = sqrt(fmax(0, least));
        }
        memory_free(block);
    }
    memory_free(squares);
    memory_free(database);
    memory_free(products);
}

static void disguise_values(const struct image_set *queries, const struct world *world,
                            struct values *values)
{
    const struct image_set *train = &world->train;
    struct disguise_settings settings = { 0 };
    struct error err;
    struct disguise_match *match = memory_grow(NULL, queries->count, sizeof *match);
    struct disguise_search *search = disguise_open(queries, train, &settings, &err);
    if (!search || !disguise_run(search, 0, queries->count, match, &err))
        bench_fail("%s", err.message);
    for (size_t q = 0; q < queries->count; q++) {
        values->of[DISGUISE][q] = match[q].correlation;
        values->of[DISGUISE_RATIO][q] = match[q].local_ratio;
        values->disguised[q] = match[q].id;
    }
    disguise_close(search);
    memory_free(match);
}

static void tile_values(const struct image_set *queries, const struct world *world,
                        struct values *values)
{
    const struct image_set *train = &world->train;
    struct tile_settings settings = { .masks = world->masks };
    struct error err;
    struct tile_match *match = memory_grow(NULL, queries->count, sizeof *match);
    struct tile_search *search = tile_open(queries, train, &settings, &err);
    if (!search || !tile_run(search, 0, queries->count, match, &err))
        bench_fail("%s", err.message);
    for (size_t q = 0; q < queries->count; q++) {
        values->of[TILE_RATIO][q] = match[q].local_ratio;
        values->tiled[q] = match[q].id;
    }
    tile_close(search);
    memory_free(match);
}

/* 1 for all where there are no masks. */
static void lesion_values(const struct image_set *queries, const struct world *world,
                          struct values *values)
{
    struct lesion_settings settings = { .masks = world->masks };
    struct error err;
    struct tile_match *match = memory_grow(NULL, queries->count, sizeof *match);
    struct lesion_search *search =
        world->masks ? lesion_open(queries, &world->train, &settings, &err) : NULL;
    if (world->masks && (!search || !lesion_run(search, 0, queries->count, match, &err)))
        bench_fail("%s", err.message);
    for (size_t q = 0; q < queries->count; q++) {
        values->of[LESION_RATIO][q] = search ? match[q].local_ratio : 1;
        values->lesion[q] = search ? match[q].id : 0;
    }
    lesion_close(search);
    memory_free(match);
}

static void measure(const struct image_set *queries, const struct world *world,
                    struct values *values)
{
    static const struct {
        const char *name;
        void (*compute)(const struct image_set *queries, const struct world *world,
                        struct values *values);
    } parts[] = { { "nearest", plain_values },
                  { "euclid", euclid_values },
                  { "disguise", disguise_values },
                  { "tile", tile_values },
                  { "lesion", lesion_values } };
    values_init(values, queries->count);
    values->lesions = world->masks != NULL;
    values->groups = queries->groups;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        double started = bench_seconds();
        parts[p].compute(queries, world, values);
        double seconds = bench_seconds() - started;
        printf("# %s × %s, %s: %.1f s, %.2f ms an image\n", queries->name, world->name,
               parts[p].name, seconds, 1e3 * seconds / (double)queries->count);
    }
    fflush(stdout);
}

/* ---- counting -------------------------------------------------------------------------------- */

struct verdicts {
    struct calibration ours, alone[2]; /* alone: correlation, Euclid */
};

static const int rivals[2] = { CORRELATION, EUCLID };

static struct statistic statistic_of(int row, const struct values *queries,
                                     const struct values *control)
{
    return (struct statistic){ .name = statistic_rows[row].name,
                               .small = statistic_rows[row].small,
                               .synthetic = queries->of[row],
                               .control = control->of[row],
                               .limit = NAN };
}

static void describe(const struct calibration *calibration)
{
    const struct across_subjects *across = &calibration->across;
    printf("# rate %.5f asked for, %.5f guaranteed (95 %%: %.5f … %.5f), by %zu eliminations of "
           "%zu control images%s\n",
           calibration->declared, calibration->guaranteed, calibration->rate.low,
           calibration->rate.high, calibration->eliminated, calibration->controls,
           calibration->supported ? "" : " (control too small)");
    printf("# control against itself, subject by subject: %zu of %zu images flagged, of %zu of %zu "
           "subjects\n",
           across->flagged, across->images, across->flagged_subjects, across->subjects);
    for (size_t s = 0; s < calibration->statistics; s++) {
        const struct threshold *threshold = &calibration->threshold[s];
        printf("# %-20s threshold %.5f: %zu control images there or beyond, %zu eliminated\n",
               threshold->name, threshold->value, threshold->beyond, threshold->eliminated);
    }
}

static void decide(const struct values *queries, const struct values *control,
                   struct verdicts *verdicts)
{
    struct calibration_settings settings = { RATE, 0.95 };
    struct control_set strangers = { control->count, control->groups };
    struct statistic ours[OURS];
    size_t used = 0;
    for (int s = 0; s < OURS; s++)
        if (s != LESION_RATIO || queries->lesions)
            ours[used++] = statistic_of(s, queries, control);
    calibrate(ours, used, queries->count, &strangers, &settings, &verdicts->ours);
    for (int r = 0; r < 2; r++) {
        struct statistic one = statistic_of(rivals[r], queries, control);
        calibrate(&one, 1, queries->count, &strangers, &settings, &verdicts->alone[r]);
    }
    describe(&verdicts->ours);
}

static size_t flagged_in(const bool *flags, size_t first, size_t count)
{
    size_t flagged = 0;
    for (size_t i = first; i < first + count; i++)
        flagged += flags[i];
    return flagged;
}

struct group {
    const struct plant *plant; /* NULL: clean */
    double strength;
    size_t first, count;
};

static size_t traced(const struct group *group, const struct values *values, const size_t *from)
{
    size_t found = 0;
    for (size_t i = group->first; i < group->first + group->count; i++)
        found += (group->plant->tumour ? values->lesion : values->disguised)[i] == from[i];
    return found;
}

static void report(struct bench *bench, const struct world *world, const struct group *group,
                   const struct verdicts *verdicts, const struct values *values, const size_t *from)
{
    const struct plant *plant = group->plant;
    size_t n = group->count, ours = flagged_in(verdicts->ours.flagged, group->first, n), rival[2];
    struct interval interval = clopper_pearson(ours, n, 0.95);
    for (int r = 0; r < 2; r++)
        rival[r] = flagged_in(verdicts->alone[r].flagged, group->first, n);
    double share = (double)ours / (double)n, goal = plant ? plant->goal : RATE;
    printf("%-8s %-13s %5.4g %-4s %5zu %6.3f [%.3f, %.3f] %5s%s | %6.3f %6.3f |", world->name,
           plant ? plant->name : "clean", plant ? group->strength : 0, plant ? plant->unit : "", n,
           share, interval.low, interval.high,
           goal == 0 ? "–"
           : plant   ? (goal > .95 ? ".99" : ".9")
                     : ".001",
           plant && goal > 0 ? (share >= goal ? "  met" : "  MISSED") : "     ",
           (double)rival[0] / (double)n, (double)rival[1] / (double)n);
    for (size_t s = 0; s < verdicts->ours.statistics; s++)
        printf(" %5zu", flagged_in(verdicts->ours.hit[s], group->first, n));
    if (plant)
        printf(" | %4zu", traced(group, values, from));
    printf("\n");
    if (!bench->json)
        return;
    struct json *row = json_new_object();
    json_put_string(row, "bench", "audit-power");
    json_put_string(row, "world", world->name);
    json_put_string(row, "transformation", plant ? plant->name : "clean");
    json_put_real(row, "strength", plant ? group->strength : NAN);
    json_put_integer(row, "images", (int64_t)n);
    json_put_integer(row, "flagged", (int64_t)ours);
    json_put_real(row, "share", share);
    json_put_real(row, "lower95", interval.low);
    json_put_real(row, "upper95", interval.high);
    json_put_real(row, "goal", goal > 0 ? goal : NAN);
    json_put_real(row, "correlation_alone", (double)rival[0] / (double)n);
    json_put_real(row, "euclid_alone", (double)rival[1] / (double)n);
    for (size_t s = 0; s < verdicts->ours.statistics; s++)
        json_put_integer(row, verdicts->ours.threshold[s].name,
                         (int64_t)flagged_in(verdicts->ours.hit[s], group->first, n));
    char *line = json_line(row);
    fputs(line, bench->json);
    memory_free(line);
    json_free(row);
}

/* Names between commas; NULL: all plants. */
static const char *only_plants;

static bool is_wanted(const struct plant *plant)
{
    size_t length = strlen(plant->name);
    bool wanted = !only_plants;
    for (const char *at = only_plants; at && !wanted; at = *at ? at + 1 : NULL) {
        size_t named = strcspn(at, ",");
        wanted = named == length && memcmp(at, plant->name, length) == 0;
        at += named;
    }
    return wanted;
}

static size_t strengths(const struct plant *plant, size_t world)
{
    if (!is_wanted(plant))
        return 0;
    size_t count = 0;
    while (count < STRENGTHS && !isnan(plant->strength[world][count]))
        count++;
    return count;
}

/* Clean images, then the copies of every plant and strength. Returns the number of groups. */
static size_t make_queries(const struct world *world, size_t which, size_t copies,
                           struct image_set *queries, size_t **from, struct group *groups)
{
    size_t plane = world->side * world->side, count = world->clean.count, made = 0;
    for (size_t p = 0; p < power_plant_count; p++)
        count += strengths(&power_plants[p], which) * copies;
    unsigned char *images = power_room(count, plane);
    *from = memory_grow(NULL, count, sizeof **from);
    *queries = power_set("queries", images, count, world->side);
    memcpy(images, world->clean.images, world->clean.count * plane);
    groups[made++] = (struct group){ NULL, 0, 0, world->clean.count };
    size_t first = world->clean.count;
    for (size_t p = 0; p < power_plant_count; p++)
        for (size_t s = 0; s < strengths(&power_plants[p], which); s++, first += copies) {
            struct making making = { world, &power_plants[p], power_plants[p].strength[which][s],
                                     first, images,           *from };
            parallel_items(copies, power_make_copy, &making);
            groups[made++] = (struct group){ &power_plants[p], power_plants[p].strength[which][s],
                                             first, copies };
        }
    return made;
}

/* Every image's statistics, for looking into what was missed. */
static void write_values(FILE *table, const struct world *world, const char *kind, double strength,
                         const struct values *values, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        fprintf(table, "%s,%s,%g", world->name, kind, strength);
        for (int s = 0; s < STATISTICS; s++)
            fprintf(table, ",%.9g", values->of[s][i]);
        fprintf(table, "\n");
    }
}

static void run_world(struct bench *bench, size_t which, size_t divisor, FILE *table)
{
    struct world world = { .name = power_worlds[which].name };
    struct group groups[1 + PLANTS_MOST * STRENGTHS];
    struct image_set queries;
    struct values values, control;
    struct verdicts verdicts;
    size_t *from;
    arena_init(&world.arena);
    power_worlds[which].make(&world, divisor);
    size_t count = make_queries(&world, which, COPIES / divisor, &queries, &from, groups);
    printf("# world %s: %zu training, %zu control, %zu clean images, %zu copies\n", world.name,
           world.train.count, world.control.count, world.clean.count,
           queries.count - world.clean.count);
    measure(&world.control, &world, &control);
    measure(&queries, &world, &values);
    if (table) {
        write_values(table, &world, "control", 0, &control, 0, control.count);
        for (size_t g = 0; g < count; g++)
            write_values(table, &world, groups[g].plant ? groups[g].plant->name : "clean",
                         groups[g].strength, &values, groups[g].first, groups[g].count);
    }
    decide(&values, &control, &verdicts);
    printf("%-8s %-13s %5s %-4s %5s %6s %16s %5s %7s | %6s %6s | by", "world", "copies", "by", "",
           "n", "recall", "95 %", "goal", "", "corr.", "l2");
    for (size_t s = 0; s < verdicts.ours.statistics; s++)
        printf(" %s", verdicts.ours.threshold[s].name);
    printf(" | traced\n");
    for (size_t g = 0; g < count; g++)
        report(bench, &world, &groups[g], &verdicts, &values, from);
    calibration_release(&verdicts.ours);
    for (int r = 0; r < 2; r++)
        calibration_release(&verdicts.alone[r]);
    values_release(&values);
    values_release(&control);
    memory_free(from);
    memory_free((void *)(size_t)queries.images);
    arena_release(&world.arena); /* the sets live as long as the program */
}

int main(int argc, char **argv)
{
    struct bench bench;
    bool quick = false;
    int control = (int)power_fashion_control;
    const char *only = NULL, *values = NULL;
    const struct bench_option options[] = {
        { "--world", "NAME", "only that world", BENCH_TEXT, &only },
        { "--plants", "LIST", "only copies of these kinds, e.g. blur,shift", BENCH_TEXT,
          &only_plants },
        { "--control", "N", "so many control images of Fashion-MNIST (20000)", BENCH_NUMBER,
          &control },
        { "--quick", NULL, "a quarter of the copies, the control and the clean images", BENCH_FLAG,
          &quick },
        { "--values", "FILE", "CSV: world, kind, strength and every statistic of each image",
          BENCH_TEXT, &values },
        { 0 },
    };
    bench_begin(&bench, "audit-power", options, argc, argv);
    power_fashion_control = (size_t)control;
    FILE *table = values ? fopen(values, "w") : NULL;
    if (values && !table)
        bench_fail("%s: cannot be written", values);
    for (size_t w = 0; w < WORLDS; w++)
        if (!only || strcmp(only, power_worlds[w].name) == 0)
            run_world(&bench, w, quick ? 4 : 1, table);
    if (table && fclose(table) != 0)
        bench_fail("the table of values cannot be written");
    bench_end(&bench);
    return 0;
}
