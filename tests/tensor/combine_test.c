/* What a backend does at once (combine.h) is what the reference does in steps: biases in products,
 * attention in one kernel; with either switched off, and where a library refuses. For backends that
 * combine: the emulated device, and a GPU (tests/gpu). */
#include "compare.h"

#include "models/ddpm.h"
#include "models/swin.h"
#include "nn/layer.h"

#include <stdlib.h>

/* Normalised mean square errors; in bf16 of what attention sends back, for which weights and their
 * gradients are rounded, too, and of whole networks, with layers upon layers that round. */
static const double SINGLE = 1e-10, HALF = 3e-5, SENT = 2e-4, DEEP = 3e-4;

/* OWN: attention, but by no library. */
enum { BIAS = 1, ATTENTION = 2, OWN = 4, FILTERS = 8 };

static void allow(int allowed)
{
    setenv("LETHE_FUSED_BIAS", allowed & BIAS ? "1" : "0", 1);
    setenv("LETHE_FUSED_FILTERS", allowed & FILTERS ? "1" : "0", 1);
    setenv("LETHE_FUSED_ATTENTION", allowed & OWN ? "own" : allowed & ATTENTION ? "1" : "0", 1);
}

static bool recorded = true; /* as far as the device is asked to refuse */

static bool records(void)
{
    const char *wanted = getenv("LETHE_RECORD");
    return recorded && !(wanted && strcmp(wanted, "0") == 0);
}

/* Small numbers for all parameters, zeros included, so that nothing is multiplied away. */
static void fill_parameters(struct store *store)
{
    for (size_t i = 0; i < store_count(store); i++) {
        struct tensor *tensor = store_tensor(store, i);
        size_t count = shape_count(tensor->shape);
        float *value = memory_grow(NULL, count, sizeof *value);
        random_fill_normal(29, i, 0, count, value);
        for (size_t k = 0; k < count; k++)
            value[k] *= tensor->shape.rank > 1 ? 0.2F : 0.5F;
        store_write(store, tensor, value);
        free(value);
    }
}

/* The output of three runs, the last of which a recording replays; until pair_release. */
static float *result_of(struct pair *pair, const struct backend *backend, enum precision precision,
                        struct node *y, size_t *steps)
{
    struct error err;
    struct store *store = store_new(backend);
    if (precision != PRECISION_F32)
        assert_ok(store_set_precision(store, precision, &err), err);
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    assert_ok(plan, err);
    fill_parameters(store);
    for (int run = 0; run < 3; run++) {
        pair_write(pair, plan, run == 1);
        assert_ok(plan_run(plan, 3, 1, &err), err);
    }
    assert_int_equal(plan_is_replayed(plan), backend->recorder && records());
    assert_int_equal(plan_refusal(plan) != NULL, backend->recorder && !records());
    float *result = arena_array(&pair->arena, float, shape_count(y->shape));
    plan_read(plan, y, result);
    assert_ok(plan_check(plan, &err), err);
    *steps = plan_kernels(plan);
    plan_free(plan);
    store_free(store);
    return result;
}

static void agree(const float *value, const float *expected, struct node *y, double tolerance,
                  const char *what)
{
    double error = pair_error(value, expected, shape_count(y->shape));
    if (!(error <= tolerance))
        fail_msg("%s: a normalised mean square error of %.3g", what, error);
}

/* With everything allowed and with nothing the output is the reference's; `fewer`: and the first
 * takes fewer steps (else as many). */
static void expect_within(struct pair *pair, struct node *y, enum precision precision, int what,
                          bool fewer, double tolerance, const char *name)
{
    size_t plain, combined, unused;
    float *expected = result_of(pair, &ref_backend, PRECISION_F32, y, &unused);
    allow(0);
    agree(result_of(pair, PAIR_BACKEND, precision, y, &plain), expected, y, tolerance, name);
    allow(what);
    agree(result_of(pair, PAIR_BACKEND, precision, y, &combined), expected, y, tolerance, name);
    if (what & ATTENTION && precision == PRECISION_BF16) { /* in f32 no library takes it */
        allow(what | OWN);
        agree(result_of(pair, PAIR_BACKEND, precision, y, &unused), expected, y, tolerance, name);
        if (combined != unused)
            fail_msg("%s: %zu steps with libraries, %zu without", name, combined, unused);
    }
    allow(BIAS | ATTENTION | FILTERS);
    if (fewer ? combined >= plain : combined != plain)
        fail_msg("%s: %zu steps, and %zu without combining", name, combined, plain);
}

