/* bench_audit-power: does the audit find what it must? Copies of training images, plain and in
 * disguise, are planted among images that copy nothing, and the share that is flagged is counted.
 *
 * Two worlds:
 *
 *     fashion   Fashion-MNIST (28 × 28): 8,000 images to train on, 6,000 as control, 2,000 clean
 *     heads     phantoms that are deformations of one real head (lethe phantom --template, 128 ×
 *               128 FLAIR slices with tumours): 50 subjects, 110 as control, 40 clean
 *
 * Clean images are real images that are in neither of the other sets; in the world of heads, of
 * other subjects. Copies are made with code of this file alone (interpolation is cubic, where the
 * detector's is linear), from training images drawn at random, 100 for each transformation and
 * strength. A pasted tumour comes from a training image by its mask, with a soft rim, and goes into
 * a clean head of another subject, in its place or moved.
 *
 * All statistics of the audit are calibrated together (audit/calibrate.h): the declared rate of
 * false positives, one in 1,000, is shared between them. Beside it stand two statistics alone, each
 * with the whole rate: the plain correlation and the Euclidean distance to the nearest training
 * image. The columns at the right count which of ours flagged the copies, each at its share.
 *
 *     --world NAME   only that world      --quick   a quarter of the copies and of the control
 *     --values FILE  CSV: world, kind, strength and every statistic of each image
 *
 * The last column, traced, counts the copies that led back to the very image that was copied: by
 * tile_ratio for a pasted tumour, by disguise for the others.
 */
#include "bench.h"

#include "audit/blas.h"
#include "audit/calibrate.h"
#include "audit/disguise.h"
#include "audit/search.h"
#include "audit/tile.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/random.h"
#include "data/dataset.h"
#include "data/gzip.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER   "build/bench/audit-power"
#define TEMPLATE "/usr/share/mricron/templates/ch2bet.nii.gz"
#define FASHION  "/usr/share/datasets/fashion-mnist/"

enum { COPIES = 100, STRENGTHS = 4, STRANGERS = 5, FLAIR = 3 };
#define RATE 0.001

/* ---- worlds -----------------------------------------------------------------------------------
 */

struct world {
    const char *name;
    size_t side;
    struct image_set train, control, clean;
    const uint8_t *masks; /* of the training images: labels; NULL: none */
    struct arena arena;
};

static unsigned char *room_for(size_t images, size_t plane)
{
    struct error err;
    unsigned char *room = memory_allocate(images, plane, "images", &err);
    if (!room)
        bench_fail("%s", err.message);
    return room;
}

static struct image_set set_of(const char *name, unsigned char *images, size_t count, size_t side)
{
    return (struct image_set){ .name = name,
                               .images = images,
                               .count = count,
                               .channels = 1,
                               .height = side,
                               .width = side,
                               .type = ELEMENT_UINT8 };
}

static unsigned char *idx_images(const char *path, size_t count)
{
    enum { HEADER = 16, PLANE = 28 * 28 };
    struct error err;
    size_t size, packed_size;
    char *packed = file_read(path, 1 << 28, &packed_size, &err);
    unsigned char *bytes =
        packed ? gzip_decompress(packed, packed_size, 1 << 28, path, &size, &err) : NULL;
    if (!bytes)
        bench_fail("%s (package dataset-fashion-mnist)", err.message);
    if (size != HEADER + count * PLANE)
        bench_fail("%s: %zu bytes instead of %zu images", path, size, count);
    unsigned char *images = room_for(count, PLANE);
    memcpy(images, bytes + HEADER, count * PLANE);
    memory_free(packed);
    memory_free(bytes);
    return images;
}

static void make_fashion(struct world *world, size_t divisor)
{
    enum { TRAIN = 8000, CONTROL = 6000, CLEAN = 2000, PLANE = 28 * 28 };
    unsigned char *images = idx_images(FASHION "train-images-idx3-ubyte.gz", 60000);
    world->side = 28;
    world->train = set_of("train", images, TRAIN, 28);
    world->control = set_of("control", images + (size_t)TRAIN * PLANE, CONTROL / divisor, 28);
    world->clean = set_of("clean", images + (size_t)(TRAIN + CONTROL) * PLANE, CLEAN, 28);
}

