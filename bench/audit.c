/* bench_audit: exact nearest neighbours of synthetic images among training images, certified
 * against FAISS' flat index.
 *
 * Data: phantoms that are deformations of a real head (lethe phantom --template, size 240; each
 * with its own anatomy, lesions, bias and scanner noise), ingested as in the study (256 × 256, 8
 * bit, slices with enough brain). Subjects are few, so their slices are dressed up as many: each
 * image is a slice deformed once more by a random smooth field of up to 6 pixels and a shift, with
 * a gain of .8 … 1.2, a gamma of .85 … 1.18 and noise of σ 2 … 6 inside the head, all drawn anew.
 * Queries come from other subjects than the database, so every query meets strangers only; the
 * nearest correlations are printed. Case certified-noise is uniform noise.
 *
 * Each measurement is a process of its own (peak memory is that process' maximum resident set,
 * pages of the mapped images included): ours opens the files, prepares the database, finds k = 6
 * neighbours of every query. The peer's time is only the call to FAISS' search, of all queries at
 * once; making its vectors and adding them is left out, and so is that part of its memory. Rounds
 * take turns.
 *
 * Case study is the size of the study itself, 50 GB of files, and has no peer, whose vectors would
 * take 200 GB. It is run where it is named.
 *
 * --quick divides the numbers of images by 5. Files stay below build/bench/audit and are used
 * again.
 */
#include "bench.h"

#include "audit/faiss.h"
#include "audit/faiss_engine.h"
#include "audit/search.h"
#include "base/parallel.h"
#include "base/random.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDER   "build/bench/audit"
#define TEMPLATE "/usr/share/mricron/templates/ch2bet.nii.gz"

enum { SIDE = 256, PLANE = SIDE * SIDE, SUBJECTS = 80, NEIGHBOURS = 6, GRID = 9 };

struct scenario {
    const char *name;
    size_t queries, database, channels;
    bool noise;
    size_t peer_share; /* FAISS searches this part of the database; its time is multiplied. 0: it
                          does not, and the case is run where it is named alone */
    int rounds;
    double goal; /* for the ratio of times; minutes at most where there is none */
};