static void expect(struct pair *pair, struct node *y, enum precision precision, int what,
                   bool fewer, const char *name)
{
    expect_within(pair, y, precision, what, fewer, precision == PRECISION_F32 ? SINGLE : HALF,
                  name);
}

/* Biases. */

/* A slice has to lie in memory, so the sum before it does. */
static struct node *linear_layer(struct pair *pair, struct shape x, int64_t outputs)
{
    struct node *y = nn_linear(pair_input(pair, x, NORMAL), "fc", outputs);
    return t_slice(y, -1, 1, outputs);
}

static void check_bias(enum precision precision, bool fewer)
{
    static const struct {
        struct shape x;
        int64_t outputs;
    } cases[] = { { { 2, { 7, 12 } }, 5 },
                  { { 2, { 1, 12 } }, 8 },
                  { { 2, { 9, 1 } }, 6 },
                  { { 3, { 2, 40, 48 } }, 64 },
                  { { 2, { 40, 33 } }, 130 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair pair;
        pair_init(&pair);
        struct node *y = linear_layer(&pair, cases[i].x, cases[i].outputs);
        expect(&pair, y, precision, BIAS, fewer, "linear");
        pair_release(&pair);
    }
}

static void a_product_takes_its_bias_along(void **state)
{
    (void)state;
    check_bias(PRECISION_F32, true);
}

static void a_product_in_bf16_takes_its_bias_along(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *y = linear_layer(&pair, SHAPE(2, 40, 48), 64);
    expect(&pair, t_permute(y, 0, 2, 1), PRECISION_BF16, BIAS, false, "linear");
    pair_release(&pair);
}

#ifdef TESTS_CUDA_EMULATION_H
static void a_run_that_cannot_be_recorded_goes_on_in_steps(void **state)
{
    (void)state;
    emulation_refuse_recording(true);
    recorded = false;
    check_bias(PRECISION_F32, true);
    recorded = true;
    emulation_refuse_recording(false);
}

/* By libraries as emulation_libraries.c has them: none for padding that differs, or for sums of
 * one product; planes alone for f32 images of an odd number of channels. */
static void what_libraries_do_not_take_is_told_of(void **state)
{
    (void)state;
    struct error err;
    struct pair pair;
    char *told;
    size_t length;
    pair_init(&pair);
    struct node *even = pair_input(&pair, SHAPE(1, 4, 6, 6), NORMAL),
                *odd = pair_input(&pair, SHAPE(1, 3, 6, 6), NORMAL),
                *w = pair_input(&pair, SHAPE(2, 4, 3, 3), NORMAL),
                *v = pair_input(&pair, SHAPE(2, 3, 3, 3), NORMAL),
                *column = pair_input(&pair, SHAPE(5, 1), NORMAL),
                *row = pair_input(&pair, SHAPE(1, 4), NORMAL);
    struct node *y[] = { t_conv(even, w, .pad = 1), t_conv(even, w, .pads = { { 0, 1 }, { 1, 1 } }),
                         t_conv(odd, v, .pad = 1), t_matmul(column, row) };
    struct store *store = store_new(PAIR_BACKEND);
    struct plan *plan = plan_create(store, y, 4, NULL, 0, &err);
    assert_ok(plan, err);
    FILE *file = open_memstream(&told, &length);
    assert_int_equal(plan_makeshifts(plan, file), 3);
    fclose(file);
    assert_contains(told, "f32 (1,4,6,6), f32 (2,4,3,3): by plain loops, slowly");
    assert_contains(told, "f32 (1,3,6,6), f32 (2,3,3,3): images are copied to planes");
    assert_contains(told, "f32 (5,1), f32 (1,4): by plain loops, slowly");
    free(told);
    plan_free(plan);
    store_free(store);
    pair_release(&pair);
}

static void a_bias_that_the_library_refuses_is_added_afterwards(void **state)
{
    (void)state;
    emulation_refuse_bias(true);
    check_bias(PRECISION_F32, true);
    a_product_in_bf16_takes_its_bias_along(state);
    emulation_refuse_bias(false);
}
#endif

static void a_bias_that_a_loop_adds_anyway_stays_there(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *y = t_gelu(nn_linear(pair_input(&pair, SHAPE(7, 12), NORMAL), "fc", 5));
    expect(&pair, y, PRECISION_F32, BIAS, false, "linear and gelu");
    pair_release(&pair);
}

static void a_product_that_is_read_elsewhere_stays(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(7, 12), NORMAL),
                *w = pair_input(&pair, SHAPE(12, 5), NORMAL), *product = t_matmul(x, w),
                *bias = pair_input(&pair, SHAPE(5), NORMAL);
    struct node *sum = t_flip(t_add(product, bias), AXES(0));
    expect(&pair, t_add(t_flip(product, AXES(1)), sum), PRECISION_F32, BIAS, false, "two readers");
    pair_release(&pair);
}

