/* The faiss engine: FAISS' flat index scores every pair in single precision; the pairs whose score
 * could belong to the k best are computed exactly.
 *
 * A score is off by at most E = γ(D + 4), D the number of pixels, in whatever order it was summed
 * (unit vectors: Σ|x||y| ≤ 1). Of m fetched scores the last is at or above every score that was not
 * fetched, so all pairs that were not fetched correlate at most last + E. Once that is below the
 * k-th exact correlation the answer is certain; until then m grows, at last to all pairs. */
#include "audit/faiss_engine.h"

#include "audit/blas.h"
#include "audit/faiss.h"
#include "audit/short_rows.h"
#include "base/parallel.h"
#include "base/simd.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- unit vectors ---------------------------------------------------------------------------- */

HOT static void unit_u8(const uint8_t *x, size_t count, double mean, double scale, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(((double)x[i] - mean) * scale);
}

HOT static void unit_u16(const uint16_t *x, size_t count, double mean, double scale, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(((double)x[i] - mean) * scale);
}

static void unit_half(const uint16_t *x, size_t count, double mean, double scale, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(((double)half_to_float(x[i]) - mean) * scale);
}

struct unit_job {
    const struct search *search;
    const struct image_set *set;
    size_t first;
    const struct moments *moments;
    float *out;
};

static void unit_range(void *context, size_t begin, size_t end)
{
    struct unit_job *job = context;
    const struct pixels *pixels = &job->search->pixels;
    for (size_t i = begin; i < end; i++) {
        const struct moments *m = &job->moments[i];
        const unsigned char *image = image_at(job->search, job->set, job->first + i);
        double squares =
                   pixels->type == ELEMENT_FLOAT16 ? m->spread : m->spread / (double)pixels->count,
               scale = m->spread == 0 ? 0 : 1 / sqrt(squares);
        float *out = job->out + i * pixels->count;
        for (size_t r = 0; r < pixels->run_count; r++) {
            const void *x = image + pixels->run[r].offset * element_info[pixels->type].bytes;
            size_t length = pixels->run[r].length;
            if (pixels->type == ELEMENT_UINT8)
                unit_u8(x, length, m->mean, scale, out);
            else if (pixels->type == ELEMENT_UINT16)
                unit_u16(x, length, m->mean, scale, out);
            else
                unit_half(x, length, m->mean, scale, out);
            out += length;
        }
    }
}

void unit_vectors(const struct search *search, const struct image_set *set, size_t first,
                  size_t count, const struct moments *moments, float *out)
{
    struct unit_job job = { search, set, first, moments, out };
    parallel_ranges(count, 4, unit_range, &job);
}

/* ---- the engine ------------------------------------------------------------------------------ */

enum { BATCH = 256, MARGIN = 16, WIDEN = 8, GPU_WIDTH = 2048 /* scores that a GPU can select */ };

static void faiss_close(struct search *search)
{
    flat_index_free(search->state);
    search->state = NULL;
}

/* E: how far a score may be off; 2, the whole range, where single precision says nothing. A GPU may
 * cut factors to TF32's 11 bits, and sums as short_rows.c says. */
static double score_error(const struct search *search)
{
    size_t dimensions = search->pixels.count;
    if (search->settings.faiss_gpu)
        return fmin(2, 0x1.01p-9 + 1.1 * short_sum_error(dimensions) + 1e-9);
    double terms = (double)(dimensions + 4) * 0x1p-24;
    return terms < 0.5 ? terms / (1 - terms) + 1e-9 : 2;
}

static bool faiss_open(struct search *search, struct error *err)
{
    size_t n = search->database.count, dimensions = search->pixels.count;
    struct flat_index *index = NULL;
    if (!moments_of(search, &search->database, 0, n, search->moments, err) ||
        !(search->settings.faiss_gpu
              ? flat_index_new_on(&index, dimensions, search->settings.faiss_gpu - 1, err)
              : flat_index_new(&index, dimensions, err)))
        return false;
    search->state = index;
    float *vectors = memory_allocate(BATCH * dimensions, sizeof *vectors, "vectors", err);
    bool ok = vectors != NULL;
    for (size_t first = 0; ok && first < n; first += BATCH) {
        size_t count = n - first < BATCH ? n - first : BATCH;
        unit_vectors(search, &search->database, first, count, search->moments + first, vectors);
        ok = flat_index_add(index, count, vectors, err);
    }
    memory_free(vectors);
    return ok;
}

/* Some queries, all with the same number of fetched scores. */
struct fetch {
    const struct search *search;
    const size_t *query; /* count: index in the set of queries */
    const struct moments *const *moments;
    struct neighbour *const *nearest;
    size_t count, width; /* width = N: every pair is computed */
    const float *scores; /* (count, width) */
    const int64_t *ids;
    bool *certain; /* count */
    _Atomic uint64_t evaluated;
};

static void evaluate(struct fetch *fetch, size_t item, size_t id)
{
    const struct search *search = fetch->search;
    double r = exact_correlation(
        &search->pixels, image_at(search, &search->queries, fetch->query[item]),
        fetch->moments[item], image_at(search, &search->database, id), &search->moments[id]);
    nearest_insert(fetch->nearest[item], search->settings.neighbours, (struct neighbour){ r, id });
}