static const struct scenario scenarios[] = {
    { "certified-256", 2000, 10000, 1, false, 1, 3, 20 },
    { "certified-256x4", 1000, 20000, 4, false, 10, 1, 20 },
    { "certified-noise", 500, 2500, 1, true, 1, 3, 1 / 1.2 },
    { "study", 100000, 91271, 4, false, 0, 1, 20 },
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- images ---------------------------------------------------------------------------------- */

/* How an image is dressed up. */
struct dress {
    float dx[GRID * GRID], dy[GRID * GRID];
    unsigned char tone[256];
    double sigma;
    uint64_t stream;
};

static double draw(struct dress *dress, uint64_t index, double low, double high)
{
    return low + (high - low) * random_uniform(17, dress->stream, index);
}

static void dress_init(struct dress *dress, uint64_t stream)
{
    dress->stream = stream;
    double shift_x = draw(dress, 0, -3, 3), shift_y = draw(dress, 1, -3, 3);
    for (uint64_t i = 0; i < GRID * GRID; i++) {
        dress->dx[i] = (float)(shift_x + draw(dress, 10 + 2 * i, -6, 6));
        dress->dy[i] = (float)(shift_y + draw(dress, 11 + 2 * i, -6, 6));
    }
    double gain = draw(dress, 2, .8, 1.2), gamma = exp(draw(dress, 3, -.163, .163));
    dress->sigma = draw(dress, 4, 2, 6);
    for (int v = 0; v < 256; v++)
        dress->tone[v] = (unsigned char)fmin(255, round(255 * gain * pow(v / 255.0, gamma)));
}

static float grid_at(const float *grid, size_t y, size_t x)
{
    float gy = (float)y * (GRID - 1) / SIDE, gx = (float)x * (GRID - 1) / SIDE;
    size_t iy = (size_t)gy, ix = (size_t)gx;
    float fy = gy - (float)iy, fx = gx - (float)ix;
    const float *g = grid + iy * GRID + ix;
    return (1 - fy) * ((1 - fx) * g[0] + fx * g[1]) + fy * ((1 - fx) * g[GRID] + fx * g[GRID + 1]);
}

static float sample(const unsigned char *plane, float y, float x)
{
    if (!(y >= 0 && x >= 0 && y < SIDE - 1 && x < SIDE - 1))
        return 0;
    size_t iy = (size_t)y, ix = (size_t)x;
    float fy = y - (float)iy, fx = x - (float)ix;
    const unsigned char *p = plane + iy * SIDE + ix;
    return (1 - fy) * ((1 - fx) * p[0] + fx * p[1]) + fy * ((1 - fx) * p[SIDE] + fx * p[SIDE + 1]);
}

/* Nearly normal: the sum of four bytes has mean 510 and standard deviation 147.8. */
static double noise(const struct dress *dress, uint64_t index)
{
    uint64_t bits = random_bits(18, dress->stream, index / 2) >> (index % 2 * 32);
    int sum = (int)(bits & 255) + (int)(bits >> 8 & 255) + (int)(bits >> 16 & 255) +
              (int)(bits >> 24 & 255);
    return (sum - 510) / 147.8;
}

static void dress_image(struct dress *dress, const unsigned char *from, size_t channels,
                        unsigned char *out)
{
    for (size_t y = 0; y < SIDE; y++) {
        for (size_t x = 0; x < SIDE; x++) {
            float at_y = (float)y + grid_at(dress->dy, y, x),
                  at_x = (float)x + grid_at(dress->dx, y, x);
            for (size_t c = 0; c < channels; c++) {
                size_t e = c * PLANE + y * SIDE + x;
                int value = (int)(sample(from + c * PLANE, at_y, at_x) + .5f);
                double seen = value ? dress->tone[value] + dress->sigma * noise(dress, e) : 0;
                out[e] = (unsigned char)fmin(255, fmax(0, round(seen)));
            }
        }
    }
}

/* One batch of images, made in parallel and appended in order. */
struct making {
    const struct scenario *scenario;
    const struct dataset *base;
    const size_t *slices; /* of the store */
    size_t slice_count, first;
    bool queries;
    unsigned char *out;
};

static void make_image(void *context, size_t item)
{
    struct making *making = context;
    size_t channels = making->scenario->channels, image = making->first + item;
    unsigned char *out = making->out + item * channels * PLANE;
    uint64_t stream = 2 * image + making->queries;
    if (making->scenario->noise) {
        for (size_t e = 0; e < PLANE; e += 8) {
            uint64_t bits = random_bits(19, stream, e);
            memcpy(out + e, &bits, 8);
        }
        return;
    }
    struct dress dress;
    dress_init(&dress, stream);
    size_t slice = making->slices[image % making->slice_count];
    dress_image(&dress, making->base->images + slice * making->base->channels * PLANE, channels,
                out);
}

static void make_set(const struct scenario *scenario, const struct dataset *base, bool queries,
                     size_t count, const char *path)
{
    enum { BATCH = 64 };
    struct making making = { .scenario = scenario, .base = base, .queries = queries };
    struct npy_writer writer;
    struct error err;
    size_t *slices = memory_grow(NULL, base->count + 1, sizeof *slices);
    for (size_t i = 0; i < base->count; i++)
        if ((base->index[i].split == SPLIT_HOLDOUT) == queries)
            slices[making.slice_count++] = i;
    making.slices = slices;
    making.out = memory_grow(NULL, BATCH * scenario->channels, PLANE);
    bool ok = npy_writer_open(&writer, path, ELEMENT_UINT8, 3,
                              (size_t[]){ scenario->channels, SIDE, SIDE }, &err);
    for (; ok && making.first < count; making.first += BATCH) {
        size_t batch = count - making.first < BATCH ? count - making.first : BATCH;
        parallel_items(batch, make_image, &making);
        ok = npy_writer_append(&writer, making.out, batch, &err);
    }
    if (!ok || !npy_writer_commit(&writer, &err))
        bench_fail("%s", err.message);
    free(making.out);
    free(slices);
}

/* The name of a file of images, made if it is not there. */
static const char *images_file(struct arena *arena, const struct scenario *scenario, bool queries,
                               size_t count, const struct dataset *base)
{
    const char *path = arena_format(arena, FOLDER "/%s-%s-%zu.npy", scenario->name,
                                    queries ? "queries" : "database", count);
    if (path_kind(path) != PATH_FILE)
        make_set(scenario, base, queries, count, path);
    return path;
}

static void make_base(struct dataset *base)
{
    struct error err;
    if (!folder_create(FOLDER, &err))
        bench_fail("%s", err.message);
    if (!dataset_is(FOLDER "/base")) {
        fprintf(stderr, "bench: making %d heads, once; this takes minutes\n", SUBJECTS);
        char subjects[16];
        snprintf(subjects, sizeof subjects, "%d", SUBJECTS);
        if (path_kind(FOLDER "/cohort") == PATH_NOTHING)
            bench_peak_memory((const char *[]){ "build/lethe", "phantom", "--subjects", subjects,
                                                "--size", "240", "--template", TEMPLATE, "--out",
                                                FOLDER "/cohort", "--quiet", NULL });
        bench_peak_memory((const char *[]){ "build/lethe", "ingest", "--source", FOLDER "/cohort",
                                            "--out", FOLDER "/base", "--holdout", ".2", "--quiet",
                                            NULL });
    }
    if (!dataset_open(base, FOLDER "/base", &err))
        bench_fail("%s", err.message);
}

/* ---- one measurement, in a process of its own ------------------------------------------------ */

struct measurement {
    double seconds, prepare, memory;     /* memory in bytes */
    double evaluated, level[3];          /* shares of all pairs */
    double nearest, exhaustive;          /* mean correlation of the nearest; share of queries */
    double processor, prepare_processor; /* seconds of processor time: all, and of preparing */
};

static struct image_set set_of(const struct npy *array, const char *name, size_t count)
{
    return (struct image_set){ .name = name,
                               .images = array->data,
                               .count = count ? count : array->shape[0],
                               .channels = array->shape[1],
                               .height = array->shape[2],
                               .width = array->shape[3],
                               .type = array->type,
                               .mapped = true };
}

/* Of all threads, in user and system mode. On a machine that others use, too, it says more than the
 * time that passed; the two agree where nothing else runs. */
static double processor_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static double peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

static void measure_ours(const struct image_set *queries, const struct image_set *database,
                         struct measurement *m)
{
    struct search_settings settings = { .neighbours = NEIGHBOURS };
    struct search_result result;
    struct error err;
    double started = bench_seconds(), used = processor_seconds();
    struct search *search = search_open(queries, database, &settings, &err);
    m->prepare = bench_seconds() - started;
    m->prepare_processor = processor_seconds() - used;
    if (!search || !search_run(search, 0, queries->count, &result, &err))
        bench_fail("%s", err.message);
    m->seconds = bench_seconds() - started;
    m->processor = processor_seconds() - used;
    m->memory = peak_memory();
    const struct certificate *c = &result.certificate;
    m->evaluated = (double)c->evaluated / (double)c->pairs;
    for (int l = 0; l < 3; l++)
        m->level[l] = (double)c->level[l + 1].bounded / (double)c->pairs;
    m->exhaustive = (double)c->exhaustive_queries / (double)c->queries;
    for (size_t q = 0; q < queries->count; q++)
        m->nearest += result.nearest[q * NEIGHBOURS].correlation / (double)queries->count;
    search_result_release(&result);
    search_close(search);
}

/* Linux' peak of this process' resident memory since it was last set back. */
static void peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file || fputs("5", file) < 0 || fclose(file) != 0)
        bench_fail("the peak of memory cannot be set back");
}