/* Attention. */

/* As guided-diffusion has it: channels by tokens, (N,3·heads·c,T). */
static void check_by_channels(enum precision precision, int64_t n, int heads, int64_t c,
                              int64_t tokens, bool fewer)
{
    struct pair pair;
    char name[64];
    pair_init(&pair);
    struct node *qkv = pair_input(&pair, SHAPE(n, 3 * heads * c, tokens), NORMAL);
    snprintf(name, sizeof name, "%d heads of %d channels, %d tokens", heads, (int)c, (int)tokens);
    expect(&pair, nn_attend(qkv, heads), precision, ATTENTION, fewer, name);
    pair_release(&pair);
}

static void attention_agrees_at_all_sizes(void **state)
{
    (void)state;
    check_by_channels(PRECISION_F32, 2, 2, 3, 5, true);
    check_by_channels(PRECISION_F32, 1, 1, 1, 2, true);
    check_by_channels(PRECISION_F32, 1, 3, 16, 64, true);
    check_by_channels(PRECISION_F32, 1, 2, 70, 33, true);
    check_by_channels(PRECISION_F32, 1, 1, 128, 100, true);
}

static void attention_in_bf16_agrees_at_all_sizes(void **state)
{
    (void)state;
    check_by_channels(PRECISION_BF16, 1, 2, 40, 36, true);
    check_by_channels(PRECISION_BF16, 1, 1, 64, 130, true);
    check_by_channels(PRECISION_BF16, 1, 1, 128, 64, true);
    check_by_channels(PRECISION_BF16, 1, 1, 33, 65, true);
}

/* Tokens by channels, as a layer in bf16 leaves them: so libraries take it. `channels` of a token
 * lie between those that belong to the heads. */
static struct node *by_tokens(struct pair *pair, int64_t n, int heads, int64_t c, int64_t tokens,
                              int64_t channels)
{
    struct node *x = pair_input(pair, SHAPE(n, tokens, 48), NORMAL);
    struct node *w = pair_input(pair, SHAPE(48, 3 * heads * c + channels), NORMAL);
    struct node *qkv = t_matmul(t_scale(x, 0.1), w);
    qkv = t_slice(t_permute(qkv, 0, 2, 1), 1, channels, channels + 3 * heads * c);
    return nn_attend(qkv, heads);
}

static void check_by_tokens(int64_t n, int heads, int64_t c, int64_t tokens, int64_t channels,
                            bool by_library)
{
    struct pair pair;
    char name[64];
    pair_init(&pair);
    struct node *y = by_tokens(&pair, n, heads, c, tokens, channels);
    snprintf(name, sizeof name, "%d tokens by %d heads of %d channels, from %d", (int)tokens, heads,
             (int)c, (int)channels);
#ifdef TESTS_CUDA_EMULATION_H
    size_t before = emulation_attentions();
    expect(&pair, y, PRECISION_BF16, ATTENTION, true, name);
    if (emulation_attentions() != before + by_library)
        fail_msg("%s: done %s library", name, by_library ? "without the" : "by the");
#else
    (void)by_library;
    expect(&pair, y, PRECISION_BF16, ATTENTION, true, name);
#endif
    pair_release(&pair);
}

static void libraries_do_attention_that_lies_as_they_want(void **state)
{
    (void)state;
    check_by_tokens(1, 2, 64, 64, 0, true);
    check_by_tokens(2, 3, 32, 49, 0, true);
    check_by_tokens(1, 1, 128, 130, 0, true);
    check_by_tokens(1, 2, 24, 40, 8, true);
    check_by_tokens(1, 2, 24, 40, 4, false); /* begins between lines of 16 bytes */
    check_by_tokens(1, 2, 36, 40, 0, false); /* ends between them */
}

static void heads_wider_than_the_kernel_stay_products(void **state)
{
    (void)state;
    check_by_channels(PRECISION_F32, 1, 1, 129, 8, false);
}

/* As Swin has it: tokens by channels, with what is added for positions and, by window, for the
 * shift. */
