/* Folders of masks; see score.h. Files are read twice: first to check them all and to see which
 * labels occur, since that settles the classes, then to measure. */
#include "audit/score.h"

#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "base/text.h"
#include "data/nifti.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCORE_SCHEMA "lethe/score/1"

const char *const score_regions_names[REGIONS_COUNT + 1] = {
    [REGIONS_AUTO] = "auto",
    [REGIONS_NONE] = "none",
    [REGIONS_BRATS] = "brats",
    [REGIONS_BRATS2023] = "brats2023",
};

/* ---- files ----------------------------------------------------------------------------------- */

static const char *const marks[] = { "_seg", "-seg", "_dseg", "_mask", "_label", "_pred", NULL };

struct mask_file {
    const char *path, *subject;
    bool marked;
};

static struct mask_file mask_file_of(const char *path, struct arena *arena)
{
    char *name = arena_string(arena, path_name(path));
    name[strlen(name) - (text_ends_with_any_case(name, ".gz") ? 7 : 4)] = '\0';
    for (const char *const *mark = marks; *mark; mark++)
        if (text_ends_with(name, *mark)) {
            name[strlen(name) - strlen(*mark)] = '\0';
            return (struct mask_file){ path, name, true };
        }
    return (struct mask_file){ path, name, false };
}

static int by_subject(const void *a, const void *b)
{
    const struct mask_file *x = a, *y = b;
    int order = strcmp(x->subject, y->subject);
    return order ? order : strcmp(x->path, y->path);
}

/* A mask that is a link to nothing would look as if its subject had none. */
static bool none_leads_nowhere(const char *folder, struct arena *arena, struct error *err)
{
    char **links;
    size_t count;
    if (!folder_walk_dead_links(folder, arena, &links, &count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (nifti_is_name(links[i])) {
            const char *path = path_join(arena, folder, links[i]);
            return error_set(err, "%s: %s", path, dead_link_words(path, arena));
        }
    return true;
}

/* The masks of a folder, by subject. */
static bool list_masks(const char *folder, struct mask_file **masks, size_t *count,
                       struct score *score, struct error *err)
{
    char **files;
    size_t all, marked = 0, found = 0, kept = 0;
    if (path_kind(folder) != PATH_FOLDER)
        return error_set(err, "%s: no such folder", folder);
    if (!none_leads_nowhere(folder, &score->arena, err) ||
        !folder_walk_links(folder, &score->arena, &files, &all, err))
        return false;
    struct mask_file *list = arena_array(&score->arena, struct mask_file, all + 1);
    for (size_t i = 0; i < all; i++)
        if (nifti_is_name(files[i])) {
            list[found] = mask_file_of(files[i], &score->arena);
            marked += list[found++].marked;
        }
    for (size_t i = 0; i < found; i++)
        if (!marked || list[i].marked)
            list[kept++] = list[i];
    score->ignored += found - kept;
    qsort(list, kept, sizeof *list, by_subject);
    *masks = list;
    *count = kept;
    return kept ||
           error_set(err, "%s: no mask in it; expected NIfTI files, .nii or .nii.gz", folder);
}

static void lonely(struct score *score, const struct mask_file *mask, const char *other)
{
    problems_add(&score->problems, mask->subject, mask->path,
                 arena_format(&score->arena, "no mask of this subject in %s", other));
}

/* Of an ascending list; the first of each subject stays. */
static size_t drop_seconds(struct score *score, struct mask_file *masks, size_t count,
                           const char *folder)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept && !strcmp(masks[i].subject, masks[kept - 1].subject))
            problems_add(&score->problems, masks[i].subject, masks[i].path,
                         arena_format(&score->arena, "a second mask of this subject in %s: %s",
                                      folder, masks[kept - 1].path));
        else
            masks[kept++] = masks[i];
    return kept;
}

/* Both lists ascend: one walk finds the partners and the lonely. */
static void pair_up(const struct score_job *job, struct score *score, const struct mask_file *truth,
                    size_t truths, const struct mask_file *prediction, size_t predictions)
{
    score->subjects = arena_array(&score->arena, struct score_subject, truths + 1);
    for (size_t i = 0, k = 0; i < truths || k < predictions;) {
        int order = i == truths        ? 1
                    : k == predictions ? -1
                                       : strcmp(truth[i].subject, prediction[k].subject);
        if (order < 0)
            lonely(score, &truth[i++], job->prediction);
        else if (order > 0)
            lonely(score, &prediction[k++], job->truth);
        else {
            score->subjects[score->subject_count++] = (struct score_subject){
                .name = truth[i].subject, .truth = truth[i].path, .prediction = prediction[k].path
            };
            i++;
            k++;
        }
    }
}

