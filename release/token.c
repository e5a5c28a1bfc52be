/* Keys on tokens, and the whole contact surface with p11-kit; see token.h.
 *
 * From the URI to the key: the modules; the one slot whose token fits; a session, logged in; the
 * one private key that fits; its public half, which tokens keep as an object of the same CKA_ID. */
#include "release/token.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>

enum { MOST_SLOTS = 64, MOST_ATTRIBUTES = 16, ID_CAPACITY = 256, POINT_CAPACITY = 256 };

struct token {
    CK_FUNCTION_LIST **modules; /* all that are registered; NULL where the URI names one */
    CK_FUNCTION_LIST *named;    /* that one */
    CK_FUNCTION_LIST *module;   /* the one that is used */
    CK_SESSION_HANDLE session;  /* 0: none */
    CK_OBJECT_HANDLE key;
    CK_MECHANISM_TYPE mechanism;
    bool pin_each_time; /* CKA_ALWAYS_AUTHENTICATE, as of PIV's key for signatures */
    bool own_keypad;    /* the PIN is entered at the reader */
    char pin[PASSPHRASE_CAPACITY];
    char label[33];
};

/* How a key of each kind looks there. CKA_EC_PARAMS is a curve's OID, or for Ed25519 its OID or its
 * name, in DER. */
static const struct token_kind {
    enum key_kind kind;
    CK_KEY_TYPE type;
    CK_MECHANISM_TYPE mechanism;
    const char *parameters;
    size_t size;
} token_kinds[] = {
    { KEY_P256, CKK_EC, CKM_ECDSA, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10 },
    { KEY_P384, CKK_EC, CKM_ECDSA, "\x06\x05\x2b\x81\x04\x00\x22", 7 },
    { KEY_ED25519, CKK_EC_EDWARDS, CKM_EDDSA, "\x06\x03\x2b\x65\x70", 5 },
    { KEY_ED25519, CKK_EC_EDWARDS, CKM_EDDSA,
      "\x13\x0c"
      "edwards25519",
      14 },
};

static bool failed(const struct token *token, const char *what, CK_RV code, struct error *err)
{
    return error_set(err, "token \"%s\": %s: %s", token->label, what, p11_kit_strerror(code));
}

/* ---- modules --------------------------------------------------------------------------------- */

static bool load_named(struct token *token, const char *path, struct error *err)
{
    token->named = p11_kit_module_load(path, 0);
    if (!token->named)
        return error_set(err, "%s: this PKCS#11 module cannot be loaded", path);
    CK_RV code = p11_kit_module_initialize(token->named);
    if (code == CKR_OK)
        return true;
    p11_kit_module_release(token->named);
    token->named = NULL;
    return error_set(err, "%s: this PKCS#11 module does not start: %s", path,
                     p11_kit_strerror(code));
}

static bool load_modules(struct token *token, P11KitUri *uri, struct error *err)
{
    const char *path = p11_kit_uri_get_module_path(uri);
    if (path)
        return load_named(token, path, err);
    token->modules = p11_kit_modules_load_and_initialize(0);
    return (token->modules && *token->modules) ||
           error_set(err, "no PKCS#11 module is registered here: install the one of your card or "
                          "device (opensc-pkcs11 knows most cards), or name its file in the URI: "
                          "pkcs11:...?module-path=/usr/lib/...");
}

static void unload(struct token *token)
{
    if (token->modules)
        p11_kit_modules_finalize_and_release(token->modules);
    if (token->named) {
        p11_kit_module_finalize(token->named);
        p11_kit_module_release(token->named);
    }
}

/* ---- the token ------------------------------------------------------------------------------- */

struct search {
    struct token *token;
    P11KitUri *uri;
    CK_SLOT_ID slot;
    size_t fitting;
    struct text seen; /* labels of all tokens, for the message */
};

/* Fields of PKCS#11 are padded with blanks. */
static void copy_label(const CK_UTF8CHAR *label, char out[33])
{
    size_t length = 32;
    while (length && label[length - 1] == ' ')
        length--;
    memcpy(out, label, length);
    out[length] = '\0';
}

