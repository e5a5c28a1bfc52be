/* Training steps of four models on the engine, against their PyTorch twins (tests/parity).
 *
 *     bench_engine [--case NAME] [--dtype f32|bf16] [--backend cpu|cuda|ref] [--steps N]
 *                  [--json FILE]   [--python PATH] [--twin PATH]   what runs the twin
 *                  [--plain]       the twin as it comes, instead of in its best setting
 *                  [--compiled]    the twin by torch.compile (PyTorch 2)
 *                  [--fastest]     ours with measured algorithms, whose bits do not repeat
 *                  [--large]       the presets' networks at 256², for GPUs
 *                  [--no-peer] [--small]      ours alone; at the size of the parity tests
 *                  [--profile]     ours alone, then where the time went
 *
 * Each case runs in a process of its own, so that one's memory is not counted as another's. Steps
 * of ours and of the twin's take turns. The share of peak counts the twin's multiplications and
 * additions for both.
 *
 *                    processors                            GPUs
 *     the twin       the fastest of its layouts            channels-last, cuDNN's kernels measured,
 *                    and ways to allocate (--plain: none)   by itself or by torch.compile
 *     memory, ours   what the process grew by              what is taken of the device's, all of it
 *     and the twin's since it was ready to train            tensors at their most, weights and all
 *     peak           of fused multiply-adds                of the library's largest products
 *
 * StyleGAN 2 at its large size on a GPU also trains as users do, R1 and path length now and then,
 * beside the time that its authors published for an A100.
 */
#include "bench.h"
#include "case.h"
#include "peak.h"
#include "peak_device.h"

#include "base/parallel.h"
#include "base/random.h"
#include "tensor/device.h"
#include "tensor/ref.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WARM_UP = 2, STEPS_MAX = 1000, PUBLISHED_STEPS = 32 };

static const char *const case_names[] = { "unet", "swin", "ddpm", "stylegan2", "stylegan3" };
static const double MEMORY_GOAL = 1 / 0.7; /* at most .7 of the twin's */
static const double GPU_MEMORY_GOAL = 1 / 0.8, EAGER_GOAL = 1.5, COMPILED_GOAL = 1.1;

/* NVlabs' StyleGAN 2 at 256², batch 16, mixed precision: seconds for 1,000 images on one A100. Of
 * its 312 TFLOP/s in 16 bit products reach some four fifths. */
static const double PUBLISHED_SECONDS = 12.5, PUBLISHED_PEAK = 250e12;

static const struct kind {
    const char *name;
    enum precision precision;
    double goal; /* times the twin's images a second, on a processor */
} kinds[] = { { "f32", PRECISION_F32, 1.6 }, { "bf16", PRECISION_BF16, 1.4 } };
enum { KINDS = sizeof kinds / sizeof *kinds };

struct options {
    const char *only_case, *only_dtype;
    const char *backend, *python, *twin;
    int steps;
    bool small, large, plain, compiled, fastest, no_peer, profile;
    double peak[KINDS];
};

/* One case: ours, and the twin. */
struct race {
    const struct options *options;
    const struct kind *kind;
    const char *name;
    bool path; /* stylegan2: with path length */
    int batch;
    struct parity_case of;
    const struct backend *backend;
    struct store *store;
    struct plan *plans[RECIPE_PHASES];
    struct peer peer;
    struct json *ready; /* the twin's first answer */
    double rss;         /* ours, before the model was built */
    double growth;      /* ours, by the model; on a GPU */
    double ours[STEPS_MAX], theirs[STEPS_MAX], peer_rss;
};

static double peak_rss(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}

/* What has been taken so far, of the device's memory or of this machine's. */
static double memory_taken(const struct race *race)
{
    return race->backend->recorder ? -(double)race->backend->available() : peak_rss();
}

static const struct backend *find_backend(const char *name)
{
    struct error err;
    const struct backend *found = strcmp(name, "ref") ? device_backend(name, &err) : &ref_backend;
    if (!found)
        bench_fail("engine: %s", err.message);
    return found;
}

