/* What a release says of itself, but for the bag's own files (bag.c); see card.h. */
#include "release/card.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#define SPDX       "https://spdx.org/licenses/"
#define UNLICENSED "LicenseRef-All-Rights-Reserved"

struct writing {
    const struct card *card;
    struct tree *tree;
    struct arena *arena;
    char date[16];
    uint64_t payload_bytes, payload_files;
};

const char *card_date(int64_t created, char text[16])
{
    struct tm day;
    time_t time = (time_t)created;
    gmtime_r(&time, &day);
    strftime(text, 16, "%Y-%m-%d", &day);
    return text;
}

static const char *title_of(const struct card *card)
{
    return card->settings->title ? card->settings->title : card->name;
}

static const char *description_of(const struct writing *writing)
{
    const struct card *card = writing->card;
    const struct dataset *store = card->payload->store;
    if (card->settings->description)
        return card->settings->description;
    return arena_format(writing->arena,
                        "%zu synthetic %s images of %zu × %zu pixels in %zu channels%s. %s",
                        card->payload->count, card->settings->modality, store->height, store->width,
                        store->channels, store->masks ? ", with label maps" : "",
                        "They were made by a generative model and show no patient.");
}

static const char *licence_of(const struct card *card)
{
    return card->settings->licence ? card->settings->licence : UNLICENSED;
}

/* An SPDX identifier becomes its page; what is an address already stays one. */
static const char *licence_url(const struct writing *writing)
{
    const char *licence = licence_of(writing->card);
    if (strstr(licence, "://"))
        return licence;
    if (text_starts_with(licence, "LicenseRef-"))
        return "LICENSE";
    return arena_format(writing->arena, SPDX "%s", licence);
}

static bool add_text(struct writing *writing, const char *path, struct text *text,
                     struct error *err)
{
    bool ok = tree_add(writing->tree, path, text->bytes ? text->bytes : "", text->length, err);
    text_release(text);
    return ok;
}

/* Sorts the document's keys, adds it, and frees it. */
static bool add_json(struct writing *writing, const char *path, struct json *document,
                     struct error *err)
{
    json_sort(document);
    char *text = json_text(document);
    bool ok = tree_add(writing->tree, path, text, strlen(text), err);
    memory_free(text);
    json_free(document);
    return ok;
}

static struct json *object_of(const char *key, const char *value)
{
    struct json *object = json_new_object();
    json_put_string(object, key, value);
    return object;
}

static struct json *texts(const struct yaml_strings *list)
{
    struct json *array = json_new_array();
    for (size_t i = 0; i < list->count; i++)
        json_push_string(array, list->items[i]);
    return array;
}

