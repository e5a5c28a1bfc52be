/* What a release says of itself; see card.h. RO-Crate, Croissant and the bag's own files have files
 * of their own: card_crate.c, card_croissant.c, bag.c. */
#include "release/card_parts.h"

#include <string.h>
#include <time.h>

#define SPDX       "https://spdx.org/licenses/"
#define UNLICENSED "LicenseRef-All-Rights-Reserved"

const char *card_date(int64_t created, char text[16])
{
    struct tm day;
    time_t time = (time_t)created;
    gmtime_r(&time, &day);
    strftime(text, 16, "%Y-%m-%d", &day);
    return text;
}

bool card_day(const char *date, int64_t *created, struct error *err)
{
    struct tm day = { 0 };
    char back[16];
    const char *end = strptime(date, "%Y-%m-%d", &day);
    *created = end && !*end ? (int64_t)timegm(&day) : -1;
    if (*created >= 0 && strcmp(card_date(*created, back), date) == 0)
        return true;
    return error_set(err, "the date \"%s\" is no day; expected YYYY-MM-DD, from 1970 on", date);
}

const char *card_title(const struct card *card)
{
    return card->settings->title ? card->settings->title : card->name;
}

const char *card_description(const struct writing *writing)
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

const char *card_licence(const struct card *card)
{
    return card->settings->licence ? card->settings->licence : UNLICENSED;
}

const char *card_licence_url(const struct writing *writing)
{
    const char *licence = card_licence(writing->card);
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

bool card_add_json(struct writing *writing, const char *path, struct json *document,
                   struct error *err)
{
    json_sort(document);
    char *text = json_text(document);
    bool ok = tree_add(writing->tree, path, text, strlen(text), err);
    memory_free(text);
    json_free(document);
    return ok;
}

struct json *card_object(const char *key, const char *value)
{
    struct json *object = json_new_object();
    json_put_string(object, key, value);
    return object;
}

struct json *card_entity(const char *type, const char *id)
{
    struct json *object = card_object("@type", type);
    json_put_string(object, "@id", id);
    return object;
}

struct json *card_texts(const struct yaml_strings *list)
{
    struct json *array = json_new_array();
    for (size_t i = 0; i < list->count; i++)
        json_push_string(array, list->items[i]);
    return array;
}

struct json *card_people(const struct card *card, const char *type_key, const char *type)
{
    struct json *array = json_new_array();
    for (size_t i = 0; i < card->settings->creators.count; i++) {
        struct json *person = card_object(type_key, type);
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
    text_format(&text, "# %s\n\n%s\n\n", card_title(card), card_description(writing));
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
                card_licence(card), card->settings->contact ? " Contact: " : "",
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
    text_format(&text, "%s, version %s\n", card_title(card), card->version);
    for (size_t i = 0; i < card->settings->creators.count; i++)
        text_format(&text, "Copyright %.4s %s\n", writing->date, card->settings->creators.items[i]);
    text_format(&text, "SPDX-License-Identifier: %s\n", card_licence(card));
    if (!card->settings->licence)
        text_add(&text, "\nNo licence has been given: ask before you use these data.\n");
    else if (!text_starts_with(card_licence_url(writing), "LICENSE"))
        text_format(&text, "\nThe text of the licence: %s\n", card_licence_url(writing));
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
    add_pair(&text, "abstract", card_description(writing));
    text_add(&text, "authors:\n");
    for (size_t i = 0; i < creators->count || i == 0; i++) {
        text_add(&text, "  - name: ");
        add_quoted(&text, creators->count ? creators->items[i] : card_title(card));
        text_add(&text, "\n");
    }
    add_pair(&text, "cff-version", "1.2.0");
    add_pair(&text, "date-released", writing->date);
    if (!strstr(card_licence(card), "://") && !text_starts_with(card_licence(card), "LicenseRef-"))
        add_pair(&text, "license", card_licence(card));
    add_pair(&text, "message", "If you use these data, please cite them as below.");
    add_pair(&text, "title", card_title(card));
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
        ok = card_add_json(writing, arena_format(writing->arena, "data/%s.json", suffix), sidecar,
                           err);
    }
    return ok;
}

static bool write_bids(struct writing *writing, struct error *err)
{
    const struct card *card = writing->card;
    struct json *document = json_new_object(), *made_by = json_new_array();
    struct json *tool = card_object("Name", "lethe");
    json_put_string(tool, "Version", LETHE_VERSION);
    json_put_string(tool, "Description", "synthetic images, sampled, audited and packed");
    json_push(made_by, tool);
    json_put_string(document, "Name", card_title(card));
    json_put_string(document, "BIDSVersion", "1.9.0");
    json_put_string(document, "DatasetType", "derivative");
    json_put(document, "GeneratedBy", made_by);
    if (!card_add_json(writing, "data/dataset_description.json", document, err))
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
    return card_object("Description", description);
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
        return card_add_json(writing, "data/participants.json", columns, err);
    json_free(columns);
    return false;
}

/* ---- the AIDA Data Hub ----------------------------------------------------------------------- */

static struct json *aida_datacite(const struct writing *writing)
{
    const struct card *card = writing->card;
    struct json *record = card_object("@context", "https://schema.org/");
    json_put_string(record, "@type", "Dataset");
    json_put_string(record, "name", card_title(card));
    json_put_string(record, "description", card_description(writing));
    json_put_string(record, "datePublished", writing->date);
    json_put_string(record, "version", card->version);
    json_put_string(record, "license", card_licence_url(writing));
    json_put(record, "keywords", card_texts(&card->settings->keywords));
    json_put(record, "author", card_people(card, "@type", "Person"));
    if (card->settings->publisher) {
        struct json *publisher = card_object("@type", "Organization");
        json_put_string(publisher, "name", card->settings->publisher);
        json_put(record, "publisher", publisher);
    }
    return record;
}

static struct json *aida_other(const struct writing *writing)
{
    const struct card *card = writing->card;
    struct json *record = card_object("origin", "Synthetic");
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
    add_pair(&text, "title", card_title(writing->card));
    text_format(&text, "---\n\n%s\n", card_description(writing));
    return add_text(writing, "data/aida.md", &text, err);
}

/* ---- all ------------------------------------------------------------------------------------- */

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
              write_participants(&writing, found, err) && card_write_crate(&writing, err) &&
              card_write_croissant(&writing, found, err) && write_aida(&writing, err);
    arena_release(&arena);
    return ok;
}
