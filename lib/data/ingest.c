/* Ingest; see ingest.h. Scan by scan: scan.c. Here: settings, splits, order, and the record. */
#include "data/ingest.h"

#include "base/parallel.h"
#include "base/progress.h"
#include "base/random.h"
#include "base/text.h"
#include "data/csv.h"
#include "data/nifti.h"
#include "data/scan.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings -------------------------------------------------------------------------------- */

static const char *const intensity_names[INTENSITY_COUNT + 1] = { "auto", "maximum", "percentile",
                                                                  "none", NULL };
static const char *const masks_names[MASKS_COUNT + 1] = { "auto", "required", "none", NULL };
static const char *const on_bad_names[ON_BAD_COUNT + 1] = { "fail", "skip", NULL };
static const char *const type_names[] = { "uint8", "uint16", "float16", NULL };
static const enum element_type types[] = { ELEMENT_UINT8, ELEMENT_UINT16, ELEMENT_FLOAT16 };

enum { LARGEST_CANVAS = 4096 };

static const char *default_labels[] = { "1", "2", "4" };

const struct ingest_settings ingest_defaults = {
    .source = "",
    .keep_channel = "t1",
    .labels = { default_labels, 3 },
    .percentile = 99.5,
    .keep_share = 0.15,
    .keep_above = 50,
    .holdout = 0.15,
    .validation = 0,
};

#define FIELD(...) YAML_FIELD(struct ingest_settings, __VA_ARGS__)

const struct yaml_field ingest_fields[] = {
    FIELD(source, YAML_STRING, .metavar = "FOLDER", .help = "folder with the scans"),
    FIELD(layout, YAML_CHOICE, .choices = layout_names,
          .help = "how files are named; auto recognises all but glob"),
    FIELD(channels, YAML_STRINGS, .metavar = "NAME[=PATTERN]",
          .help = "modalities in order (default t1 t1ce t2 flair); glob: with a pattern each"),
    FIELD(mask_pattern, YAML_STRING, .metavar = "PATTERN", .help = "glob: the masks"),
    FIELD(role, YAML_CHOICE, .choices = dataset_role_names,
          .help = "real scans, or images made elsewhere"),
    FIELD(masks, YAML_CHOICE, .choices = masks_names, .help = "whether scans have label masks"),
    FIELD(labels, YAML_STRINGS, .metavar = "LABEL",
          .help = "labels that masks may hold beside 0 (default 1 2 4)"),
    FIELD(plane, YAML_CHOICE, .choices = plane_names, .help = "plane to slice"),
    FIELD(canvas, YAML_INTEGER, .minimum = 0, .maximum = LARGEST_CANVAS, .metavar = "PIXELS",
          .help = "zero-pad planes to this square; 0: the power of two that holds them"),
    FIELD(size, YAML_INTEGER, .minimum = 0, .maximum = LARGEST_CANVAS, .metavar = "PIXELS",
          .help = "average the canvas down to this square; 0: leave it"),
    FIELD(intensity, YAML_CHOICE, .choices = intensity_names,
          .help = "what becomes 255: the volume's maximum, a percentile, or values as they are"),
    FIELD(percentile, YAML_REAL, .minimum = 1, .maximum = 100, .metavar = "P",
          .help = "of the voxels above 0, for intensity percentile (default 99.5)"),
    FIELD(keep_share, YAML_REAL, .minimum = 0, .maximum = 1, .metavar = "SHARE",
          .help = "keep a slice if more than this share of its pixels is bright (default .15)"),
    FIELD(keep_above, YAML_REAL, .minimum = 0, .maximum = 255, .metavar = "VALUE",
          .help = "bright: above this value of 0 to 255 (default 50)"),
    FIELD(keep_channel, YAML_STRING, .metavar = "NAME",
          .help = "in this modality (default t1, else the first)"),
    FIELD(type, YAML_CHOICE, .choices = type_names, .help = "element type of images.npy"),
    FIELD(holdout, YAML_REAL, .minimum = 0, .maximum = 0.9, .metavar = "SHARE",
          .help = "share of subjects held out of training (default .15)"),
    FIELD(validation, YAML_REAL, .minimum = 0, .maximum = 0.9, .metavar = "SHARE",
          .help = "share of subjects for validation (default 0)"),
    FIELD(split_file, YAML_STRING, .metavar = "CSV",
          .help = "subject,split: instead of a random split"),
    FIELD(subjects_file, YAML_STRING, .metavar = "CSV", .help = "file,subject: for png and npy"),
    FIELD(seed, YAML_INTEGER, .minimum = 0, .maximum = 0x1p53, .metavar = "N",
          .help = "of the random split (default: the plan's)"),
    FIELD(on_bad, YAML_CHOICE, .choices = on_bad_names,
          .help = "a bad subject: fail and write nothing, or skip and record it"),
    { 0 },
};

