/* Writing the archive, and the whole contact surface with libzstd's compressor; see archive.h.
 *
 * The tar is cut into pieces: of small files as many as fill one, of a large one 4 MiB at a time.
 * Any thread reads a piece and digests the whole files in it; then, one piece at a time and in
 * order, headers and piece go through the tar's digest into the compressor. Compression runs on
 * zstd's own threads; what comes out goes by a relay to one more, which digests and writes it. So
 * what has to be done in order, half a core's time each, never waits for the other.
 *
 * The tar is ours (tar.h) rather than libarchive's, because its digest is signed: the same files
 * have to give the same tar with whatever library a later Debian brings. */
#include "release/archive.h"

#include "base/file.h"
#include "base/parallel.h"
#include "base/progress.h"
#include "release/relay.h"
#include "release/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

enum { PIECE = 4 << 20, GROUP = 1 << 20, JOB = 8 << 20, MOST_WORKERS = 64 };

/* ---- what comes out -------------------------------------------------------------------------- */

/* The archive, or a volume of it: being written, or, of a volume before the last, finished and
 * closed, for a process may have fewer files open than an archive has volumes. */
struct output_file {
    struct file_writer writer;
    struct digest_state *sha256;
    struct checksum_state *md5;
    bool open;
};

struct output {
    const char *path;
    uint64_t volume_size;      /* 0: one file */
    struct output_file *files; /* not yet in place */
    size_t count;
    struct archive_part *parts; /* of the volumes that are full, then of the last */
    uint64_t size;
    struct digest_state *sha256; /* of the whole, when it is split */
    struct checksum_state *md5;
    struct arena *arena;
};

static bool open_file(struct output *output, struct error *err)
{
    if (output->count == ARCHIVE_MOST_VOLUMES)
        return error_set(err, "%s: more than %d volumes of %llu bytes; let volumes be larger",
                         output->path, ARCHIVE_MOST_VOLUMES,
                         (unsigned long long)output->volume_size);
    const char *path = output->path;
    if (output->volume_size)
        path = arena_format(output->arena, "%s.%03zu", output->path, output->count + 1);
    struct output_file *file = &output->files[output->count];
    if (!file_writer_open(&file->writer, path, err))
        return false;
    *file =
        (struct output_file){ file->writer, digest_begin(), checksum_begin(CHECKSUM_MD5), true };
    output->parts[output->count++].name = path_name(path);
    return true;
}

static void end_digests(struct output *output)
{
    struct output_file *file = &output->files[output->count - 1];
    struct archive_part *part = &output->parts[output->count - 1];
    if (!file->open)
        return;
    part->sha256 = digest_end(file->sha256);
    checksum_end(file->md5, part->md5);
    file->open = false;
}

static bool output_write(struct output *output, const unsigned char *bytes, size_t size,
                         struct error *err)
{
    if (output->volume_size) {
        digest_add(output->sha256, bytes, size);
        checksum_add(output->md5, bytes, size);
    }
    output->size += size;
    while (size) {
        struct archive_part *part = &output->parts[output->count - 1];
        if (output->volume_size && part->size == output->volume_size) {
            end_digests(output);
            if (!file_writer_finish(&output->files[output->count - 1].writer, err) ||
                !open_file(output, err))
                return false;
            continue;
        }
        uint64_t room = output->volume_size ? output->volume_size - part->size : size;
        size_t now = room < size ? (size_t)room : size;
        struct output_file *file = &output->files[output->count - 1];
        digest_add(file->sha256, bytes, now);
        checksum_add(file->md5, bytes, now);
        if (!file_writer_write(&file->writer, bytes, now, err))
            return false;
        part->size += now;
        bytes += now;
        size -= now;
    }
    return true;
}

