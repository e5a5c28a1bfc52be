/* Segmenters: examples, training that is stopped and goes on, images that do not fit the stride. */
#include "audit/stores.h"
#include "kill.h"

#include "base/digest.h"
#include "base/parallel.h"
#include "base/random.h"
#include "tensor/algorithms.h"
#include "train/metrics.h"
#include "train/segment.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STORE_PIXELS = STORE_SIDE * STORE_SIDE };
static const struct store_spec spec = { .role = ROLE_REAL, .subjects = 4, .masks = true };
static struct dataset store;
static struct classes classes;

static int make_store(void **state)
{
    struct error err;
    bool occurs[256] = { [0] = true, [1] = true, [4] = true };
    classes = classes_of(occurs);
    if (scratch_make(state))
        return -1;
    store_write(scratch("store"), &spec);
    return dataset_open(&store, scratch("store"), &err) ? 0 : -1;
}

static int drop_store(void **state)
{
    dataset_close(&store);
    return scratch_remove(state);
}

static struct examples *open_examples(struct examples_options options)
{
    struct error err;
    struct example_set set = { &store, NULL, store.count };
    options.classes = &classes;
    options.size = options.size ? options.size : STORE_SIDE;
    struct examples *examples = examples_new(&set, 1, &options, &err);
    assert_ok(examples, err);
    return examples;
}

enum { BATCH = 5, SIZE_MOST = 24, MOST = BATCH * SIZE_MOST * SIZE_MOST };
static float images[2 * MOST], more_images[2 * MOST];
static int32_t labels[MOST], more_labels[MOST];

static void image_k_does_not_depend_on_what_was_read_before(void **state)
{
    (void)state;
    struct examples_options options = { .augment = &augment_usual, .seed = 3 };
    struct examples *a = open_examples(options), *b = open_examples(options);
    for (uint64_t first = 0; first < 40; first += BATCH)
        examples_read(a, first, BATCH, images, labels);
    examples_read(b, 35, BATCH, more_images, more_labels);
    assert_memory_equal(images, more_images, sizeof(float) * BATCH * 2 * STORE_PIXELS);
    assert_memory_equal(labels, more_labels, sizeof(int32_t) * BATCH * STORE_PIXELS);
    examples_free(a);
    examples_free(b);
}

static void channels_have_mean_zero_and_deviation_one(void **state)
{
    (void)state;
    struct examples *examples = open_examples((struct examples_options){ .seed = 1 });
    examples_read(examples, 0, BATCH, images, labels);
    for (int plane = 0; plane < 2 * BATCH; plane++) {
        double sum = 0, squares = 0;
        for (int p = 0; p < STORE_PIXELS; p++) {
            double value = (double)images[plane * STORE_PIXELS + p];
            sum += value, squares += value * value;
        }
        assert_true(fabs(sum / STORE_PIXELS) < 1e-5);
        assert_true(fabs(squares / STORE_PIXELS - 1) < 1e-5);
    }
    examples_free(examples);
}

static void images_are_padded_below_and_to_the_right(void **state)
{
    (void)state;
    struct examples *plain = open_examples((struct examples_options){ .seed = 1 });
    struct examples *padded = open_examples((struct examples_options){ .seed = 1, .size = 24 });
    examples_read(plain, 0, BATCH, images, labels);
    examples_read(padded, 0, BATCH, more_images, more_labels);
    for (int y = 0; y < 24; y++)
        for (int x = 0; x < 24; x++) {
            bool inside = y < STORE_SIDE && x < STORE_SIDE;
            assert_int_equal(more_labels[y * 24 + x], inside ? labels[y * STORE_SIDE + x] : 0);
            if (inside)
                assert_true(more_images[y * 24 + x] == images[y * STORE_SIDE + x]);
            else /* a stored 0, darker than anything in these images */
                assert_true(more_images[y * 24 + x] < -1 &&
                            more_images[y * 24 + x] == more_images[24 * 24 - 1]);
        }
    examples_free(plain);
    examples_free(padded);
}

static void shuffled_masks_say_nothing_of_their_images(void **state)
{
    (void)state;
    struct examples *right = open_examples((struct examples_options){ .seed = 1 });
    struct examples *wrong =
        open_examples((struct examples_options){ .seed = 1, .shuffled = true });
    double both = 0, either = 0;
    for (uint64_t first = 0; first < store.count; first += 3) {
        examples_read(right, first, 3, images, labels);
        examples_read(wrong, first, 3, more_images, more_labels);
        assert_memory_equal(images, more_images, sizeof(float) * 6 * STORE_PIXELS);
        for (int p = 0; p < 3 * STORE_PIXELS; p++) {
            both += labels[p] && more_labels[p];
            either += (labels[p] != 0) + (more_labels[p] != 0);
        }
    }
    assert_true(either > 0 && 2 * both / either < 0.5); /* chance alone gives about .2 */
    examples_free(right);
    examples_free(wrong);
}

