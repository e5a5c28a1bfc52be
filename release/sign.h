/* Signing a release, and taking one back.
 *
 * Nobody signs what they have not checked: the archive is held against its manifest first, byte for
 * byte. Two bundles come out, beside the archive: NAME-VERSION.ROLE.files.sigstore.json, which
 * tools of OpenSSF Model Signing verify over the unpacked tree, and
 * NAME-VERSION.ROLE.audit.sigstore.json, which says how the audit came out. A withdrawal needs the
 * manifest alone.
 */
#ifndef RELEASE_SIGN_H
#define RELEASE_SIGN_H

#include "release/certificate.h"
#include "release/findings.h"
#include "release/statement.h"

struct sign_job {
    const char *archive;
    const struct key *key;
    const char *certificates; /* file of the key's chain in PEM; NULL: the bundle names the key */
    const char *label;        /* beside the role in file names, when several sign in one; or NULL */
    struct statement says;    /* role, created, expires, and the reason of a withdrawal */
    bool withdraw;
    bool request; /* write a request for a timestamp, BUNDLE.tsq, beside the bundle */
};

/* What was written, in order; paths in the arena. */
struct signed_files {
    const char *paths[4];
    size_t count;
};

/* False with a message when it was not signed; when the archive is not what its manifest says, each
 * thing that differs is in `findings`. */
bool sign_release(const struct sign_job *job, struct signed_files *written,
                  struct findings *findings, struct arena *arena, struct error *err) MUST_USE;

/* Adds the response of a timestamp authority to a bundle. */
bool sign_add_timestamp(const char *bundle, const char *response, struct error *err) MUST_USE;

#endif
