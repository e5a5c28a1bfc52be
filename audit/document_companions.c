/* The companions of an audit (companions.h), made from its searches, as JSON. */
#include "audit/document_parts.h"

#include <math.h>

/* The distance to the neighbour of a rank (from 0), NAN for images that cannot serve. */
static double *distances(struct audit_run *run, const struct near *near, const double *correlation,
                         size_t rank)
{
    double *values = arena_array(&run->arena, double, near->count + 1);
    for (size_t i = 0; i < near->count; i++)
        values[i] = isnan(correlation[i]) || rank >= near->k
                        ? NAN
                        : distance_of(near->nearest[i * near->k + rank].correlation);
    return values;
}

struct sample sample_of(struct audit_run *run, const double *values, const uint32_t *groups,
                        size_t count)
{
    double *kept = arena_array(&run->arena, double, count + 1);
    uint32_t *kept_groups = groups ? arena_array(&run->arena, uint32_t, count + 1) : NULL;
    struct sample sample = { kept, kept_groups, 0 };
    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i]))
            continue;
        if (groups)
            kept_groups[sample.count] = groups[i];
        kept[sample.count++] = values[i];
    }
    return sample;
}

/* The subject of each image's nearest training image. */
static uint32_t *cells_of(struct audit_run *run, const struct near *near)
{
    const uint32_t *groups = images_of(run, SET_TRAIN)->groups;
    uint32_t *cells = arena_array(&run->arena, uint32_t, near->count + 1);
    for (size_t i = 0; i < near->count; i++)
        cells[i] = groups[near->nearest[i * near->k].id];
    return cells;
}

struct bootstrap bootstrap_of(const struct audit_run *run)
{
    return (struct bootstrap){ (uint64_t)run->settings->seed, (size_t)run->settings->bootstrap,
                               joint_confidence(run->job->candidates) };
}

static struct json *ct_json(struct audit_run *run)
{
    const struct control_values *holdout = &run->control[SOURCE_HOLDOUT];
    if (!holdout->present)
        return NULL;
    struct near *near[2] = { &run->synthetic, (struct near *)&holdout->near };
    const double *correlation[2] = { run->correlation, holdout->correlation };
    struct sample sample[2], cell[2];
    for (int s = 0; s < 2; s++) {
        double *values = distances(run, near[s], correlation[s], 0);
        uint32_t *cells = cells_of(run, near[s]);
        sample[s] =
            sample_of(run, values, s ? images_of(run, SET_HOLDOUT)->groups : NULL, near[s]->count);
        cell[s] = sample_of(run, values, cells, near[s]->count);
    }
    if (!sample[0].count || !sample[1].count)
        return NULL;
    struct bootstrap bootstrap = bootstrap_of(run);
    struct copying_test test =
        copying_test(&sample[0], cell[0].groups, &sample[1], cell[1].groups, &bootstrap);
    struct json *object = estimate_json(test.value);
    put_count(object, "cells", test.cells);
    json_put_real(object, "z_without_cells", test.z);
    return object;
}

static struct json *authenticity_json(struct audit_run *run)
{
    size_t count = run->synthetic.count;
    double *near = distances(run, &run->synthetic, run->correlation, 0),
           *reach = arena_array(&run->arena, double, count + 1);
    for (size_t i = 0; i < count; i++)
        reach[i] = run->reach[run->synthetic.nearest[i * run->k].id];
    size_t authentic = 0, of = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(near[i]) || isnan(reach[i]))
            continue;
        of++;
        authentic += near[i] > reach[i];
    }
    if (!of)
        return NULL;
    struct json *object = json_new_object();
    put_share(object, share_of(authentic, of, joint_confidence(run->job->candidates)));
    return object;
}

static struct json *dcr_json(struct audit_run *run)
{
    size_t count = run->synthetic.count, train = count_of(run, SET_TRAIN),
           holdout = count_of(run, SET_HOLDOUT);
    if (!run->sets.holdout)
        return NULL;
    double *to_train = distances(run, &run->synthetic, run->correlation, 0),
           *to_holdout = arena_array(&run->arena, double, count + 1);
    for (size_t i = 0; i < count; i++)
        to_holdout[i] = distance_of(run->in_holdout.nearest[i].correlation);
    struct json *object = json_new_object();
    put_share(object,
              share_below(to_train, to_holdout, count, joint_confidence(run->job->candidates)));
    json_put_real(object, "expected", (double)train / (double)(train + holdout));
    json_put(object, "synthetic", summary_json(to_train, count));
    const struct control_values *control = &run->control[SOURCE_HOLDOUT];
    json_put(object, "holdout",
             summary_json(distances(run, &control->near, control->correlation, 0), control->count));
    return object;
}

