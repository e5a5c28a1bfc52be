/* See key.h. */
#include "release/key.h"

#include "base/file.h"
#include "base/text.h"
#include "release/base64.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509.h>

enum { LARGEST_KEY_FILE = 1 << 16, READ_SIZE = 1 << 18, SCRYPT_N = 1 << 14, SCRYPT_R = 8 };

const char *const key_kind_names[KEY_KIND_COUNT + 1] = { "p256", "ed25519", "p384", NULL };

/* What OpenSSL calls each kind, the digest that is signed (NULL: the message itself), the bytes of
 * r and of s, and what stands before the key's own bytes in a SubjectPublicKeyInfo (RFC 5480,
 * 8410). That prefix never varies, so public keys are read and written without OpenSSL's decoders
 * and encoders, which take 1.5 ms to set up: a third of what verifying a small release took. */
static const struct kind_info {
    const char *type, *group, *digest;
    size_t number_size, public_size, prefix_size;
    const char *prefix;
} kinds[KEY_KIND_COUNT] = {
    [KEY_P256] = { "EC", "prime256v1", "SHA256", 32, 65, 26,
                   "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d"
                   "\x03\x01\x07\x03\x42\x00" },
    [KEY_ED25519] = { "ED25519", NULL, NULL, 32, 32, 12,
                      "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00" },
    [KEY_P384] = { "EC", "secp384r1", "SHA384", 48, 97, 23,
                   "\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22"
                   "\x03\x62\x00" },
};
enum { LARGEST_PREFIX = 26, PEM_LINE = 64 };
static const char pem_begin[] = "-----BEGIN PUBLIC KEY-----",
                  pem_end[] = "-----END PUBLIC KEY-----";

struct key {
    EVP_PKEY *pkey; /* the public half alone where somebody else holds the private one */
    enum key_kind kind;
    struct key_holder holder; /* sign is NULL: nobody */
};

/* Our message, then what OpenSSL has to say, which is often the part that helps. */
static bool openssl_error(struct error *err, const char *format, ...) PRINTF(2, 3);
static bool openssl_error(struct error *err, const char *format, ...)
{
    char message[ERROR_CAPACITY], reason[256] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    unsigned long code = ERR_peek_last_error();
    if (code && ERR_reason_error_string(code))
        snprintf(reason, sizeof reason, " (OpenSSL: %s)", ERR_reason_error_string(code));
    ERR_clear_error();
    return error_set(err, "%s%s", message, reason);
}

/* Ciphers, and undoing all of it at the end, are left out for time: 0.7 of 4 ms. */
void key_ignore_configuration(void)
{
    CHECK(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
                                  OPENSSL_INIT_NO_ATEXIT,
                              NULL) == 1,
          "OpenSSL does not start");
}

void secret_clear(void *secret, size_t size)
{
    OPENSSL_cleanse(secret, size);
}

void key_free(struct key *key)
{
    if (!key)
        return;
    if (key->holder.sign)
        key->holder.release(key->holder.context);
    EVP_PKEY_free(key->pkey);
    free(key);
}

/* ---- what kind of key ------------------------------------------------------------------------ */

static bool is_kind(const EVP_PKEY *pkey, const struct kind_info *kind)
{
    char group[64] = "";
    if (!EVP_PKEY_is_a(pkey, kind->type))
        return false;
    return !kind->group || (EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
                            strcmp(group, kind->group) == 0);
}

/* Takes the key over. Points are written uncompressed, so that a key has one fingerprint. */
static struct key *wrap(EVP_PKEY *pkey, const char *name, struct error *err)
{
    for (int i = 0; i < KEY_KIND_COUNT; i++) {
        if (!is_kind(pkey, &kinds[i]))
            continue;
        if (kinds[i].group && /* keys of a card need not let themselves be set; theirs are plain */
            EVP_PKEY_set_utf8_string_param(pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                           "uncompressed") != 1)
            ERR_clear_error();
        struct key *key = memory_grow(NULL, 1, sizeof *key);
        *key = (struct key){ .pkey = pkey, .kind = (enum key_kind)i };
        return key;
    }
    EVP_PKEY_free(pkey);
    error_set(err, "%s: neither a P-256, nor an Ed25519, nor a P-384 key", name);
    return NULL;
}

enum key_kind key_kind(const struct key *key)
{
    return key->kind;
}

struct key *key_generate(enum key_kind kind, struct error *err)
{
    EVP_PKEY *pkey = kinds[kind].group ? EVP_EC_gen(kinds[kind].group)
                                       : EVP_PKEY_Q_keygen(NULL, NULL, kinds[kind].type);
    if (pkey)
        return wrap(pkey, "the new key", err);
    openssl_error(err, "a %s key cannot be made", key_kind_names[kind]);
    return NULL;
}

