/* Fifty steps of training: losses and weights on one backend beside those on another, from the same
 * weights, with the same images and draws.
 *
 * The CPU backend is held against the reference here, and compiled for another backend (a device,
 * real or emulated) that one against the CPU's. Each network is trained in f32 and in bf16, the
 * latter beside f32: what training makes of the rounding.
 *
 * Training enlarges rounding, so measures are those of tests/parity/models_parity.c: a loss's
 * largest difference over the steps as a share of how far that loss moved; the weights' difference
 * after them as a share of how far they moved, both in root mean squares, next to which a wrong
 * decay or moment shows. In bf16 a loss's difference is a share of the loss itself. Learning rates
 * are the small ones of cases.py, for its reasons. Training in which no loss moves by 3 % of itself
 * would test little, and fails. All figures are printed beside what is allowed.
 */
#include "trainee.h"

#include "base/parallel.h"

#ifndef CURVE_STEPS
#ifdef LETHE_SANITIZED /* where the reference takes minutes */
#define CURVE_STEPS 8
#else
#define CURVE_STEPS 50
#endif
#endif
enum { STEPS = CURVE_STEPS, MANY_STEPS = 20, TERMS = RECIPE_PHASES * RECIPE_TERMS };
static const double LEAST_MOVED = 0.03; /* in many steps */

/* The other backend: what is trusted more. */
static const struct backend *other_backend(void)
{
    return PAIR_BACKEND == &cpu_backend ? &ref_backend : &cpu_backend;
}

/* How far apart a network may be: a loss, of what it moved by, and the weights likewise; in bf16 a
 * loss of itself, and the weights. */
struct allowed {
    double curve, trained, low_curve, low_trained;
};

static const struct lesson {
    const char *network, *settings;
    int batch;
    double rate;
    struct allowed allowed;
} lessons[] = {
#ifdef PAIR_LARGE
    { "unet",
      "{\"size\": 64, \"channels\": 4, \"classes\": 4, \"base\": 16, \"levels\": 4}",
      4,
      0.03,
      { 2e-1, 5e-2, 0.05, 0.5 } },
    { "swin",
      "{\"size\": 64, \"channels\": 4, \"classes\": 4, \"embed\": 32, \"depths\": [2, 2, 2, 2], "
      "\"heads\": [2, 4, 8, 16], \"window\": 4, \"patch\": 2, \"width\": 64}",
      4,
      1,
      { 5e-3, 2e-2, 0.05, 0.2 } },
    { "ddpm",
      "{\"size\": 32, \"channels\": 5, \"base\": 64, \"mult\": [1, 2], \"blocks\": 1, "
      "\"attention\": [16], \"heads\": 2}",
      4,
      1,
      { 5e-4, 5e-3, 0.05, 0.2 } },
    { "stylegan2",
      "{\"resolution\": 32, \"channels\": 5, \"z_width\": 64, \"w_width\": 64, \"channel_base\": "
      "1024, \"channel_max\": 64}",
      8,
      0.01, /* at .05, weights moved by 2e-7 of themselves move R1 by a tenth of its way */
      { 5e-2, 2e-2, 0.5, 0.2 } },
    { "progan",
      "{\"resolution\": 16, \"side\": 16, \"fading\": true, \"channels\": 5, \"z_width\": 32, "
      "\"channel_base\": 128, \"channel_max\": 16}",
      8,
      0.2,
      { 2e-3, 5e-3, 0.2, 0.2 } },
    { "stylegan",
      "{\"resolution\": 16, \"side\": 16, \"fading\": true, \"channels\": 5, \"z_width\": 32, "
      "\"w_width\": 32, \"channel_base\": 128, \"channel_max\": 16}",
      8,
      0.05, /* at .2 the normalisation of few pixels sends R1 a tenth of its way off */
      { 5e-3, 1e-2, 0.2, 0.1 } },
    { "stylegan3",
      "{\"resolution\": 16, \"channels\": 5, \"z_width\": 32, \"w_width\": 32, \"layers\": 5, "
      "\"channel_base\": 128, \"channel_max\": 8}",
      4,
      0.05,
      { 1e-2, 2e-2, 0.5, 0.1 } },
#else
    { "unet",
      "{\"size\": 16, \"channels\": 2, \"classes\": 4, \"base\": 4, \"levels\": 3}",
      2,
      0.03,
      { 1e-2, 1e-2, 0.05, 0.5 } },
    { "swin",
      "{\"size\": 16, \"channels\": 2, \"classes\": 4, \"embed\": 16, \"depths\": [2, 1, 1, 1], "
      "\"heads\": [1, 2, 4, 8], \"window\": 4, \"patch\": 2, \"width\": 4}",
      2,
      1, /* at 5, weights moved by 1e-7 of themselves end up a hundredth of their way off */
      { 5e-4, 2e-3, 0.2, 0.2 } },
    { "ddpm",
      "{\"size\": 4, \"channels\": 2, \"base\": 64, \"mult\": [1, 1], \"blocks\": 1, \"attention\": "
      "[2], \"heads\": 2}",
      2,
      1,
      { 5e-4, 2e-3, 0.05, 0.2 } },
    { "stylegan2",
      "{\"resolution\": 8, \"channels\": 2, \"z_width\": 8, \"w_width\": 8, \"channel_base\": 64, "
      "\"channel_max\": 8}",
      4,
      0.2,
      { 1e-2, 1e-2, 0.5, 0.2 } },
#endif
};

