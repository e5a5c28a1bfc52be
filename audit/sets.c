/* The sets of an audit: their subjects, and whether they belong together; see sets.h. How each kind
 * of set is opened: set_kinds.c. */
#include "audit/sets_parts.h"

#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

const char *const set_role_names[SET_COUNT] = { "train", "synthetic", "holdout" };

/* ---- subjects -------------------------------------------------------------------------------- */

struct named_row {
    const char *file, *subject;
};

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct named_row *)a)->file, ((const struct named_row *)b)->file);
}

/* A row an image, in order (arrays). */
static bool subjects_in_order(struct opening *opening, struct audit_set *set, const char *path)
{
    static const char *const columns[] = { "subject", NULL };
    struct csv table;
    if (!csv_read(&table, path, columns, &opening->sets->arena, opening->err))
        return false;
    if (table.rows != set->images.count)
        return error_set(opening->err, "%s: %zu rows for the %zu images of %s", path, table.rows,
                         set->images.count, set->path);
    for (size_t i = 0; i < table.rows; i++)
        set->subjects[i] = csv_cell(&table, i, "subject");
    return true;
}

/* By the file's name (PNG). */
static bool subjects_by_file(struct opening *opening, struct audit_set *set, const char *path)
{
    static const char *const columns[] = { "file", "subject", NULL };
    struct csv table;
    struct arena *arena = &opening->sets->arena;
    if (!csv_read(&table, path, columns, arena, opening->err))
        return false;
    struct named_row *rows = arena_array(arena, struct named_row, table.rows);
    for (size_t i = 0; i < table.rows; i++)
        rows[i] = (struct named_row){ csv_cell(&table, i, "file"), csv_cell(&table, i, "subject") };
    if (table.rows)
        qsort(rows, table.rows, sizeof *rows, by_file);
    for (size_t i = 1; i < table.rows; i++)
        if (strcmp(rows[i - 1].file, rows[i].file) == 0)
            return error_set(opening->err, "%s: the file %s has two rows", path, rows[i].file);
    for (size_t i = 0; i < set->images.count; i++) {
        struct named_row key = { set->files[i].path, NULL };
        const struct named_row *row =
            table.rows ? bsearch(&key, rows, table.rows, sizeof *rows, by_file) : NULL;
        if (!row)
            return error_set(opening->err, "%s: no row for the file %s", path, key.file);
        set->subjects[i] = row->subject;
    }
    return true;
}

static bool find_subjects(struct opening *opening, struct audit_set *set, const char *table)
{
    struct arena *arena = &opening->sets->arena;
    if (set->subjects_known || set->dataset)
        return !table || error_set(opening->err,
                                   "%s has subjects of its own; the table %s is for .npy files and "
                                   "folders of PNG",
                                   set->path, table);
    set->subjects = arena_array(arena, const char *, set->images.count);
    set->subjects_known = table != NULL;
    for (size_t i = 0; !table && i < set->images.count; i++)
        set->subjects[i] = arena_format(arena, "image %zu", i);
    if (!table)
        return true;
    if (!(strcmp(set->kind, "png") == 0 ? subjects_by_file : subjects_in_order)(opening, set,
                                                                                table))
        return false;
    for (size_t i = 0; i < set->images.count; i++)
        if (!*set->subjects[i])
            return error_set(opening->err, "%s: image %zu has no subject", table, i);
    return true;
}

struct member {
    const char *subject;
    enum set_role role;
    size_t image;
};

static int by_subject(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = strcmp(x->subject, y->subject);
    return order ? order : (int)x->role - (int)y->role;
}

/* Numbers the subjects of training and holdout alike, in byte order of their names, so that a
 * subject has one number wherever it stands. Names made up from places are a set's own. */
static bool number_subjects(struct opening *opening)
{
    struct sets *sets = opening->sets;
    struct audit_set *train = &sets->of[SET_TRAIN], *holdout = &sets->of[SET_HOLDOUT];
    size_t held = sets->holdout ? holdout->images.count : 0, total = train->images.count + held;
    struct member *members = memory_grow(NULL, total, sizeof *members);
    uint32_t *train_groups = arena_array(&sets->arena, uint32_t, train->images.count),
             *holdout_groups = arena_array(&sets->arena, uint32_t, held ? held : 1);
    for (size_t i = 0; i < total; i++) {
        bool out = i >= train->images.count;
        size_t image = out ? i - train->images.count : i;
        members[i] = (struct member){ (out ? holdout : train)->subjects[image],
                                      out ? SET_HOLDOUT : SET_TRAIN, image };
    }
    qsort(members, total, sizeof *members, by_subject);
    uint32_t number = 0;
    const char *shared = NULL;
    size_t shared_count = 0;
    bool comparable = train->subjects_known && (!sets->holdout || holdout->subjects_known);
    for (size_t i = 0; i < total; i++) {
        bool same = i && strcmp(members[i - 1].subject, members[i].subject) == 0,
             crossed = same && members[i - 1].role != members[i].role;
        if (crossed && comparable) {
            shared = shared ? shared : members[i].subject;
            shared_count++;
        }
        bool first = !same || crossed;
        number += i && first;
        sets->of[members[i].role].subject_count += first;
        (members[i].role == SET_TRAIN ? train_groups : holdout_groups)[members[i].image] = number;
    }
    free(members);
    train->images.groups = train_groups;
    holdout->images.groups = sets->holdout ? holdout_groups : NULL;
    if (!shared)
        return true;
    return error_set(opening->err,
                     "the holdout %s shares %zu subject%s with the training set %s (the first is "
                     "\"%s\"): a control must be of subjects that the generator never saw; leave "
                     "them out of it",
                     holdout->path, shared_count, shared_count == 1 ? "" : "s", train->path,
                     shared);
}

