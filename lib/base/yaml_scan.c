/* The whole contact surface with libyaml; see yaml_scan.h. */
#include "base/yaml_scan.h"

#include <string.h>

#include <yaml.h>

enum { MOST_KEYS = 10000 }; /* bounds the memory that a hostile document can take */

struct scan {
    yaml_parser_t parser;
    const char *bytes, *name;
    size_t size;
    struct arena *arena;
    struct yaml_mark **last; /* where the next mark goes */
    size_t keys;
    struct error *err;
};

static struct yaml_place place_of(yaml_mark_t mark)
{
    return (struct yaml_place){ mark.line + 1, mark.column + 1 };
}

static bool refuse(struct scan *scan, const yaml_event_t *event, const char *reason)
{
    struct yaml_place at = place_of(event->start_mark);
    return error_set(scan->err, "%s:%zu:%zu: %s", scan->name, at.line, at.column, reason);
}

/* What editors put there, and libyaml's words do not help with. */
static bool is_indented_by_tab(const struct scan *scan, size_t line)
{
    const char *at = scan->bytes, *end = at + scan->size;
    while (at < end && line > 1)
        line -= *at++ == '\n';
    while (at < end && *at == ' ')
        at++;
    return at < end && *at == '\t';
}

/* libyaml's reader tells an offset in bytes, its scanner and parser a line and a column. */
static bool syntax_error(struct scan *scan)
{
    const yaml_parser_t *parser = &scan->parser;
    const char *problem = parser->problem ? parser->problem : "out of memory";
    struct yaml_place at = place_of(parser->problem_mark);
    if (parser->error == YAML_READER_ERROR) {
        at = (struct yaml_place){ 1, 1 };
        for (size_t i = 0; i < parser->problem_offset; i++, at.column++)
            if (scan->bytes[i] == '\n')
                at = (struct yaml_place){ at.line + 1, 0 };
    }
    bool tab = parser->error == YAML_SCANNER_ERROR && is_indented_by_tab(scan, at.line);
    return error_set(scan->err, "%s:%zu:%zu: not valid YAML: %s%s%s%s", scan->name, at.line,
                     at.column, parser->context ? parser->context : "", parser->context ? ", " : "",
                     problem, tab ? " (a tab: YAML is indented with blanks)" : "");
}

/* The next event, if it is one that we take; the caller deletes it. */
static bool next_event(struct scan *scan, yaml_event_t *event)
{
    if (!yaml_parser_parse(&scan->parser, event))
        return syntax_error(scan);
    const char *reason = NULL;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
            reason = "text with a zero byte inside is not accepted";
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor || event->type == YAML_ALIAS_EVENT)
        reason = "anchors and aliases (&name, *name) are not accepted; write the value out";
    else if (tag)
        reason = "tags (!name) are not accepted; leave it out";
    if (!reason)
        return true;
    refuse(scan, event, reason);
    yaml_event_delete(event);
    return false;
}

bool yaml_is_null(const char *scalar, bool quoted)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL" };
    for (size_t i = 0; !quoted && i < sizeof words / sizeof *words; i++)
        if (strcmp(scalar, words[i]) == 0)
            return true;
    return false;
}

static const char *scalar_text(const yaml_event_t *event)
{
    return (const char *)event->data.scalar.value;
}

static bool is_quoted(const yaml_event_t *event)
{
    return event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
}

static struct yaml_mark *new_mark(struct scan *scan, const struct yaml_mark *parent,
                                  const yaml_event_t *event, const char *key)
{
    if (++scan->keys > MOST_KEYS) {
        refuse(scan, event, "more keys than any document of this kind has");
        return NULL;
    }
    struct yaml_mark *mark = arena_new(scan->arena, struct yaml_mark);
    mark->parent = parent;
    mark->key = key;
    mark->key_at = place_of(event->start_mark);
    *scan->last = mark;
    scan->last = &mark->next;
    return mark;
}

static struct yaml_mark *add_mark(struct scan *scan, const struct yaml_mark *parent,
                                  const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT)
        return new_mark(scan, parent, event, arena_string(scan->arena, scalar_text(event)));
    refuse(scan, event, "a key has to be text");
    return NULL;
}

static bool scan_section(struct scan *scan, const struct yaml_mark *parent, int depth);

static bool scan_entry(struct scan *scan, const struct yaml_mark *list, const yaml_event_t *event,
                       size_t number, int depth)
{
    if (depth >= YAML_DEEPEST)
        return refuse(scan, event, "nested too deeply");
    struct yaml_mark *mark = new_mark(scan, list, event, arena_format(scan->arena, "%zu", number));
    if (!mark)
        return false;
    mark->value_at = mark->key_at;
    mark->value = YAML_IS_SECTION;
    return scan_section(scan, mark, depth + 1);
}

