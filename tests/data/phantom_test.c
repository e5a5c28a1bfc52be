/* The cohorts that most tests look at are made once: one of built heads, one whose template is the
 * T1 of a built head (so that no file is needed). */
#include "test.h"

#include "base/arena.h"
#include "base/parallel.h"
#include "data/phantom.h"

#include <math.h>

/* Seed 6: among its first subjects are a tiny lesion, some without necrosis and some without rim.
 */
enum { SIZE = 60, BUILT = 5, DEFORMED = 2, SUBJECTS = BUILT + DEFORMED };

static struct phantom cohort[SUBJECTS];
static float *template_voxels;
static struct phantom_template template;

static struct phantom_settings settings_of(size_t subject)
{
    return (struct phantom_settings){ .size = SIZE,
                                      .seed = 6,
                                      .template = subject < BUILT ? NULL : &template };
}

static struct phantom generate(const struct phantom_settings *settings, size_t subject)
{
    struct phantom phantom;
    struct error err;
    assert_ok(phantom_generate(settings, subject, &phantom, &err), err);
    return phantom;
}

static size_t voxels_of(const struct phantom *phantom)
{
    return phantom->slices * phantom->rows * phantom->columns;
}

static int make_cohorts(void **state)
{
    (void)state;
    struct phantom_settings head = { .size = 120, .seed = 99 };
    struct phantom source = generate(&head, 0);
    size_t count = voxels_of(&source);
    template_voxels = malloc(count * sizeof *template_voxels);
    for (size_t i = 0; i < count; i++)
        template_voxels[i] = source.image[PHANTOM_T1][i];
    template = (struct phantom_template){ .voxels = template_voxels,
                                          .slices = source.slices,
                                          .rows = source.rows,
                                          .columns = source.columns,
                                          .spacing = { 2, 2, 2 } };
    phantom_release(&source);
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        struct phantom_settings settings = settings_of(subject);
        cohort[subject] = generate(&settings, subject);
    }
    return 0;
}

static int release_cohorts(void **state)
{
    (void)state;
    for (size_t subject = 0; subject < SUBJECTS; subject++)
        phantom_release(&cohort[subject]);
    free(template_voxels);
    return 0;
}

static bool same(const struct phantom *a, const struct phantom *b)
{
    size_t count = voxels_of(a);
    bool equal = voxels_of(b) == count && memcmp(a->label, b->label, count) == 0;
    for (int which = 0; which < PHANTOM_MODALITIES; which++)
        equal = equal && memcmp(a->image[which], b->image[which], count * sizeof(int16_t)) == 0;
    return equal;
}

static void a_subject_has_the_same_bytes_whatever_the_thread_count(void **state)
{
    (void)state;
    static const size_t subjects[] = { 0, BUILT };
    int before = parallel_threads();
    for (int threads = 1; threads <= 5; threads += 4)
        for (size_t i = 0; i < 2; i++) {
            parallel_set_threads(threads);
            struct phantom_settings settings = settings_of(subjects[i]);
            struct phantom again = generate(&settings, subjects[i]);
            assert_true(same(&again, &cohort[subjects[i]]));
            phantom_release(&again);
        }
    parallel_set_threads(before);
}

static void make_one(void *context, size_t item)
{
    struct phantom_settings settings = settings_of(0);
    ((struct phantom *)context)[item] = generate(&settings, item);
}

static void subjects_made_side_by_side_are_those_made_alone(void **state)
{
    (void)state;
    struct phantom together[2];
    parallel_items(2, make_one, together);
    for (size_t i = 0; i < 2; i++) {
        assert_true(same(&together[i], &cohort[i]));
        phantom_release(&together[i]);
    }
}

static void another_seed_makes_another_patient(void **state)
{
    (void)state;
    struct phantom_settings settings = settings_of(0);
    settings.seed++;
    struct phantom other = generate(&settings, 0);
    assert_false(same(&other, &cohort[0]));
    phantom_release(&other);
}

