/* Sampling: parts of a set are the set; what is drawn is what the papers say. */
#include "kill.h"
#include "scratch.h"

#include "base/parallel.h"
#include "base/random.h"
#include "fixture.h"
#include "models/diffusion.h"
#include "tensor/cpu.h"
#include "tensor/store.h"
#include "train/generator.h"
#include "train/join.h"
#include "train/train.h"
#include "train/sampler.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { SIDE = 8, COUNT = 40, MANY = 80, CHANNELS = 2 };

/* A few steps of a model on the fixture, in scratch("run"). */
static void train_model(struct train_settings *settings)
{
    struct error err;
    struct train_report report;
    struct fixture fixture = {
        .count = 12, .channels = CHANNELS, .height = SIDE, .width = SIDE, .masks = 1
    };
    assert_ok(fixture_write(&fixture, scratch("store"), &err), err);
    settings->batch = 4;
    settings->images = 12;
    struct train_job job = { scratch("store"), scratch("run"), settings };
    parallel_set_threads(1); /* small: threads only wait for each other */
    assert_ok(train(&job, &report, &err), err);
    assert_int_equal(report.end, TRAIN_COMPLETE);
}

static struct train_settings small_gan(void)
{
    struct train_settings settings = fixture_stylegan2();
    settings.rate = 0.01;
    return settings;
}

static struct train_settings small_ddpm(void)
{
    struct train_settings settings = fixture_ddpm();
    settings.ddpm.steps = 50;
    return settings;
}

static void draw_part(const char *name, uint64_t first, uint64_t count,
                      const struct draw_options *options)
{
    struct error err;
    struct sample_report report;
    struct sample_settings settings = { .count = (int64_t)count,
                                        .first = (int64_t)first,
                                        .seed = (int64_t)options->seed,
                                        .steps = options->steps,
                                        .sampler = options->sampler,
                                        .truncation = options->truncation,
                                        .truncation_cutoff = options->truncation_cutoff,
                                        .precision = options->precision,
                                        .device = options->device };
    struct sample_job job = { .from = scratch("run"), .out = scratch(name), .settings = &settings };
    assert_ok(sample(&job, &report, &err), err);
}

/* Cuts the set in parts that are not aligned to batches. */
static void check_split(int parts, const struct draw_options *options)
{
    struct error err;
    size_t size, mask_size, at = 0, mask_at = 0;
    unsigned char *images = fixture_images(scratch("whole"), &size, &err);
    unsigned char *masks = fixture_masks(scratch("whole"), &mask_size, &err);
    assert_ok(images && masks, err);
    for (int part = 0; part < parts; part++) {
        char name[32];
        size_t part_size, part_mask_size;
        uint64_t first = (uint64_t)(COUNT * part / parts + (part ? 3 : 0));
        uint64_t end = (uint64_t)(COUNT * (part + 1) / parts + (part + 1 < parts ? 3 : 0));
        snprintf(name, sizeof name, "part-%d-of-%d", part, parts);
        draw_part(name, first, end - first, options);
        unsigned char *some = fixture_images(scratch(name), &part_size, &err);
        unsigned char *labels = fixture_masks(scratch(name), &part_mask_size, &err);
        assert_ok(some && labels, err);
        assert_memory_equal(some, images + at, part_size);
        assert_memory_equal(labels, masks + mask_at, part_mask_size);
        at += part_size;
        mask_at += part_mask_size;
        memory_free(some);
        memory_free(labels);
    }
    assert_int_equal(at, size);
    assert_int_equal(mask_at, mask_size);
    memory_free(images);
    memory_free(masks);
}

static void check_splits(struct train_settings settings, const struct draw_options *options)
{
    train_model(&settings);
    draw_part("whole", 0, COUNT, options);
    check_split(1, options);
    check_split(2, options);
    check_split(5, options);
}

static void parts_of_a_set_of_stylegan2_are_the_set(void **state)
{
    (void)state;
    check_splits(small_gan(), &(struct draw_options){ .seed = 3, .truncation = 0.7 });
}

