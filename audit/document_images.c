/* Of memorization.json: which subjects and images are concerned, and what a report draws of them.
 */
#include "audit/document_parts.h"

#include "audit/disguise.h"
#include "audit/tile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- exposure -------------------------------------------------------------------------------- */

struct exposed {
    const char *subject;
    bool held_out;
    size_t flagged, nearest;
};

static int most_exposed(const void *a, const void *b)
{
    const struct exposed *x = a, *y = b;
    if (x->flagged != y->flagged)
        return x->flagged > y->flagged ? -1 : 1;
    if (x->nearest != y->nearest)
        return x->nearest > y->nearest ? -1 : 1;
    int order = strcmp(x->subject, y->subject);
    return order ? order : x->held_out - y->held_out;
}

static size_t groups_of(const struct audit_run *run, enum set_role role)
{
    size_t groups = 0;
    for (size_t i = 0; i < count_of(run, role); i++)
        if (images_of(run, role)->groups[i] >= groups)
            groups = (size_t)images_of(run, role)->groups[i] + 1;
    return groups;
}

/* By training subject: how many synthetic images are nearest to it, and how many are flagged as
 * like one of its images; then by held-out subject: how many are one of its images. An image of
 * somebody who was held out does not speak against the training subject that it happens to be
 * nearest to. */
static void count_exposure(const struct audit_run *run, struct exposed *trained,
                           struct exposed *held_out)
{
    const struct audit_set *train = &run->sets.of[SET_TRAIN], *holdout = &run->sets.of[SET_HOLDOUT];
    for (size_t i = 0; i < count_of(run, SET_SYNTHETIC); i++) {
        uint64_t id = run->synthetic.nearest[i * run->k].id;
        if (run->looks[SET_SYNTHETIC][i].constant)
            continue;
        struct exposed *nearest = &trained[train->images.groups[id]],
                       *source = &trained[train->images.groups[run->source[i]]];
        nearest->subject = train->subjects[id];
        nearest->nearest++;
        source->subject = train->subjects[run->source[i]];
        source->flagged += run->calibration.flagged[i] && !run->held_out_alone[i];
        if (!run->held_out_twin || run->held_out_twin[i] == NO_TWIN)
            continue;
        struct exposed *shown = &held_out[holdout->images.groups[run->held_out_twin[i]]];
        shown->subject = holdout->subjects[run->held_out_twin[i]];
        shown->held_out = true;
        shown->flagged++;
    }
}

/* In the arena; subjects that are nobody's nearest are left out. */
static size_t expose(struct audit_run *run, struct exposed **exposed, struct flagged_people *people)
{
    size_t trained = groups_of(run, SET_TRAIN), groups = trained + groups_of(run, SET_HOLDOUT),
           count = 0;
    struct exposed *all = arena_array(&run->arena, struct exposed, groups);
    *people = (struct flagged_people){ 0 };
    count_exposure(run, all, all + trained);
    for (size_t g = 0; g < groups; g++) {
        if (!all[g].subject)
            continue;
        *(all[g].held_out ? &people->held_out : &people->trained) += all[g].flagged > 0;
        all[count++] = all[g];
    }
    if (count)
        qsort(all, count, sizeof *all, most_exposed);
    *exposed = all;
    return count;
}

struct json *exposure_json(struct audit_run *run, struct flagged_people *people)
{
    struct exposed *exposed;
    size_t count = expose(run, &exposed, people);
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json *subject = json_new_object();
        json_put_string(subject, "subject", exposed[i].subject);
        json_put_bool(subject, "held_out", exposed[i].held_out);
        put_count(subject, "flagged", exposed[i].flagged);
        put_count(subject, "nearest", exposed[i].nearest);
        json_push(list, subject);
    }
    return list;
}

/* ---- duplicates ------------------------------------------------------------------------------ */

static struct json *duplicates_of_set(const struct duplicates *duplicates, double limit)
{
    struct json *object = json_new_object();
    json_put_real(object, "limit", limit);
    put_count(object, "searched", duplicates->searched);
    put_count(object, "pairs", duplicates->pairs);
    json_put_bool(object, "pairs_complete", duplicates->complete);
    put_count(object, "images", duplicates->images);
    put_count(object, "groups", duplicates->groups);
    put_count(object, "largest_group", duplicates->largest);
    put_count(object, "identical", duplicates->identical);
    return object;
}

struct json *duplicates_json(const struct audit_run *run)
{
    struct json *object = json_new_object();
    double limit = run->settings->duplicate;
    json_put(object, "synthetic", duplicates_of_set(&run->duplicates[SET_SYNTHETIC], limit));
    json_put(object, "train", duplicates_of_set(&run->duplicates[SET_TRAIN], limit));
    return object;
}

/* ---- histograms ------------------------------------------------------------------------------ */

enum { BINS = 50 };

static struct json *histogram(const double *values, size_t count, double low, double high)
{
    size_t bins[BINS] = { 0 };
    struct json *list = json_new_array();
    for (size_t i = 0; values && i < count; i++) {
        if (isnan(values[i]))
            continue;
        double place = floor((values[i] - low) / (high - low) * BINS);
        bins[place < 0 ? 0 : place >= BINS ? BINS - 1 : (size_t)place]++;
    }
    for (size_t b = 0; b < BINS; b++)
        json_push_integer(list, (int64_t)bins[b]);
    return list;
}