/* The set of images whose subject's number is in [first, end), subjects numbered as they come. */
static struct image_set pick(struct world *world, const struct dataset *store, const char *name,
                             size_t first, size_t end, uint8_t **masks)
{
    size_t plane = store->height * store->width, count = 0, subject = 0, *from;
    from = memory_grow(NULL, store->count, sizeof *from);
    uint32_t *groups = arena_array(&world->arena, uint32_t, store->count);
    for (size_t i = 0; i < store->count; i++) {
        subject += i && strcmp(store->index[i].subject, store->index[i - 1].subject) != 0;
        if (subject < first || subject >= end)
            continue;
        groups[count] = (uint32_t)subject;
        from[count++] = i;
    }
    unsigned char *images = room_for(count, plane);
    if (masks)
        *masks = room_for(count, plane);
    for (size_t i = 0; i < count; i++) {
        memcpy(images + i * plane, store->images + (from[i] * store->channels + FLAIR) * plane,
               plane);
        if (masks)
            memcpy(*masks + i * plane, store->masks + from[i] * plane, plane);
    }
    memory_free(from);
    struct image_set set = set_of(name, images, count, store->height);
    set.groups = groups;
    return set;
}

static void make_heads(struct world *world, size_t divisor)
{
    struct dataset store;
    struct error err;
    if (!folder_create(FOLDER, &err))
        bench_fail("%s", err.message);
    if (!dataset_is(FOLDER "/heads")) {
        fprintf(stderr, "bench: making 200 heads, once; this takes minutes\n");
        if (path_kind(FOLDER "/cohort") == PATH_NOTHING)
            bench_peak_memory((const char *[]){ "build/lethe", "phantom", "--subjects", "200",
                                                "--size", "128", "--template", TEMPLATE, "--out",
                                                FOLDER "/cohort", "--quiet", NULL });
        bench_peak_memory((const char *[]){ "build/lethe", "ingest", "--source", FOLDER "/cohort",
                                            "--out", FOLDER "/heads", "--quiet", NULL });
    }
    if (!dataset_open(&store, FOLDER "/heads", &err))
        bench_fail("%s", err.message);
    uint8_t *masks;
    world->side = store.height;
    world->train = pick(world, &store, "train", 0, 50, &masks);
    world->control = pick(world, &store, "control", 50, 50 + 110 / divisor, NULL);
    world->clean = pick(world, &store, "clean", 160, 200, NULL);
    world->masks = masks;
    dataset_close(&store);
}

static const struct {
    const char *name;
    void (*make)(struct world *world, size_t divisor);
} worlds[] = { { "fashion", make_fashion }, { "heads", make_heads } };
enum { FASHION_WORLD, HEADS_WORLD, WORLDS };

/* ---- copies -----------------------------------------------------------------------------------
 */

struct copy {
    const struct world *world;
    size_t from;     /* the training image */
    uint64_t stream; /* of random numbers: one a copy */
    unsigned char *out;
};

static double draw(const struct copy *copy, uint64_t index)
{
    return random_uniform(31, copy->stream, index);
}

static const unsigned char *original(const struct copy *copy)
{
    return copy->world->train.images + copy->from * copy->world->side * copy->world->side;
}

static unsigned char grey(double value)
{
    return (unsigned char)fmin(255, fmax(0, round(value)));
}

static double pixel(const unsigned char *plane, size_t side, long y, long x)
{
    bool inside = y >= 0 && x >= 0 && y < (long)side && x < (long)side;
    return inside ? plane[y * (long)side + x] : 0;
}