static void look_into(struct search *search, CK_FUNCTION_LIST *module)
{
    CK_SLOT_ID slots[MOST_SLOTS];
    CK_ULONG count = MOST_SLOTS;
    CK_TOKEN_INFO info;
    char label[33];
    if (module->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        return;
    for (CK_ULONG i = 0; i < count; i++) {
        if (module->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
            !(info.flags & CKF_TOKEN_INITIALIZED))
            continue;
        copy_label(info.label, label);
        text_format(&search->seen, "%s\"%s\"", search->seen.length ? ", " : "", label);
        if (p11_kit_uri_match_token_info(search->uri, &info) != 1)
            continue;
        search->fitting++;
        search->slot = slots[i];
        search->token->module = module;
        search->token->own_keypad = info.flags & CKF_PROTECTED_AUTHENTICATION_PATH;
        memcpy(search->token->label, label, sizeof label);
    }
}

static bool find_token(struct token *token, P11KitUri *uri, const char *name, CK_SLOT_ID *slot,
                       struct error *err)
{
    struct search search = { .token = token, .uri = uri };
    bool ok = true;
    if (token->named)
        look_into(&search, token->named);
    for (CK_FUNCTION_LIST **module = token->modules; module && *module; module++)
        look_into(&search, *module);
    *slot = search.slot;
    if (!search.seen.length)
        ok = error_set(err, "%s: there is no token; is the card or device plugged in?", name);
    else if (!search.fitting)
        ok = error_set(err, "%s: no such token; there are %s", name, search.seen.bytes);
    else if (search.fitting > 1)
        ok = error_set(err,
                       "%s: %zu tokens fit; say more of token, serial, manufacturer: there are "
                       "%s",
                       name, search.fitting, search.seen.bytes);
    text_release(&search.seen);
    return ok;
}

/* ---- the session ----------------------------------------------------------------------------- */

static bool log_in(struct token *token, CK_USER_TYPE user, struct error *err)
{
    size_t length = strlen(token->pin);
    CK_RV code = token->module->C_Login(token->session, user,
                                        token->own_keypad ? NULL : (CK_UTF8CHAR *)token->pin,
                                        token->own_keypad ? 0 : (CK_ULONG)length);
    if (code == CKR_OK || code == CKR_USER_ALREADY_LOGGED_IN)
        return true;
    if (code == CKR_PIN_INCORRECT || code == CKR_PIN_LEN_RANGE || code == CKR_PIN_INVALID)
        return error_set(err,
                         "token \"%s\": the PIN is wrong. It was tried once; cards lock after "
                         "a few",
                         token->label);
    if (code == CKR_PIN_LOCKED)
        return error_set(err,
                         "token \"%s\": its PIN is locked; unlock it with the tool of the card",
                         token->label);
    return failed(token, "it does not let us in", code, err);
}

static bool open_session(struct token *token, CK_SLOT_ID slot, const struct passphrase *pin,
                         const char *name, struct error *err)
{
    CK_RV code =
        token->module->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &token->session);
    if (code != CKR_OK)
        return failed(token, "no session can be opened", code, err);
    if (!token->own_keypad) {
        if (!pin)
            return error_set(err, "%s: it needs a PIN, and none is at hand", name);
        if (!pin->ask(pin->context, token->pin, sizeof token->pin, err))
            return error_prefix(err, "%s", name);
    }
    return log_in(token, CKU_USER, err);
}

/* ---- objects --------------------------------------------------------------------------------- */

/* How many objects fit the template; the first two are enough to know. */
static bool find_objects(const struct token *token, CK_ATTRIBUTE *template, CK_ULONG size,
                         CK_OBJECT_HANDLE *first, size_t *count, struct error *err)
{
    CK_OBJECT_HANDLE found[2];
    CK_ULONG got = 0;
    CK_RV code = token->module->C_FindObjectsInit(token->session, template, size);
    if (code == CKR_OK) {
        code = token->module->C_FindObjects(token->session, found, 2, &got);
        token->module->C_FindObjectsFinal(token->session);
    }
    if (code != CKR_OK)
        return failed(token, "it cannot be searched", code, err);
    *count = (size_t)got;
    *first = got ? found[0] : 0;
    return true;
}