static double peak_since_reset(void)
{
    char line[256];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lf", &kilobytes) == 1)
            break;
    if (!file || fclose(file) != 0 || kilobytes == 0)
        bench_fail("the peak of memory cannot be read");
    return 1024 * kilobytes;
}

/* Moments and unit vectors of a set, its pages let go. Owned. */
static float *vectors_of(struct search *search, const struct image_set *set, size_t first,
                         size_t count)
{
    struct error err;
    struct moments *moments = memory_grow(NULL, count, sizeof *moments);
    float *vectors = memory_grow(NULL, count * search->pixels.count, sizeof *vectors);
    if (!moments_of(search, set, first, count, moments, &err))
        bench_fail("%s", err.message);
    unit_vectors(search, set, first, count, moments, vectors);
    images_forget(search, set, first, count);
    free(moments);
    return vectors;
}

static void measure_peer(const struct image_set *queries, const struct image_set *database,
                         struct measurement *m)
{
    enum { BATCH = 250 };
    struct search search = { .queries = *queries, .database = *database };
    struct flat_index *index;
    struct error err;
    double started = bench_seconds();
    pixels_init(&search.pixels, database->type, database->channels, PLANE, UINT64_MAX);
    if (!flat_index_new(&index, search.pixels.count, &err))
        bench_fail("%s", err.message);
    for (size_t first = 0; first < database->count; first += BATCH) {
        size_t count = database->count - first < BATCH ? database->count - first : BATCH;
        float *vectors = vectors_of(&search, database, first, count);
        if (!flat_index_add(index, count, vectors, &err))
            bench_fail("%s", err.message);
        free(vectors);
    }
    float *vectors = vectors_of(&search, queries, 0, queries->count),
          *scores = memory_grow(NULL, queries->count * NEIGHBOURS, sizeof *scores);
    int64_t *ids = memory_grow(NULL, queries->count * NEIGHBOURS, sizeof *ids);
    m->prepare = bench_seconds() - started;
    peak_reset();
    started = bench_seconds();
    double used = processor_seconds();
    if (!flat_index_search(index, queries->count, vectors, NEIGHBOURS, scores, ids, &err))
        bench_fail("%s", err.message);
    m->seconds = bench_seconds() - started;
    m->processor = processor_seconds() - used;
    m->memory = peak_since_reset();
    for (size_t q = 0; q < queries->count; q++)
        m->nearest += (double)scores[q * NEIGHBOURS] / (double)queries->count;
    flat_index_free(index);
    free(vectors);
    free(scores);
    free(ids);
}

