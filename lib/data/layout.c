/* Layouts; see layout.h. Each is a function that says of one path which subject, session and
 * channel it is; grouping and the checks are the same for all. */
#include "data/layout.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "data/nifti.h"
#include "data/npy.h"
#include "data/dataset.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const char *const layout_names[LAYOUT_COUNT + 1] = { "auto", "brats", "bids", "glob",
                                                     "png",  "npy",   NULL };

enum { MASK_CHANNEL = -1, MOST_CHANNELS = 64 };

/* ---- problems -------------------------------------------------------------------------------- */

void problems_init(struct problems *problems)
{
    *problems = (struct problems){ 0 };
    arena_init(&problems->arena);
}

void problems_release(struct problems *problems)
{
    free(problems->items);
    arena_release(&problems->arena);
    *problems = (struct problems){ 0 };
}

void problems_add(struct problems *problems, const char *subject, const char *file,
                  const char *reason)
{
    ARRAY_RESERVE(problems->items, problems->count, problems->capacity);
    problems->items[problems->count++] = (struct problem){ arena_string(&problems->arena, subject),
                                                           arena_string(&problems->arena, file),
                                                           arena_string(&problems->arena, reason) };
}

struct json *problems_json(const struct problems *problems)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < problems->count; i++) {
        struct json *problem = json_new_object();
        json_put_string(problem, "subject", problems->items[i].subject);
        json_put_string(problem, "file", problems->items[i].file);
        json_put_string(problem, "reason", problems->items[i].reason);
        json_push(list, problem);
    }
    return list;
}

/* ---- glob ------------------------------------------------------------------------------------ */

struct capture {
    const char *name;
    const char *begin;
    size_t length; /* 0: not set yet */
};
struct globbing {
    struct capture captures[3];
};

static struct capture *capture_at(struct globbing *globbing, const char *pattern, size_t *length)
{
    const char *close = *pattern == '{' ? strchr(pattern, '}') : NULL;
    if (!close)
        return NULL;
    *length = (size_t)(close - pattern) + 1;
    for (int i = 0; i < 3; i++) {
        struct capture *capture = &globbing->captures[i];
        if (strlen(capture->name) == *length - 2 &&
            !strncmp(capture->name, pattern + 1, *length - 2))
            return capture;
    }
    return NULL;
}

static bool match(struct globbing *globbing, const char *pattern, const char *path);

/* A run of `least` or more bytes, as long as possible first: "t1ce" before "t1". */
static bool match_run(struct globbing *globbing, const char *rest, const char *path, size_t least,
                      size_t most, struct capture *capture)
{
    for (size_t length = most + 1; length-- > least;) {
        if (capture)
            *capture = (struct capture){ capture->name, path, length };
        if (match(globbing, rest, path + length))
            return true;
    }
    if (capture)
        capture->length = 0;
    return false;
}

/* Any number of whole folders, as many as possible first. */
static bool match_folders(struct globbing *globbing, const char *rest, const char *path)
{
    for (const char *at = path + strlen(path); at >= path; at--)
        if ((at == path || at[-1] == '/') && match(globbing, rest, at))
            return true;
    return false;
}

static bool match_capture(struct globbing *globbing, struct capture *capture, const char *rest,
                          const char *path)
{
    if (capture->length)
        return !strncmp(path, capture->begin, capture->length) &&
               match(globbing, rest, path + capture->length);
    bool digits = strcmp(capture->name, "slice") == 0;
    size_t most = digits ? strspn(path, "0123456789") : strcspn(path, "/");
    return match_run(globbing, rest, path, 1, most, capture);
}