/* Catmull and Rom's cubic through four samples, at t in [0, 1] between the second and third. */
static double cubic(const double p[4], double t)
{
    return p[1] + 0.5 * t *
                      (p[2] - p[0] +
                       t * (2 * p[0] - 5 * p[1] + 4 * p[2] - p[3] +
                            t * (3 * (p[1] - p[2]) + p[3] - p[0])));
}

static double sample(const unsigned char *plane, size_t side, double y, double x)
{
    long iy = (long)floor(y), ix = (long)floor(x);
    double column[4];
    for (long r = 0; r < 4; r++) {
        double row[4];
        for (long c = 0; c < 4; c++)
            row[c] = pixel(plane, side, iy - 1 + r, ix - 1 + c);
        column[r] = cubic(row, x - (double)ix);
    }
    return cubic(column, y - (double)iy);
}

/* Turned by degrees and enlarged about the middle, then moved. */
static void resample(const struct copy *copy, const unsigned char *from, double degrees,
                     double scale, double move_y, double move_x)
{
    size_t side = copy->world->side;
    double c = cos(degrees * M_PI / 180) / scale, s = sin(degrees * M_PI / 180) / scale,
           middle = ((double)side - 1) / 2;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            double dy = (double)y - middle - move_y, dx = (double)x - middle - move_x;
            copy->out[y * side + x] =
                grey(sample(from, side, middle + c * dy - s * dx, middle + s * dy + c * dx));
        }
}

static void plain(const struct copy *copy, double strength)
{
    (void)strength;
    memcpy(copy->out, original(copy), copy->world->side * copy->world->side);
}

static void noisy(const struct copy *copy, double sigma)
{
    size_t count = copy->world->side * copy->world->side;
    for (size_t i = 0; i < count; i++)
        copy->out[i] = grey(original(copy)[i] + sigma * random_normal(32, copy->stream, i));
}

/* Gaussian, the standard deviation in pixels; the weights of each axis sum to 1. */
static void blurred(const struct copy *copy, double sigma)
{
    size_t side = copy->world->side;
    long reach = (long)ceil(3 * sigma);
    double *between = memory_grow(NULL, side * side, sizeof *between), total = 0;
    for (long i = -reach; i <= reach; i++)
        total += exp(-(double)(i * i) / (2 * sigma * sigma));
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            double sum = 0;
            for (long i = -reach; i <= reach; i++)
                sum += exp(-(double)(i * i) / (2 * sigma * sigma)) / total *
                       pixel(original(copy), side, y, x + i);
            between[y * (long)side + x] = sum;
        }
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            double sum = 0;
            for (long i = -reach; i <= reach; i++)
                if (y + i >= 0 && y + i < (long)side)
                    sum += exp(-(double)(i * i) / (2 * sigma * sigma)) / total *
                           between[(y + i) * (long)side + x];
            copy->out[y * (long)side + x] = grey(sum);
        }
    memory_free(between);
}

static void with_gamma(const struct copy *copy, double gamma)
{
    for (size_t i = 0; i < copy->world->side * copy->world->side; i++)
        copy->out[i] = grey(255 * pow(original(copy)[i] / 255.0, gamma));
}

/* Contrast times the gain; what is not 0 rises by 20. */
static void with_gain(const struct copy *copy, double gain)
{
    for (size_t i = 0; i < copy->world->side * copy->world->side; i++)
        copy->out[i] = original(copy)[i] ? grey(gain * original(copy)[i] + 20) : 0;
}

static void mirrored(const struct copy *copy, double axis)
{
    size_t side = copy->world->side;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++)
            copy->out[y * side + x] = axis == 0 ? original(copy)[y * side + side - 1 - x]
                                                : original(copy)[(side - 1 - y) * side + x];
}

/* By so many pixels in some direction, not in whole ones. */
static void shifted(const struct copy *copy, double pixels)
{
    double angle = 2 * M_PI * draw(copy, 0);
    resample(copy, original(copy), 0, 1, pixels * sin(angle), pixels * cos(angle));
}

