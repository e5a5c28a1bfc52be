/* The chain of evidence: what is packed is, digest for digest, what was audited, and was made by
 * the model that was trained on the data that were ingested.
 *
 * Each link is a row: it holds, it is broken (and says where), or it is not known, because the set
 * was made elsewhere and there is no model or no data to hold it against. A release needs no link
 * to be broken, and the two that the audit itself gives (policy and audited) to hold. */
#ifndef RELEASE_CHAIN_H
#define RELEASE_CHAIN_H

#include "base/digest.h"
#include "data/dataset.h"

enum link_state { LINK_HOLDS, LINK_BROKEN, LINK_UNKNOWN, LINK_STATE_COUNT };
extern const char *const link_state_names[LINK_STATE_COUNT]; /* "holds", … */

struct chain_link {
    const char *name;  /* "audited" */
    const char *claim; /* "what is packed is what was audited" */
    enum link_state state;
    const char *reason; /* of what does not hold or is not known */
};

struct chain {
    const struct dataset *synthetic;
    const struct json *memorization, *utility, *fidelity,
        *membership;             /* all but the first may be NULL */
    const char *dataset, *model; /* folders, or NULL: not given */
    bool made_elsewhere;         /* there is no model to check */
    const struct json *review;   /* a reviewer's marks (marks.h), or NULL */
    bool flagged_leave;          /* images that the audit flagged are packed, too */
    struct digest policy;
};

enum { CHAIN_LINKS = 10 };

/* Checks every link; reasons belong to the arena. Whether a release may be made of it. Where there
 * are fewer (what nobody asked for is none), the others have no name. */
bool chain_check(const struct chain *chain, struct chain_link links[CHAIN_LINKS],
                 struct arena *arena);

struct json *chain_json(const struct chain_link links[CHAIN_LINKS]) MUST_USE;

#endif
