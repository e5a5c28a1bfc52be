/* Which products mixed precision takes. */
#include "test.h"

#include "tensor/compose.h"
#include "tensor/precision.h"

static bool is_cast(struct shape a, struct shape b)
{
    const struct mixed mixed = { .precision = PRECISION_BF16 };
    struct graph *graph = graph_new();
    struct node *y = t_matmul(t_input(graph, "a", DTYPE_F32, a), t_input(graph, "b", DTYPE_F32, b));
    bool cast = precision_casts(&mixed, y);
    graph_free(graph);
    return cast;
}

static void a_product_as_short_as_a_batch_stays_single(void **state)
{
    (void)state;
    assert_true(is_cast(SHAPE(64, 512), SHAPE(512, 512)));
    assert_false(is_cast(SHAPE(32, 512), SHAPE(512, 512)));
    assert_false(is_cast(SHAPE(512, 32), SHAPE(32, 512)));
    assert_false(is_cast(SHAPE(4096, 512), SHAPE(512, 4)));
}

static void attention_of_narrow_heads_and_windows_does_not(void **state)
{
    (void)state;
    assert_true(is_cast(SHAPE(8, 3, 49, 32), SHAPE(8, 3, 32, 49))); /* Swin's scores */
    assert_true(is_cast(SHAPE(8, 3, 49, 49), SHAPE(8, 3, 49, 32))); /* and what they weight */
    assert_true(is_cast(SHAPE(8, 16, 16), SHAPE(8, 16, 16)));
    assert_false(is_cast(SHAPE(8, 9, 32), SHAPE(8, 32, 9)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_as_short_as_a_batch_stays_single),
        cmocka_unit_test(attention_of_narrow_heads_and_windows_does_not),
    };
    return cmocka_run_group_tests_name("tensor/precision", tests, NULL, NULL);
}