/* Ours. */

/* Images of normal numbers, or labels; the same for every step, as loading is not measured. */
static void write_images(const struct race *race)
{
    struct error err;
    const struct graph *graph = race->of.training.graph;
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op != OP_INPUT)
            continue;
        size_t count = shape_count(node->shape);
        float *host = memory_allocate(count, sizeof *host, node->leaf.name, &err);
        if (!host)
            bench_fail("%s", err.message);
        random_fill_normal(1, 1, 0, count, host);
        for (size_t i = 0; node->dtype == DTYPE_I32 && i < count; i++)
            ((int32_t *)(void *)host)[i] = (int32_t)random_below(1, 2, i, 4);
        for (int i = 0; i < race->of.training.phase_count; i++)
            plan_write(race->plans[i], node, host);
        memory_free(host);
    }
}

static bool make_plans(struct race *race, struct error *err)
{
    struct plan *initial = training_plan_initial(&race->of.training, race->store, err);
    bool ok = initial && plan_run(initial, 0, 1, err);
    plan_free(initial);
    for (int i = 0; ok && i < race->of.training.phase_count; i++) {
        ok = (race->plans[i] = training_plan(&race->of.training, i, race->store, err));
        if (ok && race->options->profile)
            plan_measure(race->plans[i], true);
    }
    return ok;
}

static void build(struct race *race)
{
    struct error err;
    const struct options *options = race->options;
    struct case_options settings = { .path = race->path };
    enum case_size size = options->small   ? CASE_SMALL
                          : options->large ? CASE_LARGE
                                           : CASE_BENCHMARK;
    race->backend = find_backend(options->backend);
    race->rss = memory_taken(race);
    if (!case_open_usual(&race->of, race->name, size, &settings, &err))
        bench_fail("%s: %s", race->name, err.message);
    race->batch = (int)race->of.training.batch;
    race->store = store_new(race->backend);
    if (options->fastest)
        store_set_algorithms(race->store, ALGORITHMS_FASTEST);
    if (!store_set_precision(race->store, race->kind->precision, &err) || !make_plans(race, &err))
        bench_fail("%s: %s", race->name, err.message);
    write_images(race);
}

static void wait_for(const struct race *race)
{
    if (race->backend->recorder)
        race->backend->recorder->wait();
}

/* A step of all phases, or only of those whose turn it is. */
static void run_step(struct race *race, int step, bool all)
{
    struct error err;
    const struct training *training = &race->of.training;
    for (int i = 0; i < training->phase_count; i++) {
        if (!all && step % training->phases[i].interval)
            continue;
        training_write_step(training, race->plans[i], (uint64_t)step);
        if (!plan_run(race->plans[i], (uint64_t)step, 1, &err))
            bench_fail("%s: %s", race->name, err.message);
    }
}

static double our_step(struct race *race, int step)
{
    double start = bench_seconds();
    run_step(race, step, true);
    wait_for(race);
    return bench_seconds() - start;
}

/* What was trained must still be numbers. */
static void check_terms(const struct race *race)
{
    struct error err;
    for (int i = 0; i < race->of.training.phase_count; i++)
        for (int k = 0; k < race->of.training.phases[i].term_count; k++) {
            const struct term *term = &race->of.training.phases[i].terms[k];
            float value;
            plan_read(race->plans[i], term->value, &value);
            if (!plan_check(race->plans[i], &err))
                bench_fail("%s: %s", race->name, err.message);
            if (!isfinite(value))
                bench_fail("%s: the term %s became %g", race->name, term->name, (double)value);
        }
}

/* What makes a GPU slower than it should be: runs in steps instead of replays, and layers that no
 * library takes. */
static void tell_refusals(const struct race *race)
{
    for (int i = 0; i < race->of.training.phase_count; i++)
        (void)plan_makeshifts(race->plans[i], stdout);
    for (int i = 0; i < race->of.training.phase_count; i++)
        if (plan_refusal(race->plans[i]))
            printf("%s, %s: NOT replayed: %s\n", race->name, race->of.training.phases[i].name,
                   plan_refusal(race->plans[i]));
}