/* Augmented by a thread of its own, alone or with helpers. */
static void a_feed_gives_the_examples_that_are_read_without_it(void **state)
{
    (void)state;
    struct error err;
    struct examples_options options = { .augment = &augment_usual, .seed = 3 };
    for (int team = 0; team < 2; team++) {
        struct examples *plain = open_examples(options), *ahead = open_examples(options);
        struct feed_source source = examples_feed(ahead);
        source.team = team;
        parallel_set_threads(1 + team);
        struct feed *feed = feed_open(&source, 10, BATCH, &err);
        assert_ok(feed, err);
        for (uint64_t first = 10; first < 60; first += BATCH) { /* over several epochs */
            examples_read(plain, first, BATCH, images, labels);
            assert_memory_equal(feed_next(feed), images, sizeof(float) * BATCH * 2 * STORE_PIXELS);
            assert_memory_equal(feed_labels(feed), labels, sizeof(int32_t) * BATCH * STORE_PIXELS);
        }
        feed_close(feed);
        examples_free(plain);
        examples_free(ahead);
    }
    parallel_set_threads(1);
}

/* ---- training -------------------------------------------------------------------------------- */

static struct segment_settings quick(int64_t levels)
{
    struct segment_settings settings = segment_defaults;
    settings.images = 240;
    settings.batch = 4;
    settings.base = 4;
    settings.levels = levels;
    settings.seed = 9;
    return settings;
}

static bool train_in(const char *name, const struct segment_settings *settings,
                     struct train_report *report, struct error *err)
{
    static char path[600];
    struct example_set set = { &store, NULL, store.count };
    snprintf(path, sizeof path, "%s", scratch(name));
    struct segment_job job = { .out = path,
                               .sets = &set,
                               .set_count = 1,
                               .classes = &classes,
                               .augment = &augment_usual,
                               .settings = settings,
                               .dataset = "0123",
                               .device = "cpu" };
    return segment_train(&job, report, err);
}

static struct digest weights_of(const struct train_report *report)
{
    struct digest digest;
    struct error err;
    assert_ok(digest_file(report->checkpoint, &digest, &err), err);
    return digest;
}

static void a_training_that_is_stopped_ends_in_the_same_bytes(void **state)
{
    (void)state;
    struct segment_settings settings = quick(3);
    struct train_report report;
    struct error err;
    assert_ok(train_in("unbroken", &settings, &report, &err), err);
    assert_int_equal(report.step, 60);
    struct digest unbroken = weights_of(&report);
    int stops = 0, turn = 0;
    do { /* a signal every few milliseconds; each call gets a little further */
        struct sigaction ignore = { .sa_handler = SIG_IGN };
        sigaction(SIGTERM, &ignore, NULL); /* outside of training */
        timer_t id;
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM };
        assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &id), 0);
        struct timespec every = { 0, 10000000L * (1 + turn++) }; /* further each time */
        struct itimerspec soon = { every, every };
        assert_int_equal(timer_settime(id, 0, &soon, NULL), 0);
        assert_ok(train_in("broken", &settings, &report, &err), err);
        timer_delete(id);
        stops += report.end == TRAIN_SIGNAL;
    } while (report.end != TRAIN_COMPLETE);
    struct digest broken = weights_of(&report);
    assert_true(digest_equal(&unbroken, &broken));
    assert_true(stops > 0);
}

/* The same lines as a generator's, with the same loss terms at each step. */
static void metrics_tell_losses_speed_and_what_was_waited_for(void **state)
{
    (void)state;
    static const char *const names[] = { "images_per_second",
                                         "seconds",
                                         "waited",
                                         "memory",
                                         "main.dice",
                                         "main.cross_entropy",
                                         "main.loss",
                                         "main.gradient_norm" };
    struct segment_settings settings = quick(2);
    struct train_report report;
    struct metrics metrics;
    struct error err;
    settings.images = 20;
    settings.log = 2;
    assert_ok(train_in("run", &settings, &report, &err), err);
    assert_ok(metrics_read(scratch("run/metrics.jsonl"), &metrics, &err), err);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct metrics_series *series = metrics_find(&metrics, names[i]);
        if (!series)
            fail_msg("no %s", names[i]);
        assert_int_equal(series->count, 2);
        assert_true(isfinite(series->value[1]) && (i >= 4 || series->value[1] >= 0));
    }
    double waited = metrics_find(&metrics, "waited")->value[1];
    assert_true(waited <= metrics_find(&metrics, "seconds")->value[1]);
    metrics_release(&metrics);
    assert_int_equal(path_kind(scratch("run/profile.txt")), PATH_NOTHING);
}

