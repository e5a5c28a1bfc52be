/* Of memorization.json: whether synthetic images are as smooth as the control's. All that the
 * control says of chance is about images drawn like it, and this is the one difference known to
 * move every statistic at once (roughness.h). */
#include "audit/document_parts.h"

#include <math.h>

/* Beyond this share of pairs a difference is warned of, where its interval leaves out one half. */
#define NOTABLE 0.75

struct smoothness smoothness_of(struct audit_run *run, int source)
{
    size_t count = count_of(run, SET_SYNTHETIC);
    struct smoothness smoothness = { .smoother = { NAN, { NAN, NAN } }, .synthetic_count = count };
    smoothness.synthetic = arena_array(&run->arena, double, count + 1);
    for (size_t i = 0; i < count; i++)
        smoothness.synthetic[i] =
            isnan(run->correlation[i]) ? NAN : run->looks[SET_SYNTHETIC][i].roughness;
    if (source == SOURCE_COUNT)
        return smoothness;
    const struct control_values *control = &run->control[source];
    struct image_set images = audit_control_images(run, source);
    smoothness.control_count = control->count;
    smoothness.control = arena_array(&run->arena, double, control->count + 1);
    for (size_t i = 0; i < control->count; i++)
        smoothness.control[i] =
            isnan(control->correlation[i]) ? NAN : control_look(run, source, i)->roughness;
    struct sample first = sample_of(run, smoothness.synthetic, NULL, count),
                  second = sample_of(run, smoothness.control, images.groups, control->count);
    struct bootstrap bootstrap = bootstrap_of(run);
    if (first.count && second.count)
        smoothness.smoother = probability_below(&first, &second, &bootstrap);
    return smoothness;
}

struct json *smoothness_json(const struct smoothness *smoothness)
{
    struct json *object = json_new_object();
    json_put_string(object, "measure", "Geary's contiguity ratio");
    json_put(object, "synthetic", summary_json(smoothness->synthetic, smoothness->synthetic_count));
    if (smoothness->control)
        json_put(object, "control", summary_json(smoothness->control, smoothness->control_count));
    else
        json_put_null(object, "control");
    if (isnan(smoothness->smoother.value))
        json_put_null(object, "smoother");
    else
        json_put(object, "smoother", estimate_json(smoothness->smoother));
    return object;
}

void warn_of_smoothness(struct audit_run *run, const struct smoothness *smoothness)
{
    const struct estimate *smoother = &smoothness->smoother;
    const char *advice = run->sets.holdout && run->used != SOURCE_MATCHED
                             ? "; the control matched_holdout holds them against images "
                               "that were made as smooth"
                             : "";
    if (smoother->value >= NOTABLE && smoother->interval.low > 0.5)
        text_format(&run->warnings,
                    "in %.3g %% of all pairs the synthetic image is smoother than the control's: "
                    "what is smooth is near to everybody, so images that copy nothing may be "
                    "flagged%s\n",
                    100 * smoother->value, advice);
    if (smoother->value <= 1 - NOTABLE && smoother->interval.high < 0.5)
        text_format(&run->warnings,
                    "in %.3g %% of all pairs the synthetic image is rougher than the control's: "
                    "noise keeps an image away from everybody, so copies may stay below the "
                    "thresholds%s\n",
                    100 * (1 - smoother->value), advice);
}