/* Lists are walked for what may not be in them; what may be is the schema's question. An entry that
 * is a section gets a mark under the list's, with its number from 0 as the key. */
static bool scan_list(struct scan *scan, const struct yaml_mark *list, int depth)
{
    size_t entry = 0;
    for (int inner = 1; inner > 0;) {
        yaml_event_t event;
        if (!next_event(scan, &event))
            return false;
        bool ok = true, section = event.type == YAML_MAPPING_START_EVENT && inner == 1;
        if (section)
            ok = scan_entry(scan, list, &event, entry++, depth);
        else if (event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT)
            ok = ++inner < YAML_DEEPEST || refuse(scan, &event, "nested too deeply");
        else if (event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT)
            inner--;
        else if (inner == 1 && yaml_is_null(scalar_text(&event), is_quoted(&event)))
            ok = refuse(scan, &event, "this list entry has no value");
        entry += inner == 1 && event.type == YAML_SCALAR_EVENT;
        yaml_event_delete(&event);
        if (!ok)
            return false;
    }
    return true;
}

static bool scan_value(struct scan *scan, struct yaml_mark *mark, int depth)
{
    yaml_event_t event;
    if (!next_event(scan, &event))
        return false;
    mark->value_at = place_of(event.start_mark);
    bool deep = event.type == YAML_MAPPING_START_EVENT && depth == YAML_DEEPEST;
    if (deep)
        refuse(scan, &event, "nested too deeply");
    yaml_event_type_t type = event.type;
    if (type == YAML_SCALAR_EVENT) {
        mark->scalar = arena_string(scan->arena, scalar_text(&event));
        mark->quoted = is_quoted(&event);
    }
    yaml_event_delete(&event);
    if (deep || type == YAML_SCALAR_EVENT)
        return !deep;
    mark->value = type == YAML_MAPPING_START_EVENT ? YAML_IS_SECTION : YAML_IS_LIST;
    return mark->value == YAML_IS_SECTION ? scan_section(scan, mark, depth + 1)
                                          : scan_list(scan, mark, depth + 1);
}

static bool scan_section(struct scan *scan, const struct yaml_mark *parent, int depth)
{
    for (;;) {
        yaml_event_t event;
        if (!next_event(scan, &event))
            return false;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        struct yaml_mark *mark = end ? NULL : add_mark(scan, parent, &event);
        yaml_event_delete(&event);
        if (end)
            return true;
        if (!mark || !scan_value(scan, mark, depth))
            return false;
    }
}

/* One event that has to be of this type; otherwise `reason`. */
static bool expect(struct scan *scan, yaml_event_type_t type, const char *reason)
{
    yaml_event_t event;
    if (!next_event(scan, &event))
        return false;
    bool ok = event.type == type || refuse(scan, &event, reason);
    yaml_event_delete(&event);
    return ok;
}

static bool scan_stream(struct scan *scan)
{
    static const char empty[] = "empty; expected keys and values";
    return expect(scan, YAML_STREAM_START_EVENT, empty) &&
           expect(scan, YAML_DOCUMENT_START_EVENT, empty) &&
           expect(scan, YAML_MAPPING_START_EVENT, "expected keys and values") &&
           scan_section(scan, NULL, 1) && expect(scan, YAML_DOCUMENT_END_EVENT, "") &&
           expect(
               scan, YAML_STREAM_END_EVENT,
               "a second document begins here, which would be ignored; remove it or its \"---\"");
}

bool yaml_scan(const char *bytes, size_t size, const char *name, struct arena *arena,
               struct yaml_mark **marks, struct error *err)
{
    struct scan scan = {
        .bytes = bytes, .size = size, .name = name, .arena = arena, .last = marks, .err = err
    };
    *marks = NULL;
    CHECK(yaml_parser_initialize(&scan.parser), "out of memory: libyaml's parser");
    yaml_parser_set_input_string(&scan.parser, (const unsigned char *)bytes, size);
    /* The encoding is given: a byte order mark must not turn a document into UTF-16 for one of the
     * two libraries that read it. */
    yaml_parser_set_encoding(&scan.parser, YAML_UTF8_ENCODING);
    bool ok = scan_stream(&scan);
    yaml_parser_delete(&scan.parser);
    return ok;
}

const struct yaml_mark *yaml_mark_find(const struct yaml_mark *marks,
                                       const struct yaml_mark *parent, const char *key)
{
    for (; marks; marks = marks->next)
        if (marks->parent == parent && strcmp(marks->key, key) == 0)
            return marks;
    return NULL;
}
