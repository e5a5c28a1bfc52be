/* The tree that becomes the archive: files written into a folder that is not in place yet, each
 * linted and digested from the very bytes that were written.
 *
 *     struct tree tree;
 *     tree_init(&tree, "release/.tree", lint);
 *     if (!tree_add(&tree, "data/README.md", bytes, size, err)) …
 *     … tree.files, in the order in which they were added; tree_sort puts them in byte order …
 *     tree_release(&tree);
 */
#ifndef RELEASE_TREE_H
#define RELEASE_TREE_H

#include "base/digest.h"
#include "base/text.h"
#include "release/lint.h"

struct tree_file {
    const char *path; /* inside the tree */
    uint64_t size;
    struct digest sha256;
    unsigned char sha512[64];
};

struct tree {
    const char *folder;
    const struct lint *lint;
    struct tree_file *files;
    size_t count, capacity;
    struct text findings; /* of the lint, a line each */
    struct arena arena;   /* of the paths */
};

void tree_init(struct tree *tree, const char *folder, const struct lint *lint);
void tree_release(struct tree *tree);

/* Writes a file and appends it. What the lint has to say goes to tree->findings. */
bool tree_add(struct tree *tree, const char *path, const void *bytes, size_t size,
              struct error *err) MUST_USE;

/* For several threads: writes a file without appending it. `path` has to outlive the tree. */
bool tree_write(const struct tree *tree, const char *path, const void *bytes, size_t size,
                struct tree_file *file, struct text *findings, struct error *err) MUST_USE;
void tree_append(struct tree *tree, const struct tree_file *file);

void tree_sort(struct tree *tree);

#endif