static void a_profile_is_left_when_it_is_asked_for(void **state)
{
    (void)state;
    struct segment_settings settings = quick(2);
    struct train_report report;
    struct error err;
    size_t size;
    settings.images = 8;
    setenv("LETHE_PROFILE", "1", 1);
    bool ok = train_in("run", &settings, &report, &err);
    unsetenv("LETHE_PROFILE");
    assert_ok(ok, err);
    char *profile = file_read(scratch("run/profile.txt"), 1 << 20, &size, &err);
    assert_ok(profile, err);
    assert_contains(profile, "phase main");
    assert_contains(profile, "conv");
    memory_free(profile);
}

static void a_device_that_is_not_there_is_refused_first(void **state)
{
    (void)state;
    struct segment_settings settings = quick(2);
    struct train_report report;
    struct error err;
    struct example_set set = { &store, NULL, store.count };
    struct segment_job job = { .out = scratch("run"),
                               .sets = &set,
                               .set_count = 1,
                               .classes = &classes,
                               .settings = &settings,
                               .dataset = "0123",
                               .device = "abacus" };
    assert_false(segment_train(&job, &report, &err));
    assert_contains(err.message, "there is no device \"abacus\"");
    assert_int_equal(path_kind(scratch("run")), PATH_NOTHING);
}

/* Trains in a process of its own, killed at a call (kill.h); false when it was through before. */
static bool is_killed_at(const char *name, const struct segment_settings *settings,
                         unsigned long call)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct train_report report;
        parallel_set_threads(1);
        kill_at(call);
        _exit(!train_in(name, settings, &report, NULL));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* kill -9 between two steps, while a checkpoint is written, at the very start. Whole files are
 * compared. */
static void a_training_that_is_killed_ends_in_the_same_bytes(void **state)
{
    (void)state;
    enum { KILLS = 12, TRIES = 60 };
    struct segment_settings settings = quick(3);
    struct train_report report;
    struct error err;
    char name[32];
    settings.images = 120;
    settings.checkpoint = 1;
    unsigned long calls = kill_calls();
    assert_ok(train_in("unbroken", &settings, &report, &err), err);
    calls = kill_calls() - calls;
    struct digest unbroken = weights_of(&report);
    int kills = 0, tries = 0, resumed = 0;
    for (int round = 0; kills < KILLS && tries < TRIES; round++) {
        bool hit = true;
        snprintf(name, sizeof name, "killed-%d", round);
        for (int k = 0; hit && k < 4; k++) {
            double share = random_uniform(1, random_stream("kill"), (uint64_t)tries++);
            hit = is_killed_at(name, &settings, 1 + (unsigned long)(share * (double)calls));
            kills += hit;
        }
        assert_ok(train_in(name, &settings, &report, &err), err);
        resumed += report.resumed_at > 0;
        struct digest killed = weights_of(&report);
        assert_true(digest_equal(&unbroken, &killed));
    }
    assert_true(kills >= KILLS && resumed > 0);
}

static void another_run_than_the_folder_s_is_refused(void **state)
{
    (void)state;
    struct segment_settings settings = quick(2);
    struct train_report report;
    struct error err;
    settings.images = 8;
    assert_ok(train_in("run", &settings, &report, &err), err);
    settings.rate = 0.5;
    assert_false(train_in("run", &settings, &report, &err));
    assert_contains(err.message, "asked for is \"rate: 0.5\"");
}

static void a_training_goes_on_with_the_algorithms_it_began_with_alone(void **state)
{
    (void)state;
    struct segment_settings settings = quick(2);
    struct train_report report;
    struct error err;
    settings.images = 8;
    settings.algorithms = ALGORITHMS_FASTEST;
    assert_ok(train_in("run", &settings, &report, &err), err);
    struct segmenter *segmenter = segmenter_open(scratch("run"), 16, 16, "cpu", &err);
    assert_ok(segmenter, err);
    assert_int_equal(segmenter_format(segmenter)->settings.algorithms, ALGORITHMS_FASTEST);
    segmenter_free(segmenter);
    settings.algorithms = ALGORITHMS_DETERMINISTIC;
    assert_false(train_in("run", &settings, &report, &err));
    assert_contains(err.message, "was trained with \"algorithms: fastest\", asked for is "
                                 "\"algorithms: deterministic\"");
}

