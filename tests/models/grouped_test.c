/* Small loops as one kernel, or each for itself (LETHE_GROUPED=0): whole trainings have the same
 * bits. For backends that group: the emulated device, and a GPU (tests/gpu). The third step is
 * replayed where a device can.
 */
#include "trainee.h"

#include "base/parallel.h"
#include "tensor/gather.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 3 };

static void train(struct trainee *trainee, const char *grouped, enum precision precision,
                  const char *name, const char *settings)
{
    setenv("LETHE_GROUPED", grouped, 1);
    trainee_init(trainee, PAIR_BACKEND, precision, name, settings,
                 &(struct case_options){ .batch = 2 });
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < trainee->of.training.phase_count; i++)
            trainee_run(trainee, i, step);
    unsetenv("LETHE_GROUPED");
}

static void check_case(const char *name, enum precision precision, const char *settings)
{
    struct trainee alone, together;
    train(&alone, "0", precision, name, settings);
    train(&together, "1", precision, name, settings);
    trainee_same_bits(&together, &alone);
    for (int i = 0; i < alone.of.training.phase_count; i++) {
        const struct plan *of = alone.plans[i], *with = together.plans[i];
        assert_true(plan_kernels(with) < plan_kernels(of));
        assert_true(plan_bytes(with) <= plan_bytes(of) + HELD_MOST);
    }
    trainee_release(&alone);
    trainee_release(&together);
}

static void the_unet_has_the_same_bits(void **state)
{
    (void)state;
    check_case("unet", PRECISION_BF16, SMALL_UNET);
}

static void swin_has_the_same_bits(void **state)
{
    (void)state;
    check_case("swin", PRECISION_BF16, SMALL_SWIN);
}

static void ddpm_has_the_same_bits(void **state)
{
    (void)state;
    check_case("ddpm", PRECISION_BF16, SMALL_DDPM);
    check_case("ddpm", PRECISION_F32, SMALL_DDPM);
}

static void stylegan2_has_the_same_bits(void **state)
{
    (void)state;
    check_case("stylegan2", PRECISION_F32, SMALL_STYLEGAN2);
}

/* An argument is a pattern: only tests whose names it fits. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unet_has_the_same_bits),
        cmocka_unit_test(swin_has_the_same_bits),
        cmocka_unit_test(ddpm_has_the_same_bits),
        cmocka_unit_test(stylegan2_has_the_same_bits),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    parallel_set_threads(1); /* tests run side by side: waiting threads would only spin */
    return cmocka_run_group_tests_name("models/grouped", tests, NULL, NULL);
}
