/* See certificate.h. */
#include "release/certificate.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ts.h>
#include <openssl/x509v3.h>

#if !OPENSSL_VERSION_PREREQ(3, 4) /* which names them after what they do: own what they are given */
#define TS_VERIFY_CTX_set0_data  TS_VERIFY_CTX_set_data
#define TS_VERIFY_CTX_set0_store TS_VERIFY_CTX_set_store
#define TS_VERIFY_CTX_set0_certs TS_VERIFY_CTX_set_certs
#endif

enum { MOST_AUTHORITY_CERTIFICATES = 16 };

struct authority {
    X509 *certificates[MOST_AUTHORITY_CERTIFICATES];
    size_t count;
};

/* Our message, then OpenSSL's. */
static bool refuse(struct error *err, const char *message)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    error_set(err, reason ? "%s (OpenSSL: %s)" : "%s", message, reason);
    ERR_clear_error();
    return false;
}

/* ---- certificates in and out ----------------------------------------------------------------- */

bool certificates_from_pem(const char *pem, size_t size, const char *name, struct blob *chain,
                           size_t most, size_t *count, struct arena *arena, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    X509 *certificate;
    *count = 0;
    while (*count <= most && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (*count < most) {
            unsigned char *bytes = NULL;
            int length = i2d_X509(certificate, &bytes);
            CHECK(length > 0, "a certificate that cannot be encoded");
            unsigned char *copy = arena_allocate(arena, (size_t)length);
            memcpy(copy, bytes, (size_t)length);
            OPENSSL_free(bytes);
            chain[*count] = (struct blob){ copy, (size_t)length };
        }
        X509_free(certificate);
        ++*count;
    }
    BIO_free(bio);
    ERR_clear_error();
    return (*count && *count <= most) ||
           error_set(err, "%s: %zu certificates in PEM; expected 1 to %zu", name, *count, most);
}

/* All of the bytes, or nothing. */
static X509 *from_der(const struct blob *blob)
{
    const unsigned char *at = blob->bytes;
    X509 *certificate = d2i_X509(NULL, &at, (long)blob->size);
    if (certificate && at != blob->bytes + blob->size) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

static struct key *public_key_of(const X509 *certificate, struct error *err)
{
    char *pem;
    BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *pkey = X509_get0_pubkey(certificate);
    struct key *key = NULL;
    if (pkey && bio && PEM_write_bio_PUBKEY(bio, pkey) == 1) {
        long size = BIO_get_mem_data(bio, &pem);
        key = key_parse_public(pem, (size_t)size, "the certificate", err);
    } else {
        refuse(err, "the certificate's key cannot be read");
    }
    BIO_free(bio);
    return key;
}

struct key *certificate_public_key(const struct blob *blob, struct error *err)
{
    X509 *certificate = from_der(blob);
    struct key *key = certificate ? public_key_of(certificate, err) : NULL;
    if (!certificate)
        refuse(err, "a certificate that is none");
    X509_free(certificate);
    return key;
}

/* ---- authorities ----------------------------------------------------------------------------- */

struct authority *authority_parse(const char *pem, size_t size, const char *name, struct error *err)
{
    struct arena arena;
    struct blob chain[MOST_AUTHORITY_CERTIFICATES];
    struct authority *authority = memory_grow(NULL, 1, sizeof *authority);
    *authority = (struct authority){ 0 };
    arena_init(&arena);
    size_t count;
    bool ok = certificates_from_pem(pem, size, name, chain, MOST_AUTHORITY_CERTIFICATES, &count,
                                    &arena, err);
    for (size_t i = 0; ok && i < count; i++)
        authority->certificates[authority->count++] = from_der(&chain[i]);
    arena_release(&arena);
    if (ok)
        return authority;
    authority_free(authority);
    return NULL;
}

void authority_free(struct authority *authority)
{
    if (!authority)
        return;
    for (size_t i = 0; i < authority->count; i++)
        X509_free(authority->certificates[i]);
    free(authority);
}

static X509_STORE *store_of(const struct authority *authority, int64_t at)
{
    X509_STORE *store = X509_STORE_new();
    CHECK(store, "out of memory: a certificate store");
    for (size_t i = 0; i < authority->count; i++)
        X509_STORE_add_cert(store, authority->certificates[i]);
    X509_VERIFY_PARAM *rules = X509_STORE_get0_param(store);
    X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_time(rules, (time_t)at);
    return store;
}

/* ---- chains ---------------------------------------------------------------------------------- */

static bool may_sign(X509 *certificate, struct error *err)
{
    if (!(X509_get_key_usage(certificate) & KU_DIGITAL_SIGNATURE))
        return error_set(err, "the certificate may not make signatures (key usage)");
    uint32_t extended = X509_get_extended_key_usage(certificate);
    return extended == UINT32_MAX || (extended & XKU_CODE_SIGN) ||
           error_set(err, "the certificate may not sign code or data (extended key usage)");
}

static bool leads_to(X509 *certificate, STACK_OF(X509) * others, const struct authority *authority,
                     int64_t at, struct error *err)
{
    X509_STORE *store = store_of(authority, at);
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool ok = context && X509_STORE_CTX_init(context, store, certificate, others) == 1 &&
              X509_verify_cert(context) == 1;
    if (!ok)
        error_set(err, "the certificate does not lead to the authority: %s",
                  context ? X509_verify_cert_error_string(X509_STORE_CTX_get_error(context))
                          : "out of memory");
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    ERR_clear_error();
    return ok;
}

static const char *subject_of(const X509 *certificate, struct arena *arena)
{
    char *bytes;
    BIO *bio = BIO_new(BIO_s_mem());
    CHECK(bio, "out of memory: a name");
    X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
                       (XN_FLAG_RFC2253 & ~XN_FLAG_DN_REV) | ASN1_STRFLGS_ESC_CTRL);
    long size = BIO_get_mem_data(bio, &bytes);
    const char *subject = arena_substring(arena, bytes, (size_t)size);
    BIO_free(bio);
    return subject;
}