/* bench_audit --measure ours|peer QUERIES DATABASE COUNT: seconds, of them to prepare, peak memory
 * in bytes, shares of pairs computed and that reached levels 1, 2 and 3, mean nearest correlation,
 * share of queries compared with everything, seconds of processor time, of them to prepare. */
static int child(char **arguments)
{
    struct npy queries, database;
    struct error err;
    struct measurement m = { 0 };
    if (!npy_open(&queries, arguments[1], &err) || !npy_open(&database, arguments[2], &err))
        bench_fail("%s", err.message);
    struct image_set q = set_of(&queries, arguments[1], 0),
                     d = set_of(&database, arguments[2], strtoul(arguments[3], NULL, 10));
    if (strcmp(arguments[0], "ours") == 0)
        measure_ours(&q, &d, &m);
    else
        measure_peer(&q, &d, &m);
    printf("%.9g %.9g %.9g %.9g %.9g %.9g %.9g %.9g %.9g %.9g %.9g\n", m.seconds, m.prepare,
           m.memory, m.evaluated, m.level[0], m.level[1], m.level[2], m.nearest, m.exhaustive,
           m.processor, m.prepare_processor);
    return 0;
}

static struct measurement measure(const char *self, const char *who, const char *queries,
                                  const char *database, size_t count)
{
    struct measurement m;
    struct peer process;
    char number[32];
    snprintf(number, sizeof number, "%zu", count);
    peer_start(&process,
               (const char *[]){ self, "--measure", who, queries, database, number, NULL });
    const char *line = peer_ask(&process, "\n");
    if (sscanf(line, "%lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %lf", &m.seconds, &m.prepare,
               &m.memory, &m.evaluated, &m.level[0], &m.level[1], &m.level[2], &m.nearest,
               &m.exhaustive, &m.processor, &m.prepare_processor) != 11)
        bench_fail("a measurement said \"%s\"", line);
    peer_stop(&process);
    return m;
}

/* ---- scenarios ------------------------------------------------------------------------------- */

enum { ROUNDS_MOST = 3 };

