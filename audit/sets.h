/* The sets of images that an audit compares, wherever they come from.
 *
 *     a dataset store        channels, subjects and split from the store itself
 *     FILE.npy               (N,H,W) or (N,C,H,W) of uint8, uint16 or float16
 *     a folder of PNG        every file an image; grey or RGB, 8 or 16 bit; in byte order of names
 *     a folder of NIfTI      read as `lethe ingest` reads it with its defaults, masks left out
 *
 * Arrays and stores are mapped, never copied; of a store with splits the images of one split are
 * chosen by row. What folders hold is laid down once as an array in the audit's work folder.
 *
 *     struct sets sets;
 *     if (!sets_open(&request, &sets, err)) …
 *     … sets.of[SET_TRAIN].images, sets.channels …
 *     sets_close(&sets);
 */
#ifndef AUDIT_SETS_H
#define AUDIT_SETS_H

#include "audit/search.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/yaml.h"

enum set_role { SET_TRAIN, SET_SYNTHETIC, SET_HOLDOUT, SET_COUNT };
extern const char *const set_role_names[SET_COUNT]; /* "train", … : keys, and for messages */

struct audit_set {
    enum set_role role;
    const char *path, *kind; /* kind: "store", "npy", "png", "nifti" */
    struct image_set images; /* groups: the number of the subject, over training and holdout */
    const char **channel_names;
    const char **subjects; /* by image; "image 12" where none are known */
    size_t subject_count;
    bool subjects_known;
    struct digest_entry *files; /* what was read: the store's files, the array, every PNG … */
    size_t file_count;
    struct digest digest;    /* of that list */
    struct dataset *dataset; /* what is mapped; NULL where it is not that */
    struct npy *array;
};

/* The image's place in what the user gave: its row in images.npy, or its rank among the files. */
static inline uint64_t set_place(const struct audit_set *set, uint64_t image)
{
    return set->images.rows ? set->images.rows[image] : image;
}

struct sets_request {
    const char *train, *synthetic, *holdout; /* synthetic NULL: there is none; holdout NULL: the
                                                training store's, if it has one */
    const char *subjects, *holdout_subjects; /* CSV files, or NULL */
    const struct yaml_strings *channels;     /* names to compare; none: all but masks */
    const char *work;                        /* a folder for what has to be unpacked */
};

struct sets {
    struct audit_set of[SET_COUNT];
    bool holdout;      /* whether there is one */
    uint64_t channels; /* of which these bits are compared */
    struct arena arena;
};

/* Refused, with a message: what cannot be read; sets that are empty or differ in size, channels or
 * type; a training set given as synthetic; a holdout that shares subjects with training; a table of
 * subjects that does not fit. */
bool sets_open(const struct sets_request *request, struct sets *sets, struct error *err) MUST_USE;
void sets_close(struct sets *sets);

/* What was read, for an audit's document: its size and the digests of its files. */
struct json *set_json(const struct audit_set *set) MUST_USE;

#endif