static bool output_begin(struct output *output, struct error *err)
{
    size_t most = output->volume_size ? ARCHIVE_MOST_VOLUMES : 1;
    output->files = arena_array(output->arena, struct output_file, most);
    output->parts = arena_array(output->arena, struct archive_part, most);
    if (output->volume_size) {
        output->sha256 = digest_begin();
        output->md5 = checksum_begin(CHECKSUM_MD5);
    }
    return open_file(output, err);
}

/* Puts every volume in place, the last one last: without it the archive cannot be read. What fitted
 * into one volume is the archive under its own name. */
static bool output_commit(struct output *output, struct archive_result *result, struct error *err)
{
    end_digests(output);
    result->whole = output->parts[0];
    if (output->volume_size && output->count == 1) {
        strcpy(output->files[0].writer.path, output->path); /* ".001" less */
    } else if (output->volume_size) {
        result->volumes = output->parts;
        result->volume_count = output->count;
        result->whole.sha256 = digest_end(output->sha256);
        checksum_end(output->md5, result->whole.md5);
        output->sha256 = NULL;
    }
    result->whole.name = path_name(output->path);
    result->whole.size = output->size;
    for (size_t i = 0; i < output->count; i++)
        if (!file_writer_commit(&output->files[i].writer, err)) {
            while (i--)
                unlink(path_join(output->arena, path_parent(output->arena, output->path),
                                 output->parts[i].name));
            return false;
        }
    return true;
}

/* Removes what is not in place; harmless after a commit. */
static void output_release(struct output *output)
{
    unsigned char md5[16];
    for (size_t i = 0; i < output->count; i++)
        if (output->files[i].writer.path)
            file_writer_abandon(&output->files[i].writer);
    if (output->count)
        end_digests(output);
    if (output->sha256) {
        digest_end(output->sha256);
        checksum_end(output->md5, md5);
    }
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Whole files, several where they are small; or a part of one. Every piece is waited for, and to
 * wake a thread takes tens of microseconds on a virtual machine: so pieces are not small. */
struct piece {
    size_t file, count; /* of files */
    uint64_t offset;
    size_t size; /* of their contents */
};

struct packing {
    const char *folder;
    struct digest_entry *files;
    const struct archive_settings *settings;
    struct piece *pieces;
    size_t piece_count;
    unsigned char **buffers; /* by piece: read and not yet packed */
    struct digest *digests;  /* by file: of those that are in one piece */
    struct tar_walk walk;
    struct digest_state *tar, *file; /* file: of one in several pieces */
    uint64_t tar_size;
    ZSTD_CCtx *compressor;
    struct output output;
    struct relay compressed;   /* on its way to `output`, by a thread that alone uses it … */
    struct error output_error; /* … and why it stopped */
    struct progress progress;
    struct error read_error;
    atomic_flag failing;
    atomic_bool failed;
    struct error *err;
};

static bool is_whole(const struct packing *packing, size_t file)
{
    return packing->files[file].size <= PIECE;
}

static bool read_at(int descriptor, unsigned char *bytes, size_t size, uint64_t offset,
                    const char *path, struct error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(descriptor, bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, "%s: read error at byte %llu", path,
                                   (unsigned long long)(offset + done));
        if (got == 0)
            return error_set(err, "%s: became shorter while it was packed", path);
        done += (size_t)got;
    }
    return true;
}

static bool read_file(const struct packing *packing, const struct digest_entry *file,
                      uint64_t offset, unsigned char *bytes, size_t size, struct error *err)
{
    struct stat status;
    struct arena arena;
    arena_init(&arena);
    const char *path = path_join(&arena, packing->folder, file->path);
    int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool ok = false;
    if (descriptor < 0)
        error_set_errno(err, "%s: cannot open", path);
    else if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode))
        error_set(err, "%s: not a regular file", path);
    else if ((uint64_t)status.st_size != file->size)
        error_set(err, "%s: has %llu bytes instead of %llu: it changed while it was packed", path,
                  (unsigned long long)status.st_size, (unsigned long long)file->size);
    else
        ok = read_at(descriptor, bytes, size, offset, path, err);
    if (descriptor >= 0)
        close(descriptor);
    arena_release(&arena);
    return ok;
}

