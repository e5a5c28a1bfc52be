/* gpu_audit: the audit's searches on a GPU, beside all others, on one machine in one run.
 *
 *     gpu_audit [--queries 20000] [--database 50000] [--peer PYTHON SCRIPT] [--json FILE] FOLDER
 *
 * 1. Sets of heads (heads.h) are written into FOLDER, from seeds.
 * 2. Equality: a few hundred queries, with the device's memory unlimited and then so small that
 *    everything comes in blocks; ids and bits must be those of the processor.
 * 3. The whole search, from opened files to neighbours: twice on the device, once on the processor,
 *    whose ids and bits must be the same for every query.
 * 4. Brute force: all pixels as unit vectors of bf16, of TF32 and of f32, multiplied by the same
 *    library on the same device. Only the products are counted and the copies before them, not the
 *    choice of the best, which favours brute force; and its values are not exact.
 * 5. What the matrix units do: the products of heads in their own shape, and a product of
 *    8192 × 8192 × 8192 as the device's measured peak.
 * 6. Pieces: some hundred images among ten thousand, on the device, with so little of its memory
 *    that tiles pass by, and on the processor: every bit of every match must be the same.
 * 7. A flat index on the GPU, by flat_peer.py: FAISS', where its Python package is there, or
 *    PyTorch's products and topk.
 *
 * The device's code is linked in, not the plug-in: what is measured is the same source. Exit code:
 * 0, 1 where an answer differed, 77 without a device.
 */
#include "heads.h"

#include "audit/faiss_engine.h"
#include "audit/search.h"
#include "audit/tile.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "cuda/device.h"
#include "cuda/filter.h"
#include "cuda/libraries.h"
#include "cuda/maxima.h"
#include "data/npy.h"
#include "tensor/backend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NEIGHBOURS = 6, SUBJECTS = 16, FEW_QUERIES = 300, FEW_IMAGES = 3000, SKIPPED = 77 };

static _Noreturn void give_up(int code, const char *what, const char *why)
{
    fprintf(stderr, "%s%s%s\n", what, *why ? ": " : "", why);
    exit(code);
}

