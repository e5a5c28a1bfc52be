/* Heads and their bounds; see heads.h. */
#include "audit/heads.h"

#include "base/parallel.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE = 256, TAIL = HEAD_BANDS, LANES = 16 };

/* How a band became bytes; the error's norm is rounded up. The band's own norm stands in the row.
 */
struct band {
    float scale, error;
};

/* Their place in a row, in floats. */
enum { BAND_FLOATS = 32 };
_Static_assert(HEAD_BANDS * sizeof(struct band) <= BAND_FLOATS * sizeof(float),
               "bands fit into a row");

/* Head sizes of one channel; more channels have up to three times as many. Trials on deformed real
 * heads: 576 coefficients leave an eighth of all pairs, 4096 less than a hundredth; beyond, what is
 * left is noise, which no head predicts. */
static const size_t head_sizes[HEAD_LEVELS] = { 576, 1024, 2048, 4096 };
static const size_t level_bands[HEAD_LEVELS] = { 0, 4, 4, 4 };

static double gamma_bound(double count)
{
    double u = 0x1p-24;
    return count * u / (1 - count * u);
}

/* ---- layout -----------------------------------------------------------------------------------
 */

static void lay_out(struct heads *heads, size_t planes)
{
    size_t available = frequency_count(heads->frequency), begin = 0, band = 0,
           factor = (planes + 2) / 2;
    if (factor > 3)
        factor =
            3; /* four channels know much about each other: memory for all would be ill spent */
    for (size_t l = 0; l < HEAD_LEVELS; l++) {
        size_t end = factor * head_sizes[l] < available ? factor * head_sizes[l] : available;
        if (end == begin)
            break;
        for (size_t b = 0; b < level_bands[l]; b++)
            heads->edge[band++] = begin + (end - begin) * b / level_bands[l];
        heads->bands[l] = band;
        heads->end[l] = end;
        heads->levels = l + 1;
        begin = end;
    }
    for (; band <= HEAD_BANDS; band++)
        heads->edge[band] = begin;
    size_t bytes = begin - heads->end[0];
    heads->fixed = HEAD_NORMS + (heads->end[0] + LANES - 1) / LANES * LANES;
    heads->stride = heads->fixed + BAND_FLOATS + (bytes / sizeof(float) / LANES + 1) * LANES;
}

/* ε: a head's distance from the true coefficients. A bound is off by ε on either side, by the order
 * of the sums, and by what the exact value itself is rounded. Rows have a norm of at most 1 + ε. */