/* ---- trainees -------------------------------------------------------------------------------- */

enum { OTHER, SAME, LOW, PUPILS }; /* the other backend's; ours in f32; ours in bf16 */

struct pupils {
    const struct lesson *lesson;
    struct trainee of[PUPILS];
    int count; /* less where there is no bf16 */
    int bad;
};

static float *tensor_values(const struct trainee *trainee, const char *name, size_t *count)
{
    const struct tensor *tensor = store_find(trainee->store, name);
    assert_non_null(tensor);
    *count = shape_count(tensor->shape);
    float *values = calloc(*count, sizeof *values);
    store_read(trainee->store, tensor, values);
    return values;
}

/* Into all that have such a tensor. */
static void tensor_write(struct pupils *pupils, const char *name, const float *values)
{
    for (int p = 0; p < pupils->count; p++) {
        struct tensor *tensor = store_find(pupils->of[p].store, name);
        if (tensor)
            store_write(pupils->of[p].store, tensor, values);
    }
}

/* All begin alike, and nothing is zero: zero-initialised layers would hide their errors. A running
 * average begins as what it is the average of. */
static void begin_alike(struct pupils *pupils)
{
    const struct trainee *from = &pupils->of[OTHER];
    const struct graph *graph = from->of.training.graph;
    size_t count;
    for (size_t i = 0; i < store_count(from->store); i++) {
        const char *name = store_tensor(from->store, i)->name;
        float *values = tensor_values(from, name, &count);
        tensor_write(pupils, name, values);
        free(values);
    }
    for (size_t id = 0, number = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        char average[512];
        if (node->op != OP_PARAMETER || !node->leaf.trainable)
            continue;
        number++;
        float *values = tensor_values(from, node->leaf.name, &count);
        for (size_t k = 0; k < count; k++)
            values[k] += 0.05F * (float)random_normal(9, number, k);
        snprintf(average, sizeof average, "average.%s", node->leaf.name);
        tensor_write(pupils, node->leaf.name, values);
        tensor_write(pupils, average, values);
        free(values);
    }
}

static bool has_bf16(const struct backend *backend)
{
    struct error err;
    struct store *store = store_new(backend);
    bool has = store_set_precision(store, PRECISION_BF16, &err);
    store_free(store);
    if (!has)
        print_message("bf16 is left out: %s\n", err.message);
    return has;
}

static void pupils_init(struct pupils *pupils, const struct lesson *lesson)
{
    struct case_options options = {
        .batch = lesson->batch, .steps = STEPS, .rate = lesson->rate, .path = true
    };
    *pupils = (struct pupils){ .lesson = lesson, .count = has_bf16(PAIR_BACKEND) ? PUPILS : LOW };
    for (int p = 0; p < pupils->count; p++)
        trainee_init(&pupils->of[p], p == OTHER ? other_backend() : PAIR_BACKEND,
                     p == LOW ? PRECISION_BF16 : PRECISION_F32, lesson->network, lesson->settings,
                     &options);
    begin_alike(pupils);
}

