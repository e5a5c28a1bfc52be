/* SHA-256, through OpenSSL's EVP (which uses SHA-NI where the processor has it).
 *
 *     struct digest digest;
 *     if (!digest_file("t1.nii.gz", &digest, err)) …
 *     char hex[DIGEST_HEX];
 *     digest_hex(&digest, hex);
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/arena.h"

#include <stdint.h>

enum { DIGEST_BYTES = 32, DIGEST_HEX = 2 * DIGEST_BYTES + 1 };

struct digest {
    unsigned char bytes[DIGEST_BYTES];
};

/* In pieces: begin, any number of adds, end (which also frees the state). */
struct digest_state; /* opaque */
struct digest_state *digest_begin(void) MUST_USE;
void digest_add(struct digest_state *state, const void *bytes, size_t size);
struct digest digest_end(struct digest_state *state);

struct digest digest_of(const void *bytes, size_t size);
bool digest_file(const char *path, struct digest *digest, struct error *err) MUST_USE;
bool digest_file_sized(const char *path, struct digest *digest, uint64_t *size,
                       struct error *err) MUST_USE;
bool digest_equal(const struct digest *a, const struct digest *b);

/* Lower-case hexadecimal, terminated. Returns `hex`. */
const char *digest_hex(const struct digest *digest, char hex[DIGEST_HEX]);
bool digest_from_hex(const char *hex, struct digest *digest);

/* One file of a tree: its path relative to the tree's root, its size and its digest. */
struct digest_entry {
    const char *path;
    uint64_t size;
    struct digest digest;
};

/* Digests `count` files under `root` in parallel; `entries[i].path` says which, size and digest
 * are filled in. When several fail, the first in order is reported. */
bool digest_files(const char *root, struct digest_entry *entries, size_t count,
                  struct error *err) MUST_USE;

/* The digest of a list of files: SHA-256 over one line each, "<hex>  <size>  <path>\n", in the
 * order given. Names, sizes and contents are all bound by it: a path with a line end or a backslash
 * is escaped as sha256sum does it (a line that begins with a backslash; \n, \r, \\). */
struct digest digest_of_entries(const struct digest_entry *entries, size_t count);

/* Digest of every regular file below `root` (as folder_walk_links lists them: byte order,
 * names that begin with a dot left out). The entries, when asked for, belong to the arena. */
bool digest_tree(const char *root, struct digest *digest, struct arena *arena,
                 struct digest_entry **entries, size_t *count, struct error *err) MUST_USE;

/* Other digests, for lists that other tools read; never for a decision of ours. Text is lower-case
 * hexadecimal, terminated. */
enum checksum_kind { CHECKSUM_MD5, CHECKSUM_SHA512, CHECKSUM_COUNT };
enum { CHECKSUM_HEX = 129 };
struct checksum_state; /* opaque */
struct checksum_state *checksum_begin(enum checksum_kind kind) MUST_USE;
void checksum_add(struct checksum_state *state, const void *bytes, size_t size);
/* Also frees the state; `bytes` has room for 64. Returns how many there are (16 or 64). */
size_t checksum_end(struct checksum_state *state, unsigned char *bytes);
size_t checksum_of(enum checksum_kind kind, const void *bytes, size_t size, unsigned char *out);
const char *checksum_hex(const unsigned char *bytes, size_t size, char hex[CHECKSUM_HEX]);

/* The version of OpenSSL that is loaded. */
const char *digest_library_version(void);

#endif