static void parts_of_a_set_of_stylegan3_are_the_set(void **state)
{
    (void)state;
    check_splits(fixture_stylegan3(), &(struct draw_options){ .seed = 3, .truncation = 0.7 });
}

/* Trained into a level that fades in: its share is part of what is drawn with. */
static void parts_of_a_set_of_stylegan_are_the_set(void **state)
{
    (void)state;
    struct draw_options options = { .seed = 3, .truncation = 0.7, .truncation_cutoff = 2 };
    struct train_settings settings = fixture_stylegan();
    settings.growth.first_side = 4;
    settings.growth.batch_most = 4;
    settings.growth.stable_kimg = 0.004;
    settings.growth.fade_kimg = 0.016;
    train_model(&settings);
    draw_part("whole", 0, COUNT, &options);
    check_split(2, &options);
}

/* Of 8² there are 4 layers. */
static void truncation_of_stylegan_is_up_to_its_cutoff(void **state)
{
    (void)state;
    struct error err;
    size_t size;
    static const struct {
        double truncation;
        int64_t cutoff;
    } rows[] = { { 1, 8 }, { 0.5, 0 }, { 0.5, 2 }, { 0.5, 4 }, { 0.5, 8 } };
    unsigned char *set[5];
    struct train_settings settings = fixture_stylegan();
    settings.rate = 0.01;
    train_model(&settings);
    for (int i = 0; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "set-%d", i);
        draw_part(name, 0, 4,
                  &(struct draw_options){ .seed = 3,
                                          .truncation = rows[i].truncation,
                                          .truncation_cutoff = rows[i].cutoff });
        set[i] = fixture_images(scratch(name), &size, &err);
        assert_ok(set[i], err);
    }
    assert_memory_equal(set[1], set[0], size);
    assert_true(memcmp(set[2], set[0], size) != 0);
    assert_true(memcmp(set[3], set[2], size) != 0);
    assert_memory_equal(set[4], set[3], size);
    for (int i = 0; i < 5; i++)
        memory_free(set[i]);
}

static void parts_of_a_set_of_ddpm_are_the_set(void **state)
{
    (void)state;
    check_splits(small_ddpm(), &(struct draw_options){ .seed = 3, .steps = 4 });
}

/* Of one model: the same set in bf16 is another, but like it, image by image; parts are the set. */
static void check_bf16(struct train_settings settings, struct draw_options options)
{
    struct error err;
    size_t size, sum = 0;
    if (!cpu_backend.has_bf16())
        skip();
    train_model(&settings);
    draw_part("exact", 0, COUNT, &options);
    options.precision = PRECISION_BF16;
    draw_part("whole", 0, COUNT, &options);
    check_split(2, &options);
    unsigned char *one = fixture_images(scratch("exact"), &size, &err);
    unsigned char *two = fixture_images(scratch("whole"), &size, &err);
    for (size_t i = 0; i < size; i++)
        sum += (size_t)abs(one[i] - two[i]);
    assert_in_range(sum, 1, 4 * size); /* shades of grey, on average */
    memory_free(one);
    memory_free(two);
}

static void a_set_of_ddpm_in_bf16_is_like_the_one_in_f32(void **state)
{
    (void)state;
    check_bf16(small_ddpm(), (struct draw_options){ .seed = 3, .steps = 4, .device = "cpu" });
}

static void a_set_of_stylegan2_in_bf16_is_like_the_one_in_f32(void **state)
{
    (void)state;
    check_bf16(small_gan(), (struct draw_options){ .seed = 3, .truncation = 1, .device = "cpu" });
}

static void a_set_of_stylegan3_in_bf16_is_like_the_one_in_f32(void **state)
{
    (void)state;
    check_bf16(fixture_stylegan3(),
               (struct draw_options){ .seed = 3, .truncation = 1, .device = "cpu" });
}

