/* Which files of a folder make up which subject: the layouts that ingest understands.
 *
 *     brats    BraTS 2020 and 2021 (SUBJECT_t1.nii.gz …) and 2023 (SUBJECT-TIME-t1n.nii.gz …)
 *     bids     sub-X[_ses-Y]_…_T1w.nii.gz, contrast-enhanced by the ce- entity; masks (…_dseg,
 *              …_mask) also below derivatives/
 *     glob     a pattern a channel, with {subject} and, where it helps, {session} or {slice}
 *     png      every PNG is one grey image
 *     npy      images.npy (N,H,W) or (N,C,H,W), and masks.npy (N,H,W) where there are masks
 */
#ifndef DATA_LAYOUT_H
#define DATA_LAYOUT_H

#include "base/arena.h"
#include "base/yaml.h"

enum layout {
    LAYOUT_AUTO,
    LAYOUT_BRATS,
    LAYOUT_BIDS,
    LAYOUT_GLOB,
    LAYOUT_PNG,
    LAYOUT_NPY,
    LAYOUT_COUNT
};
extern const char *const layout_names[LAYOUT_COUNT + 1];

/* What is wrong with which subject; `file` may be "". */
struct problem {
    const char *subject, *file, *reason;
};
struct problems {
    struct problem *items; /* owned */
    size_t count, capacity;
    struct arena arena; /* the strings */
};
void problems_init(struct problems *problems);
void problems_release(struct problems *problems);
void problems_add(struct problems *problems, const char *subject, const char *file,
                  const char *reason);

/* As an array of {subject, file, reason}. */
struct json;
struct json *problems_json(const struct problems *problems) MUST_USE;

struct scan {
    const char *subject;
    const char *session; /* "" unless a subject was scanned more than once */
    int64_t slice;       /* from {slice}; otherwise -1: slices are counted in the volume */
    int64_t item;        /* npy: the image's place in the array; otherwise -1 */
    const char **files;  /* a path a channel, relative to the source */
    const char *mask;    /* NULL without one */
};

struct scan_list {
    enum layout layout; /* never LAYOUT_AUTO */
    const char **channels;
    size_t channel_count;
    bool masks;
    struct scan *scans; /* by subject, then session, then slice */
    size_t count, subject_count;
    size_t ignored;      /* files that no channel claims */
    const char *foreign; /* scans among them in a format that is not read, in words; or NULL */
};

/* What to look for. `channels` names them in order (for glob: NAME=PATTERN); none means the
 * layout's own. `mask` is glob's pattern for masks, or NULL. */
struct layout_request {
    const char *source;
    enum layout layout;
    struct yaml_strings channels;
    const char *mask;
    bool without_masks; /* masks are passed over */
};

/* Finds the scans. Subjects that lack a file or have one twice become problems and are left out
 * of the list; what makes the whole folder unusable is an error. Strings belong to the arena. */
bool layout_find(const struct layout_request *request, struct scan_list *list,
                 struct problems *problems, struct arena *arena, struct error *err) MUST_USE;

/* Subject and session as the layout's own files begin, "NAME-00000-000", "sub-01_ses-2": what is
 * named so pairs with them (audit/score.h). */
const char *scan_name(enum layout layout, const struct scan *scan, struct arena *arena);

/* Whether `path` matches a glob pattern; captures go to the arena. "*" and "?" stay within a path's
 * part, "**" does not, and "**" before a slash stands for any number of whole folders; {subject},
 * {session} and {slice} (digits) match like "*" and must match the same text wherever they stand.
 */
struct glob_captures {
    const char *subject, *session, *slice; /* NULL where the pattern has none */
};
bool glob_match(const char *pattern, const char *path, struct glob_captures *captures,
                struct arena *arena);

#endif
