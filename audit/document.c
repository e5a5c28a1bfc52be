/* memorization.json, and the same in three lines; see memorization.h. docs/audit.md says what each
 * number means. Nothing here depends on time, place or machine. */
#include "audit/document_parts.h"

#include "audit/disguise.h"
#include "audit/tile.h"
#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- pieces -----------------------------------------------------------------------------------
 */

void put_count(struct json *object, const char *key, uint64_t count)
{
    json_put_integer(object, key, (int64_t)count);
}

struct json *interval_json(struct interval interval)
{
    struct json *pair = json_new_array();
    json_push_real(pair, interval.low); /* an infinite end is null */
    json_push_real(pair, interval.high);
    return pair;
}

static void put_summary(struct json *object, struct summary summary)
{
    const struct {
        const char *key;
        double value;
    } rows[] = { { "mean", summary.mean }, { "minimum", summary.minimum }, { "p1", summary.p1 },
                 { "p5", summary.p5 },     { "p50", summary.p50 },         { "p95", summary.p95 },
                 { "p99", summary.p99 },   { "max", summary.maximum } };
    put_count(object, "count", summary.count);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        json_put_real(object, rows[i].key, rows[i].value);
}

/* Of the values that are there. */
struct summary summary_of(const double *values, size_t count)
{
    double *kept = memory_grow(NULL, count + 1, sizeof *kept);
    size_t found = 0;
    for (size_t i = 0; values && i < count; i++)
        if (!isnan(values[i]))
            kept[found++] = values[i];
    struct summary summary = summarise(kept, found);
    free(kept);
    return summary;
}

struct json *summary_json(const double *values, size_t count)
{
    struct json *object = json_new_object();
    put_summary(object, summary_of(values, count));
    return object;
}

void put_share(struct json *object, struct share share)
{
    put_count(object, "count", share.count);
    put_count(object, "of", share.of);
    json_put_real(object, "fraction", share.fraction);
    json_put_real(object, "lower95", share.interval.low);
    json_put_real(object, "upper95", share.interval.high);
}

struct json *estimate_json(struct estimate estimate)
{
    struct json *object = json_new_object();
    json_put_real(object, "value", estimate.value);
    json_put(object, "interval", interval_json(estimate.interval));
    return object;
}

size_t count_of(const struct audit_run *run, enum set_role role)
{
    return role == SET_HOLDOUT && !run->sets.holdout ? 0 : images_of(run, role)->count;
}

/* ---- what was compared ------------------------------------------------------------------------
 */

static struct json *tool_json(const struct audit_run *run)
{
    struct json *tool = json_new_object();
    json_put_string(tool, "name", "lethe");
    json_put_string(tool, "version", LETHE_VERSION);
    if (run->job->plan_sha256)
        json_put_string(run->document, "plan_sha256", run->job->plan_sha256);
    if (run->job->policy_sha256)
        json_put_string(run->document, "policy_sha256", run->job->policy_sha256);
    return tool;
}

static void put_field(struct json *object, const struct yaml_field *field, const void *at)
{
    switch (field->kind) {
    case YAML_INTEGER:
        json_put_integer(object, field->key, *(const int64_t *)at);
        break;
    case YAML_REAL:
        json_put_real(object, field->key, *(const double *)at);
        break;
    case YAML_BOOL:
        json_put_bool(object, field->key, *(const bool *)at);
        break;
    case YAML_CHOICE:
        json_put_string(object, field->key, field->choices[*(const int *)at]);
        break;
    case YAML_STRINGS: {
        const struct yaml_strings *strings = at;
        struct json *list = json_new_array();
        for (size_t i = 0; i < strings->count; i++)
            json_push_string(list, strings->items[i]);
        json_put(object, field->key, list);
        break;
    }
    default:
        BUG("a setting %s of kind %d", field->key, (int)field->kind);
    }
}

/* Every setting but the engine, which is told beside what it did. */
static struct json *settings_json(const struct audit_settings *settings)
{
    struct json *object = json_new_object();
    for (const struct yaml_field *field = audit_fields; field->key; field++)
        if (field->offset != offsetof(struct audit_settings, engine))
            put_field(object, field, (const char *)settings + field->offset);
    return object;
}