/* ---- the job --------------------------------------------------------------------------------- */

struct job {
    const struct ingest_settings *settings;
    struct scan_list list;
    struct scan_options options;
    struct dataset_format format;
    enum split *split; /* by subject, in order */
    size_t *subject;   /* of each scan */
    bool *counted;     /* by subject: has images in the store */
    bool *bad;         /* by subject: a scan of it was left out */
    struct scan_result *results;
    struct dataset_writer writer;
    struct ingest_report *report;
    struct json *subjects; /* NULL where every image is a subject of its own */
    struct progress progress;
    struct arena arena;
    struct error *err;
    atomic_bool
        writing; /* read by all threads; false once a bad subject means that nothing will be kept */
};

/* A table of two columns that is looked things up in: sorted by the key, each key once. */
struct lookup_row {
    const char *key, *value;
    size_t row;
};
struct lookup {
    struct lookup_row *rows;
    size_t count;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct lookup_row *)a)->key, ((const struct lookup_row *)b)->key);
}

static bool lookup_read(struct lookup *lookup, const char *path, const char *key, const char *value,
                        struct arena *arena, struct error *err)
{
    const char *const columns[] = { key, value, NULL };
    struct csv table;
    if (!csv_read(&table, path, columns, arena, err))
        return false;
    *lookup = (struct lookup){ arena_array(arena, struct lookup_row, table.rows), table.rows };
    for (size_t row = 0; row < table.rows; row++) {
        lookup->rows[row] =
            (struct lookup_row){ csv_cell(&table, row, key), csv_cell(&table, row, value), row };
        if (!*lookup->rows[row].value)
            return error_set(err, "%s: row %zu has no %s", path, row + 1, value);
    }
    if (table.rows)
        qsort(lookup->rows, table.rows, sizeof *lookup->rows, by_key);
    for (size_t i = 1; i < table.rows; i++)
        if (strcmp(lookup->rows[i].key, lookup->rows[i - 1].key) == 0)
            return error_set(err, "%s: two rows for the %s %s", path, key, lookup->rows[i].key);
    return true;
}

static const struct lookup_row *lookup_find(const struct lookup *lookup, const char *key)
{
    struct lookup_row wanted = { .key = key };
    return lookup->count
               ? bsearch(&wanted, lookup->rows, lookup->count, sizeof *lookup->rows, by_key)
               : NULL;
}

/* The array's images have no names: the table's rows stand in their order. */
static bool apply_subject_rows(struct job *job, struct error *err)
{
    static const char *const columns[] = { "subject", NULL };
    const char *path = job->settings->subjects_file;
    struct csv table;
    if (!csv_read(&table, path, columns, &job->arena, err))
        return false;
    if (table.rows != job->list.count)
        return error_set(err, "%s: %zu rows for %zu images", path, table.rows, job->list.count);
    for (size_t i = 0; i < job->list.count; i++) {
        job->list.scans[i].subject = csv_cell(&table, i, "subject");
        if (!*job->list.scans[i].subject)
            return error_set(err, "%s: row %zu has no subject", path, i + 1);
    }
    return true;
}

