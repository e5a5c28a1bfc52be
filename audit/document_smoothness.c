/* Of memorization.json: whether synthetic images are as smooth as the control's. All that the
 * control says of chance is about images drawn like it; a difference here is one that moves every
 * statistic at once (roughness.h). That there is none at these two scales does not say that the
 * sets are alike. */
#include "audit/document_parts.h"

#include <math.h>

/* A distance of distributions that is warned of, over what chance brings (Smirnov 1948, 95 %). */
#define NOTABLE   0.25
#define BY_CHANCE 1.36
/* From here on the difference is said to go one way. */
#define ONE_SIDED 0.75
/* Of either set, for the comparison to say anything. */
enum { LEAST_IMAGES = 20 };

static void compare(struct audit_run *run, struct smoothness_at *at, const uint32_t *groups)
{
    struct sample first = sample_of(run, at->synthetic, NULL, at->synthetic_count),
                  second = sample_of(run, at->control, groups, at->control_count);
    struct bootstrap bootstrap = bootstrap_of(run);
    if (first.count < LEAST_IMAGES || second.count < LEAST_IMAGES)
        return;
    double n = (double)first.count, m = (double)second.count;
    at->smoother = probability_below(&first, &second, &bootstrap);
    at->distance = kolmogorov_distance(first.values, first.count, second.values, second.count);
    at->notable = at->distance >= NOTABLE + BY_CHANCE * sqrt((n + m) / (n * m));
}

static struct smoothness_at smoothness_at(struct audit_run *run, int source, int scale)
{
    size_t count = count_of(run, SET_SYNTHETIC);
    struct smoothness_at at = { .smoother = { NAN, { NAN, NAN } },
                                .distance = NAN,
                                .synthetic_count = count };
    at.synthetic = arena_array(&run->arena, double, count + 1);
    for (size_t i = 0; i < count; i++)
        at.synthetic[i] =
            isnan(run->correlation[i]) ? NAN : run->looks[SET_SYNTHETIC][i].roughness[scale];
    if (source == SOURCE_COUNT)
        return at;
    const struct control_values *control = &run->control[source];
    at.control_count = control->count;
    at.control = arena_array(&run->arena, double, control->count + 1);
    for (size_t i = 0; i < control->count; i++)
        at.control[i] =
            isnan(control->correlation[i]) ? NAN : control_look(run, source, i)->roughness[scale];
    compare(run, &at, audit_control_images(run, source).groups);
    return at;
}

struct smoothness smoothness_of(struct audit_run *run, int source)
{
    struct smoothness smoothness;
    for (int scale = 0; scale < SCALE_COUNT; scale++)
        smoothness.at[scale] = smoothness_at(run, source, scale);
    return smoothness;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

static void put_scale(struct json *object, const struct smoothness_at *at)
{
    json_put(object, "synthetic", summary_json(at->synthetic, at->synthetic_count));
    if (at->control)
        json_put(object, "control", summary_json(at->control, at->control_count));
    else
        json_put_null(object, "control");
    if (isnan(at->smoother.value))
        json_put_null(object, "smoother");
    else
        json_put(object, "smoother", estimate_json(at->smoother));
    json_put_real(object, "distance", at->distance);
}

struct json *smoothness_json(const struct smoothness *smoothness)
{
    struct json *object = json_new_object(), *coarse = json_new_object();
    json_put_string(object, "measure", "Geary's contiguity ratio");
    put_scale(object, &smoothness->at[SCALE_FINE]);
    put_count(coarse, "pixels_apart", roughness_steps[SCALE_COARSE]);
    put_scale(coarse, &smoothness->at[SCALE_COARSE]);
    json_put(object, "coarse", coarse);
    return object;
}

/* ---- warnings -------------------------------------------------------------------------------- */

static void warn_of_difference(struct audit_run *run, const struct smoothness *smoothness)
{
    const struct smoothness_at *fine = &smoothness->at[SCALE_FINE],
                               *coarse = &smoothness->at[SCALE_COARSE],
                               *notable = fine->notable ? fine : coarse;
    const char *advice = run->sets.holdout ? "; the control matched_holdout holds them against "
                                             "images that were made as smooth"
                                           : "";
    if (!notable->notable)
        return;
    if (fine->smoother.value >= ONE_SIDED)
        text_format(&run->warnings,
                    "in %.3g %% of all pairs the synthetic image is smoother than the control's: "
                    "what is smooth is near to everybody, so images that copy nothing may be "
                    "flagged%s\n",
                    100 * fine->smoother.value, advice);
    else if (fine->smoother.value <= 1 - ONE_SIDED)
        text_format(&run->warnings,
                    "in %.3g %% of all pairs the synthetic image is rougher than the control's: "
                    "noise keeps an image away from everybody, so copies may stay below the "
                    "thresholds%s\n",
                    100 * (1 - fine->smoother.value), advice);
    else
        text_format(&run->warnings,
                    "the synthetic images are not as smooth as the control's, some more, some less "
                    "(distance of the distributions: %.2g, %zu pixel%s apart): thresholds are of "
                    "images that look otherwise, and may flag strangers or let copies pass\n",
                    notable->distance, roughness_steps[notable == coarse],
                    notable == coarse ? "s" : "");
}

/* Thresholds of images that were changed: what was done, and whether it was enough. */
static void warn_of_change(struct audit_run *run, const struct smoothness *after)
{
    const struct likening *change = &run->matching.change;
    const struct smoothness_at *fine = &after->at[SCALE_FINE], *coarse = &after->at[SCALE_COARSE];
    if (change->change != LIKEN_NOTHING)
        text_format(&run->warnings,
                    "the thresholds are those of held-out images %s: that the rate of false "
                    "positives holds is not guaranteed\n",
                    likening_words(change, &run->arena));
    if (!change->met || fine->notable || coarse->notable)
        text_format(&run->warnings,
                    "the held-out images could not be made as smooth as the synthetic ones "
                    "(distances of the distributions: %.2g, and %.2g at %zu pixels): the "
                    "thresholds may flag strangers or let copies pass. Audit with --control "
                    "holdout, too; a set of smooth and rough images has to be audited in parts\n",
                    fine->distance, coarse->distance, roughness_steps[SCALE_COARSE]);
}

void warn_of_smoothness(struct audit_run *run, const struct smoothness *given,
                        const struct smoothness *matched)
{
    if (run->used == SOURCE_MATCHED)
        warn_of_change(run, matched);
    else
        warn_of_difference(run, given);
}