static struct json *people(const struct card *card, const char *type_key, const char *type)
{
    struct json *array = json_new_array();
    for (size_t i = 0; i < card->settings->creators.count; i++) {
        struct json *person = object_of(type_key, type);
        json_put_string(person, "name", card->settings->creators.items[i]);
        json_push(array, person);
    }
    return array;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void add_policy_table(const struct card *card, struct text *text)
{
    text_add(text, "| metric | bound | limit | measured |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < card->result_count; i++) {
        const struct policy_result *result = &card->results[i];
        text_format(text, "| `%s` | %s | %s %.6g | %.6g |\n", result->row->metric,
                    policy_bound_names[result->row->bound], policy_rule_words(result->row),
                    result->row->limit, result->value);
    }
}

static void add_contents(const struct writing *writing, struct text *text)
{
    static const char *const forms[PAYLOAD_COUNT] = {
        [PAYLOAD_NIFTI] = "NIfTI (`.nii.gz`), a folder an image, label maps as `_dseg`",
        [PAYLOAD_PNG] = "PNG in `sourcedata/png/`, label maps as `_seg`",
        [PAYLOAD_NPY] = "NumPy arrays (N, C, H, W) in `sourcedata/npy/`, label maps beside them",
    };
    const struct card *card = writing->card;
    const struct dataset *store = card->payload->store;
    text_format(text, "- %zu images, %zu × %zu pixels of %g mm, %s, as %s\n- channels:",
                card->payload->count, store->height, store->width, card->format->spacing,
                element_info[store->type].name, forms[card->format->format]);
    for (size_t i = 0; i < store->channels; i++)
        text_format(text, "%s %s", i ? "," : "", store->channel_names[i]);
    text_add(text, store->masks ? "\n- label maps: one for each image\n" : "\n- no label maps\n");
    if (card->removed)
        text_format(
            text, "- %zu images that the audit flagged were left out; their numbers are missing\n",
            card->removed);
    if (card->model)
        text_format(text, "- made by: %s\n", card->model);
}

static bool write_readme(struct writing *writing, struct error *err)
{
    const struct card *card = writing->card;
    struct text text = { 0 };
    text_format(&text, "# %s\n\n%s\n\n", title_of(card), description_of(writing));
    text_format(&text, "Version %s, released %s. Every image is synthetic (%s).\n\n", card->version,
                writing->date, "each file says so where its format has room for it");
    text_add(&text, "## What is in it\n\n");
    add_contents(writing, &text);
    text_add(&text,
             "\n## What was checked\n\nThe images were audited for copies of the images that "
             "the generator was trained on. This release was packed because the audit met "
             "these limits, which had been fixed before it ran:\n\n");
    add_policy_table(card, &text);
    text_format(&text,
                "\nThe limits and what was measured stand in `policy.json`%s. An audit finds "
                "copies of the kinds that it looks for; it does not prove that no other "
                "trace of a patient exists.\n",
                card->report ? ", the audit's report in `report.html`" : "");
    text_add(&text, "\n## Use\n\nFor research and teaching. Not for diagnosis, and not as "
                    "evidence of how often something occurs in patients: a generator's images "
                    "follow the data it was trained on, its gaps and its biases included.\n");
    text_format(&text, "\n## Terms\n\nLicence: %s (`LICENSE`). To cite: `CITATION.cff`.%s%s\n",
                licence_of(card), card->settings->contact ? " Contact: " : "",
                card->settings->contact ? card->settings->contact : "");
    text_add(&text, "\n## Checking this copy\n\nThis folder is a BagIt bag: any BagIt tool can "
                    "check that it is complete. Who vouches for it is told by the signatures that "
                    "came beside the archive: `lethe verify`.\n");
    return add_text(writing, "data/README.md", &text, err);
}

static bool write_licence(struct writing *writing, struct error *err)
{
    const struct card *card = writing->card;
    struct text text = { 0 };
    text_format(&text, "%s, version %s\n", title_of(card), card->version);
    for (size_t i = 0; i < card->settings->creators.count; i++)
        text_format(&text, "Copyright %.4s %s\n", writing->date, card->settings->creators.items[i]);
    text_format(&text, "SPDX-License-Identifier: %s\n", licence_of(card));
    if (!card->settings->licence)
        text_add(&text, "\nNo licence has been given: ask before you use these data.\n");
    else if (!text_starts_with(licence_url(writing), "LICENSE"))
        text_format(&text, "\nThe text of the licence: %s\n", licence_url(writing));
    return add_text(writing, "data/LICENSE", &text, err);
}

/* A text in quotes as JSON writes it, which YAML reads. */
static void add_quoted(struct text *text, const char *value)
{
    struct json *list = json_new_array();
    json_push_string(list, value);
    char *line = json_line(list); /* ["…"] and a line end */
    text_add_bytes(text, line + 1, strlen(line) - 3);
    memory_free(line);
    json_free(list);
}

static void add_pair(struct text *text, const char *key, const char *value)
{
    if (!value)
        return;
    text_format(text, "%s: ", key);
    add_quoted(text, value);
    text_add(text, "\n");
}

static bool write_citation(struct writing *writing, struct error *err)
{
    const struct card *card = writing->card;
    const struct yaml_strings *creators = &card->settings->creators;
    struct text text = { 0 };
    add_pair(&text, "abstract", description_of(writing));
    text_add(&text, "authors:\n");
    for (size_t i = 0; i < creators->count || i == 0; i++) {
        text_add(&text, "  - name: ");
        add_quoted(&text, creators->count ? creators->items[i] : title_of(card));
        text_add(&text, "\n");
    }
    add_pair(&text, "cff-version", "1.2.0");
    add_pair(&text, "date-released", writing->date);
    if (!strstr(licence_of(card), "://") && !text_starts_with(licence_of(card), "LicenseRef-"))
        add_pair(&text, "license", licence_of(card));
    add_pair(&text, "message", "If you use these data, please cite them as below.");
    add_pair(&text, "title", title_of(card));
    add_pair(&text, "type", "dataset");
    add_pair(&text, "url", card->settings->url);
    add_pair(&text, "version", card->version);
    return add_text(writing, "data/CITATION.cff", &text, err);
}

/* ---- BIDS ------------------------------------------------------------------------------------ */

/* Beside CITATION.cff the description may hold neither authors nor licence. One sidecar at the top
 * speaks for all images of a suffix. */
static bool write_sidecars(struct writing *writing, struct error *err)
{
    const struct dataset *store = writing->card->payload->store;
    const char *written[64];
    size_t count = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < store->channels && i < 64; i++) {
        const char *name = payload_suffix(store->channel_names[i], writing->arena);
        const char *suffix = strrchr(name, '_') ? strrchr(name, '_') + 1 : name;
        bool again = false;
        for (size_t j = 0; j < count; j++)
            again = again || strcmp(written[j], suffix) == 0;
        if (again)
            continue;
        written[count++] = suffix;
        struct json *sidecar = json_new_object();
        json_put_bool(sidecar, "SkullStripped", writing->card->settings->skull_stripped);
        json_put_string(sidecar, "Description", SYNTHETIC_PHRASE);
        ok = add_json(writing, arena_format(writing->arena, "data/%s.json", suffix), sidecar, err);
    }
    return ok;
}