static bool match(struct globbing *globbing, const char *pattern, const char *path)
{
    size_t length;
    struct capture *capture = capture_at(globbing, pattern, &length);
    if (capture)
        return match_capture(globbing, capture, pattern + length, path);
    if (text_starts_with(pattern, "**/"))
        return match_folders(globbing, pattern + 3, path);
    if (text_starts_with(pattern, "**"))
        return match_run(globbing, pattern + 2, path, 0, strlen(path), NULL);
    if (*pattern == '*')
        return match_run(globbing, pattern + 1, path, 0, strcspn(path, "/"), NULL);
    if (!*pattern || !*path)
        return *pattern == *path;
    return (*pattern == *path || (*pattern == '?' && *path != '/')) &&
           match(globbing, pattern + 1, path + 1);
}

static const char *captured(const struct capture *capture, struct arena *arena)
{
    return capture->length ? arena_substring(arena, capture->begin, capture->length) : NULL;
}

bool glob_match(const char *pattern, const char *path, struct glob_captures *captures,
                struct arena *arena)
{
    struct globbing globbing = {
        { { .name = "subject" }, { .name = "session" }, { .name = "slice" } }
    };
    if (!match(&globbing, pattern, path))
        return false;
    captures->subject = captured(&globbing.captures[0], arena);
    captures->session = captured(&globbing.captures[1], arena);
    captures->slice = captured(&globbing.captures[2], arena);
    return true;
}

/* ---- what a path is -------------------------------------------------------------------------- */

struct claim {
    const char *subject, *session;
    int64_t slice;
    int channel;
    const char *path;
    bool dead; /* a link, and what it leads to is not there */
};

struct finder {
    const struct layout_request *request;
    const char **channels;
    const char **patterns; /* glob: one a channel */
    size_t channel_count;
    char **dead; /* links that lead nowhere */
    size_t dead_count;
    struct arena *arena;
};

static int channel_index(const struct finder *finder, const char *name)
{
    for (size_t i = 0; i < finder->channel_count; i++)
        if (strcmp(finder->channels[i], name) == 0)
            return (int)i;
    return -2; /* a modality that was not asked for */
}

static const char *strip_nifti(struct arena *arena, const char *path)
{
    const char *name = path_name(path);
    size_t length = strlen(name);
    length -= text_ends_with_any_case(name, ".gz") ? 3 : 0;
    return arena_substring(arena, name, length - strlen(".nii"));
}

/* From 2023 on the subject's number is followed by a time point: NAME-00000-000. "sub-001" has
 * none: there 001 is the subject. */
static bool has_time_point(const char *stem, size_t length)
{
    if (length < 6 || stem[length - 4] != '-' || !isdigit((unsigned char)stem[length - 5]))
        return false;
    for (size_t i = length - 3; i < length; i++)
        if (!isdigit((unsigned char)stem[i]))
            return false;
    size_t digit = length - 5;
    while (digit > 0 && isdigit((unsigned char)stem[digit - 1]))
        digit--;
    return digit > 0 && stem[digit - 1] == '-';
}

static bool claim_brats(const struct finder *finder, const char *path, struct claim *claim)
{
    static const struct {
        const char *channel, *suffix[2]; /* to 2021, from 2023 on */
    } rows[] = {
        { "t1", { "_t1", "-t1n" } },  { "t1ce", { "_t1ce", "-t1c" } },
        { "t2", { "_t2", "-t2w" } },  { "flair", { "_flair", "-t2f" } },
        { NULL, { "_seg", "-seg" } },
    };
    if (!nifti_is_name(path))
        return false;
    const char *stem = strip_nifti(finder->arena, path);
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
        for (int era = 0; era < 2; era++) {
            if (!text_ends_with_any_case(stem, rows[row].suffix[era]))
                continue;
            size_t length = strlen(stem) - strlen(rows[row].suffix[era]);
            bool timed = era == 1 && has_time_point(stem, length);
            size_t subject = timed ? length - 4 : length;
            claim->subject = arena_substring(finder->arena, stem, subject);
            claim->session = timed ? arena_substring(finder->arena, stem + length - 3, 3) : "";
            claim->channel =
                rows[row].channel ? channel_index(finder, rows[row].channel) : MASK_CHANNEL;
            return length > 0;
        }
    return false;
}

