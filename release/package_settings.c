/* What a release may be called and made with, and when it may not be made; see package.h. */
#include "release/package.h"

#include "base/file.h"
#include "release/bundle.h"
#include "release/included.h"
#include "release/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct package_settings package_defaults = {
    .version = "1.0.0",
    .spacing = 1,
    .thickness = 1,
    .level = 3,
    .card = { .organ = "Brain (SNOMED CT 12738006)", .modality = "MR", .skull_stripped = true },
};

#define FIELD(...) YAML_FIELD(struct package_settings, __VA_ARGS__)
#define CARD(name_, kind_, ...)                                                                    \
    {                                                                                              \
        .key = #name_, .kind = kind_, .offset = offsetof(struct package_settings, card.name_),     \
        __VA_ARGS__                                                                                \
    }
const struct yaml_field package_fields[] = {
    FIELD(version, YAML_STRING, .metavar = "V", .help = "of the release (default 1.0.0)"),
    FIELD(format, YAML_CHOICE, .choices = payload_format_names, .help = "of the images"),
    FIELD(spacing, YAML_REAL, .minimum = 0.001, .maximum = 1000, .metavar = "MM",
          .help = "between pixels (default 1)"),
    FIELD(thickness, YAML_REAL, .minimum = 0.001, .maximum = 1000, .metavar = "MM",
          .help = "of a slice (default 1)"),
    FIELD(date, YAML_STRING, .metavar = "YYYY-MM-DD",
          .help = "of the release (default SOURCE_DATE_EPOCH, else today)"),
    CARD(title, YAML_STRING, .metavar = "TEXT", .help = "for people (default: the name)"),
    CARD(description, YAML_STRING, .metavar = "TEXT", .help = "a paragraph"),
    CARD(licence, YAML_STRING, .metavar = "SPDX", .help = "CC-BY-4.0 …; none: all rights reserved"),
    CARD(creators, YAML_STRINGS, .metavar = "NAMES", .help = "who made it"),
    CARD(publisher, YAML_STRING, .metavar = "NAME", .help = "the institution"),
    CARD(contact, YAML_STRING, .metavar = "MAIL", .help = "whom to ask"),
    CARD(url, YAML_STRING, .metavar = "URL", .help = "where it is published"),
    CARD(keywords, YAML_STRINGS, .metavar = "WORDS", .help = "to be found by"),
    CARD(organ, YAML_STRING, .metavar = "TEXT", .help = "for the AIDA record (default brain)"),
    CARD(modality, YAML_STRING, .metavar = "TEXT", .help = "likewise (default MR)"),
    CARD(skull_stripped, YAML_BOOL,
         .help = "whether voxels outside the brain are 0 (default true)"),
    FIELD(include, YAML_STRINGS, .metavar = "PATHS",
          .help = "documents, or folders of them, to add"),
    FIELD(level, YAML_INTEGER, .minimum = 1, .maximum = 19, .metavar = "N",
          .help = "of compression (default 3)"),
    FIELD(volume_size, YAML_INTEGER, .minimum = 0, .maximum = 1e9, .metavar = "MB",
          .help = "split the archive into volumes; 0: one file"),
    FIELD(keep_tree, YAML_BOOL, .help = "leave the unpacked tree beside the archive"),
    { 0 },
};

bool package_check(const char *name, const struct package_settings *settings, struct error *err)
{
    int64_t created;
    char *root = NULL;
    if (asprintf(&root, "%s-%s", name, settings->version) < 0)
        BUG("out of memory for a name");
    bool ok = *name && *settings->version && !strchr(root, '/') && strlen(root) <= 80 &&
              manifest_path_is_portable(root, err);
    if (!ok)
        error_set(err,
                  "\"%s\" cannot be the name of an archive; name and version have to be made "
                  "of A–Z a–z 0–9 . _ - + and be at most 80 long",
                  root);
    free(root);
    return ok && (!settings->date || card_day(settings->date, &created, err));
}

bool package_check_included(const struct package_settings *settings, struct error *err)
{
    struct included included;
    struct arena arena;
    bool ok = true;
    arena_init(&arena);
    for (size_t i = 0; ok && i < settings->include.count; i++)
        ok = path_kind(settings->include.items[i]) == PATH_NOTHING ||
             included_find(settings->include.items[i], &included, &arena, err) ||
             error_prefix(err, "include");
    arena_release(&arena);
    return ok;
}

static bool is_signed(const char *out, const char *name, const char *version)
{
    struct arena arena;
    struct error err;
    char **files;
    size_t count;
    bool found = false;
    arena_init(&arena);
    const char *stem = arena_format(&arena, "%s-%s", name, version);
    const char *archive = arena_format(&arena, "%s.tar.zst", stem);
    if (path_kind(out) == PATH_FOLDER && folder_walk(out, &arena, &files, &count, &err))
        for (size_t i = 0; i < count; i++)
            found = found || bundle_is_named_for(stem, files[i]) ||
                    (text_starts_with(files[i], archive) &&
                     (text_ends_with(files[i], ".minisig") || text_ends_with(files[i], ".sig")));
    arena_release(&arena);
    return found;
}

bool package_may_replace(const char *out, const char *name, const char *version, struct error *err)
{
    return !is_signed(out, name, version) ||
           error_set(err,
                     "%s/%s-%s.tar.zst has been signed, so it is not made again; give the release "
                     "another version, or move what was signed elsewhere",
                     out, name, version);
}