/* Subjects from a table, for layouts whose names do not tell. */
static bool apply_subjects(struct job *job, struct error *err)
{
    const char *path = job->settings->subjects_file;
    struct lookup lookup;
    if (!path)
        return true;
    if (job->list.layout == LAYOUT_NPY)
        return apply_subject_rows(job, err);
    if (!lookup_read(&lookup, path, "file", "subject", &job->arena, err))
        return false;
    for (size_t i = 0; i < job->list.count; i++) {
        struct scan *scan = &job->list.scans[i];
        const struct lookup_row *row = lookup_find(&lookup, scan->files[0]);
        if (!row)
            return error_set(err, "%s: no row for the file %s", path, scan->files[0]);
        scan->subject = row->value;
    }
    return true;
}

struct subject_order {
    const char *name;
    size_t scan;
};

static int by_subject(const void *a, const void *b)
{
    const struct subject_order *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->scan > y->scan) - (x->scan < y->scan);
}

/* Numbers the subjects in byte order; returns their names. */
static const char **number_subjects(struct job *job)
{
    struct arena *arena = &job->arena;
    size_t count = job->list.count, subjects = 0;
    struct subject_order *order = arena_array(arena, struct subject_order, count);
    const char **names = arena_array(arena, const char *, count);
    job->subject = arena_array(arena, size_t, count);
    for (size_t i = 0; i < count; i++)
        order[i] = (struct subject_order){ job->list.scans[i].subject, i };
    if (count)
        qsort(order, count, sizeof *order, by_subject);
    for (size_t i = 0; i < count; i++) {
        if (!i || strcmp(order[i].name, order[i - 1].name) != 0)
            names[subjects++] = order[i].name;
        job->subject[order[i].scan] = subjects - 1;
    }
    job->list.subject_count = subjects;
    return names;
}

/* ---- splits ---------------------------------------------------------------------------------- */

static size_t share_of(double share, size_t subjects)
{
    size_t count = (size_t)floor(share * (double)subjects + 0.5);
    return share > 0 && !count ? 1 : count;
}

static bool split_at_random(struct job *job, struct error *err)
{
    const struct ingest_settings *settings = job->settings;
    size_t subjects = job->list.subject_count;
    size_t holdout = share_of(settings->holdout, subjects);
    size_t validation = share_of(settings->validation, subjects);
    if (holdout + validation >= subjects)
        return error_set(err,
                         "%zu subject%s too few to hold out %zu and validate on %zu; add "
                         "subjects, or lower holdout and validation",
                         subjects, subjects == 1 ? " is" : "s are", holdout, validation);
    size_t *order = arena_array(&job->arena, size_t, subjects);
    random_permutation((uint64_t)settings->seed, random_stream("ingest/split"), subjects, order);
    for (size_t i = 0; i < holdout + validation; i++)
        job->split[order[i]] = i < holdout ? SPLIT_HOLDOUT : SPLIT_VALIDATION;
    return true;
}

static bool split_by_file(struct job *job, const char *const *names, struct error *err)
{
    const char *path = job->settings->split_file;
    struct lookup lookup;
    if (!lookup_read(&lookup, path, "subject", "split", &job->arena, err))
        return false;
    for (size_t i = 0; i < job->list.subject_count; i++) {
        const struct lookup_row *row = lookup_find(&lookup, names[i]);
        if (!row)
            return error_set(err, "%s: the subject %s has no row", path, names[i]);
        int split = SPLIT_TRAIN;
        while (split < SPLIT_NONE && strcmp(split_names[split], row->value) != 0)
            split++;
        if (split == SPLIT_NONE)
            return error_set(err,
                             "%s: row %zu: the split \"%s\" is none of train, holdout, validation",
                             path, row->row + 1, row->value);
        job->split[i] = (enum split)split;
    }
    return true;
}