static bool write_bids(struct writing *writing, struct error *err)
{
    const struct card *card = writing->card;
    struct json *document = json_new_object(), *made_by = json_new_array();
    struct json *tool = object_of("Name", "lethe");
    json_put_string(tool, "Version", LETHE_VERSION);
    json_put_string(tool, "Description", "synthetic images, sampled, audited and packed");
    json_push(made_by, tool);
    json_put_string(document, "Name", title_of(card));
    json_put_string(document, "BIDSVersion", "1.9.0");
    json_put_string(document, "DatasetType", "derivative");
    json_put(document, "GeneratedBy", made_by);
    if (!add_json(writing, "data/dataset_description.json", document, err))
        return false;
    static const char ignored[] = "aida.md\ncroissant.json\npolicy.json\nreport.html\n"
                                  "ro-crate-metadata.json\nincluded/\n";
    return tree_add(writing->tree, "data/.bidsignore", ignored, sizeof ignored - 1, err) &&
           (card->format->format != PAYLOAD_NIFTI || write_sidecars(writing, err));
}

/* Labels that occur anywhere in the images that are packed. */
static void find_labels(const struct payload *payload, bool found[256])
{
    size_t pixels = payload->store->height * payload->store->width;
    memset(found, 0, 256 * sizeof *found);
    for (size_t i = 0; payload->store->masks && i < payload->count; i++) {
        const uint8_t *labels = payload->store->masks + payload->images[i] * pixels;
        for (size_t j = 0; j < pixels; j++)
            found[labels[j]] = true;
    }
    found[0] = false;
}

static void add_label_counts(const struct payload *payload, size_t image, const bool found[256],
                             struct text *text)
{
    size_t pixels = payload->store->height * payload->store->width, counts[256] = { 0 };
    const uint8_t *labels = payload->store->masks + image * pixels;
    for (size_t i = 0; i < pixels; i++)
        counts[labels[i]]++;
    for (int label = 0; label < 256; label++)
        if (found[label])
            text_format(text, "\t%zu", counts[label]);
}

static struct json *column_json(const char *description)
{
    return object_of("Description", description);
}

