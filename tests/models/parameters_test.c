/* Names and shapes of all parameters and buffers are those of the official implementations, so that
 * published weights load. golden/parameters.txt is written by tests/parity/export.py from the
 * twins, which were held against the official code. */
#include "test.h"

#include "base/file.h"
#include "case.h"

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

static void check_case(const char *name, bool constant_noise)
{
    struct error err;
    struct parity_case of;
    struct case_options options = { .replay = constant_noise };
    size_t size, found = 0;
    char *golden = file_read(LETHE_GOLDEN "/parameters.txt", 1 << 20, &size, &err);
    assert_ok(golden, err);
    assert_ok(case_open_usual(&of, name, CASE_BENCHMARK, &options, &err), err);
    for (size_t id = 0; id < graph_size(of.training.graph); id++) {
        const struct node *node = graph_node(of.training.graph, id);
        char line[512], shape[128], twin[256];
        if (node->op != OP_PARAMETER || !case_owns(&of, node->leaf.name))
            continue;
        snprintf(line, sizeof line, "%s %s %s\n", name, case_twin_name(&of, node->leaf.name, twin),
                 product_text(node->shape, shape));
        assert_contains(golden, line);
        found++;
    }
    assert_int_equal(found, lines_of(golden, name));
    case_close(&of);
    memory_free(golden);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unet_has_the_studys_parameters),
        cmocka_unit_test(ddpm_has_guided_diffusions_parameters),
        cmocka_unit_test(stylegan2_has_the_official_parameters_and_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
