/* A release in a folder of its own: made, signed, changed by hand, and verified.
 *
 *     struct world world;
 *     world_begin(&world);                                     // keys, files, manifest
 *     world_pack(&world, NULL);                                // the archive, a manifest to fit
 *     world_sign(&world, STATEMENT_FILES, ROLE_PRODUCER, 0);   // key 0
 *     assert_int_equal(world_verify(&world), ANSWER_YES);
 *     world_end(&world);
 *
 * The writer here is not lethe's: a tar out of text, and one call of libzstd.
 */
#ifndef TESTS_RELEASE_WORLD_H
#define TESTS_RELEASE_WORLD_H

#include "base/text.h"
#include "release/verify.h"

enum { WORLD_KEYS = 3 };
#define WORLD_NOW 1780000000 /* 2026-05-28 */

struct world {
    struct arena arena;
    char folder[64];
    struct key *keys[WORLD_KEYS];
    struct manifest manifest;
    const char **contents; /* of its files */
    struct text tar;       /* the canonical one, until a test changes it */
    struct trust trust;    /* key 0 producer, key 1 auditor, key 2 steward; producer and auditor */
    struct verification result; /* of the last world_verify */
    struct error err;
    bool told; /* what verify returned */
    const char *extract;
};

/* How the tar is packed; NULL stands for all as it should be. */
struct packing {
    bool no_checksum, no_size;
    int window_log;
    const void *before, *after; /* bytes around the frame */
    size_t before_size, after_size;
    size_t cut; /* bytes left out at the end */
    size_t volume_size;
    bool keep_digests; /* of the manifest: what is packed is not what it says */
};

void world_begin(struct world *world);
void world_end(struct world *world);

char *world_path(struct world *world, const char *name);
void world_write(struct world *world, const char *name, const void *bytes, size_t size);
/* Writes world->tar as the archive, and the manifest with digests to fit. */
void world_pack(struct world *world, const struct packing *packing);
void world_write_manifest(struct world *world);
/* A bundle by a key in a role, of the manifest that stands in the folder. */
void world_sign(struct world *world, enum statement_kind kind, enum role role, int key);
void world_sign_text(struct world *world, const char *name, const char *statement, int key);
struct statement world_says(enum role role);
struct statement_release world_release(struct world *world);

enum answer world_verify(struct world *world);
/* Verifies, and fails unless the answer and a problem with this text come out. */
void world_expect(struct world *world, enum answer answer, const char *problem);
/* The first place in the tar where these bytes stand. */
char *world_find(struct world *world, const char *text);
/* Key 0 as producer, key 1 as auditor. */
void world_sign_both(struct world *world);

#endif