/* Pearson's correlation. */
static double correlation(const int16_t *a, const int16_t *b, size_t count)
{
    double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0, n = (double)count;
    for (size_t i = 0; i < count; i++) {
        sa += a[i];
        sb += b[i];
        saa += (double)a[i] * a[i];
        sbb += (double)b[i] * b[i];
        sab += (double)a[i] * b[i];
    }
    return (n * sab - sa * sb) / sqrt((n * saa - sa * sa) * (n * sbb - sb * sb));
}

/* Of 100 subjects of 64² the most alike pair of middle slices correlates at 0.95. */
static void no_two_subjects_look_like_copies(void **state)
{
    (void)state;
    size_t slice = SIZE * SIZE, middle = phantom_slices(SIZE) / 2 * slice;
    for (size_t a = 0; a < SUBJECTS; a++)
        for (size_t b = 0; b < a; b++)
            for (int which = 0; which < PHANTOM_MODALITIES; which++)
                assert_true(correlation(cohort[a].image[which] + middle,
                                        cohort[b].image[which] + middle, slice) < 0.97);
}

/* A 2×2×2 mean of the T1 at twice the size, centred on the same point of the head. */
static void another_size_shows_the_same_patient(void **state)
{
    (void)state;
    struct phantom_settings settings = settings_of(0);
    settings.size = 2 * SIZE;
    struct phantom fine = generate(&settings, 0);
    const struct phantom *coarse = &cohort[0];
    assert_int_equal(fine.slices, 2 * coarse->slices); /* so that voxels nest */
    int16_t *mean = calloc(voxels_of(coarse), sizeof *mean);
    for (size_t i = 0; i < voxels_of(&fine); i++) {
        size_t x = i % fine.columns / 2, y = i / fine.columns % fine.rows / 2;
        size_t z = i / fine.columns / fine.rows / 2;
        mean[(z * SIZE + y) * SIZE + x] += (int16_t)(fine.image[PHANTOM_T1][i] / 8);
    }
    assert_true(correlation(mean, coarse->image[PHANTOM_T1], voxels_of(coarse)) > 0.96);
    free(mean);
    phantom_release(&fine);
}

static void volumes_have_the_shape_and_field_of_view_of_brats(void **state)
{
    (void)state;
    assert_int_equal(phantom_slices(240), 155);
    assert_int_equal(phantom_slices(PHANTOM_SIZE_MIN), 24);
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        assert_int_equal(cohort[subject].rows, SIZE);
        assert_int_equal(cohort[subject].columns, SIZE);
        assert_int_equal(cohort[subject].slices, phantom_slices(SIZE));
        assert_true(fabsf(cohort[subject].spacing * SIZE - 240) < 1e-3f);
    }
}

static void background_is_zero_in_every_modality_and_the_brain_is_not(void **state)
{
    (void)state;
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        const struct phantom *phantom = &cohort[subject];
        size_t count = voxels_of(phantom), brain = 0, wrong = 0, at_edge = 0;
        for (size_t i = 0; i < count; i++) {
            bool inside = phantom->image[PHANTOM_T1][i] > 0;
            for (int which = 0; which < PHANTOM_MODALITIES; which++)
                wrong += (phantom->image[which][i] > 0) != inside || phantom->image[which][i] < 0;
            size_t x = i % SIZE, y = i / SIZE % SIZE;
            at_edge += inside && (x < 3 || y < 3 || x >= SIZE - 3 || y >= SIZE - 3);
            brain += inside;
        }
        assert_int_equal(wrong, 0);
        assert_int_equal(at_edge, 0);
        double litres = (double)brain * pow(phantom->spacing, 3) / 1e6;
        assert_true(litres > 0.95 && litres < 2.3);
    }
}

static void lesions_have_brats_labels_and_lie_in_the_brain(void **state)
{
    (void)state;
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        size_t count[8] = { 0 }, wrong = 0;
        for (size_t i = 0; i < voxels_of(&cohort[subject]); i++) {
            uint8_t label = cohort[subject].label[i];
            wrong += label > 4 || label == 3;
            wrong += label && !cohort[subject].image[PHANTOM_T1][i];
            count[label & 7]++;
        }
        assert_int_equal(wrong, 0);
        assert_true(count[1] + count[2] + count[4] > 0);
    }
}