static struct json *channels_json(const struct audit_run *run)
{
    struct json *list = json_new_array();
    for (size_t c = 0; c < images_of(run, SET_TRAIN)->channels; c++)
        if (run->sets.channels >> c & 1)
            json_push_string(list, run->sets.of[SET_TRAIN].channel_names[c]);
    return list;
}

static size_t constants(const struct audit_run *run, enum set_role role)
{
    size_t found = 0;
    for (size_t i = 0; i < count_of(run, role); i++)
        found += run->looks[role][i].constant;
    return found;
}

static struct json *counts_json(const struct audit_run *run)
{
    struct json *counts = json_new_object(), *constant = json_new_object();
    put_count(counts, "synthetic", count_of(run, SET_SYNTHETIC));
    put_count(counts, "train", count_of(run, SET_TRAIN));
    put_count(counts, "holdout", count_of(run, SET_HOLDOUT));
    put_count(counts, "subjects", run->sets.of[SET_TRAIN].subject_count);
    put_count(counts, "holdout_subjects", run->sets.of[SET_HOLDOUT].subject_count);
    for (enum set_role role = 0; role < SET_COUNT; role++)
        put_count(constant, set_role_names[role], constants(run, role));
    json_put(counts, "constant", constant);
    return counts;
}

static struct json *input_json(const struct audit_set *set)
{
    enum { FILES_LISTED = 16 }; /* of folders with more, the digest of their list says as much */
    char hex[DIGEST_HEX];
    struct json *input = json_new_object(), *files = json_new_array();
    json_put_string(input, "name", path_name(set->path));
    json_put_string(input, "kind", set->kind);
    put_count(input, "images", set->images.count);
    put_count(input, "height", set->images.height);
    put_count(input, "width", set->images.width);
    json_put_string(input, "type", element_info[set->images.type].name);
    json_put_bool(input, "subjects_known", set->subjects_known);
    put_count(input, "files_count", set->file_count);
    json_put_string(input, "sha256", digest_hex(&set->digest, hex));
    for (size_t i = 0; i < set->file_count && set->file_count <= FILES_LISTED; i++) {
        struct json *file = json_new_object();
        json_put_string(file, "path", set->files[i].path);
        put_count(file, "size", set->files[i].size);
        json_put_string(file, "sha256", digest_hex(&set->files[i].digest, hex));
        json_push(files, file);
    }
    json_put(input, "files", files);
    return input;
}

static struct json *inputs_json(const struct audit_run *run)
{
    struct json *inputs = json_new_object();
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (role != SET_HOLDOUT || run->sets.holdout)
            json_put(inputs, set_role_names[role], input_json(&run->sets.of[role]));
    return inputs;
}

static struct json *certificate_json(const struct certificate *certificate)
{
    struct json *object = json_new_object(), *levels = json_new_array();
    put_count(object, "queries", certificate->queries);
    put_count(object, "pairs", certificate->pairs);
    put_count(object, "evaluated", certificate->evaluated);
    put_count(object, "exhaustive_queries", certificate->exhaustive_queries);
    for (size_t l = 0; l < CERTIFICATE_LEVELS; l++) {
        if (!certificate->level[l].head)
            continue;
        struct json *level = json_new_object();
        put_count(level, "head", certificate->level[l].head);
        put_count(level, "bounded", certificate->level[l].bounded);
        json_put_real(level, "slack", certificate->level[l].slack);
        json_push(levels, level);
    }
    json_put(object, "levels", levels);
    json_put_real(object, "rounding", certificate->rounding);
    return object;
}

static struct json *certificates_json(const struct audit_run *run)
{
    struct json *object = json_new_object();
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (run->database[role].certificate.queries)
            json_put(object, set_role_names[role],
                     certificate_json(&run->database[role].certificate));
    return object;
}

/* ---- what was found ---------------------------------------------------------------------------
 */

