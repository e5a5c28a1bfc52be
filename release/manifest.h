/* The release manifest, schema lethe/manifest/1: what a release is, byte for byte.
 *
 * Signatures cover the manifest's bytes, so there is exactly one way to write a manifest down, and
 * reading is the mirror of writing: the same description of the form (manifest.c) either produces
 * the bytes or expects them. What differs in a blank, the order of keys, a key more or less, a
 * number written otherwise, is refused with its place; so is what no release can be: names that are
 * not portable, out of order or alike but for case, a file that is a folder elsewhere, sizes that
 * do not add up to the tar. It is JSON, keys in byte order, one file a line.
 *
 *     struct manifest manifest;
 *     if (!manifest_load("brain-1.0.manifest.json", &manifest, &arena, err)) …
 *
 * All strings are plain printable ASCII without quote and backslash, so nothing is ever escaped.
 */
#ifndef RELEASE_MANIFEST_H
#define RELEASE_MANIFEST_H

#include "base/digest.h"

#include <stdint.h>

#define MANIFEST_SCHEMA "lethe/manifest/1"
enum {
    MANIFEST_MOST_FILES = 1000000,
    MANIFEST_MOST_BYTES = 512 << 20,
    MANIFEST_MOST_VOLUMES = 999
};

/* What the archive was made from, digest for digest; in byte order of their keys. Those of fidelity
 * and membership stand there only where it was measured, so that manifests of before are read, and
 * written, as they were. */
enum manifest_claim {
    CLAIM_DATASET,
    CLAIM_FIDELITY,
    CLAIM_MEMBERSHIP,
    CLAIM_MEMORIZATION,
    CLAIM_PLAN,
    CLAIM_POLICY,
    CLAIM_REPORT_INTERNAL,
    CLAIM_REPORT_PUBLIC,
    CLAIM_SYNTHETIC,
    CLAIM_UTILITY,
    CLAIM_WEIGHTS,
    CLAIM_COUNT
};
extern const char *const manifest_claim_names[CLAIM_COUNT]; /* "dataset_sha256", … */

/* The words of the test-result attestation; a release that failed is not packed. */
enum manifest_verdict { VERDICT_PASSED, VERDICT_WARNED, VERDICT_FAILED, VERDICT_COUNT };
extern const char *const manifest_verdict_names[VERDICT_COUNT]; /* "PASSED", "WARNED", "FAILED" */

struct manifest_volume {
    const char *name;
    uint64_t size;
    struct digest sha256;
};

struct manifest {
    const char *name, *version;
    const char *root; /* "NAME-VERSION", the tar's one folder at the top */
    int64_t created;  /* seconds since 1970; the time of every entry in the tar */
    const char *tool_name, *tool_version;
    struct {
        const char *name; /* "NAME-VERSION.tar.zst" */
        uint64_t size;
        struct digest sha256;
        unsigned char md5[16];
    } archive;
    struct {
        uint64_t size;
        struct digest sha256;
    } tar;
    struct manifest_volume *volumes; /* of a split archive, in order; none: one file */
    size_t volume_count;
    struct digest_entry *files; /* in byte order of their paths, which are relative to the root */
    size_t file_count;
    struct {
        bool known[CLAIM_COUNT]; /* what is not is null in the document */
        struct digest sha256[CLAIM_COUNT];
        enum manifest_verdict verdict;
    } claims;
};

/* Strings and arrays belong to the arena. `name` stands for the source in messages. */
bool manifest_parse(const char *bytes, size_t size, const char *name, struct manifest *manifest,
                    struct arena *arena, struct error *err) MUST_USE;
bool manifest_load(const char *path, struct manifest *manifest, struct arena *arena,
                   struct error *err) MUST_USE;

/* The document; `out` is cleared first. Refused where no release can be like this: it could not be
 * read again. */
struct text;
bool manifest_write(const struct manifest *manifest, struct text *out, struct error *err) MUST_USE;

/* Whether a path inside a release, or a name, may stand in one: portable letters (A–Z a–z 0–9 . _ -
 * +), no part that is empty, "." or "..", begins with "-", ends in "." or is a device's name
 * elsewhere (CON, NUL, …). The reason when not. */
bool manifest_path_is_portable(const char *path, struct error *err) MUST_USE;

#endif