/* Fetched scores in descending order: stops at the first that cannot enter any more. */
static void rescore(void *context, size_t item)
{
    struct fetch *fetch = context;
    const struct search *search = fetch->search;
    size_t k = search->settings.neighbours, n = search->database.count, w = fetch->width;
    struct neighbour *nearest = fetch->nearest[item];
    double error = score_error(search);
    nearest_clear(nearest, k);
    fetch->certain[item] = w == n;
    uint64_t evaluated = 0;
    for (size_t i = 0; i < w; i++) {
        size_t id = w == n ? i : (size_t)fetch->ids[item * w + i];
        if (w < n && (double)fetch->scores[item * w + i] + error < nearest[k - 1].correlation) {
            fetch->certain[item] = true;
            break;
        }
        if (!pair_allowed(search, fetch->query[item], id))
            continue;
        evaluate(fetch, item, id);
        evaluated++;
    }
    if (fetch->certain[item]) /* a wider fetch counts these again */
        atomic_fetch_add(&fetch->evaluated, evaluated);
}

/* Searches for the queries of `fetch`, whose vectors stand one after another. */
static bool fetch_run(struct fetch *fetch, const float *vectors, struct error *err)
{
    float *scores = NULL;
    int64_t *ids = NULL;
    bool ok = true;
    if (fetch->width < fetch->search->database.count) {
        size_t places = fetch->count * fetch->width;
        scores = memory_allocate(places, sizeof *scores, "scores", err);
        ids = memory_allocate(places, sizeof *ids, "scores", err);
        ok = scores && ids &&
             flat_index_search(fetch->search->state, fetch->count, vectors, fetch->width, scores,
                               ids, err);
    }
    fetch->scores = scores;
    fetch->ids = ids;
    if (ok)
        parallel_items(fetch->count, rescore, fetch);
    memory_free(scores);
    memory_free(ids);
    return ok;
}

/* What a batch of queries needs, and which of them are still open. */
struct batch {
    struct moments moments[BATCH];
    const struct moments *open_moments[BATCH];
    struct neighbour *open_nearest[BATCH];
    size_t open_query[BATCH];
    bool certain[BATCH];
    size_t open;
    float *vectors;
};

static void batch_keep_uncertain(struct batch *batch, size_t dimensions)
{
    size_t kept = 0;
    for (size_t i = 0; i < batch->open; i++) {
        if (batch->certain[i])
            continue;
        batch->open_moments[kept] = batch->open_moments[i];
        batch->open_nearest[kept] = batch->open_nearest[i];
        batch->open_query[kept] = batch->open_query[i];
        memmove(batch->vectors + kept * dimensions, batch->vectors + i * dimensions,
                dimensions * sizeof(float));
        kept++;
    }
    batch->open = kept;
}

static bool batch_run(struct search *search, struct batch *batch, size_t first, size_t count,
                      struct neighbour *nearest, struct certificate *certificate, struct error *err)
{
    size_t k = search->settings.neighbours, n = search->database.count,
           dimensions = search->pixels.count;
    if (!moments_of(search, &search->queries, first, count, batch->moments, err))
        return false;
    unit_vectors(search, &search->queries, first, count, batch->moments, batch->vectors);
    batch->open = count;
    for (size_t i = 0; i < count; i++) {
        batch->open_moments[i] = &batch->moments[i];
        batch->open_nearest[i] = nearest + i * k;
        batch->open_query[i] = first + i;
        batch->certain[i] = batch->moments[i].spread == 0;
        if (batch->certain[i])
            nearest_of_constant(search, first + i, &batch->moments[i], nearest + i * k);
    }
    batch_keep_uncertain(batch, dimensions);
    for (size_t width = k + MARGIN; batch->open; width *= WIDEN) {
        if (width >= n / 4 || (search->settings.faiss_gpu && width > GPU_WIDTH)) {
            width = n;
            certificate->exhaustive_queries += batch->open;
        }
        struct fetch fetch = { .search = search,
                               .query = batch->open_query,
                               .moments = batch->open_moments,
                               .nearest = batch->open_nearest,
                               .count = batch->open,
                               .width = width,
                               .certain = batch->certain };
        if (!fetch_run(&fetch, batch->vectors, err))
            return false;
        certificate->evaluated += fetch.evaluated;
        batch_keep_uncertain(batch, dimensions);
    }
    return true;
}

static bool faiss_run(struct search *search, struct search_result *result, struct error *err)
{
    struct certificate *certificate = &result->certificate;
    if (!blas_set_threads(parallel_threads(), err))
        return false;
    struct batch *batch = memory_allocate(1, sizeof *batch, "a batch", err);
    if (!batch)
        return false;
    batch->vectors =
        memory_allocate(BATCH * search->pixels.count, sizeof *batch->vectors, "vectors", err);
    bool ok = batch->vectors != NULL;
    for (size_t done = 0; ok && done < result->count; done += BATCH) {
        size_t count = result->count - done < BATCH ? result->count - done : BATCH;
        ok = batch_run(search, batch, result->first + done, count,
                       result->nearest + done * result->neighbours, certificate, err);
    }
    certificate->level[0].head = search->pixels.count;
    certificate->level[0].bounded = certificate->pairs;
    certificate->level[0].slack = certificate->rounding = score_error(search);
    memory_free(batch->vectors);
    memory_free(batch);
    return ok;
}

const struct engine_methods faiss_engine = { faiss_missing, faiss_version, faiss_open, faiss_run,
                                             faiss_close };