static struct node *windows(struct pair *pair, int64_t images, int64_t count, int64_t heads,
                            int64_t tokens, int64_t c)
{
    int64_t all = images * count;
    struct node *qkv = pair_input(pair, SHAPE(all, tokens, 3, heads, c), NORMAL), *part[3];
    qkv = t_permute(t_exp(t_scale(qkv, 0.5)), 2, 0, 3, 1, 4);
    for (int i = 0; i < 3; i++)
        part[i] = t_reshape(t_slice(qkv, 0, i, i + 1), SHAPE(all, heads, tokens, c));
    struct node *score = t_matmul(t_scale(part[0], 0.3), t_transpose(part[1]));
    score = t_add(score, pair_input(pair, SHAPE(heads, tokens, tokens), NORMAL));
    score = t_add(t_reshape(score, SHAPE(images, count, heads, tokens, tokens)),
                  pair_input(pair, SHAPE(count, 1, tokens, tokens), NORMAL));
    struct node *y =
        t_matmul(t_softmax(t_reshape(score, SHAPE(all, heads, tokens, tokens)), -1), part[2]);
    return t_reshape(t_permute(y, 0, 2, 1, 3), SHAPE(all, tokens, heads * c));
}

static void attention_in_windows_agrees_with_positions_and_mask(void **state)
{
    (void)state;
    static const struct {
        enum precision precision;
        int64_t images, windows, heads, tokens, c;
    } cases[] = { { PRECISION_F32, 2, 3, 2, 9, 5 },
                  { PRECISION_F32, 1, 2, 3, 49, 32 },
                  { PRECISION_BF16, 1, 2, 2, 49, 36 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair pair;
        pair_init(&pair);
        struct node *y = windows(&pair, cases[i].images, cases[i].windows, cases[i].heads,
                                 cases[i].tokens, cases[i].c);
        expect(&pair, y, cases[i].precision, ATTENTION, true, "windows");
        pair_release(&pair);
    }
}

/* Rows whose scores are far apart, beyond what exp holds: the maximum is taken off, tile by tile.
 */
static void scores_may_be_large(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *qkv = t_scale(pair_input(&pair, SHAPE(1, 24, 70), NORMAL), 12);
    expect(&pair, nn_attend(qkv, 1), PRECISION_F32, ATTENTION, true, "large scores");
    pair_release(&pair);
}

static void in_f32_the_weights_stay_where_gradients_flow(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *qkv = pair_input(&pair, SHAPE(2, 18, 7), NORMAL), *dx;
    struct node *y = nn_attend(qkv, 2);
    grad(t_sum_all(t_mul(y, y)), &qkv, 1, &dx);
    struct node *both =
        t_concat(0, t_reshape(y, SHAPE(2 * 6 * 7)), t_reshape(dx, SHAPE(2 * 18 * 7)));
    expect(&pair, both, PRECISION_F32, ATTENTION, false, "attention and its gradient");
    pair_release(&pair);
}

/* The same with gradients: to what queries, keys and values are made of, and to the positions. */
static struct node *windows_in_training(struct pair *pair, int64_t images, int64_t count,
                                        int64_t heads, int64_t tokens, int64_t c)
{
    int64_t all = images * count, width = 3 * heads * c;
    struct node *x = pair_input(pair, SHAPE(all, tokens, 64), NORMAL),
                *w = pair_input(pair, SHAPE(width, 64), NORMAL);
    struct node *qkv = t_matmul(t_scale(x, 0.1), t_transpose(w));
    qkv = t_permute(t_reshape(qkv, SHAPE(all, tokens, 3, heads, c)), 2, 0, 3, 1, 4);
    struct node *part[3], *position = pair_input(pair, SHAPE(heads, tokens, tokens), NORMAL);
    for (int i = 0; i < 3; i++)
        part[i] = t_reshape(t_slice(qkv, 0, i, i + 1), SHAPE(all, heads, tokens, c));
    struct node *score = t_matmul(t_scale(part[0], 0.3), t_transpose(part[1]));
    score = t_add(score, position);
    if (count > 1) {
        struct node *mask = pair_input(pair, SHAPE(count, 1, tokens, tokens), NORMAL);
        score = t_add(t_reshape(score, SHAPE(images, count, heads, tokens, tokens)), mask);
        score = t_reshape(score, SHAPE(all, heads, tokens, tokens));
    }
    struct node *y = t_matmul(t_softmax(score, -1), part[2]), *of[2] = { w, position }, *d[2];
    y = t_reshape(t_permute(y, 0, 2, 1, 3), SHAPE(all, tokens, heads * c));
    grad(t_sum_all(t_mul(y, y)), of, 2, d);
    return t_concat(0, t_reshape(d[0], SHAPE(width * 64)),
                    t_reshape(t_scale(d[1], 0.1), SHAPE(heads * tokens * tokens)));
}

static void attention_in_windows_agrees_in_training(void **state)
{
    (void)state;
    static const struct {
        int64_t images, windows, heads, tokens, c;
    } cases[] = {
        { 2, 3, 2, 49, 32 },
        { 3, 1, 2, 64, 64 },
        { 1, 11, 1, 17, 20 }, /* more windows than one block sums over */
        { 1, 2, 3, 33, 17 },  /* nothing lies on even places */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair pair;
        char name[64];
        pair_init(&pair);
        struct node *y = windows_in_training(&pair, cases[i].images, cases[i].windows,
                                             cases[i].heads, cases[i].tokens, cases[i].c);
        snprintf(name, sizeof name, "windows of %d tokens, heads of %d", (int)cases[i].tokens,
                 (int)cases[i].c);
        expect_within(&pair, y, PRECISION_BF16, ATTENTION, true, SENT, name);
        pair_release(&pair);
    }
}

/* As guided-diffusion has it, where matrices lie the other way round. */
static void attention_by_channels_agrees_in_training(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *y = by_tokens(&pair, 2, 2, 32, 64, 0);
    struct node *of[2] = { pair.x[0], pair.x[1] }, *d[2];
    grad(t_sum_all(t_mul(y, y)), of, 2, d);
    struct node *both = t_concat(0, t_reshape(d[0], SHAPE((int64_t)shape_count(d[0]->shape))),
                                 t_reshape(d[1], SHAPE((int64_t)shape_count(d[1]->shape))));
    expect(&pair, both, PRECISION_BF16, ATTENTION, true, "channels by tokens");
    pair_release(&pair);
}

/* Filtered activations: StyleGAN 3's. */

/* Of any numbers, so that nothing in it is like its mirror image. */
static struct node *some_filter(struct graph *graph, int taps, bool radial)
{
    float f[576];
    int count = radial ? taps * taps : taps;
    random_fill_normal(37, (uint64_t)taps, 0, (size_t)count, f);
    for (int i = 0; i < count; i++)
        f[i] /= radial ? (float)taps : sqrtf((float)taps);
    return t_constant(graph, radial ? SHAPE(taps, taps) : SHAPE(taps), f);
}

static const struct activation {
    const char *name;
    struct shape x;
    int up, down, up_taps, down_taps, before, after;
    bool radial;
    double clamp;
} activations[] = {
    { "T", { 4, { 2, 8, 21, 37 } }, 2, 2, 12, 12, 9, 8, false, 0.9 },
    { "T, cropped, of odd channels", { 4, { 1, 37, 19, 20 } }, 2, 2, 12, 12, -3, -4, false, 0 },
    { "T where the rate doubles", { 4, { 1, 6, 13, 35 } }, 4, 2, 24, 12, -6, -9, false, 0.9 },
    { "R", { 4, { 1, 4, 21, 18 } }, 2, 2, 12, 12, 9, 8, true, 0.9 },
    { "R where the rate doubles", { 4, { 1, 33, 9, 10 } }, 4, 2, 24, 12, 5, 4, true, 0 },
    { "short filters", { 4, { 1, 8, 8, 9 } }, 4, 4, 3, 4, 1, 2, false, 0 },
    { "one rate", { 4, { 1, 2, 9, 9 } }, 1, 1, 3, 5, 1, 0, true, 0 },
};

static struct node *activated(struct node *x, const struct activation *a)
{
    struct graph *graph = x->graph;
    x = t_upfirdn(x, some_filter(graph, a->up_taps, false), .up = a->up,
                  .pads = { { a->before, a->after }, { a->before - 1, a->after + 2 } });
    x = t_scale(t_leaky_relu(x, 0.2), sqrt(2));
    x = a->clamp > 0 ? t_clamp(x, -a->clamp, a->clamp) : x;
    return t_upfirdn(x, some_filter(graph, a->down_taps, a->radial), .down = a->down,
                     .pad = a->up == 1 ? 1 : 0);
}

/* Both ways: what is sent back is of y, and in one kernel, too, which makes the slopes anew. */
static void filtered_activations_agree_in_training(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        struct pair pair;
        pair_init(&pair);
        struct node *x = pair_input(&pair, activations[i].x, NORMAL), *dx;
        struct node *y = activated(x, &activations[i]);
        grad(t_sum_all(t_mul(y, t_sin(y))), &x, 1, &dx);
        expect(&pair, dx, PRECISION_F32, FILTERS, true, activations[i].name);
        pair_release(&pair);
    }
}

