/* Reading ahead: what arrives is what was asked for, whole and in order, however the two threads
 * meet; and nothing is left behind when reading ends early or never begins. Run under
 * ThreadSanitizer too, where every read of a batch while it is being filled is a failure. */
#include "scratch.h"

#include "base/parallel.h"
#include "fixture.h"
#include "train/batches.h"
#include "train/feed.h"

#include <stdlib.h>
#include <time.h>

enum { COUNT = 3, VALUES = 500, LABELS = 200, STEPS = 200 };

/* A source whose values tell where they belong. Only the reading thread touches `reads`. */
struct numbers {
    size_t reads;
    long slow; /* nanoseconds a read takes at least */
    bool many; /* by the team */
};

struct part {
    uint64_t first;
    float *images;
    int32_t *labels;
};

static float value_of(uint64_t image, size_t i)
{
    return (float)(image * 7 + i);
}

static int32_t label_of(uint64_t image, size_t i)
{
    return (int32_t)(image * 11 + i);
}

static void fill_image(void *context, size_t place)
{
    const struct part *part = context;
    for (size_t i = 0; i < VALUES; i++)
        part->images[place * VALUES + i] = value_of(part->first + place, i);
    for (size_t i = 0; part->labels && i < LABELS; i++)
        part->labels[place * LABELS + i] = label_of(part->first + place, i);
}

static void read_numbers(void *context, uint64_t first, size_t count, float *images,
                         int32_t *labels)
{
    struct numbers *numbers = context;
    struct part part = { first, images, labels };
    if (numbers->slow)
        nanosleep(&(struct timespec){ .tv_nsec = numbers->slow }, NULL);
    if (numbers->many)
        parallel_items(count, fill_image, &part);
    for (size_t i = 0; !numbers->many && i < count; i++)
        fill_image(&part, i);
    numbers->reads++;
}

static struct feed_source source_of(struct numbers *numbers, bool labels)
{
    return (struct feed_source){ .context = numbers,
                                 .read = read_numbers,
                                 .values = VALUES,
                                 .labels = labels ? LABELS : 0,
                                 .team = numbers->many };
}

static struct feed *open_feed(const struct feed_source *source, uint64_t first)
{
    struct error err;
    struct feed *feed = feed_open(source, first, COUNT, &err);
    assert_ok(feed, err);
    return feed;
}

static void check_batch(const struct feed *feed, const float *images, uint64_t first, bool labels)
{
    assert_true((feed_labels(feed) != NULL) == labels);
    for (size_t n = 0; n < COUNT; n++) {
        for (size_t i = 0; i < VALUES; i++)
            assert_float_equal(images[n * VALUES + i], value_of(first + n, i), 0);
        for (size_t i = 0; labels && i < LABELS; i++)
            assert_int_equal(feed_labels(feed)[n * LABELS + i], label_of(first + n, i));
    }
}

/* Reader faster than the steps, steps faster than the reader; the first batch need not be 0. */
static void batches_arrive_whole_and_in_order(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        bool labels = kind & 1, slow = kind & 2;
        struct numbers numbers = { .slow = slow ? 200000 : 0 };
        struct feed_source source = source_of(&numbers, labels);
        struct feed *feed = open_feed(&source, 1000);
        for (uint64_t step = 0; step < STEPS; step++) {
            const float *images = feed_next(feed);
            if (!slow)
                nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
            check_batch(feed, images, 1000 + step * COUNT, labels);
        }
        assert_true(feed_waited(feed) >= 0);
        feed_close(feed);
        assert_in_range(numbers.reads, STEPS, STEPS + 1); /* one ahead, never more */
    }
}

enum { ITEMS = 8 };
struct sums {
    const float *images;
    double of[ITEMS];
};

static void add_up(void *context, size_t item)
{
    struct sums *sums = context;
    for (size_t i = item; i < COUNT * VALUES; i += ITEMS)
        sums->of[item] += (double)sums->images[i];
}

