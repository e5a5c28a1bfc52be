/* How each kind of set is opened: stores, arrays, folders of PNG and NIfTI; see sets.h. */
#include "audit/sets_parts.h"

#include "base/parallel.h"
#include "base/text.h"
#include "data/ingest.h"
#include "data/png.h"

/* ---- a dataset store ------------------------------------------------------------------------- */

/* Which split an audit takes, by role: the one that the role is about where there is one, else all
 * that was not split. Synthetic sets are taken whole. */
static bool wanted(const struct dataset_image *row, enum set_role role, bool split)
{
    static const enum split of[SET_COUNT] = { SPLIT_TRAIN, SPLIT_NONE, SPLIT_HOLDOUT };
    return role == SET_SYNTHETIC || !split || row->split == of[role];
}

bool set_has_split(const struct dataset *dataset, enum split split)
{
    for (size_t i = 0; i < dataset->count; i++)
        if (dataset->index[i].split == split)
            return true;
    return false;
}

static bool is_split(const struct dataset *dataset)
{
    return set_has_split(dataset, SPLIT_TRAIN) || set_has_split(dataset, SPLIT_HOLDOUT) ||
           set_has_split(dataset, SPLIT_VALIDATION);
}

static void choose_rows(struct audit_set *set, const struct dataset *dataset, struct arena *arena)
{
    /* A holdout of its own may be a store that was ingested whole, all of it called train. */
    bool split =
        set->role == SET_HOLDOUT ? set_has_split(dataset, SPLIT_HOLDOUT) : is_split(dataset);
    uint32_t *rows = arena_array(arena, uint32_t, dataset->count);
    size_t count = 0;
    set->subjects = arena_array(arena, const char *, dataset->count);
    for (size_t i = 0; i < dataset->count; i++) {
        if (!wanted(&dataset->index[i], set->role, split))
            continue;
        set->subjects[count] = dataset->index[i].subject;
        rows[count++] = (uint32_t)i;
    }
    set->images = image_set_of_store(dataset);
    set->images.count = count;
    set->images.rows = count < dataset->count ? rows : NULL;
}

/* Of images that came without a table of subjects ingest says so. */
static bool knows_subjects(const struct dataset *dataset)
{
    const struct json *origin = json_get(dataset->description, "origin", NULL);
    bool known = true;
    return !origin || !json_has(origin, "subjects_known") ||
           (json_get_bool(origin, "subjects_known", &known, NULL) && known);
}