static bool split_subjects(struct job *job, const char *const *names, struct error *err)
{
    size_t subjects = job->list.subject_count;
    job->split = arena_array(&job->arena, enum split, subjects);
    for (size_t i = 0; i < subjects; i++)
        job->split[i] = job->settings->role == ROLE_REAL ? SPLIT_TRAIN : SPLIT_NONE;
    if (job->settings->role != ROLE_REAL || !job->writing)
        return true;
    return job->settings->split_file ? split_by_file(job, names, err) : split_at_random(job, err);
}

/* ---- what to do with each scan --------------------------------------------------------------- */

static bool parse_labels(struct job *job, struct error *err)
{
    job->options.label_allowed[0] = true;
    for (size_t i = 0; i < job->settings->labels.count; i++) {
        int64_t label;
        const char *text = job->settings->labels.items[i];
        if (!text_to_integer(text, &label) || label < 0 || label > 255)
            return error_set(err, "labels: \"%s\" is not a whole number from 0 to 255", text);
        job->options.label_allowed[label] = true;
    }
    return true;
}

static bool choose_keep_channel(struct job *job, struct error *err)
{
    const struct ingest_settings *settings = job->settings;
    for (size_t i = 0; i < job->list.channel_count; i++)
        if (strcmp(job->list.channels[i], settings->keep_channel) == 0) {
            job->options.keep_channel = i;
            return true;
        }
    bool chosen = strcmp(settings->keep_channel, ingest_defaults.keep_channel) != 0;
    return !chosen ||
           error_set(err, "keep_channel: there is no channel \"%s\"", settings->keep_channel);
}

static bool choose_masks(struct job *job, struct error *err)
{
    const struct ingest_settings *settings = job->settings;
    if (settings->masks == MASKS_REQUIRED && !job->list.masks)
        return error_set(err, "%s: no masks found, but masks are required", settings->source);
    job->options.masks = settings->masks != MASKS_NONE && job->list.masks;
    return true;
}

/* The first scan that can be read, and its planes; list.count: there is none. */
static size_t first_readable(const struct job *job, struct plane_shape *shape)
{
    size_t item = 0;
    *shape = (struct plane_shape){ 0 };
    while (item < job->list.count &&
           !scan_plane_shape(&job->options, &job->list.scans[item], shape, NULL))
        item++;
    return item;
}

/* The least power of two that holds the planes of the first scan that can be read. Where none can,
 * any will do: each is a problem of its own, and will be listed. */
static bool natural_canvas(const struct job *job, int64_t *canvas, struct error *err)
{
    struct plane_shape shape;
    size_t item = first_readable(job, &shape);
    int64_t side = shape.rows > shape.columns ? shape.rows : shape.columns;
    for (*canvas = item < job->list.count ? 8 : LARGEST_CANVAS; *canvas < side;)
        *canvas *= 2;
    return *canvas <= LARGEST_CANVAS ||
           error_set(err, "%s: planes of %lld × %lld; at most %d pixels a side are read",
                     job->list.scans[item].files[0], (long long)shape.rows,
                     (long long)shape.columns, LARGEST_CANVAS);
}

static bool choose_canvas(struct job *job, struct error *err)
{
    const struct ingest_settings *settings = job->settings;
    int64_t canvas = settings->canvas, size = settings->size;
    if (!canvas && !natural_canvas(job, &canvas, err))
        return false;
    size = size ? size : canvas;
    if (size > canvas || size < 8)
        return error_set(err,
                         "size %lld: expected 8 to %lld, the canvas (images are never enlarged)",
                         (long long)size, (long long)canvas);
    job->options.canvas = canvas;
    job->options.size = size;
    if (settings->role == ROLE_SYNTHETIC && job->list.layout == LAYOUT_PNG)
        (void)first_readable(job, &job->options.flat);
    return true;
}

/* Volumes are scaled and sliced by the protocol; single images come as they are. */
static void choose_by_layout(struct job *job)
{
    const struct ingest_settings *settings = job->settings;
    bool volumes = job->list.layout == LAYOUT_BRATS || job->list.layout == LAYOUT_BIDS ||
                   (job->list.layout == LAYOUT_GLOB && job->list.count &&
                    nifti_is_name(job->list.scans[0].files[0]));
    job->options.intensity = settings->intensity ? (enum intensity)settings->intensity
                             : volumes           ? INTENSITY_MAXIMUM
                                                 : INTENSITY_NONE;
    job->options.keep_share = volumes ? settings->keep_share : -1;
    if (volumes)
        job->subjects = json_new_array();
}