static bool find_key(struct token *token, P11KitUri *uri, const char *name, struct error *err)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[MOST_ATTRIBUTES] = { { CKA_CLASS, &class, sizeof class } };
    CK_ULONG given = 0, size = 1;
    CK_ATTRIBUTE *attributes = p11_kit_uri_get_attributes(uri, &given);
    size_t count;
    for (CK_ULONG i = 0; i < given && size < MOST_ATTRIBUTES; i++)
        if (attributes[i].type != CKA_CLASS) /* "type=public" would be a mistake, not a wish */
            template[size++] = attributes[i];
    if (!find_objects(token, template, size, &token->key, &count, err))
        return false;
    if (!count)
        return error_set(err,
                         "%s: no such private key on token \"%s\"; list what is there with "
                         "pkcs11-tool --list-objects --login",
                         name, token->label);
    return count == 1 || error_set(err,
                                   "%s: more than one private key of token \"%s\" fits; say "
                                   "which by object= or id=",
                                   name, token->label);
}

/* One attribute, as bytes. False where the object does not have it. */
static bool attribute(const struct token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                      void *bytes, size_t capacity, size_t *size)
{
    CK_ATTRIBUTE wanted = { type, bytes, (CK_ULONG)capacity };
    CK_RV code = token->module->C_GetAttributeValue(token->session, object, &wanted, 1);
    *size = code == CKR_OK && wanted.ulValueLen <= capacity ? (size_t)wanted.ulValueLen : 0;
    return *size > 0;
}

static const struct token_kind *kind_of(const struct token *token, CK_OBJECT_HANDLE object)
{
    CK_KEY_TYPE type = 0;
    unsigned char parameters[64];
    size_t size;
    if (!attribute(token, object, CKA_KEY_TYPE, &type, sizeof type, &size) ||
        !attribute(token, object, CKA_EC_PARAMS, parameters, sizeof parameters, &size))
        return NULL;
    for (size_t i = 0; i < sizeof token_kinds / sizeof *token_kinds; i++)
        if (token_kinds[i].type == type && token_kinds[i].size == size &&
            memcmp(token_kinds[i].parameters, parameters, size) == 0)
            return &token_kinds[i];
    return NULL;
}

/* CKA_EC_POINT is a DER octet string; some tokens leave the wrapping out. */
static bool unwrap_point(const unsigned char **point, size_t *size)
{
    const unsigned char *at = *point;
    if (*size > 2 && at[0] == 4 && at[1] == *size - 2) {
        *point += 2;
        *size -= 2;
    } else if (*size > 3 && at[0] == 4 && at[1] == 0x81 && at[2] == *size - 3) {
        *point += 3;
        *size -= 3;
    }
    return *size <= PUBLIC_KEY_CAPACITY;
}

/* The public key with the same CKA_ID. */
static bool find_public(const struct token *token, const char *name, CK_OBJECT_HANDLE *object,
                        struct error *err)
{
    unsigned char id[ID_CAPACITY];
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof class }, { CKA_ID, id, 0 } };
    size_t size, count;
    if (!attribute(token, token->key, CKA_ID, id, sizeof id, &size))
        return error_set(err, "%s: the key has no CKA_ID, by which its public half is found", name);
    template[1].ulValueLen = (CK_ULONG)size;
    if (!find_objects(token, template, 2, object, &count, err))
        return false;
    return count == 1 ||
           error_set(err, "%s: token \"%s\" has %s public key with the CKA_ID of the private one",
                     name, token->label, count ? "more than one" : "no");
}

/* ---- signing --------------------------------------------------------------------------------- */

