/* Sets of heads; see heads.h. */
#include "heads.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "base/random.h"
#include "data/npy.h"
#include "data/phantom.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KNOTS = 9, SEED = 41, BATCH = 512, BRAIN_LEAST = HEAD_PIXELS / 8 };

/* ---- slices of phantoms ---------------------------------------------------------------------- */

struct subjects {
    size_t each;            /* subjects in a group */
    unsigned char **slices; /* (2 · each) */
    size_t *count;
};

static size_t brain_of(const int16_t *slice, int *most)
{
    size_t brain = 0;
    for (size_t e = 0; e < HEAD_PIXELS; e++) {
        brain += slice[e] > 0;
        *most = slice[e] > *most ? slice[e] : *most;
    }
    return brain;
}

/* Slices with enough brain, of one contrast, as bytes. A subject that cannot be made has none. */
static void make_subject(void *context, size_t item)
{
    struct subjects *subjects = context;
    struct phantom_settings settings = { .size = HEAD_SIDE, .seed = SEED };
    struct phantom phantom;
    if (!phantom_generate(&settings, item, &phantom, NULL))
        return;
    subjects->slices[item] = memory_grow(NULL, phantom.slices, HEAD_PIXELS);
    for (size_t s = 0; s < phantom.slices; s++) {
        const int16_t *slice = phantom.image[PHANTOM_T1] + s * HEAD_PIXELS;
        int most = 1;
        if (brain_of(slice, &most) < BRAIN_LEAST)
            continue;
        unsigned char *out = subjects->slices[item] + subjects->count[item]++ * HEAD_PIXELS;
        for (size_t e = 0; e < HEAD_PIXELS; e++)
            out[e] = (unsigned char)(220 * (slice[e] > 0 ? slice[e] : 0) / most);
    }
    phantom_release(&phantom);
}

static bool join(struct head_slices *heads, int group, const struct subjects *subjects,
                 struct error *err)
{
    size_t first = (size_t)group * subjects->each, total = 0;
    for (size_t s = first; s < first + subjects->each; s++)
        total += subjects->count[s];
    if (!total)
        return error_set(err, "no phantom could be made");
    heads->slices[group] = memory_grow(NULL, total, HEAD_PIXELS);
    for (size_t s = first; s < first + subjects->each; s++) {
        memcpy(heads->slices[group] + heads->count[group] * HEAD_PIXELS, subjects->slices[s],
               subjects->count[s] * HEAD_PIXELS);
        heads->count[group] += subjects->count[s];
    }
    return true;
}

bool head_slices_make(struct head_slices *heads, size_t each, struct error *err)
{
    struct subjects subjects = { each, memory_grow(NULL, 2 * each, sizeof(unsigned char *)),
                                 memory_grow(NULL, 2 * each, sizeof(size_t)) };
    for (size_t s = 0; s < 2 * each; s++) {
        subjects.slices[s] = NULL;
        subjects.count[s] = 0;
    }
    *heads = (struct head_slices){ { NULL, NULL }, { 0, 0 } };
    parallel_items(2 * each, make_subject, &subjects);
    bool ok = join(heads, 0, &subjects, err) && join(heads, 1, &subjects, err);
    for (size_t s = 0; s < 2 * each; s++)
        free(subjects.slices[s]);
    free(subjects.slices);
    free(subjects.count);
    return ok;
}

void head_slices_release(struct head_slices *heads)
{
    free(heads->slices[0]);
    free(heads->slices[1]);
    *heads = (struct head_slices){ { NULL, NULL }, { 0, 0 } };
}

/* ---- images ---------------------------------------------------------------------------------- */

struct look {
    uint64_t stream;
    float shift[2][KNOTS * KNOTS]; /* along rows and columns, on a coarse grid */
    unsigned char tone[256];
    float sigma;
};

static double draw(const struct look *look, uint64_t index, double low, double high)
{
    return low + (high - low) * random_uniform(SEED, look->stream, index);
}