static void set_rounding(struct heads *heads)
{
    double e = frequency_error(heads->frequency) + gamma_bound(4),
           rounding = 2 * e * (1 + e) + e * e + 1e-9 +
                      1.1 * gamma_bound((double)(HEAD_NORMS + heads->end[0]));
    heads->rounding[0] = rounding;
    for (size_t l = 1; l < heads->levels; l++) {
        rounding += 1.1 * gamma_bound(8 * HEAD_BANDS);
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

/* ---- rows --------------------------------------------------------------------------------------
 */

HOT static double squares(const float *values, size_t count)
{
    double lane[16] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (size_t l = 0; l < 16; l++)
            lane[l] += (double)values[i + l] * (double)values[i + l];
    for (; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    for (size_t l = 0; l < 16; l++)
        sum += lane[l];
    return sum;
}

/* The next float at or above the value. */
static float round_up(double value)
{
    float near = (float)value;
    return (double)near < value ? nextafterf(near, INFINITY) : near;
}

/* Scaled to bytes; the squared norm of what that leaves out. */
HOT static double to_bytes(const float *values, size_t count, float scale, int8_t *bytes)
{
    float inverse = scale > 0 ? 1 / scale : 0;
    double lane[16] = { 0 }, sum = 0;
    for (size_t i = 0; i < count; i++) {
        float at = values[i] * inverse;
        bytes[i] = (int8_t)(int)(at + (at < 0 ? -0.5f : 0.5f));
    }
    for (size_t i = 0; i < count; i++) {
        double left = (double)values[i] - (double)scale * (double)bytes[i];
        lane[i % 16] += left * left;
    }
    for (size_t l = 0; l < 16; l++)
        sum += lane[l];
    return sum;
}

HOT static float largest(const float *values, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
    return most;
}

static const struct band *row_bands(const struct heads *heads, const float *row)
{
    return (const struct band *)(const void *)(row + heads->fixed);
}

static const int8_t *row_bytes(const struct heads *heads, const float *row)
{
    return (const int8_t *)(const void *)(row + heads->fixed + BAND_FLOATS);
}

/* A row from its coefficients, in order. Double precision is off by parts in 10^12 here. */
static void make_row(const struct heads *heads, const float *coefficients, float *row)
{
    double error = frequency_error(heads->frequency) + gamma_bound(4),
           all = squares(coefficients, heads->end[0]);
    struct band *bands = (struct band *)(void *)(row + heads->fixed);
    int8_t *bytes = (int8_t *)(void *)(row + heads->fixed + BAND_FLOATS);
    memcpy(row + HEAD_NORMS, coefficients, heads->end[0] * sizeof *row);
    for (size_t b = 0; b < HEAD_BANDS; b++) {
        const float *values = coefficients + heads->edge[b];
        size_t count = heads->edge[b + 1] - heads->edge[b];
        float scale = largest(values, count) / 127;
        double band = squares(values, count),
               left = to_bytes(values, count, scale, bytes + heads->edge[b] - heads->end[0]);
        row[b] = round_up(sqrt(band) * (1 + 1e-12));
        bands[b] = (struct band){ scale, round_up(sqrt(left) * (1 + 1e-12)) };
        all += band;
    }
    double known = sqrt(all) - error, tail = known > 0 ? 1 - known * known : 1;
    row[TAIL] = round_up(sqrt(tail > 0 ? tail : 0) + 1e-6 * error);
}

struct rows_job {
    const struct heads *heads;
    const struct search *search;
    const struct image_set *set;
    size_t first;
    const struct moments *moments;
    float *rows;
    bool *loose;
};

static void make_rows(void *context, size_t begin, size_t end)
{
    struct rows_job *job = context;
    const struct heads *heads = job->heads;
    size_t length = heads->end[heads->levels - 1];
    void *workspace = memory_grow(NULL, 1, frequency_workspace(heads->frequency));
    float *all = memory_grow(NULL, frequency_count(heads->frequency), sizeof *all),
          *ordered = memory_grow(NULL, length, sizeof *ordered);
    for (size_t i = begin; i < end; i++) {
        float *row = job->rows + i * heads->stride;
        memset(row, 0, heads->stride * sizeof *row);
        job->loose[i] = false;
        if (job->moments[i].spread == 0)
            continue;
        if (!frequency_transform(heads->frequency, workspace,
                                 image_at(job->search, job->set, job->first + i), &job->moments[i],
                                 all)) {
            job->loose[i] = true;
            continue;
        }
        for (size_t c = 0; c < length; c++)
            ordered[c] = all[heads->chosen[c]];
        make_row(heads, ordered, row);
    }
    free(all);
    free(ordered);
    free(workspace);
}

bool heads_of(const struct heads *heads, const struct search *search, const struct image_set *set,
              size_t first, size_t count, const struct moments *moments, float *rows, bool *loose,
              struct error *err)
{
    (void)err;
    struct rows_job job = { heads, search, set, first, moments, rows, loose };
    parallel_ranges(count, 4, make_rows, &job);
    return true;
}

/* ---- bounds ------------------------------------------------------------------------------------
 */

/* Exact: at most 2^14 products of at most 127². */
HOT static int32_t byte_product(const int8_t *x, const int8_t *y, size_t count)
{
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (int32_t)x[i] * y[i];
    return sum;
}

/* What the bytes of a band may be off by, from the norms and errors of both. */
static float byte_slack(float norm_x, const struct band *x, float norm_y, const struct band *y)
{
    return x->error * norm_y + (norm_x + x->error) * y->error;
}

float heads_refine(const struct heads *heads, size_t level, float bound, const float *x,
                   const float *y)
{
    const struct band *of_x = row_bands(heads, x), *of_y = row_bands(heads, y);
    const int8_t *bytes_x = row_bytes(heads, x), *bytes_y = row_bytes(heads, y);
    for (size_t b = heads->bands[level - 1]; b < heads->bands[level]; b++) {
        size_t begin = heads->edge[b] - heads->end[0], count = heads->edge[b + 1] - heads->edge[b];
        int32_t product = byte_product(bytes_x + begin, bytes_y + begin, count);
        bound += of_x[b].scale * of_y[b].scale * (float)product - x[b] * y[b] +
                 byte_slack(x[b], &of_x[b], y[b], &of_y[b]);
    }
    return bound;
}

float heads_slack(const struct heads *heads, size_t level, const float *x, const float *y)
{
    const struct band *of_x = row_bands(heads, x), *of_y = row_bands(heads, y);
    float slack = x[TAIL] * y[TAIL];
    for (size_t b = 0; b < HEAD_BANDS; b++)
        slack += b < heads->bands[level] ? byte_slack(x[b], &of_x[b], y[b], &of_y[b]) : x[b] * y[b];
    return slack;
}
