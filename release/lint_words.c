/* Words that could lead back to a patient; see lint_words.h.
 *
 * Text is cut into words of letters, digits, "_", "-" and "." (and bytes above 127); every run of
 * parts of a word, as "Phantom_00001" in "Phantom_00001_t1.nii", is looked up among the names of
 * the source, in lower case, in a hash table. Dates and numbers are patterns, a row each. */
#include "release/lint_words.h"

#include "base/arena.h"

#include <ctype.h>
#include <string.h>

enum { LEAST_TABLE = 64, LONGEST_NAME = 128, MOST_PARTS = 16, LONGEST_FIND = 80 };

struct words {
    const char **table; /* open addressing; lower case */
    size_t count, capacity;
    const char **allowed;
    size_t allowed_count, allowed_capacity;
    struct arena arena;
};

struct words *words_new(void)
{
    struct words *words = memory_grow(NULL, 1, sizeof *words);
    *words = (struct words){ .capacity = LEAST_TABLE };
    arena_init(&words->arena);
    words->table = memory_grow(NULL, LEAST_TABLE, sizeof *words->table);
    memset(words->table, 0, LEAST_TABLE * sizeof *words->table);
    return words;
}

void words_free(struct words *words)
{
    if (!words)
        return;
    arena_release(&words->arena);
    memory_free(words->table);
    memory_free(words->allowed);
    memory_free(words);
}

void words_allow(struct words *words, const char *text)
{
    ARRAY_RESERVE(words->allowed, words->allowed_count, words->allowed_capacity);
    words->allowed[words->allowed_count++] = arena_string(&words->arena, text);
}

/* ---- names of the source --------------------------------------------------------------------- */

static bool in_word(unsigned char byte)
{
    return isalnum(byte) || byte == '_' || byte == '-' || byte == '.' || byte >= 0x80;
}

static bool is_seam(char byte)
{
    return byte == '_' || byte == '-' || byte == '.';
}

/* FNV-1a over the lower-case letters. */
static size_t slot_of(const struct words *words, const char *name, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)tolower((unsigned char)name[i])) * 0x100000001b3u;
    size_t slot = (size_t)hash & (words->capacity - 1);
    while (words->table[slot] && (strlen(words->table[slot]) != length ||
                                  strncasecmp(words->table[slot], name, length) != 0))
        slot = (slot + 1) & (words->capacity - 1);
    return slot;
}

static void grow(struct words *words)
{
    const char **old = words->table;
    size_t capacity = words->capacity;
    words->capacity = 2 * capacity;
    words->table = memory_grow(NULL, words->capacity, sizeof *words->table);
    memset(words->table, 0, words->capacity * sizeof *words->table);
    for (size_t i = 0; i < capacity; i++)
        if (old[i])
            words->table[slot_of(words, old[i], strlen(old[i]))] = old[i];
    memory_free(old);
}

static void add_name(struct words *words, const char *name, size_t length)
{
    if (2 * (words->count + 1) > words->capacity)
        grow(words);
    size_t slot = slot_of(words, name, length);
    if (words->table[slot])
        return;
    words->table[slot] = arena_substring(&words->arena, name, length);
    words->count++;
}

/* Whether a name tells a subject rather than a sequence, a number or a folder like "train": letters
 * with two digits or more, six digits, or one of capital and small letters as people's names are.
 */
static bool is_telling(const char *name, size_t length)
{
    size_t digits = 0, letters = 0;
    for (size_t i = 0; i < length; i++) {
        digits += isdigit((unsigned char)name[i]) != 0;
        letters += isalpha((unsigned char)name[i]) != 0 || (unsigned char)name[i] >= 0x80;
    }
    bool proper = length >= 5 && isupper((unsigned char)name[0]) &&
                  islower((unsigned char)name[1]) && !digits;
    return length < LONGEST_NAME &&
           (digits >= 6 || (digits >= 2 && letters >= 1 && length >= 5) || proper);
}

static size_t without_suffix(const char *name, size_t length)
{
    static const char *const suffixes[] = { ".gz", ".nii", ".png", ".npy", ".dcm", ".img", ".hdr" };
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t size = strlen(suffixes[i]);
        if (length > size && strncasecmp(name + length - size, suffixes[i], size) == 0)
            length -= size;
    }
    return length;
}