static void bf16_is_refused_where_the_processor_has_none(void **state)
{
    (void)state;
    struct error err;
    struct sample_report report;
    struct train_settings settings = small_ddpm();
    struct sample_settings draw = sample_defaults;
    if (cpu_backend.has_bf16())
        skip();
    draw.precision = PRECISION_BF16;
    draw.device = "cpu";
    train_model(&settings);
    struct sample_job job = { .from = scratch("run"), .out = scratch("set"), .settings = &draw };
    assert_false(sample(&job, &report, &err));
    assert_contains(err.message, "use f32");
    assert_int_equal(path_kind(scratch("set")), PATH_NOTHING);
}

/* Whatever a generator was trained with, its sets have bits that repeat. */
static void sets_are_drawn_with_deterministic_algorithms(void **state)
{
    (void)state;
    struct error err;
    struct draw_options options = { .seed = 3, .truncation = 1, .device = "cpu" };
    struct train_settings settings = small_gan();
    settings.algorithms = ALGORITHMS_FASTEST;
    train_model(&settings);
    struct generator *generator = generator_open(scratch("run"), &options, &err);
    assert_ok(generator, err);
    assert_int_equal(store_algorithms(generator_store(generator)), ALGORITHMS_DETERMINISTIC);
    generator_free(generator);
}

static void images_and_seeds_differ(void **state)
{
    (void)state;
    struct error err;
    size_t size;
    enum { VALUES = CHANNELS * SIDE * SIDE };
    struct train_settings settings = small_gan();
    train_model(&settings);
    draw_part("one", 0, 20, &(struct draw_options){ .seed = 3, .truncation = 1 });
    draw_part("two", 0, 20, &(struct draw_options){ .seed = 4, .truncation = 1 });
    unsigned char *one = fixture_images(scratch("one"), &size, &err);
    unsigned char *two = fixture_images(scratch("two"), &size, &err);
    for (size_t i = 0; i < 20; i++) {
        assert_memory_not_equal(one + i * VALUES, two + i * VALUES, VALUES);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(one + i * VALUES, one + k * VALUES, VALUES);
    }
    memory_free(one);
    memory_free(two);
}

/* A network whose last convolution is still zero predicts no noise: then x0 = x/√α̅, clipped, and
 * each step is the posterior of Ho et al. (eq. 6, 7), here by the tables of models/diffusion.h. */
static void expect_image(const struct diffusion *d, const struct draw_options *options, size_t i,
                         const float *found)
{
    enum { VALUES = (CHANNELS + 1) * SIDE * SIDE };
    float x[VALUES], noise[VALUES];
    random_fill_normal(options->seed, random_stream("sample.x"), i * VALUES, VALUES, x);
    for (int t = d->steps - 1; t >= 0; t--) {
        char name[64];
        snprintf(name, sizeof name, "sample.noise.%d", t);
        random_fill_normal(options->seed, random_stream(name), i * VALUES, VALUES, noise);
        for (size_t v = 0; v < VALUES; v++) {
            double x0 = fmin(fmax(x[v] / sqrt(d->alpha_bar[t]), -1), 1);
            double mean = d->mean_x0[t] * x0 + d->mean_xt[t] * x[v];
            x[v] = (float)(t ? mean + sqrt(d->beta[t]) * noise[v] : mean);
        }
    }
    for (size_t v = 0; v < VALUES; v++)
        assert_float_equal(found[v], x[v], 1e-4);
}

static struct generator *open_untrained(const struct draw_options *options)
{
    struct error err;
    struct train_settings settings = small_ddpm();
    settings.rate = 1e-30;
    train_model(&settings);
    struct generator *generator = generator_open(scratch("run"), options, &err);
    assert_ok(generator, err);
    return generator;
}