/* The value of an entity ("ses" of "sub-01_ses-2_T1w"), or NULL. */
static const char *entity(struct arena *arena, const char *stem, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = stem; at; at = strchr(at, '_')) {
        at += *at == '_';
        if (!strncmp(at, key, length) && at[length] == '-')
            return arena_substring(arena, at + length + 1, strcspn(at + length + 1, "_"));
    }
    return NULL;
}

/* Of one dataset or of one among many: SITE/derivatives/… */
static bool is_derived(const char *path)
{
    return text_starts_with(path, "derivatives/") || strstr(path, "/derivatives/");
}

static bool claim_bids(const struct finder *finder, const char *path, struct claim *claim)
{
    static const struct {
        const char *suffix, *plain, *enhanced; /* channel without and with a contrast agent */
    } rows[] = {
        { "T1w", "t1", "t1ce" }, { "T2w", "t2", "t2" },  { "FLAIR", "flair", "flair" },
        { "dseg", NULL, NULL },  { "mask", NULL, NULL },
    };
    if (!nifti_is_name(path))
        return false;
    const char *stem = strip_nifti(finder->arena, path), *suffix = strrchr(stem, '_');
    const char *subject = entity(finder->arena, stem, "sub");
    const char *session = entity(finder->arena, stem, "ses");
    if (!subject || !suffix)
        return false;
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        if (strcmp(suffix + 1, rows[row].suffix) != 0)
            continue;
        bool enhanced = entity(finder->arena, stem, "ce");
        const char *channel = enhanced ? rows[row].enhanced : rows[row].plain;
        if (channel && is_derived(path))
            return false; /* processed copies; only masks are taken from there */
        claim->subject = arena_format(finder->arena, "sub-%s", subject);
        claim->session = session ? session : "";
        claim->channel = channel ? channel_index(finder, channel) : MASK_CHANNEL;
        return true;
    }
    return false;
}

static bool claim_pattern(const struct finder *finder, const char *pattern, int channel,
                          const char *path, struct claim *claim)
{
    struct glob_captures captures;
    int64_t slice = -1;
    if (!glob_match(pattern, path, &captures, finder->arena) || !captures.subject)
        return false;
    if (captures.slice && !text_to_integer(captures.slice, &slice))
        return false;
    claim->subject = captures.subject;
    claim->session = captures.session ? captures.session : "";
    claim->slice = slice;
    claim->channel = channel;
    return true;
}

static bool claim_glob(const struct finder *finder, const char *path, struct claim *claim)
{
    for (size_t i = 0; i < finder->channel_count; i++)
        if (claim_pattern(finder, finder->patterns[i], (int)i, path, claim))
            return true;
    return finder->request->mask &&
           claim_pattern(finder, finder->request->mask, MASK_CHANNEL, path, claim);
}

static bool claim_png(const struct finder *finder, const char *path, struct claim *claim)
{
    if (!text_ends_with_any_case(path, ".png"))
        return false;
    claim->subject = arena_substring(finder->arena, path, strlen(path) - strlen(".png"));
    claim->session = "";
    claim->channel = 0;
    return true;
}

static bool claim_npy(const struct finder *finder, const char *path, struct claim *claim)
{
    (void)finder;
    (void)claim;
    return strcmp(path, "images.npy") == 0 || strcmp(path, "masks.npy") == 0;
}

static const struct {
    bool (*claim)(const struct finder *finder, const char *path, struct claim *claim);
    const char *channels[5]; /* when none are asked for */
} layouts[LAYOUT_COUNT] = {
    [LAYOUT_BRATS] = { claim_brats, { "t1", "t1ce", "t2", "flair", NULL } },
    [LAYOUT_BIDS] = { claim_bids, { "t1", "t1ce", "t2", "flair", NULL } },
    [LAYOUT_GLOB] = { claim_glob, { NULL } },
    [LAYOUT_PNG] = { claim_png, { "image", NULL } },
    [LAYOUT_NPY] = { claim_npy, { NULL } },
};

