/* The tree that becomes the archive; see tree.h. */
#include "release/tree.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

void tree_init(struct tree *tree, const char *folder, const struct lint *lint)
{
    *tree = (struct tree){ .lint = lint };
    arena_init(&tree->arena);
    tree->folder = arena_string(&tree->arena, folder);
}

void tree_release(struct tree *tree)
{
    memory_free(tree->files);
    text_release(&tree->findings);
    arena_release(&tree->arena);
    *tree = (struct tree){ 0 };
}

bool tree_write(const struct tree *tree, const char *path, const void *bytes, size_t size,
                struct tree_file *file, struct text *findings, struct error *err)
{
    struct arena arena;
    arena_init(&arena);
    const char *target = path_join(&arena, tree->folder, path);
    *file = (struct tree_file){ .path = path, .size = size, .sha256 = digest_of(bytes, size) };
    checksum_of(CHECKSUM_SHA512, bytes, size, file->sha512);
    if (tree->lint)
        lint_file(tree->lint, path, bytes, size, findings);
    bool ok =
        folder_create(path_parent(&arena, target), err) && file_create(target, bytes, size, err);
    arena_release(&arena);
    return ok;
}

void tree_append(struct tree *tree, const struct tree_file *file)
{
    ARRAY_RESERVE(tree->files, tree->count, tree->capacity);
    tree->files[tree->count++] = *file;
}

bool tree_add(struct tree *tree, const char *path, const void *bytes, size_t size,
              struct error *err)
{
    struct tree_file file;
    if (!tree_write(tree, arena_string(&tree->arena, path), bytes, size, &file, &tree->findings,
                    err))
        return false;
    tree_append(tree, &file);
    return true;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct tree_file *)a)->path, ((const struct tree_file *)b)->path);
}

void tree_sort(struct tree *tree)
{
    if (tree->count)
        qsort(tree->files, tree->count, sizeof *tree->files, by_path);
}