static void ancestral_steps_are_those_of_the_posterior(void **state)
{
    (void)state;
    enum { VALUES = (CHANNELS + 1) * SIDE * SIDE };
    struct error err;
    struct diffusion diffusion;
    struct draw_options options = { .seed = 8 };
    struct generator *generator = open_untrained(&options);
    static float images[GENERATOR_BATCH * VALUES];
    diffusion_init(&diffusion, SCHEDULE_LINEAR, 50);
    for (uint64_t batch = 0; batch < 2; batch++) {
        assert_ok(generator_draw(generator, batch, images, &err), err);
        for (size_t i = 0; i < GENERATOR_BATCH; i++)
            expect_image(&diffusion, &options, batch * GENERATOR_BATCH + i, images + i * VALUES);
    }
    diffusion_release(&diffusion);
    generator_free(generator);
}

/* Song et al., eq. 12 with σ = 0, for a network that predicts no noise but for the clipping of x0.
 */
static void expect_ddim(const struct diffusion *d, int steps, const float *start,
                        const float *found)
{
    enum { VALUES = GENERATOR_BATCH * (CHANNELS + 1) * SIDE * SIDE };
    for (size_t v = 0; v < VALUES; v++) {
        float x = start[v];
        for (int i = steps - 1; i >= 0; i--) {
            double now = d->alpha_bar[(int)lround(49.0 * i / (steps - 1))];
            double before = i ? d->alpha_bar[(int)lround(49.0 * (i - 1) / (steps - 1))] : 1;
            double x0 = fmin(fmax(x / sqrt(now), -1), 1);
            double epsilon = (x - sqrt(now) * x0) / sqrt(1 - now);
            x = (float)(sqrt(before) * x0 + sqrt(1 - before) * epsilon);
        }
        assert_float_equal(found[v], x, 1e-4);
    }
}

static void ddim_steps_are_those_of_its_equation_at_evenly_spaced_times(void **state)
{
    (void)state;
    enum { VALUES = GENERATOR_BATCH * (CHANNELS + 1) * SIDE * SIDE };
    struct error err;
    struct diffusion diffusion;
    struct draw_options options = { .seed = 8, .sampler = SAMPLER_DDIM, .steps = 7 };
    struct generator *generator = open_untrained(&options);
    static float images[VALUES], x[VALUES];
    diffusion_init(&diffusion, SCHEDULE_LINEAR, 50);
    random_fill_normal(8, random_stream("sample.x"), 0, VALUES, x);
    assert_ok(generator_draw(generator, 0, images, &err), err);
    expect_ddim(&diffusion, 7, x, images);
    diffusion_release(&diffusion);
    generator_free(generator);
}

static void greys_of_masks_become_the_nearest_labels_of_the_protocol(void **state)
{
    (void)state;
    static const struct {
        int grey, label;
    } rows[] = { { 0, 0 },   { 25, 0 },  { 26, 1 },  { 51, 1 },  { 76, 1 }, { 77, 2 },
                 { 102, 2 }, { 153, 2 }, { 154, 4 }, { 204, 4 }, { 255, 4 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sample_label((float)rows[i].grey / 127.5f - 1), rows[i].label);
    assert_int_equal(sample_label(-3), 0);
    assert_int_equal(sample_label(3), 4);
}

/* ---- killed, and put together ---------------------------------------------------------------- */

static void assert_same_stores(const char *one, const char *other)
{
    static const char *const files[] = { "images.npy", "masks.npy", "index.csv", "dataset.json" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct error err;
        size_t size_a, size_b;
        char a[600], b[600];
        snprintf(a, sizeof a, "%s/%s", scratch(one), files[i]);
        snprintf(b, sizeof b, "%s/%s", scratch(other), files[i]);
        char *x = file_read(a, 1 << 24, &size_a, &err), *y = file_read(b, 1 << 24, &size_b, &err);
        assert_ok(x && y, err);
        assert_int_equal(size_a, size_b);
        assert_memory_equal(x, y, size_a);
        memory_free(x);
        memory_free(y);
    }
}

/* Files that stand in the folder of what was drawn: the key, then the batches. */
static size_t drawn(const char *name)
{
    char folder[64];
    snprintf(folder, sizeof folder, "%s.drawn", name);
    return path_kind(scratch(folder)) == PATH_FOLDER ? names_in(scratch(folder)) : 0;
}

/* Draws in a process of its own, which is killed at a call (kill.h); whether it ended before. */
static bool draw_and_kill(const char *name, const struct draw_options *options, unsigned long call)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        parallel_set_threads(1);
        kill_at(call);
        draw_part(name, 5, MANY, options);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFEXITED(status);
}