/* ---- grouping -------------------------------------------------------------------------------- */

static int by_scan(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    int order = strcmp(x->subject, y->subject);
    order = order ? order : strcmp(x->session, y->session);
    order = order ? order : (x->slice > y->slice) - (x->slice < y->slice);
    order = order ? order : (x->channel > y->channel) - (x->channel < y->channel);
    return order ? order : strcmp(x->path, y->path);
}

static bool same_scan(const struct claim *a, const struct claim *b)
{
    return a->slice == b->slice && !strcmp(a->subject, b->subject) &&
           !strcmp(a->session, b->session);
}

/* What else helps, as scans that were repeated, or masks of several kinds, may not be removed. */
static const char *twice_words(int channel)
{
    return channel == MASK_CHANNEL
               ? ", name the right ones with the layout glob, or leave all out with masks: none"
               : ", or name the right ones with the layout glob";
}

/* Puts the claims [0, count) of one scan together; false when the scan is not usable. */
static bool assemble(const struct finder *finder, const struct claim *claims, size_t count,
                     struct scan *scan, struct problems *problems)
{
    struct arena *arena = finder->arena;
    *scan = (struct scan){ claims->subject,
                           claims->session,
                           claims->slice,
                           -1,
                           arena_array(arena, const char *, finder->channel_count),
                           NULL };
    size_t before = problems->count;
    for (size_t i = 0; i < count; i++) {
        const char **slot =
            claims[i].channel == MASK_CHANNEL ? &scan->mask : &scan->files[claims[i].channel];
        if (*slot)
            problems_add(problems, scan->subject, claims[i].path,
                         arena_format(arena, "found twice: %s claims the same place; remove one%s",
                                      *slot, twice_words(claims[i].channel)));
        else
            *slot = claims[i].path;
        if (claims[i].dead)
            problems_add(
                problems, scan->subject, claims[i].path,
                dead_link_words(path_join(arena, finder->request->source, claims[i].path), arena));
    }
    for (size_t channel = 0; channel < finder->channel_count; channel++)
        if (!scan->files[channel])
            problems_add(problems, scan->subject, "",
                         arena_format(arena, "the modality %s is missing%s%s",
                                      finder->channels[channel],
                                      *scan->session ? " in session " : "", scan->session));
    return problems->count == before;
}

/* Masks are all or none: a scan without one among scans with one is a problem. */
static void settle_masks(struct scan_list *list, struct problems *problems)
{
    for (size_t i = 0; i < list->count; i++)
        list->masks = list->masks || list->scans[i].mask;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (list->masks && !list->scans[i].mask)
            problems_add(problems, list->scans[i].subject, "",
                         "the mask is missing, though other subjects have one");
        else
            list->scans[kept++] = list->scans[i];
    }
    list->count = kept;
}

static void count_subjects(struct scan_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        list->subject_count +=
            !i || strcmp(list->scans[i].subject, list->scans[i - 1].subject) != 0;
}

static void group(const struct finder *finder, struct claim *claims, size_t count,
                  struct scan_list *list, struct problems *problems)
{
    if (count)
        qsort(claims, count, sizeof *claims, by_scan);
    list->scans = arena_array(finder->arena, struct scan, count);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && same_scan(&claims[i], &claims[next]);)
            next++;
        if (assemble(finder, claims + i, next - i, &list->scans[list->count], problems))
            list->count++;
    }
    settle_masks(list, problems);
    count_subjects(list);
}

const char *scan_name(enum layout layout, const struct scan *scan, struct arena *arena)
{
    const char *between = layout == LAYOUT_BRATS ? "-" : layout == LAYOUT_BIDS ? "_ses-" : "_";
    return arena_format(arena, "%s%s%s", scan->subject, *scan->session ? between : "",
                        scan->session);
}