static bool prepare(struct job *job, struct error *err)
{
    const struct ingest_settings *settings = job->settings;
    job->options = (struct scan_options){
        .source = settings->source,
        .channels = job->list.channels,
        .channel_count = job->list.channel_count,
        .plane = (enum plane)settings->plane,
        .percentile = settings->percentile / 100,
        .keep_above = settings->keep_above,
        .type = types[settings->type],
    };
    if (!job->list.count)
        return true; /* every scan is a problem; they are all reported */
    choose_by_layout(job);
    if (job->options.keep_share < 0 && settings->plane != PLANE_AXIAL)
        return error_set(err, "plane: single images have one plane only; leave %s out",
                         plane_names[settings->plane]);
    return parse_labels(job, err) && choose_keep_channel(job, err) && choose_masks(job, err) &&
           scan_options_open(&job->options, &job->list, err) && choose_canvas(job, err);
}

/* ---- running --------------------------------------------------------------------------------- */

static void read_one(void *context, size_t item)
{
    struct job *job = context;
    scan_read(&job->options, &job->list.scans[item], job->writing, &job->results[item]);
}

static struct json *describe_files(const struct job *job, const struct scan *scan,
                                   const struct scan_result *result)
{
    struct json *files = json_new_array();
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < result->file_count; i++) {
        struct json *file = json_new_object();
        bool mask = i == job->options.channel_count;
        json_put_string(file, "channel", mask ? "mask" : job->options.channels[i]);
        json_put_string(file, "path", mask ? scan->mask : scan->files[i]);
        json_put_integer(file, "bytes", (int64_t)result->files[i].size);
        json_put_string(file, "sha256", digest_hex(&result->files[i].digest, hex));
        json_push(files, file);
    }
    return files;
}

static void describe_scan(struct job *job, size_t item, enum split split)
{
    const struct scan *scan = &job->list.scans[item];
    const struct scan_result *result = &job->results[item];
    if (!job->subjects)
        return;
    struct json *entry = json_new_object(), *shape = json_new_array(), *spacing = json_new_array();
    for (int axis = 0; axis < 3; axis++) {
        json_push_integer(shape, result->shape[axis]);
        json_push_real(spacing, result->spacing[axis]);
    }
    json_put_string(entry, "subject", scan->subject);
    if (*scan->session)
        json_put_string(entry, "session", scan->session);
    json_put_string(entry, "split", split_names[split]);
    json_put_integer(entry, "images", (int64_t)result->kept);
    json_put(entry, "shape", shape);
    json_put(entry, "spacing", spacing);
    json_put_bool(entry, "oriented", result->oriented);
    json_put(entry, "files", describe_files(job, scan, result));
    json_push(job->subjects, entry);
}

static bool append_images(struct job *job, size_t item, enum split split)
{
    const struct scan *scan = &job->list.scans[item];
    const struct scan_result *result = &job->results[item];
    size_t pixels = job->format.height * job->format.width;
    size_t image_bytes = pixels * job->format.channels * element_info[job->format.type].bytes;
    char hex[DIGEST_HEX];
    struct digest digest = result->file_count == 1
                               ? result->files[0].digest
                               : digest_of_entries(result->files, result->file_count);
    struct dataset_image row = { .subject = scan->subject,
                                 .split = split,
                                 .source = scan->files[0],
                                 .sha256 = digest_hex(&digest, hex) };
    for (size_t i = 0; i < result->kept; i++) {
        row.slice = scan->slice >= 0 ? scan->slice : result->slices[i];
        if (!dataset_writer_append(&job->writer, result->images + i * image_bytes,
                                   result->masks ? result->masks + i * pixels : NULL, &row,
                                   job->err))
            return false;
    }
    return true;
}

