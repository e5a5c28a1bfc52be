/* What the files of a release's metadata share: card.c, card_crate.c, card_croissant.c. */
#ifndef RELEASE_CARD_PARTS_H
#define RELEASE_CARD_PARTS_H

#include "base/json.h"
#include "base/text.h"
#include "release/card.h"

struct writing {
    const struct card *card;
    struct tree *tree;
    struct arena *arena;
    char date[16];
    uint64_t payload_bytes, payload_files;
};

/* What the steward said, or what stands there where nothing was. */
const char *card_title(const struct card *card);
const char *card_description(const struct writing *writing);
const char *card_licence(const struct card *card); /* an SPDX identifier, or an address */
/* An SPDX identifier becomes its page; what is an address already stays one. */
const char *card_licence_url(const struct writing *writing);

/* { key: value }. */
struct json *card_object(const char *key, const char *value);
/* { "@type": type, "@id": id }. */
struct json *card_entity(const char *type, const char *id);
struct json *card_texts(const struct yaml_strings *list);
/* The creators: { type_key: type, "name": … } each. */
struct json *card_people(const struct card *card, const char *type_key, const char *type);

/* Sorts the document's keys, adds it to the tree, and frees it. */
bool card_add_json(struct writing *writing, const char *path, struct json *document,
                   struct error *err) MUST_USE;

bool card_write_crate(struct writing *writing, struct error *err) MUST_USE;
/* `found`: the labels that occur. */
bool card_write_croissant(struct writing *writing, const bool found[256],
                          struct error *err) MUST_USE;

#endif