void words_add_source(struct words *words, const char *name)
{
    for (const char *at = name; *at;) {
        size_t length = 0;
        while (at[length] && in_word((unsigned char)at[length]))
            length++;
        size_t stem = without_suffix(at, length);
        if (is_telling(at, stem))
            add_name(words, at, stem);
        at += length ? length : 1;
    }
}

/* ---- findings -------------------------------------------------------------------------------- */

struct scan {
    const struct words *words;
    enum words_kind kind;
    const char *where, *text;
    size_t length;
    struct text *findings;
};

static bool is_allowed(const struct words *words, const char *find, size_t length)
{
    for (size_t i = 0; i < words->allowed_count; i++)
        if (memmem(words->allowed[i], strlen(words->allowed[i]), find, length))
            return true;
    return false;
}

static void report(const struct scan *scan, size_t at, size_t length, const char *what)
{
    if (is_allowed(scan->words, scan->text + at, length))
        return;
    text_format(scan->findings, "%s: %s: \"%.*s\"\n", scan->where, what,
                (int)(length < LONGEST_FIND ? length : LONGEST_FIND), scan->text + at);
}

/* Every run of parts of the word at [begin, end), longest first from each part on. */
static void look_up(const struct scan *scan, size_t begin, size_t end)
{
    size_t starts[MOST_PARTS], ends[MOST_PARTS], parts = 0;
    for (size_t at = begin; at < end && parts < MOST_PARTS;) {
        starts[parts] = at;
        while (at < end && !is_seam(scan->text[at]))
            at++;
        ends[parts] = at++;
        parts += ends[parts] > starts[parts];
    }
    for (size_t first = 0; first < parts; first++)
        for (size_t last = parts; last-- > first;) {
            size_t length = ends[last] - starts[first];
            const char *name = scan->text + starts[first];
            if (!scan->words->table[slot_of(scan->words, name, length)])
                continue;
            report(scan, starts[first], length, "a name of the source data");
            first = last;
            break;
        }
}

static void scan_names(const struct scan *scan)
{
    for (size_t at = 0; scan->words->count && at < scan->length;) {
        size_t begin = at;
        while (at < scan->length && in_word((unsigned char)scan->text[at]))
            at++;
        if (at > begin)
            look_up(scan, begin, at);
        else
            at++;
    }
}

/* ---- patterns -------------------------------------------------------------------------------- */

static int number(const char *digits, int count)
{
    int value = 0;
    while (count--)
        value = 10 * value + (*digits++ - '0');
    return value;
}

static bool is_day(int year, int month, int day)
{
    return year >= 1900 && year < 2100 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

static bool year_first(const char *s)
{
    return is_day(number(s, 4), number(s + 5, 2), number(s + 8, 2));
}

static bool year_last(const char *s)
{
    int a = number(s, 2), b = number(s + 3, 2), year = number(s + 6, 4);
    return is_day(year, a, b) || is_day(year, b, a);
}

static bool compact(const char *s)
{
    return is_day(number(s, 4), number(s + 4, 2), number(s + 6, 2));
}

static bool short_compact(const char *s)
{
    return is_day(1900 + number(s, 2), number(s + 2, 2), number(s + 4, 2));
}

static const struct pattern {
    const char *form; /* 0: a digit; all else stands for itself */
    bool (*holds)(const char *text);
    bool values_only;
    const char *what;
} patterns[] = {
    { "0000-00-00", year_first, false, "a date" },
    { "0000/00/00", year_first, false, "a date" },
    { "0000.00.00", year_first, false, "a date" },
    { "00/00/0000", year_last, false, "a date" },
    { "00.00.0000", year_last, false, "a date" },
    { "00-00-0000", year_last, false, "a date" },
    { "00000000-0000", compact, false, "a personal number" },
    { "000000-0000", short_compact, false, "a personal number" },
    { "000000+0000", short_compact, false, "a personal number" },
    { "00000000", compact, true, "a date" },
    { "000000000000", compact, true, "a personal number" },
};

static size_t match(const struct scan *scan, size_t at, const char *form)
{
    size_t length = strlen(form);
    if (length > scan->length - at)
        return 0;
    for (size_t i = 0; i < length; i++) {
        char byte = scan->text[at + i];
        if (form[i] == '0' ? !isdigit((unsigned char)byte) : byte != form[i])
            return 0;
    }
    bool more = at + length < scan->length && isalnum((unsigned char)scan->text[at + length]) &&
                scan->text[at + length] != 'T'; /* the time may follow a date */
    return more ? 0 : length;
}

/* Numbers joined by dots, six or more, as DICOM's identifiers are; a version has three or four. */
static size_t match_uid(const struct scan *scan, size_t at)
{
    size_t end = at, dots = 0;
    while (end < scan->length && (isdigit((unsigned char)scan->text[end]) ||
                                  (scan->text[end] == '.' && end + 1 < scan->length &&
                                   isdigit((unsigned char)scan->text[end + 1])))) {
        dots += scan->text[end] == '.';
        end++;
    }
    return dots >= 5 ? end - at : 0;
}

static bool scan_number(const struct scan *scan, size_t at, size_t *taken)
{
    *taken = match_uid(scan, at);
    if (*taken) {
        report(scan, at, *taken, "a DICOM identifier");
        return true;
    }
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        *taken = match(scan, at, patterns[i].form);
        if (*taken && patterns[i].holds(scan->text + at) &&
            (!patterns[i].values_only || scan->kind == WORDS_VALUES)) {
            report(scan, at, *taken, patterns[i].what);
            return true;
        }
    }
    return false;
}