enum { HISTOGRAM_ROWS = 1 + SOURCE_COUNT };
struct histogram_row {
    const char *key;
    const double *values;
    size_t count;
};

/* One histogram for each row, over the same bins. */
static struct json *histograms_of(const struct histogram_row rows[HISTOGRAM_ROWS], double low)
{
    struct json *object = json_new_object(), *edges = json_new_array();
    for (size_t b = 0; b <= BINS; b++)
        json_push_real(edges, low + (1 - low) * (double)b / BINS);
    json_put(object, "edges", edges);
    for (size_t r = 0; r < HISTOGRAM_ROWS; r++)
        json_put(object, rows[r].key, histogram(rows[r].values, rows[r].count, low, 1));
    return object;
}

struct json *histograms_json(const struct audit_run *run)
{
    const struct control_values *control = run->control;
    size_t count = count_of(run, SET_SYNTHETIC);
    struct histogram_row correlation[HISTOGRAM_ROWS] = {
        { "synthetic", run->correlation, count },
        { "holdout", control[SOURCE_HOLDOUT].correlation, control[SOURCE_HOLDOUT].count },
        { "other_subjects", control[SOURCE_OTHERS].correlation, control[SOURCE_OTHERS].count },
        { "matched_holdout", control[SOURCE_MATCHED].correlation, control[SOURCE_MATCHED].count },
    };
    struct histogram_row ratio[HISTOGRAM_ROWS] = {
        { "synthetic", run->ratio, count },
        { "holdout", control[SOURCE_HOLDOUT].ratio, control[SOURCE_HOLDOUT].count },
        { "other_subjects", control[SOURCE_OTHERS].ratio, control[SOURCE_OTHERS].count },
        { "matched_holdout", control[SOURCE_MATCHED].ratio, control[SOURCE_MATCHED].count },
    };
    double low = 1;
    for (size_t r = 0; r < HISTOGRAM_ROWS; r++)
        low = fmin(low, summary_of(correlation[r].values, correlation[r].count).minimum);
    low = floor(low * 20) / 20; /* NAN never is the least */
    struct json *object = json_new_object();
    json_put(object, "correlation", histograms_of(correlation, low < 1 ? low : 0.95));
    json_put(object, "local_ratio", histograms_of(ratio, 0));
    return object;
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static struct json *flags_of(const struct audit_run *run, size_t image)
{
    struct json *list = json_new_array();
    if (run->identical[image])
        json_push_string(list, "identity");
    for (size_t s = 0; s < run->calibration.statistics; s++)
        if (run->calibration.hit[s][image])
            json_push_string(list, run->calibration.threshold[s].name);
    return list;
}

/* What was done to the image so that it is like the one it is paired with. */
static const char *transform_of(const struct audit_run *run, size_t image,
                                char name[TRANSFORM_NAME])
{
    const struct disguise_match *match = run->matched[MATCH_DISGUISE].match;
    if (run->found_by[image] != MATCH_DISGUISE)
        return "none";
    return transform_name(&match[image].transform, name);
}

static struct json *place_json(const struct tile_place *place)
{
    struct json *object = json_new_object();
    json_put_real(object, "y", place->y);
    json_put_real(object, "x", place->x);
    json_put_real(object, "side", place->side);
    return object;
}

/* Which piece of the image is a piece of which training image, in pixels. */
static struct json *tile_json(const struct audit_run *run, size_t image)
{
    const struct tile_match *match =
        (const struct tile_match *)run->matched[run->found_by[image]].match + image;
    struct json *object = json_new_object();
    json_put(object, "synthetic", place_json(&match->query));
    json_put(object, "training", place_json(&match->training));
    json_put_bool(object, "mirrored", match->mirrored);
    return object;
}

/* What the image is paired with: the training image that it is like, or itself in the holdout. */
static void put_partner(struct json *pair, const struct audit_run *run, size_t image)
{
    const struct audit_set *train = &run->sets.of[SET_TRAIN], *holdout = &run->sets.of[SET_HOLDOUT];
    uint64_t id = run->source[image];
    int m = run->found_by[image];
    put_count(pair, "training", set_place(train, id));
    if (run->held_out_alone[image]) {
        size_t twin = run->held_out_twin[image];
        put_count(pair, "holdout", set_place(holdout, twin));
        json_put_string(pair, "subject", holdout->subjects[twin]);
        json_put_real(pair, "correlation", 1);
        json_put_null(pair, "local_ratio");
        return;
    }
    json_put_string(pair, "subject", train->subjects[id]);
    json_put_real(pair, "correlation",
                  m < 0 ? run->correlation[image] : run->matched[m].correlation[image]);
    json_put_real(pair, "local_ratio", m < 0 ? run->ratio[image] : run->matched[m].ratio[image]);
}

struct json *pairs_json(const struct audit_run *run, const struct pair *pairs, size_t count)
{
    char name[TRANSFORM_NAME];
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        size_t image = pairs[i].synthetic;
        struct json *pair = json_new_object();
        put_count(pair, "synthetic", set_place(&run->sets.of[SET_SYNTHETIC], image));
        put_partner(pair, run, image);
        json_put_string(pair, "transform", transform_of(run, image, name));
        if (finds_pieces(run->found_by[image]))
            json_put(pair, "tile", tile_json(run, image));
        json_put(pair, "flagged_by", flags_of(run, image));
        json_put_string(pair, "png", pairs[i].png);
        json_push(list, pair);
    }
    return list;
}
