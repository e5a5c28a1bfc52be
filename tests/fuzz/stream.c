/* stream_check over an archive that is the input itself, or a good frame around a tar that is the
 * sample's, changed where the input is not zero. No archive but the sample's own holds. */
#include "fuzz/fuzz.h"

#include "base/text.h"
#include "release/sample.h"
#include "release/stream.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zstd.h>

static struct arena arena;
static struct manifest manifest;
static struct text tar;

static void begin(void)
{
    static const unsigned char zeros[TAR_END];
    struct tar_walk walk;
    struct tar_entry entry;
    unsigned char header[TAR_BLOCK];
    arena_init(&arena);
    manifest = sample_manifest(&arena);
    tar_walk_begin(&walk, manifest.root, manifest.files, manifest.file_count);
    while (tar_walk_next(&walk, &entry)) {
        tar_header(&entry, manifest.created, header);
        text_add_bytes(&tar, header, TAR_BLOCK);
        text_add_bytes(&tar, entry.folder ? "" : sample_contents[entry.file], entry.size);
        text_add_bytes(&tar, zeros, tar_padding(entry.size));
    }
    text_add_bytes(&tar, zeros, TAR_END);
    manifest.tar.sha256 = digest_of(tar.bytes, tar.length);
}

static void check(const void *archive, size_t size, bool changed)
{
    struct findings findings;
    struct error err;
    char path[64];
    int descriptor = memfd_create("archive", MFD_CLOEXEC);
    CHECK(descriptor >= 0 && write(descriptor, archive, size) == (ssize_t)size, "no memory file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    manifest.archive.size = size;
    manifest.archive.sha256 = digest_of(archive, size);
    findings_init(&findings);
    CHECK(stream_check(&manifest, path, NULL, &findings, &err), "%s", err.message);
    CHECK(findings.count || !changed, "a changed archive holds");
    findings_release(&findings);
    close(descriptor);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (!tar.bytes)
        begin();
    if (!size)
        return 0;
    if (bytes[0] & 1) {
        check(bytes + 1, size - 1, false);
        return 0;
    }
    struct text changed = { 0 };
    char packed[1 << 16];
    bool differs = false;
    text_add_bytes(&changed, tar.bytes, tar.length);
    for (size_t i = 0; i < size - 1 && i < changed.length; i++) {
        changed.bytes[i] ^= (char)bytes[i + 1];
        differs = differs || bytes[i + 1];
    }
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t length = ZSTD_compress2(context, packed, sizeof packed, changed.bytes, changed.length);
    CHECK(!ZSTD_isError(length), "zstd");
    ZSTD_freeCCtx(context);
    check(packed, length, differs);
    text_release(&changed);
    return 0;
}