/* The store is there and whole; the next drawing is to begin with nothing. */
static void begin_again(const char *name)
{
    struct error err;
    char folder[64];
    snprintf(folder, sizeof folder, "%s.drawn", name);
    assert_same_stores("whole", name);
    assert_ok(folder_remove(scratch(name), &err) && folder_remove(scratch(folder), &err), err);
}

/* Killed again and again until it is through: what was drawn stays. */
static void draw_with_kills(const struct draw_options *options, unsigned long calls)
{
    int kills = 0;
    size_t found = 0;
    for (unsigned long at = 1; !draw_and_kill("killed", options, at); at += 4) {
        assert_true(++kills < 100);
        if (path_kind(scratch("killed")) != PATH_NOTHING)
            break; /* in place already */
        size_t now = drawn("killed");
        assert_true(now + 1 >= found); /* a temporary file may go */
        found = now;
    }
    assert_true(found >= 3);
    assert_true((unsigned long)(2 * kills * kills) >= calls); /* 1 + 5 + 9 + … calls */
    begin_again("killed");
}

static void a_set_whose_drawing_was_killed_is_the_set(void **state)
{
    (void)state;
    struct train_settings settings = small_ddpm();
    struct draw_options options = { .seed = 2, .steps = 20, .truncation = 1 };
    train_model(&settings);
    unsigned long calls = kill_calls();
    draw_part("whole", 5, MANY, &options);
    calls = kill_calls() - calls;
    draw_with_kills(&options, calls);
    int placed = 0;
    for (unsigned long at = calls - 15; at <= calls; at++) { /* while it is put in place */
        assert_false(draw_and_kill("late", &options, at));
        if (path_kind(scratch("late")) == PATH_NOTHING)
            draw_part("late", 5, MANY, &options);
        else
            placed++;
        begin_again("late");
    }
    assert_in_range(placed, 1, 15);
}

/* ---- several processes draw one set ---------------------------------------------------------- */

static void kill_now(pid_t child)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
}

static struct sample_settings shared_settings(int64_t seed)
{
    return (struct sample_settings){
        .count = 48, .first = 5, .seed = seed, .steps = 20, .truncation = 1, .device = "cpu"
    };
}

static unsigned long long assist(const char *name, int64_t seed)
{
    struct error err;
    uint64_t count;
    struct sample_settings settings = shared_settings(seed);
    struct sample_job job = { .from = scratch("run"), .out = scratch(name), .settings = &settings };
    assert_ok(sample_assist(&job, &count, &err), err);
    return count;
}

/* Whoever holds a batch is killed when somebody comes to wait for it. */
static int waits;
static pid_t victim;
static void note_waiting(const char *what, const char *whom)
{
    (void)what;
    waits += strstr(whom, "process ") == whom;
    if (victim)
        kill_now(victim);
    victim = 0;
}

static void draw_shared(const char *name, int64_t seed)
{
    struct error err;
    struct sample_report report;
    struct sample_settings settings = shared_settings(seed);
    struct sample_job job = {
        .from = scratch("run"), .out = scratch(name), .settings = &settings, .waiting = note_waiting
    };
    assert_ok(sample(&job, &report, &err), err);
}

typedef void drawer(const char *name, int64_t seed);
static void assist_only(const char *name, int64_t seed)
{
    assist(name, seed);
}