static struct json *nearest_json(const struct audit_run *run)
{
    size_t count = count_of(run, SET_SYNTHETIC);
    struct json *nearest = summary_json(run->correlation, count);
    json_put(nearest, "local_ratio", summary_json(run->local ? run->ratio : NULL, count));
    put_count(nearest, "local", run->local);
    put_count(nearest, "identical_to_training", run->copies);
    return nearest;
}

static struct json *one_control(const struct control_values *control)
{
    struct json *object = summary_json(control->correlation, control->count);
    put_count(object, "subjects", control->subjects);
    put_count(object, "constant", control->constant);
    put_count(object, "identical", control->identical);
    json_put(object, "local_ratio", summary_json(control->ratio, control->count));
    return object;
}

static struct json *control_json(const struct audit_run *run)
{
    struct json *object = json_new_object();
    if (run->used < SOURCE_COUNT)
        json_put_string(object, "used", control_source_names[run->used]);
    else
        json_put_null(object, "used");
    for (int source = 0; source < SOURCE_COUNT; source++) {
        if (run->control[source].present)
            json_put(object, control_source_names[source], one_control(&run->control[source]));
        else
            json_put_null(object, control_source_names[source]);
    }
    return object;
}

static struct json *threshold_json(const struct threshold *threshold)
{
    struct json *object = json_new_object();
    json_put_real(object, "value", threshold->value);
    json_put_string(object, "flags", threshold->small ? "below" : "above");
    json_put_string(object, "rule", threshold_rule_names[threshold->rule]);
    json_put_real(object, "quantile", 1 - threshold->rate);
    json_put(object, "interval", interval_json(threshold->control.interval));
    json_put_bool(object, "supported", threshold->control.supported);
    json_put_real(object, "false_positive_rate", threshold->rate);
    json_put_real(object, "attained_rate", threshold->attained);
    put_count(object, "control_images", threshold->control.count);
    json_put_real(object, "limit", threshold->limit);
    return object;
}

static struct json *thresholds_json(const struct calibration *calibration)
{
    struct json *object = json_new_object();
    for (size_t s = 0; s < calibration->statistics; s++)
        json_put(object, calibration->threshold[s].name,
                 threshold_json(&calibration->threshold[s]));
    return object;
}

static const char *const matcher_keys[MATCHER_COUNT] = {
    [MATCH_DISGUISE] = "by_disguise", [MATCH_TILE] = "by_tile"
};

/* Images that one of the matcher's statistics flags. */
static size_t flagged_by(const struct audit_run *run, int m)
{
    const struct calibration *calibration = &run->calibration;
    size_t found = 0;
    for (size_t i = 0; i < calibration->images; i++) {
        bool hit = false;
        for (size_t s = 0; s < calibration->statistics; s++)
            for (int v = 0; v < 2; v++)
                hit |= calibration->hit[s][i] &&
                       calibration->threshold[s].name == matcher_statistics[m][v];
        found += hit;
    }
    return found;
}

static struct json *flagged_json(const struct audit_run *run)
{
    const struct calibration *calibration = &run->calibration;
    struct json *flagged = json_new_object(), *images = json_new_array();
    put_share(flagged, share_of(calibration->count, calibration->images));
    json_put_real(flagged, "expected_by_chance", calibration->expected);
    json_put_real(flagged, "excess_p", calibration->excess);
    for (size_t s = 0; s < calibration->statistics; s++) {
        struct arena *arena = (struct arena *)&run->arena;
        put_count(flagged, arena_format(arena, "by_%s", calibration->threshold[s].name),
                  calibration->threshold[s].flagged);
    }
    for (int m = 0; m < MATCHER_COUNT; m++)
        put_count(flagged, matcher_keys[m], flagged_by(run, m));
    for (size_t i = 0; i < calibration->images; i++)
        if (calibration->flagged[i])
            json_push_integer(images, (int64_t)set_place(&run->sets.of[SET_SYNTHETIC], i));
    json_put(flagged, "images", images);
    return flagged;
}

/* ---- copies in disguise -----------------------------------------------------------------------
 */

