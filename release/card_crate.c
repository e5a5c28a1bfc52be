/* RO-Crate 1.1: what is in the tree, who made it and how; see card.h. */
#include "release/card_parts.h"

#include <string.h>

static const struct part {
    const char *path, *name, *type; /* type: of the media */
} parts[] = {
    { "CITATION.cff", "How to cite", "application/yaml" },
    { "LICENSE", "Terms of use", "text/plain" },
    { "README.md", "Data card", "text/markdown" },
    { "aida.md", "Record for the AIDA Data Hub", "text/markdown" },
    { "croissant.json", "Croissant description", "application/ld+json" },
    { "dataset_description.json", "BIDS description", "application/json" },
    { "participants.json", "Columns of participants.tsv", "application/json" },
    { "participants.tsv", "One row an image", "text/tab-separated-values" },
    { "policy.json", "Limits, and what was measured", "application/json" },
    { "report.html", "Public report of the audit", "text/html" },
};

static struct json *crate_descriptor(void)
{
    struct json *object = card_entity("CreativeWork", "ro-crate-metadata.json");
    json_put(object, "about", card_object("@id", "./"));
    json_put(object, "conformsTo", card_object("@id", "https://w3id.org/ro/crate/1.1"));
    return object;
}

static const char *person_id(const struct writing *writing, size_t i)
{
    return arena_format(writing->arena, "#creator-%zu", i + 1);
}

/* One author stands alone, several as a list. */
static void add_authors(const struct writing *writing, struct json *root)
{
    size_t count = writing->card->settings->creators.count;
    if (count == 1)
        json_put(root, "author", card_object("@id", person_id(writing, 0)));
    if (count < 2)
        return;
    struct json *authors = json_new_array();
    for (size_t i = 0; i < count; i++)
        json_push(authors, card_object("@id", person_id(writing, i)));
    json_put(root, "author", authors);
}

static struct json *crate_root(const struct writing *writing)
{
    const struct card *card = writing->card;
    struct json *root = card_entity("Dataset", "./"), *has = json_new_array();
    json_put_string(root, "name", card_title(card));
    json_put_string(root, "description", card_description(writing));
    json_put_string(root, "datePublished", writing->date);
    json_put_string(root, "version", card->version);
    json_put_string(root, "identifier",
                    arena_format(writing->arena, "%s-%s", card->name, card->version));
    json_put(root, "license", card_object("@id", card_licence_url(writing)));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (card->report || strcmp(parts[i].path, "report.html") != 0)
            json_push(has, card_object("@id", parts[i].path));
    json_put(root, "hasPart", has);
    add_authors(writing, root);
    if (card->settings->publisher)
        json_put(root, "publisher", card_object("@id", "#publisher"));
    json_put(root, "keywords", card_texts(&card->settings->keywords));
    return root;
}

static void add_crate_parts(const struct writing *writing, struct json *graph)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!writing->card->report && strcmp(parts[i].path, "report.html") == 0)
            continue;
        struct json *file = card_entity("File", parts[i].path);
        json_put_string(file, "name", parts[i].name);
        json_put_string(file, "encodingFormat", parts[i].type);
        json_push(graph, file);
    }
}

static void add_crate_people(const struct writing *writing, struct json *graph)
{
    const struct card_settings *settings = writing->card->settings;
    for (size_t i = 0; i < settings->creators.count; i++) {
        struct json *person = card_entity("Person", person_id(writing, i));
        json_put_string(person, "name", settings->creators.items[i]);
        json_push(graph, person);
    }
    if (settings->publisher) {
        struct json *publisher = card_entity("Organization", "#publisher");
        json_put_string(publisher, "name", settings->publisher);
        json_push(graph, publisher);
    }
    if (strcmp(card_licence_url(writing), "LICENSE") != 0) {
        struct json *licence = card_entity("CreativeWork", card_licence_url(writing));
        json_put_string(licence, "name", card_licence(writing->card));
        json_put_string(licence, "description", "The licence of these data.");
        json_push(graph, licence);
    }
}

/* That a program made the images is what Article 50(2) of the EU's AI Act wants machines to read.
 */
static void add_crate_provenance(struct json *graph)
{
    struct json *tool = card_entity("SoftwareApplication", "#lethe");
    json_put_string(tool, "name", "lethe");
    json_put_string(tool, "version", LETHE_VERSION);
    json_push(graph, tool);
    struct json *action = card_entity("CreateAction", "#generation");
    json_put_string(action, "name", "Synthetic images made by a generative model");
    json_put(action, "instrument", card_object("@id", "#lethe"));
    json_put(action, "result", card_object("@id", "./"));
    json_push(graph, action);
}

bool card_write_crate(struct writing *writing, struct error *err)
{
    struct json *document = card_object("@context", "https://w3id.org/ro/crate/1.1/context");
    struct json *graph = json_new_array();
    json_push(graph, crate_descriptor());
    json_push(graph, crate_root(writing));
    add_crate_parts(writing, graph);
    add_crate_people(writing, graph);
    add_crate_provenance(graph);
    json_put(document, "@graph", graph);
    return card_add_json(writing, "data/ro-crate-metadata.json", document, err);
}