static void rows(struct bench *bench, const struct scenario *s, size_t queries, size_t database,
                 const struct measurement *ours, const struct measurement *peer,
                 const char *peer_name)
{
    double mine[ROUNDS_MOST], theirs[ROUNDS_MOST], my_work[ROUNDS_MOST], their_work[ROUNDS_MOST],
        share = (double)s->peer_share;
    char name[64];
    for (int r = 0; r < s->rounds; r++) {
        mine[r] = ours[r].seconds;
        theirs[r] = peer[r].seconds * share;
        my_work[r] = ours[r].processor;
        their_work[r] = peer[r].processor * share;
    }
    double our_seconds = bench_median(mine, (size_t)s->rounds),
           peer_seconds = bench_median(theirs, (size_t)s->rounds),
           vectors = (double)(queries + database) * (double)(s->channels * PLANE) * sizeof(float),
           memory = s->peer_share > 1 ? vectors : peer[0].memory;
    bench_row(bench, &(struct bench_row){ s->name, "s", our_seconds, peer_seconds, peer_name,
                                          peer_seconds / our_seconds, s->goal });
    double our_work = bench_median(my_work, (size_t)s->rounds),
           peer_work = bench_median(their_work, (size_t)s->rounds);
    snprintf(name, sizeof name, "%s-processor", s->name);
    bench_row(bench, &(struct bench_row){ name, "s of processor time", our_work, peer_work,
                                          peer_name, peer_work / our_work, s->goal });
    snprintf(name, sizeof name, "%s-memory", s->name);
    bench_row(bench, &(struct bench_row){ name, "MB", ours[0].memory / 1e6, memory / 1e6, peer_name,
                                          memory / ours[0].memory, s->noise ? NAN : 8 });
    printf(
        "# %s: %zu queries, %zu images of %zu × 256², k = %d; %.2f s of ours prepare the "
        "database, the peer took %.1f s more to make and add vectors\n"
        "# %s: of all pairs %.3g, %.3g and %.3g %% reached levels 1, 2 and 3, %.3g %% were computed; "
        "%.0f %% of queries exhaustively; mean nearest correlation %.4f\n",
        s->name, queries, database, s->channels, NEIGHBOURS, ours[0].prepare,
        peer[0].prepare * share, s->name, 100 * ours[0].level[0], 100 * ours[0].level[1],
        100 * ours[0].level[2], 100 * ours[0].evaluated, 100 * ours[0].exhaustive, ours[0].nearest);
    fflush(stdout);
}

/* Seconds = per_query · queries + per_pair · pairs: least squares over sizes of the database, of
 * which the queries are the same. */
struct line_fit {
    double per_query, per_pair;
};

static struct line_fit fit_line(const double *sizes, const double *seconds, size_t count,
                                double queries)
{
    double x = 0, y = 0, xx = 0, xy = 0, n = (double)count;
    for (size_t i = 0; i < count; i++) {
        x += sizes[i] / n;
        y += seconds[i] / n;
    }
    for (size_t i = 0; i < count; i++) {
        xx += (sizes[i] - x) * (sizes[i] - x);
        xy += (sizes[i] - x) * (seconds[i] - y);
    }
    return (struct line_fit){ fmax(0, (y - xy / xx * x) / queries), xy / xx / queries };
}

/* The study's search, from the scaling that was measured: the time to prepare an image, and what
 * the search takes among a quarter, half and all of the images, each the least of `rounds`, for
 * what disturbs a measurement only adds to it. */
static void extrapolate(struct bench *bench, const char *self, const struct scenario *s,
                        const char *queries, size_t query_count, const char *database, size_t count)
{
    enum { SIZES = 3, ROUNDS = 3, STUDY_IMAGES = 91271, STUDY_QUERIES = 100000 };
    double sizes[SIZES], wall[SIZES], work[SIZES], prepare = INFINITY, prepare_work = INFINITY;
    for (int i = 0; i < SIZES; i++) {
        size_t size = count >> (SIZES - 1 - i);
        sizes[i] = (double)size;
        wall[i] = work[i] = INFINITY;
        for (int r = 0; r < ROUNDS; r++) {
            struct measurement m = measure(self, "ours", queries, database, size);
            wall[i] = fmin(wall[i], m.seconds - m.prepare);
            work[i] = fmin(work[i], m.processor - m.prepare_processor);
            prepare = fmin(prepare, m.prepare / (double)size);
            prepare_work = fmin(prepare_work, m.prepare_processor / (double)size);
        }
        printf("# study: %zu × %zu of %zu × 256²: %.3f s, %.3f s of processor time, after "
               "preparing\n",
               query_count, size, s->channels, wall[i], work[i]);
    }
    struct line_fit fit = fit_line(sizes, wall, SIZES, (double)query_count),
                    fit_work = fit_line(sizes, work, SIZES, (double)query_count);
    double pairs = (double)STUDY_IMAGES * STUDY_QUERIES,
           seconds = STUDY_IMAGES * prepare + STUDY_QUERIES * fit.per_query + pairs * fit.per_pair,
           processor = STUDY_IMAGES * prepare_work + STUDY_QUERIES * fit_work.per_query +
                       pairs * fit_work.per_pair,
           memory = STUDY_IMAGES * (3 * 1152.0 + 4 * 19 + 128 + 3 * 3072) + 1.4e9;
    bench_row(bench, &(struct bench_row){ "study-extrapolated", "min (goal: at most)", seconds / 60,
                                          NAN, NULL, NAN, 20 });
    bench_row(bench, &(struct bench_row){ "study-processor", "min of processor time",
                                          processor / 60, NAN, NULL, NAN, NAN });
    bench_row(bench, &(struct bench_row){ "study-memory", "GB, heads and blocks (goal: at most)",
                                          memory / 1e9, NAN, NULL, NAN, 8 });
    printf("# study: %d × %d of %zu × 256²: %.3g µs a pair, %.3g ms a query, %.3g ms an image\n",
           STUDY_QUERIES, STUDY_IMAGES, s->channels, 1e6 * fit.per_pair, 1e3 * fit.per_query,
           1e3 * prepare);
}

