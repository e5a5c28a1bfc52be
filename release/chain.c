/* The chain of evidence; see chain.h. */
#include "release/chain.h"

#include "base/digest.h"
#include "base/text.h"
#include "data/safetensors.h"
#include "release/marks.h"

#include <string.h>

const char *const link_state_names[LINK_STATE_COUNT] = { "holds", "broken", "unknown" };

struct check {
    const struct chain *chain;
    struct arena *arena;
    const char **reason;
};

static enum link_state fail(const struct check *check, enum link_state state, const char *format,
                            ...) PRINTF(3, 4);
static enum link_state fail(const struct check *check, enum link_state state, const char *format,
                            ...)
{
    struct text text = { 0 };
    va_list arguments;
    va_start(arguments, format);
    text_format_list(&text, format, arguments);
    va_end(arguments);
    *check->reason = arena_string(check->arena, text.bytes);
    text_release(&text);
    return state;
}

/* ---- what a store is and what an audit saw --------------------------------------------------- */

/* dataset.json and the files that it lists, as the store's own description has them. */
struct store_file {
    const char *name, *sha256;
};
struct store_files {
    struct store_file items[8];
    size_t count;
};

static bool take_file(void *context, const char *name, const struct json *value)
{
    struct store_files *files = context;
    if (files->count < 8)
        files->items[files->count++] = (struct store_file){ name, json_as_string(value) };
    return true;
}

static bool list_store(const struct json *description, const char *folder,
                       struct store_files *files, struct arena *arena, struct error *err)
{
    struct digest digest;
    const struct json *listed = json_get(description, "files", err);
    *files = (struct store_files){ 0 };
    if (!listed || !digest_file(path_join(arena, folder, "dataset.json"), &digest, err))
        return false;
    json_each(listed, take_file, files);
    char *hex = arena_allocate(arena, DIGEST_HEX);
    take_file(files, "dataset.json", NULL);
    files->items[files->count - 1].sha256 = digest_hex(&digest, hex);
    return true;
}

/* The digest that a record of an audit, of utility or of fidelity has for one file of a set. */
static const char *recorded(const struct json *record, const char *set, const char *name)
{
    const struct json *files =
        json_member(json_member(json_member(record, "inputs"), set), "files");
    for (size_t i = 0; i < json_length(files); i++) {
        const char *path = json_as_string(json_member(json_at(files, i), "path"));
        if (path && strcmp(path, name) == 0)
            return json_as_string(json_member(json_at(files, i), "sha256"));
    }
    return NULL;
}

/* Every file of the store has to be the one that the record saw. */
static enum link_state same_store(const struct check *check, const struct json *record,
                                  const char *set, const struct json *description,
                                  const char *folder)
{
    struct store_files files;
    struct error err;
    if (!list_store(description, folder, &files, check->arena, &err))
        return fail(check, LINK_BROKEN, "%s", err.message);
    for (size_t i = 0; i < files.count; i++) {
        const char *seen = recorded(record, set, files.items[i].name);
        if (!seen)
            return fail(check, LINK_BROKEN, "the record holds no digest of %s/%s", folder,
                        files.items[i].name);
        if (!files.items[i].sha256 || strcmp(seen, files.items[i].sha256) != 0)
            return fail(check, LINK_BROKEN,
                        "%s/%s is not the file that was looked at (%.12s… then, %.12s… now); run "
                        "it again",
                        folder, files.items[i].name, seen,
                        files.items[i].sha256 ? files.items[i].sha256 : "?");
    }
    return LINK_HOLDS;
}

/* ---- the links ------------------------------------------------------------------------------- */

static enum link_state check_policy(const struct check *check)
{
    char hex[DIGEST_HEX];
    const char *then = json_as_string(json_member(check->chain->memorization, "policy_sha256"));
    if (!then)
        return fail(check, LINK_BROKEN,
                    "the audit's record does not tell under which policy it ran; run it again");
    digest_hex(&check->chain->policy, hex);
    if (strcmp(then, hex) != 0)
        return fail(check, LINK_BROKEN,
                    "the policy was changed after the audit ran (%.12s… then, %.12s… now): limits "
                    "are fixed before; run the audit again",
                    then, hex);
    return LINK_HOLDS;
}

static enum link_state check_intact(const struct check *check)
{
    struct error err;
    if (dataset_verify(check->chain->synthetic, &err))
        return LINK_HOLDS;
    return fail(check, LINK_BROKEN, "%s", err.message);
}

