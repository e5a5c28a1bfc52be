/* Every kernel of the benchmark models' training steps, as CUDA's own compiler sees it: for one
 * generation of devices, those of the U-Net in f32 for an older one too, and as PTX for those to
 * come. No device is needed: this one (absent.c) compiles what it is given and does nothing else.
 */
#include "test.h"

#include "case.h"
#include "cuda/backend.h"
#include "cuda/device.h"
#include "cuda/filter.h"
#include "cuda/libraries.h"

#include "base/arena.h"
#include "models/ddpm.h"
#include "models/swin.h"
#include "nn/layer.h"
#include "tensor/gradient.h"

#include <nvrtc.h>
#include <stdlib.h>
#include <string.h>

static size_t programs, launches;
static const char *architecture;

struct program *device_compile(const char *source, struct error *err)
{
    (void)err;
    const char *options[] = { architecture, "--std=c++17", "-default-device" };
    nvrtcProgram program;
    assert_int_equal(nvrtcCreateProgram(&program, source, "plan.cu", 0, NULL, NULL), NVRTC_SUCCESS);
    if (nvrtcCompileProgram(program, 3, options) != NVRTC_SUCCESS) {
        size_t size = 0;
        nvrtcGetProgramLogSize(program, &size);
        char *log = calloc(size + 1, 1);
        nvrtcGetProgramLog(program, log);
        fail_msg("%s: %.3000s", architecture, log);
    }
    nvrtcDestroyProgram(&program);
    programs++;
    return memory_grow(NULL, 1, 1);
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

bool convolution_prepare(const struct convolution *convolution, void **state, size_t *scratch,
                         struct error *err)
{
    *scratch = 0;
    err->message[0] = '\0';
    if (convolution->geometry.pad[0][0] != convolution->geometry.pad[0][1])
        return false;
    *state = memory_grow(NULL, 1, 1);
    return true;
}

void convolution_run(void *state, void *image, void *weight, void *output, void *scratch)
{
    (void)state, (void)image, (void)weight, (void)output, (void)scratch;
}

void convolution_dispose(void *state)
{
    free(state);
}

/* None: so that our own kernel is compiled wherever there is attention. */
bool attention_prepare(const struct heads *heads, void **state, size_t *scratch, struct error *err)
{
    (void)heads, (void)state, (void)scratch, (void)err;
    return false;
}

void attention_run(void *state, void *q, void *k, void *v, void *y, void *scratch)
{
    (void)state, (void)q, (void)k, (void)v, (void)y, (void)scratch;
}

void attention_dispose(void *state)
{
    (void)state;
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

static void check_model(const char *name, enum case_size size, enum precision precision,
                        const char *option)
{
    struct error err;
    struct parity_case of;
    architecture = option;
    const struct backend *backend = cuda_backend_open(0, &err);
    assert_ok(backend, err);
    struct store *store = store_new(backend);
    struct case_options options = { 0 };
    size_t before = programs;
    assert_ok(case_open_usual(&of, name, size, &options, &err), err);
    assert_ok(store_set_precision(store, precision, &err), err);
    run_phases(&of.training, store);
    assert_true(programs > before && launches > 100);
    case_close(&of);
    store_free(store);
}

static void kernels_of_a_unet_compile(void **state)
{
    (void)state;
    check_model("unet", CASE_BENCHMARK, PRECISION_F32, "--gpu-architecture=sm_80");
    check_model("unet", CASE_BENCHMARK, PRECISION_F32, "--gpu-architecture=compute_90");
    check_model("unet", CASE_LARGE, PRECISION_BF16, "--gpu-architecture=sm_90");
}

static void kernels_of_swin_compile(void **state)
{
    (void)state;
    check_model("swin", CASE_LARGE, PRECISION_BF16, "--gpu-architecture=sm_90");
}

static void kernels_of_ddpm_compile(void **state)
{
    (void)state;
    check_model("ddpm", CASE_LARGE, PRECISION_BF16, "--gpu-architecture=sm_90");
}

static void kernels_of_stylegan2_compile(void **state)
{
    (void)state;
    check_model("stylegan2", CASE_LARGE, PRECISION_BF16, "--gpu-architecture=sm_90");
}

/* One run, of a network that is not trained: attention is then one kernel. */
static void check_run(struct node *y, enum precision precision, const char *option)
{
    struct error err;
    architecture = option;
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
    static const char *const options[] = { "--gpu-architecture=sm_80", "--gpu-architecture=sm_90",
                                           "--gpu-architecture=compute_90" };
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
        check_run(epsilon, PRECISION_BF16, options[i]);
        check_run(mask, PRECISION_BF16, options[i]);
        check_run(epsilon, PRECISION_F32, options[i]);
    }
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
    check_run(sum, PRECISION_F32, "--gpu-architecture=sm_90");
    check_run(sum, PRECISION_BF16, "--gpu-architecture=sm_80");
    graph_free(graph);
}

static void kernels_of_the_search_compile(void **state)
{
    (void)state;
    static const char *const options[] = { "--gpu-architecture=sm_80", "--gpu-architecture=sm_90",
                                           "--gpu-architecture=compute_90" };
    for (size_t i = 0; i < 3; i++) {
        struct error err;
        architecture = options[i];
        struct program *program = device_compile(cuda_filter_source, &err);
        assert_non_null(program);
        device_forget(program);
    }
}

/* An argument is a pattern: only tests whose names it fits; one that none fits fails. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_of_the_search_compile),
        cmocka_unit_test(kernels_for_what_libraries_do_not_take_compile),
        cmocka_unit_test(kernels_of_networks_that_are_only_run_compile),
        cmocka_unit_test(kernels_of_a_unet_compile),
        cmocka_unit_test(kernels_of_swin_compile),
        cmocka_unit_test(kernels_of_ddpm_compile),
        cmocka_unit_test(kernels_of_stylegan2_compile),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failures = cmocka_run_group_tests_name("tensor/cuda_nvrtc", tests, NULL, NULL);
    if (programs == 0)
        fprintf(stderr, "no test fits %s\n", argc > 1 ? argv[1] : "");
    return programs ? failures : 1;
}
