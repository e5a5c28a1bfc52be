/* Advice; see advice.h. Each adviser looks at the numbers and speaks, or is silent. */
#include "report/advice.h"

#include <math.h>
#include <string.h>

/* What either end of an interval may err, where so many candidates share its 5 %. */
static double side_of(double candidates)
{
    return 0.025 / (candidates > 1 ? candidates : 1);
}

double images_needed(double limit, double candidates)
{
    if (!(limit > 0) || limit >= 1)
        return 0;
    return ceil(log(side_of(candidates)) / log1p(-limit));
}

/* What a standard normal variable exceeds with this probability: 1.96 of 0.025. */
static double normal_deviate(double tail)
{
    double low = 0, high = 10;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        *(erfc(middle / sqrt(2)) / 2 > tail ? &low : &high) = middle;
    }
    return low;
}

/* The first row that failed and whose metric begins so; NULL: there is none. */
static const struct policy_result *failed(const struct facts *facts, const char *metric)
{
    for (size_t i = 0; i < facts->result_count; i++)
        if (!facts->results[i].passed && text_starts_with(facts->results[i].row->metric, metric))
            return &facts->results[i];
    return NULL;
}

static double flagged_count(const struct facts *facts)
{
    return fact_number(facts->memorization, "flagged.count");
}

/* ---- nothing to say about -------------------------------------------------------------------- */

static void advise_audit(const struct facts *facts, struct text *advice)
{
    if (!facts->memorization)
        text_add(advice, "Run the audit: lethe run PLAN --until audit.\n");
}

/* ---- nothing would be seen ------------------------------------------------------------------- */

static void advise_preparation(const struct facts *facts, struct text *advice)
{
    const char *change = fact_string(facts->memorization, "preparation.mean_images.change");
    if (change && strcmp(change, "none") != 0)
        text_format(advice,
                    "The synthetic images do not lie as the training images do, so copies among "
                    "them would not be seen. Change them as their means say (%s), and audit "
                    "again.\n",
                    change);
}

/* ---- the generator remembers ----------------------------------------------------------------- */

static void advise_memorised(const struct facts *facts, struct text *advice)
{
    double steps = facts->has_synthetic
                       ? fact_number(facts->synthetic.description, "origin.trained_steps")
                       : NAN;
    if (!(flagged_count(facts) > 0))
        return;
    text_add(advice, "The generator shows training images again. Memorisation grows with the "
                     "length of training: ");
    if (facts->choice)
        text_add(advice, "of the candidates, none did without. Name earlier ones, or smaller "
                         "generators (train: candidates).\n");
    else if (facts->job->generator && !isnan(steps))
        text_format(advice,
                    "let earlier checkpoints try, too, and the best that passes is released. This "
                    "set was drawn after %.0f steps: train: { candidates: [{ name: early, images: "
                    "N }, …] }, with N the images of a quarter and of half of these steps.\n",
                    steps);
    else
        text_add(advice, "ask who made the images for a set of an earlier checkpoint.\n");
}

/* Leaving the image out would not do: the audit did not see it, so there may be more like it. */
static void advise_marked(const struct facts *facts, struct text *advice)
{
    if (facts->marked == MARKS_COPIES)
        text_format(
            advice,
            "A reviewer marked copies that the audit did not flag: %s. There may be more like "
            "them: draw a set from an earlier checkpoint or a smaller generator, and have "
            "its pairs reviewed. If the mark was a mistake, mark the pairs again and import "
            "that: lethe review PLAN --import FILE.\n",
            facts->marked_reason);
}

static void advise_few_patients(const struct facts *facts, struct text *advice)
{
    double subjects = fact_number(facts->memorization, "counts.subjects");
    if (flagged_count(facts) > 0 && subjects < 100)
        text_format(advice,
                    "It learned from %.0f patients only. With so few a large generator can hold "
                    "them all: add patients, or make the generator smaller.\n",
                    subjects);
}

static void advise_duplicates(const struct facts *facts, struct text *advice)
{
    double pairs = fact_number(facts->memorization, "duplicates.train.pairs");
    if (flagged_count(facts) > 0 && pairs > 0)
        text_format(advice,
                    "%.0f pairs of training images are nearly equal, and what is seen often is "
                    "memorised first: remove duplicates, or keep fewer neighbouring slices.\n",
                    pairs);
}

/* Where images of unseen patients can be made as smooth, and were not. */
static void advise_smoothness(const struct facts *facts, struct text *advice)
{
    const struct json *audit = facts->memorization;
    double smoother = fact_number(audit, "smoothness.smoother.value");
    const char *used = fact_string(audit, "control.used");
    if (flagged_count(facts) > 0 && smoother >= 0.75 && used && strcmp(used, "holdout") == 0)
        text_format(advice,
                    "The images are smoother than real ones (in %.3g %% of all pairs), and what is "
                    "smooth is near to everybody: images that copy nothing may be among those "
                    "flagged. audit: { control: matched_holdout } holds them against images of "
                    "unseen patients that are changed to be as smooth.\n",
                    100 * smoother);
}