static EVP_PKEY *public_key(const struct kind_info *kind, const unsigned char *bytes, size_t size)
{
    if (!kind->group)
        return EVP_PKEY_new_raw_public_key_ex(NULL, kind->type, NULL, bytes, size);
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)kind->group,
                                         0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)bytes, size),
        OSSL_PARAM_construct_end()
    };
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind->type, NULL);
    if (context && EVP_PKEY_fromdata_init(context) == 1)
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)(uintptr_t)parameters);
    EVP_PKEY_CTX_free(context);
    return pkey;
}

struct key *key_of_holder(enum key_kind kind, const unsigned char *public_bytes, size_t size,
                          const struct key_holder *holder, const char *name, struct error *err)
{
    EVP_PKEY *pkey = public_key(&kinds[kind], public_bytes, size);
    struct key *key = pkey ? wrap(pkey, name, err) : NULL;
    if (!pkey)
        openssl_error(err, "%s: its public half is not a %s key", name, key_kind_names[kind]);
    if (key)
        key->holder = *holder;
    return key;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct asking {
    const struct passphrase *passphrase;
    struct error err;
    bool asked, failed;
};

/* OpenSSL's callback for passphrases: their length, or -1. */
static int ask_passphrase(char *buffer, int capacity, int writing, void *context)
{
    (void)writing;
    struct asking *asking = context;
    char phrase[PASSPHRASE_CAPACITY];
    asking->asked = true;
    if (!asking->passphrase) {
        asking->failed = !error_set(&asking->err, "it is encrypted, and no passphrase is at hand");
        return -1;
    }
    if (!asking->passphrase->ask(asking->passphrase->context, phrase, sizeof phrase,
                                 &asking->err)) {
        asking->failed = true;
        return -1;
    }
    size_t length = strlen(phrase);
    bool fits = capacity >= 0 && length <= (size_t)capacity;
    if (fits)
        memcpy(buffer, phrase, length);
    secret_clear(phrase, sizeof phrase);
    return fits ? (int)length : -1;
}

static struct key *open_failed(const char *source, const struct asking *asking, struct error *err)
{
    if (asking->failed) {
        ERR_clear_error();
        error_set(err, "%s: %s", source, asking->err.message);
    } else if (asking->asked) {
        openssl_error(err, "%s: cannot be decrypted; is the passphrase right?", source);
    } else {
        openssl_error(err, "%s: no private key in PEM or PKCS#8 there", source);
    }
    return NULL;
}

static struct key *open_file(const char *path, struct asking *asking, struct error *err)
{
    size_t size;
    char *bytes = file_read(path, LARGEST_KEY_FILE, &size, err);
    if (!bytes)
        return NULL;
    BIO *bio = BIO_new_mem_buf(bytes, (int)size);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, ask_passphrase, asking);
    BIO_free(bio);
    secret_clear(bytes, size);
    memory_free(bytes);
    return pkey ? wrap(pkey, path, err) : open_failed(path, asking, err);
}

/* The first private key that the store tells of. */
static struct key *open_store(const char *uri, struct asking *asking, struct error *err)
{
    UI_METHOD *method = UI_UTIL_wrap_read_pem_callback(ask_passphrase, 0);
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, method, asking, NULL, NULL);
    EVP_PKEY *pkey = NULL;
    if (!store)
        openssl_error(err, "%s: cannot be opened; is the provider for it installed and configured?",
                      uri);
    while (store && !pkey && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            pkey = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
        if (!info && OSSL_STORE_error(store))
            break;
    }
    UI_destroy_method(method);
    if (!store)
        return NULL;
    OSSL_STORE_close(store);
    return pkey ? wrap(pkey, uri, err) : open_failed(uri, asking, err);
}

/* "pkcs11:…", "file:…"; a single letter in front of the colon would be somebody's drive. */
static bool is_uri(const char *source)
{
    size_t scheme =
        strspn(source, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
    return scheme > 1 && source[scheme] == ':' && path_kind(source) == PATH_NOTHING;
}

struct key *key_open_private(const char *source, const struct passphrase *passphrase,
                             struct error *err)
{
    struct asking asking = { .passphrase = passphrase };
    return (is_uri(source) ? open_store : open_file)(source, &asking, err);
}

/* The key between BEGIN and END as everybody writes it; NULL: something else, which is for OpenSSL
 * to read or refuse. */
static EVP_PKEY *parse_plain(const char *first, size_t size, struct arena *arena)
{
    const char *from = first + strlen(pem_begin);
    const char *end = memmem(from, size - strlen(pem_begin), pem_end, strlen(pem_end));
    struct text body = { 0 };
    for (; end && from < end; from++)
        if (*from != '\n' && *from != '\r')
            text_add_bytes(&body, from, 1);
    size_t got = 0;
    unsigned char *der = body.length ? base64_bytes(arena, body.bytes, &got) : NULL;
    EVP_PKEY *pkey = NULL;
    for (int i = 0; der && !pkey && i < KEY_KIND_COUNT; i++)
        if (got == kinds[i].prefix_size + kinds[i].public_size &&
            memcmp(der, kinds[i].prefix, kinds[i].prefix_size) == 0)
            pkey = public_key(&kinds[i], der + kinds[i].prefix_size, kinds[i].public_size);
    text_release(&body);
    return pkey;
}

static EVP_PKEY *parse_any(const char *pem, size_t size)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    EVP_PKEY *pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return pkey;
}