/* Between convolutions, from and to memory in bf16. */
static void filtered_activations_agree_in_bf16(void **state)
{
    (void)state;
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(1, 8, 21, 20), NORMAL);
    struct node *w = pair_input(&pair, SHAPE(8, 8, 1, 1), NORMAL), *dw;
    struct node *y = activated(t_conv(x, t_scale(w, 0.3)), &activations[0]);
    y = t_conv(y, t_scale(w, 0.3));
    grad(t_sum_all(t_mul(y, y)), &w, 1, &dw);
    expect_within(&pair, dw, PRECISION_BF16, FILTERS, true, SENT, "between convolutions");
    pair_release(&pair);
}

/* Networks that are only run. */

static void sampling_networks_agree(void **state)
{
    (void)state;
    const struct ddpm ddpm = { .size = 8,
                               .channels = 3,
                               .base = 32,
                               .levels = 2,
                               .mult = { 1, 2 },
                               .blocks = 1,
                               .attention = { 4, 8 },
                               .heads = 2 };
    struct pair pair;
    pair_init(&pair);
    struct node *x = pair_input(&pair, SHAPE(2, 3, 8, 8), NORMAL);
    struct node *t = pair_input(&pair, SHAPE(2), POSITIVE);
    struct node *y = ddpm_build(&ddpm, x, t);
    expect(&pair, y, PRECISION_F32, BIAS | ATTENTION, true, "ddpm");
    expect_within(&pair, y, PRECISION_BF16, BIAS | ATTENTION, true, DEEP, "ddpm in bf16");
    pair_release(&pair);
}

