/* The compiler over NVRTC: its whole contact surface; see compiler.h.
 *
 * Machine code where NVRTC can make it for the kind of device; for one newer than NVRTC, PTX of the
 * newest kind that it knows, which the driver turns into machine code when it is loaded.
 *
 * A file of the cache that cannot be read or written only costs the compilation.
 */
#include "cuda/compiler.h"

#include "base/arena.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/text.h"

#include <nvrtc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHED_MOST = 1 << 28 };

static struct {
    char architecture[40]; /* the option */
    char identity[80];     /* what code depends on beside its source */
    bool portable;         /* PTX */
} aim;

static bool check(nvrtcResult code, struct error *err)
{
    return code == NVRTC_SUCCESS || error_set(err, "NVRTC: %s", nvrtcGetErrorString(code));
}

bool compiler_aim(int major, int minor, struct error *err)
{
    int kind = 10 * major + minor, count = 0, newest = 0, version[2] = { 0, 0 };
    bool known = false;
    nvrtcResult code = nvrtcGetNumSupportedArchs(&count);
    int *kinds = memory_grow(NULL, (size_t)count + 1, sizeof *kinds);
    if (code == NVRTC_SUCCESS)
        code = nvrtcGetSupportedArchs(kinds);
    for (int i = 0; code == NVRTC_SUCCESS && i < count; i++) {
        known = known || kinds[i] == kind;
        newest = kinds[i] > newest ? kinds[i] : newest;
    }
    free(kinds);
    if (!check(code, err) || !check(nvrtcVersion(&version[0], &version[1]), err))
        return false;
    if (!known && kind < newest)
        return error_set(err,
                         "the device is of compute capability %d.%d, for which this CUDA compiler "
                         "makes no code any more",
                         major, minor);
    aim.portable = !known;
    snprintf(aim.architecture, sizeof aim.architecture, "--gpu-architecture=%s_%d",
             known ? "sm" : "compute", known ? kind : newest);
    snprintf(aim.identity, sizeof aim.identity, "nvrtc %d.%d %s", version[0], version[1],
             aim.architecture);
    return true;
}

static nvrtcResult translate(nvrtcProgram program)
{
    const char *const options[] = { aim.architecture, "--std=c++17", "--fmad=true",
                                    "-default-device", "--disable-warnings" };
    return nvrtcCompileProgram(program, sizeof options / sizeof *options, options);
}

static nvrtcResult fetch(nvrtcProgram program, char **code, size_t *size)
{
    nvrtcResult result =
        aim.portable ? nvrtcGetPTXSize(program, size) : nvrtcGetCUBINSize(program, size);
    if (result != NVRTC_SUCCESS)
        return result;
    *code = memory_grow(NULL, *size + 1, 1);
    (*code)[*size] = '\0';
    return aim.portable ? nvrtcGetPTX(program, *code) : nvrtcGetCUBIN(program, *code);
}

static void tell_log(nvrtcProgram program, nvrtcResult result, struct error *err)
{
    size_t length = 0;
    char *log = NULL;
    if (program && nvrtcGetProgramLogSize(program, &length) == NVRTC_SUCCESS) {
        log = memory_grow(NULL, length + 1, 1);
        log[length] = '\0';
        if (nvrtcGetProgramLog(program, log) != NVRTC_SUCCESS)
            *log = '\0';
    }
    error_set(err, "NVRTC: %s: %.1500s", nvrtcGetErrorString(result), log ? log : "");
    free(log);
}

static bool compile(const char *source, struct code *code, struct error *err)
{
    nvrtcProgram program = NULL;
    nvrtcResult result = nvrtcCreateProgram(&program, source, "plan.cu", 0, NULL, NULL);
    if (result == NVRTC_SUCCESS)
        result = translate(program);
    if (result == NVRTC_SUCCESS)
        result = fetch(program, &code->bytes, &code->size);
    if (result != NVRTC_SUCCESS) {
        tell_log(program, result, err);
        free(code->bytes);
        code->bytes = NULL;
    }
    if (program)
        nvrtcDestroyProgram(&program);
    return code->bytes;
}

/* Where code of a source is kept; NULL: there is no cache. */
static char *cache_path(struct arena *arena, const char *source)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char hex[DIGEST_HEX];
    struct text key = { 0 };
    if (!(cache && *cache) && !(home && *home))
        return NULL;
    text_format(&key, "%s\n%s", aim.identity, source);
    struct digest digest = digest_of(key.bytes, key.length);
    text_release(&key);
    const char *folder = cache && *cache ? arena_format(arena, "%s/lethe", cache)
                                         : arena_format(arena, "%s/.cache/lethe", home);
    return folder_create(folder, NULL)
               ? arena_format(arena, "%s/%s.cubin", folder, digest_hex(&digest, hex))
               : NULL;
}

/* Where LETHE_SOURCES names a folder, what is built is kept there, to look into. */
static void keep_source(struct arena *arena, const char *source)
{
    const char *folder = getenv("LETHE_SOURCES");
    char hex[DIGEST_HEX];
    if (!folder || !*folder || !folder_create(folder, NULL))
        return;
    size_t length = strlen(source);
    struct digest digest = digest_of(source, length);
    const char *path = arena_format(arena, "%s/%.16s.cu", folder, digest_hex(&digest, hex));
    (void)!file_write(path, source, length, NULL);
}

struct job {
    const char *const *sources;
    bool anew;
    struct code *codes;
    struct error *errors; /* of each source */
};

static void build(void *context, size_t i)
{
    const struct job *job = context;
    struct code *code = &job->codes[i];
    struct arena arena;
    arena_init(&arena);
    char *path = cache_path(&arena, job->sources[i]);
    keep_source(&arena, job->sources[i]);
    *code = (struct code){ 0 };
    if (path && !job->anew && path_kind(path) == PATH_FILE)
        code->bytes = file_read(path, CACHED_MOST, &code->size, NULL);
    code->cached = code->bytes;
    if (!code->cached && compile(job->sources[i], code, &job->errors[i]) && path)
        (void)!file_write(path, code->bytes, code->size, NULL);
    arena_release(&arena);
}

bool compiler_build(const char *const *sources, size_t count, bool anew, struct code *codes,
                    struct error *err)
{
    struct error *errors = memory_grow(NULL, count + 1, sizeof *errors);
    bool ok = true;
    parallel_items(count, build, &(struct job){ sources, anew, codes, errors });
    for (size_t i = 0; i < count; i++)
        if (ok && !codes[i].bytes)
            ok = error_set(err, "%s", errors[i].message);
    for (size_t i = 0; !ok && i < count; i++) {
        free(codes[i].bytes);
        codes[i].bytes = NULL;
    }
    free(errors);
    return ok;
}