static double sign(const struct copy *copy, uint64_t index)
{
    return draw(copy, index) < 0.5 ? -1 : 1;
}

static void turned(const struct copy *copy, double degrees)
{
    resample(copy, original(copy), sign(copy, 0) * degrees, 1, 0, 0);
}

static void scaled(const struct copy *copy, double scale)
{
    resample(copy, original(copy), 0, scale, 0, 0);
}

/* Mirrored, turned, scaled by up to a twentieth, shifted by a fiftieth of the side, with noise. */
static void combined(const struct copy *copy, double sigma)
{
    size_t side = copy->world->side;
    unsigned char *mirror = memory_grow(NULL, side * side, 1);
    for (size_t i = 0; i < side * side; i++)
        mirror[i] = original(copy)[i / side * side + side - 1 - i % side];
    resample(copy, mirror, 6 * draw(copy, 0) - 3, 0.95 + 0.1 * draw(copy, 1),
             (double)side / 50 * sign(copy, 2), (double)side / 50 * sign(copy, 3));
    for (size_t i = 0; i < side * side; i++)
        copy->out[i] = grey(copy->out[i] + sigma * random_normal(33, copy->stream, i));
    memory_free(mirror);
}

/* ---- pasted pieces ----------------------------------------------------------------------------
 */

/* A clean image for a piece to be pasted into. */
static const unsigned char *recipient(const struct copy *copy)
{
    const struct image_set *clean = &copy->world->clean;
    return clean->images +
           random_below(34, copy->stream, 0, clean->count) * clean->height * clean->width;
}

/* weight: how much of the piece there is at each pixel of the training image. The piece goes into
 * the recipient, moved, where this has any light (a tumour stays within the brain). */
static void paste(const struct copy *copy, const double *weight, long move_y, long move_x,
                  double gain, double sigma)
{
    size_t side = copy->world->side;
    const unsigned char *into = recipient(copy);
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            long fy = y - move_y, fx = x - move_x;
            size_t at = (size_t)(y * (long)side + x);
            bool inside = fy >= 0 && fx >= 0 && fy < (long)side && fx < (long)side;
            double share = inside && into[at] ? weight[fy * (long)side + fx] : 0,
                   value =
                       (1 - share) * into[at] + share * gain * pixel(original(copy), side, fy, fx);
            copy->out[at] =
                grey(value + (into[at] ? sigma * random_normal(35, copy->stream, at) : 0));
        }
}

/* The mask, grown by two pixels and softened by a box of 5 × 5. */
static double *tumour_weight(const struct copy *copy)
{
    size_t side = copy->world->side;
    const uint8_t *mask = copy->world->masks + copy->from * side * side;
    double *weight = memory_grow(NULL, side * side, sizeof *weight),
           *grown = memory_grow(NULL, side * side, sizeof *grown);
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            bool near = false;
            for (long i = -2; i <= 2; i++)
                for (long j = -2; j <= 2; j++)
                    near |= pixel(mask, side, y + i, x + j) > 0;
            grown[y * (long)side + x] = near;
        }
    for (long y = 0; y < (long)side; y++)
        for (long x = 0; x < (long)side; x++) {
            double sum = 0;
            for (long i = -2; i <= 2; i++)
                for (long j = -2; j <= 2; j++)
                    if (y + i >= 0 && x + j >= 0 && y + i < (long)side && x + j < (long)side)
                        sum += grown[(y + i) * (long)side + x + j] / 25;
            weight[y * (long)side + x] = sum;
        }
    memory_free(grown);
    return weight;
}

static void tumour(const struct copy *copy, long move_y, long move_x, double gain, double sigma)
{
    double *weight = tumour_weight(copy);
    paste(copy, weight, move_y, move_x, gain, sigma);
    memory_free(weight);
}

static void tumour_moved(const struct copy *copy, double pixels)
{
    double angle = 2 * M_PI * draw(copy, 0);
    tumour(copy, lround(pixels * sin(angle)), lround(pixels * cos(angle)), 1, 0);
}