/* What a matcher found: of the synthetic images, and of the control. */
static void put_matched(struct json *object, const struct audit_run *run, int m)
{
    const struct matched *both[2] = { &run->matched[m], run->used < SOURCE_COUNT
                                                            ? &run->control[run->used].matched[m]
                                                            : NULL };
    static const char *const keys[2] = { "nearest", "control" };
    for (int s = 0; s < 2; s++) {
        if (!both[s] || !both[s]->count) {
            json_put_null(object, keys[s]);
            continue;
        }
        struct json *part = summary_json(both[s]->correlation, both[s]->count);
        json_put(part, "local_ratio", summary_json(both[s]->ratio, both[s]->count));
        json_put(object, keys[s], part);
    }
}

static struct json *transforms_json(const struct audit_run *run)
{
    struct json *object = json_new_object(), *searched = json_new_array(), *limits;
    bool done = run->matched[MATCH_DISGUISE].count > 0;
    for (size_t f = 0; done && f < disguise_family_count; f++)
        json_push_string(searched, disguise_families[f].name);
    json_put(object, "searched", searched);
    if (!done)
        return object;
    limits = json_new_object();
    put_count(object, "trials", disguise_trials());
    json_put_real(limits, "degrees", DISGUISE_DEGREES);
    json_put_real(limits, "scale", DISGUISE_SCALE);
    json_put_real(limits, "gamma", DISGUISE_GAMMA);
    json_put(object, "limits", limits);
    put_matched(object, run, MATCH_DISGUISE);
    return object;
}

static struct json *tiles_json(const struct audit_run *run)
{
    struct json *object = json_new_object(), *searched = json_new_array();
    bool done = run->matched[MATCH_TILE].count > 0;
    if (done)
        json_push_string(searched,
                         "squares of 16 cells about spots, on a grid of at most 128 cells a side");
    json_put(object, "searched", searched);
    if (done)
        put_matched(object, run, MATCH_TILE);
    return object;
}

/* ---- exposure ---------------------------------------------------------------------------------
 */

struct exposed {
    const char *subject;
    size_t flagged, nearest;
};

static int most_exposed(const void *a, const void *b)
{
    const struct exposed *x = a, *y = b;
    if (x->flagged != y->flagged)
        return x->flagged > y->flagged ? -1 : 1;
    if (x->nearest != y->nearest)
        return x->nearest > y->nearest ? -1 : 1;
    return strcmp(x->subject, y->subject);
}

/* By training subject: how many synthetic images are nearest to it, and how many of these are
 * flagged. In the arena; subjects that are nobody's nearest are left out. */
static size_t expose(struct audit_run *run, struct exposed **exposed, size_t *flagged_subjects)
{
    const struct audit_set *train = &run->sets.of[SET_TRAIN];
    uint32_t most = 0;
    for (size_t i = 0; i < train->images.count; i++)
        most = train->images.groups[i] > most ? train->images.groups[i] : most;
    struct exposed *all = arena_array(&run->arena, struct exposed, (size_t)most + 1);
    for (size_t i = 0; i < count_of(run, SET_SYNTHETIC); i++) {
        uint64_t id = run->synthetic.nearest[i * run->k].id;
        if (run->looks[SET_SYNTHETIC][i].constant)
            continue;
        struct exposed *nearest = &all[train->images.groups[id]],
                       *source = &all[train->images.groups[run->source[i]]];
        nearest->subject = train->subjects[id];
        nearest->nearest++;
        source->subject = train->subjects[run->source[i]];
        source->flagged += run->calibration.flagged[i];
    }
    size_t count = 0;
    *flagged_subjects = 0;
    for (size_t g = 0; g <= most; g++) {
        if (!all[g].subject)
            continue;
        *flagged_subjects += all[g].flagged > 0;
        all[count++] = all[g];
    }
    if (count)
        qsort(all, count, sizeof *all, most_exposed);
    *exposed = all;
    return count;
}

