/* From an audited synthetic set to an archive; see package.h. Settings: package_settings.c. */
#include "release/package.h"

#include "base/file.h"
#include "release/included.h"
#include "release/manifest.h"
#include "release/marks.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const size_t LARGEST_ADDED = (size_t)4 << 30; /* of files that are packed as they are */

struct packaging {
    const struct package_job *job;
    struct package_report *report;
    struct arena *arena;
    struct error *err;
    struct dataset store;
    struct json *memorization, *utility, *fidelity, *membership, *review;
    struct included *included; /* of each path that is to be */
    size_t *images;            /* to be packed */
    const char *root, *seen;   /* seen: what the inputs were like at the beginning, below */
    int64_t created;
};

/* ---- inputs that change meanwhile ------------------------------------------------------------ */

/* Inputs are read more than once: to be digested, then (the store is mapped) to be packed. What
 * tells that a file is still the one that was checked are its size and the kernel's time of its
 * last change, which nobody can set back. A line a file. */
static void describe(struct text *seen, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        text_format(seen, "%s: missing\n", path);
    else
        text_format(seen, "%s: %ju %ju %jd %jd.%09ld\n", path, (uintmax_t)status.st_dev,
                    (uintmax_t)status.st_ino, (intmax_t)status.st_size,
                    (intmax_t)status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

static const char *describe_inputs(const struct packaging *packaging)
{
    const struct package_job *job = packaging->job;
    struct arena *arena = packaging->arena;
    static const char *const names[] = { "dataset.json", "images.npy", "masks.npy", "index.csv" };
    const char *const others[] = {
        path_join(arena, job->audit, "memorization.json"),
        job->utility ? path_join(arena, job->utility, "utility.json") : NULL,
        job->fidelity ? path_join(arena, job->fidelity, "fidelity.json") : NULL,
        job->membership ? path_join(arena, job->membership, "membership.json") : NULL,
        job->dataset ? path_join(arena, job->dataset, "dataset.json") : NULL,
        job->report_public,
        job->report_internal,
        job->review,
    };
    struct text seen = { 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        describe(&seen, path_join(arena, job->synthetic, names[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i])
            describe(&seen, others[i]);
    char *copy = arena_string(arena, seen.bytes);
    text_release(&seen);
    return copy;
}

static bool inputs_are_unchanged(const struct packaging *packaging)
{
    const char *before = packaging->seen, *now = describe_inputs(packaging), *line = now;
    size_t i = 0;
    for (; before[i] && before[i] == now[i]; i++)
        if (now[i] == '\n')
            line = now + i + 1;
    return before[i] == now[i] ||
           error_set(packaging->err,
                     "%.*s: changed while it was packed; nothing was written, begin "
                     "again",
                     (int)(strstr(line, ": ") - line), line);
}

/* ---- what is decided ------------------------------------------------------------------------- */

/* The two reports differ by one word of their names: the wrong one would publish patients. */
static bool check_report(const char *path, struct error *err)
{
    static const char notice[] = INTERNAL_NOTICE;
    size_t size;
    char *bytes = file_read(path, LARGEST_ADDED, &size, err);
    bool internal = bytes && memmem(bytes, size, notice, sizeof notice - 1);
    if (internal)
        error_set(err, "%s is the internal report, which shows patients; give report.public.html",
                  path);
    bool ok = bytes && !internal;
    memory_free(bytes);
    return ok;
}

static bool find_included(struct packaging *packaging)
{
    const struct yaml_strings *list = &packaging->job->settings->include;
    struct package_report *report = packaging->report;
    struct arena *arena = packaging->arena;
    size_t hidden = 0;
    packaging->included = arena_array(arena, struct included, list->count);
    for (size_t i = 0; i < list->count; i++) {
        if (!included_find(list->items[i], &packaging->included[i], arena, packaging->err))
            return error_prefix(packaging->err, "include");
        hidden += packaging->included[i].hidden_count;
    }
    report->hidden = arena_array(arena, char *, hidden);
    for (size_t i = 0; i < list->count; i++)
        for (size_t k = 0; k < packaging->included[i].hidden_count; k++)
            report->hidden[report->hidden_count++] =
                path_join(arena, packaging->included[i].name, packaging->included[i].hidden[k]);
    return true;
}

static bool open_inputs(struct packaging *packaging)
{
    const struct package_job *job = packaging->job;
    struct error *err = packaging->err;
    const char *audit = path_join(packaging->arena, job->audit, "memorization.json");
    if (path_kind(audit) != PATH_FILE)
        return error_set(err, "%s: not there; a set is packed only after lethe audit", audit);
    packaging->memorization = json_load_schema(audit, "lethe/memorization/1", err);
    if (!packaging->memorization)
        return false;
    if (job->utility) {
        const char *utility = path_join(packaging->arena, job->utility, "utility.json");
        packaging->utility = json_load_schema(utility, "lethe/utility/2", err);
        if (!packaging->utility)
            return false;
    }
    if (job->fidelity) {
        const char *fidelity = path_join(packaging->arena, job->fidelity, "fidelity.json");
        packaging->fidelity = json_load_schema(fidelity, "lethe/fidelity/2", err);
        if (!packaging->fidelity)
            return false;
    }
    if (job->membership) {
        const char *membership = path_join(packaging->arena, job->membership, "membership.json");
        packaging->membership = json_load_schema(membership, "lethe/membership/1", err);
        if (!packaging->membership)
            return false;
    }
    if (job->review) {
        packaging->review = json_load_schema(job->review, REVIEW_SCHEMA, err);
        if (!packaging->review)
            return false;
    }
    if (job->report_public && !check_report(job->report_public, err))
        return false;
    if (!dataset_open(&packaging->store, job->synthetic, err))
        return false;
    return packaging->store.role == ROLE_SYNTHETIC ||
           error_set(err, "%s holds real images; only synthetic ones are packed", job->synthetic);
}

/* The image that an audit means: by its place in the store or by its name there. */
static bool find_image(const struct packaging *packaging, const struct json *id, size_t *image)
{
    const struct dataset *store = &packaging->store;
    const char *name = json_as_string(id);
    int64_t place;
    if (!name) {
        bool fits = json_as_integer(id, &place) && place >= 0 && (size_t)place < store->count;
        *image = fits ? (size_t)place : 0;
        return fits;
    }
    for (*image = 0; *image < store->count; ++*image)
        if (strcmp(store->index[*image].subject, name) == 0)
            return true;
    return false;
}

/* Which images the audit flagged. The list has to be complete: as long as the count says. */
static bool flagged_images(struct packaging *packaging, bool *flagged)
{
    const struct json *found = json_member(packaging->memorization, "flagged");
    const struct json *images = json_member(found, "images");
    int64_t count = -1;
    size_t distinct = 0, image;
    if (!json_get_integer(found, "count", &count, packaging->err))
        return error_prefix(packaging->err, "%s/memorization.json: flagged", packaging->job->audit);
    for (size_t i = 0; i < json_length(images); i++) {
        if (!find_image(packaging, json_at(images, i), &image))
            return error_set(packaging->err,
                             "%s/memorization.json: entry %zu of flagged.images is no image of %s",
                             packaging->job->audit, i, packaging->job->synthetic);
        distinct += !flagged[image];
        flagged[image] = true;
    }
    return (int64_t)distinct == count ||
           error_set(packaging->err,
                     "%s/memorization.json: %" PRId64 " images are flagged, but %zu are named",
                     packaging->job->audit, count, distinct);
}

static bool choose_images(struct packaging *packaging)
{
    size_t count = packaging->store.count;
    bool *flagged = arena_array(packaging->arena, bool, count);
    packaging->images = arena_array(packaging->arena, size_t, count);
    if (packaging->job->policy->quarantine == QUARANTINE_DROP &&
        !flagged_images(packaging, flagged))
        return false;
    struct package_report *report = packaging->report;
    for (size_t i = 0; i < count; i++)
        if (!flagged[i])
            packaging->images[report->images++] = i;
    report->removed = count - report->images;
    if (report->removed && report->images) /* of nothing there is nothing to say anew */
        policy_without_flagged(packaging->memorization, (int64_t)report->images);
    return true;
}

static bool decide(struct packaging *packaging)
{
    const struct package_job *job = packaging->job;
    struct package_report *report = packaging->report;
    struct chain chain = { .synthetic = &packaging->store,
                           .memorization = packaging->memorization,
                           .utility = packaging->utility,
                           .fidelity = packaging->fidelity,
                           .membership = packaging->membership,
                           .dataset = job->dataset,
                           .model = job->model,
                           .made_elsewhere = job->made_elsewhere,
                           .review = packaging->review,
                           .flagged_leave = job->policy->quarantine != QUARANTINE_DROP };
    policy_digest(job->policy, &chain.policy);
    report->linked = chain_check(&chain, report->links, packaging->arena);
    if (!choose_images(packaging))
        return false;
    const struct policy_evidence evidence = { packaging->memorization, packaging->utility,
                                              packaging->fidelity, packaging->membership };
    struct policy_document documents[METRIC_DOCUMENTS];
    struct policy_result *results;
    policy_documents(&evidence, documents);
    report->passed =
        policy_evaluate(job->policy, documents, METRIC_DOCUMENTS, packaging->arena, &results);
    report->results = results;
    report->result_count = job->policy->rows.count;
    report->released = report->linked && report->passed && report->images;
    return true;
}

/* ---- policy.json ----------------------------------------------------------------------------- */

static struct json *policy_document(const struct packaging *packaging)
{
    const struct package_report *report = packaging->report;
    struct json *document = json_new_object(), *removed = json_new_array();
    struct digest digest;
    char hex[DIGEST_HEX];
    policy_digest(packaging->job->policy, &digest);
    json_put_string(document, "schema", POLICY_SCHEMA);
    json_put_string(document, "version", LETHE_VERSION);
    json_put_string(document, "policy_sha256", digest_hex(&digest, hex));
    json_put_string(document, "verdict", report->released ? "passed" : "failed");
    json_put(document, "rows", policy_results_json(report->results, report->result_count));
    json_put(document, "chain", chain_json(report->links));
    json_put_string(document, "quarantine", quarantine_names[packaging->job->policy->quarantine]);
    for (size_t i = 0, next = 0; i < packaging->store.count; i++) {
        bool packed = next < report->images && packaging->images[next] == i;
        next += packed;
        if (!packed)
            json_push_integer(removed, (int64_t)i);
    }
    json_put_integer(document, "images", (int64_t)report->images);
    json_put_integer(document, "lint_findings", (int64_t)report->finding_count);
    json_put(document, "removed", removed);
    json_sort(document);
    return document;
}

static bool save_policy(struct packaging *packaging, struct digest *digest)
{
    struct json *document = policy_document(packaging);
    char *text = json_text(document);
    *digest = digest_of(text, strlen(text));
    bool ok = file_write(path_join(packaging->arena, packaging->job->out, "policy.json"), text,
                         strlen(text), packaging->err);
    memory_free(text);
    json_free(document);
    return ok;
}

/* ---- the tree -------------------------------------------------------------------------------- */

/* `added`: the plan adds it, so it has to be a document; findings are collected as the lint's are.
 */
static bool add_file(struct packaging *packaging, struct tree *tree, const char *from,
                     const char *path, bool added)
{
    size_t size;
    char *bytes = file_read(from, LARGEST_ADDED, &size, packaging->err);
    if (!bytes)
        return false;
    if (added)
        lint_document(tree->lint, path, bytes, size, &tree->findings);
    bool ok = (manifest_path_is_portable(path, packaging->err) ||
               error_prefix(packaging->err, "%s", from)) &&
              tree_add(tree, path, bytes, size, packaging->err);
    memory_free(bytes);
    return ok;
}

static bool include(struct packaging *packaging, struct tree *tree, size_t item)
{
    struct arena *arena = packaging->arena;
    const struct included *included = &packaging->included[item];
    const char *from = packaging->job->settings->include.items[item],
               *name = path_join(arena, INCLUDED_FOLDER, included->name);
    if (!included->count)
        return add_file(packaging, tree, from, name, true);
    for (size_t i = 0; i < included->count; i++)
        if (!add_file(packaging, tree, path_join(arena, from, included->files[i]),
                      path_join(arena, name, included->files[i]), true))
            return false;
    return true;
}

static bool add_documents(struct packaging *packaging, struct tree *tree)
{
    const struct package_job *job = packaging->job;
    struct json *document = policy_document(packaging);
    char *text = json_text(document);
    bool ok = tree_add(tree, "data/policy.json", text, strlen(text), packaging->err);
    memory_free(text);
    json_free(document);
    if (ok && job->report_public)
        ok = add_file(packaging, tree, job->report_public, "data/report.html", false);
    for (size_t i = 0; ok && i < job->settings->include.count; i++)
        ok = include(packaging, tree, i);
    return ok;
}

static const char *model_words(const struct packaging *packaging)
{
    const struct json *origin = json_member(packaging->store.description, "origin");
    const char *model = json_as_string(json_member(origin, "model"));
    int64_t steps;
    if (packaging->job->made_elsewhere)
        return "somebody elsewhere; there was no model to check";
    if (!model)
        return NULL;
    if (!json_as_integer(json_member(origin, "trained_steps"), &steps))
        return model;
    return arena_format(packaging->arena, "%s, trained for %" PRId64 " steps", model, steps);
}

static bool build_tree(struct packaging *packaging, struct tree *tree)
{
    const struct package_job *job = packaging->job;
    const struct package_settings *settings = job->settings;
    const struct payload payload = { &packaging->store, packaging->images,
                                     packaging->report->images };
    const struct payload_settings format = { (enum payload_format)settings->format,
                                             settings->spacing, settings->thickness };
    const struct card card = { .name = job->name,
                               .version = settings->version,
                               .settings = &settings->card,
                               .payload = &payload,
                               .format = &format,
                               .created = packaging->created,
                               .results = packaging->report->results,
                               .result_count = packaging->report->result_count,
                               .removed = packaging->report->removed,
                               .model = model_words(packaging),
                               .report = job->report_public };
    return payload_write(&payload, &format, tree, packaging->err) &&
           add_documents(packaging, tree) && card_write(&card, tree, packaging->err) &&
           bag_write(&card, tree, packaging->err);
}

/* ---- the lint -------------------------------------------------------------------------------- */

static struct lint *make_lint(const struct packaging *packaging, struct error *err)
{
    const struct package_job *job = packaging->job;
    const struct card_settings *card = &job->settings->card;
    const char *const allowed[] = { card->title,     card->description, card->licence,
                                    card->publisher, card->contact,     card->url };
    char date[16];
    struct lint *lint = lint_new();
    lint_allow(lint, card_date(packaging->created, date));
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (allowed[i])
            lint_allow(lint, allowed[i]);
    for (size_t i = 0; i < card->creators.count; i++)
        lint_allow(lint, card->creators.items[i]);
    for (size_t i = 0; i < job->said.count; i++)
        lint_allow(lint, job->said.items[i]);
    if (!job->dataset)
        return lint;
    struct dataset real;
    bool ok = dataset_open(&real, job->dataset, err);
    for (size_t i = 0; ok && i < real.count; i++) {
        lint_add_source(lint, real.index[i].subject);
        lint_add_source(lint, real.index[i].source);
    }
    if (ok) {
        dataset_close(&real);
        return lint;
    }
    lint_free(lint);
    return NULL;
}

/* ---- what comes out -------------------------------------------------------------------------- */

static bool remember(struct manifest *manifest, enum manifest_claim claim, const char *path,
                     struct error *err)
{
    if (!path || path_kind(path) != PATH_FILE)
        return true;
    manifest->claims.known[claim] = true;
    return digest_file(path, &manifest->claims.sha256[claim], err);
}

static bool fill_claims(const struct packaging *packaging, const struct digest *policy,
                        struct manifest *manifest)
{
    const struct package_job *job = packaging->job;
    struct arena *arena = packaging->arena;
    struct error *err = packaging->err;
    const struct json *origin = json_member(packaging->store.description, "origin");
    const char *weights = json_as_string(json_member(origin, "weights"));
    manifest->claims.verdict = VERDICT_PASSED;
    manifest->claims.known[CLAIM_POLICY] = true;
    manifest->claims.sha256[CLAIM_POLICY] = *policy;
    manifest->claims.known[CLAIM_WEIGHTS] =
        weights && !job->made_elsewhere &&
        digest_from_hex(weights, &manifest->claims.sha256[CLAIM_WEIGHTS]);
    manifest->claims.known[CLAIM_PLAN] =
        job->plan_sha256 && digest_from_hex(job->plan_sha256, &manifest->claims.sha256[CLAIM_PLAN]);
    return remember(manifest, CLAIM_DATASET,
                    job->dataset ? path_join(arena, job->dataset, "dataset.json") : NULL, err) &&
           remember(manifest, CLAIM_SYNTHETIC, path_join(arena, job->synthetic, "dataset.json"),
                    err) &&
           remember(manifest, CLAIM_MEMORIZATION, path_join(arena, job->audit, "memorization.json"),
                    err) &&
           remember(manifest, CLAIM_UTILITY,
                    job->utility ? path_join(arena, job->utility, "utility.json") : NULL, err) &&
           remember(manifest, CLAIM_FIDELITY,
                    job->fidelity ? path_join(arena, job->fidelity, "fidelity.json") : NULL, err) &&
           remember(manifest, CLAIM_MEMBERSHIP,
                    job->membership ? path_join(arena, job->membership, "membership.json") : NULL,
                    err) &&
           remember(manifest, CLAIM_REPORT_PUBLIC, job->report_public, err) &&
           remember(manifest, CLAIM_REPORT_INTERNAL, job->report_internal, err);
}

/* "HEX  NAME" lines, as sha256sum and md5sum read them. */
static bool write_sums(const struct packaging *packaging, const char *name, bool md5)
{
    const struct archive_result *result = &packaging->report->result;
    const struct archive_part *parts = result->volume_count ? result->volumes : &result->whole;
    size_t count = result->volume_count ? result->volume_count : 1;
    struct text text = { 0 };
    char hex[CHECKSUM_HEX];
    for (size_t i = 0; i < count; i++)
        text_format(&text, "%s  %s\n",
                    md5 ? checksum_hex(parts[i].md5, sizeof parts[i].md5, hex)
                        : digest_hex(&parts[i].sha256, hex),
                    parts[i].name);
    bool ok = file_write(path_join(packaging->arena, packaging->job->out, name), text.bytes,
                         text.length, packaging->err);
    text_release(&text);
    return ok;
}

static bool write_manifest(const struct packaging *packaging, struct digest_entry *files,
                           size_t count, const struct digest *policy)
{
    const struct archive_result *result = &packaging->report->result;
    struct manifest manifest = { .name = packaging->job->name,
                                 .version = packaging->job->settings->version,
                                 .root = packaging->root,
                                 .created = packaging->created,
                                 .tool_name = "lethe",
                                 .tool_version = LETHE_VERSION,
                                 .archive = { .name = result->whole.name,
                                              .size = result->whole.size,
                                              .sha256 = result->whole.sha256 },
                                 .tar = { result->tar_size, result->tar },
                                 .files = files,
                                 .file_count = count,
                                 .volume_count = result->volume_count };
    memcpy(manifest.archive.md5, result->whole.md5, sizeof manifest.archive.md5);
    manifest.volumes =
        arena_array(packaging->arena, struct manifest_volume, result->volume_count + 1);
    for (size_t i = 0; i < result->volume_count; i++)
        manifest.volumes[i] =
            (struct manifest_volume){ result->volumes[i].name, result->volumes[i].size,
                                      result->volumes[i].sha256 };
    struct text text = { 0 };
    bool ok = fill_claims(packaging, policy, &manifest) &&
              manifest_write(&manifest, &text, packaging->err) && inputs_are_unchanged(packaging) &&
              file_write(packaging->report->manifest, text.bytes, text.length, packaging->err);
    text_release(&text);
    return ok;
}

/* What a run that was killed left: files begin with a dot until they are put in place (file.h). The
 * folder's lock is held, so nobody is writing them. */
static void remove_unfinished(const struct packaging *packaging)
{
    const char *const names[] = { path_name(packaging->report->archive),
                                  path_name(packaging->report->manifest), "policy.json",
                                  "SHA256SUMS", "MD5SUMS" };
    DIR *stream = opendir(packaging->job->out);
    struct dirent *entry;
    while (stream && (entry = readdir(stream)))
        for (size_t i = 0; entry->d_name[0] == '.' && i < sizeof names / sizeof *names; i++)
            if (text_starts_with(entry->d_name + 1, names[i]))
                unlinkat(dirfd(stream), entry->d_name, 0);
    if (stream)
        closedir(stream);
}

/* What an earlier run left of this release: it would vouch for what is about to change. The
 * manifest goes first, for it is what makes the rest look finished. */
static bool remove_old(const struct packaging *packaging)
{
    struct arena *arena = packaging->arena;
    char **files;
    size_t count;
    unlink(packaging->report->manifest);
    if (!folder_walk(packaging->job->out, arena, &files, &count, packaging->err))
        return false;
    remove_unfinished(packaging);
    for (size_t i = 0; i < count; i++)
        if (text_starts_with(files[i], path_name(packaging->report->archive)) ||
            strcmp(files[i], "SHA256SUMS") == 0 || strcmp(files[i], "MD5SUMS") == 0)
            unlink(path_join(arena, packaging->job->out, files[i]));
    return folder_remove(path_join(arena, packaging->job->out, packaging->root), packaging->err);
}

static bool pack(struct packaging *packaging, const struct tree *tree, const struct digest *policy)
{
    struct package_report *report = packaging->report;
    struct archive_settings settings = {
        .root = packaging->root,
        .created = packaging->created,
        .level = (int)packaging->job->settings->level,
        .volume_size = (uint64_t)packaging->job->settings->volume_size * 1000000,
    };
    struct digest_entry *files =
        memory_allocate(tree->count, sizeof *files, "the list of files", packaging->err);
    if (!files)
        return false;
    for (size_t i = 0; i < tree->count; i++)
        files[i] = (struct digest_entry){ tree->files[i].path, tree->files[i].size,
                                          tree->files[i].sha256 };
    report->files = tree->count;
    bool ok = archive_write(report->archive, tree->folder, files, tree->count, &settings,
                            &report->result, packaging->arena, packaging->err) &&
              write_sums(packaging, "SHA256SUMS", false) &&
              write_sums(packaging, "MD5SUMS", true) &&
              write_manifest(packaging, files, tree->count, policy);
    memory_free(files);
    if (!ok) { /* an archive that no manifest vouches for would only look finished */
        struct error reason = *packaging->err;
        if (remove_old(packaging))
            *packaging->err = reason;
    }
    return ok;
}

static void keep_findings(const struct tree *tree, struct package_report *report,
                          struct arena *arena)
{
    if (tree->findings.length)
        report->findings = arena_string(arena, tree->findings.bytes);
    for (const char *byte = report->findings; *byte; byte++)
        report->finding_count += *byte == '\n';
}

static bool make_release(struct packaging *packaging, const char *folder,
                         const struct digest *policy)
{
    struct tree tree;
    struct lint *lint = make_lint(packaging, packaging->err);
    if (!lint)
        return false;
    tree_init(&tree, folder, lint);
    bool ok = build_tree(packaging, &tree);
    keep_findings(&tree, packaging->report, packaging->arena);
    if (ok && packaging->report->finding_count)
        packaging->report->released = false;
    else
        ok = ok && pack(packaging, &tree, policy);
    tree_release(&tree);
    lint_free(lint);
    return ok;
}

/* With the folder of the tree locked: from the verdict to the manifest. */
static bool write_out(struct packaging *packaging, const char *folder)
{
    struct package_report *report = packaging->report;
    struct digest policy;
    if (!remove_old(packaging) || !save_policy(packaging, &policy))
        return false;
    if (!report->released)
        return true;
    return make_release(packaging, folder, &policy) &&
           (report->released || save_policy(packaging, &policy));
}

static bool set_time(struct packaging *packaging)
{
    const struct package_job *job = packaging->job;
    packaging->created = job->created;
    if (job->settings->date)
        return card_day(job->settings->date, &packaging->created, packaging->err);
    if (packaging->created < 0)
        packaging->created = (int64_t)time(NULL) / 86400 * 86400;
    return true;
}

static bool run(struct packaging *packaging)
{
    const struct package_job *job = packaging->job;
    struct package_report *report = packaging->report;
    struct folder_stage stage;
    packaging->root = arena_format(packaging->arena, "%s-%s", job->name, job->settings->version);
    report->archive = arena_format(packaging->arena, "%s/%s.tar.zst", job->out, packaging->root);
    report->manifest =
        arena_format(packaging->arena, "%s/%s.manifest.json", job->out, packaging->root);
    packaging->seen = describe_inputs(packaging);
    if (!package_check(job->name, job->settings, packaging->err) || !set_time(packaging) ||
        !open_inputs(packaging) || !find_included(packaging) || !decide(packaging))
        return false;
    if (!package_may_replace(job->out, job->name, job->settings->version, packaging->err) ||
        !folder_create(job->out, packaging->err) ||
        !folder_stage_open(&stage, path_join(packaging->arena, job->out, packaging->root),
                           packaging->err))
        return false;
    bool ok = write_out(packaging, stage.partial);
    if (ok && report->released && job->settings->keep_tree)
        return folder_stage_commit(&stage, true, packaging->err);
    folder_stage_abandon(&stage);
    return ok;
}

bool package(const struct package_job *job, struct package_report *report, struct arena *arena,
             struct error *err)
{
    *report = (struct package_report){ .findings = "" };
    struct packaging packaging = { .job = job, .report = report, .arena = arena, .err = err };
    bool ok = run(&packaging);
    json_free(packaging.memorization);
    json_free(packaging.utility);
    json_free(packaging.fidelity);
    json_free(packaging.membership);
    json_free(packaging.review);
    if (packaging.store.path)
        dataset_close(&packaging.store);
    return ok;
}