/* Whether some batch of the drawing is being worked on; and how many are there. */
static bool is_any_held(const char *name, size_t *there)
{
    struct error err;
    struct arena arena;
    char **files, folder[64];
    size_t count = 0;
    bool held = false;
    arena_init(&arena);
    snprintf(folder, sizeof folder, "%s.drawn", name);
    if (path_kind(scratch(folder)) == PATH_FOLDER)
        (void)!folder_walk(scratch(folder), &arena, &files, &count, &err);
    *there = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_lock = strstr(files[i], ".taken");
        held = held || (is_lock && lock_is_held(path_join(&arena, scratch(folder), files[i])));
        *there += !is_lock && strncmp(files[i], "batch", 5) == 0;
    }
    arena_release(&arena);
    return held;
}

/* A process that draws, stopped while it works on a batch; returns how many are there. */
static pid_t start_and_stop(drawer *draw, const char *name, int64_t seed, size_t *there)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        parallel_set_threads(1);
        draw(name, seed);
        _exit(0);
    }
    for (;;) {
        assert_int_equal(waitpid(child, &status, WNOHANG), 0);
        if (is_any_held(name, there)) {
            kill(child, SIGSTOP);
            assert_int_equal(waitpid(child, &status, WUNTRACED), child);
            assert_true(WIFSTOPPED(status));
            if (is_any_held(name, there))
                return child;
            kill(child, SIGCONT);
        }
        nanosleep(&(struct timespec){ 0, 500000 }, NULL);
    }
}

enum { BATCHES = 4 }; /* images 5 … 52 */

static void several_draw_one_set_and_a_killed_ones_batch_is_free_again(void **state)
{
    (void)state;
    struct train_settings settings = small_ddpm();
    size_t there, after;
    train_model(&settings);
    draw_shared("whole", 2);
    assert_int_equal(assist("shared", 2), 0); /* the drawing has not been begun */
    pid_t first = start_and_stop(draw_shared, "shared", 2, &there);
    assert_true(there < BATCHES);
    if (there + 1 < BATCHES)
        assert_int_equal(assist("shared", 2), BATCHES - there - 1);
    kill_now(first);
    assert_int_equal(assist("shared", 2), 1);

    /* Now one that assists holds a batch, when the writer comes to it, and is killed. */
    char batch[128];
    snprintf(batch, sizeof batch, "rm '%s.drawn'/batch-000000000003-*", scratch("shared"));
    assert_int_equal(system(batch), 0);
    pid_t second = start_and_stop(assist_only, "shared", 2, &after);
    assert_int_equal(after, BATCHES - 1);
    victim = second;
    waits = 0;
    draw_shared("shared", 2);
    assert_int_equal(waits, 1);
    assert_same_stores("whole", "shared");
    assert_int_equal(path_kind(scratch("shared.drawn")), PATH_NOTHING);
}

static void who_draws_by_other_settings_adds_nothing_to_a_set(void **state)
{
    (void)state;
    struct train_settings settings = small_ddpm();
    int status;
    size_t there;
    train_model(&settings);
    draw_shared("whole", 2);
    pid_t writer = start_and_stop(draw_shared, "shared", 3, &there);
    assert_int_equal(assist("shared", 2), 0); /* of another seed */
    assert_int_equal(kill(writer, SIGKILL), 0);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    pid_t late = start_and_stop(assist_only, "shared", 3, &there);
    draw_shared("shared", 2); /* begun anew while it is still drawing for the one before */
    kill(late, SIGCONT);
    assert_int_equal(waitpid(late, &status, 0), late);
    assert_int_equal(status, 0);
    assert_same_stores("whole", "shared");
    assert_int_equal(path_kind(scratch("shared.drawn")), PATH_NOTHING);
}