static void tumour_noisy(const struct copy *copy, double sigma)
{
    tumour(copy, 0, 0, 1, sigma);
}

static void tumour_gain(const struct copy *copy, double gain)
{
    tumour(copy, 0, 0, gain, 0);
}

/* The tumour's diameter, that of a disc of its area, in pixels. */
static double tumour_diameter(const struct world *world, size_t image)
{
    size_t area = 0, plane = world->side * world->side;
    for (size_t i = 0; i < plane; i++)
        area += world->masks[image * plane + i] != 0;
    return 2 * sqrt((double)area / M_PI);
}

/* ---- the table --------------------------------------------------------------------------------
 */

struct plant {
    const char *name, *unit;
    void (*make)(const struct copy *copy, double strength);
    double strength[WORLDS][STRENGTHS]; /* NAN: no more */
    double goal;                        /* for the recall; 0: none */
    bool tumour;
};

#define NONE                                                                                       \
    {                                                                                              \
        NAN, NAN, NAN, NAN                                                                         \
    }
static const struct plant plants[] = {
    { "plain", "", plain, { { 0, NAN }, { 0, NAN } }, .99, false },
    { "noise", "σ", noisy, { { 6, 12, 25, 50 }, { 6, 12, 25, 50 } }, .99, false },
    { "blur", "px", blurred, { { .5, .75, 1, 1.5 }, { .5, 1, 2, 3 } }, .99, false },
    { "gamma", "", with_gamma, { { .6, .8, 1.3, 1.6 }, { .6, .8, 1.3, 1.6 } }, .99, false },
    { "intensity", "gain", with_gain, { { .5, .8, NAN }, { .5, .8, NAN } }, .99, false },
    { "mirror", "axis", mirrored, { { 0, 1, NAN }, { 0, 1, NAN } }, .99, false },
    { "shift", "px", shifted, { { .5, 1, 2, 3 }, { 1, 3, 6, 12 } }, .99, false },
    { "turn", "°", turned, { { 1, 2, 3.5, 5 }, { 1, 2, 3.5, 5 } }, .9, false },
    { "scale", "", scaled, { { .9, .95, 1.05, 1.1 }, { .9, .95, 1.05, 1.1 } }, 0, false },
    { "combined", "σ", combined, { { 0, 6, 12, NAN }, { 0, 6, 12, NAN } }, 0, false },
    { "tumour-moved", "px", tumour_moved, { NONE, { 0, 2, 5, 10 } }, .9, true },
    { "tumour-noise", "σ", tumour_noisy, { NONE, { 3, 6, 12, NAN } }, 0, true },
    { "tumour-gain", "gain", tumour_gain, { NONE, { .8, .9, 1.1, NAN } }, 0, true },
};
enum { PLANTS = sizeof plants / sizeof *plants };

struct making {
    const struct world *world;
    const struct plant *plant;
    double strength;
    size_t first; /* of the queries */
    unsigned char *images;
    size_t *from;
};

/* A training image at random; for a tumour, one with a tumour of 20 to 40 pixels. */
static size_t draw_original(const struct making *making, uint64_t stream)
{
    const struct world *world = making->world;
    for (uint64_t i = 0;; i++) {
        size_t image = random_below(36, stream, i, world->train.count);
        if (!making->plant->tumour)
            return image;
        double diameter = tumour_diameter(world, image);
        if (diameter >= 20 && diameter <= 40)
            return image;
    }
}

static void make_copy(void *context, size_t item)
{
    struct making *making = context;
    size_t at = making->first + item;
    struct copy copy = { .world = making->world,
                         .from = draw_original(making, at),
                         .stream = at,
                         .out = making->images + at * making->world->side * making->world->side };
    making->from[at] = copy.from;
    making->plant->make(&copy, making->strength);
}

/* ---- statistics -------------------------------------------------------------------------------
 */