/* ---- volumes --------------------------------------------------------------------------------- */

static bool refuse_label(const struct volume *volume, int64_t pixel, int64_t z, double value,
                         struct error *err)
{
    int64_t at[3], across = volume->shape[0];
    volume_stored_index(volume, (int64_t[]){ pixel % across, pixel / across, z }, at);
    return error_set(err,
                     "voxel (%" PRId64 ", %" PRId64 ", %" PRId64 ") is %g; labels are whole "
                     "numbers from 0 to 255",
                     at[0], at[1], at[2], value);
}

/* Labels 0 … 255 of a volume, x fastest; free with memory_free. */
static uint8_t *volume_labels(const struct volume *volume, struct error *err)
{
    size_t plane = (size_t)(volume->shape[0] * volume->shape[1]), planes = (size_t)volume->shape[2];
    uint8_t *labels = memory_allocate(plane * planes, 1, "a mask", err);
    double *values = memory_allocate(plane, sizeof *values, "a plane of a mask", err);
    bool ok = labels && values;
    if (ok && volume->frames != 1)
        ok = error_set(err, "a series of %" PRId64 " volumes; a mask is one", volume->frames);
    for (size_t z = 0; ok && z < planes; z++) {
        volume_plane(volume, PLANE_AXIAL, (int64_t)z, values);
        for (size_t i = 0; ok && i < plane; i++) {
            int label = label_of(values[i]);
            if (label < 0)
                ok = refuse_label(volume, (int64_t)i, (int64_t)z, values[i], err);
            labels[z * plane + i] = ok ? (uint8_t)label : 0;
        }
    }
    memory_free(values);
    if (!ok) {
        memory_free(labels);
        return NULL;
    }
    return labels;
}

struct masks {
    struct volume truth, prediction;
    uint8_t *truth_labels, *prediction_labels;
};

static bool read_mask(const char *folder, const char *name, struct volume *volume, uint8_t **labels,
                      struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    const char *path = path_join(&arena, folder, name);
    bool ok = nifti_read(volume, path, err);
    if (ok) {
        *labels = volume_labels(volume, err);
        ok = *labels || error_prefix(err, "%s", path);
    }
    arena_release(&arena);
    return ok;
}

static bool read_masks(const struct score_job *job, const struct score_subject *subject,
                       struct masks *masks, struct error *err)
{
    *masks = (struct masks){ 0 };
    return read_mask(job->truth, subject->truth, &masks->truth, &masks->truth_labels, err) &&
           read_mask(job->prediction, subject->prediction, &masks->prediction,
                     &masks->prediction_labels, err) &&
           (volume_same_grid(&masks->truth, &masks->prediction, err) ||
            error_prefix(err, "truth and prediction lie on different grids"));
}

static void release_masks(struct masks *masks)
{
    memory_free(masks->truth_labels);
    memory_free(masks->prediction_labels);
    volume_release(&masks->truth);
    volume_release(&masks->prediction);
}

/* ---- the two passes -------------------------------------------------------------------------- */

struct pass {
    const struct score_job *job;
    struct score *score;
    struct progress *progress;
    struct error *errors; /* by subject */
    bool *failed;
    bool (*occurs)[2][256]; /* by subject: of truth, of prediction */
};

static void check_subject(void *context, size_t i)
{
    struct pass *pass = context;
    struct score_subject *subject = &pass->score->subjects[i];
    struct masks masks;
    pass->failed[i] = !read_masks(pass->job, subject, &masks, &pass->errors[i]);
    if (!pass->failed[i]) {
        const struct volume *volume = masks.truth.spaced ? &masks.truth : &masks.prediction;
        size_t voxels = (size_t)(volume->shape[0] * volume->shape[1] * volume->shape[2]);
        memcpy(subject->spacing, volume->spacing, sizeof subject->spacing);
        subject->assumed = !volume->spaced;
        for (size_t k = 0; k < voxels; k++) {
            pass->occurs[i][0][masks.truth_labels[k]] = true;
            pass->occurs[i][1][masks.prediction_labels[k]] = true;
        }
    }
    release_masks(&masks);
    progress_add(pass->progress, 1);
}

static void measure_subject(void *context, size_t i)
{
    struct pass *pass = context;
    struct score *score = pass->score;
    const struct score_subject *subject = &score->subjects[i];
    struct masks masks;
    pass->failed[i] = !read_masks(pass->job, subject, &masks, &pass->errors[i]);
    struct label_pair pair = { .truth = masks.truth_labels, .prediction = masks.prediction_labels };
    for (int axis = 0; axis < 3; axis++) {
        pair.shape[axis] = (size_t)masks.truth.shape[axis];
        pair.spacing[axis] = subject->spacing[axis];
    }
    for (size_t c = 0; c < score->class_count && !pass->failed[i]; c++)
        pass->failed[i] = !overlap_measure(
            &pair, &score->classes[c], &score->rows[i * score->class_count + c], &pass->errors[i]);
    release_masks(&masks);
    progress_add(pass->progress, 1);
}