static struct json *exposure_json(const struct exposed *exposed, size_t count)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json *subject = json_new_object();
        json_put_string(subject, "subject", exposed[i].subject);
        put_count(subject, "flagged", exposed[i].flagged);
        put_count(subject, "nearest", exposed[i].nearest);
        json_push(list, subject);
    }
    return list;
}

/* ---- duplicates -------------------------------------------------------------------------------
 */

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

static struct json *duplicates_json(const struct audit_run *run)
{
    struct json *object = json_new_object();
    double limit = run->settings->duplicate;
    json_put(object, "synthetic", duplicates_of_set(&run->duplicates[SET_SYNTHETIC], limit));
    json_put(object, "train", duplicates_of_set(&run->duplicates[SET_TRAIN], limit));
    return object;
}

/* ---- histograms -------------------------------------------------------------------------------
 */

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

struct histogram_row {
    const char *key;
    const double *values;
    size_t count;
};

/* One histogram for each row, over the same bins. */
static struct json *histograms_of(const struct histogram_row rows[3], double low)
{
    struct json *object = json_new_object(), *edges = json_new_array();
    for (size_t b = 0; b <= BINS; b++)
        json_push_real(edges, low + (1 - low) * (double)b / BINS);
    json_put(object, "edges", edges);
    for (size_t r = 0; r < 3; r++)
        json_put(object, rows[r].key, histogram(rows[r].values, rows[r].count, low, 1));
    return object;
}

static struct json *histograms_json(const struct audit_run *run)
{
    const struct control_values *control = run->control;
    size_t count = count_of(run, SET_SYNTHETIC);
    struct histogram_row correlation[3] = {
        { "synthetic", run->correlation, count },
        { "holdout", control[SOURCE_HOLDOUT].correlation, control[SOURCE_HOLDOUT].count },
        { "other_subjects", control[SOURCE_OTHERS].correlation, control[SOURCE_OTHERS].count },
    };
    struct histogram_row ratio[3] = {
        { "synthetic", run->ratio, count },
        { "holdout", control[SOURCE_HOLDOUT].ratio, control[SOURCE_HOLDOUT].count },
        { "other_subjects", control[SOURCE_OTHERS].ratio, control[SOURCE_OTHERS].count },
    };
    double low = 1;
    for (size_t r = 0; r < 3; r++)
        low = fmin(low, summary_of(correlation[r].values, correlation[r].count).minimum);
    low = floor(low * 20) / 20; /* NAN never is the least */
    struct json *object = json_new_object();
    json_put(object, "correlation", histograms_of(correlation, low < 1 ? low : 0.95));
    json_put(object, "local_ratio", histograms_of(ratio, 0));
    return object;
}

/* ---- pairs ------------------------------------------------------------------------------------
 */

static struct json *flags_of(const struct audit_run *run, size_t image)
{
    struct json *list = json_new_array();
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
        (const struct tile_match *)run->matched[MATCH_TILE].match + image;
    struct json *object = json_new_object();
    json_put(object, "synthetic", place_json(&match->query));
    json_put(object, "training", place_json(&match->training));
    json_put_bool(object, "mirrored", match->mirrored);
    return object;
}

static struct json *pairs_json(const struct audit_run *run, const struct pair *pairs, size_t count)
{
    const struct audit_set *train = &run->sets.of[SET_TRAIN];
    char name[TRANSFORM_NAME];
    struct json *list = json_new_array();
    for (size_t i = 0; i < count; i++) {
        size_t image = pairs[i].synthetic;
        uint64_t id = run->source[image];
        int m = run->found_by[image];
        struct json *pair = json_new_object();
        put_count(pair, "synthetic", set_place(&run->sets.of[SET_SYNTHETIC], image));
        put_count(pair, "training", set_place(train, id));
        json_put_string(pair, "subject", train->subjects[id]);
        json_put_real(pair, "correlation",
                      m < 0 ? run->correlation[image] : run->matched[m].correlation[image]);
        json_put_real(pair, "local_ratio",
                      m < 0 ? run->ratio[image] : run->matched[m].ratio[image]);
        json_put_string(pair, "transform", transform_of(run, image, name));
        if (m == MATCH_TILE)
            json_put(pair, "tile", tile_json(run, image));
        json_put(pair, "flagged_by", flags_of(run, image));
        json_put_string(pair, "png", pairs[i].png);
        json_push(list, pair);
    }
    return list;
}

