/* See stream.h. */
#include "release/stream.h"

#include "base/file.h"
#include "base/progress.h"
#include "release/relay.h"
#include "release/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

/* ---- the compressed side --------------------------------------------------------------------- */

/* Digests of the archive and of each volume, as its bytes come. */
struct packed {
    const struct manifest *manifest;
    struct findings *findings;
    struct digest_state *whole, *volume; /* volume NULL: not split, or past the last */
    size_t index;
    uint64_t left; /* bytes of the volume still to come */
};

static void begin_volume(struct packed *packed)
{
    packed->volume = NULL;
    if (packed->index < packed->manifest->volume_count) {
        packed->volume = digest_begin();
        packed->left = packed->manifest->volumes[packed->index].size;
    }
}

static void end_volume(struct packed *packed)
{
    const struct manifest_volume *volume = &packed->manifest->volumes[packed->index++];
    struct digest digest = digest_end(packed->volume);
    if (!digest_equal(&digest, &volume->sha256))
        findings_add(packed->findings, FINDING_BAD, "%s: its SHA-256 is not the manifest's",
                     volume->name);
    begin_volume(packed);
}

static bool take_packed(void *context, const unsigned char *bytes, size_t size)
{
    struct packed *packed = context;
    digest_add(packed->whole, bytes, size);
    while (packed->volume && size >= packed->left) {
        size_t part = (size_t)packed->left;
        digest_add(packed->volume, bytes, part);
        bytes += part;
        size -= part;
        end_volume(packed);
    }
    if (packed->volume) {
        digest_add(packed->volume, bytes, size);
        packed->left -= size;
    }
    return true;
}

/* ---- the tar side ---------------------------------------------------------------------------- */

enum place { AT_HEADER, IN_CONTENT, IN_PADDING, AT_END, PAST_END };

/* Where in the tar we are, what has to come there, and what came. */
struct unpacked {
    const struct manifest *manifest;
    const struct stream_sink *sink;
    struct findings *findings;
    struct error err;           /* of the sink */
    struct digest_state *whole; /* of the tar: for its own thread alone */
    struct progress progress;   /* likewise */
    enum place place;
    struct tar_walk walk;
    struct tar_entry entry;
    struct digest_state *content; /* of the file that is passing by */
    unsigned char block[TAR_BLOCK];
    uint64_t left; /* bytes until the place changes */
    bool dirty;    /* a byte that has to be zero was not */
};

static bool take_tar(void *context, const unsigned char *bytes, size_t size)
{
    struct unpacked *tar = context;
    digest_add(tar->whole, bytes, size);
    progress_add(&tar->progress, size);
    return true;
}

static void go(struct unpacked *tar, enum place place, uint64_t bytes)
{
    tar->place = place;
    tar->left = bytes;
    tar->dirty = false;
}

static void expect_entry(struct unpacked *tar)
{
    if (tar_walk_next(&tar->walk, &tar->entry))
        go(tar, AT_HEADER, TAR_BLOCK);
    else
        go(tar, AT_END, TAR_END);
}

/* Out to the sink: it keeps what it got out of sight until all has passed. */
static bool sink_entry(struct unpacked *tar)
{
    const struct stream_sink *sink = tar->sink;
    const struct tar_entry *entry = &tar->entry;
    if (!sink)
        return true;
    return entry->folder ? sink->folder(sink->context, entry->path, &tar->err)
                         : sink->file(sink->context, entry->path, entry->size, &tar->err);
}

static bool end_header(struct unpacked *tar)
{
    unsigned char expected[TAR_BLOCK];
    struct error why;
    tar_header(&tar->entry, tar->manifest->created, expected);
    if (memcmp(tar->block, expected, TAR_BLOCK) != 0) {
        tar_explain(tar->block, expected, &why);
        findings_add(tar->findings, FINDING_BAD, "%s: %s", tar->entry.path, why.message);
    }
    if (!sink_entry(tar))
        return false;
    if (tar->entry.folder) {
        expect_entry(tar);
        return true;
    }
    tar->content = digest_begin();
    go(tar, IN_CONTENT, tar->entry.size);
    return true;
}

