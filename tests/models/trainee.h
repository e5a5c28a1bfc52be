/* A model of tests/parity in training on a backend, for tests that compare backends.
 *
 * Images are those of cases.py: labels in squares, each brighter in a channel of its own, for
 * segmenters; uniform noise for generators. All that is random is a function of the step, so two
 * trainees of one case are shown the same.
 */
#ifndef TESTS_MODELS_TRAINEE_H
#define TESTS_MODELS_TRAINEE_H

#include "case.h"

#include "tensor/compare.h"

enum { TRAINEE_SEED = 7, SQUARE = 4, CLASSES = 4, SHOWN = 2 };

/* Networks that have a little of everything, as settings of cases. */
#define SMALL_UNET "{\"size\": 24, \"channels\": 3, \"classes\": 4, \"base\": 4, \"levels\": 3}"
#define SMALL_SWIN                                                                                 \
    "{\"size\": 32, \"channels\": 3, \"classes\": 4, \"embed\": 8, \"depths\": [2, 1, 1, 1], "     \
    "\"heads\": [1, 2, 2, 4], \"window\": 3, \"patch\": 2, \"width\": 8}"
#define SMALL_DDPM                                                                                 \
    "{\"size\": 8, \"channels\": 3, \"base\": 32, \"mult\": [1, 2], \"blocks\": 1, "               \
    "\"attention\": [4], \"heads\": 2}"
#define SMALL_PROGAN                                                                               \
    "{\"resolution\": 16, \"side\": 8, \"fading\": true, \"channels\": 3, \"z_width\": 8, "        \
    "\"channel_base\": 64, \"channel_max\": 8}"
#define SMALL_STYLEGAN                                                                             \
    "{\"resolution\": 16, \"side\": 8, \"fading\": false, \"channels\": 3, \"z_width\": 8, "       \
    "\"w_width\": 8, \"channel_base\": 64, \"channel_max\": 8}"
#define SMALL_STYLEGAN2                                                                            \
    "{\"resolution\": 8, \"channels\": 3, \"z_width\": 8, \"w_width\": 8, \"channel_base\": 64, "  \
    "\"channel_max\": 8}"
#define SMALL_STYLEGAN3                                                                            \
    "{\"resolution\": 8, \"channels\": 3, \"z_width\": 8, \"w_width\": 8, \"layers\": 3, "         \
    "\"channel_base\": 64, \"channel_max\": 4}"

struct trainee {
    struct parity_case of;
    struct store *store;
    struct plan *plans[RECIPE_PHASES];
};

static inline void trainee_init(struct trainee *trainee, const struct backend *backend,
                                enum precision precision, const char *name, const char *text,
                                const struct case_options *options)
{
    struct error err;
    struct json *settings = json_parse(text, strlen(text), name, &err);
    assert_ok(settings, err);
    *trainee = (struct trainee){ .store = store_new(backend) };
    assert_ok(case_open(&trainee->of, name, settings, options, &err), err);
    json_free(settings);
    assert_ok(store_set_precision(trainee->store, precision, &err), err);
    struct plan *first = training_plan_initial(&trainee->of.training, trainee->store, &err);
    assert_ok(first && plan_run(first, 0, TRAINEE_SEED, &err), err);
    plan_free(first);
    for (int i = 0; i < trainee->of.training.phase_count; i++) {
        trainee->plans[i] = training_plan(&trainee->of.training, i, trainee->store, &err);
        assert_ok(trainee->plans[i], err);
    }
}

static inline void trainee_release(struct trainee *trainee)
{
    for (int i = 0; i < trainee->of.training.phase_count; i++)
        plan_free(trainee->plans[i]);
    store_free(trainee->store);
    case_close(&trainee->of);
}

/* The label of a pixel, of an image of a step. */
static inline int32_t trainee_label(int64_t side, int step, int64_t image, int64_t y, int64_t x)
{
    int64_t squares = side / SQUARE;
    uint64_t at = (uint64_t)((image * squares + y / SQUARE) * squares + x / SQUARE);
    return (int32_t)random_below(5, (uint64_t)step, at, CLASSES);
}

static inline void trainee_labels(const struct node *labels, int step, int32_t *value)
{
    int64_t side = labels->shape.size[1];
    for (int64_t i = 0; i < (int64_t)shape_count(labels->shape); i++)
        value[i] = trainee_label(side, step, i / (side * side), i / side % side, i % side);
}

static inline void trainee_images(const struct training *training, int step, float *value)
{
    const struct shape *shape = &training->real->shape;
    int64_t channels = shape->size[1], side = shape->size[2], count = (int64_t)shape_count(*shape);
    if (training->labels)
        random_fill_normal(6, (uint64_t)step, 0, (size_t)count, value);
    for (int64_t i = 0; i < count; i++) {
        int64_t image = i / (channels * side * side), channel = i / (side * side) % channels;
        if (!training->labels)
            value[i] = (float)(2 * random_uniform(6, (uint64_t)step, (uint64_t)i) - 1);
        else if (trainee_label(side, step, image, i / side % side, i % side) % channels == channel)
            value[i] += SHOWN;
    }
}

/* Other images and labels at each step; rate or decay as they are scheduled; what fades in at
 * shares from a quarter to all. */
static inline void trainee_write(struct trainee *trainee, int phase, int step)
{
    const struct training *training = &trainee->of.training;
    for (size_t id = 0; id < graph_size(training->graph); id++) {
        const struct node *node = graph_node(training->graph, id);
        if (node->op != OP_INPUT)
            continue;
        float *host = calloc(shape_count(node->shape), sizeof *host);
        if (node == training->real)
            trainee_images(training, step, host);
        else if (node == training->labels)
            trainee_labels(node, step, (int32_t *)(void *)host);
        else if (node == training->scheduled)
            *host = (float)training->schedule(training, (uint64_t)step);
        else if (node == training->alpha)
            *host = 0.25f * (float)(step % 4 + 1);
        else
            assert_ptr_equal(node, training->later);
        plan_write(trainee->plans[phase], node, host);
        free(host);
    }
}

static inline void trainee_run(struct trainee *trainee, int phase, int step)
{
    struct error err;
    trainee_write(trainee, phase, step);
    assert_ok(plan_run(trainee->plans[phase], (uint64_t)step, TRAINEE_SEED, &err), err);
}

static inline float trainee_term(struct trainee *trainee, int phase, int term)
{
    float value;
    struct error err;
    const struct node *node = trainee->of.training.phases[phase].terms[term].value;
    plan_read(trainee->plans[phase], node, &value);
    assert_ok(plan_check(trainee->plans[phase], &err), err);
    return value;
}

/* All that is stored: weights, moments, averages. */
static inline void trainee_same_bits(const struct trainee *trainee, const struct trainee *expected)
{
    assert_true(store_count(expected->store) > 0);
    for (size_t i = 0; i < store_count(expected->store); i++) {
        const struct tensor *tensor = store_tensor(expected->store, i);
        size_t count = shape_count(tensor->shape);
        float *bits = calloc(count, sizeof *bits), *value = calloc(count, sizeof *value);
        store_read(expected->store, tensor, bits);
        store_read(trainee->store, store_find(trainee->store, tensor->name), value);
        if (memcmp(bits, value, count * sizeof *value) != 0)
            fail_msg("%s has other bits", tensor->name);
        free(bits);
        free(value);
    }
}

#endif
