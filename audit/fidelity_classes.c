/* The inception score (Salimans et al., NeurIPS 2016): whether a classifier is sure of each image,
 * and finds many classes in the set.
 *
 *     log score = mean over images of Σ p log p  −  Σ q log q,     q the mean of p
 *
 * which is the mean divergence of p from q. Both means are of sums, so a set of parts that stand in
 * it several times has its score from the parts' sums alone. Logits are products of features and
 * weights, without the classifier's bias, as in the official code. */
#include "audit/fidelity_parts.h"

#include "audit/blas.h"
#include "base/arena.h"
#include "base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 256 };

/* ---- sums ------------------------------------------------------------------------------------ */

/* The softmax of logits, in place; returns Σ p log p. */
static double classify(double *logits, size_t classes)
{
    double most = logits[0], sum = 0, certainty = 0;
    for (size_t c = 1; c < classes; c++)
        most = fmax(most, logits[c]);
    for (size_t c = 0; c < classes; c++)
        sum += exp(logits[c] - most);
    for (size_t c = 0; c < classes; c++) {
        double log_p = logits[c] - most - log(sum);
        logits[c] = exp(log_p);
        certainty += logits[c] * log_p;
    }
    return certainty;
}

static void add_tile(struct class_sums *sums, const uint32_t *part, size_t count, double *logits)
{
    for (size_t i = 0; i < count; i++) {
        double *p = logits + i * sums->classes, *classed = sums->classed + part[i] * sums->classes;
        sums->certainty[part[i]] += classify(p, sums->classes);
        sums->images[part[i]]++;
        for (size_t c = 0; c < sums->classes; c++)
            classed[c] += p[c];
    }
}

static void to_double(const float *from, size_t count, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = from[i];
}

static void add_all(struct class_sums *sums, const struct feature_sample *sample,
                    const uint32_t *part, double *weights)
{
    size_t width = sample->width, classes = sample->classes;
    double *features = memory_grow(NULL, TILE * width, sizeof *features),
           *logits = memory_grow(NULL, TILE * classes, sizeof *logits);
    to_double(sample->classifier, classes * width, weights);
    for (size_t first = 0; first < sample->count; first += TILE) {
        size_t count = sample->count - first < TILE ? sample->count - first : TILE;
        to_double(sample->values + first * width, count * width, features);
        blas_product_transposed_double(count, classes, width, features, width, weights, width,
                                       logits, classes);
        add_tile(sums, part + first, count, logits);
    }
    free(features);
    free(logits);
}

bool class_sums_init(struct class_sums *sums, const struct feature_sample *sample,
                     const uint32_t *part, size_t parts, struct error *err)
{
    size_t classes = sample->classes;
    *sums = (struct class_sums){ .parts = parts, .classes = sample->classifier ? classes : 0 };
    if (!sums->classes)
        return true;
    double *weights =
        memory_allocate(classes * sample->width, sizeof *weights, "the classifier's weights", err);
    sums->images = memory_allocate(parts, sizeof *sums->images, "images by part", err);
    sums->certainty = memory_allocate(parts, sizeof *sums->certainty, "certainty by part", err);
    sums->classed = memory_allocate(parts * classes, sizeof *sums->classed, "classes by part", err);
    bool ok = weights && sums->images && sums->certainty && sums->classed;
    if (ok)
        add_all(sums, sample, part, weights);
    else
        class_sums_release(sums);
    memory_free(weights);
    return ok;
}

void class_sums_release(struct class_sums *sums)
{
    memory_free(sums->images);
    memory_free(sums->certainty);
    memory_free(sums->classed);
    *sums = (struct class_sums){ 0 };
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Σ q log q of the parts together. */
static double certainty_of_all(const struct class_sums *sums, const double *times, double images)
{
    double *classed = memory_grow(NULL, sums->classes, sizeof *classed), certainty = 0;
    memset(classed, 0, sums->classes * sizeof *classed);
    for (size_t u = 0; u < sums->parts; u++)
        for (size_t c = 0; times[u] > 0 && c < sums->classes; c++)
            classed[c] += times[u] * sums->classed[u * sums->classes + c];
    for (size_t c = 0; c < sums->classes; c++) {
        double p = classed[c] / images;
        certainty += p > 0 ? p * log(p) : 0; /* 0: of a class that is out of the question */
    }
    free(classed);
    return certainty;
}

double class_sums_score(const struct class_sums *sums, const double *times)
{
    double images = 0, certainty = 0;
    for (size_t u = 0; sums->classes && u < sums->parts; u++) {
        images += times[u] * sums->images[u];
        certainty += times[u] * sums->certainty[u];
    }
    return images < 2 ? NAN : exp(certainty / images - certainty_of_all(sums, times, images));
}

void class_sums_across(const struct class_sums *sums, double *mean, double *deviation)
{
    double *times = memory_grow(NULL, sums->parts, sizeof *times),
           *scores = memory_grow(NULL, sums->parts, sizeof *scores), count = (double)sums->parts;
    *mean = *deviation = 0;
    for (size_t u = 0; u < sums->parts; u++) {
        memset(times, 0, sums->parts * sizeof *times);
        times[u] = 1;
        scores[u] = class_sums_score(sums, times);
        *mean += scores[u] / count;
    }
    for (size_t u = 0; u < sums->parts; u++)
        *deviation += (scores[u] - *mean) * (scores[u] - *mean) / count;
    *deviation = sqrt(*deviation);
    free(times);
    free(scores);
}

void draw_splits(uint64_t seed, size_t images, uint32_t *split)
{
    size_t *order = memory_grow(NULL, images, sizeof *order);
    random_permutation(seed, random_stream("fidelity/splits"), images, order);
    for (size_t i = 0; i < images; i++)
        split[order[i]] = (uint32_t)(i * SPLITS / images);
    free(order);
}
