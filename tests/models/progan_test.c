/* ProGAN: shapes at every side, and what fading in means at its two ends. */
#include "nn/rig.h"

#include "models/progan.h"
#include "nn/resample.h"

static const struct progan tiny = {
    .resolution = 16, .channels = 2, .z_width = 4, .channel_base = 64, .channel_max = 4
};

static struct node *images(struct node *z, int side, struct node *alpha)
{
    graph_push(z->graph, "G");
    struct node *x = progan_generate(&tiny, z, side, alpha);
    graph_pop(z->graph);
    return x;
}

static struct node *scores(struct node *x, struct node *alpha)
{
    graph_push(x->graph, "D");
    struct node *y = progan_discriminate(&tiny, x, alpha);
    graph_pop(x->graph);
    return y;
}

/* Biases start at nothing; here all parameters are moved off their first values. */
static void shake(struct rig *rig)
{
    rig_initialise(rig);
    for (size_t i = 0; i < store_count(rig->store); i++) {
        struct tensor *tensor = store_tensor(rig->store, i);
        for (size_t k = 0; k < shape_count(tensor->shape); k++)
            ((double *)tensor->memory)[k] += 0.1 * random_normal(5, i, k);
    }
}

static void assert_same(struct rig *rig, struct node *a, struct node *b)
{
    assert_true(shape_equal(a->shape, b->shape));
    const double *x = rig_evaluate(rig, a), *y = rig_evaluate(rig, b);
    for (size_t i = 0; i < shape_count(a->shape); i++)
        assert_close(x[i], y[i], 1e-12);
}

static void every_side_gives_its_images_and_one_score_each(void **state)
{
    (void)state;
    for (int side = 4; side <= 16; side *= 2) {
        struct rig rig;
        rig_init(&rig);
        struct node *x = images(rig_input(&rig, SHAPE(2, 4), NORMAL), side, NULL);
        assert_true(shape_equal(x->shape, SHAPE(2, 2, side, side)));
        assert_true(shape_equal(scores(x, NULL)->shape, SHAPE(2, 1)));
        rig_release(&rig);
    }
}

/* So nothing jumps when a level begins: its images are those of the level before, enlarged, and
 * images without more detail are judged as before. */
static void what_has_no_share_yet_changes_nothing(void **state)
{
    (void)state;
    for (int side = 8; side <= 16; side *= 2) {
        struct rig rig;
        rig_init(&rig);
        struct node *z = rig_input(&rig, SHAPE(4, 4), NORMAL),
                    *none = t_full(rig.graph, SHAPE(), 0);
        struct node *before = images(z, side / 2, NULL), *now = images(z, side, none);
        struct node *judged = scores(before, NULL), *judged_now = scores(now, none);
        shake(&rig);
        assert_same(&rig, now, nn_nearest2(before));
        assert_same(&rig, judged_now, judged);
        rig_release(&rig);
    }
}

static void what_has_all_of_it_is_the_level(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *z = rig_input(&rig, SHAPE(4, 4), NORMAL), *all = t_full(rig.graph, SHAPE(), 1);
    struct node *x = images(z, 8, NULL), *faded = images(z, 8, all);
    struct node *judged = scores(x, NULL), *judged_faded = scores(faded, all);
    shake(&rig);
    assert_same(&rig, faded, x);
    assert_same(&rig, judged_faded, judged);
    rig_release(&rig);
}

/* Latents are brought to unit mean square, and features pixel by pixel. */
static void an_image_depends_on_the_direction_of_its_own_latent_alone(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct node *z = rig_input(&rig, SHAPE(3, 4), NORMAL);
    struct node *all = t_slice(images(z, 8, NULL), 0, 1, 2);
    struct node *longer = images(t_scale(t_slice(z, 0, 1, 2), 3), 8, NULL);
    shake(&rig);
    const double *a = rig_evaluate(&rig, all), *b = rig_evaluate(&rig, longer);
    for (size_t i = 0; i < shape_count(all->shape); i++)
        assert_close(a[i], b[i], 1e-6); /* but for the epsilon */
    rig_release(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_side_gives_its_images_and_one_score_each),
        cmocka_unit_test(what_has_no_share_yet_changes_nothing),
        cmocka_unit_test(what_has_all_of_it_is_the_level),
        cmocka_unit_test(an_image_depends_on_the_direction_of_its_own_latent_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