/* Contents one after the other. */
static bool read_piece(const struct packing *packing, const struct piece *piece,
                       unsigned char *bytes, struct error *err)
{
    const struct digest_entry *files = &packing->files[piece->file];
    if (!is_whole(packing, piece->file))
        return read_file(packing, files, piece->offset, bytes, piece->size, err);
    for (size_t i = 0; i < piece->count; i++) {
        size_t size = (size_t)files[i].size;
        if (!read_file(packing, &files[i], 0, bytes, size, err))
            return false;
        packing->digests[piece->file + i] = digest_of(bytes, size);
        bytes += size;
    }
    return true;
}

/* On any thread: reads a piece, and digests the files that are whole in it. */
static void load(void *context, size_t item)
{
    struct packing *packing = context;
    const struct piece *piece = &packing->pieces[item];
    struct error err;
    if (atomic_load(&packing->failed))
        return;
    unsigned char *bytes = memory_allocate(piece->size + 1, 1, "a piece of the archive", &err);
    if (!bytes || !read_piece(packing, piece, bytes, &err)) {
        if (!atomic_flag_test_and_set(&packing->failing))
            packing->read_error = err;
        atomic_store(&packing->failed, true);
        memory_free(bytes);
        return;
    }
    packing->buffers[item] = bytes;
}

static bool take_compressed(void *context, const unsigned char *bytes, size_t size)
{
    struct packing *packing = context;
    return output_write(&packing->output, bytes, size, &packing->output_error);
}

/* False: zstd failed, and err says how; or the output did, and output_error says so. */
static bool compress(struct packing *packing, const void *bytes, size_t size,
                     ZSTD_EndDirective directive)
{
    ZSTD_inBuffer in = { bytes, size, 0 };
    for (;;) {
        unsigned char *buffer = relay_buffer(&packing->compressed);
        ZSTD_outBuffer out = { buffer, RELAY_SIZE, 0 };
        if (!buffer)
            return false;
        size_t left = ZSTD_compressStream2(packing->compressor, &out, &in, directive);
        if (ZSTD_isError(left))
            return error_set(packing->err, "%s: cannot be compressed: %s", packing->output.path,
                             ZSTD_getErrorName(left));
        if (out.pos)
            relay_send(&packing->compressed, out.pos);
        if (directive == ZSTD_e_end ? !left : in.pos == in.size)
            return true;
    }
}

/* Given nothing, zstd would wait until a job has got on. */
static bool emit(struct packing *packing, const void *bytes, size_t size)
{
    if (!size)
        return true;
    digest_add(packing->tar, bytes, size);
    packing->tar_size += size;
    return compress(packing, bytes, size, ZSTD_e_continue);
}

/* The headers of the next file and of the folders that begin before it. */
static bool emit_headers(struct packing *packing)
{
    struct tar_entry entry = { .folder = true };
    unsigned char header[TAR_BLOCK];
    while (entry.folder) {
        CHECK(tar_walk_next(&packing->walk, &entry), "more pieces than the tar has entries");
        tar_header(&entry, packing->settings->created, header);
        if (!emit(packing, header, sizeof header))
            return false;
    }
    return true;
}

static bool check_file(struct packing *packing, struct digest_entry *file,
                       const struct digest *digest)
{
    if (packing->settings->measure)
        file->digest = *digest;
    return digest_equal(digest, &file->digest) ||
           error_set(packing->err,
                     "%s/%s: its content changed while it was packed; nothing was "
                     "written, begin again",
                     packing->folder, file->path);
}

/* The end of a file: what it was, and padding. */
static bool end_file(struct packing *packing, size_t number, const struct digest *digest)
{
    static const unsigned char zeros[TAR_BLOCK];
    struct digest_entry *file = &packing->files[number];
    return check_file(packing, file, digest) && emit(packing, zeros, tar_padding(file->size));
}