static void advise_quarantine(const struct facts *facts, struct text *advice)
{
    double images = fact_number(facts->memorization, "counts.synthetic");
    double flagged = flagged_count(facts);
    if (flagged > 0 && flagged < 0.02 * images &&
        facts->job->policy->quarantine != QUARANTINE_DROP && failed(facts, "memorization.flagged"))
        text_add(advice, "Few images are flagged: policy: { quarantine: drop } leaves them out and "
                         "judges again.\n");
}

/* ---- the numbers are too few ----------------------------------------------------------------- */

static void advise_threshold(const struct facts *facts, struct text *advice)
{
    const struct json *calibration = fact(facts->memorization, "calibration");
    double wanted = fact_number(calibration, "control_images_needed");
    double images = fact_number(calibration, "control_images");
    double subjects = fact_number(facts->memorization, "counts.holdout_subjects");
    if (!facts->memorization || fact_number(calibration, "supported") > 0)
        return;
    if (!(wanted > 0) || !(images > 0) || !(subjects > 0)) {
        text_add(advice,
                 "No patients were kept apart to set the threshold: set ingest: holdout.\n");
        return;
    }
    text_format(advice,
                "Too few patients were kept apart for the quantile that was asked for: the "
                "threshold takes %.0f images of unseen patients, and there are %.0f of %.0f "
                "patients. Keep about %.0f patients apart (ingest: holdout), or ask for a lower "
                "quantile (audit: quantile), which flags more images by chance.\n",
                wanted, images, subjects, ceil(subjects * wanted / images));
}

/* A limit below what chance brings cannot be kept by any generator. Where far more is flagged, that
 * is not what is wrong. */
static void advise_room(double share, double chance, double limit, struct text *advice)
{
    if (chance >= limit / 2 && share <= 3 * chance)
        text_format(advice,
                    "By chance alone about %.3g %% of images that copy nothing are flagged, so a "
                    "limit of %.3g %% leaves hardly any room: set a higher one, or ask for a "
                    "higher quantile (audit: quantile), which takes more unseen patients.\n",
                    100 * chance, 100 * limit);
}

static void advise_width(const struct facts *facts, struct text *advice)
{
    const struct policy_result *row = failed(facts, "memorization.flagged.fraction");
    double images = fact_number(facts->memorization, "counts.synthetic");
    double share = fact_number(facts->memorization, "flagged.fraction");
    double candidates = fact_number(facts->memorization, "flagged.candidates");
    double limit = row ? row->row->limit : NAN;
    char shown[TEXT_SHORT];
    if (!row || !row->measured || row->row->bound != BOUND_UPPER95)
        return;
    if (share >= limit && share > 0) {
        text_format(advice,
                    "%.3g %% of the images are flagged, which is more than the limit of %.3g %%: "
                    "drawing more images does not help.\n",
                    100 * share, 100 * limit);
        advise_room(share, fact_number(facts->memorization, "flagged.expected_by_chance") / images,
                    limit, advice);
    } else if (share > 0) { /* by the normal approximation */
        double z = normal_deviate(side_of(candidates)),
               needed = ceil(z * z * share * (1 - share) / ((limit - share) * (limit - share)));
        text_format(advice,
                    "%.3g %% of the images are flagged, and %.0f images show no better than "
                    "%s %%. Were the share to stay, about %.0f images would show the limit of "
                    "%.6g %%: draw more (sample: count).\n",
                    100 * share, images, text_upper_bound(shown, 100 * row->value),
                    fmax(needed, images_needed(limit, candidates)), 100 * limit);
    } else {
        text_format(advice,
                    "No image is flagged, but %.0f images show no better than %s %%. The limit of "
                    "%.6g %% takes %.0f images, none of them flagged: draw more (sample: count).\n",
                    images, text_upper_bound(shown, 100 * row->value), 100 * limit,
                    images_needed(limit, candidates));
    }
}

/* ---- usefulness ------------------------------------------------------------------------------ */

/* The number itself that a row about utility bounds; NaN where there is none. */
static double value_of(const struct facts *facts, const struct policy_row *row)
{
    struct policy_row plain = { row->metric, BOUND_VALUE, RULE_OF_BOUND, 0 };
    struct policy_settings settings = { .rows = { &plain, 1 } };
    struct policy_result *results;
    struct arena arena;
    arena_init(&arena);
    policy_judge(&settings, &(struct policy_evidence){ .utility = facts->utility }, &arena,
                 &results);
    double value = results->measured ? results->value : NAN;
    arena_release(&arena);
    return value;
}

