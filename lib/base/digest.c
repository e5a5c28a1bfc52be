/* The whole contact surface with OpenSSL's message digests; see digest.h. */
#include "base/digest.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

enum { READ_SIZE = 1 << 18 };

struct digest_state *digest_begin(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1,
          "OpenSSL cannot begin a SHA-256");
    return (struct digest_state *)context;
}

void digest_add(struct digest_state *state, const void *bytes, size_t size)
{
    CHECK(EVP_DigestUpdate((EVP_MD_CTX *)state, bytes, size) == 1, "OpenSSL's SHA-256 failed");
}

struct digest digest_end(struct digest_state *state)
{
    struct digest digest;
    CHECK(EVP_DigestFinal_ex((EVP_MD_CTX *)state, digest.bytes, NULL) == 1,
          "OpenSSL's SHA-256 failed");
    EVP_MD_CTX_free((EVP_MD_CTX *)state);
    return digest;
}

struct digest digest_of(const void *bytes, size_t size)
{
    struct digest_state *state = digest_begin();
    digest_add(state, bytes, size);
    return digest_end(state);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}

static const char *write_hex(const unsigned char *bytes, size_t size, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * size] = '\0';
    return hex;
}

const char *digest_hex(const struct digest *digest, char hex[DIGEST_HEX])
{
    return write_hex(digest->bytes, DIGEST_BYTES, hex);
}

/* ---- other digests --------------------------------------------------------------------------- */

struct checksum_state *checksum_begin(enum checksum_kind kind)
{
    const EVP_MD *const kinds[CHECKSUM_COUNT] = {
        [CHECKSUM_MD5] = EVP_md5(), [CHECKSUM_SHA512] = EVP_sha512()
    };
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(context && EVP_DigestInit_ex(context, kinds[kind], NULL) == 1,
          "OpenSSL cannot begin a checksum");
    return (struct checksum_state *)context;
}

void checksum_add(struct checksum_state *state, const void *bytes, size_t size)
{
    CHECK(EVP_DigestUpdate((EVP_MD_CTX *)state, bytes, size) == 1, "OpenSSL's checksum failed");
}

size_t checksum_end(struct checksum_state *state, unsigned char *bytes)
{
    unsigned size;
    CHECK(EVP_DigestFinal_ex((EVP_MD_CTX *)state, bytes, &size) == 1, "OpenSSL's checksum failed");
    EVP_MD_CTX_free((EVP_MD_CTX *)state);
    return size;
}

size_t checksum_of(enum checksum_kind kind, const void *bytes, size_t size, unsigned char *out)
{
    struct checksum_state *state = checksum_begin(kind);
    checksum_add(state, bytes, size);
    return checksum_end(state, out);
}

const char *checksum_hex(const unsigned char *bytes, size_t size, char hex[CHECKSUM_HEX])
{
    return write_hex(bytes, size, hex);
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool digest_from_hex(const char *hex, struct digest *digest)
{
    if (strlen(hex) != 2 * DIGEST_BYTES)
        return false;
    for (int i = 0; i < DIGEST_BYTES; i++) {
        int high = digit_value(hex[2 * i]), low = digit_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        digest->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* Reads rather than maps: a file that is cut short meanwhile is then an error, not a SIGBUS. */
bool digest_file_sized(const char *path, struct digest *digest, uint64_t *size, struct error *err)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (descriptor < 0)
        return error_set_errno(err, "%s: cannot open", path);
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(descriptor);
        return error_set(err, "%s: not a regular file", path);
    }
    unsigned char *buffer = memory_grow(NULL, READ_SIZE, 1);
    struct digest_state *state = digest_begin();
    ssize_t got;
    *size = 0;
    while ((got = read(descriptor, buffer, READ_SIZE)) > 0 || (got < 0 && errno == EINTR)) {
        if (got < 0)
            continue;
        digest_add(state, buffer, (size_t)got);
        *size += (uint64_t)got;
    }
    *digest = digest_end(state);
    bool ok = got == 0 ||
              error_set_errno(err, "%s: read error at byte %llu", path, (unsigned long long)*size);
    memory_free(buffer);
    close(descriptor);
    return ok;
}

bool digest_file(const char *path, struct digest *digest, struct error *err)
{
    uint64_t size;
    return digest_file_sized(path, digest, &size, err);
}

/* sha256sum's escapes: without them one file whose name holds a line end could pass for two. */
static void add_escaped(struct text *line, const char *path)
{
    for (; *path; path++) {
        const char *escape = *path == '\n' ? "\\n" : *path == '\r' ? "\\r" : "\\\\";
        if (strchr("\n\r\\", *path))
            text_add(line, escape);
        else
            text_add_bytes(line, path, 1);
    }
}

struct digest digest_of_entries(const struct digest_entry *entries, size_t count)
{
    struct digest_state *state = digest_begin();
    struct text line = { 0 };
    char hex[DIGEST_HEX];
    for (size_t i = 0; i < count; i++) {
        text_clear(&line);
        text_format(&line, "%s%s  %llu  ", strpbrk(entries[i].path, "\n\r\\") ? "\\" : "",
                    digest_hex(&entries[i].digest, hex), (unsigned long long)entries[i].size);
        add_escaped(&line, entries[i].path);
        text_add(&line, "\n");
        digest_add(state, line.bytes, line.length);
    }
    text_release(&line);
    return digest_end(state);
}

const char *digest_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}