static enum link_state check_audited(const struct check *check)
{
    const struct dataset *store = check->chain->synthetic;
    return same_store(check, check->chain->memorization, "synthetic", store->description,
                      store->path);
}

static enum link_state check_reviewed(const struct check *check)
{
    static const enum link_state states[] = {
        [MARKS_CLEAR] = LINK_HOLDS, [MARKS_COPIES] = LINK_BROKEN, [MARKS_NONE] = LINK_UNKNOWN
    };
    const struct chain *chain = check->chain;
    return states[marks_judge(chain->review, chain->memorization, chain->flagged_leave,
                              check->reason, check->arena)];
}

static enum link_state check_used(const struct check *check)
{
    const struct dataset *store = check->chain->synthetic;
    if (!check->chain->utility)
        return fail(check, LINK_UNKNOWN, "usefulness was not measured");
    return same_store(check, check->chain->utility, "synthetic", store->description, store->path);
}

static bool is_likened(const struct chain *chain)
{
    return chain->fidelity;
}

static enum link_state check_likened(const struct check *check)
{
    const struct dataset *store = check->chain->synthetic;
    return same_store(check, check->chain->fidelity, "synthetic", store->description, store->path);
}

static enum link_state check_compared(const struct check *check)
{
    struct error err;
    if (!check->chain->dataset)
        return fail(check, LINK_UNKNOWN, "the training data were not given");
    struct json *description = json_load_schema(
        path_join(check->arena, check->chain->dataset, "dataset.json"), DATASET_SCHEMA, &err);
    if (!description)
        return fail(check, LINK_BROKEN, "%s", err.message);
    enum link_state state =
        same_store(check, check->chain->memorization, "train", description, check->chain->dataset);
    json_free(description);
    return state;
}

/* Where the store says that its generator came from: a checkpoint in the model's folder. */
static const char *checkpoint_of(const struct check *check, const char **sha256)
{
    const struct json *origin = json_member(check->chain->synthetic->description, "origin");
    const char *name = json_as_string(json_member(origin, "checkpoint"));
    *sha256 = json_as_string(json_member(origin, "checkpoint_sha256"));
    if (!name || !*sha256)
        return NULL;
    return path_join(check->arena, path_join(check->arena, check->chain->model, "checkpoints"),
                     name);
}

static const char no_model[] = "made elsewhere: no model to check";

static enum link_state check_generated(const struct check *check)
{
    const char *then;
    char hex[DIGEST_HEX];
    struct digest digest;
    struct error err;
    if (check->chain->made_elsewhere)
        return fail(check, LINK_UNKNOWN, "%s", no_model);
    if (!check->chain->model)
        return fail(check, LINK_UNKNOWN, "the model was not given");
    const char *path = checkpoint_of(check, &then);
    if (!path)
        return fail(check, LINK_BROKEN, "%s does not tell which checkpoint it was drawn from",
                    check->chain->synthetic->path);
    if (!digest_file(path, &digest, &err))
        return fail(check, LINK_BROKEN, "%s", err.message);
    if (strcmp(digest_hex(&digest, hex), then) != 0)
        return fail(check, LINK_BROKEN, "%s is not the checkpoint that the images were drawn from",
                    path);
    return LINK_HOLDS;
}

static bool is_asked(const struct chain *chain)
{
    return chain->membership;
}

static enum link_state check_asked(const struct check *check)
{
    const struct json *model = json_member(check->chain->membership, "model"),
                      *origin = json_member(check->chain->synthetic->description, "origin");
    const char *asked = json_as_string(json_member(model, "checkpoint_sha256")),
               *drawn = json_as_string(json_member(origin, "checkpoint_sha256"));
    if (!asked || !drawn)
        return fail(check, LINK_BROKEN, "%s does not tell which checkpoint it is of",
                    asked ? check->chain->synthetic->path : "the record of membership");
    return strcmp(asked, drawn) == 0
               ? LINK_HOLDS
               : fail(check, LINK_BROKEN,
                      "membership was measured of another checkpoint (%.12s…) than the images were "
                      "drawn from (%.12s…); run it again",
                      asked, drawn);
}

static bool add_file_line(void *context, const char *name, const struct json *value)
{
    const char *hex = json_as_string(value);
    text_format(context, "%s %s\n", name, hex ? hex : "");
    return true;
}

