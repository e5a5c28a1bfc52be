/* The one tar file that a manifest stands for.
 *
 * The tar inside a release is a function of its manifest: plain ustar, the root folder first, then
 * each file in byte order of its path, each folder once and right before what is in it, fixed
 * modes, owner 0, no owner names, one time for all, two blocks of zeros, nothing after. There is no
 * choice left, so the verifier does not parse an archive and then judge it: it writes down what
 * each header has to be and compares 512 bytes. Links, devices, sparse files, pax records, doubled,
 * disordered or escaping names are not cases that somebody has to think of; they are bytes that
 * differ.
 *
 *     struct tar_walk walk;
 *     struct tar_entry entry;
 *     unsigned char header[TAR_BLOCK];
 *     tar_walk_begin(&walk, manifest.root, manifest.files, manifest.file_count);
 *     while (tar_walk_next(&walk, &entry)) {
 *         tar_header(&entry, manifest.created, header);
 *         … the header, entry.size bytes of the file, zeros up to a multiple of TAR_BLOCK …
 *     }
 *     … TAR_END zeros …
 *
 * Limits, all of ustar: a file is shorter than 8 GiB; a path can be cut at a slash into at most 155
 * and 100 bytes.
 */
#ifndef RELEASE_TAR_H
#define RELEASE_TAR_H

#include "base/digest.h"

enum { TAR_BLOCK = 512, TAR_END = 2 * TAR_BLOCK, TAR_LONGEST_PATH = 256 };
#define TAR_LARGEST_FILE ((UINT64_C(1) << 33) - 1)

struct tar_entry {
    char path[TAR_LONGEST_PATH + 1]; /* from the root folder on; a folder's ends in a slash */
    bool folder;
    uint64_t size; /* 0 for a folder */
    size_t file;   /* the index in the files walked over; for a folder, of the first file in it */
};

struct tar_walk {
    const char *root;
    const struct digest_entry *files;
    size_t count, next;
    char path[TAR_LONGEST_PATH + 1]; /* of the file `next`, from the root on */
    size_t entered;                  /* bytes of it whose folders have been told; SIZE_MAX: new */
};

/* `files` in strictly ascending byte order, and all of them such that tar_path_fits. */
void tar_walk_begin(struct tar_walk *walk, const char *root, const struct digest_entry *files,
                    size_t count);
bool tar_walk_next(struct tar_walk *walk, struct tar_entry *entry);

/* The header of an entry; `time` in seconds since 1970. */
void tar_header(const struct tar_entry *entry, int64_t time, unsigned char block[TAR_BLOCK]);

/* Zeros that follow a file of this size. */
size_t tar_padding(uint64_t size);

/* Bytes of the whole tar. */
uint64_t tar_size(const char *root, const struct digest_entry *files, size_t count);

/* Whether a ustar header can hold root/path. */
bool tar_path_fits(const char *root, const char *path);

/* What differs between a header and the one that was expected, in words, for a message. */
void tar_explain(const unsigned char found[TAR_BLOCK], const unsigned char expected[TAR_BLOCK],
                 struct error *why);

#endif