/* ---- do they belong together ----------------------------------------------------------------- */

static bool check_not_empty(const struct audit_set *set, struct error *err)
{
    if (set->images.count && set->images.height && set->images.width && set->images.channels)
        return true;
    if (set->images.rows || (set->dataset && set->dataset->count))
        return error_set(err, "%s: none of its images is in the split that serves as %s", set->path,
                         set_role_names[set->role]);
    return error_set(err, "%s: an empty set; there is nothing to compare", set->path);
}

static bool check_like_train(const struct audit_set *set, const struct audit_set *train,
                             struct error *err)
{
    const struct image_set *a = &set->images, *b = &train->images;
    if (a->channels != b->channels)
        return error_set(err,
                         "%s has %zu channels, the training set %s has %zu: only images with the "
                         "same channels can be compared (a mask must not be among them%s)",
                         set->path, a->channels, train->path, b->channels,
                         a->channels == 3 && b->channels == 1 && strcmp(set->kind, "png") == 0
                             ? "; lethe ingest --role synthetic makes grey images of RGB files "
                               "whose colours are alike"
                             : "");
    if (a->height != b->height || a->width != b->width)
        return error_set(
            err,
            "%s has images of %zu × %zu, the training set %s of %zu × %zu: only images "
            "of one size can be compared; make both in the same way",
            set->path, a->height, a->width, train->path, b->height, b->width);
    if (a->type != b->type)
        return error_set(
            err,
            "%s holds %s, the training set %s holds %s: only images of one type can be "
            "compared; save both alike",
            set->path, element_info[a->type].name, train->path, element_info[b->type].name);
    bool named = train->dataset && set->dataset;
    for (size_t c = 0; named && c < a->channels; c++)
        if (strcmp(set->channel_names[c], train->channel_names[c]) != 0)
            return error_set(err,
                             "channel %zu is %s in %s, %s in the training set %s: channels must "
                             "have the same names in the same order (lethe ingest --channels says "
                             "how those of PNGs and arrays are called)",
                             c, set->channel_names[c], set->path, train->channel_names[c],
                             train->path);
    return true;
}

/* Whether two sets hold the same pixels in the same order. */
static bool same_pixels(const struct audit_set *a, const struct audit_set *b)
{
    if (a->images.count != b->images.count)
        return false;
    size_t bytes = a->images.channels * a->images.height * a->images.width *
                   element_info[a->images.type].bytes;
    for (size_t i = 0; i < a->images.count; i++)
        if (memcmp(a->images.images + set_place(a, i) * bytes,
                   b->images.images + set_place(b, i) * bytes, bytes) != 0)
            return false;
    return true;
}

static bool check_not_the_same(const struct audit_set *a, const struct audit_set *b,
                               struct error *err)
{
    if (!same_pixels(a, b))
        return true;
    return error_set(
        err,
        "THE %s SET IS THE %s SET: %s and %s hold the same %zu images, pixel by pixel; "
        "an audit of a set against itself says nothing",
        a->role == SET_SYNTHETIC ? "SYNTHETIC" : "HOLDOUT",
        b->role == SET_TRAIN ? "TRAINING" : "SYNTHETIC", a->path, b->path, a->images.count);
}

static bool check_together(const struct opening *opening)
{
    struct sets *sets = opening->sets;
    struct audit_set *train = &sets->of[SET_TRAIN], *synthetic = &sets->of[SET_SYNTHETIC],
                     *holdout = &sets->of[SET_HOLDOUT];
    struct error *err = opening->err;
    bool drawn = opening->request->synthetic;
    return check_not_empty(train, err) && (!drawn || check_not_empty(synthetic, err)) &&
           (!sets->holdout || check_not_empty(holdout, err)) &&
           (!drawn || check_like_train(synthetic, train, err)) &&
           (!sets->holdout || check_like_train(holdout, train, err)) &&
           (!drawn || check_not_the_same(synthetic, train, err)) &&
           (!sets->holdout || (check_not_the_same(holdout, train, err) &&
                               (!drawn || check_not_the_same(holdout, synthetic, err))));
}