static bool end_content(struct unpacked *tar)
{
    struct digest digest = digest_end(tar->content);
    tar->content = NULL;
    if (!digest_equal(&digest, &tar->manifest->files[tar->entry.file].digest))
        findings_add(tar->findings, FINDING_BAD, "%s: its SHA-256 is not the manifest's",
                     tar->entry.path);
    go(tar, IN_PADDING, tar_padding(tar->entry.size));
    return true;
}

static bool end_padding(struct unpacked *tar)
{
    if (tar->dirty)
        findings_add(tar->findings, FINDING_BAD, "%s: the padding after it is not zero",
                     tar->entry.path);
    expect_entry(tar);
    return true;
}

static bool end_end(struct unpacked *tar)
{
    if (tar->dirty)
        findings_add(tar->findings, FINDING_BAD, "the end of the tar is not zero");
    go(tar, PAST_END, 0);
    return true;
}

static bool in_header(struct unpacked *tar, const unsigned char *bytes, size_t size)
{
    memcpy(tar->block + TAR_BLOCK - tar->left, bytes, size);
    return true;
}

static bool in_content(struct unpacked *tar, const unsigned char *bytes, size_t size)
{
    digest_add(tar->content, bytes, size);
    return !tar->sink || tar->sink->bytes(tar->sink->context, bytes, size, &tar->err);
}

static bool in_zeros(struct unpacked *tar, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        tar->dirty = tar->dirty || bytes[i];
    return true;
}

/* What to do with bytes at each place, and when its last byte has come. */
static const struct place_rules {
    bool (*bytes)(struct unpacked *tar, const unsigned char *bytes, size_t size);
    bool (*end)(struct unpacked *tar);
} places[] = {
    [AT_HEADER] = { in_header, end_header },
    [IN_CONTENT] = { in_content, end_content },
    [IN_PADDING] = { in_zeros, end_padding },
    [AT_END] = { in_zeros, end_end },
};

static bool walk_tar(void *context, const unsigned char *bytes, size_t size)
{
    struct unpacked *tar = context;
    while (tar->place != PAST_END && (size || !tar->left)) {
        size_t part = size < tar->left ? size : (size_t)tar->left;
        if (part && !places[tar->place].bytes(tar, bytes, part))
            return false;
        bytes += part;
        size -= part;
        tar->left -= part;
        if (!tar->left && !places[tar->place].end(tar))
            return false;
    }
    return size == 0; /* never false: no more bytes are decompressed than the tar has */
}

