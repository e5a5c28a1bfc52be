/* Metrics: the paths by which a policy names numbers of measured documents, and which there can be.
 *
 *     memorization.flagged.fraction
 *     utility.relative_dice[source=synthetic,model=unet].mean
 *     fidelity.mean.holdout.kid.difference
 *     membership.subjects.auc
 *
 * The first word names the document, the others are its keys; `[3]` picks an entry of a list,
 * `[key=value,key=value]` the only entry with these values.
 *
 * What keys a document can have is written down here (metric_documents.c), so that a misspelt one
 * is refused when the policy is read, and not found missing after days of training. The tables say
 * what there can ever be, not what a certain audit will have: whether channels are judged alone, or
 * a class of that name exists, shows only then. A test runs all four audits and holds their
 * documents against the tables, in both directions.
 */
#ifndef RELEASE_METRIC_H
#define RELEASE_METRIC_H

#include "base/error.h"

/* One step of a metric: a key, then perhaps an entry of the list that stands there. */
struct metric_step {
    const char *key, *entry; /* entry: what stands between the brackets */
    size_t key_length, entry_length;
};

/* Takes the next step off the path; false at its end or where it is not well formed. */
bool metric_next_step(const char **path, struct metric_step *step);

/* Whether there can be such a number, and with `bounded` a 95 % interval of it. */
bool metric_check(const char *metric, bool bounded, struct error *err) MUST_USE;

/* ---- what documents hold -------------------------------------------------------------------- */

enum metric_kind {
    METRIC_NUMBER, /* or a truth value, or null */
    METRIC_TEXT,
    METRIC_OBJECT,
    METRIC_NUMBERS, /* lists … */
    METRIC_TEXTS,
    METRIC_OBJECTS,
};

struct metric_member {
    const char *key; /* one that ends in "*" stands for all that begin so */
    enum metric_kind kind;
    bool bounded;                        /* the interval that stands beside the number is of it */
    const struct metric_member *members; /* of an object, or of each object in a list */
    const char *const *values;           /* of a text: what it can be; NULL: anything */
};

struct metric_document {
    const char *name;
    const char *made_by;                 /* the command whose output it is */
    const struct metric_member *members; /* until a key that is NULL, as everywhere */
};

enum { METRIC_DOCUMENTS = 4 };
extern const struct metric_document metric_documents[METRIC_DOCUMENTS];

#endif
