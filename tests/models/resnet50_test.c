/* ResNet-50: backends agree, with statistics that are away from their beginning; how planes are
 * prepared. Names stand in parameters_test.c, how random weights begin in audit/features_test.c;
 * against PyTorch it is held in tests/parity. */
#include "models/backbone.h"

#include "models/resnet50.h"

enum { SIDE = 33 }; /* an odd side wherever it is halved */

static void backends_agree(void **state)
{
    (void)state;
    backbone_check(resnet50_build, SIDE);
}

/* Enlarging by straight lines stays between black and white. */
static void planes_are_scaled_and_given_thrice(void **state)
{
    (void)state;
    enum { PIXELS = RESNET50_SIDE * RESNET50_SIDE };
    struct rig rig;
    rig_init(&rig);
    const double *y = rig_evaluate(&rig, resnet50_prepare(backbone_planes(&rig, 191.25f)));
    const double *edge = y + 3 * PIXELS;
    for (int i = 0; i < 3 * PIXELS; i++) {
        assert_close(y[i], 0.5, 1e-5);
        assert_true(edge[i] == edge[i % PIXELS]);
    }
    /* Between the centres of an old pixel and the next lie 28 new ones: the first a 56th off. */
    int middle = RESNET50_SIDE / 2, row = middle * RESNET50_SIDE;
    assert_close(edge[row], -1, 1e-6);
    assert_close(edge[row + RESNET50_SIDE - 1], 1, 1e-6);
    assert_close(edge[row + middle - 14], -1 + 2 / 56.0, 1e-5);
    assert_close(edge[row + middle], 1 / 28.0, 1e-5);
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends_agree),
        cmocka_unit_test(planes_are_scaled_and_given_thrice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
