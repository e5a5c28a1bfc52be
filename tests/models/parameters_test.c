/* Names and shapes of all parameters and buffers are those of the official implementations, so that
 * published weights load. golden/parameters.txt is written by tests/parity/export.py from the
 * twins, which were held against the official code. */
#include "test.h"

#include "base/file.h"
#include "case.h"
#include "models/inception.h"
#include "models/resnet50.h"

#include <stdio.h>

/* "8x3x3" */
static const char *product_text(struct shape shape, char text[128])
{
    int length = 0;
    if (shape.rank == 0)
        return strcpy(text, "scalar");
    for (int axis = 0; axis < shape.rank; axis++)
        length += snprintf(text + length, 128 - (size_t)length, "%s%lld", axis ? "x" : "",
                           (long long)shape.size[axis]);
    return text;
}

/* How many lines of the golden file begin with "case ". */
static size_t lines_of(const char *golden, const char *name)
{
    size_t count = 0;
    char start[32];
    snprintf(start, sizeof start, "%s ", name);
    for (const char *line = golden; line && *line; line = strchr(line, '\n'), line += line != NULL)
        count += strncmp(line, start, strlen(start)) == 0;
    return count;
}

/* Every parameter of the graph stands in the golden file, and nothing else does. `of`: the case
 * that names them; NULL: their names are the official ones. */
static void check_graph(const char *name, const struct graph *graph, const struct parity_case *of)
{
    struct error err;
    size_t size, found = 0;
    char *golden = file_read(LETHE_GOLDEN "/parameters.txt", 1 << 20, &size, &err);
    assert_ok(golden, err);
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        char line[512], shape[128], twin[256];
        if (node->op != OP_PARAMETER || (of && !case_owns(of, node->leaf.name)))
            continue;
        snprintf(line, sizeof line, "%s %s %s\n", name,
                 of ? case_twin_name(of, node->leaf.name, twin) : node->leaf.name,
                 product_text(node->shape, shape));
        assert_contains(golden, line);
        found++;
    }
    assert_int_equal(found, lines_of(golden, name));
    memory_free(golden);
}

static void check_case(const char *name, bool constant_noise)
{
    struct error err;
    struct parity_case of;
    struct case_options options = { .replay = constant_noise };
    assert_ok(case_open_usual(&of, name, CASE_BENCHMARK, &options, &err), err);
    check_graph(name, of.training.graph, &of);
    case_close(&of);
}

static void the_unet_has_the_studys_parameters(void **state)
{
    (void)state;
    check_case("unet", false);
}

static void ddpm_has_guided_diffusions_parameters(void **state)
{
    (void)state;
    check_case("ddpm", false);
}

/* The layers' constant noise is only made where images are asked for with it. */
static void stylegan2_has_the_official_parameters_and_buffers(void **state)
{
    (void)state;
    check_case("stylegan2", true);
}

/* Of the last level, with dots for TensorFlow's slashes. */
static void progan_has_the_official_parameters(void **state)
{
    (void)state;
    check_case("progan", false);
}

/* Likewise. */
static void stylegan_has_the_official_parameters(void **state)
{
    (void)state;
    check_case("stylegan", false);
}

static void stylegan3_has_the_official_parameters_and_buffers(void **state)
{
    (void)state;
    check_case("stylegan3", false);
}

static void inception_has_pytorch_fids_parameters_and_buffers(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    inception_build(t_input(graph, "x", DTYPE_F32, SHAPE(1, 3, INCEPTION_SIDE, INCEPTION_SIDE)));
    check_graph("inception", graph, NULL);
    graph_free(graph);
}

static void resnet50_has_torchvisions_parameters_and_buffers(void **state)
{
    (void)state;
    struct graph *graph = graph_new();
    resnet50_build(t_input(graph, "x", DTYPE_F32, SHAPE(1, 3, RESNET50_SIDE, RESNET50_SIDE)));
    check_graph("resnet50", graph, NULL);
    graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unet_has_the_studys_parameters),
        cmocka_unit_test(ddpm_has_guided_diffusions_parameters),
        cmocka_unit_test(progan_has_the_official_parameters),
        cmocka_unit_test(stylegan_has_the_official_parameters),
        cmocka_unit_test(stylegan2_has_the_official_parameters_and_buffers),
        cmocka_unit_test(stylegan3_has_the_official_parameters_and_buffers),
        cmocka_unit_test(inception_has_pytorch_fids_parameters_and_buffers),
        cmocka_unit_test(resnet50_has_torchvisions_parameters_and_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