/* ---- warnings ---------------------------------------------------------------------------------
 */

static void warn_of_sets(struct audit_run *run)
{
    const struct audit_set *train = &run->sets.of[SET_TRAIN],
                           *synthetic = &run->sets.of[SET_SYNTHETIC];
    for (enum set_role role = 0; role < SET_COUNT; role++)
        if (role != SET_SYNTHETIC && count_of(run, role) && !run->sets.of[role].subjects_known)
            text_format(&run->warnings,
                        "%s: no subjects are known, so each image counts as a subject of its own; "
                        "where several are of one patient, thresholds are too lenient and bounds "
                        "too narrow\n",
                        set_role_names[role]);
    if (train->dataset && train->dataset->role == ROLE_SYNTHETIC)
        text_add(&run->warnings, "the store given as training set says that it is synthetic\n");
    if (synthetic->dataset && synthetic->dataset->role == ROLE_REAL)
        text_add(&run->warnings, "the store given as synthetic set says that it is real\n");
    if (run->copies)
        text_format(&run->warnings, "%zu synthetic images are training images, pixel by pixel\n",
                    run->copies);
    if (constants(run, SET_SYNTHETIC))
        text_format(&run->warnings,
                    "%zu synthetic images have no variance; no statistic can be taken of them\n",
                    constants(run, SET_SYNTHETIC));
}

/* One line for all statistics whose quantile the control cannot support. */
static void warn_of_size(struct audit_run *run)
{
    const struct threshold *worst = NULL;
    struct text names = { 0 };
    for (size_t s = 0; s < run->calibration.statistics && run->used < SOURCE_COUNT; s++) {
        const struct threshold *threshold = &run->calibration.threshold[s];
        if (threshold->control.supported)
            continue;
        text_format(&names, "%s%s", names.length ? ", " : "", threshold->name);
        if (!worst || threshold->attained > worst->attained)
            worst = threshold;
    }
    if (worst)
        text_format(&run->warnings,
                    "the control of %zu images is too small for the %.6g %% quantile, which takes "
                    "%.0f: its most extreme values are the thresholds of %s, each with a "
                    "false-positive rate of at most %.3g %% (%.3g %% was asked for)\n",
                    worst->control.count, 100 * (1 - worst->rate), ceil(1 / worst->rate - 1e-6) - 1,
                    names.bytes, 100 * worst->attained, 100 * worst->rate);
    text_release(&names);
}

static void warn_of_control(struct audit_run *run)
{
    if (run->control[SOURCE_HOLDOUT].identical)
        text_format(&run->warnings,
                    "%zu held-out images correlate exactly 1 with a training image: they are no "
                    "unseen images and were left out of the control; is a patient in both sets?\n",
                    run->control[SOURCE_HOLDOUT].identical);
    if (run->control[SOURCE_OTHERS].identical)
        text_format(&run->warnings,
                    "%zu training images correlate exactly 1 with one of another subject, and were "
                    "left out of the control; is a patient in the set under two names?\n",
                    run->control[SOURCE_OTHERS].identical);
    warn_of_size(run);
}

static struct json *warnings_json(const struct audit_run *run)
{
    struct json *list = json_new_array();
    const char *line = run->warnings.bytes ? run->warnings.bytes : "";
    for (const char *end; *line && (end = strchr(line, '\n')); line = end + 1) {
        char *one = arena_substring((struct arena *)&run->arena, line, (size_t)(end - line));
        json_push_string(list, one);
    }
    return list;
}

/* ---- the summary ------------------------------------------------------------------------------
 */