static void parts_put_together_have_the_bytes_of_the_whole(void **state)
{
    (void)state;
    struct error err;
    size_t count;
    struct train_settings settings = small_gan();
    struct draw_options options = { .seed = 2, .truncation = 0.7 },
                        other = { .seed = 3, .truncation = 0.7 };
    train_model(&settings);
    draw_part("whole", 0, 40, &options);
    draw_part("a", 0, 7, &options);
    draw_part("b", 7, 20, &options);
    draw_part("c", 27, 13, &options);
    draw_part("stranger", 27, 13, &other);
    static const char *const part_names[] = { "a", "b", "c", "stranger", "store" };
    char paths[5][600];
    for (size_t i = 0; i < 5; i++)
        snprintf(paths[i], sizeof paths[i], "%s", scratch(part_names[i]));
    const char *names[] = { paths[0], paths[1], paths[2] }, *gap[] = { paths[0], paths[2] },
               *mixed[] = { paths[0], paths[1], paths[3] }, *real[] = { paths[4] };
    assert_ok(sample_join(names, 3, scratch("joined"), &count, &err), err);
    assert_int_equal(count, 40);
    assert_same_stores("whole", "joined");
    assert_false(sample_join(gap, 2, scratch("gap"), &count, &err));
    assert_contains(err.message, "begins with image 27; after the parts before it comes 7");
    assert_false(sample_join(mixed, 3, scratch("mixed"), &count, &err));
    assert_contains(err.message, "drawn of other weights, or in another way");
    assert_int_equal(path_kind(scratch("gap")), PATH_NOTHING);
    assert_false(sample_join(real, 1, scratch("real"), &count, &err));
    assert_contains(err.message, "not a set that lethe sample drew");
}

static void a_store_that_is_there_is_not_overwritten(void **state)
{
    (void)state;
    struct error err;
    struct sample_report report;
    struct train_settings settings = small_gan();
    train_model(&settings);
    struct sample_job job = { .from = scratch("run"),
                              .out = scratch("store"),
                              .settings = &sample_defaults };
    assert_false(sample(&job, &report, &err));
    assert_contains(err.message, "exists");
    assert_null(strstr(err.message, ".drawn"));
}

/* As a kill may leave it, after the store was put in place. */
static void batches_that_were_left_are_named(void **state)
{
    (void)state;
    struct error err;
    struct sample_report report;
    struct sample_job job = { .from = scratch("run"),
                              .out = scratch("store/"),
                              .settings = &sample_defaults };
    assert_ok(folder_create(scratch("store"), &err) && folder_create(scratch("store.drawn"), &err),
              err);
    assert_false(sample(&job, &report, &err));
    assert_contains(err.message, "exists");
    assert_contains(err.message, "store.drawn, the batches of a drawing that was stopped");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parts_of_a_set_of_stylegan2_are_the_set),
        TEST(parts_of_a_set_of_stylegan_are_the_set),
        TEST(truncation_of_stylegan_is_up_to_its_cutoff),
        TEST(parts_of_a_set_of_stylegan3_are_the_set),
        TEST(parts_of_a_set_of_ddpm_are_the_set),
        TEST(a_set_of_ddpm_in_bf16_is_like_the_one_in_f32),
        TEST(a_set_of_stylegan2_in_bf16_is_like_the_one_in_f32),
        TEST(a_set_of_stylegan3_in_bf16_is_like_the_one_in_f32),
        TEST(bf16_is_refused_where_the_processor_has_none),
        TEST(sets_are_drawn_with_deterministic_algorithms),
        TEST(images_and_seeds_differ),
        TEST(ancestral_steps_are_those_of_the_posterior),
        TEST(ddim_steps_are_those_of_its_equation_at_evenly_spaced_times),
        cmocka_unit_test(greys_of_masks_become_the_nearest_labels_of_the_protocol),
        TEST(a_set_whose_drawing_was_killed_is_the_set),
        TEST(several_draw_one_set_and_a_killed_ones_batch_is_free_again),
        TEST(who_draws_by_other_settings_adds_nothing_to_a_set),
        TEST(parts_put_together_have_the_bytes_of_the_whole),
        TEST(a_store_that_is_there_is_not_overwritten),
        TEST(batches_that_were_left_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