/* The twin. */

static double answer_number(const char *name, const struct json *answer, const char *key)
{
    struct error err;
    double value;
    if (!json_get_real(answer, key, &value, &err))
        bench_fail("the twin of %s: %s", name, err.message);
    return value;
}

static struct json *parse_answer(const struct race *race, const char *line)
{
    struct error err;
    struct json *answer = json_parse(line, strlen(line), "the twin's answer", &err);
    if (!answer)
        bench_fail("%s: %s", race->name, err.message);
    return answer;
}

/* Its first line comes unasked, when it is ready: with its best setting found, after minutes. */
static void start_twin(struct race *race)
{
    const struct options *options = race->options;
    bool gpu = race->backend->recorder;
    char batch[16], line[4096];
    const char *arguments[16] = { options->python, options->twin,    race->name,
                                  "--dtype",       race->kind->name, "--batch",
                                  batch,           "--device",       gpu ? "cuda" : "cpu" };
    const struct {
        const char *name;
        bool wanted;
    } others[] = { { "--large", options->large },
                   { "--channels-last", gpu || options->compiled },
                   { "--compile", options->compiled },
                   { "--best", !gpu && !options->compiled && !options->plain } };
    for (size_t i = 0, at = 9; i < sizeof others / sizeof *others; i++)
        if (others[i].wanted)
            arguments[at++] = others[i].name;
    snprintf(batch, sizeof batch, "%d", race->batch);
    peer_start(&race->peer, arguments);
    if (!fgets(line, sizeof line, race->peer.from))
        bench_fail("the twin of %s ended; is PyTorch installed?", race->name);
    race->ready = parse_answer(race, line);
}

static double their_step(struct race *race)
{
    struct json *answer = parse_answer(race, peer_ask(&race->peer, "step 1\n"));
    double seconds = answer_number(race->name, answer, "seconds");
    race->peer_rss = answer_number(race->name, answer, "peak_rss");
    json_free(answer);
    return seconds;
}

/* On a GPU, where all memory taken is seen together: ours, once two steps have been run, and before
 * the twin is there. */
static void measure_memory(struct race *race)
{
    for (int i = 0; i < WARM_UP; i++)
        (void)our_step(race, i);
    race->growth = memory_taken(race) - race->rss;
}

static void measure(struct race *race)
{
    for (int i = -WARM_UP; i < race->options->steps; i++) {
        double ours = our_step(race, i + WARM_UP);
        double theirs = race->options->no_peer ? NAN : their_step(race);
        if (i >= 0) {
            race->ours[i] = ours;
            race->theirs[i] = theirs;
        }
    }
    check_terms(race);
}

/* The rows of a case. */

/* What the twin took: on a GPU all of it, as ours is counted there. */
static double their_growth(const struct race *race)
{
    return race->backend->recorder ? race->peer_rss
                                   : race->peer_rss - answer_number(race->name, race->ready, "rss");
}

static void name_twin(const struct race *race, char name[96])
{
    struct error err;
    const char *version = json_get_string(race->ready, "torch", &err);
    /* NVlabs' filters for GPUs are plug-ins that are compiled where they run: the twin has none. */
    snprintf(name, 96, "PyTorch %s%s%s", version ? version : "",
             race->options->compiled ? ", compiled" : "",
             strcmp(race->name, "stylegan3") ? "" : ", filters by its own operations");
}

static double goal_of(const struct race *race)
{
    return !race->backend->recorder  ? race->kind->goal
           : race->options->compiled ? COMPILED_GOAL
                                     : EAGER_GOAL;
}