/* ---- finding --------------------------------------------------------------------------------- */

/* npy: every image of the array is a scan and, until a list of subjects says otherwise, a subject
 * of its own. */
static bool find_npy(struct finder *finder, struct scan_list *list, struct error *err)
{
    const char *source = finder->request->source;
    struct npy images;
    if (!npy_open(&images, path_join(finder->arena, source, "images.npy"), err))
        return false;
    size_t channels = images.rank == 4 ? images.shape[1] : 1, count = images.shape[0];
    int rank = images.rank;
    bool empty = images.count == 0, last = npy_has_channels_last(&images);
    size_t width = rank == 4 ? images.shape[3] : 0;
    npy_close(&images);
    if (rank != 3 && rank != 4)
        return error_set(err, "%s/images.npy: %d dimensions; expected (N,H,W) or (N,C,H,W)", source,
                         rank);
    if (last)
        return error_set(err, "%s/images.npy: " NPY_CHANNELS_LAST, source, width);
    if (empty || channels > MOST_CHANNELS)
        return error_set(err, "%s/images.npy: %s", source,
                         empty ? "the shape holds a 0: there is no image in it"
                               : "more than 64 channels");
    if (finder->channel_count && finder->channel_count != channels)
        return error_set(err, "%s/images.npy: %zu channels, but %zu are named", source, channels,
                         finder->channel_count);
    list->channel_count = channels;
    list->channels = arena_array(finder->arena, const char *, channels);
    for (size_t i = 0; i < channels; i++)
        list->channels[i] = finder->channel_count ? finder->channels[i]
                            : channels == 1       ? "image"
                                                  : arena_format(finder->arena, "c%zu", i);
    list->masks = !finder->request->without_masks &&
                  path_kind(path_join(finder->arena, source, "masks.npy")) == PATH_FILE;
    list->scans = arena_array(finder->arena, struct scan, count);
    list->count = list->subject_count = count;
    const char **files = arena_array(finder->arena, const char *, channels);
    for (size_t i = 0; i < channels; i++)
        files[i] = "images.npy";
    for (size_t i = 0; i < count; i++)
        list->scans[i] =
            (struct scan){ arena_format(finder->arena, "%08zu", i), "", 0, (int64_t)i, files,
                           list->masks ? "masks.npy" : NULL };
    return true;
}

static bool set_channels(struct finder *finder, enum layout layout, struct error *err)
{
    struct yaml_strings asked = finder->request->channels;
    const char *const *names = asked.count ? asked.items : layouts[layout].channels;
    size_t count = asked.count;
    while (!asked.count && names[count])
        count++;
    if (count > MOST_CHANNELS)
        return error_set(err, "%zu channels; at most %d", count, MOST_CHANNELS);
    finder->channels = arena_array(finder->arena, const char *, count);
    finder->patterns = arena_array(finder->arena, const char *, count);
    finder->channel_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *equals = layout == LAYOUT_GLOB ? strchr(names[i], '=') : NULL;
        if (layout == LAYOUT_GLOB && (!equals || !strstr(equals, "{subject}")))
            return error_set(err,
                             "channel \"%s\": expected NAME=PATTERN with {subject} in the pattern",
                             names[i]);
        finder->channels[i] =
            equals ? arena_substring(finder->arena, names[i], (size_t)(equals - names[i]))
                   : names[i];
        finder->patterns[i] = equals ? equals + 1 : NULL;
        for (size_t j = 0; j < i; j++)
            if (!strcmp(finder->channels[i], finder->channels[j]))
                return error_set(err, "the channel \"%s\" is named twice", finder->channels[i]);
    }
    if (layout == LAYOUT_GLOB && !count)
        return error_set(err, "the layout glob needs channels: NAME=PATTERN");
    return true;
}

