#include "test.h"

#include "release/metric.h"

static struct error err;

static void what_audits_measure_can_be_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *metric;
        bool bounded;
    } good[] = {
        { "memorization.flagged.count", false },
        { "memorization.flagged.fraction", true },
        { "memorization.flagged", true }, /* the interval in it */
        { "memorization.flagged.upper95", false },
        { "memorization.flagged.by_channel_t1ce", false },
        { "memorization.thresholds.correlation.supported", false },
        { "memorization.thresholds.channel_flair.value", true },
        { "memorization.control.near_copies.count", false },
        { "memorization.control.matched_holdout.smoothness.coarse.distance", false },
        { "memorization.companions.ct.value", true },
        { "memorization.companions.mia.auc.interval[1]", false },
        { "memorization.exposure[0].flagged", false },
        { "memorization.settings.quantile", false },
        { "utility.relative_dice[source=synthetic].mean", true },
        { "utility.relative_dice[source=synthetic+0.25real,model=swin].classes[name=4].mean",
          true },
        { "utility.summary[source=synthetic-b,augmentation=usual].dice", true },
        { "utility.runs[seed=3,source=real].regions[0].hausdorff_95.mean", false },
        { "fidelity.mean.holdout.kid", true }, /* the interval in it */
        { "fidelity.mean.holdout.kid.difference", true },
        { "fidelity.mean.training.fid.ratio", false },
        { "fidelity.channels[name=t1].holdout.coverage.value", true },
        { "membership.subjects.auc", true },
        { "membership.images.tpr_at_1_percent.supported", false },
        { "membership.times[time=62].auc", false },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_ok(metric_check(good[i].metric, good[i].bounded, &err), err);
}

static void what_they_never_measure_is_named_with_what_was_meant(void **state)
{
    (void)state;
    static const struct {
        const char *metric, *message;
        bool bounded;
    } bad[] = {
        { "memorization.flaged.count",
          "\"memorization.flaged.count\" can never be measured: memorization.json never has "
          "\"flaged\"; did you mean \"flagged\"?" },
        { "memorization.thresholds.corelation.supported",
          "thresholds of memorization.json never has \"corelation\"; did you mean "
          "\"correlation\"?" },
        { "memorization.counts.zebras",
          "counts of memorization.json never has \"zebras\"; there are synthetic, train, holdout, "
          "subjects, holdout_subjects, constant" },
        { "memorization.counts.train.deeper", "nothing stands below counts.train" },
        { "memorization.counts", "counts of memorization.json is no number; there are synthetic" },
        { "memorization.schema", "schema of memorization.json is no number" },
        { "memorization.flagged.count",
          "flagged.count of memorization.json has no 95 % interval; the one that stands beside it "
          "is of \"fraction\"",
          true },
        { "memorization.nearest.mean", "has no 95 % interval, only a value", true },
        { "memorization.counts", "is no number", true },
        { "memorization.exposure.flagged",
          "exposure of memorization.json is a list; pick an entry, as in exposure[0]" },
        { "memorization.flagged[0].count", "flagged of memorization.json is no list" },
        { "memorization.flagged.images[-1]", "entries are counted from 0, not [-1]" },
        { "memorization.flagged.images[image=1]", "are picked by number, not by [image=1]" },
        { "utility.relative_dice.mean", "pick an entry, as in relative_dice[source=synthetic]" },
        { "fidelity.mean.holdout.fid.value", "fid.value of fidelity.json has no 95 % interval",
          true },
        { "fidelity.channels.holdout.kid", "pick an entry, as in channels[name=…]" },
        { "fidelity.mean.heldout.kid", "did you mean \"holdout\"?" },
        { "membership.patients.auc", "membership.json never has \"patients\"" },
        { "utility.relative_dice[synthetic].mean",
          "[synthetic] picks nothing; expected a number or KEY=VALUE" },
        { "utility.relative_dice[sauce=synthetic].mean",
          "no entry of relative_dice of utility.json has \"sauce\"; did you mean \"source\"?" },
        { "utility.relative_dice[source=sinthetic].mean",
          "\"source\" of relative_dice of utility.json never is \"sinthetic\"" },
        { "utility.relative_dice[model=unet,augmentation=usaul].mean", "did you mean \"usual\"?" },
        { "utility.relative_dice[classes=1].mean", "is no value that could pick an entry" },
        { "memorisation.flagged.count", "did you mean \"memorization\"?" },
        { "realism.fid", "is of no document that is measured" },
        { "memorization", "is no metric" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(metric_check(bad[i].metric, bad[i].bounded, &err));
        assert_contains(err.message, bad[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_audits_measure_can_be_asked_for),
        cmocka_unit_test(what_they_never_measure_is_named_with_what_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