static void count_scan(struct job *job, size_t item, enum split split)
{
    struct ingest_report *report = job->report;
    bool first = !job->counted[job->subject[item]];
    job->counted[job->subject[item]] = true;
    report->images += job->results[item].kept;
    report->images_in[split] += job->results[item].kept;
    report->subjects += first;
    report->subjects_in[split] += first;
}

static void note_extreme(struct job *job, struct extreme *extreme, double sign, double value,
                         const char *subject)
{
    if (extreme->subject && sign * value <= sign * extreme->value)
        return;
    *extreme = (struct extreme){ value, arena_string(&job->report->problems.arena, subject) };
}

/* What the images' values and sizes rest on, and nobody sees in them. */
static void note_scan(struct job *job, size_t item)
{
    struct ingest_report *report = job->report;
    const struct scan_result *result = &job->results[item];
    const char *subject = job->list.scans[item].subject;
    if (types[job->settings->type] == ELEMENT_UINT8)
        report->deep = fmax(report->deep, result->deep);
    if (result->below > 0)
        note_extreme(job, &report->below, 1, result->below, subject);
    for (int side = 0; side < 2 && result->pixel[side] > 0; side++) {
        note_extreme(job, &report->least_pixel, -1, result->pixel[side], subject);
        note_extreme(job, &report->greatest_pixel, 1, result->pixel[side], subject);
    }
}

static bool finish_one(void *context, size_t item)
{
    struct job *job = context;
    const struct scan *scan = &job->list.scans[item];
    struct scan_result *result = &job->results[item];
    enum split split = job->split[job->subject[item]];
    bool ok = true;
    for (size_t i = 0; i < result->problem_count; i++)
        problems_add(&job->report->problems, scan->subject, result->problems[i].file,
                     result->problems[i].reason);
    if (result->problem_count) {
        job->bad[job->subject[item]] = true;
        job->writing = job->writing && job->settings->on_bad == ON_BAD_SKIP;
    } else if (job->writing) {
        ok = append_images(job, item, split);
        describe_scan(job, item, split);
        count_scan(job, item, split);
        note_scan(job, item);
    }
    scan_result_release(result);
    progress_add(&job->progress, 1);
    return ok;
}

static struct json *describe_settings(const struct job *job)
{
    const struct ingest_settings *settings = job->settings;
    struct json *object = json_new_object(), *labels = json_new_array();
    json_put_string(object, "layout", layout_names[job->list.layout]);
    json_put_string(object, "plane", plane_names[settings->plane]);
    json_put_integer(object, "canvas", job->options.canvas);
    json_put_integer(object, "size", job->options.size);
    json_put_string(object, "intensity", intensity_names[job->options.intensity]);
    if (job->options.intensity == INTENSITY_PERCENTILE)
        json_put_real(object, "percentile", settings->percentile);
    if (job->options.keep_share >= 0) {
        json_put_real(object, "keep_share", settings->keep_share);
        json_put_real(object, "keep_above", settings->keep_above);
        json_put_string(object, "keep_channel", job->options.channels[job->options.keep_channel]);
    }
    for (int label = 1; label < 256; label++)
        if (job->options.label_allowed[label])
            json_push_integer(labels, label);
    json_put(object, "labels", labels);
    if (settings->role == ROLE_REAL && !settings->split_file) {
        json_put_real(object, "holdout", settings->holdout);
        json_put_real(object, "validation", settings->validation);
        json_put_integer(object, "seed", settings->seed);
    }
    json_put_string(object, "on_bad", on_bad_names[settings->on_bad]);
    return object;
}

static struct json *describe_splits(const struct ingest_report *report)
{
    struct json *splits = json_new_object();
    for (int split = 0; split < SPLIT_COUNT; split++) {
        if (!report->subjects_in[split])
            continue;
        struct json *counts = json_new_object();
        json_put_integer(counts, "subjects", (int64_t)report->subjects_in[split]);
        json_put_integer(counts, "images", (int64_t)report->images_in[split]);
        json_put(splits, split_names[split], counts);
    }
    return splits;
}

