/* Steps that do not depend on each other may run in any order, and together: a plan that brings
 * them together (tensor/gather.h) computes what one computes that does not, bit for bit. */
#include "trainee.h"

#include "base/parallel.h"
#include "tensor/gathering.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 3 };

static void train(struct trainee *trainee, const struct backend *backend, const char *name,
                  const char *settings)
{
    trainee_init(trainee, backend, PRECISION_F32, name, settings,
                 &(struct case_options){ .batch = 2 });
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < trainee->of.training.phase_count; i++)
            trainee_run(trainee, i, step);
}

static void check_case(const char *name, const char *settings)
{
    struct backend gathering = gathering_backend();
    struct trainee plain, together;
    train(&plain, &cpu_backend, name, settings);
    train(&together, &gathering, name, settings);
    assert_true(groups > 0 && gathered > 2 * groups);
    trainee_same_bits(&together, &plain);
    for (int i = 0; i < plain.of.training.phase_count; i++)
        assert_true(plan_kernels(together.plans[i]) < plan_kernels(plain.plans[i]));
    trainee_release(&plain);
    trainee_release(&together);
}

static void the_unet_learns_the_same(void **state)
{
    (void)state;
    check_case("unet", SMALL_UNET);
}

static void swin_learns_the_same(void **state)
{
    (void)state;
    check_case("swin", SMALL_SWIN);
}

static void ddpm_learns_the_same(void **state)
{
    (void)state;
    check_case("ddpm", SMALL_DDPM);
}

static void stylegan2_learns_the_same(void **state)
{
    (void)state;
    check_case("stylegan2", SMALL_STYLEGAN2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unet_learns_the_same),
        cmocka_unit_test(swin_learns_the_same),
        cmocka_unit_test(ddpm_learns_the_same),
        cmocka_unit_test(stylegan2_learns_the_same),
    };
    parallel_set_threads(1); /* tests run side by side: waiting threads would only spin */
    return cmocka_run_group_tests_name("models/gathered", tests, NULL, NULL);
}