static void pupils_release(struct pupils *pupils)
{
    for (int p = 0; p < pupils->count; p++)
        trainee_release(&pupils->of[p]);
}

static void tell(struct pupils *pupils, int pupil, const char *what, double value, double allowed)
{
    bool ok = value <= allowed; /* false for NaN, too */
    print_message("%-10s %-4s %-40s difference %-8.2g at most %-6.0g %s\n", pupils->lesson->network,
                  pupil == LOW ? "bf16" : "f32", what, value, allowed, ok ? "ok" : "DIFFERS");
    pupils->bad += !ok;
}

/* ---- losses ---------------------------------------------------------------------------------- */

/* The other's values over the steps, and how far ours were from them at most. */
struct curve {
    double least, most, largest, difference[PUPILS];
};

static void curve_add(struct curve *curve, struct pupils *pupils, int step, int phase, int term)
{
    double expected = (double)trainee_term(&pupils->of[OTHER], phase, term);
    curve->least = step ? fmin(curve->least, expected) : expected;
    curve->most = step ? fmax(curve->most, expected) : expected;
    curve->largest = fmax(curve->largest, fabs(expected));
    for (int p = SAME; p < pupils->count; p++) {
        double off = fabs((double)trainee_term(&pupils->of[p], phase, term) - expected);
        curve->difference[p] = isfinite(off) ? fmax(curve->difference[p], off) : INFINITY;
    }
}

static void train(struct pupils *pupils, struct curve *curves)
{
    const struct training *training = &pupils->of[OTHER].of.training;
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < training->phase_count; i++) {
            for (int p = 0; p < pupils->count; p++)
                trainee_run(&pupils->of[p], i, step);
            for (int k = 0; k < training->phases[i].term_count; k++)
                curve_add(&curves[i * RECIPE_TERMS + k], pupils, step, i, k);
        }
}

/* The norm of a gradient is no loss, and in bf16 says little (docs/engine.md). */
static void check_curve(struct pupils *pupils, const char *name, const struct curve *curve,
                        double *most_moved)
{
    double moved = curve->most - curve->least, share = moved / curve->largest;
    bool norm = strcmp(name, "gradient_norm") == 0;
    char what[80];
    snprintf(what, sizeof what, "%s, which moved by %.1f %%", name, 100 * share);
    tell(pupils, SAME, what, curve->difference[SAME] / moved, pupils->lesson->allowed.curve);
    if (norm)
        return;
    *most_moved = fmax(*most_moved, share);
    if (pupils->count > LOW)
        tell(pupils, LOW, name, curve->difference[LOW] / curve->largest,
             pupils->lesson->allowed.low_curve);
}

static void check_curves(struct pupils *pupils, const struct curve *curves)
{
    const struct training *training = &pupils->of[OTHER].of.training;
    double most_moved = 0;
    for (int i = 0; i < training->phase_count; i++)
        for (int k = 0; k < training->phases[i].term_count; k++)
            check_curve(pupils, training->phases[i].terms[k].name, &curves[i * RECIPE_TERMS + k],
                        &most_moved);
    if (STEPS >= MANY_STEPS && most_moved < LEAST_MOVED)
        fail_msg("%s: no loss moved by 3 %% of itself: this tests little", pupils->lesson->network);
}

/* ---- weights --------------------------------------------------------------------------------- */

/* The other's tensors before a training. */
struct before {
    float **values;
    size_t count;
};

static struct before before_init(const struct trainee *trainee)
{
    size_t count, tensors = store_count(trainee->store);
    struct before before = { calloc(tensors, sizeof(float *)), tensors };
    for (size_t i = 0; i < tensors; i++)
        before.values[i] = tensor_values(trainee, store_tensor(trainee->store, i)->name, &count);
    return before;
}