static bool pack_files(struct packing *packing, const struct piece *piece,
                       const unsigned char *bytes)
{
    for (size_t i = piece->file; i < piece->file + piece->count; i++) {
        size_t size = (size_t)packing->files[i].size;
        if (!emit_headers(packing) || !emit(packing, bytes, size) ||
            !end_file(packing, i, &packing->digests[i]))
            return false;
        bytes += size;
    }
    return true;
}

static bool pack_part(struct packing *packing, const struct piece *piece,
                      const unsigned char *bytes)
{
    if (!piece->offset) {
        if (!emit_headers(packing))
            return false;
        packing->file = digest_begin();
    }
    digest_add(packing->file, bytes, piece->size);
    if (!emit(packing, bytes, piece->size))
        return false;
    if (piece->offset + piece->size < packing->files[piece->file].size)
        return true;
    struct digest digest = digest_end(packing->file);
    packing->file = NULL;
    return end_file(packing, piece->file, &digest);
}

static bool pack_piece(struct packing *packing, size_t item)
{
    const struct piece *piece = &packing->pieces[item];
    return is_whole(packing, piece->file) ? pack_files(packing, piece, packing->buffers[item])
                                          : pack_part(packing, piece, packing->buffers[item]);
}

/* One piece at a time, in order. */
static bool pack(void *context, size_t item)
{
    struct packing *packing = context;
    bool ok = packing->buffers[item] && pack_piece(packing, item);
    progress_add(&packing->progress, packing->pieces[item].size);
    memory_free(packing->buffers[item]);
    packing->buffers[item] = NULL;
    return ok;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static bool set_parameters(struct packing *packing, uint64_t size, struct error *err)
{
    int workers = parallel_threads();
    const struct {
        ZSTD_cParameter parameter;
        int value;
    } parameters[] = {
        { ZSTD_c_compressionLevel, packing->settings->level },
        { ZSTD_c_checksumFlag, 1 },
        { ZSTD_c_contentSizeFlag, 1 },
        { ZSTD_c_nbWorkers, workers < MOST_WORKERS ? workers : MOST_WORKERS },
        { ZSTD_c_jobSize, JOB },
        { ZSTD_c_overlapLog, 6 }, /* a job looks back over 1/8 of the window before it */
    };
    size_t code = ZSTD_CCtx_setPledgedSrcSize(packing->compressor, size);
    for (size_t i = 0; !ZSTD_isError(code) && i < sizeof parameters / sizeof *parameters; i++)
        code = ZSTD_CCtx_setParameter(packing->compressor, parameters[i].parameter,
                                      parameters[i].value);
    return !ZSTD_isError(code) ||
           error_set(err, "libzstd %s: %s%s", ZSTD_versionString(), ZSTD_getErrorName(code),
                     workers > 0 ? "; was it built without threads?" : "");
}

static bool check_files(const struct archive_settings *settings, const struct digest_entry *files,
                        size_t count, struct error *err)
{
    if (!count)
        return error_set(err, "no files: there is nothing to pack");
    for (size_t i = 0; i < count; i++) {
        if (i && strcmp(files[i - 1].path, files[i].path) >= 0)
            BUG("%s does not come after %s", files[i].path, files[i - 1].path);
        if (files[i].size > TAR_LARGEST_FILE)
            return error_set(err, "%s: %llu bytes; an archive holds files of less than 8 GiB",
                             files[i].path, (unsigned long long)files[i].size);
        if (!tar_path_fits(settings->root, files[i].path))
            return error_set(err, "%s: the name is too long for an archive", files[i].path);
    }
    return true;
}

/* The piece that begins at a file's byte. */
static struct piece piece_at(const struct packing *packing, size_t file, uint64_t offset,
                             size_t count)
{
    uint64_t left = packing->files[file].size - offset;
    struct piece piece = { file, 1, offset, left < PIECE ? (size_t)left : PIECE };
    if (!is_whole(packing, file))
        return piece;
    for (size_t next = file + 1; next < count; next++, piece.count++) {
        uint64_t size = packing->files[next].size;
        if (piece.size + size > GROUP)
            break;
        piece.size += (size_t)size;
    }
    return piece;
}

/* Writes the pieces down, where there is room for them already; returns how many there are. */
static size_t list_pieces(const struct packing *packing, size_t count, struct piece *pieces)
{
    size_t n = 0, file = 0;
    for (uint64_t offset = 0; file < count; n++) {
        struct piece piece = piece_at(packing, file, offset, count);
        if (pieces)
            pieces[n] = piece;
        offset += piece.size;
        if (is_whole(packing, file) || offset == packing->files[file].size) {
            file += piece.count;
            offset = 0;
        }
    }
    return n;
}

static bool cut(struct packing *packing, size_t count, struct error *err)
{
    size_t n = packing->piece_count = list_pieces(packing, count, NULL);
    packing->pieces = memory_allocate(n, sizeof *packing->pieces, "the list of pieces", err);
    packing->buffers = memory_allocate(n, sizeof *packing->buffers, "the list of pieces", err);
    packing->digests = memory_allocate(count, sizeof *packing->digests, "the digests", err);
    if (!packing->pieces || !packing->buffers || !packing->digests)
        return false;
    list_pieces(packing, count, packing->pieces);
    return true;
}

static bool pack_all(struct packing *packing, struct error *err)
{
    static const unsigned char end[TAR_END];
    relay_start(&packing->compressed, (relay_take *[]){ take_compressed }, 1, packing);
    bool ok = parallel_ordered(packing->piece_count, load, pack, packing) &&
              emit(packing, end, sizeof end) && compress(packing, NULL, 0, ZSTD_e_end);
    bool written = relay_finish(&packing->compressed);
    if (atomic_load(&packing->failed))
        return error_set(err, "%s", packing->read_error.message);
    if (!written)
        return error_set(err, "%s", packing->output_error.message);
    return ok;
}

static void release(struct packing *packing)
{
    for (size_t i = 0; packing->buffers && i < packing->piece_count; i++)
        memory_free(packing->buffers[i]);
    memory_free(packing->pieces);
    memory_free(packing->buffers);
    memory_free(packing->digests);
    ZSTD_freeCCtx(packing->compressor);
    if (packing->file)
        digest_end(packing->file);
    if (packing->tar)
        digest_end(packing->tar);
    output_release(&packing->output);
}

bool archive_write(const char *path, const char *folder, struct digest_entry *files, size_t count,
                   const struct archive_settings *settings, struct archive_result *result,
                   struct arena *arena, struct error *err)
{
    *result = (struct archive_result){ 0 };
    if (!check_files(settings, files, count, err))
        return false;
    uint64_t size = tar_size(settings->root, files, count);
    struct packing packing = { .folder = folder,
                               .files = files,
                               .settings = settings,
                               .compressor = ZSTD_createCCtx(),
                               .output = { .path = arena_string(arena, path),
                                           .volume_size = settings->volume_size,
                                           .arena = arena },
                               .failing = ATOMIC_FLAG_INIT,
                               .err = err };
    CHECK(packing.compressor, "out of memory for a compressor");
    tar_walk_begin(&packing.walk, settings->root, files, count);
    packing.tar = digest_begin();
    bool ok = set_parameters(&packing, size, err) && cut(&packing, count, err) &&
              output_begin(&packing.output, err);
    if (ok) {
        progress_begin(&packing.progress, "package", "bytes", size);
        ok = pack_all(&packing, err);
        progress_end(&packing.progress);
    }
    if (ok) {
        CHECK(packing.tar_size == size, "a tar of another size than planned");
        result->tar_size = size;
        result->tar = digest_end(packing.tar);
        packing.tar = NULL;
        ok = output_commit(&packing.output, result, err);
    }
    release(&packing);
    return ok;
}