/* ---- channels -------------------------------------------------------------------------------- */

static bool names_a_mask(const char *name)
{
    static const char *const masks[] = { "seg", "segmentation", "mask", "label", "labels", "dseg" };
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        if (strcmp(name, masks[i]) == 0)
            return true;
    return false;
}

static bool choose_channels(struct opening *opening)
{
    struct sets *sets = opening->sets;
    const struct audit_set *train = &sets->of[SET_TRAIN];
    const struct yaml_strings *asked = opening->request->channels;
    size_t channels = train->images.channels;
    if (channels > 64)
        return error_set(opening->err, "%s: %zu channels; at most 64 can be compared", train->path,
                         channels);
    for (size_t c = 0; !asked->count && c < channels; c++)
        if (!names_a_mask(train->channel_names[c]))
            sets->channels |= UINT64_C(1) << c;
    for (size_t i = 0; i < asked->count; i++) {
        size_t c = 0;
        while (c < channels && strcmp(train->channel_names[c], asked->items[i]) != 0)
            c++;
        if (c == channels)
            return error_set(opening->err, "%s: there is no channel \"%s\"; the first is \"%s\"",
                             train->path, asked->items[i], train->channel_names[0]);
        sets->channels |= UINT64_C(1) << c;
    }
    return sets->channels ||
           error_set(opening->err, "%s: masks alone cannot be compared", train->path);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Whether the training set's store has a holdout of its own. */
static bool holdout_within(const struct audit_set *train)
{
    return strcmp(train->kind, "store") == 0 && set_has_split(train->dataset, SPLIT_HOLDOUT);
}

static bool open_one(struct opening *opening, enum set_role role, const char *path)
{
    struct audit_set *set = &opening->sets->of[role];
    *set = (struct audit_set){ .role = role, .path = path };
    if (!set_open(opening, set))
        return false;
    set->digest = digest_of_entries(set->files, set->file_count);
    return true;
}

static bool open_all(struct opening *opening)
{
    const struct sets_request *request = opening->request;
    struct sets *sets = opening->sets;
    if (!open_one(opening, SET_TRAIN, request->train) ||
        (request->synthetic && !open_one(opening, SET_SYNTHETIC, request->synthetic)))
        return false;
    const char *holdout = request->holdout;
    if (!holdout && holdout_within(&sets->of[SET_TRAIN]))
        holdout = request->train;
    sets->holdout = holdout != NULL;
    return (!holdout || open_one(opening, SET_HOLDOUT, holdout)) && check_together(opening) &&
           find_subjects(opening, &sets->of[SET_TRAIN], request->subjects) &&
           (!holdout ||
            find_subjects(opening, &sets->of[SET_HOLDOUT], request->holdout_subjects)) &&
           number_subjects(opening) && choose_channels(opening);
}

bool sets_open(const struct sets_request *request, struct sets *sets, struct error *err)
{
    *sets = (struct sets){ 0 };
    arena_init(&sets->arena);
    struct opening opening = { request, sets, err };
    if (open_all(&opening))
        return true;
    sets_close(sets);
    return false;
}

void sets_close(struct sets *sets)
{
    for (int role = 0; role < SET_COUNT; role++) {
        if (sets->of[role].dataset)
            dataset_close(sets->of[role].dataset);
        if (sets->of[role].array)
            npy_close(sets->of[role].array);
    }
    arena_release(&sets->arena);
    *sets = (struct sets){ 0 };
}

/* ---- telling --------------------------------------------------------------------------------- */

struct json *set_json(const struct audit_set *set)
{
    enum { FILES_LISTED = 16 }; /* of folders with more, the digest of their list says as much */
    char hex[DIGEST_HEX];
    struct json *input = json_new_object(), *files = json_new_array();
    json_put_string(input, "name", path_name(set->path));
    json_put_string(input, "kind", set->kind);
    json_put_integer(input, "images", (int64_t)set->images.count);
    json_put_integer(input, "height", (int64_t)set->images.height);
    json_put_integer(input, "width", (int64_t)set->images.width);
    json_put_string(input, "type", element_info[set->images.type].name);
    json_put_bool(input, "subjects_known", set->subjects_known);
    json_put_integer(input, "files_count", (int64_t)set->file_count);
    json_put_string(input, "sha256", digest_hex(&set->digest, hex));
    for (size_t i = 0; i < set->file_count && set->file_count <= FILES_LISTED; i++) {
        struct json *file = json_new_object();
        json_put_string(file, "path", set->files[i].path);
        json_put_integer(file, "size", (int64_t)set->files[i].size);
        json_put_string(file, "sha256", digest_hex(&set->files[i].digest, hex));
        json_push(files, file);
    }
    json_put(input, "files", files);
    return input;
}