enum {
    CORRELATION,
    LOCAL_RATIO,
    DISGUISE,
    DISGUISE_RATIO,
    TILE_RATIO,
    OURS,          /* so many are calibrated together */
    EUCLID = OURS, /* a rival: the distance to the nearest training image */
    STATISTICS
};

/* The weights share the rate of false positives: half of it for the statistic that finds nearly all
 * disguises, a fifth for the one that finds pieces, a tenth for each of the others. */
static const struct {
    const char *name;
    bool small;
    double weight;
} statistic_rows[STATISTICS] = {
    [CORRELATION] = { "correlation", false, 1 }, [LOCAL_RATIO] = { "local_ratio", true, 1 },
    [DISGUISE] = { "disguise", false, 1 },       [DISGUISE_RATIO] = { "disguise_ratio", true, 5 },
    [TILE_RATIO] = { "tile_ratio", true, 2 },    [EUCLID] = { "euclid", true, 1 },
};

struct values {
    size_t count;
    double *of[STATISTICS];
    uint64_t *nearest, *disguised, *tiled; /* ids */
};

static void values_init(struct values *values, size_t count)
{
    *values = (struct values){ .count = count };
    for (int s = 0; s < STATISTICS; s++)
        values->of[s] = memory_grow(NULL, count, sizeof(double));
    values->nearest = memory_grow(NULL, count, sizeof(uint64_t));
    values->disguised = memory_grow(NULL, count, sizeof(uint64_t));
    values->tiled = memory_grow(NULL, count, sizeof(uint64_t));
}

