/* Whether a release is what its signers signed, and whether that is enough.
 *
 * In this order, and no further than what has held so far allows:
 *   1. the manifest's form; each bundle's form, signer and signature, over the manifest's bytes
 *   2. one pass over the archive (stream.h), which the manifest describes byte for byte
 *   3. the recipient's policy: roles, thresholds, validity, expiry, verdict, withdrawal
 *
 * Every bundle that is given, or lies beside the archive under its name, has to hold: one that is
 * signed by somebody unknown is refused, not passed over, so there is never a partial yes. Nothing
 * is written unless asked for, and nothing is fetched.
 */
#ifndef RELEASE_VERIFY_H
#define RELEASE_VERIFY_H

#include "release/findings.h"
#include "release/statement.h"
#include "release/trust.h"

enum answer { ANSWER_YES, ANSWER_NO, ANSWER_UNMET }; /* UNMET: authentic, but not enough */

struct verify_job {
    const char *archive;
    const char *manifest;       /* NULL: beside the archive, under its name */
    const char *const *bundles; /* none: all that lie beside the archive, under its name */
    size_t bundle_count;
    const struct trust *trust;
    int64_t now;
    const char *extract; /* a folder to write to when all has passed; NULL: none */
};

/* Somebody whose signature holds. */
struct signer {
    const char *file;          /* of the bundle, without folder */
    const char *name;          /* of the key or authority in the trust file */
    const char *identity;      /* the key's fingerprint, or the certificate's subject */
    struct digest fingerprint; /* of the key */
    unsigned roles;            /* of authorities that vouch for it: 1 << role */
    struct statement statement;
    int64_t stamped; /* when an authority saw it; 0: nobody says */
    bool counts;     /* towards its role */
};

struct verification {
    enum answer answer;
    struct manifest manifest;
    bool has_manifest;
    struct signer *signers;
    size_t signer_count;
    struct findings findings;
};

/* False with a message when it could not be told: files that are missing or cannot be read. Strings
 * belong to the arena; verification_release frees the rest, whatever the result. */
bool verify(const struct verify_job *job, struct verification *result, struct arena *arena,
            struct error *err) MUST_USE;
void verification_release(struct verification *result);

/* NAME-VERSION of an archive's path, or of a volume's: without folder, ".tar.zst" and what follows.
 */
char *release_stem(struct arena *arena, const char *archive);
/* Folder and stem with this ending: "…/brain-1.0" + ".manifest.json". */
char *release_beside(struct arena *arena, const char *archive, const char *ending);

#endif
