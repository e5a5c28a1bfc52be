/* Every kernel of the benchmark models' training steps, as CUDA's own compiler sees it: for one
 * generation of devices, those of the U-Net in f32 for an older one too, and as PTX for those to
 * come. No device is needed: this one (absent.c) compiles what it is given, by lib/tensor/cuda's
 * own compiler.c, and does nothing else.
 */
#include "scratch.h"
#include "test.h"

#include "case.h"
#include "cuda/backend.h"
#include "cuda/compiler.h"
#include "cuda/device.h"
#include "cuda/filter.h"
#include "cuda/maxima.h"

#include "base/arena.h"
#include "base/file.h"
#include "models/ddpm.h"
#include "models/swin.h"
#include "nn/layer.h"
#include "tensor/gradient.h"

#include <stdlib.h>

static size_t programs, launches, groups; /* groups: of loops, among the kernels */

bool device_compile(const char *const *sources, size_t count, struct program **made,
                    struct error *err)
{
    struct code *codes = memory_grow(NULL, count, sizeof *codes);
    assert_ok(compiler_build(sources, count, true, codes, err), *err);
    for (size_t i = 0; i < count; i++) {
        made[i] = memory_grow(NULL, 1, 1);
        free(codes[i].bytes);
        for (const char *at = sources[i]; (at = strstr(at, "(const GRID_CONSTANT places<")); at++)
            groups++;
    }
    free(codes);
    programs += count;
    return true;
}

void device_launch(void *function, const unsigned blocks[2], const unsigned threads[2],
                   void **arguments, int count)
{
    (void)function, (void)arguments, (void)count;
    assert_in_range(blocks[0], 1, 0x7fffffff);
    assert_in_range(blocks[1], 1, 65535);
    assert_in_range(threads[0] * threads[1], 1, 1024);
    launches++;
}

static void run_phases(struct training *training, struct store *store)
{
    struct error err;
    struct plan *initial = training_plan_initial(training, store, &err);
    assert_ok(initial && plan_run(initial, 0, 1, &err), err);
    plan_free(initial);
    for (int i = 0; i < training->phase_count; i++) {
        struct plan *plan = training_plan(training, i, store, &err);
        assert_ok(plan, err);
        for (size_t id = 0; id < graph_size(training->graph); id++) {
            const struct node *node = graph_node(training->graph, id);
            if (node->op == OP_INPUT)
                plan_write(plan, node, NULL);
        }
        assert_ok(plan_run(plan, 0, 1, &err), err);
        plan_free(plan);
    }
}

/* Compute capabilities; that of devices to come gives PTX. */
static const struct kind {
    int major, minor;
} sm_80 = { 8, 0 }, sm_90 = { 9, 0 }, to_come = { 99, 0 };

static void aim(struct kind kind)
{
    struct error err;
    assert_ok(compiler_aim(kind.major, kind.minor, &err), err);
}

static void check_model(const char *name, enum case_size size, enum precision precision,
                        struct kind kind)
{
    struct error err;
    struct parity_case of;
    aim(kind);
    const struct backend *backend = cuda_backend_open(0, &err);
    assert_ok(backend, err);
    struct store *store = store_new(backend);
    struct case_options options = { 0 };
    size_t before = programs, groups_before = groups;
    assert_ok(case_open_usual(&of, name, size, &options, &err), err);
    assert_ok(store_set_precision(store, precision, &err), err);
    run_phases(&of.training, store);
    assert_true(programs > before && launches > 100 && groups > groups_before + 10);
    case_close(&of);
    store_free(store);
}

static void kernels_of_a_unet_compile(void **state)
{
    (void)state;
    check_model("unet", CASE_BENCHMARK, PRECISION_F32, sm_80);
    check_model("unet", CASE_BENCHMARK, PRECISION_F32, to_come);
    check_model("unet", CASE_LARGE, PRECISION_BF16, sm_90);
}

static void kernels_of_swin_compile(void **state)
{
    (void)state;
    check_model("swin", CASE_LARGE, PRECISION_BF16, sm_90);
}

static void kernels_of_ddpm_compile(void **state)
{
    (void)state;
    check_model("ddpm", CASE_LARGE, PRECISION_BF16, sm_90);
}

static void kernels_of_progan_compile(void **state)
{
    (void)state;
    check_model("progan", CASE_LARGE, PRECISION_BF16, sm_90);
}

static void kernels_of_stylegan2_compile(void **state)
{
    (void)state;
    check_model("stylegan2", CASE_LARGE, PRECISION_BF16, sm_90);
}