/* One row an image: who looks for tumours need not open the files. */
static bool write_participants(struct writing *writing, const bool found[256], struct error *err)
{
    const struct payload *payload = writing->card->payload;
    struct text text = { 0 };
    struct json *columns = json_new_object();
    text_add(&text, "participant_id\tsynthetic");
    json_put(columns, "synthetic", column_json("Always true: no image shows a patient."));
    for (int label = 0; label < 256; label++)
        if (found[label]) {
            const char *name = arena_format(writing->arena, "label_%d_pixels", label);
            text_format(&text, "\t%s", name);
            json_put(columns, name,
                     column_json(arena_format(writing->arena,
                                              "Pixels of the label map that hold %d.", label)));
        }
    text_add(&text, "\n");
    for (size_t i = 0; i < payload->count; i++) {
        text_format(&text, "sub-synth%08zu\ttrue", payload->images[i]);
        if (payload->store->masks)
            add_label_counts(payload, payload->images[i], found, &text);
        text_add(&text, "\n");
    }
    if (add_text(writing, "data/participants.tsv", &text, err))
        return add_json(writing, "data/participants.json", columns, err);
    json_free(columns);
    return false;
}

/* ---- RO-Crate -------------------------------------------------------------------------------- */

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

static struct json *entity(const char *type, const char *id)
{
    struct json *object = object_of("@type", type);
    json_put_string(object, "@id", id);
    return object;
}

static struct json *crate_descriptor(void)
{
    struct json *object = entity("CreativeWork", "ro-crate-metadata.json");
    json_put(object, "about", object_of("@id", "./"));
    json_put(object, "conformsTo", object_of("@id", "https://w3id.org/ro/crate/1.1"));
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
        json_put(root, "author", object_of("@id", person_id(writing, 0)));
    if (count < 2)
        return;
    struct json *authors = json_new_array();
    for (size_t i = 0; i < count; i++)
        json_push(authors, object_of("@id", person_id(writing, i)));
    json_put(root, "author", authors);
}

static struct json *crate_root(const struct writing *writing)
{
    const struct card *card = writing->card;
    struct json *root = entity("Dataset", "./"), *has = json_new_array();
    json_put_string(root, "name", title_of(card));
    json_put_string(root, "description", description_of(writing));
    json_put_string(root, "datePublished", writing->date);
    json_put_string(root, "version", card->version);
    json_put_string(root, "identifier",
                    arena_format(writing->arena, "%s-%s", card->name, card->version));
    json_put(root, "license", object_of("@id", licence_url(writing)));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (card->report || strcmp(parts[i].path, "report.html") != 0)
            json_push(has, object_of("@id", parts[i].path));
    json_put(root, "hasPart", has);
    add_authors(writing, root);
    if (card->settings->publisher)
        json_put(root, "publisher", object_of("@id", "#publisher"));
    json_put(root, "keywords", texts(&card->settings->keywords));
    return root;
}

static void add_crate_parts(const struct writing *writing, struct json *graph)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!writing->card->report && strcmp(parts[i].path, "report.html") == 0)
            continue;
        struct json *file = entity("File", parts[i].path);
        json_put_string(file, "name", parts[i].name);
        json_put_string(file, "encodingFormat", parts[i].type);
        json_push(graph, file);
    }
}

static void add_crate_people(const struct writing *writing, struct json *graph)
{
    const struct card_settings *settings = writing->card->settings;
    for (size_t i = 0; i < settings->creators.count; i++) {
        struct json *person = entity("Person", person_id(writing, i));
        json_put_string(person, "name", settings->creators.items[i]);
        json_push(graph, person);
    }
    if (settings->publisher) {
        struct json *publisher = entity("Organization", "#publisher");
        json_put_string(publisher, "name", settings->publisher);
        json_push(graph, publisher);
    }
    if (strcmp(licence_url(writing), "LICENSE") != 0) {
        struct json *licence = entity("CreativeWork", licence_url(writing));
        json_put_string(licence, "name", licence_of(writing->card));
        json_put_string(licence, "description", "The licence of these data.");
        json_push(graph, licence);
    }
}

/* That a program made the images is what Article 50(2) of the EU's AI Act wants machines to read.
 */