static void scan_numbers(const struct scan *scan)
{
    for (size_t at = 0; at < scan->length;) {
        size_t taken;
        bool begins = isdigit((unsigned char)scan->text[at]) &&
                      (!at || !isalnum((unsigned char)scan->text[at - 1]));
        at += begins && scan_number(scan, at, &taken) ? taken : 1;
    }
}

static bool is_address_byte(unsigned char byte)
{
    return isalnum(byte) || byte == '.' || byte == '_' || byte == '-' || byte == '+';
}

static void scan_addresses(const struct scan *scan)
{
    for (size_t at = 1; at + 1 < scan->length; at++) {
        if (scan->text[at] != '@')
            continue;
        size_t begin = at, end = at + 1;
        bool dot = false;
        while (begin && is_address_byte((unsigned char)scan->text[begin - 1]))
            begin--;
        while (end < scan->length && is_address_byte((unsigned char)scan->text[end]))
            dot |= scan->text[end++] == '.';
        if (begin < at && dot)
            report(scan, begin, end - begin, "an e-mail address");
    }
}

/* "/a/b" or "C:\b" at the beginning of a word; not the slash of "and/or", "</p>" or a URL. */
static bool begins_path(const struct scan *scan, size_t at)
{
    const char *text = scan->text + at;
    size_t left = scan->length - at;
    if (at && !strchr(" \t\n\"'=(,;", scan->text[at - 1]))
        return false;
    if (left > 3 && isalpha((unsigned char)text[0]) && text[1] == ':' &&
        (text[2] == '\\' || (text[2] == '/' && text[3] != '/')))
        return true;
    if (left > 3 && text[0] == '\\' && text[1] == '\\' && isalnum((unsigned char)text[2]))
        return true;
    if (text[0] != '/' || left < 4 || !isalpha((unsigned char)text[1]))
        return false;
    size_t length = 1;
    while (length < left && in_word((unsigned char)text[length]))
        length++;
    return length < left && text[length] == '/';
}

static void scan_paths(const struct scan *scan)
{
    for (size_t at = 0; at < scan->length; at++) {
        bool url = scan->length - at > 7 && strncmp(scan->text + at, "file://", 7) == 0;
        if (!url && !begins_path(scan, at))
            continue;
        size_t end = at;
        while (end < scan->length && !strchr(" \t\n\"'),;<", scan->text[end]))
            end++;
        report(scan, at, end - at, "a path of a machine");
        at = end;
    }
}

void words_scan(const struct words *words, enum words_kind kind, const char *where,
                const char *text, size_t length, struct text *findings)
{
    const struct scan scan = { words, kind, where, text, length, findings };
    scan_names(&scan);
    scan_numbers(&scan);
    scan_addresses(&scan);
    scan_paths(&scan);
}