/* Once, with files that no memory may hold: what a person waits for. */
static void run_alone(struct bench *bench, const char *self, const struct scenario *s,
                      const char *queries, size_t query_count, const char *database, size_t count)
{
    struct measurement m = measure(self, "ours", queries, database, count);
    bench_row(bench, &(struct bench_row){ s->name, "min (goal: at most)", m.seconds / 60, NAN, NULL,
                                          NAN, s->goal });
    bench_row(bench, &(struct bench_row){ "study-processor", "min of processor time",
                                          m.processor / 60, NAN, NULL, NAN, NAN });
    bench_row(bench, &(struct bench_row){ "study-memory", "GB (goal: at most)", m.memory / 1e9, NAN,
                                          NULL, NAN, 8 });
    printf(
        "# %s: %zu × %zu of %zu × 256², k = %d; %.1f s prepare the database; %.3g %% of pairs were "
        "computed, %.0f %% of queries exhaustively; mean nearest correlation %.4f\n",
        s->name, query_count, count, s->channels, NEIGHBOURS, m.prepare, 100 * m.evaluated,
        100 * m.exhaustive, m.nearest);
}

static void run_scenario(struct bench *bench, const char *self, const struct scenario *s,
                         const struct dataset *base, size_t divisor)
{
    struct measurement ours[ROUNDS_MOST], peer[ROUNDS_MOST];
    struct arena arena;
    arena_init(&arena);
    size_t queries = s->queries / divisor, database = s->database / divisor;
    const char *query_file = images_file(&arena, s, true, queries, base),
               *database_file = images_file(&arena, s, false, database, base),
               *name = arena_format(&arena, "%s IndexFlatIP, search only%s",
                                    engine_version(ENGINE_FAISS),
                                    s->peer_share > 1 ? " of a tenth, times 10" : "");
    if (!s->peer_share) {
        run_alone(bench, self, s, query_file, queries, database_file, database);
        arena_release(&arena);
        return;
    }
    measure(self, "ours", query_file, database_file, database); /* warms the file cache */
    for (int r = 0; r < s->rounds; r++) {
        ours[r] = measure(self, "ours", query_file, database_file, database);
        peer[r] = measure(self, "peer", query_file, database_file, database / s->peer_share);
    }
    rows(bench, s, queries, database, ours, peer, name);
    if (s->channels == 4)
        extrapolate(bench, self, s, query_file, queries, database_file, database);
    arena_release(&arena);
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct dataset base;
    bool quick = false;
    const char *only = NULL;
    const struct bench_option options[] = {
        { "--case", "NAME", "only certified-256, certified-256x4, certified-noise or study",
          BENCH_TEXT, &only },
        { "--quick", NULL, "a fifth of the images", BENCH_FLAG, &quick },
        { "--measure", "ours|peer QUERIES.npy DATABASE.npy COUNT",
          "alone: measure once among the first COUNT images (0: all) and print numbers", BENCH_TEXT,
          NULL },
        { 0 },
    };
    if (argc == 6 && strcmp(argv[1], "--measure") == 0)
        return child(argv + 2);
    bench_begin(&bench, "audit", options, argc, argv);
    if (engine_missing(ENGINE_FAISS))
        bench_fail("the peer is missing: %s", engine_missing(ENGINE_FAISS));
    make_base(&base);
    for (size_t s = 0; s < SCENARIOS; s++)
        if (only ? strcmp(only, scenarios[s].name) == 0 : scenarios[s].peer_share > 0)
            run_scenario(&bench, argv[0], &scenarios[s], &base, quick ? 5 : 1);
    dataset_close(&base);
    bench_end(&bench);
    return 0;
}