static void summarise_found(struct audit_run *run)
{
    struct summary nearest = summary_of(run->correlation, count_of(run, SET_SYNTHETIC));
    text_format(&run->summary,
                "found:   %zu synthetic images against %zu training images of %zu subjects; "
                "nearest correlation: median %.4f, 99 %% %.4f, largest %.4f\n",
                count_of(run, SET_SYNTHETIC), count_of(run, SET_TRAIN),
                run->sets.of[SET_TRAIN].subject_count, nearest.p50, nearest.p99, nearest.maximum);
}

static void summarise_control(struct audit_run *run)
{
    struct text *out = &run->summary;
    text_add(out, "control: ");
    if (run->used < SOURCE_COUNT) {
        const struct control_values *control = &run->control[run->used];
        struct summary values = summary_of(control->correlation, control->count);
        text_format(out,
                    "%zu %s images of %zu subjects; nearest correlation: median %.4f, 99 %% %.4f, "
                    "largest %.4f; ",
                    values.count, run->used == SOURCE_HOLDOUT ? "held-out" : "training",
                    control->subjects, values.p50, values.p99, values.maximum);
    } else
        text_add(out, "none; ");
    text_add(out, "flagged are");
    bool supported = true;
    for (size_t s = 0; s < run->calibration.statistics; s++) {
        const struct threshold *threshold = &run->calibration.threshold[s];
        const char *separator = s ? ", or" : "";
        if (threshold->rule == THRESHOLD_NONE)
            text_format(out, "%s no %s", separator, threshold->name);
        else
            text_format(out, "%s %s %s %.4f%s", separator, threshold->name,
                        threshold->small ? "<" : ">", threshold->value,
                        threshold->rule == THRESHOLD_LIMIT ? " (the limit)" : "");
        supported &= threshold->rule != THRESHOLD_CONTROL || threshold->control.supported;
    }
    text_add(out, supported ? "\n" : " (control too small)\n");
}

static void summarise_flagged(struct audit_run *run, size_t subjects)
{
    const struct calibration *calibration = &run->calibration;
    text_format(&run->summary,
                "flagged: %zu of %zu (%.3g %%, 95 %% interval %.3g … %.3g %%; by chance at most "
                "%.3g expected)",
                calibration->count, calibration->images,
                100 * (double)calibration->count / (double)calibration->images,
                100 * calibration->fraction.low, 100 * calibration->fraction.high,
                calibration->expected);
    if (subjects)
        text_format(&run->summary, ", nearest to %zu training subject%s", subjects,
                    subjects == 1 ? "" : "s");
    text_add(&run->summary, "\n");
}

/* ---- the document -----------------------------------------------------------------------------
 */

void audit_describe(struct audit_run *run, const struct pair *pairs, size_t count)
{
    struct json *document = run->document = json_new_object();
    struct exposed *exposed;
    size_t flagged_subjects, exposed_count = expose(run, &exposed, &flagged_subjects);
    warn_of_sets(run);
    warn_of_control(run);
    json_put_string(document, "schema", MEMORIZATION_SCHEMA);
    json_put(document, "tool", tool_json(run));
    json_put_string(document, "engine", engine_names[run->settings->engine]);
    json_put_string(document, "device", "cpu");
    json_put_string(document, "measure", "pearson");
    json_put(document, "channels", channels_json(run));
    json_put(document, "counts", counts_json(run));
    json_put(document, "warnings", warnings_json(run));
    json_put(document, "nearest", nearest_json(run));
    json_put(document, "control", control_json(run));
    json_put(document, "thresholds", thresholds_json(&run->calibration));
    json_put(document, "flagged", flagged_json(run));
    json_put(document, "exposure", exposure_json(exposed, exposed_count));
    json_put(document, "transforms", transforms_json(run));
    json_put(document, "tiles", tiles_json(run));
    json_put(document, "companions", companions_json(run));
    json_put(document, "duplicates", duplicates_json(run));
    json_put(document, "pairs", pairs_json(run, pairs, count));
    json_put(document, "histograms", histograms_json(run));
    json_put(document, "settings", settings_json(run->settings));
    json_put(document, "certificate", certificates_json(run));
    json_put(document, "inputs", inputs_json(run));
    summarise_found(run);
    summarise_control(run);
    summarise_flagged(run, flagged_subjects);
}