static void predicting_segmenters_agree(void **state)
{
    (void)state;
    const struct swin swin = { .classes = 4,
                               .embed = 8,
                               .depths = { 2, 1, 1, 1 },
                               .heads = { 1, 2, 2, 4 },
                               .window = 3,
                               .patch = 2,
                               .width = 8 };
    struct pair pair;
    pair_init(&pair);
    struct node *out[SWIN_STAGES];
    swin_backbone(&swin, pair_input(&pair, SHAPE(1, 3, 32, 32), NORMAL), false, out);
    expect(&pair, out[0], PRECISION_F32, BIAS | ATTENTION, true, "swin, first stage");
    expect(&pair, out[SWIN_STAGES - 1], PRECISION_F32, BIAS | ATTENTION, true, "swin");
    pair_release(&pair);
}

/* An argument is a pattern: only tests whose names it fits. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_takes_its_bias_along),
        cmocka_unit_test(a_product_in_bf16_takes_its_bias_along),
#ifdef TESTS_CUDA_EMULATION_H
        cmocka_unit_test(a_run_that_cannot_be_recorded_goes_on_in_steps),
        cmocka_unit_test(a_bias_that_the_library_refuses_is_added_afterwards),
        cmocka_unit_test(what_libraries_do_not_take_is_told_of),
#endif
        cmocka_unit_test(a_bias_that_a_loop_adds_anyway_stays_there),
        cmocka_unit_test(a_product_that_is_read_elsewhere_stays),
        cmocka_unit_test(attention_agrees_at_all_sizes),
        cmocka_unit_test(attention_in_bf16_agrees_at_all_sizes),
        cmocka_unit_test(libraries_do_attention_that_lies_as_they_want),
        cmocka_unit_test(heads_wider_than_the_kernel_stay_products),
        cmocka_unit_test(attention_in_windows_agrees_with_positions_and_mask),
        cmocka_unit_test(scores_may_be_large),
        cmocka_unit_test(in_f32_the_weights_stay_where_gradients_flow),
        cmocka_unit_test(attention_in_windows_agrees_in_training),
        cmocka_unit_test(attention_by_channels_agrees_in_training),
        cmocka_unit_test(filtered_activations_agree_in_training),
        cmocka_unit_test(filtered_activations_agree_in_bf16),
        cmocka_unit_test(sampling_networks_agree),
        cmocka_unit_test(predicting_segmenters_agree),
    };
    setenv("LETHE_GROUPED", "0", 1); /* it is counted here how many steps combining leaves */
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("tensor/combine", tests, NULL, NULL);
}