struct key *key_parse_public(const char *pem, size_t size, const char *name, struct error *err)
{
    const char *first =
        size < LARGEST_KEY_FILE ? memmem(pem, size, pem_begin, strlen(pem_begin)) : NULL;
    size_t left = first ? size - (size_t)(first - pem) : 0;
    if (!first) {
        error_set(err, "%s: no public key in PEM there (\"%s\")", name, pem_begin);
        return NULL;
    }
    if (memmem(first + strlen(pem_begin), left - strlen(pem_begin), "-----BEGIN", 10)) {
        error_set(err, "%s: more than one thing in PEM there; expected one public key", name);
        return NULL;
    }
    struct arena arena;
    arena_init(&arena);
    EVP_PKEY *pkey = parse_plain(first, left, &arena);
    arena_release(&arena);
    if (!pkey)
        pkey = parse_any(pem, size);
    if (pkey)
        return wrap(pkey, name, err);
    openssl_error(err, "%s: the public key there cannot be read", name);
    return NULL;
}

struct key *key_load_public(const char *path, struct error *err)
{
    size_t size;
    char *pem = file_read(path, LARGEST_KEY_FILE, &size, err);
    if (!pem)
        return NULL;
    struct key *key = key_parse_public(pem, size, path, err);
    memory_free(pem);
    return key;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool write_private(const struct key *key, BIO *bio, const char *phrase)
{
    if (!phrase)
        return PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1;
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key->pkey);
    X509_ALGOR *scheme =
        PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, 1);
    X509_SIG *sealed =
        plain && scheme ? PKCS8_set0_pbe(phrase, (int)strlen(phrase), plain, scheme) : NULL;
    bool ok = sealed && PEM_write_bio_PKCS8(bio, sealed) == 1;
    if (!sealed)
        X509_ALGOR_free(scheme);
    X509_SIG_free(sealed);
    PKCS8_PRIV_KEY_INFO_free(plain);
    return ok;
}

bool key_save_private(const struct key *key, const char *path, const char *phrase,
                      struct error *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *bytes;
    bool ok = bio && (write_private(key, bio, phrase) ||
                      openssl_error(err, "%s: the private key cannot be encoded", path));
    if (ok) {
        long size = BIO_get_mem_data(bio, &bytes);
        ok = file_write(path, bytes, (size_t)size, err);
    }
    BIO_free(bio);
    return ok;
}

const char *key_public_pem(const struct key *key, struct arena *arena)
{
    const struct kind_info *kind = &kinds[key->kind];
    unsigned char der[LARGEST_PREFIX + PUBLIC_KEY_CAPACITY];
    memcpy(der, kind->prefix, kind->prefix_size);
    CHECK(key_public_bytes(key, der + kind->prefix_size) == kind->public_size,
          "a public key in another form than the plain one");
    const char *base64 = base64_text(arena, der, kind->prefix_size + kind->public_size);
    struct text pem = { 0 };
    text_format(&pem, "%s\n", pem_begin);
    for (size_t at = 0, size = strlen(base64); at < size; at += PEM_LINE)
        text_format(&pem, "%.*s\n", PEM_LINE, base64 + at);
    text_format(&pem, "%s\n", pem_end);
    char *copy = arena_string(arena, pem.bytes);
    text_release(&pem);
    return copy;
}

struct digest key_fingerprint(const struct key *key)
{
    struct arena arena;
    arena_init(&arena);
    const char *pem = key_public_pem(key, &arena);
    struct digest digest = digest_of(pem, strlen(pem));
    arena_release(&arena);
    return digest;
}

size_t key_public_bytes(const struct key *key, unsigned char bytes[PUBLIC_KEY_CAPACITY])
{
    size_t size = 0;
    CHECK(EVP_PKEY_get_octet_string_param(key->pkey, OSSL_PKEY_PARAM_PUB_KEY, bytes,
                                          PUBLIC_KEY_CAPACITY, &size) == 1,
          "a public key without bytes");
    return size;
}

/* ---- signatures ------------------------------------------------------------------------------ */