/* Files that never came. */
static void tell_missing(struct unpacked *tar)
{
    if (tar->content)
        digest_end(tar->content);
    if (tar->place == PAST_END)
        return;
    if (tar->place == AT_HEADER || tar->place == IN_CONTENT)
        findings_add(tar->findings, FINDING_BAD, "%s: missing or cut short", tar->entry.path);
    while (tar_walk_next(&tar->walk, &tar->entry))
        if (!tar->entry.folder)
            findings_add(tar->findings, FINDING_BAD, "%s: missing", tar->entry.path);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The archive's bytes, over all volumes. */
struct input {
    const struct manifest *manifest;
    const char *path, *name; /* name: of the file that is open, for messages */
    struct arena arena;
    int descriptor;
    size_t index, count; /* of volumes; an archive that is not split is one */
    uint64_t left;       /* bytes that the open file still has */
    struct findings *findings;
    struct error *err;
};

static bool check_status(struct input *input, uint64_t expected)
{
    struct stat status;
    if (fstat(input->descriptor, &status) != 0 || !S_ISREG(status.st_mode))
        return error_set(input->err, "%s: not a regular file", input->name);
    if ((uint64_t)status.st_size != expected)
        findings_add(input->findings, FINDING_BAD,
                     "%s: %" PRIu64 " bytes, but the manifest says %" PRIu64,
                     path_name(input->name), (uint64_t)status.st_size, expected);
    return true;
}

static bool open_next(struct input *input)
{
    const struct manifest *manifest = input->manifest;
    const struct manifest_volume *volume =
        manifest->volume_count ? &manifest->volumes[input->index] : NULL;
    if (input->descriptor >= 0)
        close(input->descriptor);
    input->index++;
    input->left = volume ? volume->size : manifest->archive.size;
    input->name =
        volume ? path_join(&input->arena, path_parent(&input->arena, input->path), volume->name)
               : input->path;
    input->descriptor = open(input->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return (input->descriptor >= 0 ||
            error_set_errno(input->err, "%s: cannot be opened", input->name)) &&
           check_status(input, input->left);
}

/* Up to `capacity` bytes; 0 at the end. Never more than were signed. */
static bool read_some(struct input *input, unsigned char *bytes, size_t capacity, size_t *got)
{
    *got = 0;
    while (*got < capacity) {
        size_t wanted = capacity - *got;
        wanted = input->left < wanted ? (size_t)input->left : wanted;
        ssize_t count = wanted ? read(input->descriptor, bytes + *got, wanted) : 0;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_set_errno(input->err, "%s: read error", input->name);
        *got += (size_t)count;
        input->left -= (uint64_t)count;
        if (count > 0)
            continue;
        if (input->index == input->count)
            return true;
        if (!open_next(input))
            return false;
    }
    return true;
}

/* ---- zstd ------------------------------------------------------------------------------------ */

/* RFC 8878, section 3.1.1.1: what a frame header may say here. */
static const char *frame_problem(const unsigned char *bytes, size_t size, uint64_t content)
{
    static const unsigned char magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
    static const size_t size_bytes[] = { 0, 2, 4, 8 };
    if (size < 18 || memcmp(bytes, magic, sizeof magic) != 0)
        return "it is not a zstd frame";
    unsigned char descriptor = bytes[4];
    bool single = descriptor & 0x20;
    size_t at = single ? 5 : 6, count = size_bytes[descriptor >> 6];
    if (single && !count)
        count = 1;
    if (descriptor & 0x08)
        return "its zstd frame sets a reserved bit";
    if (descriptor & 0x10)
        return "its zstd frame sets an unused bit";
    if (descriptor & 0x03)
        return "its zstd frame asks for a dictionary";
    if (!(descriptor & 0x04))
        return "its zstd frame has no checksum";
    if (!single && bytes[5] >> 3 > STREAM_WINDOW_LOG - 10)
        return "its zstd frame asks for a window above 8 MiB";
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)bytes[at + i] << 8 * i;
    value += count == 2 ? 256 : 0;
    return count && value == content ? NULL
                                     : "its zstd frame does not tell the size of the signed tar";
}

struct passing {
    struct input input;
    struct packed packed;
    struct unpacked unpacked;
    struct relay packed_relay, tar_relay;
    ZSTD_DCtx *zstd;
    uint64_t decompressed;
    bool frame_ended;
};

static bool bad_archive(struct passing *pass, const char *reason)
{
    return findings_add(pass->input.findings, FINDING_BAD, "%s: %s",
                        pass->packed.manifest->archive.name, reason);
}

/* Decompresses one buffer. False: stop, for a problem or a taker's error. */
static bool decompress(struct passing *pass, const unsigned char *bytes, size_t size)
{
    const struct manifest *manifest = pass->packed.manifest;
    ZSTD_inBuffer in = { bytes, size, 0 };
    for (bool more = true; more || in.pos < in.size;) {
        if (pass->frame_ended)
            return in.pos == in.size || bad_archive(pass, "bytes follow the end of its zstd frame");
        unsigned char *buffer = relay_buffer(&pass->tar_relay);
        if (!buffer)
            return false;
        ZSTD_outBuffer out = { buffer, RELAY_SIZE, 0 };
        size_t result = ZSTD_decompressStream(pass->zstd, &out, &in);
        if (ZSTD_isError(result))
            return bad_archive(pass, ZSTD_getErrorName(result));
        if (out.pos > manifest->tar.size - pass->decompressed)
            return bad_archive(pass, "it holds more than the signed tar");
        pass->decompressed += out.pos;
        if (out.pos)
            relay_send(&pass->tar_relay, out.pos);
        pass->frame_ended = result == 0;
        more = out.pos == RELAY_SIZE; /* zstd may hold back more than one buffer */
    }
    return true;
}

/* Reads to the end even when decompressing has stopped: the archive's own digest is told, too. */
static bool pass_through(struct passing *pass)
{
    bool first = true, going = true;
    for (;;) {
        size_t size;
        unsigned char *buffer = relay_buffer(&pass->packed_relay);
        if (!read_some(&pass->input, buffer, RELAY_SIZE, &size))
            return false;
        if (!size)
            break;
        const char *reason =
            first ? frame_problem(buffer, size, pass->packed.manifest->tar.size) : NULL;
        first = false;
        if (reason)
            going = bad_archive(pass, reason);
        relay_send(&pass->packed_relay, size); /* still ours to read until the next relay_buffer */
        going = going && decompress(pass, buffer, size);
    }
    if (going && !pass->frame_ended)
        bad_archive(pass, "its zstd frame is cut short");
    return true;
}

static void hold_digests(struct passing *pass)
{
    const struct manifest *manifest = pass->packed.manifest;
    struct digest archive = digest_end(pass->packed.whole), tar = digest_end(pass->unpacked.whole);
    if (pass->packed.volume)
        digest_end(pass->packed.volume);
    if (!digest_equal(&archive, &manifest->archive.sha256))
        bad_archive(pass, "its SHA-256 is not the manifest's");
    if (pass->decompressed == manifest->tar.size && !digest_equal(&tar, &manifest->tar.sha256))
        bad_archive(pass, "the SHA-256 of the tar in it is not the manifest's");
    tell_missing(&pass->unpacked);
}

static bool run(struct passing *pass)
{
    bool read, taken;
    relay_start(&pass->packed_relay, (relay_take *[]){ take_packed }, 1, &pass->packed);
    relay_start(&pass->tar_relay, (relay_take *[]){ take_tar, walk_tar }, 2, &pass->unpacked);
    read = pass_through(pass);
    taken = relay_finish(&pass->packed_relay);
    taken = relay_finish(&pass->tar_relay) && taken;
    hold_digests(pass);
    if (read && !taken)
        error_set(pass->input.err, "%s", pass->unpacked.err.message);
    return read && taken;
}

bool stream_check(const struct manifest *manifest, const char *path, const struct stream_sink *sink,
                  struct findings *findings, struct error *err)
{
    struct passing pass = {
        .input = { .manifest = manifest,
                   .path = path,
                   .descriptor = -1,
                   .findings = findings,
                   .count = manifest->volume_count ? manifest->volume_count : 1,
                   .err = err },
        .packed = { .manifest = manifest, .findings = findings },
        .unpacked = { .manifest = manifest, .sink = sink, .findings = findings },
    };
    arena_init(&pass.input.arena);
    pass.zstd = ZSTD_createDCtx();
    CHECK(pass.zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(pass.zstd, ZSTD_d_windowLogMax,
                                                            STREAM_WINDOW_LOG)),
          "out of memory: zstd");
    bool ok = open_next(&pass.input);
    if (ok) {
        pass.packed.whole = digest_begin();
        pass.unpacked.whole = digest_begin();
        begin_volume(&pass.packed);
        tar_walk_begin(&pass.unpacked.walk, manifest->root, manifest->files, manifest->file_count);
        expect_entry(&pass.unpacked);
        progress_begin(&pass.unpacked.progress, "verify", "bytes", manifest->tar.size);
        ok = run(&pass);
        progress_end(&pass.unpacked.progress);
    }
    if (pass.input.descriptor >= 0)
        close(pass.input.descriptor);
    ZSTD_freeDCtx(pass.zstd);
    arena_release(&pass.input.arena);
    return ok;
}