static void values_release(struct values *values)
{
    for (int s = 0; s < STATISTICS; s++)
        memory_free(values->of[s]);
    memory_free(values->nearest);
    memory_free(values->disguised);
    memory_free(values->tiled);
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
static void plain_values(const struct image_set *queries, const struct image_set *train,
                         struct values *values)
{
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
static void euclid_values(const struct image_set *queries, const struct image_set *train,
                          struct values *values)
{
    enum { BLOCK = 500 };
    size_t plane = train->height * train->width;
    double *squares = memory_grow(NULL, train->count, sizeof *squares), own[BLOCK];
    float *database = as_floats(train, 0, train->count, squares),
          *products = memory_grow(NULL, BLOCK * train->count, sizeof *products);
    blas_set_threads(parallel_threads());
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

static void disguise_values(const struct image_set *queries, const struct image_set *train,
                            struct values *values)
{
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

static void tile_values(const struct image_set *queries, const struct image_set *train,
                        struct values *values)
{
    struct tile_settings settings = { 0 };
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

static void measure(const struct image_set *queries, const struct image_set *train,
                    struct values *values)
{
    static const struct {
        const char *name;
        void (*compute)(const struct image_set *queries, const struct image_set *train,
                        struct values *values);
    } parts[] = { { "nearest", plain_values },
                  { "euclid", euclid_values },
                  { "disguise", disguise_values },
                  { "tile", tile_values } };
    values_init(values, queries->count);
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        double started = bench_seconds();
        parts[p].compute(queries, train, values);
        double seconds = bench_seconds() - started;
        printf("# %s × %s, %s: %.1f s, %.2f ms an image\n", queries->name, train->name,
               parts[p].name, seconds, 1e3 * seconds / (double)queries->count);
    }
    fflush(stdout);
}

/* ---- counting ---------------------------------------------------------------------------------
 */

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
                               .limit = NAN,
                               .weight = statistic_rows[row].weight };
}

static void decide(const struct values *queries, const struct values *control,
                   struct verdicts *verdicts)
{
    struct calibration_settings settings = { RATE, 0.95 };
    struct statistic ours[OURS];
    for (int s = 0; s < OURS; s++)
        ours[s] = statistic_of(s, queries, control);
    calibrate(ours, OURS, queries->count, control->count, &settings, &verdicts->ours);
    for (int r = 0; r < 2; r++) {
        struct statistic one = statistic_of(rivals[r], queries, control);
        calibrate(&one, 1, queries->count, control->count, &settings, &verdicts->alone[r]);
    }
    for (int s = 0; s < OURS; s++)
        printf("# %-15s threshold %.5f, rate %.5f asked for, %.5f attained%s\n",
               verdicts->ours.threshold[s].name, verdicts->ours.threshold[s].value,
               verdicts->ours.threshold[s].rate, verdicts->ours.threshold[s].attained,
               verdicts->ours.threshold[s].control.supported ? "" : " (control too small)");
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
        found += (group->plant->tumour ? values->tiled : values->disguised)[i] == from[i];
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
    for (int s = 0; s < OURS; s++)
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
    for (int s = 0; s < OURS; s++)
        json_put_integer(row, statistic_rows[s].name,
                         (int64_t)flagged_in(verdicts->ours.hit[s], group->first, n));
    char *line = json_line(row);
    fputs(line, bench->json);
    memory_free(line);
    json_free(row);
}

static size_t strengths(const struct plant *plant, size_t world)
{
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
    for (size_t p = 0; p < PLANTS; p++)
        count += strengths(&plants[p], which) * copies;
    unsigned char *images = room_for(count, plane);
    *from = memory_grow(NULL, count, sizeof **from);
    *queries = set_of("queries", images, count, world->side);
    memcpy(images, world->clean.images, world->clean.count * plane);
    groups[made++] = (struct group){ NULL, 0, 0, world->clean.count };
    size_t first = world->clean.count;
    for (size_t p = 0; p < PLANTS; p++)
        for (size_t s = 0; s < strengths(&plants[p], which); s++, first += copies) {
            struct making making = { world, &plants[p], plants[p].strength[which][s],
                                     first, images,     *from };
            parallel_items(copies, make_copy, &making);
            groups[made++] =
                (struct group){ &plants[p], plants[p].strength[which][s], first, copies };
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
    struct world world = { .name = worlds[which].name };
    struct group groups[1 + PLANTS * STRENGTHS];
    struct image_set queries;
    struct values values, control;
    struct verdicts verdicts;
    size_t *from;
    arena_init(&world.arena);
    worlds[which].make(&world, divisor);
    size_t count = make_queries(&world, which, COPIES / divisor, &queries, &from, groups);
    printf("# world %s: %zu training, %zu control, %zu clean images, %zu copies\n", world.name,
           world.train.count, world.control.count, world.clean.count,
           queries.count - world.clean.count);
    measure(&world.control, &world.train, &control);
    measure(&queries, &world.train, &values);
    if (table) {
        write_values(table, &world, "control", 0, &control, 0, control.count);
        for (size_t g = 0; g < count; g++)
            write_values(table, &world, groups[g].plant ? groups[g].plant->name : "clean",
                         groups[g].strength, &values, groups[g].first, groups[g].count);
    }
    decide(&values, &control, &verdicts);
    printf("%-8s %-13s %5s %-4s %5s %6s %16s %5s %7s | %6s %6s | by", "world", "copies", "by", "",
           "n", "recall", "95 %", "goal", "", "corr.", "l2");
    for (int s = 0; s < OURS; s++)
        printf(" %s", statistic_rows[s].name);
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
    size_t divisor = 1;
    const char *only = NULL;
    FILE *table = NULL;
    int kept = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            divisor = 4;
        else if (strcmp(argv[i], "--world") == 0 && i + 1 < argc)
            only = argv[++i];
        else if (strcmp(argv[i], "--values") == 0 && i + 1 < argc)
            table = fopen(argv[++i], "w");
        else
            argv[kept++] = argv[i];
    }
    bench_begin(&bench, "audit-power", kept, argv);
    for (size_t w = 0; w < WORLDS; w++)
        if (!only || strcmp(only, worlds[w].name) == 0)
            run_world(&bench, w, divisor, table);
    if (table && fclose(table) != 0)
        bench_fail("the table of values cannot be written");
    bench_end(&bench);
    return 0;
}
