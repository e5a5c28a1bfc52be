/* CSV tables; see csv.h. */
#include "data/csv.h"

#include "base/file.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST_TABLE = 1 << 30 };
static const char byte_order_mark[] = "\xef\xbb\xbf";

struct scanner {
    const char *at, *end, *path;
    size_t line;
    struct arena *arena;
};

/* The field between the quote at `at` and the one that ends it; leaves `at` behind that. */
static bool quoted_field(struct scanner *scanner, const char **at, char **field, struct error *err)
{
    const char *first = *at + 1, *last = first, *end = scanner->end;
    while (last < end && (*last != '"' || (last + 1 < end && last[1] == '"')))
        last += *last == '"' ? 2 : 1; /* a doubled quote stands for one */
    if (last >= end)
        return error_set(err, "%s:%zu: a quoted field does not end", scanner->path, scanner->line);
    char *out = *field = arena_allocate(scanner->arena, (size_t)(last - first) + 1);
    for (const char *byte = first; byte < last; byte++) {
        scanner->line += *byte == '\n';
        byte += *byte == '"';
        *out++ = *byte;
    }
    *at = last + 1;
    return true;
}

/* One field; tells whether it was the last of its row. */
static bool next_field(struct scanner *scanner, char **field, bool *last, struct error *err)
{
    const char *start = scanner->at, *at = start, *end = scanner->end;
    if (at < end && *at == '"') {
        if (!quoted_field(scanner, &at, field, err))
            return false;
    } else {
        while (at < end && *at != ',' && *at != '\n' && *at != '\r')
            at++;
        *field = arena_substring(scanner->arena, start, (size_t)(at - start));
    }
    at += at + 1 < end && at[0] == '\r' && at[1] == '\n';
    if (at < end && *at != ',' && *at != '\n')
        return error_set(err,
                         "%s:%zu: unexpected text after a field; expected a comma or a new line",
                         scanner->path, scanner->line);
    *last = at == end || *at == '\n';
    scanner->at = at + (at < end);
    return true;
}

struct cells {
    const char **items;
    size_t count, capacity;
};

static bool read_row(struct scanner *scanner, struct cells *cells, size_t *width, struct error *err)
{
    bool last = false;
    scanner->line++;
    for (*width = 0; !last; ++*width) {
        char *field = NULL;
        if (!next_field(scanner, &field, &last, err))
            return false;
        ARRAY_RESERVE(cells->items, cells->count, cells->capacity);
        cells->items[cells->count++] = field;
    }
    return true;
}

static bool check_columns(const struct csv *table, const char *path, const char *const *required,
                          struct error *err)
{
    for (; *required; required++) {
        size_t found = 0;
        for (size_t i = 0; i < table->columns; i++)
            found += strcmp(table->names[i], *required) == 0;
        if (found != 1)
            return error_set(err, "%s:1: there %s column \"%s\"", path,
                             found ? "is more than one" : "is no", *required);
    }
    return true;
}

static bool read_table(struct scanner *scanner, struct csv *table, struct cells *cells,
                       struct error *err)
{
    if (!read_row(scanner, cells, &table->columns, err))
        return false;
    while (scanner->at < scanner->end) {
        size_t width;
        if (!read_row(scanner, cells, &width, err))
            return false;
        if (width != table->columns)
            return error_set(err, "%s:%zu: %zu fields, the header has %zu", scanner->path,
                             scanner->line, width, table->columns);
        table->rows++;
    }
    return true;
}

static bool check_text(const char *bytes, size_t size, const char *path, struct error *err)
{
    if (memchr(bytes, 0, size) || !text_is_utf8(bytes, size))
        return error_set(err, "%s: not UTF-8 text; save the table as CSV in UTF-8", path);
    return true;
}

bool csv_read(struct csv *table, const char *path, const char *const *required, struct arena *arena,
              struct error *err)
{
    *table = (struct csv){ 0 };
    size_t size;
    char *bytes = file_read(path, LARGEST_TABLE, &size, err);
    if (!bytes)
        return false;
    struct cells cells = { 0 };
    struct scanner scanner = { .at = bytes, .end = bytes + size, .path = path, .arena = arena };
    if (text_starts_with(bytes, byte_order_mark)) /* spreadsheets put it first */
        scanner.at += strlen(byte_order_mark);
    bool ok = scanner.at < scanner.end
                  ? check_text(bytes, size, path, err) && read_table(&scanner, table, &cells, err)
                  : error_set(err, "%s: empty; expected a header row", path);
    if (ok) {
        table->names = arena_array(arena, const char *, cells.count);
        memcpy(table->names, cells.items, cells.count * sizeof *cells.items);
        table->cells = table->names + table->columns;
        ok = check_columns(table, path, required, err);
    }
    free(cells.items);
    memory_free(bytes);
    return ok;
}

const char *csv_cell(const struct csv *table, size_t row, const char *column)
{
    for (size_t i = 0; i < table->columns; i++)
        if (strcmp(table->names[i], column) == 0)
            return table->cells[row * table->columns + i];
    BUG("a table without the column \"%s\"", column);
}
