/* The stores of a utility audit: who is learnt from, who was held out and where their slices stand,
 * which labels there are; and all that is refused before anything is written. See utility_grid.h.
 */
#include "audit/utility_grid.h"

#include "base/json.h"
#include "data/volume.h"

#include <stdlib.h>
#include <string.h>

/* ---- real images -------------------------------------------------------------------------- */

/* Rows of a split, of a store that was not split all of them; how many subjects they are of (images
 * of a subject stand together). */
static size_t rows_of(const struct dataset *store, enum split split, bool all, size_t *rows,
                      size_t *subjects)
{
    size_t count = 0;
    const char *last = NULL;
    *subjects = 0;
    for (size_t i = 0; i < store->count; i++) {
        if (!all && store->index[i].split != split)
            continue;
        *subjects += !last || strcmp(last, store->index[i].subject) != 0;
        last = store->index[i].subject;
        rows[count++] = i;
    }
    return count;
}

static bool has_split(const struct dataset *store, enum split split)
{
    for (size_t i = 0; i < store->count; i++)
        if (store->index[i].split == split)
            return true;
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* No subject may be on both sides: what was learnt by heart would count as skill. */
static bool check_overlap(struct grid *grid, const size_t *held, size_t count, struct error *err)
{
    const struct dataset *store = &grid->real;
    const char **known = memory_grow(NULL, grid->train_count, sizeof *known);
    bool ok = true;
    for (size_t i = 0; i < grid->train_count; i++)
        known[i] = store->index[grid->train_rows[i]].subject;
    qsort(known, grid->train_count, sizeof *known, by_text);
    for (size_t i = 0; ok && i < count; i++) {
        const char *subject = grid->held->index[held[i]].subject;
        if (!bsearch(&subject, known, grid->train_count, sizeof *known, by_text))
            continue;
        const char *where = grid->held == store
                                ? "in both splits, train and holdout"
                                : arena_format(&grid->arena, "here and in %s", store->path);
        ok = error_set(err,
                       "%s: subject %s has images %s; a segmenter would be tested on a patient "
                       "that it knows",
                       grid->held->path, subject, where);
    }
    free(known);
    return ok;
}

/* The scan's entry in the store's origin that tells its spacing, or NULL. */
static const struct json *scan_entry(const struct dataset *store, const char *file)
{
    const struct json *origin = json_get(store->description, "origin", NULL);
    const struct json *scans = origin ? json_get_array(origin, "scans", NULL) : NULL;
    for (size_t i = 0; scans && i < json_length(scans); i++) {
        const struct json *files = json_get_array(json_at(scans, i), "files", NULL);
        const char *path =
            files && json_length(files) ? json_get_string(json_at(files, 0), "path", NULL) : NULL;
        if (path && strcmp(path, file) == 0)
            return json_at(scans, i);
    }
    return NULL;
}

static bool get_number(const struct json *list, size_t i, double *value)
{
    return list && i < json_length(list) && json_as_real(json_at(list, i), value) && *value > 0;
}

/* Which of a volume's axes (left, back, up) run along a plane's columns and rows, and through it.
 */
static const int plane_axes[PLANE_COUNT][3] = {
    [PLANE_AXIAL] = { 0, 1, 2 },
    [PLANE_CORONAL] = { 0, 2, 1 },
    [PLANE_SAGITTAL] = { 1, 2, 0 },
};

static int plane_named(const char *name)
{
    for (int plane = 0; plane < PLANE_COUNT; plane++)
        if (strcmp(name, plane_names[plane]) == 0)
            return plane;
    return -1;
}

/* Of the store's pixels: the scan's, times what the canvas was scaled down by. */
static void find_spacing(const struct dataset *store, struct patient *patient)
{
    const struct json *entry = scan_entry(store, patient->scan);
    const struct json *origin = json_get(store->description, "origin", NULL);
    const struct json *settings = origin ? json_get(origin, "settings", NULL) : NULL;
    const struct json *spacing = entry ? json_get_array(entry, "spacing", NULL) : NULL;
    int64_t canvas = 1, size = 1;
    double scan[3], ones = 0;
    bool oriented = false;
    const char *name = settings ? json_get_string(settings, "plane", NULL) : NULL;
    int plane = name ? plane_named(name) : -1;
    bool ok = plane >= 0 && json_get_integer(settings, "canvas", &canvas, NULL) &&
              json_get_integer(settings, "size", &size, NULL) && canvas > 0 && size > 0;
    for (size_t axis = 0; axis < 3; axis++) {
        ok = ok && get_number(spacing, axis, &scan[axis]);
        ones += ok && scan[axis] == 1;
    }
    /* A file without orientation and spacing reads as one of 1 mm. */
    patient->assumed =
        !ok || (ones == 3 && json_get_bool(entry, "oriented", &oriented, NULL) && !oriented);
    for (int i = 0; i < 3; i++)
        patient->spacing[i] =
            ok ? scan[plane_axes[plane][i]] * (i < 2 ? (double)canvas / (double)size : 1) : 1;
}

/* Whether an image is of another scan than the one before it: of another subject or file, or the
 * same plane again, as single images are that stand in one file (an array). */
static bool begins_scan(const struct dataset_image *image, const struct dataset_image *before)
{
    return strcmp(before->source, image->source) != 0 ||
           strcmp(before->subject, image->subject) != 0 || before->slice == image->slice;
}

/* Cuts the holdout into scans; their slices stand together and ascend. */
static bool find_patients(struct grid *grid, size_t *held, size_t count, struct error *err)
{
    const struct dataset *store = grid->held;
    grid->patients = arena_array(&grid->arena, struct patient, count);
    for (size_t i = 0; i < count; i++) {
        const struct dataset_image *image = &store->index[held[i]];
        struct patient *patient = i ? &grid->patients[grid->patient_count - 1] : NULL;
        if (!patient || begins_scan(image, &store->index[held[i - 1]])) {
            patient = &grid->patients[grid->patient_count++];
            *patient = (struct patient){ .subject = image->subject,
                                         .scan = image->source,
                                         .rows = held + i,
                                         .first = image->slice };
            find_spacing(store, patient);
        }
        patient->slices++;
        if (image->slice < patient->first + patient->depth)
            return error_set(err, "%s: the slices of %s do not ascend in index.csv", store->path,
                             image->subject);
        patient->depth = image->slice - patient->first + 1;
    }
    return true;
}

/* Opens a real store that segmenters learn from or are tested on. */
static bool open_masked(struct dataset *store, const char *path, struct error *err)
{
    if (!dataset_is(path))
        return error_set(err,
                         "%s: no dataset store; utility is measured on stores with masks, as lethe "
                         "ingest writes them",
                         path);
    return dataset_open(store, path, err) &&
           (store->masks ||
            error_set(err, "%s: has no masks; utility is measured by segmenting", store->path));
}

/* The store to be tested on: the training images' own, or another. */
static bool open_held(struct grid *grid, struct error *err)
{
    grid->held = &grid->real;
    if (!grid->job->holdout)
        return true;
    grid->held = &grid->holdout;
    return open_masked(&grid->holdout, grid->job->holdout, err) &&
           examples_agree(&grid->holdout, &grid->real, err);
}

static bool open_real(struct grid *grid, struct error *err)
{
    struct dataset *store = &grid->real;
    size_t subjects;
    if (!open_masked(store, grid->job->dataset, err) || !open_held(grid, err))
        return false;
    const struct dataset *held = grid->held;
    bool apart = held != store;
    size_t *rows = arena_array(&grid->arena, size_t, held->count);
    grid->train_rows = arena_array(&grid->arena, size_t, store->count);
    grid->train_count =
        rows_of(store, SPLIT_TRAIN,
                apart && !has_split(store, SPLIT_TRAIN) && !has_split(store, SPLIT_HOLDOUT),
                grid->train_rows, &grid->train_subjects);
    grid->holdout_images =
        rows_of(held, SPLIT_HOLDOUT, apart && !has_split(held, SPLIT_HOLDOUT), rows, &subjects);
    if (!grid->train_count || !grid->holdout_images)
        return error_set(err,
                         "%s: %zu images in the split train and %zu in holdout; both are needed, "
                         "to learn from and to be tested on: ingest with --holdout",
                         store->path, grid->train_count, grid->holdout_images);
    return check_overlap(grid, rows, grid->holdout_images, err) &&
           find_patients(grid, rows, grid->holdout_images, err);
}

static void add_labels(const struct dataset *store, bool occurs[256])
{
    for (size_t i = 0; i < store->count * store->height * store->width; i++)
        occurs[store->masks[i]] = true;
}

static void find_classes(struct grid *grid)
{
    bool occurs[256] = { false };
    add_labels(&grid->real, occurs);
    if (grid->held != &grid->real)
        add_labels(grid->held, occurs);
    grid->classes = classes_of(occurs);
    grid->sets = arena_array(&grid->arena, struct label_set, CLASSES_MOST + REGION_COUNT);
    for (size_t k = 1; k < grid->classes.count; k++)
        grid->sets[grid->set_count++] = label_set_of(
            arena_format(&grid->arena, "%d", grid->classes.label[k]), 1, &grid->classes.label[k]);
    const struct region_scheme *scheme = region_scheme_of(occurs);
    grid->region_count = scheme ? REGION_COUNT : 0;
    for (int region = 0; scheme && region < REGION_COUNT; region++)
        grid->sets[grid->set_count++] = region_set(scheme, region);
}

/* ---- synthetic stores ------------------------------------------------------------------------ */

static bool check_synthetic(const struct grid *grid, const struct dataset *store, struct error *err)
{
    if (store->role != ROLE_SYNTHETIC)
        return error_set(err, "%s: a store of role %s; synthetic images are wanted", store->path,
                         dataset_role_names[store->role]);
    if (!store->masks)
        return error_set(err, "%s: has no masks; a segmenter learns from masks", store->path);
    for (size_t i = 0; i < store->count * store->height * store->width; i++)
        if (store->masks[i] && !grid->classes.class_of[store->masks[i]])
            return error_set(err, "%s: has the label %d, which no real mask in %s has", store->path,
                             store->masks[i], grid->real.path);
    return examples_agree(store, &grid->real, err);
}

static bool open_synthetic(struct grid *grid, struct error *err)
{
    for (size_t i = 0; i < grid->job->synthetic_count; i++) {
        struct dataset *store = &grid->synthetic[i];
        const char *path = grid->job->synthetic[i].path;
        if (!dataset_is(path))
            return error_set(err,
                             "%s: no dataset store; utility is measured on stores with masks, as "
                             "lethe sample writes them",
                             path);
        if (!dataset_open(store, path, err) || !check_synthetic(grid, store, err))
            return false;
    }
    return true;
}

bool grid_open(struct grid *grid, struct error *err)
{
    if (!open_real(grid, err))
        return false;
    find_classes(grid);
    return open_synthetic(grid, err);
}

void grid_close(struct grid *grid)
{
    dataset_close(&grid->real);
    dataset_close(&grid->holdout);
    for (size_t i = 0; i < grid->job->synthetic_count; i++)
        dataset_close(&grid->synthetic[i]);
}
