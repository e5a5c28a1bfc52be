/* What sets.c and set_kinds.c share: sets on their way to being open. */
#ifndef AUDIT_SETS_PARTS_H
#define AUDIT_SETS_PARTS_H

#include "audit/sets.h"
#include "base/file.h"
#include "data/npy.h"

struct opening {
    const struct sets_request *request;
    struct sets *sets;
    struct error *err;
};

/* Opens what stands at set->path, whatever kind it is: images, channels, files; of stores and NIfTI
 * the subjects, too. */
bool set_open(struct opening *opening, struct audit_set *set) MUST_USE;

/* Whether any image of the store is in this split. */
bool set_has_split(const struct dataset *dataset, enum split split);

#endif