static void run_pass(struct pass *pass, const char *what,
                     void (*body)(void *context, size_t subject))
{
    struct score *score = pass->score;
    struct progress progress;
    pass->progress = &progress;
    progress_begin(&progress, what, "subjects", score->subject_count);
    parallel_items(score->subject_count, body, pass);
    progress_end(&progress);
    for (size_t i = 0; i < score->subject_count; i++)
        if (pass->failed[i])
            problems_add(&score->problems, score->subjects[i].name, "", pass->errors[i].message);
}

/* ---- classes --------------------------------------------------------------------------------- */

bool label_set_parse(const char *text, struct label_set *set, struct arena *arena,
                     struct error *err)
{
    const char *equals = strchr(text, '='), *at = equals ? equals + 1 : text;
    *set =
        (struct label_set){ .name = equals ? arena_substring(arena, text, (size_t)(equals - text))
                                           : arena_string(arena, text) };
    do {
        char *end;
        long label = strtol(at, &end, 10);
        if (end == at || label < 1 || label > 255 || (*end && (*end != '+' || !end[1])))
            return error_set(err,
                             "\"%s\" is no class; expected NAME=LABEL+LABEL… or LABEL, with labels "
                             "from 1 to 255",
                             text);
        set->holds[label] = true;
        at = *end ? end + 1 : end;
    } while (*at);
    return *set->name ? true : error_set(err, "\"%s\": a class without a name", text);
}

static const struct region_scheme *choose_scheme(int regions, const bool occurs[256])
{
    if (regions == REGIONS_AUTO)
        return region_scheme_of(occurs);
    return regions == REGIONS_NONE ? NULL : &region_schemes[regions - REGIONS_BRATS];
}

/* Asked for, else every label that occurs anywhere; then the regions. */
static bool settle_classes(const struct score_job *job, struct score *score,
                           const bool anywhere[256], struct error *err)
{
    struct arena *arena = &score->arena;
    score->classes = arena_array(arena, struct label_set, job->classes.count + 256 + REGION_COUNT);
    for (size_t i = 0; i < job->classes.count; i++)
        if (!label_set_parse(job->classes.items[i], &score->classes[score->class_count++], arena,
                             err))
            return false;
    for (int label = 1; label < 256 && !job->classes.count; label++)
        if (anywhere[label])
            score->classes[score->class_count++] =
                label_set_of(arena_format(arena, "%d", label), 1, &(uint8_t){ (uint8_t)label });
    const struct region_scheme *scheme = choose_scheme(job->regions, anywhere);
    for (int region = 0; scheme && region < REGION_COUNT; region++)
        score->classes[score->class_count++] = region_set(scheme, region);
    score->region_count = scheme ? REGION_COUNT : 0;
    return score->class_count ||
           error_set(err, "%s: no label occurs in any mask, there or in %s: nothing to measure",
                     job->truth, job->prediction);
}

static bool refuse(const struct score *score, struct error *err)
{
    return error_set(err, "%zu problem%s with the masks: nothing was measured",
                     score->problems.count, score->problems.count == 1 ? "" : "s");
}

static bool measure(const struct score_job *job, struct score *score, struct pass *pass,
                    struct error *err)
{
    bool anywhere[256] = { false };
    run_pass(pass, "check", check_subject);
    if (score->problems.count)
        return refuse(score, err);
    for (size_t i = 0; i < score->subject_count; i++)
        for (int label = 1; label < 256; label++) {
            score->occurs[label] |= pass->occurs[i][0][label];
            anywhere[label] |= pass->occurs[i][0][label] || pass->occurs[i][1][label];
        }
    if (!settle_classes(job, score, anywhere, err))
        return false;
    size_t rows = score->subject_count * score->class_count;
    score->rows = arena_array(&score->arena, struct overlap, rows);
    run_pass(pass, "score", measure_subject);
    if (score->problems.count)
        return refuse(score, err);
    score->summaries = arena_array(&score->arena, struct overlap_summary, score->class_count);
    for (size_t c = 0; c < score->class_count; c++)
        score->summaries[c] =
            overlap_summarise(score->rows + c, score->subject_count, score->class_count);
    return true;
}