/* The digest that a checkpoint has of its data (train/batches.c): of the lines of dataset.json's
 * list of files. */
static bool training_digest(const char *folder, char hex[DIGEST_HEX], struct arena *arena,
                            struct error *err)
{
    struct text lines = { 0 };
    struct json *description =
        json_load_schema(path_join(arena, folder, "dataset.json"), DATASET_SCHEMA, err);
    const struct json *files = description ? json_get(description, "files", err) : NULL;
    if (files) {
        json_each(files, add_file_line, &lines);
        struct digest digest = digest_of(lines.bytes ? lines.bytes : "", lines.length);
        digest_hex(&digest, hex);
    }
    text_release(&lines);
    json_free(description);
    return files;
}

static enum link_state check_trained(const struct check *check)
{
    const char *sha256;
    char hex[DIGEST_HEX];
    struct safetensors file;
    struct error err;
    if (check->chain->made_elsewhere)
        return fail(check, LINK_UNKNOWN, "%s", no_model);
    if (!check->chain->model || !check->chain->dataset)
        return fail(check, LINK_UNKNOWN, "the model or its training data were not given");
    const char *path = checkpoint_of(check, &sha256);
    if (!path)
        return fail(check, LINK_BROKEN, "%s does not tell which checkpoint it was drawn from",
                    check->chain->synthetic->path);
    if (!training_digest(check->chain->dataset, hex, check->arena, &err) ||
        !safetensors_open(&file, path, &err))
        return fail(check, LINK_BROKEN, "%s", err.message);
    const char *data = safetensors_metadata(&file, "dataset");
    bool same = data && strcmp(data, hex) == 0;
    safetensors_close(&file);
    return same ? LINK_HOLDS
                : fail(check, LINK_BROKEN, "%s was trained on other data than %s", path,
                       check->chain->dataset);
}

static const struct {
    const char *name, *claim;
    enum link_state (*check)(const struct check *check);
    bool needed;                                 /* must hold: not knowing is not enough */
    bool (*is_there)(const struct chain *chain); /* NULL: always */
} links_table[CHAIN_LINKS] = {
    { "policy", "the limits are those that were fixed before the audit ran", check_policy, true },
    { "intact", "the synthetic set is what its description says", check_intact, true },
    { "audited", "what is packed is what was audited", check_audited, true },
    { "reviewed", "no image that is packed was marked as a copy by a reviewer", check_reviewed,
      false },
    { "used", "what is packed is what usefulness was measured on", check_used, false },
    { "likened", "what is packed is what fidelity was measured on", check_likened, false,
      is_likened },
    { "compared", "it was compared with the data that were ingested", check_compared, false },
    { "generated", "the images were drawn from the model", check_generated, false },
    { "asked", "the model that drew them is the one that membership was measured of", check_asked,
      false, is_asked },
    { "trained", "the model was trained on the data that were ingested", check_trained, false },
};

bool chain_check(const struct chain *chain, struct chain_link links[CHAIN_LINKS],
                 struct arena *arena)
{
    bool ok = true;
    struct chain_link *link = links;
    for (size_t i = 0; i < CHAIN_LINKS; i++) {
        if (links_table[i].is_there && !links_table[i].is_there(chain))
            continue;
        *link = (struct chain_link){ links_table[i].name, links_table[i].claim, 0, NULL };
        const struct check check = { chain, arena, &link->reason };
        link->state = links_table[i].check(&check);
        ok = ok && link->state != LINK_BROKEN &&
             (link->state == LINK_HOLDS || !links_table[i].needed);
        link++;
    }
    for (; link < links + CHAIN_LINKS; link++)
        *link = (struct chain_link){ 0 };
    return ok;
}

struct json *chain_json(const struct chain_link links[CHAIN_LINKS])
{
    struct json *array = json_new_array();
    for (size_t i = 0; i < CHAIN_LINKS && links[i].name; i++) {
        struct json *link = json_new_object();
        json_put_string(link, "claim", links[i].claim);
        json_put_string(link, "link", links[i].name);
        if (links[i].state == LINK_UNKNOWN) /* of a broken one it may name files of the house */
            json_put_string(link, "reason", links[i].reason);
        json_put_string(link, "state", link_state_names[links[i].state]);
        json_push(array, link);
    }
    return array;
}
