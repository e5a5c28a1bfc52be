/* Signing at the end of lethe run; see run_sign.h. */
#include "run_sign.h"

#include "passphrase.h"

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "release/moment.h"
#include "release/sign.h"

enum { DAYS = 365 }; /* as lethe sign does without --days */

static bool journal_signing(struct journal *journal, enum role role, const char *archive,
                            const struct signed_files *written, struct error *err)
{
    struct json *details = json_new_object(), *list = json_new_array();
    json_put_string(details, "archive", path_name(archive));
    json_put_string(details, "role", role_names[role]);
    for (size_t i = 0; i < written->count; i++)
        json_push_string(list, path_name(written->paths[i]));
    json_put(details, "bundles", list);
    return journal_add(journal, "signed", details, err);
}

/* Every difference between archive and manifest, in one message. */
static bool tell_findings(const struct findings *findings, struct error *err)
{
    for (size_t i = 0; i < findings->count; i++)
        error_set(err, "%s\n  %s", err->message, findings->items[i].text);
    return false;
}

static bool sign_archive(const struct run_sign *sign, const char *archive, struct journal *journal,
                         struct arena *arena, struct error *err)
{
    struct findings findings;
    struct signed_files written;
    struct sign_job job = {
        .archive = archive, .says = { .role = (enum role)sign->role, .tool_version = LETHE_VERSION }
    };
    if (!moment_now(&job.says.created, err))
        return false;
    job.says.expires = job.says.created + (int64_t)DAYS * 86400;
    struct key *key = signing_key_open(sign->key, sign->passphrase_file, err);
    if (!key)
        return false;
    job.key = key;
    findings_init(&findings);
    bool ok = sign_release(&job, &written, &findings, arena, err) || tell_findings(&findings, err);
    findings_release(&findings);
    key_free(key);
    return ok && journal_signing(journal, (enum role)sign->role, archive, &written, err);
}

bool run_sign(const struct run_sign *sign, const char *stem, struct journal *journal,
              struct arena *arena, struct text *told, struct error *err)
{
    const char *role = role_names[sign->role];
    const char *archive = arena_format(arena, "%s.tar.zst", stem);
    bool there =
        path_kind(arena_format(arena, "%s.%s.audit.sigstore.json", stem, role)) == PATH_FILE;
    if (!there && !sign_archive(sign, archive, journal, arena, err))
        return error_prefix(err, "signing");
    text_format(told, "%s: %s as %s\n", archive, there ? "was signed already" : "signed", role);
    return true;
}