bool score_folders(const struct score_job *job, struct score *score, struct error *err)
{
    struct mask_file *truth, *prediction;
    size_t truths, predictions;
    *score = (struct score){ 0 };
    arena_init(&score->arena);
    problems_init(&score->problems);
    if (!list_masks(job->truth, &truth, &truths, score, err) ||
        !list_masks(job->prediction, &prediction, &predictions, score, err))
        return false;
    truths = drop_seconds(score, truth, truths, job->truth);
    predictions = drop_seconds(score, prediction, predictions, job->prediction);
    pair_up(job, score, truth, truths, prediction, predictions);
    if (score->problems.count)
        return refuse(score, err);
    struct pass pass = { .job = job, .score = score };
    size_t count = score->subject_count;
    pass.errors = memory_grow(NULL, count, sizeof *pass.errors);
    pass.failed = arena_array(&score->arena, bool, count);
    pass.occurs = memory_grow(NULL, count, sizeof *pass.occurs);
    memset(pass.occurs, 0, count * sizeof *pass.occurs);
    bool ok = measure(job, score, &pass, err);
    free(pass.errors);
    free(pass.occurs);
    return ok;
}

void score_release(struct score *score)
{
    problems_release(&score->problems);
    arena_release(&score->arena);
}

/* ---- as files -------------------------------------------------------------------------------- */

static void add_number(struct text *text, double value)
{
    isnan(value) ? text_add(text, ",") : text_format(text, ",%.9g", value);
}

bool score_save_csv(const struct score *score, const char *path, struct error *err)
{
    struct text text = { 0 };
    text_add(&text, "subject,class,truth_voxels,prediction_voxels");
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        text_format(&text, ",%s", metrics[metric].name);
    text_add(&text, "\n");
    for (size_t i = 0; i < score->subject_count * score->class_count; i++) {
        const struct overlap *row = &score->rows[i];
        text_add_csv(&text, score->subjects[i / score->class_count].name);
        text_add(&text, ",");
        text_add_csv(&text, score->classes[i % score->class_count].name);
        text_format(&text, ",%zu,%zu", row->truth, row->prediction);
        for (int metric = 0; metric < METRIC_COUNT; metric++)
            add_number(&text, row->value[metric]);
        text_add(&text, "\n");
    }
    bool ok = file_write(path, text.bytes, text.length, err);
    text_release(&text);
    return ok;
}

static struct json *class_json(const struct score *score, size_t c)
{
    struct json *object = overlap_summary_json(&score->summaries[c]), *labels = json_new_array();
    bool occurs = false;
    json_put_string(object, "name", score->classes[c].name);
    for (int label = 0; label < 256; label++)
        if (score->classes[c].holds[label]) {
            json_push_integer(labels, label);
            occurs = occurs || score->occurs[label];
        }
    json_put(object, "labels", labels);
    json_put_bool(object, "occurs_in_truth", occurs);
    return object;
}

static struct json *subject_json(const struct score *score, size_t i)
{
    const struct score_subject *subject = &score->subjects[i];
    struct json *object = json_new_object(), *spacing = json_new_array();
    json_put_string(object, "subject", subject->name);
    for (int axis = 0; axis < 3; axis++)
        json_push_real(spacing, subject->spacing[axis]);
    json_put(object, "spacing", spacing);
    json_put_bool(object, "spacing_assumed", subject->assumed);
    struct json *classes = json_new_object();
    for (size_t c = 0; c < score->class_count; c++) {
        const struct overlap *row = &score->rows[i * score->class_count + c];
        struct json *values = json_new_object();
        json_put_integer(values, "truth_voxels", (int64_t)row->truth);
        json_put_integer(values, "prediction_voxels", (int64_t)row->prediction);
        for (int metric = 0; metric < METRIC_COUNT; metric++)
            json_put_real(values, metrics[metric].name, row->value[metric]);
        json_put(classes, score->classes[c].name, values);
    }
    json_put(object, "classes", classes);
    return object;
}

struct json *score_json(const struct score *score)
{
    struct json *document = json_new_object(), *units = json_new_object();
    struct json *classes = json_new_array(), *regions = json_new_array();
    struct json *subjects = json_new_array();
    json_put_string(document, "schema", SCORE_SCHEMA);
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        json_put_string(units, metrics[metric].name, metrics[metric].unit);
    json_put(document, "units", units);
    size_t first_region = score->class_count - score->region_count;
    for (size_t c = 0; c < score->class_count; c++)
        json_push(c < first_region ? classes : regions, class_json(score, c));
    json_put(document, "classes", classes);
    json_put(document, "regions", regions);
    for (size_t i = 0; i < score->subject_count; i++)
        json_push(subjects, subject_json(score, i));
    json_put(document, "subjects", subjects);
    return document;
}