static void before_release(struct before *before)
{
    for (size_t i = 0; i < before->count; i++)
        free(before->values[i]);
    free(before->values);
}

/* Sum of the squares of how far a tensor is from what it is in `from`, or was. */
static double apart(const struct trainee *trainee, const struct trainee *from, const float *before,
                    const char *name)
{
    size_t count;
    double sum = 0;
    float *value = tensor_values(trainee, name, &count);
    float *expected = from ? tensor_values(from, name, &count) : NULL;
    for (size_t k = 0; k < count; k++) {
        double off = (double)value[k] - (double)(expected ? expected[k] : before[k]);
        sum += off * off;
    }
    free(value);
    free(expected);
    return sum;
}

/* Networks' own tensors, and running averages of them, which move too little to be a measure. */
static void check_weights(struct pupils *pupils, const struct before *before, int pupil)
{
    const struct trainee *other = &pupils->of[OTHER], *one = &pupils->of[pupil];
    const struct allowed *allowed = &pupils->lesson->allowed;
    double most = pupil == LOW ? allowed->low_trained : allowed->trained;
    double moved = 0, weights = 0, averages = -1;
    for (size_t i = 0; i < before->count; i++) {
        const char *name = store_tensor(other->store, i)->name;
        if (strncmp(name, "average.", 8) == 0)
            averages = fmax(averages, 0) + apart(one, other, NULL, name);
        else if (case_owns(&other->of, name)) {
            weights += apart(one, other, NULL, name);
            moved += apart(other, NULL, before->values[i], name);
        }
    }
    tell(pupils, pupil, "weights, of how far they moved", sqrt(weights / moved), most);
    if (averages >= 0)
        tell(pupils, pupil, "their averages, likewise", sqrt(averages / moved), most);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void check_lesson(const char *network)
{
    const struct lesson *lesson = lessons;
    struct curve curves[TERMS] = { 0 };
    struct pupils pupils;
    while (strcmp(lesson->network, network) != 0)
        lesson++;
    pupils_init(&pupils, lesson);
    struct before before = before_init(&pupils.of[OTHER]);
    train(&pupils, curves);
    check_curves(&pupils, curves);
    for (int p = SAME; p < pupils.count; p++)
        check_weights(&pupils, &before, p);
    before_release(&before);
    pupils_release(&pupils);
    if (pupils.bad)
        fail_msg("%s: %d differ, see above", network, pupils.bad);
}

static void the_unet_goes_the_same_way(void **state)
{
    (void)state;
    check_lesson("unet");
}

static void swin_goes_the_same_way(void **state)
{
    (void)state;
    check_lesson("swin");
}

static void ddpm_with_attention_goes_the_same_way(void **state)
{
    (void)state;
    check_lesson("ddpm");
}

static void stylegan2_with_r1_and_path_length_goes_the_same_way(void **state)
{
    (void)state;
    check_lesson("stylegan2");
}

#ifdef PAIR_LARGE
static void progan_goes_the_same_way_while_it_fades_in(void **state)
{
    (void)state;
    check_lesson("progan");
}

static void stylegan_goes_the_same_way_while_it_fades_in(void **state)
{
    (void)state;
    check_lesson("stylegan");
}

static void stylegan3_goes_the_same_way(void **state)
{
    (void)state;
    check_lesson("stylegan3");
}
#endif

/* An argument is a pattern: only tests whose names it fits. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unet_goes_the_same_way),
        cmocka_unit_test(swin_goes_the_same_way),
        cmocka_unit_test(ddpm_with_attention_goes_the_same_way),
        cmocka_unit_test(stylegan2_with_r1_and_path_length_goes_the_same_way),
#ifdef PAIR_LARGE
        cmocka_unit_test(progan_goes_the_same_way_while_it_fades_in),
        cmocka_unit_test(stylegan_goes_the_same_way_while_it_fades_in),
        cmocka_unit_test(stylegan3_goes_the_same_way),
#endif
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
#ifndef PAIR_LARGE
    parallel_set_threads(1); /* tests run side by side: waiting threads would only spin */
#endif
    return cmocka_run_group_tests_name("models/curves", tests, NULL, NULL);
}