/* Subjects of whom a scan was left out and others are in the store. */
static size_t count_partly(const struct job *job)
{
    size_t count = 0;
    for (size_t i = 0; i < job->list.subject_count; i++)
        count += job->bad[i] && job->counted[i];
    return count;
}

static struct json *describe(struct job *job)
{
    struct json *description = json_new_object();
    job->report->partly_skipped = count_partly(job);
    json_put_string(description, "command", "ingest");
    json_put(description, "settings", describe_settings(job));
    json_put(description, "splits", describe_splits(job->report));
    if (job->report->subjects_unknown)
        json_put_bool(description, "subjects_known", false);
    json_put_integer(description, "ignored_files", (int64_t)job->list.ignored);
    json_put(description, "skipped", problems_json(&job->report->problems));
    if (job->report->partly_skipped)
        json_put_integer(description, "partly_skipped", (int64_t)job->report->partly_skipped);
    if (job->subjects)
        json_put(description, "scans", job->subjects);
    job->subjects = NULL;
    return description;
}

static int by_problem(const void *a, const void *b)
{
    const struct problem *x = a, *y = b;
    int order = strcmp(x->subject, y->subject);
    order = order ? order : strcmp(x->file, y->file);
    return order ? order : strcmp(x->reason, y->reason);
}

static void sort_problems(struct problems *problems)
{
    if (problems->count)
        qsort(problems->items, problems->count, sizeof *problems->items, by_problem);
}

/* Of sorted problems. */
static bool sum_up_problems(const struct job *job, struct error *err)
{
    const struct problems *problems = &job->report->problems;
    size_t subjects = 0;
    for (size_t i = 0; i < problems->count; i++)
        subjects += !i || strcmp(problems->items[i].subject, problems->items[i - 1].subject) != 0;
    if (job->settings->on_bad == ON_BAD_SKIP)
        return error_set(err, "no image is left: every subject was skipped");
    return error_set(err,
                     "%zu bad subject%s; nothing was written. Mend %s, or leave %s out with "
                     "on_bad: skip",
                     subjects, subjects == 1 ? "" : "s", subjects == 1 ? "it" : "them",
                     subjects == 1 ? "it" : "them");
}

/* A split that was asked for and is empty would leave the audit without its control. */
static bool check_what_is_left(const struct job *job, struct error *err)
{
    const struct ingest_report *report = job->report;
    const struct ingest_settings *settings = job->settings;
    if (!report->images)
        return error_set(err, "no image is left: every subject was skipped");
    if (settings->role != ROLE_REAL || settings->split_file)
        return true;
    const double wanted[] = { [SPLIT_TRAIN] = 1,
                              [SPLIT_HOLDOUT] = settings->holdout,
                              [SPLIT_VALIDATION] = settings->validation };
    for (int split = SPLIT_TRAIN; split <= SPLIT_VALIDATION; split++)
        if (wanted[split] > 0 && !report->images_in[split])
            return error_set(err,
                             "every subject of the split %s was skipped; mend one, or set another "
                             "seed",
                             split_names[split]);
    return true;
}

static bool write_store(struct job *job, const char *out, bool replace)
{
    job->format = (struct dataset_format){
        .role = (enum dataset_role)job->settings->role,
        .channels = job->options.channel_count,
        .height = (size_t)job->options.size,
        .width = (size_t)job->options.size,
        .channel_names = job->options.channels,
        .type = job->options.type,
        .masks = job->options.masks,
    };
    if (!dataset_writer_open(&job->writer, out, &job->format, job->err))
        return false;
    struct problems *problems = &job->report->problems;
    progress_begin(&job->progress, "ingest", "scans", job->list.count);
    bool ok = parallel_ordered(job->list.count, read_one, finish_one, job);
    progress_end(&job->progress);
    for (size_t i = 0; i < job->list.count; i++)
        scan_result_release(&job->results[i]);
    sort_problems(problems);
    if (ok)
        ok = job->writing ? check_what_is_left(job, job->err) : sum_up_problems(job, job->err);
    if (ok)
        return dataset_writer_commit(&job->writer, describe(job), replace, job->err);
    dataset_writer_abandon(&job->writer);
    return false;
}