/* T, whose filters have up to 24 taps. */
static void kernels_of_stylegan3_compile(void **state)
{
    (void)state;
    check_model("stylegan3", CASE_SMALL, PRECISION_BF16, sm_90);
}

/* One run, of a network that is not trained: attention is then one kernel. */
static void check_run(struct node *y, enum precision precision, struct kind kind)
{
    struct error err;
    aim(kind);
    struct store *store = store_new(cuda_backend_open(0, &err));
    size_t before = programs;
    assert_ok(store_set_precision(store, precision, &err), err);
    struct plan *plan = plan_create(store, &y, 1, NULL, 0, &err);
    assert_ok(plan, err);
    for (size_t id = 0; id < graph_size(y->graph); id++)
        if (graph_node(y->graph, id)->op == OP_INPUT)
            plan_write(plan, graph_node(y->graph, id), NULL);
    for (size_t i = 0; i < store_count(store); i++)
        store_write(store, store_tensor(store, i), NULL);
    assert_ok(plan_run(plan, 0, 1, &err), err);
    assert_true(programs > before);
    plan_free(plan);
    store_free(store);
}

/* Every kind and width of attention in the presets, for all generations of devices. */
static void kernels_of_networks_that_are_only_run_compile(void **state)
{
    (void)state;
    const struct kind kinds[] = { sm_80, sm_90, to_come };
    const struct ddpm ddpm = { .size = 32,
                               .channels = 3,
                               .base = 128,
                               .levels = 3,
                               .mult = { 1, 2, 4 },
                               .blocks = 1,
                               .attention = { 16, 8 },
                               .heads = 4 };
    const struct swin swin = { .classes = 4,
                               .embed = 96,
                               .depths = { 2, 1, 1, 1 },
                               .heads = { 3, 6, 12, 24 },
                               .window = 7,
                               .patch = 4,
                               .width = 64 };
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(2, 3, 32, 32));
    struct node *epsilon = ddpm_build(&ddpm, x, t_input(graph, "t", DTYPE_F32, SHAPE(2)));
    struct node *mask = swin_build(&swin, x, NULL).main;
    for (size_t i = 0; i < 3; i++) {
        check_run(epsilon, PRECISION_BF16, kinds[i]);
        check_run(mask, PRECISION_BF16, kinds[i]);
        check_run(epsilon, PRECISION_F32, kinds[i]);
    }
    graph_free(graph);
}

/* As wide, and with as many tokens, as a block's shared memory holds. */
static void kernels_of_attention_that_is_trained_compile(void **state)
{
    (void)state;
    const struct kind kinds[] = { sm_80, sm_90, to_come };
    struct graph *graph = graph_new();
    struct node *qkv = t_input(graph, "qkv", DTYPE_F32, SHAPE(2, 3 * 64, 64)), *sent;
    struct node *y = nn_attend(qkv, 1);
    grad(t_sum_all(t_mul(y, y)), &qkv, 1, &sent);
    for (size_t i = 0; i < 3; i++)
        check_run(sent, PRECISION_BF16, kinds[i]);
    graph_free(graph);
}

static void kernels_for_what_libraries_do_not_take_compile(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(2, 4, 9, 9)), *d[2];
    struct node *w = t_input(graph, "w", DTYPE_F32, SHAPE(6, 2, 3, 3));
    struct node *y = t_conv(x, w, .groups = 2, .stride = 2, .pads = { { 0, 1 }, { 2, 0 } });
    struct node *of[2] = { x, w };
    grad(t_sum_all(t_mul(y, y)), of, 2, d);
    struct node *column = t_input(graph, "column", DTYPE_F32, SHAPE(7, 1));
    struct node *sum = t_slice(nn_linear(column, "fc", 3), 1, 0, 2);
    sum = t_add(t_sum_all(sum), t_add(t_sum_all(d[0]), t_sum_all(d[1])));
    check_run(sum, PRECISION_F32, sm_90);
    check_run(sum, PRECISION_BF16, sm_80);
    graph_free(graph);
}

static void kernels_of_the_search_compile(void **state)
{
    (void)state;
    const struct kind kinds[] = { sm_80, sm_90, to_come };
    for (size_t i = 0; i < 3; i++) {
        struct error err;
        struct program *program;
        const char *const sources[] = { cuda_filter_source, cuda_maxima_source };
        aim(kinds[i]);
        for (size_t s = 0; s < 2; s++) {
            assert_ok(device_compile(&sources[s], 1, &program, &err), err);
            device_forget(program);
        }
    }
}

