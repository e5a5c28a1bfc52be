/* Croissant 1.0: the set as machine learning reads it; see card.h. */
#include "release/card_parts.h"

#include <inttypes.h>
#include <string.h>

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
    struct json *context = card_object("@language", "en");
    json_put_string(context, "@vocab", "https://schema.org/");
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        if (!terms[i].type) {
            json_put_string(context, terms[i].term, terms[i].id);
            continue;
        }
        struct json *term = card_object("@id", terms[i].id);
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
    struct json *set = card_entity("cr:FileSet", arena_format(writing->arena, "images-%s", name));
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
        struct json *object = card_entity("cr:FileObject", "participants.tsv");
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
    struct json *field = card_entity("cr:Field", arena_format(writing->arena, "images/%s", column));
    json_put_string(field, "name", column);
    json_put_string(field, "description", description);
    json_put_string(field, "dataType", type);
    json_put(source, "fileObject", card_object("@id", "participants.tsv"));
    json_put(source, "extract", card_object("column", column));
    json_put(field, "source", source);
    json_push(fields, field);
}

static struct json *croissant_records(const struct writing *writing, const bool found[256])
{
    struct json *set = card_entity("cr:RecordSet", "images"), *fields = json_new_array();
    struct json *sets = json_new_array();
    json_put_string(set, "name", "images");
    json_put_string(set, "description", "The images, one row each.");
    json_put(set, "key", card_object("@id", "images/participant_id"));
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

bool card_write_croissant(struct writing *writing, const bool found[256], struct error *err)
{
    const struct card *card = writing->card;
    struct json *document = card_object("@type", "sc:Dataset");
    json_put(document, "@context", croissant_context());
    json_put_string(document, "name", card->name);
    json_put_string(document, "alternateName", card_title(card));
    json_put_string(document, "description", card_description(writing));
    json_put_string(document, "conformsTo", "http://mlcommons.org/croissant/1.0");
    json_put_string(document, "license", card_licence_url(writing));
    json_put_string(document, "version", card->version);
    json_put_string(document, "datePublished", writing->date);
    json_put_string(document, "citeAs",
                    arena_format(writing->arena, "%s, version %s (%.4s)", card_title(card),
                                 card->version, writing->date));
    json_put_string(document, "url",
                    card->settings->url ? card->settings->url
                                        : arena_format(writing->arena, "urn:lethe:%s", card->name));
    json_put(document, "creator", card_people(card, "@type", "sc:Person"));
    json_put(document, "keywords", card_texts(&card->settings->keywords));
    json_put(document, "distribution", croissant_files(writing));
    json_put(document, "recordSet", croissant_records(writing, found));
    return card_add_json(writing, "data/croissant.json", document, err);
}
