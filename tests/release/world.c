/* See world.h. */
#include "release/world.h"

#include "test.h"

#include "base/file.h"
#include "release/bundle.h"
#include "release/sample.h"

#include <stdio.h>
#include <unistd.h>

#include <zstd.h>

static const unsigned char zeros[TAR_END];

static void build_tar(struct world *world)
{
    struct tar_walk walk;
    struct tar_entry entry;
    unsigned char header[TAR_BLOCK];
    text_clear(&world->tar);
    tar_walk_begin(&walk, world->manifest.root, world->manifest.files, world->manifest.file_count);
    while (tar_walk_next(&walk, &entry)) {
        tar_header(&entry, world->manifest.created, header);
        text_add_bytes(&world->tar, header, TAR_BLOCK);
        if (!entry.folder)
            text_add_bytes(&world->tar, world->contents[entry.file], entry.size);
        text_add_bytes(&world->tar, zeros, tar_padding(entry.size));
    }
    text_add_bytes(&world->tar, zeros, TAR_END);
}

/* Keys 0, 1 and 2 in the three roles; the first two are required. */
static void build_trust(struct world *world)
{
    struct trust *trust = &world->trust;
    trust->distinct = true;
    trust->require[ROLE_PRODUCER] = trust->require[ROLE_AUDITOR] = 1;
    trust->keys = arena_array(&world->arena, struct trust_key, WORLD_KEYS);
    trust->key_count = WORLD_KEYS;
    for (int i = 0; i < WORLD_KEYS; i++)
        trust->keys[i] = (struct trust_key){ role_names[i],  (enum role)i,
                                             world->keys[i], key_fingerprint(world->keys[i]),
                                             INT64_MIN,      INT64_MAX };
}

void world_begin(struct world *world)
{
    *world = (struct world){ 0 };
    arena_init(&world->arena);
    strcpy(world->folder, "/tmp/lethe-world-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    for (int i = 0; i < WORLD_KEYS; i++)
        assert_non_null(world->keys[i] =
                            key_generate(i == 1 ? KEY_ED25519 : KEY_P256, &world->err));
    world->manifest = sample_manifest(&world->arena);
    world->contents = arena_array(&world->arena, const char *, 4);
    for (size_t i = 0; i < 4; i++)
        world->contents[i] = sample_contents[i];
    build_trust(world);
    build_tar(world);
    findings_init(&world->result.findings);
}

void world_end(struct world *world)
{
    verification_release(&world->result);
    for (int i = 0; i < WORLD_KEYS; i++)
        key_free(world->keys[i]);
    text_release(&world->tar);
    arena_release(&world->arena);
    assert_ok(folder_remove(world->folder, &world->err), world->err);
}

char *world_find(struct world *world, const char *text)
{
    char *found = memmem(world->tar.bytes, world->tar.length, text, strlen(text));
    assert_non_null(found);
    return found;
}

char *world_path(struct world *world, const char *name)
{
    return path_join(&world->arena, world->folder, name);
}

void world_write(struct world *world, const char *name, const void *bytes, size_t size)
{
    /* Not file_write: hundreds of thousands of syncs would take longer than all else. */
    FILE *file = fopen(world_path(world, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- packing --------------------------------------------------------------------------------- */

static void compress(const struct text *tar, const struct packing *packing, struct text *out)
{
    size_t capacity = ZSTD_compressBound(tar->length);
    char *bytes = memory_grow(NULL, capacity, 1);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, !packing->no_checksum);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, !packing->no_size);
    if (packing->window_log)
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, packing->window_log);
    size_t size = ZSTD_compress2(context, bytes, capacity, tar->bytes, tar->length);
    assert_false(ZSTD_isError(size));
    text_add_bytes(out, packing->before, packing->before_size);
    text_add_bytes(out, bytes, size - packing->cut);
    text_add_bytes(out, packing->after, packing->after_size);
    ZSTD_freeCCtx(context);
    free(bytes);
}

static void write_volumes(struct world *world, const struct text *archive, size_t volume_size)
{
    struct manifest *manifest = &world->manifest;
    size_t count = (archive->length + volume_size - 1) / volume_size;
    manifest->volumes = arena_array(&world->arena, struct manifest_volume, count);
    manifest->volume_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *from = archive->bytes + i * volume_size;
        size_t left = archive->length - i * volume_size;
        size_t size = left < volume_size ? left : volume_size;
        manifest->volumes[i] =
            (struct manifest_volume){ arena_format(&world->arena, "%s.%03zu",
                                                   manifest->archive.name, i + 1),
                                      size, digest_of(from, size) };
        world_write(world, manifest->volumes[i].name, from, size);
    }
}