#define NEED(call)                                                                                 \
    do {                                                                                           \
        if (!(call))                                                                               \
            give_up(1, #call, err.message);                                                        \
    } while (0)

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct image_set set_of(const struct npy *array, const char *name, size_t count)
{
    return (struct image_set){ .name = name,
                               .images = array->data,
                               .count = count && count < array->shape[0] ? count : array->shape[0],
                               .channels = array->shape[1],
                               .height = array->shape[2],
                               .width = array->shape[3],
                               .type = array->type,
                               .mapped = true };
}

/* ---- a device whose time is taken ------------------------------------------------------------ */

static const struct filter_methods *device;
static struct filter_plan plan_seen;
static double device_seconds; /* spent waiting for it */

#define TIMED(call)                                                                                \
    do {                                                                                           \
        double started = seconds();                                                                \
        bool ok = call;                                                                            \
        device_seconds += seconds() - started;                                                     \
        return ok;                                                                                 \
    } while (0)

static struct filter *timed_open(const struct filter_plan *plan, struct error *err)
{
    plan_seen = *plan;
    return device->open(plan, err);
}

static bool timed_bound(struct filter *filter, const struct filter_queries *queries,
                        const uint16_t *columns, struct error *err)
{
    TIMED(device->bound(filter, queries, columns, err));
}

static bool timed_best(struct filter *filter, float *values, uint32_t *columns, struct error *err)
{
    TIMED(device->best(filter, values, columns, err));
}

static bool timed_count(struct filter *filter, const float *bars, uint64_t *counts,
                        struct error *err)
{
    TIMED(device->count(filter, bars, counts, err));
}

static bool timed_collect(struct filter *filter, size_t first, size_t count,
                          struct filter_pair *pairs, struct error *err)
{
    TIMED(device->collect(filter, first, count, pairs, err));
}

static const struct filter_methods *timed_device(void)
{
    static struct filter_methods timed;
    timed = *device;
    timed.open = timed_open;
    timed.bound = timed_bound;
    timed.best = timed_best;
    timed.count = timed_count;
    timed.collect = timed_collect;
    return &timed;
}

/* ---- searches -------------------------------------------------------------------------------- */

struct searched {
    double prepare, total; /* seconds */
    struct search_result result;
};

static struct searched search_all(const struct image_set *queries, const struct image_set *database,
                                  const struct search_settings *settings)
{
    struct error err;
    struct searched run;
    double started = seconds();
    struct search *search = search_open(queries, database, settings, &err);
    NEED(search);
    run.prepare = seconds() - started;
    NEED(search_run(search, 0, queries->count, &run.result, &err));
    run.total = seconds() - started;
    search_close(search);
    return run;
}

static void must_agree(const struct search_result *a, const struct search_result *b,
                       const char *what)
{
    for (size_t i = 0; i < a->count * a->neighbours; i++)
        if (a->nearest[i].id != b->nearest[i].id ||
            memcmp(&a->nearest[i].correlation, &b->nearest[i].correlation, sizeof(double)) != 0) {
            fprintf(stderr, "%s: query %zu, rank %zu: %zu with %.17g, or %zu with %.17g\n", what,
                    i / a->neighbours, i % a->neighbours, (size_t)a->nearest[i].id,
                    a->nearest[i].correlation, (size_t)b->nearest[i].id, b->nearest[i].correlation);
            exit(1);
        }
    printf("%-44s same ids and bits, %zu queries\n", what, a->count);
}

/* Blocks as large as they may be, and so small that rows come in passes. */
static void check_equality(const struct npy *queries, const struct npy *database)
{
    struct image_set few = set_of(queries, "queries", FEW_QUERIES),
                     some = set_of(database, "database", FEW_IMAGES);
    struct search_settings settings = { .neighbours = NEIGHBOURS };
    struct searched processor = search_all(&few, &some, &settings);
    settings.device = timed_device();
    struct searched whole = search_all(&few, &some, &settings);
    must_agree(&processor.result, &whole.result, "device, all in its memory");
    settings.device_memory = 44 << 20;
    struct searched blocks = search_all(&few, &some, &settings);
    must_agree(&processor.result, &blocks.result,
               plan_seen.resident ? "device, 44 MB" : "device, 44 MB: in passes");
    search_result_release(&processor.result);
    search_result_release(&whole.result);
    search_result_release(&blocks.result);
}

/* ---- products -------------------------------------------------------------------------------- */

/* rows (n, length) · columns (m, length)ᵀ, as the filter has it. */
static struct product product_of(size_t columns, size_t rows, size_t length, enum dtype dtype)
{
    return (struct product){ .rows = (int64_t)columns,
                             .columns = (int64_t)rows,
                             .inner = (int64_t)length,
                             .count = 1,
                             .transpose_a = true,
                             .lead_a = (int64_t)length,
                             .lead_b = (int64_t)length,
                             .lead_d = (int64_t)columns,
                             .dtype = dtype,
                             .result_dtype = DTYPE_F32 };
}

static void *device_memory(size_t bytes)
{
    struct error err;
    void *memory = device_allocate(bytes, "a product", &err);
    NEED(memory);
    return memory;
}

/* TFLOP/s of a product of numbers that are neither zero nor all alike: power, and with it the
 * clock, depends on what is multiplied. */
static double product_rate(size_t columns, size_t rows, size_t length)
{
    enum { TIMES = 20, PIECE = 1 << 22 };
    struct error err;
    struct product product = product_of(columns, rows, length, DTYPE_BF16);
    void *state, *a = device_memory(columns * length * 2), *b = device_memory(rows * length * 2),
                 *d = device_memory(columns * rows * 4), *scratch;
    size_t bytes;
    uint16_t *numbers = memory_grow(NULL, PIECE, sizeof *numbers);
    for (size_t i = 0; i < PIECE; i++)
        numbers[i] = bf16_from_float((float)((i * 2654435761u >> 8) % 2003) / 1001.0f - 1);
    for (size_t i = 0; i < columns * length; i += PIECE)
        device_copy_in((uint16_t *)a + i, numbers,
                       2 * (columns * length - i < PIECE ? columns * length - i : PIECE));
    for (size_t i = 0; i < rows * length; i += PIECE)
        device_copy_in((uint16_t *)b + i, numbers,
                       2 * (rows * length - i < PIECE ? rows * length - i : PIECE));
    NEED(product_prepare(&product, &state, &bytes, &err));
    scratch = device_memory(bytes);
    for (int i = 0; i < 3; i++)
        product_run(state, a, b, NULL, d, scratch);
    device_wait();
    double started = seconds();
    for (int i = 0; i < TIMES; i++)
        product_run(state, a, b, NULL, d, scratch);
    device_wait();
    double took = (seconds() - started) / TIMES;
    NEED(device_check(&err));
    product_dispose(state);
    device_release(a);
    device_release(b);
    device_release(d);
    device_release(scratch);
    free(numbers);
    return 2e-12 * (double)columns * (double)rows * (double)length / took;
}

/* ---- brute force ----------------------------------------------------------------------------- */

struct kind {
    const char *name;
    enum dtype dtype;
    const char *tf32; /* LETHE_TF32 */
};
static const struct kind kinds[] = { { "bf16", DTYPE_BF16, "0" },
                                     { "tf32", DTYPE_F32, "1" },
                                     { "f32", DTYPE_F32, "0" } };
enum {
    KINDS = sizeof kinds / sizeof *kinds,
    BATCH = 128 /* 32 MB of floats: what goes through pinned memory at once */,
    ROWS = 2048,
    COLUMNS = 8192
};

struct narrow_job {
    const float *from;
    uint16_t *to;
};

static void narrow(void *context, size_t begin, size_t end)
{
    struct narrow_job *job = context;
    for (size_t i = begin * HEAD_PIXELS; i < end * HEAD_PIXELS; i++)
        job->to[i] = bf16_from_float(job->from[i]);
}

/* Unit vectors of images [first, first + count) to the device. */
static void send_vectors(const struct image_set *set, const struct kind *kind, size_t first,
                         size_t count, void *to, float *vectors, uint16_t *narrowed)
{
    struct error err;
    struct search search = { .queries = *set, .database = *set };
    struct moments moments[BATCH];
    size_t bytes = kind->dtype == DTYPE_BF16 ? 2 : 4;
    pixels_init(&search.pixels, set->type, set->channels, set->height * set->width, UINT64_MAX);
    for (size_t done = 0; done < count; done += BATCH) {
        size_t some = count - done < BATCH ? count - done : BATCH;
        NEED(moments_of(&search, set, first + done, some, moments, &err));
        unit_vectors(&search, set, first + done, some, moments, vectors);
        struct narrow_job job = { vectors, narrowed };
        if (kind->dtype == DTYPE_BF16)
            parallel_ranges(some, 4, narrow, &job);
        device_copy_in((char *)to + done * HEAD_PIXELS * bytes,
                       kind->dtype == DTYPE_BF16 ? (void *)narrowed : (void *)vectors,
                       some * HEAD_PIXELS * bytes);
    }
}

struct brute {
    double copies, products; /* seconds */
};

/* All of the database on the device, queries and columns in blocks; the last ones are whole, too,
 * which costs a few per cent and is not counted (the time is scaled by the products asked for). */
static struct brute brute_force(const struct image_set *queries, const struct image_set *database,
                                const struct kind *kind)
{
    struct error err;
    struct brute brute = { 0, 0 };
    size_t element = kind->dtype == DTYPE_BF16 ? 2 : 4,
           columns = (database->count + COLUMNS - 1) / COLUMNS * COLUMNS;
    setenv("LETHE_TF32", kind->tf32, 1);
    void *state, *all = device_memory(columns * HEAD_PIXELS * element),
                 *rows = device_memory((size_t)ROWS * HEAD_PIXELS * element),
                 *d = device_memory((size_t)ROWS * COLUMNS * 4), *scratch;
    float *vectors = memory_grow(NULL, BATCH, HEAD_PIXELS * sizeof *vectors);
    uint16_t *narrowed = memory_grow(NULL, BATCH, HEAD_PIXELS * sizeof *narrowed);
    struct product product = product_of(COLUMNS, ROWS, HEAD_PIXELS, kind->dtype);
    size_t bytes;
    NEED(product_prepare(&product, &state, &bytes, &err));
    scratch = device_memory(bytes);
    double started = seconds();
    send_vectors(database, kind, 0, database->count, all, vectors, narrowed);
    device_wait();
    brute.copies += seconds() - started;
    for (size_t first = 0; first < queries->count; first += ROWS) {
        size_t count = queries->count - first < ROWS ? queries->count - first : ROWS;
        started = seconds();
        send_vectors(queries, kind, first, count, rows, vectors, narrowed);
        device_wait();
        brute.copies += seconds() - started;
        started = seconds();
        for (size_t c = 0; c < columns; c += COLUMNS)
            product_run(state, (char *)all + c * HEAD_PIXELS * element, rows, NULL, d, scratch);
        device_wait();
        brute.products += (seconds() - started) * (double)count / ROWS * (double)database->count /
                          (double)columns;
    }
    NEED(device_check(&err));
    product_dispose(state);
    device_release(all);
    device_release(rows);
    device_release(d);
    device_release(scratch);
    free(vectors);
    free(narrowed);
    return brute;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

enum { PIECES_QUERIES = 256, PIECES_IMAGES = 10000, PIECES_SUBJECT = 50 /* images */ };

static const struct maxima_methods *maxima;
static struct maxima_plan maxima_seen;
static double maxima_seconds;

static bool timed_maxima_plan(const struct maxima_size *size, struct maxima_plan *plan,
                              struct error *err)
{
    bool ok = maxima->plan(size, plan, err);
    maxima_seen = *plan;
    return ok;
}

static bool timed_find(struct maxima *of, const struct maxima_question *question,
                       const struct maxima_columns *columns, float *values, struct error *err)
{
    double started = seconds();
    bool ok = maxima->find(of, question, columns, values, err);
    maxima_seconds += seconds() - started;
    return ok;
}

static const struct maxima_methods *timed_maxima(void)
{
    static struct maxima_methods timed;
    timed = *maxima;
    timed.plan = timed_maxima_plan;
    timed.find = timed_find;
    maxima_seconds = 0;
    return &timed;
}

/* Seconds for all queries, once the search is open. */
static double search_pieces(const struct image_set *queries, const struct image_set *database,
                            const struct tile_settings *settings, struct tile_match *match)
{
    struct error err;
    struct tile_search *search = tile_open(queries, database, settings, &err);
    NEED(search);
    double started = seconds();
    NEED(tile_run(search, 0, queries->count, match, &err));
    double took = seconds() - started;
    tile_close(search);
    return took;
}

static bool same_piece(const struct tile_match *a, const struct tile_match *b)
{
    return memcmp(&a->correlation, &b->correlation, sizeof(double)) == 0 &&
           memcmp(&a->local_ratio, &b->local_ratio, sizeof(double)) == 0 && a->id == b->id &&
           a->mirrored == b->mirrored && memcmp(&a->query, &b->query, sizeof a->query) == 0 &&
           memcmp(&a->training, &b->training, sizeof a->training) == 0;
}

static void pieces_must_agree(const struct tile_match *a, const struct tile_match *b, size_t count,
                              const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (!same_piece(&a[i], &b[i])) {
            fprintf(stderr, "%s: query %zu: %zu with %.17g, or %zu with %.17g\n", what, i,
                    (size_t)a[i].id, a[i].local_ratio, (size_t)b[i].id, b[i].local_ratio);
            exit(1);
        }
    printf("%-44s same matches and bits, %zu queries\n", what, count);
}

static void measure_pieces(struct image_set queries, struct image_set database, struct json *row)
{
    uint32_t *groups = memory_grow(NULL, database.count, sizeof *groups);
    struct tile_match *match[3];
    struct tile_settings settings = { 0 };
    queries.count = queries.count < PIECES_QUERIES ? queries.count : PIECES_QUERIES;
    database.count = database.count < PIECES_IMAGES ? database.count : PIECES_IMAGES;
    for (size_t i = 0; i < database.count; i++)
        groups[i] = (uint32_t)(i / PIECES_SUBJECT);
    database.groups = groups;
    for (int i = 0; i < 3; i++)
        match[i] = memory_grow(NULL, queries.count, sizeof *match[i]);
    double processor = search_pieces(&queries, &database, &settings, match[0]);
    settings.device = timed_maxima();
    double on_device = search_pieces(&queries, &database, &settings, match[1]),
           waiting = maxima_seconds;
    pieces_must_agree(match[0], match[1], queries.count, "pieces, all in its memory");
    printf("pieces, on the device                        %.2f s (waiting for it %.2f), %.2f GB of "
           "its memory; on the processor %.2f s; %zu × %zu images\n",
           on_device, waiting, (double)maxima_seen.bytes / 1e9, processor, queries.count,
           database.count);
    json_put_real(row, "pieces_device_s", on_device);
    json_put_real(row, "pieces_device_waiting_s", waiting);
    json_put_real(row, "pieces_processor_s", processor);
    json_put_integer(row, "pieces_queries", (int64_t)queries.count);
    json_put_integer(row, "pieces_database", (int64_t)database.count);
    settings.device_memory = 32 << 20;
    queries.count = queries.count < 64 ? queries.count : 64;
    search_pieces(&queries, &database, &settings, match[2]);
    pieces_must_agree(match[0], match[2], queries.count,
                      maxima_seen.resident ? "pieces, 32 MB" : "pieces, 32 MB: in passes");
    for (int i = 0; i < 3; i++)
        free(match[i]);
    free(groups);
}

/* ---- FAISS ----------------------------------------------------------------------------------- */

/* One line of JSON from the peer; NULL when it did not answer. */
static struct json *ask_peer(const char *python, const char *script, const char *folder)
{
    char command[4096], line[4096] = "";
    snprintf(command, sizeof command, "timeout 60 '%s' '%s' '%s' %d", python, script, folder,
             NEIGHBOURS);
    FILE *answer = popen(command, "r");
    if (answer && !fgets(line, sizeof line, answer))
        line[0] = '\0';
    if (!answer || pclose(answer) != 0)
        return NULL;
    return json_parse(line, strlen(line), "the peer's answer", NULL);
}

/* ---- all of it ------------------------------------------------------------------------------- */

struct options {
    size_t queries, database;
    const char *python, *script, *json, *folder;
};

static struct options read_options(int argc, char **argv)
{
    struct options options = { .queries = 20000, .database = 50000 };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--queries") == 0 && i + 1 < argc)
            options.queries = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--database") == 0 && i + 1 < argc)
            options.database = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--json") == 0 && i + 1 < argc)
            options.json = argv[++i];
        else if (strcmp(argv[i], "--peer") == 0 && i + 2 < argc) {
            options.python = argv[++i];
            options.script = argv[++i];
        } else
            options.folder = argv[i];
    }
    if (!options.folder || options.queries < FEW_QUERIES || options.database < FEW_IMAGES)
        give_up(2,
                "usage: gpu_audit [--queries N] [--database N] [--peer PYTHON SCRIPT] "
                "[--json FILE] FOLDER",
                "");
    return options;
}

static void make_sets(const struct options *options, const char *paths[2])
{
    struct error err;
    struct head_slices heads;
    double started = seconds();
    NEED(head_slices_make(&heads, SUBJECTS, &err));
    NEED(head_set_write(&heads, 0, options->queries, paths[0], &err));
    NEED(head_set_write(&heads, 1, options->database, paths[1], &err));
    head_slices_release(&heads);
    printf("%zu × %zu heads of 256 × 256 made in %.1f s\n", options->queries, options->database,
           seconds() - started);
}

static void save_ids(const struct search_result *result, const char *path)
{
    struct error err;
    size_t count = result->count * result->neighbours;
    int64_t *ids = memory_grow(NULL, count, sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int64_t)result->nearest[i].id;
    NEED(file_write(path, ids, count * sizeof *ids, &err));
    free(ids);
}

static void measure_search(const struct image_set *queries, const struct image_set *database,
                           const char *ids, struct json *row)
{
    struct search_settings settings = { .neighbours = NEIGHBOURS, .device = timed_device() };
    double best = INFINITY;
    struct searched run, processor;
    for (int i = 0; i < 2; i++) {
        if (i)
            search_result_release(&run.result);
        device_seconds = 0;
        run = search_all(queries, database, &settings);
        best = run.total < best ? run.total : best;
    }
    const struct certificate *c = &run.result.certificate;
    settings.device = NULL;
    processor = search_all(queries, database, &settings);
    must_agree(&processor.result, &run.result, "device against processor, all queries");
    save_ids(&run.result, ids);
    printf("certified, on the device                     %.2f s (preparing %.2f, waiting for the "
           "device %.2f), %.2f %% of pairs computed, %.2f GB of its memory%s\n",
           best, run.prepare, device_seconds, 100 * (double)c->evaluated / (double)c->pairs,
           (double)plan_seen.bytes / 1e9, plan_seen.resident ? "" : ", in passes");
    printf("certified, on the processor                  %.2f s\n", processor.total);
    json_put_real(row, "certified_device_s", best);
    json_put_real(row, "certified_device_prepare_s", run.prepare);
    json_put_real(row, "certified_device_waiting_s", device_seconds);
    json_put_real(row, "certified_device_bytes", (double)plan_seen.bytes);
    json_put_real(row, "certified_evaluated_share", (double)c->evaluated / (double)c->pairs);
    json_put_real(row, "certified_processor_s", processor.total);
    json_put_integer(row, "processor_threads", parallel_threads());
    search_result_release(&run.result);
    search_result_release(&processor.result);
}

static void measure_products(size_t database, struct json *row)
{
    double peak = product_rate(8192, 8192, 8192),
           heads = product_rate((database + 63) / 64 * 64, plan_seen.queries, plan_seen.length);
    printf("products of heads, bf16                      %.0f TFLOP/s, %.0f %% of the %.0f "
           "measured at 8192³\n",
           heads, 100 * heads / peak, peak);
    json_put_real(row, "heads_tflops", heads);
    json_put_real(row, "peak_tflops", peak);
}

static void measure_brute_force(const struct image_set *queries, const struct image_set *database,
                                struct json *row)
{
    for (int k = 0; k < KINDS; k++) {
        char key[64];
        struct brute brute = brute_force(queries, database, &kinds[k]);
        printf("brute force, %-5s                           %.2f s: products %.2f, vectors and "
               "copies %.2f; without choosing the best\n",
               kinds[k].name, brute.products + brute.copies, brute.products, brute.copies);
        snprintf(key, sizeof key, "brute_%s_products_s", kinds[k].name);
        json_put_real(row, key, brute.products);
        snprintf(key, sizeof key, "brute_%s_copies_s", kinds[k].name);
        json_put_real(row, key, brute.copies);
    }
}

static void measure_flat(const struct options *options, struct json *row)
{
    struct json *answer =
        options->python ? ask_peer(options->python, options->script, options->folder) : NULL;
    double add = 0, search = 0, agreed = 0;
    const char *engine = answer ? json_get_string(answer, "engine", NULL) : NULL;
    if (engine && json_get_real(answer, "add_s", &add, NULL) &&
        json_get_real(answer, "search_s", &search, NULL) &&
        json_get_real(answer, "same_nearest", &agreed, NULL)) {
        printf(
            "%-44s %.2f s: search %.2f, vectors and adding %.2f; the same nearest for %.2f %% of "
            "queries\n",
            engine, add + search, search, add, 100 * agreed);
        json_put(row, "flat_gpu", answer);
        return;
    }
    printf("a flat index on the GPU                      skipped: %s\n",
           options->python ? "neither FAISS nor PyTorch is there with a GPU, or did not finish"
                           : "no --peer was given");
    json_put_null(row, "flat_gpu");
    json_free(answer);
}

static void append_row(const struct json *row, const char *path)
{
    char *line = json_line(row);
    FILE *file = fopen(path, "a");
    if (!file || fprintf(file, "%s\n", line) < 0 || fclose(file) != 0)
        give_up(1, path, "cannot be written");
    free(line);
}

int main(int argc, char **argv)
{
    struct options options = read_options(argc, argv);
    struct error err;
    struct arena arena;
    struct npy arrays[2];
    arena_init(&arena);
    device = cuda_filter_open(0, &err);
    if (!device)
        give_up(SKIPPED, "no device", err.message);
    maxima = cuda_maxima_open(0, &err);
    NEED(maxima);
    const char *paths[2] = { path_join(&arena, options.folder, "queries.npy"),
                             path_join(&arena, options.folder, "database.npy") };
    make_sets(&options, paths);
    NEED(npy_open(&arrays[0], paths[0], &err) && npy_open(&arrays[1], paths[1], &err));
    check_equality(&arrays[0], &arrays[1]);
    struct image_set queries = set_of(&arrays[0], paths[0], 0),
                     database = set_of(&arrays[1], paths[1], 0);
    struct json *row = json_new_object();
    json_put_string(row, "benchmark", "gpu_audit");
    json_put_integer(row, "queries", (int64_t)queries.count);
    json_put_integer(row, "database", (int64_t)database.count);
    measure_search(&queries, &database, path_join(&arena, options.folder, "ids.bin"), row);
    measure_products(database.count, row);
    measure_pieces(queries, database, row);
    measure_brute_force(&queries, &database, row);
    measure_flat(&options, row);
    if (options.json)
        append_row(row, options.json);
    json_free(row);
    npy_close(&arrays[0]);
    npy_close(&arrays[1]);
    arena_release(&arena);
    return 0;
}
