/* What a signature says: in-toto Statements, version 1, of three kinds.
 *
 *   files       https://model_signing/signature/v1.0: digests of all files of the tree, so that
 *               tools of OpenSSF Model Signing can verify an unpacked release
 *   audit       https://in-toto.io/attestation/test-result/v0.1: somebody in a role says that the
 *               audit of this archive came out so, with its policy, by this tool, until that day
 *   withdrawal  urn:lethe:withdrawal:1: somebody takes a release back, and says why
 *
 * Model Signing's root digest covers digests alone, neither names nor sizes; audit and withdrawal
 * bind archive, tar and manifest by their full digests, and the manifest binds the rest.
 */
#ifndef RELEASE_STATEMENT_H
#define RELEASE_STATEMENT_H

#include "base/json.h"
#include "release/manifest.h"

enum statement_kind { STATEMENT_FILES, STATEMENT_AUDIT, STATEMENT_WITHDRAWAL, STATEMENT_COUNT };
extern const char *const statement_kind_names[STATEMENT_COUNT]; /* "files", "audit", … */

enum role { ROLE_PRODUCER, ROLE_AUDITOR, ROLE_STEWARD, ROLE_COUNT };
extern const char *const role_names[ROLE_COUNT + 1]; /* NULL at the end */

struct statement {
    enum statement_kind kind;
    struct digest_entry *subjects; /* name and digest; sizes are not part of a statement */
    size_t subject_count;
    struct digest_entry *files; /* files: in byte order of their paths */
    size_t file_count;
    enum role role;           /* audit and withdrawal, from here on */
    int64_t created, expires; /* expires: INT64_MAX when never */
    const char *tool_version;
    enum manifest_verdict verdict; /* audit */
    const char *reason;            /* withdrawal */
};

/* The release that a statement is about: its manifest, and the digest of the manifest's bytes. */
struct statement_release {
    const struct manifest *manifest;
    struct digest manifest_digest;
};

/* Statements as they are signed, as text to be freed with memory_free. */
char *statement_files(const struct statement_release *release) MUST_USE;
/* `policy` is the document that the gate wrote, taken over as it is; NULL: none. */
char *statement_audit(const struct statement_release *release, const struct statement *says,
                      struct json *policy) MUST_USE;
char *statement_withdrawal(const struct statement_release *release,
                           const struct statement *says) MUST_USE;

/* `name` stands for the source in messages; strings and arrays belong to the arena. */
bool statement_parse(const void *payload, size_t size, const char *name,
                     struct statement *statement, struct arena *arena, struct error *err) MUST_USE;

/* Whether the statement is about this release, in all that it says of it. */
bool statement_matches(const struct statement *statement, const struct statement_release *release,
                       struct error *err) MUST_USE;

/* A path of at most this many letters may stand in a statement about files. */
enum { STATEMENT_LONGEST_PATH = 4096 };

#endif