/* As beside a GPU: the reader has a team, while the step has its own. */
static void reader_and_step_may_both_have_a_team(void **state)
{
    (void)state;
    for (int alone = 0; alone < 2; alone++) {
        struct numbers numbers = { .many = true };
        struct feed_source source = source_of(&numbers, true);
        source.team = !alone;
        struct feed *feed =
            open_feed(&source, 0); /* before anybody asked how many cores there are */
        static const float ones[COUNT * VALUES] = { 1 };
        struct sums before = { .images = ones };
        parallel_items(ITEMS, add_up, &before); /* while the first batch is read */
        for (uint64_t step = 0; step < STEPS; step++) {
            const float *images = feed_next(feed);
            struct sums sums = { .images = images };
            parallel_items(ITEMS, add_up, &sums);
            assert_true(sums.of[0] > 0);
            check_batch(feed, images, step * COUNT, true);
        }
        feed_close(feed);
    }
}

static void a_feed_may_be_closed_at_any_time(void **state)
{
    (void)state;
    for (int taken = 0; taken < 4; taken++)
        for (long slow = 0; slow <= 2000000; slow += 1000000) {
            struct numbers numbers = { .slow = slow };
            struct feed_source source = source_of(&numbers, true);
            struct feed *feed = open_feed(&source, 0);
            for (int step = 0; step < taken; step++)
                check_batch(feed, feed_next(feed), (uint64_t)(step * COUNT), true);
            feed_close(feed); /* waits for a read that has begun */
            size_t reads = numbers.reads;
            assert_in_range(reads, (size_t)taken, (size_t)taken + 1);
        }
    feed_close(NULL);
}

static void without_memory_nothing_is_read(void **state)
{
    (void)state;
    for (int labels = 0; labels < 2; labels++) {
        struct error err;
        struct numbers numbers = { 0 };
        struct feed_source source = source_of(&numbers, true);
        *(labels ? &source.labels : &source.values) = SIZE_MAX / 2;
        assert_null(feed_open(&source, 0, 1, &err));
        assert_contains(err.message, labels ? "a batch of labels" : "a batch of images");
        assert_int_equal(numbers.reads, 0);
    }
}

static void more_than_can_be_counted_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct numbers numbers = { 0 };
    struct feed_source source = source_of(&numbers, false);
    source.values = (size_t)1 << 40;
    assert_null(feed_open(&source, 0, (size_t)1 << 40, &err)); /* 2^80, which wraps around to 0 */
    assert_contains(err.message, "a batch of images");
    assert_int_equal(numbers.reads, 0);
}

/* The store's own reader, across epochs, against reading without a feed. */
static void images_are_those_of_the_store(void **state)
{
    (void)state;
    enum { SIDE = 8, CHANNELS = 3, IMAGE = CHANNELS * SIDE * SIDE, BATCH = 4, BATCHES = 30 };
    static float expected[BATCHES * BATCH * IMAGE];
    struct error err;
    struct fixture fixture = {
        .count = 10, .channels = CHANNELS - 1, .height = SIDE, .width = SIDE, .masks = 1
    };
    struct batches_options options = { .masks = true, .mirror = true, .seed = 3 };
    assert_ok(fixture_write(&fixture, scratch("store"), &err), err);
    struct batches *direct = batches_open(scratch("store"), &options, &err);
    assert_ok(direct, err);
    struct batches *ahead = batches_open(scratch("store"), &options, &err);
    assert_ok(ahead, err);
    batches_read(direct, 5, BATCHES * BATCH, expected);
    struct feed_source source = batches_feed(ahead);
    struct feed *feed = feed_open(&source, 5, BATCH, &err);
    assert_ok(feed, err);
    for (size_t i = 0; i < BATCHES; i++)
        assert_memory_equal(feed_next(feed), expected + i * BATCH * IMAGE,
                            BATCH * IMAGE * sizeof *expected);
    feed_close(feed);
    batches_free(ahead);
    batches_free(direct);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader_and_step_may_both_have_a_team), /* first, see there */
        cmocka_unit_test(batches_arrive_whole_and_in_order),
        cmocka_unit_test(a_feed_may_be_closed_at_any_time),
        cmocka_unit_test(without_memory_nothing_is_read),
        cmocka_unit_test(more_than_can_be_counted_is_refused),
        cmocka_unit_test_setup_teardown(images_are_those_of_the_store, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
