/* Canonical ustar headers; see tar.h. The layout is POSIX.1-2017, pax, "ustar Interchange Format".
 */
#include "release/tar.h"

#include <stdio.h>
#include <string.h>

/* The fields of a header, in the order of the block. */
enum field {
    NAME,
    MODE,
    UID,
    GID,
    SIZE,
    MTIME,
    CHECKSUM,
    TYPE,
    LINK,
    MAGIC,
    UNAME,
    GNAME,
    DEVMAJOR,
    DEVMINOR,
    PREFIX,
    REST,
    FIELD_COUNT
};

static const struct field_info {
    size_t offset, size;
    const char *words;
} fields[FIELD_COUNT] = {
    [NAME] = { 0, 100, "name" },
    [MODE] = { 100, 8, "mode" },
    [UID] = { 108, 8, "owner" },
    [GID] = { 116, 8, "group" },
    [SIZE] = { 124, 12, "size" },
    [MTIME] = { 136, 12, "time" },
    [CHECKSUM] = { 148, 8, "checksum" },
    [TYPE] = { 156, 1, "type" },
    [LINK] = { 157, 100, "link target" },
    [MAGIC] = { 257, 8, "magic number" },
    [UNAME] = { 265, 32, "owner's name" },
    [GNAME] = { 297, 32, "group's name" },
    [DEVMAJOR] = { 329, 8, "device number" },
    [DEVMINOR] = { 337, 8, "device number" },
    [PREFIX] = { 345, 155, "name prefix" },
    [REST] = { 500, 12, "unused end" },
};

/* ---- writing --------------------------------------------------------------------------------- */

static void put_text(unsigned char *block, enum field field, const char *text, size_t length)
{
    memcpy(block + fields[field].offset, text, length);
}

/* Octal digits that fill the field but for one zero byte at its end. */
static void put_octal(unsigned char *block, enum field field, uint64_t value)
{
    unsigned char *at = block + fields[field].offset;
    for (size_t i = fields[field].size - 1; i-- > 0; value >>= 3)
        at[i] = (unsigned char)('0' + (value & 7));
    CHECK(!value, "a number that is too large for a tar header");
}

/* Where a path is cut into prefix and name: at the first slash that leaves a name that fits; 0 when
 * the whole path is the name. False when there is no such slash. */
static bool cut_path(const char *path, size_t *cut)
{
    size_t length = strlen(path);
    *cut = 0;
    if (length <= fields[NAME].size)
        return true;
    for (size_t at = length - fields[NAME].size - 1; at < length - 1 && at <= fields[PREFIX].size;
         at++)
        if (path[at] == '/' && at) {
            *cut = at;
            return true;
        }
    return false;
}

static unsigned sum_of(const unsigned char block[TAR_BLOCK])
{
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += block[i];
    return sum;
}

void tar_header(const struct tar_entry *entry, int64_t time, unsigned char block[TAR_BLOCK])
{
    size_t cut = 0;
    CHECK(cut_path(entry->path, &cut), "a path that does not fit a tar header: %s", entry->path);
    const char *name = cut ? entry->path + cut + 1 : entry->path;
    memset(block, 0, TAR_BLOCK);
    put_text(block, NAME, name, strlen(name));
    put_text(block, PREFIX, entry->path, cut);
    put_octal(block, MODE, entry->folder ? 0755 : 0644);
    put_octal(block, UID, 0);
    put_octal(block, GID, 0);
    put_octal(block, SIZE, entry->size);
    put_octal(block, MTIME, (uint64_t)time);
    put_text(block, TYPE, entry->folder ? "5" : "0", 1);
    put_text(block, MAGIC, "ustar\00000", 8);
    put_octal(block, DEVMAJOR, 0);
    put_octal(block, DEVMINOR, 0);
    /* The sum is taken with blanks in its own place, and written as six digits, zero, blank. */
    memset(block + fields[CHECKSUM].offset, ' ', fields[CHECKSUM].size);
    char digits[16];
    snprintf(digits, sizeof digits, "%06o", sum_of(block));
    memcpy(block + fields[CHECKSUM].offset, digits, 7);
}

size_t tar_padding(uint64_t size)
{
    return (size_t)(-size % TAR_BLOCK);
}

/* ---- the walk -------------------------------------------------------------------------------- */

bool tar_path_fits(const char *root, const char *path)
{
    char whole[TAR_LONGEST_PATH + 1];
    size_t cut;
    int length = snprintf(whole, sizeof whole, "%s/%s", root, path);
    if (length < 0 || (size_t)length > TAR_LONGEST_PATH || !cut_path(whole, &cut))
        return false;
    for (char *slash = strrchr(whole, '/'); slash; slash = strrchr(whole, '/')) {
        slash[1] = '\0'; /* every folder above it, too */
        if (!cut_path(whole, &cut))
            return false;
        *slash = '\0';
    }
    return true;
}