/* r and s, as DER has them. */
static bool raw_to_der(const struct kind_info *kind, const unsigned char *raw, size_t size,
                       struct signature *der)
{
    if (size != 2 * kind->number_size)
        return false;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)kind->number_size, NULL);
    BIGNUM *s = BN_bin2bn(raw + kind->number_size, (int)kind->number_size, NULL);
    CHECK(pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1, "out of memory: a signature");
    unsigned char *at = der->bytes;
    int length = i2d_ECDSA_SIG(pair, NULL);
    CHECK(length > 0 && length <= SIGNATURE_CAPACITY && i2d_ECDSA_SIG(pair, &at) == length,
          "a signature of %d bytes", length);
    der->size = (size_t)length;
    ECDSA_SIG_free(pair);
    return true;
}

/* Holders are other people's devices: what comes back has to be a signature by this very key. */
static bool sign_by_holder(const struct key *key, const void *bytes, size_t size,
                           struct signature *signature, struct error *err)
{
    const struct kind_info *kind = &kinds[key->kind];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    struct signature raw = { .size = sizeof raw.bytes };
    if (kind->digest && EVP_Digest(bytes, size, digest, &digest_size,
                                   EVP_get_digestbyname(kind->digest), NULL) != 1)
        return openssl_error(err, "the digest to be signed cannot be taken");
    if (!key->holder.sign(key->holder.context, kind->digest ? digest : bytes,
                          kind->digest ? digest_size : size, &raw, err))
        return false;
    *signature = raw;
    if (kind->group && !raw_to_der(kind, raw.bytes, raw.size, signature))
        return error_set(err, "the device's signature has %zu bytes instead of %zu", raw.size,
                         2 * kind->number_size);
    return key_verify(key, bytes, size, signature->bytes, signature->size) ||
           error_set(err, "the device gave a signature that its public key does not verify");
}

bool key_sign(const struct key *key, const void *bytes, size_t size, struct signature *signature,
              struct error *err)
{
    if (key->holder.sign)
        return sign_by_holder(key, bytes, size, signature, err);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    signature->size = sizeof signature->bytes;
    bool ok = context &&
              EVP_DigestSignInit_ex(context, NULL, kinds[key->kind].digest, NULL, NULL, key->pkey,
                                    NULL) == 1 &&
              EVP_DigestSign(context, signature->bytes, &signature->size, bytes, size) == 1;
    EVP_MD_CTX_free(context);
    return ok || openssl_error(err, "the key does not sign");
}

bool key_verify(const struct key *key, const void *bytes, size_t size, const void *signature,
                size_t signature_size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = context &&
              EVP_DigestVerifyInit_ex(context, NULL, kinds[key->kind].digest, NULL, NULL, key->pkey,
                                      NULL) == 1 &&
              EVP_DigestVerify(context, signature, signature_size, bytes, size) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return ok;
}

bool key_verify_raw(const struct key *key, const void *bytes, size_t size, const void *signature,
                    size_t signature_size)
{
    const struct kind_info *kind = &kinds[key->kind];
    if (!kind->group)
        return key_verify(key, bytes, size, signature, signature_size);
    struct signature der;
    return raw_to_der(kind, signature, signature_size, &der) &&
           key_verify(key, bytes, size, der.bytes, der.size);
}

bool signature_to_raw(const struct key *key, const struct signature *signature,
                      struct signature *raw, struct error *err)
{
    const struct kind_info *kind = &kinds[key->kind];
    *raw = *signature;
    if (!kind->group)
        return true;
    const unsigned char *at = signature->bytes;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)signature->size);
    int size = (int)kind->number_size;
    bool ok = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw->bytes, size) == size &&
              BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw->bytes + size, size) == size;
    ECDSA_SIG_free(pair);
    raw->size = 2 * kind->number_size;
    return ok || openssl_error(err, "a signature that is none");
}

/* ---- digests --------------------------------------------------------------------------------- */

bool long_digest_file(enum long_digest kind, const char *path, unsigned char digest[64],
                      struct error *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    FILE *file = fopen(path, "rbe");
    unsigned char *buffer = memory_grow(NULL, READ_SIZE, 1);
    const EVP_MD *type = kind == LONG_SHA512 ? EVP_sha512() : EVP_blake2b512();
    bool ok = file || error_set_errno(err, "%s: cannot open", path);
    if (ok && (!context || EVP_DigestInit_ex(context, type, NULL) != 1))
        ok = openssl_error(err, "%s: its digest cannot be taken", path);
    for (size_t got = 1; ok && got;) {
        got = fread(buffer, 1, READ_SIZE, file);
        ok = EVP_DigestUpdate(context, buffer, got) == 1;
    }
    if (ok && ferror(file))
        ok = error_set(err, "%s: read error", path);
    ok = ok && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    if (file)
        fclose(file);
    free(buffer);
    EVP_MD_CTX_free(context);
    return ok;
}
