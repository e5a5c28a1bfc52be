/* The bag around the payload, RFC 8493; see card.h. The payload manifests list what is in data/,
 * the tag manifests all else but themselves; both in SHA-256 and SHA-512. */
#include "release/card.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SHA256, SHA512, ALGORITHMS };
static const char *const algorithms[ALGORITHMS] = { "sha256", "sha512" };

static void add_line(struct text *text, const struct tree_file *file, size_t algorithm)
{
    char hex[CHECKSUM_HEX];
    if (algorithm == SHA256)
        digest_hex(&file->sha256, hex);
    else
        checksum_hex(file->sha512, sizeof file->sha512, hex);
    text_format(text, "%s  %s\n", hex, file->path);
}

/* The list of the files in data/, or of the others. */
static bool write_list(struct tree *tree, const char *prefix, bool payload, struct error *err)
{
    size_t count = tree->count;
    bool ok = true;
    tree_sort(tree);
    struct tree_file *files = memory_grow(NULL, count, sizeof *files);
    memcpy(files, tree->files, count * sizeof *files);
    for (size_t algorithm = 0; ok && algorithm < ALGORITHMS; algorithm++) {
        struct text text = { 0 };
        char path[64];
        for (size_t i = 0; i < count; i++)
            if (text_starts_with(files[i].path, "data/") == payload)
                add_line(&text, &files[i], algorithm);
        snprintf(path, sizeof path, "%s-%s.txt", prefix, algorithms[algorithm]);
        ok = tree_add(tree, path, text.bytes, text.length, err);
        text_release(&text);
    }
    memory_free(files);
    return ok;
}

/* A label's value stands on one line. */
static void add_label(struct text *text, const char *label, const char *value)
{
    if (!value)
        return;
    text_format(text, "%s: ", label);
    for (; *value; value++)
        text_add_bytes(text, *value == '\n' || *value == '\r' ? " " : value, 1);
    text_add(text, "\n");
}

static bool write_info(const struct card *card, struct tree *tree, struct error *err)
{
    struct text text = { 0 };
    char date[16];
    uint64_t bytes = 0, files = 0;
    for (size_t i = 0; i < tree->count; i++) {
        bytes += tree->files[i].size;
        files++;
    }
    add_label(&text, "Bag-Software-Agent", "lethe " LETHE_VERSION);
    add_label(&text, "Bagging-Date", card_date(card->created, date));
    add_label(&text, "Contact-Email", card->settings->contact);
    add_label(&text, "External-Description", card->settings->title);
    text_format(&text, "External-Identifier: %s-%s\n", card->name, card->version);
    text_format(&text, "Payload-Oxum: %" PRIu64 ".%" PRIu64 "\n", bytes, files);
    add_label(&text, "Source-Organization", card->settings->publisher);
    bool ok = tree_add(tree, "bag-info.txt", text.bytes, text.length, err);
    text_release(&text);
    return ok;
}

bool bag_write(const struct card *card, struct tree *tree, struct error *err)
{
    static const char declaration[] = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    bool ok = write_info(card, tree, err) && /* while the tree holds the payload alone */
              tree_add(tree, "bagit.txt", declaration, sizeof declaration - 1, err) &&
              write_list(tree, "manifest", true, err) &&
              write_list(tree, "tagmanifest", false, err);
    tree_sort(tree);
    return ok;
}