static void look_init(struct look *look, uint64_t stream)
{
    look->stream = stream;
    double gain = draw(look, 0, .8, 1.2), gamma = exp(draw(look, 1, -.16, .16));
    look->sigma = (float)draw(look, 2, 2, 6);
    for (uint64_t axis = 0; axis < 2; axis++) {
        double whole = draw(look, 3 + axis, -3, 3);
        for (uint64_t i = 0; i < KNOTS * KNOTS; i++)
            look->shift[axis][i] = (float)(whole + draw(look, 8 + 2 * i + axis, -6, 6));
    }
    for (int v = 0; v < 256; v++)
        look->tone[v] = (unsigned char)fmin(255, round(255 * gain * pow(v / 255.0, gamma)));
}

/* Between the four values about (y, x), in steps of `side` elements from row to row. */
static float between(float a, float b, float c, float d, float fy, float fx)
{
    return (1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d);
}

static float shift_at(const float *knots, size_t y, size_t x)
{
    float at_y = (float)y * (KNOTS - 1) / HEAD_SIDE, at_x = (float)x * (KNOTS - 1) / HEAD_SIDE;
    size_t row = (size_t)at_y, column = (size_t)at_x;
    const float *k = knots + row * KNOTS + column;
    return between(k[0], k[1], k[KNOTS], k[KNOTS + 1], at_y - (float)row, at_x - (float)column);
}

static float pixel_at(const unsigned char *slice, float y, float x)
{
    if (!(y >= 0 && x >= 0 && y < HEAD_SIDE - 1 && x < HEAD_SIDE - 1))
        return 0;
    size_t row = (size_t)y, column = (size_t)x;
    const unsigned char *p = slice + row * HEAD_SIDE + column;
    return between(p[0], p[1], p[HEAD_SIDE], p[HEAD_SIDE + 1], y - (float)row, x - (float)column);
}

struct set_job {
    const struct head_slices *heads;
    int group;
    size_t first;
    unsigned char *out;
};

static void make_image(void *context, size_t item)
{
    const struct set_job *job = context;
    size_t image = job->first + item;
    struct look look;
    look_init(&look, 2 * (uint64_t)image + (uint64_t)job->group);
    const unsigned char *slice =
        job->heads->slices[job->group] + image % job->heads->count[job->group] * HEAD_PIXELS;
    unsigned char *out = job->out + item * HEAD_PIXELS;
    for (size_t e = 0; e < HEAD_PIXELS; e++) {
        size_t y = e / HEAD_SIDE, x = e % HEAD_SIDE;
        int value = (int)pixel_at(slice, (float)y + shift_at(look.shift[0], y, x),
                                  (float)x + shift_at(look.shift[1], y, x));
        uint64_t bits = value ? random_bits(SEED + 1, look.stream, e / 2) >> (e % 2 * 32) : 0;
        float noise = ((float)(bits & 255) + (float)(bits >> 8 & 255) + (float)(bits >> 16 & 255) +
                       (float)(bits >> 24 & 255) - 510) /
                      147.8f, /* nearly normal */
            seen = value ? (float)look.tone[value] + look.sigma * noise : 0;
        out[e] = (unsigned char)(seen < 0 ? 0 : seen > 255 ? 255 : seen + .5f);
    }
}

bool head_set_write(const struct head_slices *heads, int group, size_t count, const char *path,
                    struct error *err)
{
    struct set_job job = { .heads = heads, .group = group };
    struct npy_writer writer;
    if (!npy_writer_open(&writer, path, ELEMENT_UINT8, 3, (size_t[]){ 1, HEAD_SIDE, HEAD_SIDE },
                         err))
        return false;
    job.out = memory_grow(NULL, BATCH, HEAD_PIXELS);
    bool ok = true;
    for (; ok && job.first < count; job.first += BATCH) {
        size_t batch = count - job.first < BATCH ? count - job.first : BATCH;
        parallel_items(batch, make_image, &job);
        ok = npy_writer_append(&writer, job.out, batch, err);
    }
    free(job.out);
    if (ok)
        return npy_writer_commit(&writer, err);
    npy_writer_abandon(&writer);
    return false;
}