static void report(struct race *race, struct bench *bench)
{
    size_t steps = (size_t)race->options->steps;
    bool peer = !race->options->no_peer, gpu = race->backend->recorder;
    double ours = bench_median(race->ours, steps), theirs = NAN, growth = NAN, flops = NAN;
    char name[32], peer_name[96] = "";
    snprintf(name, sizeof name, "%s-%s%s", race->name, race->kind->name,
             race->options->fastest ? ", fastest" : "");
    if (peer) {
        name_twin(race, peer_name);
        theirs = bench_median(race->theirs, steps);
        growth = their_growth(race);
        flops = answer_number(race->name, race->ready, "flops_per_step");
    }
    double peak = race->options->peak[race->kind->precision], mib = 1 << 20;
    double own_growth = gpu ? race->growth : memory_taken(race) - race->rss;
    bench_row(bench,
              &(struct bench_row){ name, "images/s", race->batch / ours, race->batch / theirs,
                                   peer_name, theirs / ours, goal_of(race) });
    if (peer)
        bench_row(bench,
                  &(struct bench_row){ name, "share of peak FLOP/s", flops / ours / peak,
                                       flops / theirs / peak, peer_name, theirs / ours, NAN });
    bench_row(bench,
              &(struct bench_row){ name, "MiB", own_growth / mib, growth / mib, peer_name,
                                   growth / own_growth, gpu ? GPU_MEMORY_GOAL : MEMORY_GOAL });
}

static void release(struct race *race)
{
    for (int i = 0; i < race->of.training.phase_count; i++)
        plan_free(race->plans[i]);
    store_free(race->store);
    case_close(&race->of);
}

static void run_case(struct bench *bench, const struct options *options, const char *name,
                     const struct kind *kind)
{
    struct race race = { .options = options, .name = name, .kind = kind };
    build(&race);
    if (race.backend->recorder)
        measure_memory(&race);
    if (!options->no_peer)
        start_twin(&race);
    measure(&race);
    tell_refusals(&race);
    report(&race, bench);
    for (int i = 0; options->profile && i < race.of.training.phase_count; i++) {
        printf("\n%s, %s\n", name, race.of.training.phases[i].name);
        plan_profile(race.plans[i], stdout);
    }
    if (!options->no_peer)
        peer_stop(&race.peer);
    json_free(race.ready);
    release(&race);
}

/* StyleGAN 2 as it is trained, beside what its authors measured, which is scaled from their
 * device's peak to this one's. */
static void run_published(struct bench *bench, const struct options *options, const char *name,
                          const struct kind *kind)
{
    struct race race = { .options = options, .name = name, .kind = kind, .path = true };
    build(&race);
    for (int i = 0; i < WARM_UP; i++)
        (void)our_step(&race, i);
    double start = bench_seconds();
    for (int i = 0; i < PUBLISHED_STEPS; i++)
        run_step(&race, i, false);
    wait_for(&race);
    double ours = (bench_seconds() - start) / PUBLISHED_STEPS / race.batch * 1000;
    check_terms(&race);
    double theirs =
        PUBLISHED_SECONDS * PUBLISHED_PEAK / peak_of_device(race.backend, kind->precision);
    bench_row(bench,
              &(struct bench_row){ options->fastest ? "stylegan2, lazily regularised, fastest"
                                                    : "stylegan2, lazily regularised",
                                   "s/kimg", ours, theirs, "published for an A100, scaled",
                                   theirs / ours, 1 });
    release(&race);
}

/* In a process of its own, which must not inherit the threads of OpenMP. */
static bool run_apart(struct bench *bench, const struct options *options, const char *name,
                      const struct kind *kind,
                      void (*run)(struct bench *bench, const struct options *options,
                                  const char *name, const struct kind *kind))
{
    int status;
    fflush(stdout);
    pid_t process = fork();
    if (process == 0) {
        run(bench, options, name, kind);
        bench_end(bench);
        fflush(stdout);
        _exit(0);
    }
    return process > 0 && waitpid(process, &status, 0) == process && status == 0;
}

/* Multiplications and additions a second, by precision. bf16 is counted on as twice f32 of a
 * processor. */
static void take_peaks(const struct options *options, double peak[KINDS])
{
    const struct backend *backend = find_backend(options->backend);
    if (!backend->recorder)
        peak[PRECISION_F32] = peak_f32(parallel_threads());
    peak[PRECISION_BF16] = 2 * peak[PRECISION_F32];
    for (size_t p = 0; backend->recorder && p < KINDS; p++)
        if (!options->only_dtype || strcmp(options->only_dtype, kinds[p].name) == 0)
            peak[kinds[p].precision] = peak_of_device(backend, kinds[p].precision);
}