void world_write_manifest(struct world *world)
{
    struct text text = { 0 };
    assert_ok(manifest_write(&world->manifest, &text, &world->err), world->err);
    world_write(world, "brain-1.0.manifest.json", text.bytes, text.length);
    text_release(&text);
}

void world_pack(struct world *world, const struct packing *packing)
{
    static const struct packing plain;
    struct text archive = { 0 };
    packing = packing ? packing : &plain;
    compress(&world->tar, packing, &archive);
    if (!packing->keep_digests) {
        world->manifest.tar.sha256 = digest_of(world->tar.bytes, world->tar.length);
        world->manifest.archive.sha256 = digest_of(archive.bytes, archive.length);
        world->manifest.archive.size = archive.length;
    }
    if (packing->volume_size)
        write_volumes(world, &archive, packing->volume_size);
    else
        world_write(world, world->manifest.archive.name, archive.bytes, archive.length);
    world_write_manifest(world);
    text_release(&archive);
}

/* ---- signing --------------------------------------------------------------------------------- */

struct statement_release world_release(struct world *world)
{
    struct statement_release release = { .manifest = &world->manifest };
    assert_ok(digest_file(world_path(world, "brain-1.0.manifest.json"), &release.manifest_digest,
                          &world->err),
              world->err);
    return release;
}

struct statement world_says(enum role role)
{
    return (struct statement){ .role = role,
                               .created = WORLD_NOW - 1000,
                               .expires = WORLD_NOW + 1000,
                               .tool_version = "0.1.0",
                               .reason = "a subject took back consent" };
}

void world_sign_text(struct world *world, const char *name, const char *statement, int key)
{
    struct text encoded = { 0 }, document = { 0 };
    struct signature signature;
    char hex[DIGEST_HEX];
    struct digest fingerprint = key_fingerprint(world->keys[key]);
    dsse_encode(&encoded, BUNDLE_PAYLOAD_TYPE, statement, strlen(statement));
    assert_ok(key_sign(world->keys[key], encoded.bytes, encoded.length, &signature, &world->err),
              world->err);
    struct bundle bundle = { .payload = { (const unsigned char *)statement, strlen(statement) },
                             .signature = { signature.bytes, signature.size },
                             .hint = digest_hex(&fingerprint, hex) };
    bundle_write(&bundle, &document);
    world_write(world, name, document.bytes, document.length);
    text_release(&encoded);
    text_release(&document);
}

void world_sign(struct world *world, enum statement_kind kind, enum role role, int key)
{
    struct statement says = world_says(role);
    struct statement_release release = world_release(world);
    says.verdict = world->manifest.claims.verdict;
    char *text = kind == STATEMENT_FILES   ? statement_files(&release)
                 : kind == STATEMENT_AUDIT ? statement_audit(&release, &says, NULL)
                                           : statement_withdrawal(&release, &says);
    world_sign_text(world,
                    arena_format(&world->arena, "brain-1.0.%s.%s.sigstore.json", role_names[role],
                                 statement_kind_names[kind]),
                    text, key);
    memory_free(text);
}

void world_sign_both(struct world *world)
{
    world_sign(world, STATEMENT_AUDIT, ROLE_PRODUCER, 0);
    world_sign(world, STATEMENT_AUDIT, ROLE_AUDITOR, 1);
}

/* ---- verifying ------------------------------------------------------------------------------- */

enum answer world_verify(struct world *world)
{
    struct verify_job job = { .archive = world_path(world, world->manifest.volume_count
                                                               ? "brain-1.0.tar.zst.001"
                                                               : "brain-1.0.tar.zst"),
                              .trust = &world->trust,
                              .now = WORLD_NOW,
                              .extract = world->extract };
    verification_release(&world->result);
    world->told = verify(&job, &world->result, &world->arena, &world->err);
    return world->result.answer;
}

void world_expect(struct world *world, enum answer answer, const char *problem)
{
    enum answer seen = world_verify(world);
    if (!world->told)
        fail_msg("could not tell: %s", world->err.message);
    bool found = false;
    const struct findings *findings = &world->result.findings;
    for (size_t i = 0; i < findings->count; i++)
        found = found || strstr(findings->items[i].text, problem);
    if (!found)
        fail_msg("expected \"%s\" in: %s", problem,
                 findings->count ? findings->items[0].text : "no problem at all");
    assert_int_equal(seen, answer);
}