/* The layout that claims most files. */
static enum layout recognise(struct finder *finder, char *const *files, size_t count)
{
    static const enum layout candidates[] = { LAYOUT_BRATS, LAYOUT_BIDS, LAYOUT_NPY, LAYOUT_PNG };
    enum layout best = LAYOUT_AUTO;
    size_t most = 0;
    for (size_t c = 0; c < sizeof candidates / sizeof *candidates; c++) {
        size_t claimed = 0;
        for (size_t i = 0; i < count; i++) {
            struct claim claim = { 0 };
            claimed += layouts[candidates[c]].claim(finder, files[i], &claim);
        }
        if (claimed > most) {
            most = claimed;
            best = candidates[c];
        }
    }
    return best;
}

static bool check_channel_names(const struct finder *finder, enum layout layout, struct error *err)
{
    if (layout != LAYOUT_BRATS && layout != LAYOUT_BIDS)
        return true;
    for (size_t i = 0; i < finder->channel_count; i++) {
        size_t known = 0;
        while (layouts[layout].channels[known] &&
               strcmp(layouts[layout].channels[known], finder->channels[i]) != 0)
            known++;
        if (!layouts[layout].channels[known])
            return error_set(err, "the channel \"%s\" is not of the layout %s: t1, t1ce, t2, flair",
                             finder->channels[i], layout_names[layout]);
    }
    return true;
}

struct claiming {
    const struct finder *finder;
    struct problems *problems;
    struct claim *claims;
    size_t count;
};

/* False when no channel claims the path. */
static bool claim(struct claiming *claiming, enum layout layout, const char *path, bool dead)
{
    struct claim claim = { .slice = -1, .path = path, .dead = dead };
    if (!layouts[layout].claim(claiming->finder, path, &claim) ||
        claim.channel < (claiming->finder->request->without_masks ? 0 : MASK_CHANNEL))
        return false;
    bool ok = text_is_utf8(path, strlen(path));
    if (ok)
        claiming->claims[claiming->count++] = claim;
    else
        problems_add(claiming->problems, claim.subject, path,
                     "the name is not UTF-8, which tables and records hold; rename it");
    return ok;
}

/* A dead link that is named like no file may have been a folder, with all that was in it. */
static void miss_folder(struct claiming *claiming, const char *path)
{
    struct arena *arena = claiming->finder->arena;
    const char *name = path_name(path);
    if (!strchr(name, '.'))
        problems_add(
            claiming->problems, name, path,
            dead_link_words(path_join(arena, claiming->finder->request->source, path), arena));
}

static bool find_files(struct finder *finder, char *const *files, size_t count,
                       struct scan_list *list, struct problems *problems, struct error *err)
{
    if (!check_channel_names(finder, list->layout, err))
        return false;
    struct claiming claiming = { finder, problems, NULL, 0 };
    claiming.claims = arena_array(finder->arena, struct claim, count + finder->dead_count);
    for (size_t i = 0; i < count; i++)
        list->ignored += !claim(&claiming, list->layout, files[i], false);
    for (size_t i = 0; i < finder->dead_count; i++)
        if (!claim(&claiming, list->layout, finder->dead[i], true))
            miss_folder(&claiming, finder->dead[i]);
    list->channels = finder->channels;
    list->channel_count = finder->channel_count;
    group(finder, claiming.claims, claiming.count, list, problems);
    return true;
}

/* Scans that others read, and what makes NIfTI or PNG of them. */
static const struct foreign {
    const char *name, *endings[4], *remedy;
} foreigners[] = {
    { "DICOM", { ".dcm", ".ima" }, "convert them to NIfTI, as with dcm2niix" },
    { "pairs of NIfTI or ANALYZE",
      { ".hdr", ".img", ".hdr.gz", ".img.gz" },
      "make one .nii file of each pair, as with fslchfiletype" },
    { "of FreeSurfer", { ".mgz", ".mgh" }, "convert them to NIfTI, as with mri_convert" },
    { "NRRD or MetaImage",
      { ".nrrd", ".nhdr", ".mha", ".mhd" },
      "convert them to NIfTI, as with SimpleITK" },
    { "MINC", { ".mnc" }, "convert them to NIfTI, as with mnc2nii" },
    { "JPEG or TIFF", { ".jpg", ".jpeg", ".tif", ".tiff" }, "save them as grey PNG" },
};

