/* The privacy lint; see lint.h. */
#include "release/lint.h"

#include "base/arena.h"
#include "base/json.h"
#include "data/gzip.h"
#include "data/nifti.h"
#include "data/nifti_header.h"
#include "data/npy.h"
#include "release/lint_words.h"

#include <string.h>

struct lint {
    struct words *words;
};

struct lint *lint_new(void)
{
    struct lint *lint = memory_grow(NULL, 1, sizeof *lint);
    lint->words = words_new();
    return lint;
}

void lint_free(struct lint *lint)
{
    if (!lint)
        return;
    words_free(lint->words);
    memory_free(lint);
}

void lint_add_source(struct lint *lint, const char *name)
{
    words_add_source(lint->words, name);
}

void lint_allow(struct lint *lint, const char *text)
{
    words_allow(lint->words, text);
}

/* One file being looked at. */
struct look {
    const struct lint *lint;
    const char *path;
    const unsigned char *bytes;
    size_t size;
    struct text *findings;
};

static void find(const struct look *look, const char *format, ...) PRINTF(2, 3);
/* What stands in the file must neither end the line nor move the cursor of whoever reads it. */
static void find(const struct look *look, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_format(look->findings, "%s: ", look->path);
    size_t from = look->findings->length;
    text_format_list(look->findings, format, arguments);
    for (char *at = look->findings->bytes + from; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    text_add(look->findings, "\n");
    va_end(arguments);
}

/* ---- NIfTI ----------------------------------------------------------------------------------- */

/* Header bytes that no image needs: text, and numbers that only this or that program fills in.
 * `phrase` is what may stand there besides zeros. */
struct header_field {
    size_t offset, size;
    const char *name, *phrase;
};
static const struct header_field fields_1[] = {
    { 4, 10, "data_type", NULL },
    { 14, 18, "db_name", NULL },
    { 32, 4, "extents", NULL },
    { 36, 2, "session_error", NULL },
    { 39, 1, "dim_info", NULL },
    { 56, 12, "intent_p1…p3", NULL },
    { 74, 2, "slice_start", NULL },
    { 120, 2, "slice_end", NULL },
    { 122, 1, "slice_code", NULL },
    { 124, 8, "cal_max, cal_min", NULL },
    { 132, 4, "slice_duration", NULL },
    { 136, 4, "toffset", NULL },
    { 140, 8, "glmax, glmin", NULL },
    { 148, 80, "descrip", SYNTHETIC_PHRASE },
    { 228, 24, "aux_file", NULL },
    { 328, 16, "intent_name", SYNTHETIC_NAME },
    { 0 },
};
static const struct header_field fields_2[] = {
    { 80, 24, "intent_p1…p3", NULL },
    { 192, 16, "cal_max, cal_min", NULL },
    { 208, 8, "slice_duration", NULL },
    { 216, 8, "toffset", NULL },
    { 224, 16, "slice_start, slice_end", NULL },
    { 240, 80, "descrip", SYNTHETIC_PHRASE },
    { 320, 24, "aux_file", NULL },
    { 496, 4, "slice_code", NULL },
    { 508, 16, "intent_name", SYNTHETIC_NAME },
    { 524, 1, "dim_info", NULL },
    { 525, 15, "unused_str", NULL },
    { 0 },
};

static bool all_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static bool holds_phrase(const unsigned char *bytes, size_t size, const char *phrase)
{
    size_t length = phrase ? strlen(phrase) : 0;
    return length && length <= size && memcmp(bytes, phrase, length) == 0 &&
           all_zero(bytes + length, size - length);
}

static void look_at_fields(const struct look *look, const unsigned char *header,
                           const struct header_field *field)
{
    for (; field->size; field++) {
        const unsigned char *bytes = header + field->offset;
        if (!all_zero(bytes, field->size) && !holds_phrase(bytes, field->size, field->phrase))
            find(look, "the NIfTI header's %s is filled in", field->name);
    }
}

/* dim and pixdim of axes that the image does not have: room for 4 to 7 hidden numbers each. */
static void look_at_spare_axes(const struct look *look, const unsigned char *bytes,
                               const struct nifti_header *header)
{
    bool one = header->version == 1;
    size_t dim = one ? 40 : 16, pixdim = one ? 76 : 104, width = one ? 2 : 8, real = one ? 4 : 8;
    int axes = header->frames > 1 ? 4 : 3;
    for (int i = axes + 1; i < 8; i++) {
        unsigned char most = 0;
        for (size_t j = 0; j < width; j++) /* 0 or 1, whatever the byte order */
            most |= bytes[dim + (size_t)i * width + j];
        static const unsigned char ones[2][8] = { { 0, 0, 0x80, 0x3f },
                                                  { 0, 0, 0, 0, 0, 0, 0xf0, 0x3f } };
        const unsigned char *step = bytes + pixdim + (size_t)i * real;
        if (most > 1 || !(all_zero(step, real) || memcmp(step, ones[!one], real) == 0))
            find(look, "the NIfTI header tells of an axis %d that the image does not have", i);
    }
}

static void look_at_nifti(const struct look *look, const unsigned char *bytes, size_t size)
{
    struct nifti_header header;
    struct error err;
    if (!nifti_header_check(bytes, size, &header, &err)) {
        find(look, "cannot be read: %s", err.message);
        return;
    }
    size_t head = header.version == 1 ? NIFTI1_HEADER : NIFTI2_HEADER;
    size_t begin = (size_t)header.voxel_offset;
    size_t voxels = (size_t)(header.shape[0] * header.shape[1] * header.shape[2] * header.frames) *
                    voxel_bytes(header.type);
    look_at_fields(look, bytes, header.version == 1 ? fields_1 : fields_2);
    look_at_spare_axes(look, bytes, &header);
    if (begin > head && bytes[head])
        find(look, "a NIfTI extension follows the header");
    else if (begin > head && !all_zero(bytes + head, begin - head))
        find(look, "the gap between header and voxels is filled in");
    if (size > begin + voxels)
        find(look, "%zu bytes follow the last voxel", size - begin - voxels);
}

/* RFC 1952: flags in the fourth byte, the time in the next four, then compression and system. */
static void look_at_gzip_header(const struct look *look)
{
    static const struct {
        unsigned char flag;
        const char *what;
    } flags[] = { { 4, "extra data" }, { 8, "a file name" }, { 16, "a comment" } };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (look->bytes[3] & flags[i].flag)
            find(look, "the gzip header holds %s", flags[i].what);
    if (!all_zero(look->bytes + 4, 4))
        find(look, "the gzip header holds a time");
}

static void look_at_nifti_gz(const struct look *look)
{
    struct error err;
    size_t size, members;
    if (look->size < 18 || !gzip_is(look->bytes, look->size)) {
        find(look, "no gzip file");
        return;
    }
    look_at_gzip_header(look);
    unsigned char *bytes = gzip_decompress_members(look->bytes, look->size, NIFTI_LARGEST,
                                                   look->path, &size, &members, &err);
    if (!bytes) {
        find(look, "cannot be read: %s", err.message);
        return;
    }
    if (members > 1)
        find(look, "%zu gzip members", members);
    look_at_nifti(look, bytes, size);
    memory_free(bytes);
}

static void look_at_plain_nifti(const struct look *look)
{
    look_at_nifti(look, look->bytes, look->size);
}

/* ---- PNG ------------------------------------------------------------------------------------- */

static bool is_marker(const unsigned char *chunk, size_t length)
{
    static const char marker[] = SYNTHETIC_KEYWORD "\0" SYNTHETIC_PHRASE;
    return length == sizeof marker - 1 && memcmp(chunk, marker, length) == 0;
}

static void look_at_chunk(const struct look *look, const unsigned char *chunk, size_t length)
{
    static const char *const needed[] = { "IHDR", "PLTE", "IDAT", "IEND", "tRNS" };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (memcmp(chunk + 4, needed[i], 4) == 0)
            return;
    if (memcmp(chunk + 4, "tEXt", 4) != 0 || !is_marker(chunk + 8, length))
        find(look, "a PNG chunk %.4s that images need not hold", (const char *)chunk + 4);
}

static void look_at_png(const struct look *look)
{
    static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    enum { AROUND = 12 }; /* length, type, checksum */
    const unsigned char *at = look->bytes, *end = at + look->size;
    if (look->size < sizeof signature || memcmp(at, signature, sizeof signature) != 0) {
        find(look, "no PNG file");
        return;
    }
    for (at += sizeof signature; end - at >= AROUND;) {
        size_t length = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        if (length > (size_t)(end - at) - AROUND)
            break;
        look_at_chunk(look, at, length);
        bool last = memcmp(at + 4, "IEND", 4) == 0;
        at += length + AROUND;
        if (!last)
            continue;
        if (at < end)
            find(look, "%zu bytes follow the image", (size_t)(end - at));
        return;
    }
    find(look, "a PNG that ends before its end");
}

/* ---- .npy, JSON, text ------------------------------------------------------------------------ */

static void look_at_npy(const struct look *look)
{
    struct npy array;
    struct error err;
    if (!npy_parse(&array, look->bytes, look->size, look->path, &err))
        find(look, "cannot be read: %s", err.message);
}

static bool look_at_value(void *context, const char *key, const struct json *value)
{
    const struct look *look = context;
    const char *text = json_as_string(value);
    if (key)
        words_scan(look->lint->words, WORDS_VALUES, look->path, key, strlen(key), look->findings);
    if (text)
        words_scan(look->lint->words, WORDS_VALUES, look->path, text, strlen(text), look->findings);
    else if (json_value_is_object(value))
        json_each(value, look_at_value, context);
    for (size_t i = 0; i < json_length(value); i++)
        look_at_value(context, NULL, json_at(value, i));
    return true;
}

static void look_at_json(const struct look *look)
{
    struct error err;
    struct json *root = json_parse((const char *)look->bytes, look->size, look->path, &err);
    if (!root) {
        find(look, "cannot be read: %s", err.message);
        return;
    }
    look_at_value((void *)(uintptr_t)look, NULL, root);
    json_free(root);
}

static void look_at_text(const struct look *look, enum words_kind kind, const char *text,
                         size_t size)
{
    if (!text_is_utf8(text, size) || memchr(text, 0, size))
        find(look, "text that is not UTF-8");
    words_scan(look->lint->words, kind, look->path, text, size, look->findings);
}

static void look_at_prose(const struct look *look)
{
    look_at_text(look, WORDS_PROSE, (const char *)look->bytes, look->size);
}

static void look_at_table(const struct look *look)
{
    look_at_text(look, WORDS_VALUES, (const char *)look->bytes, look->size);
}

/* Images inside a page are base64, in which anything can be read: they are passed over. */
static void look_at_html(const struct look *look)
{
    static const char opening[] = "base64,";
    struct text rest = { 0 };
    const char *at = (const char *)look->bytes, *end = at + look->size;
    while (at < end) {
        const char *image = memmem(at, (size_t)(end - at), opening, sizeof opening - 1);
        text_add_bytes(&rest, at, (size_t)((image ? image : end) - at));
        for (at = image ? image + sizeof opening - 1 : end;
             at < end && *at != '"' && *at != '\'' && *at != ')';)
            at++;
    }
    look_at_text(look, WORDS_PROSE, rest.length ? rest.bytes : "", rest.length);
    text_release(&rest);
}

/* ---- a file ---------------------------------------------------------------------------------- */

static const struct kind {
    const char *suffix;
    void (*look)(const struct look *look);
    bool pixels;
} kinds[] = {
    { ".nii.gz", look_at_nifti_gz, true },   { ".nii", look_at_plain_nifti, true },
    { ".png", look_at_png, true },           { ".npy", look_at_npy, true },
    { ".json", look_at_json, false },        { ".html", look_at_html, false },
    { ".csv", look_at_table, false },        { ".tsv", look_at_table, false },
    { ".md", look_at_prose, false },         { ".txt", look_at_prose, false },
    { ".cff", look_at_prose, false },        { ".yaml", look_at_prose, false },
    { "LICENSE", look_at_prose, false },     { "README", look_at_prose, false },
    { ".bidsignore", look_at_prose, false },
};

static const struct kind *kind_of(const char *path)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (text_ends_with(path, kinds[i].suffix))
            return &kinds[i];
    return NULL;
}

bool lint_file(const struct lint *lint, const char *path, const void *bytes, size_t size,
               struct text *findings)
{
    const struct look look = { lint, path, bytes, size, findings };
    const struct kind *kind = kind_of(path);
    size_t before = findings->length;
    words_scan(lint->words, WORDS_VALUES, path, path, strlen(path), findings);
    if (kind)
        kind->look(&look);
    else
        find(&look, "of a kind that the lint cannot look into");
    return findings->length == before;
}

bool lint_document(const struct lint *lint, const char *path, const void *bytes, size_t size,
                   struct text *findings)
{
    static const char embedded[] = "base64,";
    const struct look look = { lint, path, bytes, size, findings };
    const struct kind *kind = kind_of(path);
    size_t before = findings->length;
    if (kind && kind->pixels)
        find(&look, "images that were not audited; only documents may be added");
    else if (memmem(bytes, size, embedded, sizeof embedded - 1))
        find(&look, "a file embedded in it (base64), which nobody can look into");
    return findings->length == before;
}
