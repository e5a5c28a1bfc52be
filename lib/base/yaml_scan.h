/* Where the keys of a YAML document stand, and what no plan of ours may hold: for yaml.c alone.
 *
 * libcyaml, which checks a document against a schema, tells no line of a key, does not say whether
 * a value was in quotes, and passes over tags, anchors without an alias, and every document of a
 * stream but the first. So libyaml's events are walked once before: what libcyaml would pass over
 * is refused, with line and column, and each key leaves a mark.
 */
#ifndef BASE_YAML_SCAN_H
#define BASE_YAML_SCAN_H

#include "base/arena.h"

enum { YAML_DEEPEST = 8 }; /* sections within sections */

struct yaml_place {
    size_t line, column; /* from 1 */
};

struct yaml_mark {
    struct yaml_mark *next;         /* in the order of the document */
    const struct yaml_mark *parent; /* the key of the section that it stands in; NULL at the top */
    const char *key;                /* of a section in a list: its number there, from 0 */
    struct yaml_place key_at, value_at;
    enum { YAML_IS_SCALAR, YAML_IS_LIST, YAML_IS_SECTION } value;
    const char *scalar; /* the value's text, when it is one */
    bool quoted;        /* in quotes, or a block */
};

/* All keys of the document, the first at *marks. False for a document that is empty, is not valid
 * YAML, is not a section, is followed by another, or holds aliases, anchors, tags, keys that are no
 * text, or list entries without a value. */
bool yaml_scan(const char *bytes, size_t size, const char *name, struct arena *arena,
               struct yaml_mark **marks, struct error *err) MUST_USE;

/* The mark of a key in a section from `marks` on, or NULL. */
const struct yaml_mark *yaml_mark_find(const struct yaml_mark *marks,
                                       const struct yaml_mark *parent, const char *key);

/* Whether a scalar, not in quotes, stands for no value at all: nothing, ~ or null. */
bool yaml_is_null(const char *scalar, bool quoted);

#endif