static void add_crate_provenance(struct json *graph)
{
    struct json *tool = entity("SoftwareApplication", "#lethe");
    json_put_string(tool, "name", "lethe");
    json_put_string(tool, "version", LETHE_VERSION);
    json_push(graph, tool);
    struct json *action = entity("CreateAction", "#generation");
    json_put_string(action, "name", "Synthetic images made by a generative model");
    json_put(action, "instrument", object_of("@id", "#lethe"));
    json_put(action, "result", object_of("@id", "./"));
    json_push(graph, action);
}

static bool write_crate(struct writing *writing, struct error *err)
{
    struct json *document = object_of("@context", "https://w3id.org/ro/crate/1.1/context");
    struct json *graph = json_new_array();
    json_push(graph, crate_descriptor());
    json_push(graph, crate_root(writing));
    add_crate_parts(writing, graph);
    add_crate_people(writing, graph);
    add_crate_provenance(graph);
    json_put(document, "@graph", graph);
    return add_json(writing, "data/ro-crate-metadata.json", document, err);
}

/* ---- Croissant ------------------------------------------------------------------------------- */

/* The terms of Croissant 1.0, as its specification lists them. */
static const struct {
    const char *term, *id, *type;
} terms[] = {
    { "citeAs", "cr:citeAs", NULL },
    { "column", "cr:column", NULL },
    { "conformsTo", "dct:conformsTo", NULL },
    { "cr", "http://mlcommons.org/croissant/", NULL },
    { "data", "cr:data", "@json" },
    { "dataType", "cr:dataType", "@vocab" },
    { "dct", "http://purl.org/dc/terms/", NULL },
    { "equivalentProperty", "cr:equivalentProperty", NULL },
    { "examples", "cr:examples", "@json" },
    { "extract", "cr:extract", NULL },
    { "field", "cr:field", NULL },
    { "fileObject", "cr:fileObject", NULL },
    { "fileProperty", "cr:fileProperty", NULL },
    { "fileSet", "cr:fileSet", NULL },
    { "format", "cr:format", NULL },
    { "includes", "cr:includes", NULL },
    { "isLiveDataset", "cr:isLiveDataset", NULL },
    { "jsonPath", "cr:jsonPath", NULL },
    { "key", "cr:key", NULL },
    { "md5", "cr:md5", NULL },
    { "parentField", "cr:parentField", NULL },
    { "path", "cr:path", NULL },
    { "rai", "http://mlcommons.org/croissant/RAI/", NULL },
    { "recordSet", "cr:recordSet", NULL },
    { "references", "cr:references", NULL },
    { "regex", "cr:regex", NULL },
    { "repeated", "cr:repeated", NULL },
    { "replace", "cr:replace", NULL },
    { "samplingRate", "cr:samplingRate", NULL },
    { "sc", "https://schema.org/", NULL },
    { "separator", "cr:separator", NULL },
    { "source", "cr:source", NULL },
    { "subField", "cr:subField", NULL },
    { "transform", "cr:transform", NULL },
};

static struct json *croissant_context(void)
{
    struct json *context = object_of("@language", "en");
    json_put_string(context, "@vocab", "https://schema.org/");
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        if (!terms[i].type) {
            json_put_string(context, terms[i].term, terms[i].id);
            continue;
        }
        struct json *term = object_of("@id", terms[i].id);
        json_put_string(term, "@type", terms[i].type);
        json_put(context, terms[i].term, term);
    }
    return context;
}

