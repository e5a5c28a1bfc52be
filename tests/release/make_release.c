/* make_release FOLDER NAME VERSION OUT: packs a folder as lethe's archives are, with a manifest,
 * from memory, by a writer of the tests' own: a tar out of text and one call of libzstd. */
#include "base/file.h"
#include "base/text.h"
#include "release/manifest.h"
#include "release/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

static struct arena arena;
static struct error err;

static _Noreturn void fail(void)
{
    fprintf(stderr, "make_release: %s\n", err.message);
    exit(2);
}

static void build_tar(const struct manifest *manifest, const char *folder, struct text *tar)
{
    static const unsigned char zeros[TAR_END];
    struct tar_walk walk;
    struct tar_entry entry;
    unsigned char header[TAR_BLOCK];
    tar_walk_begin(&walk, manifest->root, manifest->files, manifest->file_count);
    while (tar_walk_next(&walk, &entry)) {
        tar_header(&entry, manifest->created, header);
        text_add_bytes(tar, header, TAR_BLOCK);
        if (entry.folder)
            continue;
        size_t size;
        const char *path = path_join(&arena, folder, manifest->files[entry.file].path);
        char *bytes = file_read(path, SIZE_MAX - 1, &size, &err);
        if (!bytes)
            fail();
        text_add_bytes(tar, bytes, size);
        text_add_bytes(tar, zeros, tar_padding(size));
        memory_free(bytes);
    }
    text_add_bytes(tar, zeros, TAR_END);
}

static void compress(const struct text *tar, const char *path, struct manifest *manifest)
{
    size_t capacity = ZSTD_compressBound(tar->length);
    char *bytes = memory_grow(NULL, capacity, 1);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t size = ZSTD_compress2(context, bytes, capacity, tar->bytes, tar->length);
    if (ZSTD_isError(size) || !file_write(path, bytes, size, &err))
        fail();
    manifest->archive.size = size;
    manifest->archive.sha256 = digest_of(bytes, size);
    ZSTD_freeCCtx(context);
    free(bytes);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: make_release FOLDER NAME VERSION OUT\n");
        return 2;
    }
    arena_init(&arena);
    struct manifest manifest = { .name = argv[2],
                                 .version = argv[3],
                                 .root = arena_format(&arena, "%s-%s", argv[2], argv[3]),
                                 .created = 1767225600,
                                 .tool_name = "make_release",
                                 .tool_version = "1" };
    struct digest tree;
    struct text tar = { 0 }, text = { 0 };
    manifest.archive.name = arena_format(&arena, "%s.tar.zst", manifest.root);
    if (!digest_tree(argv[1], &tree, &arena, &manifest.files, &manifest.file_count, &err))
        fail();
    build_tar(&manifest, argv[1], &tar);
    manifest.tar.size = tar.length;
    manifest.tar.sha256 = digest_of(tar.bytes, tar.length);
    compress(&tar, path_join(&arena, argv[4], manifest.archive.name), &manifest);
    const char *path =
        path_join(&arena, argv[4], arena_format(&arena, "%s.manifest.json", manifest.root));
    if (!manifest_write(&manifest, &text, &err) || !file_write(path, text.bytes, text.length, &err))
        fail();
    text_release(&tar);
    text_release(&text);
    arena_release(&arena);
    return 0;
}