/* Bytes of `path` up to and with the last folder that `before` is in, too. */
static size_t shared_folders(const char *path, const char *before)
{
    size_t shared = 0;
    for (size_t i = 0; path[i] && path[i] == before[i]; i++)
        if (path[i] == '/')
            shared = i + 1;
    return shared;
}

void tar_walk_begin(struct tar_walk *walk, const char *root, const struct digest_entry *files,
                    size_t count)
{
    *walk = (struct tar_walk){ .root = root, .files = files, .count = count, .entered = SIZE_MAX };
}

bool tar_walk_next(struct tar_walk *walk, struct tar_entry *entry)
{
    if (walk->next == walk->count)
        return false;
    const struct digest_entry *file = &walk->files[walk->next];
    if (walk->entered == SIZE_MAX) {
        char before[sizeof walk->path];
        memcpy(before, walk->path, sizeof before);
        int length = snprintf(walk->path, sizeof walk->path, "%s/%s", walk->root, file->path);
        CHECK(length > 0 && (size_t)length < sizeof walk->path, "a long path: %s", file->path);
        walk->entered = shared_folders(walk->path, before);
    }
    const char *slash = strchr(walk->path + walk->entered, '/');
    *entry = (struct tar_entry){ .folder = slash, .file = walk->next };
    if (slash) {
        walk->entered = (size_t)(slash - walk->path) + 1;
        memcpy(entry->path, walk->path, walk->entered);
        return true;
    }
    memcpy(entry->path, walk->path, sizeof entry->path);
    entry->size = file->size;
    walk->next++;
    walk->entered = SIZE_MAX;
    return true;
}

uint64_t tar_size(const char *root, const struct digest_entry *files, size_t count)
{
    struct tar_walk walk;
    struct tar_entry entry;
    uint64_t size = TAR_END;
    tar_walk_begin(&walk, root, files, count);
    while (tar_walk_next(&walk, &entry))
        size += TAR_BLOCK + entry.size + tar_padding(entry.size);
    return size;
}

/* ---- explaining ------------------------------------------------------------------------------ */

static const struct type_words {
    char type;
    const char *words;
} types[] = {
    { '0', "a file" },
    { '\0', "a file in the form of old tar" },
    { '1', "a hard link" },
    { '2', "a symbolic link" },
    { '3', "a character device" },
    { '4', "a block device" },
    { '5', "a folder" },
    { '6', "a fifo" },
    { '7', "a contiguous file" },
    { 'x', "a pax header" },
    { 'g', "a global pax header" },
    { 'L', "a GNU long name" },
    { 'K', "a GNU long link" },
    { 'S', "a GNU sparse file" },
};

static const char *type_words(unsigned char type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == (char)type)
            return types[i].words;
    return "an entry of unknown type";
}

/* The field's text with everything that is not plain ASCII as a dot: it is a stranger's. */
static const char *field_text(const unsigned char *block, enum field field, char out[160])
{
    size_t length = strnlen((const char *)block + fields[field].offset, fields[field].size);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = block[fields[field].offset + i];
        out[i] = byte >= 0x20 && byte < 0x7f ? (char)byte : '.';
    }
    out[length] = '\0';
    return out;
}

static bool is_all_zero(const unsigned char block[TAR_BLOCK])
{
    for (size_t i = 0; i < TAR_BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

/* In this order: what an entry is and is called says more than a checksum that follows from it. */
static const enum field telling[] = { TYPE,     NAME,     PREFIX, SIZE,    LINK,  MODE,
                                      UID,      GID,      MTIME,  UNAME,   GNAME, MAGIC,
                                      DEVMAJOR, DEVMINOR, REST,   CHECKSUM };

void tar_explain(const unsigned char found[TAR_BLOCK], const unsigned char expected[TAR_BLOCK],
                 struct error *why)
{
    char seen[160], wanted[160];
    if (is_all_zero(found)) {
        error_set(why, "the tar ends here");
        return;
    }
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
        const struct field_info *field = &fields[telling[i]];
        if (memcmp(found + field->offset, expected + field->offset, field->size) == 0)
            continue;
        if (telling[i] == TYPE)
            error_set(why, "%s (\"%s\"), expected %s", type_words(found[field->offset]),
                      field_text(found, NAME, seen), type_words(expected[field->offset]));
        else
            error_set(why, "the header's %s is \"%s\", expected \"%s\"", field->words,
                      field_text(found, telling[i], seen),
                      field_text(expected, telling[i], wanted));
        return;
    }
    error_set(why, "nothing differs");
}