static bool open_store(struct opening *opening, struct audit_set *set)
{
    static const char *const names[] = { "dataset.json", "images.npy", "index.csv", "masks.npy" };
    struct arena *arena = &opening->sets->arena;
    struct dataset *dataset = arena_new(arena, struct dataset);
    if (!dataset_open(dataset, set->path, opening->err))
        return false;
    set->dataset = dataset;
    set->kind = "store";
    set->channel_names = dataset->channel_names;
    set->subjects_known = knows_subjects(dataset);
    choose_rows(set, dataset, arena);
    set->files = arena_array(arena, struct digest_entry, 4);
    for (size_t i = 0; i < 4; i++)
        if (i < 3 || dataset->masks)
            set->files[set->file_count++].path = names[i];
    return digest_files(set->path, set->files, set->file_count, opening->err);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static bool map_array(struct opening *opening, struct audit_set *set, const char *path,
                      const char *name)
{
    struct arena *arena = &opening->sets->arena;
    struct npy *array = arena_new(arena, struct npy);
    if (!npy_open(array, path, opening->err))
        return false;
    set->array = array;
    if (array->rank != 3 && array->rank != 4)
        return error_set(opening->err, "%s: %d dimensions; expected (N,H,W) or (N,C,H,W)", name,
                         array->rank);
    if (npy_has_channels_last(array))
        return error_set(opening->err, "%s: " NPY_CHANNELS_LAST, name, array->shape[3]);
    bool planar = array->rank == 3;
    set->images = (struct image_set){ .name = name,
                                      .images = array->data,
                                      .count = array->shape[0],
                                      .channels = planar ? 1 : array->shape[1],
                                      .height = array->shape[planar ? 1 : 2],
                                      .width = array->shape[planar ? 2 : 3],
                                      .type = array->type,
                                      .mapped = true };
    return true;
}

/* "0", "1", …: arrays name no channels. */
static void number_channels(struct audit_set *set, struct arena *arena)
{
    set->channel_names = arena_array(arena, const char *, set->images.channels);
    for (size_t c = 0; c < set->images.channels; c++)
        set->channel_names[c] = arena_format(arena, "%zu", c);
}

static bool open_npy(struct opening *opening, struct audit_set *set)
{
    struct arena *arena = &opening->sets->arena;
    set->kind = "npy";
    if (!map_array(opening, set, set->path, set->path))
        return false;
    if (set->images.type != ELEMENT_UINT8 && set->images.type != ELEMENT_UINT16 &&
        set->images.type != ELEMENT_FLOAT16)
        return error_set(
            opening->err,
            "%s: elements of %s; images are compared as uint8, uint16 or float16: save "
            "array.astype('float16'), the same for every set",
            set->path, element_info[set->images.type].name);
    number_channels(set, arena);
    set->files = arena_new(arena, struct digest_entry);
    set->file_count = 1;
    set->files[0].path = path_name(set->path);
    return digest_files(path_parent(arena, set->path), set->files, 1, opening->err);
}

/* ---- folders --------------------------------------------------------------------------------- */

static bool has_ending(const char *name, const char *ending, const char *other)
{
    return text_ends_with_any_case(name, ending) || (other && text_ends_with_any_case(name, other));
}

/* An image that is a link to nothing would be missing in the audit without a word. */
static bool none_is_missing(struct opening *opening, const struct audit_set *set,
                            const char *ending, const char *other)
{
    struct arena *arena = &opening->sets->arena;
    char **links;
    size_t count;
    if (!folder_walk_dead_links(set->path, arena, &links, &count, opening->err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (has_ending(links[i], ending, other)) {
            const char *path = path_join(arena, set->path, links[i]);
            return error_set(opening->err, "%s: %s", path, dead_link_words(path, arena));
        }
    return true;
}

/* The files of the folder with one of the endings, with their digests. */
static bool list_files(struct opening *opening, struct audit_set *set, const char *ending,
                       const char *other)
{
    struct arena *arena = &opening->sets->arena;
    char **files;
    size_t count;
    if (!folder_walk_links(set->path, arena, &files, &count, opening->err) ||
        !none_is_missing(opening, set, ending, other))
        return false;
    set->files = arena_array(arena, struct digest_entry, count);
    set->file_count = 0;
    for (size_t i = 0; i < count; i++)
        if (has_ending(files[i], ending, other))
            set->files[set->file_count++].path = files[i];
    return digest_files(set->path, set->files, set->file_count, opening->err);
}

/* Where what is read from this folder is laid down: another content, another name. */
static const char *unpacked_path(const struct opening *opening, const struct audit_set *set,
                                 const char *ending)
{
    char hex[DIGEST_HEX];
    struct digest digest = digest_of_entries(set->files, set->file_count);
    digest_hex(&digest, hex);
    hex[16] = '\0';
    return path_join(
        &opening->sets->arena, opening->request->work,
        arena_format(&opening->sets->arena, "%s-%s%s", set_role_names[set->role], hex, ending));
}

/* PNG images on their way into an array. */
struct png_job {
    const struct audit_set *set;
    struct png_image *images;
    struct error *errors; /* as many as items can be under way at once, in turn */
    size_t error_count;
    struct png_image shape; /* of the first */
    struct npy_writer writer;
    bool open;
    const char *target;
    struct error *err;
};

static void png_load(void *context, size_t item)
{
    struct png_job *job = context;
    struct arena arena;
    arena_init(&arena);
    const char *path = path_join(&arena, job->set->path, job->set->files[item].path);
    if (!png_read(&job->images[item], path, &job->errors[item % job->error_count]))
        job->images[item].pixels = NULL;
    arena_release(&arena);
}

/* Colours of a pixel lie side by side in a PNG, planes apart in an array. Opaque alpha says
 * nothing and is left out. */
static void to_planes(const struct png_image *image, int channels, void *out)
{
    size_t pixels = (size_t)image->width * image->height, step = (size_t)image->channels;
    for (size_t c = 0; c < (size_t)channels; c++)
        for (size_t p = 0; p < pixels; p++) {
            if (image->bits == 8)
                ((uint8_t *)out)[c * pixels + p] = ((uint8_t *)image->pixels)[p * step + c];
            else
                ((uint16_t *)out)[c * pixels + p] = ((uint16_t *)image->pixels)[p * step + c];
        }
}

static int colours(const struct png_image *image)
{
    return image->channels < 3 ? 1 : 3;
}

static bool png_begin(struct png_job *job, const struct png_image *first)
{
    size_t shape[3] = { (size_t)colours(first), first->height, first->width };
    job->shape = *first;
    job->open =
        npy_writer_open(&job->writer, job->target,
                        first->bits == 8 ? ELEMENT_UINT8 : ELEMENT_UINT16, 3, shape, job->err);
    return job->open;
}

static bool png_store(void *context, size_t item)
{
    struct png_job *job = context;
    struct png_image *image = &job->images[item], *shape = &job->shape;
    const char *name = job->set->files[item].path;
    if (!image->pixels)
        return error_set(job->err, "%s", job->errors[item % job->error_count].message);
    bool ok = job->open || png_begin(job, image);
    if (ok && (image->width != shape->width || image->height != shape->height ||
               colours(image) != colours(shape) || image->bits != shape->bits))
        ok = error_set(job->err,
                       "%s/%s: %u × %u pixels, %d colours of %d bits; the images before it have "
                       "%u × %u, %d of %d: all must be alike",
                       job->set->path, name, image->width, image->height, colours(image),
                       image->bits, shape->width, shape->height, colours(shape), shape->bits);
    if (ok) {
        void *planes = memory_allocate(job->writer.item_bytes, 1, "an image", job->err);
        ok = planes != NULL;
        if (ok) {
            to_planes(image, colours(image), planes);
            ok = npy_writer_append(&job->writer, planes, 1, job->err);
        }
        memory_free(planes);
    }
    memory_free(image->pixels);
    image->pixels = NULL;
    return ok;
}

static bool unpack_png(struct opening *opening, struct audit_set *set, const char *target)
{
    size_t count = set->file_count;
    struct png_job job = { .set = set, .target = target, .err = opening->err };
    job.images = memory_allocate(count, sizeof *job.images, "a folder's images", opening->err);
    job.error_count = (size_t)parallel_threads() + 1;
    job.errors = memory_allocate(job.error_count, sizeof *job.errors, "messages", opening->err);
    bool ok = job.images && job.errors && folder_create(opening->request->work, opening->err) &&
              parallel_ordered(count, png_load, png_store, &job);
    for (size_t i = 0; job.images && i < count; i++)
        memory_free(job.images[i].pixels); /* what was read ahead of a failure */
    memory_free(job.images);
    memory_free(job.errors);
    if (job.open && !ok)
        npy_writer_abandon(&job.writer);
    return ok && npy_writer_commit(&job.writer, opening->err);
}

static bool open_png(struct opening *opening, struct audit_set *set)
{
    static const char *grey[] = { "grey" }, *colour[] = { "red", "green", "blue" };
    set->kind = "png";
    if (!list_files(opening, set, ".png", NULL))
        return false;
    const char *target = unpacked_path(opening, set, ".npy");
    if (path_kind(target) != PATH_FILE && !unpack_png(opening, set, target))
        return false;
    if (!map_array(opening, set, target, set->path))
        return false;
    set->channel_names = set->images.channels == 1 ? grey : colour;
    return true;
}

/* The first thing that ingest has to say against a folder. */
static bool ingest_failed(const struct audit_set *set, const struct ingest_report *report,
                          struct error *err)
{
    if (!report->problems.count)
        return error_prefix(err, "%s", set->path);
    const struct problem *first = &report->problems.items[0];
    return error_set(err, "%s: %zu bad subjects, the first %s: %s%s%s; lethe ingest lists them all",
                     set->path, report->problems.count, first->subject, first->file,
                     *first->file ? ": " : "", first->reason);
}

static bool open_nifti(struct opening *opening, struct audit_set *set)
{
    struct arena *arena = &opening->sets->arena;
    if (!list_files(opening, set, ".nii", ".nii.gz"))
        return false;
    const char *target = unpacked_path(opening, set, "");
    struct ingest_settings settings = ingest_defaults;
    settings.source = set->path;
    settings.role = set->role == SET_SYNTHETIC ? ROLE_SYNTHETIC : ROLE_REAL;
    settings.masks = MASKS_NONE;
    settings.holdout = 0;
    if (!dataset_is(target)) {
        struct ingest_report report;
        bool ok = folder_create(opening->request->work, opening->err) &&
                  (ingest(&settings, target, true, &report, opening->err) ||
                   ingest_failed(set, &report, opening->err));
        ingest_report_release(&report);
        if (!ok)
            return false;
    }
    struct dataset *dataset = set->dataset = arena_new(arena, struct dataset);
    if (!dataset_open(dataset, target, opening->err)) {
        set->dataset = NULL;
        return false;
    }
    set->kind = "nifti";
    set->channel_names = dataset->channel_names;
    set->subjects_known = true;
    set->images = image_set_of_store(dataset);
    set->images.name = set->path;
    set->subjects = arena_array(arena, const char *, dataset->count);
    for (size_t i = 0; i < dataset->count; i++)
        set->subjects[i] = dataset->index[i].subject;
    return true;
}

/* ---- what it is ------------------------------------------------------------------------------ */

static bool holds(const char *folder, const char *ending, const char *other, bool *found,
                  struct error *err)
{
    struct arena arena;
    char **files;
    size_t count;
    arena_init(&arena);
    bool ok = folder_walk_links(folder, &arena, &files, &count, err);
    *found = false;
    for (size_t i = 0; ok && !*found && i < count; i++)
        *found = has_ending(files[i], ending, other);
    arena_release(&arena);
    return ok;
}

static bool open_folder(struct opening *opening, struct audit_set *set)
{
    struct arena *arena = &opening->sets->arena;
    bool found;
    if (dataset_is(set->path))
        return open_store(opening, set);
    if (path_kind(path_join(arena, set->path, "images.npy")) == PATH_FILE) {
        set->path = path_join(arena, set->path, "images.npy");
        return open_npy(opening, set);
    }
    if (!holds(set->path, ".png", NULL, &found, opening->err))
        return false;
    if (found)
        return open_png(opening, set);
    if (!holds(set->path, ".nii", ".nii.gz", &found, opening->err))
        return false;
    if (found)
        return open_nifti(opening, set);
    return error_set(
        opening->err,
        "%s: holds no images: expected a dataset store, images.npy, PNG or NIfTI files", set->path);
}

bool set_open(struct opening *opening, struct audit_set *set)
{
    enum path_kind kind = path_kind(set->path);
    if (kind == PATH_FOLDER)
        return open_folder(opening, set);
    if (kind == PATH_FILE && text_ends_with_any_case(set->path, ".npy"))
        return open_npy(opening, set);
    return error_set(
        opening->err,
        kind == PATH_NOTHING
            ? "%s: there is nothing of that name; expected a dataset store, a .npy file, "
              "or a folder of PNG or NIfTI files"
            : "%s: is not a set of images; expected a dataset store, a .npy file, or a "
              "folder of PNG or NIfTI files",
        set->path);
}