static void lesions_vary_in_kind_and_size(void **state)
{
    (void)state;
    size_t least = SIZE_MAX, most = 0, without_core = 0, without_enhancement = 0;
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        size_t count[5] = { 0 };
        for (size_t i = 0; i < voxels_of(&cohort[subject]); i++)
            count[cohort[subject].label[i]]++;
        size_t whole = count[1] + count[2] + count[4];
        least = whole < least ? whole : least;
        most = whole > most ? whole : most;
        without_core += count[PHANTOM_NECROSIS] == 0;
        without_enhancement += count[PHANTOM_ENHANCING] == 0;
    }
    assert_true(most > 5 * least);
    assert_in_range(without_core, 1, SUBJECTS / 2);
    assert_in_range(without_enhancement, 1, SUBJECTS / 2);
}

/* The healthy voxels whose T1 lies between two of its quantiles, as bounds on T1. */
static void t1_between(const struct phantom *phantom, double low, double high, int bound[2])
{
    size_t *histogram = calloc(INT16_MAX + 1, sizeof *histogram), total = 0, sum = 0;
    for (size_t i = 0; i < voxels_of(phantom); i++)
        if (phantom->image[PHANTOM_T1][i] > 0 && phantom->label[i] == 0) {
            histogram[phantom->image[PHANTOM_T1][i]]++;
            total++;
        }
    bound[0] = bound[1] = 0;
    for (int value = 1; value <= INT16_MAX; value++) {
        if ((double)sum <= low * (double)total)
            bound[0] = value;
        if ((double)sum < high * (double)total)
            bound[1] = value;
        sum += histogram[value];
    }
    free(histogram);
}

/* The mean of one modality over those voxels. */
static double mean_between(const struct phantom *phantom, int which, double low, double high)
{
    int bound[2];
    size_t found = 0;
    double sum = 0;
    t1_between(phantom, low, high, bound);
    for (size_t i = 0; i < voxels_of(phantom); i++) {
        int t1 = phantom->image[PHANTOM_T1][i];
        if (t1 > 0 && phantom->label[i] == 0 && t1 >= bound[0] && t1 <= bound[1]) {
            sum += phantom->image[which][i];
            found++;
        }
    }
    return sum / (double)found;
}

/* Tissues are told apart by T1 alone: its darkest voxels are fluid, its middle is mostly grey
 * matter, its brightest white. */
static void tissues_have_the_contrast_of_each_modality(void **state)
{
    (void)state;
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        double fluid[PHANTOM_MODALITIES], grey[PHANTOM_MODALITIES], white[PHANTOM_MODALITIES];
        for (int which = 0; which < PHANTOM_MODALITIES; which++) {
            fluid[which] = mean_between(&cohort[subject], which, 0, 0.05);
            grey[which] = mean_between(&cohort[subject], which, 0.3, 0.5);
            white[which] = mean_between(&cohort[subject], which, 0.85, 1);
        }
        assert_true(white[PHANTOM_T1] > 1.15 * grey[PHANTOM_T1]);
        assert_true(grey[PHANTOM_T1] > 1.15 * fluid[PHANTOM_T1]);
        assert_true(white[PHANTOM_T1CE] > 1.1 * grey[PHANTOM_T1CE]);
        assert_true(fluid[PHANTOM_T2] > 1.15 * grey[PHANTOM_T2]);
        assert_true(grey[PHANTOM_T2] > 1.1 * white[PHANTOM_T2]);
        assert_true(fluid[PHANTOM_FLAIR] < 0.9 * white[PHANTOM_FLAIR]);
    }
}