static void it_learns_and_takes_images_of_any_size(void **state)
{
    (void)state;
    struct segment_settings settings = quick(3);
    struct train_report report;
    struct error err;
    settings.images = 2000;
    settings.base = 8;
    assert_ok(train_in("run", &settings, &report, &err), err);
    const size_t height = 19, width = 23; /* no multiple of the stride, 4 */
    struct segmenter *segmenter = segmenter_open(scratch("run"), height, width, "cpu", &err);
    assert_ok(segmenter, err);
    const struct segmenter_format *format = segmenter_format(segmenter);
    assert_int_equal(format->classes.count, 3);
    assert_int_equal(format->classes.label[2], 4);
    assert_string_equal(format->channel_names[1], "flair");
    static float planes[2 * STORE_PIXELS], larger[2 * 19 * 23];
    example_planes(&store, 0, planes);
    for (size_t c = 0; c < 2; c++) /* the image, with background around it */
        for (size_t y = 0; y < height; y++)
            for (size_t x = 0; x < width; x++)
                larger[(c * height + y) * width + x] =
                    y < STORE_SIDE && x < STORE_SIDE ? planes[(c * STORE_SIDE + y) * STORE_SIDE + x]
                                                     : 0.15f;
    uint8_t found[19 * 23];
    assert_ok(segmenter_predict(segmenter, larger, 1, found, &err), err);
    double both = 0, all = 0;
    for (size_t y = 0; y < STORE_SIDE; y++)
        for (size_t x = 0; x < STORE_SIDE; x++) {
            bool truth = store.masks[y * STORE_SIDE + x], seen = found[y * width + x];
            both += truth && seen;
            all += truth + seen;
        }
    assert_true(2 * both / all > 0.6);
    segmenter_free(segmenter);
}

/* Its stride, 16, and its windows take any image after padding; drop path and dropout are drawn. */
static void swin_trains_is_resumed_and_predicts(void **state)
{
    (void)state;
    struct segment_settings settings = quick(0);
    struct train_report report;
    struct error err;
    settings.model = SEGMENT_SWIN;
    settings.base = 0;
    settings.images = 12;
    assert_ok(train_in("run", &settings, &report, &err), err);
    assert_int_equal(report.step, 3);
    assert_ok(train_in("run", &settings, &report, &err), err); /* nothing left to do */
    assert_int_equal(report.resumed_at, 3);
    struct segmenter *segmenter = segmenter_open(scratch("run"), 16, 16, "cpu", &err);
    assert_ok(segmenter, err);
    static float planes[2 * STORE_PIXELS];
    uint8_t once[STORE_PIXELS], again[STORE_PIXELS];
    example_planes(&store, 1, planes);
    assert_ok(segmenter_predict(segmenter, planes, 1, once, &err), err);
    assert_ok(segmenter_predict(segmenter, planes, 1, again, &err), err);
    assert_memory_equal(once, again, sizeof once); /* nothing is drawn */
    segmenter_free(segmenter);
}

static void what_is_no_segmenter_is_refused(void **state)
{
    (void)state;
    struct error err;
    assert_null(segmenter_open(scratch("nothing"), 16, 16, "cpu", &err));
    assert_contains(err.message, "no checkpoint there");
    write_text(scratch("text"), "not a checkpoint at all");
    assert_null(segmenter_open(scratch("text"), 16, 16, "cpu", &err));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_store, drop_store)
    const struct CMUnitTest tests[] = {
        TEST(image_k_does_not_depend_on_what_was_read_before),
        TEST(channels_have_mean_zero_and_deviation_one),
        TEST(images_are_padded_below_and_to_the_right),
        TEST(shuffled_masks_say_nothing_of_their_images),
        TEST(a_feed_gives_the_examples_that_are_read_without_it),
        TEST(metrics_tell_losses_speed_and_what_was_waited_for),
        TEST(a_profile_is_left_when_it_is_asked_for),
        TEST(a_device_that_is_not_there_is_refused_first),
        TEST(a_training_that_is_stopped_ends_in_the_same_bytes),
        TEST(a_training_that_is_killed_ends_in_the_same_bytes),
        TEST(another_run_than_the_folder_s_is_refused),
        TEST(a_training_goes_on_with_the_algorithms_it_began_with_alone),
        TEST(it_learns_and_takes_images_of_any_size),
        TEST(swin_trains_is_resumed_and_predicts),
        TEST(what_is_no_segmenter_is_refused),
    };
    parallel_set_threads(1); /* tests run side by side: waiting threads would only spin */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