struct key *certificate_key(const struct blob *chain, size_t count,
                            const struct authority *authority, int64_t at, const char **subject,
                            struct arena *arena, struct error *err)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    bool ok = all;
    for (size_t i = 0; ok && i < count; i++) {
        X509 *certificate = from_der(&chain[i]);
        ok = certificate && sk_X509_push(all, certificate) > 0;
        if (!ok)
            refuse(err, "a certificate that is none");
    }
    X509 *first = ok ? sk_X509_value(all, 0) : NULL;
    struct key *key = NULL;
    if (first && leads_to(first, all, authority, at, err) && may_sign(first, err)) {
        *subject = subject_of(first, arena);
        key = public_key_of(first, err);
    }
    sk_X509_pop_free(all, X509_free);
    return key;
}

/* ---- timestamps ------------------------------------------------------------------------------ */

static bool moment_of(TS_RESP *response, int64_t *moment)
{
    TS_TST_INFO *info = TS_RESP_get_tst_info(response);
    const ASN1_GENERALIZEDTIME *time = info ? TS_TST_INFO_get_time(info) : NULL;
    struct tm parts;
    if (!time || ASN1_TIME_to_tm(time, &parts) != 1)
        return false;
    *moment = (int64_t)timegm(&parts);
    return true;
}

static bool holds(TS_RESP *response, const void *bytes, size_t size,
                  const struct authority *authority, int64_t moment, struct error *err)
{
    TS_VERIFY_CTX *context = TS_VERIFY_CTX_new();
    STACK_OF(X509) *known = sk_X509_new_null(); /* for responses without certificates */
    CHECK(context && known, "out of memory: a timestamp");
    for (size_t i = 0; i < authority->count; i++) {
        X509_up_ref(authority->certificates[i]);
        CHECK(sk_X509_push(known, authority->certificates[i]) > 0, "out of memory: a timestamp");
    }
    TS_VERIFY_CTX_set_flags(context, TS_VFY_VERSION | TS_VFY_SIGNATURE | TS_VFY_DATA);
    TS_VERIFY_CTX_set0_data(context, BIO_new_mem_buf(bytes, (int)size));
    TS_VERIFY_CTX_set0_store(context, store_of(authority, moment));
    TS_VERIFY_CTX_set0_certs(context, known);
    bool ok = TS_RESP_verify_response(context, response) == 1 ||
              refuse(err, "the timestamp does not hold");
    TS_VERIFY_CTX_free(context); /* with store, data and certificates */
    ERR_clear_error();
    return ok;
}

bool timestamp_verify(const struct blob *blob, const void *bytes, size_t size,
                      const struct authority *authority, int64_t *moment, struct error *err)
{
    const unsigned char *at = blob->bytes;
    TS_RESP *response = d2i_TS_RESP(NULL, &at, (long)blob->size);
    bool ok = response && at == blob->bytes + blob->size && moment_of(response, moment);
    if (!ok)
        refuse(err, "the timestamp is not a response of RFC 3161");
    ok = ok && holds(response, bytes, size, authority, *moment, err);
    TS_RESP_free(response);
    return ok;
}

bool timestamp_matches(const struct blob *blob, const void *bytes, size_t size, struct error *err)
{
    const unsigned char *at = blob->bytes;
    TS_RESP *response = d2i_TS_RESP(NULL, &at, (long)blob->size);
    TS_VERIFY_CTX *context = TS_VERIFY_CTX_new();
    CHECK(context, "out of memory: a timestamp");
    TS_VERIFY_CTX_set_flags(context, TS_VFY_VERSION | TS_VFY_DATA);
    TS_VERIFY_CTX_set0_data(context, BIO_new_mem_buf(bytes, (int)size));
    bool ok = (response && at == blob->bytes + blob->size &&
               TS_RESP_verify_response(context, response) == 1) ||
              refuse(err, "this is not a timestamp over that signature");
    TS_VERIFY_CTX_free(context);
    TS_RESP_free(response);
    ERR_clear_error();
    return ok;
}

/* The request's parts copy what they are given. */
static bool fill_request(TS_REQ *request, const struct digest *digest)
{
    TS_MSG_IMPRINT *imprint = TS_MSG_IMPRINT_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    bool ok = imprint && algorithm &&
              X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) == 1 &&
              TS_MSG_IMPRINT_set_algo(imprint, algorithm) == 1 &&
              TS_MSG_IMPRINT_set_msg(imprint, (unsigned char *)(uintptr_t)digest->bytes,
                                     DIGEST_BYTES) == 1 &&
              TS_REQ_set_version(request, 1) == 1 &&
              TS_REQ_set_msg_imprint(request, imprint) == 1 && TS_REQ_set_cert_req(request, 1) == 1;
    TS_MSG_IMPRINT_free(imprint);
    X509_ALGOR_free(algorithm);
    return ok;
}

bool timestamp_request(const void *bytes, size_t size, struct text *out, struct error *err)
{
    struct digest digest = digest_of(bytes, size);
    TS_REQ *request = TS_REQ_new();
    unsigned char *der = NULL;
    int length = request && fill_request(request, &digest) ? i2d_TS_REQ(request, &der) : -1;
    if (length > 0)
        text_add_bytes(out, der, (size_t)length);
    OPENSSL_free(der);
    TS_REQ_free(request);
    return length > 0 || refuse(err, "a request for a timestamp cannot be made");
}