/* What is replaced is removed, so nothing but a store ever is: "dataset" may be the name of a
 * folder of scans. */
static bool may_be_written(const char *out, bool replace, struct error *err)
{
    if (path_kind(out) == PATH_NOTHING || (replace && dataset_is(out)))
        return true;
    return error_set(err, "%s: exists already%s; remove it or choose another name", out,
                     replace ? " and is no dataset store" : "");
}

static bool run(struct job *job, const char *out, bool replace, struct error *err)
{
    const struct ingest_settings *settings = job->settings;
    struct layout_request request = { settings->source, (enum layout)settings->layout,
                                      settings->channels, settings->mask_pattern,
                                      settings->masks == MASKS_NONE };
    if (!*settings->source)
        return error_set(err, "source: say which folder holds the scans");
    if (!may_be_written(out, replace, err))
        return false;
    if (!layout_find(&request, &job->list, &job->report->problems, &job->arena, err) ||
        !apply_subjects(job, err))
        return false;
    job->report->layout = layout_names[job->list.layout];
    if (job->list.foreign)
        job->report->foreign = arena_string(&job->report->problems.arena, job->list.foreign);
    job->report->subjects_unknown =
        settings->role == ROLE_REAL && !settings->subjects_file &&
        (job->list.layout == LAYOUT_PNG || job->list.layout == LAYOUT_NPY);
    job->report->scans_seen = job->list.count;
    sort_problems(&job->report->problems);
    if (!job->list.count)
        return sum_up_problems(job, err);
    const char *const *names = number_subjects(job);
    job->results = arena_array(&job->arena, struct scan_result, job->list.count);
    job->counted = arena_array(&job->arena, bool, job->list.subject_count);
    job->bad = arena_array(&job->arena, bool, job->list.subject_count);
    job->writing = !job->report->problems.count || settings->on_bad == ON_BAD_SKIP;
    return split_subjects(job, names, err) && prepare(job, err) && write_store(job, out, replace);
}

bool ingest(const struct ingest_settings *settings, const char *out, bool replace,
            struct ingest_report *report, struct error *err)
{
    struct job job = { .settings = settings, .report = report, .err = err };
    *report = (struct ingest_report){ 0 };
    problems_init(&report->problems);
    arena_init(&job.arena);
    bool ok = run(&job, out, replace, err);
    if (!ok) { /* what was counted on the way was not kept */
        report->subjects = report->images = report->partly_skipped = 0;
        memset(report->images_in, 0, sizeof report->images_in);
        memset(report->subjects_in, 0, sizeof report->subjects_in);
    }
    scan_options_close(&job.options);
    json_free(job.subjects);
    arena_release(&job.arena);
    return ok;
}

void ingest_report_release(struct ingest_report *report)
{
    problems_release(&report->problems);
}

/* ---- inputs ---------------------------------------------------------------------------------- */

bool ingest_inputs_digest(const struct ingest_settings *settings, struct digest *digest,
                          struct error *err)
{
    struct arena arena;
    struct digest source = { 0 }, listed = { 0 };
    struct text text = { 0 };
    char hex[DIGEST_HEX];
    arena_init(&arena);
    bool ok = digest_tree(settings->source, &source, &arena, NULL, NULL, err);
    const char *files[] = { settings->split_file, settings->subjects_file };
    yaml_describe(ingest_fields, settings, &text);
    text_format(&text, "source %s\n", digest_hex(&source, hex));
    for (size_t i = 0; ok && i < 2; i++) {
        if (!files[i])
            continue;
        ok = digest_file(files[i], &listed, err);
        text_format(&text, "file %s\n", digest_hex(&listed, hex));
    }
    *digest = digest_of(text.bytes, text.length);
    text_release(&text);
    arena_release(&arena);
    return ok;
}
