/* Heads and their bounds; see heads.h. */
#include "audit/heads.h"

#include "base/parallel.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 256, LANES = 16, BLOCK = 64 };

/* Head sizes of one channel; more channels have up to three times as many. Trials on deformed real
 * heads: 1024 coefficients leave a twelfth of all pairs, 4096 a hundredth; beyond, what is left is
 * noise, which no head predicts. */
static const size_t head_sizes[HEAD_LEVELS] = { 1024, 2048, 3072, 4096 };
/* Where the bands of level 0 begin. */
static const size_t short_bands[SHORT_BANDS] = { 0, 64, 256 };

/* A low byte stands for 1/256 of a high one: a power of two, so that its scale is exact. */
#define LOW 0x1p-8f

/* The terms of a short row. */
enum {
    UNKNOWN,
    TAIL = HEAD_LEVELS - 1,
    ERROR_OF_QUERY,
    ERROR_OF_IMAGE = ERROR_OF_QUERY + SHORT_BANDS,
    LOW_WITH_LOW = ERROR_OF_IMAGE + SHORT_BANDS,
    TERMS
};
_Static_assert((int)TERMS == PANEL_TERMS && SHORT_BANDS + 1 == PANEL_PARTS,
               "a short row fits a panel");

static double gamma_bound(double count)
{
    double u = 0x1p-24;
    return count * u / (1 - count * u);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static size_t band_length(const struct heads *heads, size_t band)
{
    return heads->edge[band + 1] - heads->edge[band];
}

static size_t at_most(size_t value, size_t most)
{
    return value < most ? value : most;
}

static void lay_out_long(struct heads *heads)
{
    size_t place = (sizeof(struct long_row) + BLOCK - 1) / BLOCK * BLOCK;
    for (size_t b = SHORT_BANDS; b < HEAD_BANDS; b++) {
        heads->place[b] = place;
        place += (band_length(heads, b) + BLOCK - 1) / BLOCK * BLOCK;
    }
    heads->place[HEAD_BANDS] = heads->stride = place;
}

static void lay_out(struct heads *heads, size_t planes)
{
    size_t available = frequency_count(heads->frequency), begin = 0, factor = (planes + 2) / 2;
    if (factor > 3)
        factor =
            3; /* four channels know much about each other: memory for all would be ill spent */
    for (size_t b = 0; b < SHORT_BANDS; b++)
        heads->edge[b] = at_most(factor * short_bands[b], available);
    for (size_t l = 0; l < HEAD_LEVELS; l++) {
        size_t end = at_most(factor * head_sizes[l], available);
        heads->edge[SHORT_BANDS + l] = end;
        if (end == begin)
            continue;
        heads->end[l] = end;
        heads->levels = l + 1;
        begin = end;
    }
    size_t first = band_length(heads, 0);
    heads->shape = panel_shape_of((const size_t[]){ first, 2 * ((first + 3) / 4 * 4),
                                                    band_length(heads, 1), band_length(heads, 2) },
                                  PANEL_TERMS);
    for (int side = 0; side < 2; side++)
        heads->panel[side] = panel_size(&heads->shape, (enum panel_side)side);
    lay_out_long(heads);
}

/* ε: a head's distance from the true coefficients. A bound is off by ε on either side, by the order
 * of the sums, and by what the exact value itself is rounded. A short row has 15 addends of at most
 * 4 factors and conversions each, a band of a long one 6, whose sizes together are below 3: rows
 * have a norm of at most 1 + ε, what rounding to bytes leaves out at most a fifth of that. */
static void set_rounding(struct heads *heads)
{
    double e = frequency_error(heads->frequency) + gamma_bound(4),
           rounding =
               2 * e * (1 + e) + e * e + 1e-9 + 3 * gamma_bound(PANEL_PARTS + PANEL_TERMS + 4);
    heads->rounding[0] = rounding;
    for (size_t l = 1; l < heads->levels; l++) {
        rounding += 3 * gamma_bound(10);
        heads->rounding[l] = rounding;
    }
}

/* ---- choosing coefficients ------------------------------------------------------------------- */

struct sample_job {
    const struct heads *heads;
    const struct search *search;
    size_t count, coefficients;
    float *rows;
};

static void sample_one(void *context, size_t item)
{
    struct sample_job *job = context;
    size_t id = item * job->search->database.count / job->count;
    const void *image = image_at(job->search, &job->search->database, id);
    struct moments moments;
    void *workspace = memory_grow(NULL, 1, frequency_workspace(job->heads->frequency));
    float *row = job->rows + item * job->coefficients;
    if (!exact_moments(&job->search->pixels, image, &moments) || moments.spread == 0 ||
        !frequency_transform(job->heads->frequency, workspace, image, &moments, row))
        memset(row, 0, job->coefficients * sizeof *row);
    images_forget(job->search, &job->search->database, id, 1); /* a page fault may map 2 MB */
    free(workspace);
}

struct energy {
    double value;
    uint32_t index;
};

static int by_energy(const void *a, const void *b)
{
    const struct energy *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static bool choose(struct heads *heads, const struct search *search, struct error *err)
{
    size_t coefficients = frequency_count(heads->frequency), count = search->database.count;
    struct sample_job job = { heads, search, count < SAMPLE ? count : SAMPLE, coefficients, NULL };
    size_t length = heads->end[heads->levels - 1];
    struct energy *energies = memory_allocate(coefficients, sizeof *energies, "energies", err);
    heads->chosen = memory_allocate(length, sizeof *heads->chosen, "a choice", err);
    job.rows = memory_allocate(job.count * coefficients, sizeof *job.rows, "a sample", err);
    bool ok = energies && heads->chosen && job.rows;
    if (ok) {
        parallel_items(job.count, sample_one, &job);
        for (size_t c = 0; c < coefficients; c++)
            energies[c].index = (uint32_t)c;
        for (size_t i = 0; i < job.count; i++)
            for (size_t c = 0; c < coefficients; c++) {
                double value = job.rows[i * coefficients + c];
                energies[c].value += value * value;
            }
        qsort(energies, coefficients, sizeof *energies, by_energy);
        for (size_t c = 0; c < length; c++)
            heads->chosen[c] = energies[c].index;
    }
    memory_free(job.rows);
    memory_free(energies);
    return ok;
}

bool heads_init(struct heads *heads, const struct search *search, struct error *err)
{
    *heads = (struct heads){ 0 };
    heads->frequency =
        frequency_new(&search->pixels, search->database.height, search->database.width, err);
    if (!heads->frequency)
        return false;
    lay_out(heads, search->pixels.count / (search->database.height * search->database.width));
    set_rounding(heads);
    heads->products = panel_products();
    if (choose(heads, search, err))
        return true;
    heads_release(heads);
    return false;
}

void heads_release(struct heads *heads)
{
    frequency_free(heads->frequency);
    memory_free(heads->chosen);
    *heads = (struct heads){ 0 };
}

/* ---- room ------------------------------------------------------------------------------------ */

size_t heads_panels(enum panel_side side, size_t count)
{
    return (count + panel_width(side) - 1) / panel_width(side);
}

bool head_rows_allocate(const struct heads *heads, enum panel_side side, size_t count,
                        struct head_rows *rows, struct error *err)
{
    rows->side = side;
    rows->panels =
        memory_reserve(heads_panels(side, count), heads->panel[side], "short heads", err);
    rows->rows = memory_reserve(count, heads->stride, "long heads", err);
    rows->loose = memory_allocate(count, sizeof *rows->loose, "heads", err);
    return rows->panels && rows->rows && rows->loose;
}

void head_rows_release(struct head_rows *rows)
{
    memory_free(rows->panels);
    memory_free(rows->rows);
    memory_free(rows->loose);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The next float at or above the value. */
static float round_up(double value)
{
    float near = (float)value;
    return (double)near < value ? nextafterf(near, INFINITY) : near;
}

/* At least the root of a sum of squares in double precision, which is off by parts in 10^12. */
static float root_up(double squares)
{
    return round_up(sqrt(squares) * (1 + 1e-12));
}

/* A sum in 16 lanes. */
#define SUM_LANES(sum, i, count, addend)                                                           \
    do {                                                                                           \
        double lane[LANES] = { 0 };                                                                \
        size_t base = 0;                                                                           \
        for (; base + LANES <= (count); base += LANES)                                             \
            for (size_t l = 0; l < LANES; l++) {                                                   \
                size_t i = base + l;                                                               \
                lane[l] += (addend);                                                               \
            }                                                                                      \
        for (size_t i = base; i < (count); i++)                                                    \
            lane[i % LANES] += (addend);                                                           \
        for (size_t l = 0; l < LANES; l++)                                                         \
            (sum) += lane[l];                                                                      \
    } while (0)

HOT static double squares(const float *values, size_t count)
{
    double sum = 0;
    SUM_LANES(sum, i, count, (double)values[i] * (double)values[i]);
    return sum;
}

HOT static float largest(const float *values, size_t count)
{
    float lane[LANES] = { 0 }, most = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            float size = fabsf(values[i + l]);
            lane[l] = size > lane[l] ? size : lane[l];
        }
    for (; i < count; i++)
        most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
    for (size_t l = 0; l < LANES; l++)
        most = lane[l] > most ? lane[l] : most;
    return most;
}

/* To the nearest of scale · (−127 … 127). What that leaves out, to within 2^-24 of it, stays in
 * place of the values. */
HOT static void to_bytes(float *values, size_t count, float scale, int8_t *bytes)
{
    float inverse = scale > 0 ? 1 / scale : 0;
    for (size_t i = 0; i < count; i++) {
        float at = values[i] * inverse;
        at = at < 0 ? at - 0.5f : at + 0.5f;
        at = at < 127 ? at : 127;
        bytes[i] = (int8_t)(int)(at > -127 ? at : -127);
    }
    for (size_t i = 0; i < count; i++)
        values[i] = (float)((double)values[i] - (double)scale * (double)bytes[i]);
}

HOT static int32_t sum_of(const int8_t *bytes, size_t count)
{
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += bytes[i];
    return sum;
}

/* Bytes of a band, whose values are used up: what is left out stays in their place. Adds the square
 * of its norm. */
static struct band make_band(float *values, size_t count, int8_t *bytes, double *all)
{
    float scale = largest(values, count) / 127;
    double square = squares(values, count);
    struct band band = { .norm = root_up(square), .scale = scale };
    *all += square;
    to_bytes(values, count, scale, bytes);
    band.error = root_up(squares(values, count) * (1 + 1e-6));
    band.middle = 128 * sum_of(bytes, count);
    return band;
}

/* The first band, of two bytes a coefficient: parts 0 and 1. Returns the norm of the low bytes. */
static float make_first_band(const struct heads *heads, enum panel_side side, float *values,
                             struct band *band, int8_t *bytes, double *all)
{
    size_t count = band_length(heads, 0), each = (count + 3) / 4 * 4;
    int8_t *high = bytes, *second = bytes + each, *third = second + each,
           *low = side == PANEL_OF_QUERIES ? third : second;
    *band = make_band(values, count, high, all);
    to_bytes(values, count, band->scale * LOW, low);
    /* What the high bytes left was rounded to 2^-24 of itself before the low ones were taken. */
    band->error = round_up((double)root_up(squares(values, count) * (1 + 1e-6)) +
                           0x1p-23 * (double)band->error);
    memcpy(side == PANEL_OF_QUERIES ? second : third, high, each);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)low[i] * (double)low[i];
    return round_up((double)(band->scale * LOW) * sqrt(sum) * (1 + 1e-12));
}

static void set_terms(const struct long_row *of, enum panel_side side, struct panel_row *row)
{
    row->term[TAIL] = of->tail;
    row->term[LOW_WITH_LOW] = of->low;
    for (size_t b = SHORT_BANDS; b < HEAD_BANDS; b++)
        row->term[UNKNOWN + b - SHORT_BANDS] = of->band[b].norm;
    for (size_t b = 0; b < SHORT_BANDS; b++) {
        const struct band *band = &of->band[b];
        bool query = side == PANEL_OF_QUERIES;
        row->term[ERROR_OF_QUERY + b] = query ? band->error : band->norm;
        row->term[ERROR_OF_IMAGE + b] =
            query ? round_up((double)band->norm + (double)band->error) : band->error;
    }
}

/* Both rows from an image's coefficients, in order, which are used up. `bytes`: room for a short
 * row's, zeros where its parts are padded. */
static void make_row(const struct heads *heads, const struct head_rows *rows, size_t at,
                     float *coefficients, int8_t *bytes)
{
    struct long_row *of = (struct long_row *)(void *)(rows->rows + at * heads->stride);
    size_t width = panel_width(rows->side);
    double error = frequency_error(heads->frequency) + gamma_bound(4), all = 0;
    of->low = make_first_band(heads, rows->side, coefficients, &of->band[0], bytes, &all);
    for (size_t b = 1; b < SHORT_BANDS; b++)
        of->band[b] = make_band(coefficients + heads->edge[b], band_length(heads, b),
                                bytes + heads->shape.end[b], &all);
    for (size_t b = SHORT_BANDS; b < HEAD_BANDS; b++)
        of->band[b] = make_band(coefficients + heads->edge[b], band_length(heads, b),
                                (int8_t *)of + heads->place[b], &all);
    double known = sqrt(all) - error, tail = known > 0 ? 1 - known * known : 1;
    of->tail = round_up(sqrt(tail > 0 ? tail : 0) + 1e-6 * error);
    const struct band *band = of->band;
    struct panel_row row = {
        .bytes = bytes, .scale = { band[0].scale, band[0].scale, band[1].scale, band[2].scale }
    };
    if (rows->side == PANEL_OF_IMAGES)
        row.scale[1] *= LOW;
    set_terms(of, rows->side, &row);
    panel_put(&heads->shape, rows->side, head_panel(heads, rows, at / width), at % width, &row);
}

struct rows_job {
    const struct heads *heads;
    const struct search *search;
    const struct image_set *set;
    size_t first, count, at;
    struct moments *moments;
    const struct head_rows *rows;
};

/* A thread's room. */
struct room {
    void *workspace;
    float *all, *ordered;
    int8_t *bytes;
};

static void make_one(const struct rows_job *job, size_t i, const struct room *room)
{
    const struct heads *heads = job->heads;
    const struct head_rows *rows = job->rows;
    const void *image = image_at(job->search, job->set, job->first + i);
    size_t at = job->at + i, length = heads->end[heads->levels - 1];
    if (job->search->pixels.type != ELEMENT_FLOAT16)
        (void)exact_moments(&job->search->pixels, image, &job->moments[i]);
    memset(rows->rows + at * heads->stride, 0, heads->stride);
    rows->loose[at] = false;
    struct panel_row empty = { .bytes = room->bytes };
    if (job->moments[i].spread == 0 || !frequency_transform(heads->frequency, room->workspace,
                                                            image, &job->moments[i], room->all)) {
        rows->loose[at] = job->moments[i].spread != 0;
        panel_put(&heads->shape, rows->side, head_panel(heads, rows, at / panel_width(rows->side)),
                  at % panel_width(rows->side), &empty);
        return;
    }
    for (size_t c = 0; c < length; c++)
        room->ordered[c] = room->all[heads->chosen[c]];
    make_row(heads, rows, at, room->ordered, room->bytes);
}

/* The images of one panel. */
static void make_panel(void *context, size_t item)
{
    struct rows_job *job = context;
    const struct heads *heads = job->heads;
    size_t width = panel_width(job->rows->side), begin = item * width,
           end = at_most(begin + width, job->count), bytes = heads->shape.end[PANEL_PARTS - 1];
    struct room room = { memory_grow(NULL, 1, frequency_workspace(heads->frequency)),
                         memory_grow(NULL, frequency_count(heads->frequency), sizeof(float)),
                         memory_grow(NULL, heads->end[heads->levels - 1], sizeof(float)),
                         memory_grow(NULL, bytes, 1) };
    memset(room.bytes, 0, bytes);
    if (end - begin < width)
        memset(head_panel(heads, job->rows, (job->at + begin) / width), 0,
               heads->panel[job->rows->side]);
    for (size_t i = begin; i < end; i++)
        make_one(job, i, &room);
    if (job->rows->side == PANEL_OF_IMAGES) /* the queries' will be wanted again */
        images_forget(job->search, job->set, job->first + begin, end - begin);
    free(room.workspace);
    free(room.all);
    free(room.ordered);
    free(room.bytes);
}

bool heads_of(const struct heads *heads, const struct search *search, const struct image_set *set,
              size_t first, size_t count, struct moments *moments, const struct head_rows *rows,
              size_t at, struct error *err)
{
    struct rows_job job = { heads, search, set, first, count, at, moments, rows };
    CHECK(at % panel_width(rows->side) == 0, "rows from place %zu", at);
    /* Whole numbers are always finite: their moments are taken while an image is in the cache. */
    if (search->pixels.type == ELEMENT_FLOAT16 &&
        !moments_of(search, set, first, count, moments, err))
        return false;
    parallel_items(heads_panels(rows->side, count), make_panel, &job);
    return true;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* What the bytes of a band may be off by, from the norms and errors of both. */
static float byte_slack(const struct band *x, const struct band *y)
{
    return x->error * y->norm + (x->norm + x->error) * y->error;
}

float heads_refine(const struct heads *heads, size_t level, float bound, const struct long_row *x,
                   const struct long_row *y)
{
    size_t b = SHORT_BANDS + level - 1;
    const struct band *of_x = &x->band[b], *of_y = &y->band[b];
    int32_t product = heads->products->product((const int8_t *)x + heads->place[b], of_x->middle,
                                               (const int8_t *)y + heads->place[b],
                                               heads->place[b + 1] - heads->place[b]);
    return bound + (of_x->scale * of_y->scale * (float)product - of_x->norm * of_y->norm +
                    byte_slack(of_x, of_y));
}

float heads_slack(size_t level, const struct long_row *x, const struct long_row *y)
{
    float slack = x->tail * y->tail + x->low * y->low;
    for (size_t b = 0; b < HEAD_BANDS; b++)
        slack += b < SHORT_BANDS + level ? byte_slack(&x->band[b], &y->band[b])
                                         : x->band[b].norm * y->band[b].norm;
    return slack;
}