/* The mean of a modality over one label, and how many voxels have it. */
static double mean_of_label(const struct phantom *phantom, int which, int label, size_t *count)
{
    double sum = 0;
    *count = 0;
    for (size_t i = 0; i < voxels_of(phantom); i++)
        if (phantom->label[i] == label) {
            sum += phantom->image[which][i];
            ++*count;
        }
    return sum / (double)*count;
}

static void oedema_is_bright_in_flair_and_the_rim_with_contrast_agent(void **state)
{
    (void)state;
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        const struct phantom *phantom = &cohort[subject];
        size_t oedema_voxels, rim_voxels;
        double flair = mean_between(phantom, PHANTOM_FLAIR, 0.3, 0.5);
        double oedema = mean_of_label(phantom, PHANTOM_FLAIR, PHANTOM_OEDEMA, &oedema_voxels);
        if (oedema_voxels > 20)
            assert_true(oedema > 1.2 * flair);
        /* Enhancement is what the agent adds: T1ce over T1, in the rim against healthy white. */
        double white = mean_between(phantom, PHANTOM_T1CE, 0.85, 1) /
                       mean_between(phantom, PHANTOM_T1, 0.85, 1);
        double rim = mean_of_label(phantom, PHANTOM_T1CE, PHANTOM_ENHANCING, &rim_voxels) /
                     mean_of_label(phantom, PHANTOM_T1, PHANTOM_ENHANCING, &rim_voxels);
        if (rim_voxels > 20)
            assert_true(rim > 1.7 * white);
    }
}

/* The study's rule (more than 15 % of pixels with T1 above 50 of 255), and 240 padded to 256. */
static void the_keep_rule_keeps_a_good_share_of_every_subject(void **state)
{
    (void)state;
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        const int16_t *t1 = cohort[subject].image[PHANTOM_T1];
        size_t kept = 0, slices = cohort[subject].slices;
        int highest = 0;
        for (size_t i = 0; i < voxels_of(&cohort[subject]); i++)
            highest = t1[i] > highest ? t1[i] : highest;
        for (size_t z = 0; z < slices; z++) {
            size_t bright = 0;
            for (size_t i = 0; i < SIZE * SIZE; i++)
                bright += t1[z * SIZE * SIZE + i] * 255 > 50 * highest;
            kept += (double)bright > 0.15 * SIZE * SIZE * (256.0 * 256) / (240.0 * 240);
        }
        assert_true(10 * kept >= 4 * slices);
    }
}

/* In LPS the cerebellum, lowest in z, lies behind the middle: at larger y. */
static void the_lowest_slices_lie_to_the_back(void **state)
{
    (void)state;
    for (size_t subject = 0; subject < SUBJECTS; subject++) {
        double low = 0, all = 0, low_count = 0, all_count = 0;
        size_t slice = SIZE * SIZE, lowest = voxels_of(&cohort[subject]);
        for (size_t i = 0; i < voxels_of(&cohort[subject]); i++) {
            if (!cohort[subject].image[PHANTOM_T1][i])
                continue;
            lowest = i / slice < lowest ? i / slice : lowest;
            bool is_low = i / slice < lowest + 6;
            all += (double)(i / SIZE % SIZE);
            all_count++;
            low += is_low ? (double)(i / SIZE % SIZE) : 0;
            low_count += is_low;
        }
        assert_true(low / low_count > all / all_count + 2);
    }
}

static void deformed_heads_keep_the_volume_of_their_template(void **state)
{
    (void)state;
    double expected = 0, mean = 0;
    for (size_t i = 0; i < template.slices * template.rows * template.columns; i++)
        expected += template_voxels[i] > 0 ? 8 : 0;
    for (size_t subject = BUILT; subject < SUBJECTS; subject++) {
        double volume = 0, voxel = pow(cohort[subject].spacing, 3);
        for (size_t i = 0; i < voxels_of(&cohort[subject]); i++)
            volume += cohort[subject].image[PHANTOM_T1][i] > 0 ? voxel : 0;
        assert_true(volume > 0.7 * expected && volume < 1.35 * expected);
        mean += volume / DEFORMED;
    }
    assert_true(fabs(mean / expected - 1) < 0.15);
}

