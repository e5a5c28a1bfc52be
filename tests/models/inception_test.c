/* Inception v3: backends agree, with statistics that are away from their beginning; how planes are
 * prepared. Names stand in parameters_test.c; against PyTorch it is held in tests/parity. */
#include "models/backbone.h"

#include "models/inception.h"

enum { SIDE = 79 }; /* an odd side at every pooling */

static void backends_agree(void **state)
{
    (void)state;
    backbone_check(inception_build, SIDE);
}

/* Black and white stay within what the network takes, though interpolation goes beyond both. */
static void planes_are_scaled_cut_and_given_thrice(void **state)
{
    (void)state;
    enum { PIXELS = INCEPTION_SIDE * INCEPTION_SIDE };
    struct rig rig;
    rig_init(&rig);
    const double *y = rig_evaluate(&rig, inception_prepare(backbone_planes(&rig, 192)));
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < 3 * PIXELS; i++) {
        const double *edge = y + 3 * PIXELS;
        assert_close(y[i], 0.5, 1e-5);
        assert_true(edge[i] == edge[i % PIXELS]);
        least = fmin(least, edge[i]);
        most = fmax(most, edge[i]);
    }
    assert_true(least == -1 && most == 127 / 128.0);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends_agree),
        cmocka_unit_test(planes_are_scaled_cut_and_given_thrice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