static const char *glob_of(const struct writing *writing, const char *channel, bool labels)
{
    const struct card *card = writing->card;
    const char *name = labels ? "dseg" : payload_suffix(channel, writing->arena);
    if (card->format->format == PAYLOAD_NIFTI)
        return arena_format(writing->arena, "sub-*/anat/sub-synth????????_%s.nii.gz", name);
    if (card->format->format == PAYLOAD_NPY)
        return labels ? "sourcedata/npy/synth-labels-*.npy" : "sourcedata/npy/synth-images-*.npy";
    char *lower = arena_string(writing->arena, labels ? "seg" : name);
    for (char *at = lower; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    return arena_format(writing->arena, "sourcedata/png/*/synth????????_%s.png", lower);
}

static void add_file_set(const struct writing *writing, struct json *distribution,
                         const char *channel, bool labels)
{
    static const char *const media[PAYLOAD_COUNT] = { "application/gzip", "image/png",
                                                      "application/x-npy" };
    const char *name = labels ? "labels" : channel;
    struct json *set = entity("cr:FileSet", arena_format(writing->arena, "images-%s", name));
    json_put_string(set, "name", arena_format(writing->arena, "images-%s", name));
    json_put_string(set, "description",
                    labels ? "Label maps of the synthetic images."
                           : arena_format(writing->arena, "Synthetic images, %s.", channel));
    json_put_string(set, "encodingFormat", media[writing->card->format->format]);
    json_put_string(set, "includes", glob_of(writing, channel, labels));
    json_push(distribution, set);
}

static struct json *croissant_files(const struct writing *writing)
{
    struct json *distribution = json_new_array();
    const struct dataset *store = writing->card->payload->store;
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < writing->tree->count; i++) {
        const struct tree_file *file = &writing->tree->files[i];
        if (strcmp(file->path, "data/participants.tsv") != 0)
            continue;
        struct json *object = entity("cr:FileObject", "participants.tsv");
        json_put_string(object, "name", "participants.tsv");
        json_put_string(object, "description", "One row an image.");
        json_put_string(object, "contentUrl", "participants.tsv");
        json_put_string(object, "encodingFormat", "text/tab-separated-values");
        json_put_string(object, "contentSize",
                        arena_format(writing->arena, "%" PRIu64 " B", file->size));
        json_put_string(object, "sha256", digest_hex(&file->sha256, hex));
        json_push(distribution, object);
    }
    bool shards = writing->card->format->format == PAYLOAD_NPY;
    for (size_t i = 0; i < (shards ? 1 : store->channels); i++)
        add_file_set(writing, distribution, shards ? "channels" : store->channel_names[i], false);
    if (store->masks)
        add_file_set(writing, distribution, NULL, true);
    return distribution;
}

static void add_column(const struct writing *writing, struct json *fields, const char *column,
                       const char *type, const char *description)
{
    struct json *source = json_new_object();
    struct json *field = entity("cr:Field", arena_format(writing->arena, "images/%s", column));
    json_put_string(field, "name", column);
    json_put_string(field, "description", description);
    json_put_string(field, "dataType", type);
    json_put(source, "fileObject", object_of("@id", "participants.tsv"));
    json_put(source, "extract", object_of("column", column));
    json_put(field, "source", source);
    json_push(fields, field);
}

static struct json *croissant_records(const struct writing *writing, const bool found[256])
{
    struct json *set = entity("cr:RecordSet", "images"), *fields = json_new_array();
    struct json *sets = json_new_array();
    json_put_string(set, "name", "images");
    json_put_string(set, "description", "The images, one row each.");
    json_put(set, "key", object_of("@id", "images/participant_id"));
    add_column(writing, fields, "participant_id", "sc:Text", "The image's name.");
    add_column(writing, fields, "synthetic", "sc:Boolean", "Always true.");
    for (int label = 0; label < 256; label++)
        if (found[label])
            add_column(writing, fields, arena_format(writing->arena, "label_%d_pixels", label),
                       "sc:Integer", arena_format(writing->arena, "Pixels of label %d.", label));
    json_put(set, "field", fields);
    json_push(sets, set);
    return sets;
}

