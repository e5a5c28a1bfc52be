/* lethe doctor: what this machine offers, and what is missing and how to get it.
 *
 * One row a check. A check that fails says what to do; it makes the exit code 1 only when lethe
 * cannot do its work without it. */
#include "command.h"

#include "audit/amx.h"
#include "audit/blas.h"
#include "audit/faiss.h"
#include "base/allowance.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/text.h"
#include "data/gzip.h"
#include "data/png.h"
#include "cuda/plugin.h"
#include "tensor/cpu.h"
#include "tensor/device.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum outcome { FINE, ABSENT, BROKEN };
static const char *const outcome_words[] = { "ok", "absent", "broken" };

struct finding {
    enum outcome outcome;
    char text[512];
    const char *advice; /* NULL when there is none to give */
};

/* ---- checks ---------------------------------------------------------------------------------- */

static void check_processor(struct finding *finding)
{
    const char *level = "baseline x86-64 only; expect a quarter of the speed";
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        level = "AVX2";
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        level = "AVX-512";
#if defined(__GNUC__) && !defined(__clang__)
    if (__builtin_cpu_supports("avx512bf16"))
        level = "AVX-512 with bfloat16";
#endif
    if (amx_usable())
        level = "AVX-512 with bfloat16, AMX";
#else
    level = "not x86-64; loops are compiled for the baseline";
#endif
    snprintf(finding->text, sizeof finding->text, "%d thread%s, %s", parallel_threads(),
             parallel_threads() == 1 ? "" : "s", level);
}

static void check_memory(struct finding *finding)
{
    struct allowance allowance;
    char most[TEXT_SHORT], left[TEXT_SHORT];
    allowance_read(&allowance, "");
    if (allowance.memory == SIZE_MAX || allowance.memory_left == SIZE_MAX) {
        finding->outcome = BROKEN;
        snprintf(finding->text, sizeof finding->text, "cannot be told");
        return;
    }
    text_size(most, (double)allowance.memory);
    text_size(left, (double)allowance.memory_left);
    snprintf(finding->text, sizeof finding->text, "%s%s, %s left", most,
             allowance.is_group ? " for this control group" : "", left);
}

static void check_disk(struct finding *finding)
{
    struct statvfs status;
    char available[TEXT_SHORT];
    if (statvfs(".", &status) != 0) {
        finding->outcome = BROKEN;
        snprintf(finding->text, sizeof finding->text, "this folder's file system cannot be told");
        return;
    }
    snprintf(finding->text, sizeof finding->text, "%s free in this folder",
             text_size(available, (double)status.f_bavail * (double)status.f_frsize));
}

static void check_gpu(struct finding *finding)
{
    char device[128], libraries[128];
    struct error reason;
    const struct cuda_plugin *plugin = device_plugin(&reason);
    finding->outcome = ABSENT;
    if (!plugin) {
        snprintf(finding->text, sizeof finding->text, "%.200s; everything runs on the CPU",
                 reason.message);
        finding->advice =
            "for an NVIDIA GPU install the CUDA toolkit and cuDNN, then ./dev build cuda";
        return;
    }
    int count = plugin->devices(finding->text, sizeof finding->text);
    plugin->libraries(libraries, sizeof libraries);
    if (!count) {
        size_t length = strlen(finding->text);
        snprintf(finding->text + length, sizeof finding->text - length,
                 " (%s); everything runs on the CPU", libraries);
        finding->advice = "nvidia-smi tells whether driver and device are there";
        return;
    }
    plugin->describe(0, device, sizeof device);
    finding->outcome = FINE;
    snprintf(finding->text, sizeof finding->text, "%d × %s; %s", count, device, libraries);
}

static void check_digest(struct finding *finding)
{
    static const char expected[] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char hex[DIGEST_HEX];
    struct digest digest = digest_of("abc", 3);
    if (strcmp(digest_hex(&digest, hex), expected) != 0) {
        finding->outcome = BROKEN;
        finding->advice = "reinstall libssl3";
    }
    snprintf(finding->text, sizeof finding->text, "SHA-256 gives %s answer",
             finding->outcome == FINE ? "the published" : "a wrong");
}

static void check_blas(struct finding *finding)
{
    struct error why;
    if (blas_set_threads(1, &why)) {
        snprintf(finding->text, sizeof finding->text, "%s", blas_library_version());
        return;
    }
    finding->outcome = BROKEN;
    finding->advice = "lethe audit and lethe fidelity need it; nothing else does";
    snprintf(finding->text, sizeof finding->text, "%s", why.message);
}

static void check_faiss(struct finding *finding)
{
    const char *missing = faiss_missing();
    finding->outcome = missing ? ABSENT : FINE;
    snprintf(finding->text, sizeof finding->text, "%s", missing ? missing : faiss_version());
}

static const struct {
    const char *name;
    void (*check)(struct finding *finding); /* NULL: a library that only has a version */
    const char *(*version)(void);
} checks[] = {
    { "processor", check_processor, NULL },
    { "memory", check_memory, NULL },
    { "disk", check_disk, NULL },
    { "GPU", check_gpu, NULL },
    { "digests", check_digest, NULL },
    { "OpenSSL", NULL, digest_library_version },
    { "jansson", NULL, json_library_version },
    { "libcyaml", NULL, yaml_library_version },
    { "libdeflate", NULL, gzip_library_version },
    { "libspng", NULL, png_library_version },
    { "oneDNN", NULL, cpu_library_version },
    { "OpenBLAS", check_blas, NULL },
    { "FAISS", check_faiss, NULL },
};

/* ---- telling --------------------------------------------------------------------------------- */

static void print_finding(const char *name, const struct finding *finding)
{
    printf("%-11s %-7s %s\n", name, outcome_words[finding->outcome], finding->text);
    if (finding->advice)
        printf("%-19s → %s\n", "", finding->advice);
}

static struct json *json_of(const char *name, const struct finding *finding)
{
    struct json *object = json_new_object();
    json_put_string(object, "name", name);
    json_put_string(object, "outcome", outcome_words[finding->outcome]);
    json_put_string(object, "text", finding->text);
    if (finding->advice)
        json_put_string(object, "advice", finding->advice);
    return object;
}

static enum exit_code run(struct invocation *invocation)
{
    struct json *document = json_new_object(), *list = json_new_array();
    enum exit_code code = EXIT_YES;
    if (!invocation->json)
        printf("%-11s %-7s version %s\n", "lethe", "ok", LETHE_VERSION);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct finding finding = { .outcome = FINE };
        if (checks[i].check)
            checks[i].check(&finding);
        else
            snprintf(finding.text, sizeof finding.text, "%s", checks[i].version());
        code = finding.outcome == BROKEN ? EXIT_NO : code;
        if (invocation->json)
            json_push(list, json_of(checks[i].name, &finding));
        else
            print_finding(checks[i].name, &finding);
    }
    json_put_string(document, "version", LETHE_VERSION);
    json_put(document, "checks", list);
    if (invocation->json)
        command_print(document);
    else
        json_free(document);
    return code;
}

const struct command command_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "tell what this machine offers, what is missing and how to get it",
    .run = run,
};