static struct json *nndr_of(struct audit_run *run, const struct near *near,
                            const double *correlation)
{
    double *first = distances(run, near, correlation, 0),
           *second = distances(run, near, correlation, 1);
    for (size_t i = 0; i < near->count; i++)
        first[i] = second[i] > 0 ? first[i] / second[i] : isnan(second[i]) ? NAN : 1;
    return summary_json(first, near->count);
}

static struct json *nndr_json(struct audit_run *run)
{
    if (run->k < 2)
        return NULL;
    const struct control_values *holdout = &run->control[SOURCE_HOLDOUT];
    struct json *object = json_new_object();
    json_put(object, "synthetic", nndr_of(run, &run->synthetic, run->correlation));
    if (holdout->present)
        json_put(object, "holdout", nndr_of(run, &holdout->near, holdout->correlation));
    else
        json_put_null(object, "holdout");
    return object;
}

/* How many images lie nearer than alpha times the mean distance to their n nearest. */
static struct share carlini_share(const struct audit_run *run, const struct near *near,
                                  const double *correlation, size_t n)
{
    double alpha = run->settings->carlini_alpha;
    size_t below = 0, of = 0;
    for (size_t i = 0; i < near->count; i++) {
        double sum = 0;
        if (isnan(correlation[i]))
            continue;
        for (size_t r = 0; r < n; r++)
            sum += distance_of(near->nearest[i * near->k + r].correlation);
        of++;
        below += distance_of(near->nearest[i * near->k].correlation) < alpha * sum / (double)n;
    }
    return share_of(below, of, joint_confidence(run->job->candidates));
}

static struct json *carlini_json(struct audit_run *run)
{
    size_t n = (size_t)run->settings->carlini;
    const struct control_values *holdout = &run->control[SOURCE_HOLDOUT];
    n = n < run->k ? n : run->k;
    if (!n)
        return NULL;
    struct json *object = json_new_object(), *control = NULL;
    put_share(object, carlini_share(run, &run->synthetic, run->correlation, n));
    put_count(object, "neighbours", n);
    json_put_real(object, "alpha", run->settings->carlini_alpha);
    if (holdout->present) {
        control = json_new_object();
        put_share(control, carlini_share(run, &holdout->near, holdout->correlation, n));
        json_put(object, "holdout", control);
    } else
        json_put_null(object, "holdout");
    return object;
}

/* Distances of real images to their nearest synthetic one. */
static struct sample attacked(struct audit_run *run, const struct search_result *result,
                              enum set_role role)
{
    size_t count = count_of(run, role);
    double *values = arena_array(&run->arena, double, count + 1);
    for (size_t i = 0; i < count; i++)
        values[i] =
            run->looks[role][i].constant ? NAN : distance_of(result->nearest[i].correlation);
    return sample_of(run, values, images_of(run, role)->groups, count);
}

static struct json *mia_json(struct audit_run *run)
{
    if (!run->sets.holdout)
        return NULL;
    struct sample members = attacked(run, &run->train_in_synthetic, SET_TRAIN),
                  others = attacked(run, &run->holdout_in_synthetic, SET_HOLDOUT);
    if (!members.count || !others.count)
        return NULL;
    struct bootstrap bootstrap = bootstrap_of(run);
    struct membership_inference mia = membership_inference(&members, &others, &bootstrap);
    struct json *object = json_new_object(),
                *rates[2] = { estimate_json(mia.tpr_1), estimate_json(mia.tpr_01) };
    put_count(object, "members", mia.members);
    put_count(object, "non_members", mia.others);
    json_put(object, "auc", estimate_json(mia.auc));
    json_put_bool(rates[0], "supported", mia.supported_1);
    json_put_bool(rates[1], "supported", mia.supported_01);
    json_put(object, "tpr_at_1_percent", rates[0]);
    json_put(object, "tpr_at_0_1_percent", rates[1]);
    return object;
}

struct json *companions_json(struct audit_run *run)
{
    static const struct {
        const char *key;
        struct json *(*make)(struct audit_run *run);
    } companions[] = { { "ct", ct_json },   { "authenticity", authenticity_json },
                       { "dcr", dcr_json }, { "nndr", nndr_json },
                       { "mia", mia_json }, { "carlini", carlini_json } };
    struct json *object = json_new_object();
    for (size_t i = 0; i < sizeof companions / sizeof *companions; i++) {
        struct json *made = companions[i].make(run);
        if (made)
            json_put(object, companions[i].key, made);
        else
            json_put_null(object, companions[i].key);
    }
    return object;
}