static bool write_croissant(struct writing *writing, const bool found[256], struct error *err)
{
    const struct card *card = writing->card;
    struct json *document = object_of("@type", "sc:Dataset");
    json_put(document, "@context", croissant_context());
    json_put_string(document, "name", card->name);
    json_put_string(document, "alternateName", title_of(card));
    json_put_string(document, "description", description_of(writing));
    json_put_string(document, "conformsTo", "http://mlcommons.org/croissant/1.0");
    json_put_string(document, "license", licence_url(writing));
    json_put_string(document, "version", card->version);
    json_put_string(document, "datePublished", writing->date);
    json_put_string(document, "citeAs",
                    arena_format(writing->arena, "%s, version %s (%.4s)", title_of(card),
                                 card->version, writing->date));
    json_put_string(document, "url",
                    card->settings->url ? card->settings->url
                                        : arena_format(writing->arena, "urn:lethe:%s", card->name));
    json_put(document, "creator", people(card, "@type", "sc:Person"));
    json_put(document, "keywords", texts(&card->settings->keywords));
    json_put(document, "distribution", croissant_files(writing));
    json_put(document, "recordSet", croissant_records(writing, found));
    return add_json(writing, "data/croissant.json", document, err);
}

/* ---- the AIDA Data Hub ----------------------------------------------------------------------- */

static struct json *aida_datacite(const struct writing *writing)
{
    const struct card *card = writing->card;
    struct json *record = object_of("@context", "https://schema.org/");
    json_put_string(record, "@type", "Dataset");
    json_put_string(record, "name", title_of(card));
    json_put_string(record, "description", description_of(writing));
    json_put_string(record, "datePublished", writing->date);
    json_put_string(record, "version", card->version);
    json_put_string(record, "license", licence_url(writing));
    json_put(record, "keywords", texts(&card->settings->keywords));
    json_put(record, "author", people(card, "@type", "Person"));
    if (card->settings->publisher) {
        struct json *publisher = object_of("@type", "Organization");
        json_put_string(publisher, "name", card->settings->publisher);
        json_put(record, "publisher", publisher);
    }
    return record;
}

static struct json *aida_other(const struct writing *writing)
{
    const struct card *card = writing->card;
    struct json *record = object_of("origin", "Synthetic");
    struct json *modalities = json_new_array(), *organs = json_new_array();
    json_push_string(modalities, card->settings->modality);
    json_push_string(organs, card->settings->organ);
    json_put(record, "modality", modalities);
    json_put(record, "organ", organs);
    json_put_integer(record, "bytes", (int64_t)writing->payload_bytes);
    json_put_integer(record, "numberOfScans", (int64_t)card->payload->count);
    json_put_integer(record, "numberOfAnnotations",
                     card->payload->store->masks ? (int64_t)card->payload->count : 0);
    json_put_integer(record, "files", (int64_t)writing->payload_files);
    return record;
}

/* YAML reads JSON, so the blocks are JSON. */
static void add_block(struct text *text, const char *key, struct json *block)
{
    json_sort(block);
    char *json = json_text(block);
    text_format(text, "%s:\n", key);
    for (const char *line = json; *line;) {
        size_t length = strcspn(line, "\n");
        text_format(text, "  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    memory_free(json);
    json_free(block);
}

static bool write_aida(struct writing *writing, struct error *err)
{
    struct text text = { 0 };
    text_add(&text, "---\n");
    add_block(&text, "datacite", aida_datacite(writing));
    add_block(&text, "other", aida_other(writing));
    add_pair(&text, "short", writing->card->name);
    text_add(&text, "synthetic: yes\n");
    add_pair(&text, "title", title_of(writing->card));
    text_format(&text, "---\n\n%s\n", description_of(writing));
    return add_text(writing, "data/aida.md", &text, err);
}

/* ---- all
 * -----------------------------------------------------------------------------------------------
 */

bool card_write(const struct card *card, struct tree *tree, struct error *err)
{
    bool found[256];
    struct arena arena;
    arena_init(&arena);
    struct writing writing = {
        .card = card, .tree = tree, .arena = &arena, .payload_files = tree->count
    };
    card_date(card->created, writing.date);
    for (size_t i = 0; i < tree->count; i++)
        writing.payload_bytes += tree->files[i].size;
    find_labels(card->payload, found);
    bool ok = write_readme(&writing, err) && write_licence(&writing, err) &&
              write_citation(&writing, err) && write_bids(&writing, err) &&
              write_participants(&writing, found, err) && write_crate(&writing, err) &&
              write_croissant(&writing, found, err) && write_aida(&writing, err);
    arena_release(&arena);
    return ok;
}