/* Two heads are alike as heads are; undeformed, those of one template would correlate at nearly 1.
 */
static void heads_of_either_kind_are_alike_but_not_the_same(void **state)
{
    (void)state;
    double between[2] = { 0 }, pairs[2] = { 0 };
    for (size_t a = 0; a < SUBJECTS; a++)
        for (size_t b = 0; b < a; b++)
            if ((a < BUILT) == (b < BUILT)) {
                between[a < BUILT] +=
                    correlation(cohort[a].image[PHANTOM_T1], cohort[b].image[PHANTOM_T1],
                                voxels_of(&cohort[a]));
                pairs[a < BUILT]++;
            }
    double deformed = between[0] / pairs[0], built = between[1] / pairs[1];
    assert_true(deformed > 0.6 && deformed < 0.97);
    assert_true(built > 0.6 && built < 0.95);
}

static void refused(struct phantom_settings settings, const char *part)
{
    struct phantom phantom;
    struct error err;
    assert_false(phantom_generate(&settings, 0, &phantom, &err));
    assert_contains(err.message, part);
    assert_null(phantom.image[PHANTOM_T1]);
    assert_null(phantom.label);
    phantom_release(&phantom);
}

static void sizes_out_of_range_are_refused(void **state)
{
    (void)state;
    refused((struct phantom_settings){ .size = PHANTOM_SIZE_MIN - 1 }, "size 31: expected 32 to");
    refused((struct phantom_settings){ .size = PHANTOM_SIZE_MAX + 1 }, "size 513: expected 32 to");
    refused((struct phantom_settings){ .size = SIZE_MAX }, "expected 32 to 512 rows and columns");
}

static void templates_that_are_no_head_are_refused(void **state)
{
    (void)state;
    size_t count = template.slices * template.rows * template.columns;
    float *voxels = calloc(count, sizeof *voxels);
    struct phantom_template bad = template;
    struct phantom_settings settings = { .size = SIZE, .template = &bad };
    bad.voxels = voxels;
    refused(settings, "no positive voxel");
    for (size_t i = 0; i < count; i++)
        voxels[i] = template_voxels[i] > 0 ? 7 : 0;
    refused(settings, "grey and white matter");
    voxels[count / 2] = NAN;
    refused(settings, "not a finite number");
    bad = template;
    bad.spacing[1] = 0;
    refused(settings, "0 mm along y");
    bad.spacing[1] = 15;
    refused(settings, "check its spacing");
    bad = template;
    bad.rows = 0;
    refused(settings, "at least 8 along each axis");
    free(voxels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_subject_has_the_same_bytes_whatever_the_thread_count),
        cmocka_unit_test(subjects_made_side_by_side_are_those_made_alone),
        cmocka_unit_test(another_seed_makes_another_patient),
        cmocka_unit_test(no_two_subjects_look_like_copies),
        cmocka_unit_test(another_size_shows_the_same_patient),
        cmocka_unit_test(volumes_have_the_shape_and_field_of_view_of_brats),
        cmocka_unit_test(background_is_zero_in_every_modality_and_the_brain_is_not),
        cmocka_unit_test(lesions_have_brats_labels_and_lie_in_the_brain),
        cmocka_unit_test(lesions_vary_in_kind_and_size),
        cmocka_unit_test(tissues_have_the_contrast_of_each_modality),
        cmocka_unit_test(oedema_is_bright_in_flair_and_the_rim_with_contrast_agent),
        cmocka_unit_test(the_keep_rule_keeps_a_good_share_of_every_subject),
        cmocka_unit_test(the_lowest_slices_lie_to_the_back),
        cmocka_unit_test(deformed_heads_keep_the_volume_of_their_template),
        cmocka_unit_test(heads_of_either_kind_are_alike_but_not_the_same),
        cmocka_unit_test(sizes_out_of_range_are_refused),
        cmocka_unit_test(templates_that_are_no_head_are_refused),
    };
    return cmocka_run_group_tests(tests, make_cohorts, release_cohorts);
}
