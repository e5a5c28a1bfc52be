/* A small release that tests start from: four files in three folders. */
#ifndef TESTS_RELEASE_SAMPLE_H
#define TESTS_RELEASE_SAMPLE_H

#include "base/arena.h"
#include "release/manifest.h"
#include "release/tar.h"

#include <string.h>

static inline struct digest_entry sample_file(const char *path, const char *content)
{
    return (struct digest_entry){ path, strlen(content), digest_of(content, strlen(content)) };
}

/* The contents of the files, in order. */
static const char *const sample_contents[] = { "BagIt-Version: 1.0\n", "one", "", "{}\n" };

static inline struct manifest sample_manifest(struct arena *arena)
{
    struct digest_entry *files = arena_array(arena, struct digest_entry, 4);
    files[0] = sample_file("bagit.txt", sample_contents[0]);
    files[1] = sample_file("data/images/0001.nii.gz", sample_contents[1]);
    files[2] = sample_file("data/images/0002.nii.gz", sample_contents[2]);
    files[3] = sample_file("data/ro-crate-metadata.json", sample_contents[3]);
    struct manifest manifest = {
        .name = "brain",
        .version = "1.0",
        .root = "brain-1.0",
        .created = 1767225600,
        .tool_name = "lethe",
        .tool_version = "0.1.0",
        .files = files,
        .file_count = 4,
    };
    manifest.archive.name = "brain-1.0.tar.zst";
    manifest.archive.size = 345;
    manifest.archive.sha256 = digest_of("archive", 7);
    manifest.tar.sha256 = digest_of("tar", 3);
    manifest.tar.size = tar_size(manifest.root, files, 4);
    manifest.claims.known[CLAIM_PLAN] = true;
    manifest.claims.sha256[CLAIM_PLAN] = digest_of("plan", 4);
    return manifest;
}

#endif