static bool sign(void *context, const unsigned char *bytes, size_t size, struct signature *raw,
                 struct error *err)
{
    struct token *token = context;
    CK_MECHANISM mechanism = { token->mechanism, NULL, 0 };
    CK_ULONG length = sizeof raw->bytes;
    CK_RV code = token->module->C_SignInit(token->session, &mechanism, token->key);
    if (code != CKR_OK)
        return failed(token, "the key does not sign", code, err);
    if (token->pin_each_time && !log_in(token, CKU_CONTEXT_SPECIFIC, err))
        return false;
    code = token->module->C_Sign(token->session, (CK_BYTE_PTR)(uintptr_t)bytes, (CK_ULONG)size,
                                 raw->bytes, &length);
    raw->size = (size_t)length;
    return code == CKR_OK || failed(token, "the key does not sign", code, err);
}

static void release(void *context)
{
    struct token *token = context;
    if (token->session)
        token->module->C_CloseSession(token->session); /* the last one logs out */
    unload(token);
    secret_clear(token, sizeof *token);
    free(token);
}

static struct key *make_key(struct token *token, const char *name, struct error *err)
{
    CK_OBJECT_HANDLE object;
    unsigned char bytes[POINT_CAPACITY];
    const unsigned char *point = bytes;
    size_t size;
    CK_BBOOL each_time = CK_FALSE;
    if (!find_public(token, name, &object, err))
        return NULL;
    const struct token_kind *kind = kind_of(token, object);
    if (!kind || !attribute(token, object, CKA_EC_POINT, bytes, sizeof bytes, &size) ||
        !unwrap_point(&point, &size)) {
        error_set(err, "%s: neither a P-256, nor an Ed25519, nor a P-384 key", name);
        return NULL;
    }
    token->mechanism = kind->mechanism;
    size_t one;
    token->pin_each_time =
        attribute(token, token->key, CKA_ALWAYS_AUTHENTICATE, &each_time, sizeof each_time, &one) &&
        each_time;
    if (!token->pin_each_time)
        secret_clear(token->pin, sizeof token->pin);
    return key_of_holder(kind->kind, point, size, &(struct key_holder){ sign, release, token },
                         name, err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

bool token_is_uri(const char *source)
{
    return text_starts_with(source, P11_KIT_URI_SCHEME ":");
}

static P11KitUri *parse(const char *text, struct error *err)
{
    P11KitUri *uri = p11_kit_uri_new();
    CHECK(uri, "out of memory: a URI");
    int code = p11_kit_uri_parse(text, P11_KIT_URI_FOR_OBJECT_ON_TOKEN_AND_MODULE, uri);
    bool ok = true;
    /* None of these messages repeats the URI: there may be a PIN in it. */
    if (strstr(text, "pin-value") || strstr(text, "pin-source"))
        ok = error_set(err, "a PIN has no place in a pkcs11: URI, where every process can read it; "
                            "give --passphrase-file, or enter it when asked");
    else if (code != P11_KIT_URI_OK)
        ok = error_set(err, "this is no pkcs11: URI after RFC 7512: %s", p11_kit_uri_message(code));
    else if (p11_kit_uri_any_unrecognized(uri))
        ok = error_set(err, "this pkcs11: URI has an attribute that is not known; expected "
                            "token, serial, manufacturer, model, object, id, module-path");
    if (ok)
        return uri;
    p11_kit_uri_free(uri);
    return NULL;
}

struct key *token_open_key(const char *text, const struct passphrase *pin, struct error *err)
{
    CK_SLOT_ID slot;
    struct key *key = NULL;
    P11KitUri *uri = parse(text, err);
    if (!uri)
        return NULL;
    struct token *token = memory_grow(NULL, 1, sizeof *token);
    *token = (struct token){ 0 };
    p11_kit_be_quiet();
    if (load_modules(token, uri, err) && find_token(token, uri, text, &slot, err) &&
        open_session(token, slot, pin, text, err) && find_key(token, uri, text, err))
        key = make_key(token, text, err);
    if (!key)
        release(token);
    p11_kit_uri_free(uri);
    return key;
}