static size_t count_foreign(const struct foreign *foreign, char *const *files, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 4 && foreign->endings[k]; k++)
            found += text_ends_with_any_case(files[i], foreign->endings[k]);
    return found;
}

/* Of what format most of the scans are that others read, in words; NULL: there are none. */
static const char *find_foreign(const struct finder *finder, char *const *files, size_t count)
{
    const struct foreign *most = NULL;
    size_t found = 0;
    for (size_t i = 0; i < sizeof foreigners / sizeof *foreigners; i++) {
        size_t these = count_foreign(&foreigners[i], files, count);
        if (these > found) {
            most = &foreigners[i];
            found = these;
        }
    }
    return most ? arena_format(finder->arena, "%zu are %s, which are not read: %s", found,
                               most->name, most->remedy)
                : NULL;
}

/* What to do where nothing was recognised. */
static const char *advise(const struct finder *finder, char *const *files, size_t count)
{
    const char *foreign = find_foreign(finder, files, count);
    return foreign ? foreign
                   : "say how they are named with the layout glob and a pattern a channel";
}

static bool refuse_all(const struct finder *finder, char *const *files, size_t count,
                       struct error *err)
{
    const char *source = finder->request->source;
    size_t dead = finder->dead_count;
    if (!dead)
        return error_set(err, "%s: no scans recognised among %zu files; %s", source, count,
                         advise(finder, files, count));
    const char *first = path_join(finder->arena, source, finder->dead[0]);
    return error_set(err,
                     "%s: no scans recognised among %zu files, and %zu link%s nowhere, as %s: %s",
                     source, count, dead, dead == 1 ? " leads" : "s lead", finder->dead[0],
                     dead_link_words(first, finder->arena));
}

bool layout_find(const struct layout_request *request, struct scan_list *list,
                 struct problems *problems, struct arena *arena, struct error *err)
{
    char **files;
    size_t count;
    struct finder finder = { .request = request, .arena = arena };
    *list = (struct scan_list){ .layout = request->layout };
    if (path_kind(request->source) == PATH_NOTHING)
        return error_set(err, "%s: there is no such folder", request->source);
    if (path_kind(request->source) == PATH_FILE)
        return error_set(
            err,
            "%s: is a file; give the folder that it is in (an array of images is found "
            "as FOLDER/images.npy; lethe audit takes one by its name, too)",
            request->source);
    if (dataset_is(request->source)) /* its images would lose their subjects */
        return error_set(err,
                         "%s: is a dataset store already; give the folder that it was made from",
                         request->source);
    if (!folder_walk_links(request->source, arena, &files, &count, err) ||
        !folder_walk_dead_links(request->source, arena, &finder.dead, &finder.dead_count, err))
        return false;
    if (request->layout == LAYOUT_AUTO)
        list->layout = recognise(&finder, files, count);
    if (list->layout == LAYOUT_AUTO)
        return refuse_all(&finder, files, count, err);
    if (!set_channels(&finder, list->layout, err))
        return false;
    bool ok = list->layout == LAYOUT_NPY ? find_npy(&finder, list, err)
                                         : find_files(&finder, files, count, list, problems, err);
    list->foreign = ok ? find_foreign(&finder, files, count) : NULL;
    if (ok && !list->count && !problems->count)
        return error_set(err, "%s: no subject found in the layout %s among %zu files; %s",
                         request->source, layout_names[list->layout], count,
                         advise(&finder, files, count));
    return ok;
}