static void advise_utility(const struct facts *facts, struct text *advice)
{
    const struct policy_result *row = failed(facts, "utility");
    if (!row)
        return;
    double mean = value_of(facts, row->row);
    if (!facts->utility)
        text_add(advice, "A condition is about utility, which was not measured: give the plan a "
                         "section utility, as in utility: { sources: [real, synthetic] }.\n");
    else if (!row->measured)
        text_format(advice, "The condition on %s speaks of what was not measured: %s.\n",
                    row->row->metric, row->reason);
    else if (row->row->bound == BOUND_LOWER95 && mean >= row->row->limit)
        text_format(advice,
                    "The set is useful enough (%.3g), but the test is too small to show it (at "
                    "least %.3g): keep more patients apart (ingest: holdout), or train more "
                    "segmenters (utility: seeds).\n",
                    mean, row->value);
    else
        text_add(advice, "The images are less useful than the policy asks for: train the generator "
                         "longer, or name later checkpoints and larger generators as candidates "
                         "(train: candidates); the audit says whether they still pass.\n");
}

/* ---- fidelity -------------------------------------------------------------------------------- */

static void advise_fidelity(const struct facts *facts, struct text *advice)
{
    const struct policy_result *row = failed(facts, "fidelity");
    if (!row)
        return;
    size_t channels = json_length(fact(facts->fidelity, "channels"));
    double images = fact_number(facts->fidelity, "compared.holdout.images");
    const char *no_classes = fact_string(facts->fidelity, "features.no_classes");
    if (!facts->fidelity)
        text_add(advice, "A condition is about fidelity, which was not measured: lethe run PLAN "
                         "measures it.\n");
    else if (strstr(row->row->metric, ".inception_score.") && no_classes)
        text_format(
            advice,
            "The condition on %s cannot be met: %s. Give the plan the weights that published "
            "scores have (fidelity: weights), or judge by other numbers.\n",
            row->row->metric, no_classes);
    else if (!row->measured)
        text_format(advice,
                    "The condition on %s speaks of what was not measured: %s. Numbers that take "
                    "images of more people are null: keep more patients apart (ingest: holdout).\n",
                    row->row->metric, row->reason);
    else
        text_format(advice,
                    "%s is %.4g, and has to be %s %.4g, measured on %.0f synthetic images, in %zu "
                    "channel%s. Where as many real images (control) are no better, too few "
                    "patients were kept apart to ask for that (ingest: holdout). Else train the "
                    "generator longer, or name larger ones as candidates (train: candidates); the "
                    "audit says whether they still pass.\n",
                    row->row->metric, row->value, policy_rule_words(row->row), row->row->limit,
                    images, channels, channels == 1 ? "" : "s");
}

/* ---- membership ------------------------------------------------------------------------------ */

static void advise_membership(const struct facts *facts, struct text *advice)
{
    const struct policy_result *row = failed(facts, "membership");
    if (!row)
        return;
    if (!facts->membership)
        text_add(advice, "A condition is about membership, which was not measured: lethe run PLAN "
                         "measures it.\n");
    else if (text_starts_with(row->row->metric, "membership.calibrated.") &&
             !json_has(facts->membership, "calibrated"))
        text_format(advice,
                    "The condition on %s speaks of what is measured beside references, and there "
                    "were none: references: { count: 2 } in the plan asks for a pair.\n",
                    row->row->metric);
    else if (!row->measured)
        text_format(advice,
                    "The condition on %s speaks of what was not measured: %s. An interval takes "
                    "several patients on either side (ingest: holdout).\n",
                    row->row->metric, row->reason);
    else
        text_format(
            advice,
            "%s is %.4g, and has to be %s %.4g. Where it is the interval that is wide, keep "
            "more patients apart (ingest: holdout); where the warnings say that training "
            "and held-out images differ, split one cohort at random. Else the model "
            "remembers: train it for fewer images, on more patients, or name earlier "
            "checkpoints as candidates (train: candidates).\n",
            row->row->metric, row->value, policy_rule_words(row->row), row->row->limit);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void (*const advisers[])(const struct facts *facts, struct text *advice) = {
    advise_audit,      advise_preparation, advise_memorised,  advise_marked,    advise_few_patients,
    advise_duplicates, advise_smoothness,  advise_quarantine, advise_threshold, advise_width,
    advise_utility,    advise_fidelity,    advise_membership,
};

/* Rows that no adviser knows are told as they are. */
static void advise_others(const struct facts *facts, struct text *advice)
{
    static const char *const known[] = { "memorization.flagged", "memorization.thresholds.",
                                         "utility", "fidelity", "membership" };
    for (size_t i = 0; facts->memorization && i < facts->result_count; i++) {
        const struct policy_result *result = &facts->results[i];
        bool is_known = result->passed;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known = is_known || text_starts_with(result->row->metric, known[k]);
        if (!is_known && result->measured)
            text_format(advice,
                        "%s is %.9g, and has to be %s %.9g (docs/audit.md says what it is).\n",
                        result->row->metric, result->value, policy_rule_words(result->row),
                        result->row->limit);
        else if (!is_known)
            text_format(advice, "%s was not measured: %s.\n", result->row->metric, result->reason);
    }
}

void advise(const struct facts *facts, struct text *advice)
{
    for (size_t i = 0; i < sizeof advisers / sizeof *advisers; i++)
        advisers[i](facts, advice);
    advise_others(facts, advice);
}