static void measure_peaks(struct options *options)
{
    int ends[2];
    double peak[KINDS] = { 0 };
    ssize_t size = sizeof peak;
    if (pipe(ends))
        bench_fail("no pipe could be made");
    pid_t process = fork();
    if (process == 0) {
        take_peaks(options, peak);
        _exit(write(ends[1], peak, sizeof peak) == size ? 0 : 1);
    }
    close(ends[1]);
    if (process < 0 || read(ends[0], options->peak, sizeof peak) != size)
        bench_fail("the peak could not be measured");
    waitpid(process, NULL, 0);
    close(ends[0]);
}

/* Command line. */

static void begin(struct bench *bench, struct options *options, int argc, char **argv)
{
    *options = (struct options){
        .backend = "cpu", .python = LETHE_PYTHON, .twin = LETHE_TWIN, .steps = 7
    };
    const struct bench_option table[] = {
        { "--case", "NAME", "only this model", BENCH_TEXT, &options->only_case },
        { "--dtype", "NAME", "only this precision", BENCH_TEXT, &options->only_dtype },
        { "--steps", "N", "steps that are measured (7)", BENCH_NUMBER, &options->steps },
        { "--large", NULL, "the presets' networks at 256^2, for GPUs", BENCH_FLAG,
          &options->large },
        { "--compiled", NULL, "the twin by torch.compile (PyTorch 2)", BENCH_FLAG,
          &options->compiled },
        { "--fastest", NULL, "ours with measured algorithms, whose bits do not repeat", BENCH_FLAG,
          &options->fastest },
        { "--small", NULL, "small models; no peer", BENCH_FLAG, &options->small },
        { "--plain", NULL, "the twin as it comes, instead of in its best setting", BENCH_FLAG,
          &options->plain },
        { "--no-peer", NULL, "ours alone", BENCH_FLAG, &options->no_peer },
        { "--profile", NULL, "where our time goes; no peer", BENCH_FLAG, &options->profile },
        { "--backend", "NAME", "cpu or cuda", BENCH_TEXT, &options->backend },
        { "--python", "FILE", "the peer's Python", BENCH_TEXT, &options->python },
        { "--twin", "FILE", "the peer's program", BENCH_TEXT, &options->twin },
        { 0 },
    };
    bench_begin(bench, "engine", table, argc, argv);
    options->no_peer = options->no_peer || options->small || options->profile;
    if (options->steps < 1 || options->steps > STEPS_MAX)
        bench_fail("engine: %d steps; 1 to %d", options->steps, STEPS_MAX);
}

static bool run_all(struct bench *bench, const struct options *options)
{
    bool ok = true, any = false;
    for (size_t p = 0; p < KINDS; p++)
        for (size_t i = 0; i < sizeof case_names / sizeof *case_names; i++) {
            const char *name = case_names[i];
            if ((options->only_case && strcmp(options->only_case, name) != 0) ||
                (options->only_dtype && strcmp(options->only_dtype, kinds[p].name) != 0))
                continue;
            any = true;
            ok = run_apart(bench, options, name, &kinds[p], run_case) && ok;
            if (options->large && kinds[p].precision == PRECISION_BF16 &&
                strcmp(name, "stylegan2") == 0 && strncmp(options->backend, "cuda", 4) == 0)
                ok = run_apart(bench, options, name, &kinds[p], run_published) && ok;
        }
    if (!any)
        bench_fail("engine: no such case or precision");
    return ok;
}

int main(int argc, char **argv)
{
    struct options options;
    struct bench bench;
    begin(&bench, &options, argc, argv);
    if (!options.no_peer) /* which counts the operations */
        measure_peaks(&options);
    bool ok = run_all(&bench, &options);
    bench_end(&bench);
    return ok ? 0 : 2;
}