/* Sources that are built at once, one of which fails where `bad` is. */
static bool build_three(const char *bad, bool anew, struct code codes[3], struct error *err)
{
    const char *sources[3] = { "__global__ void f(float *x) { x[0] = 1; }",
                               bad ? bad : "__global__ void g(float *x) { x[0] = 2; }",
                               "__global__ void h(float *x) { x[0] = 3; }" };
    return compiler_build(sources, 3, anew, codes, err);
}

static void release_three(struct code codes[3])
{
    for (int i = 0; i < 3; i++)
        free(codes[i].bytes);
}

static void code_is_kept_and_can_be_replaced(void **state)
{
    (void)state;
    struct error err;
    struct code made[3], kept[3], again[3];
    aim(sm_90);
    setenv("XDG_CACHE_HOME", scratch("cache"), 1);
    assert_ok(build_three(NULL, false, made, &err), err);
    assert_ok(build_three(NULL, false, kept, &err), err);
    assert_ok(build_three(NULL, true, again, &err), err);
    for (int i = 0; i < 3; i++) {
        assert_true(!made[i].cached && kept[i].cached && !again[i].cached);
        assert_int_equal(made[i].size, kept[i].size);
        assert_memory_equal(made[i].bytes, kept[i].bytes, made[i].size);
        assert_memory_equal(made[i].bytes, "\177ELF", 4);
    }
    programs += 3;
    release_three(made);
    release_three(kept);
    release_three(again);
    aim(sm_80); /* other code */
    assert_ok(build_three(NULL, false, made, &err), err);
    assert_false(made[0].cached);
    release_three(made);
    unsetenv("XDG_CACHE_HOME");
}

/* Three files of the texts, to look into, whether they had to be compiled or not. */
static void sources_are_kept_where_they_are_asked_for(void **state)
{
    (void)state;
    struct error err;
    struct code codes[3];
    struct arena arena;
    char **files, *text;
    size_t count, size;
    arena_init(&arena);
    aim(sm_90);
    setenv("LETHE_SOURCES", scratch("sources"), 1);
    assert_ok(build_three(NULL, false, codes, &err), err);
    unsetenv("LETHE_SOURCES");
    assert_ok(folder_walk(scratch("sources"), &arena, &files, &count, &err), err);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        text = file_read(path_join(&arena, scratch("sources"), files[i]), 1 << 10, &size, &err);
        assert_ok(text, err);
        assert_contains(text, "__global__ void");
        free(text);
    }
    arena_release(&arena);
    programs += 3;
    release_three(codes);
}

static void one_source_that_fails_fails_all(void **state)
{
    (void)state;
    struct error err;
    struct code codes[3];
    aim(sm_90);
    assert_false(build_three("__global__ void g() { nonsense; }", false, codes, &err));
    assert_non_null(strstr(err.message, "nonsense"));
    for (int i = 0; i < 3; i++)
        assert_null(codes[i].bytes);
    assert_ok(build_three(NULL, false, codes, &err), err);
    programs += 3;
    release_three(codes);
}

/* An argument is a pattern: only tests whose names it fits; one that none fits fails. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(code_is_kept_and_can_be_replaced, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(sources_are_kept_where_they_are_asked_for, scratch_make,
                                        scratch_remove),
        cmocka_unit_test(one_source_that_fails_fails_all),
        cmocka_unit_test(kernels_of_the_search_compile),
        cmocka_unit_test(kernels_for_what_libraries_do_not_take_compile),
        cmocka_unit_test(kernels_of_networks_that_are_only_run_compile),
        cmocka_unit_test(kernels_of_attention_that_is_trained_compile),
        cmocka_unit_test(kernels_of_a_unet_compile),
        cmocka_unit_test(kernels_of_swin_compile),
        cmocka_unit_test(kernels_of_ddpm_compile),
        cmocka_unit_test(kernels_of_progan_compile),
        cmocka_unit_test(kernels_of_stylegan2_compile),
        cmocka_unit_test(kernels_of_stylegan3_compile),
    };
    unsetenv("HOME"); /* nothing is kept but where a test asks for it */
    unsetenv("XDG_CACHE_HOME");
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failures = cmocka_run_group_tests_name("tensor/cuda_nvrtc", tests, NULL, NULL);
    if (programs == 0)
        fprintf(stderr, "no test fits %s\n", argc > 1 ? argv[1] : "");
    return programs ? failures : 1;
}
