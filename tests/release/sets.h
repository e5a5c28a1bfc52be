/* Small synthetic sets and records of audits, for the tests of release/. */
#ifndef TESTS_RELEASE_SETS_H
#define TESTS_RELEASE_SETS_H

#include "scratch.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/text.h"
#include "data/dataset.h"

enum { SET_SIDE = 16 };
static float set_white = 1; /* what half precision takes as white */

/* A store of `count` images in two channels with masks; pixels are a function of `seed`. */
static inline void write_set(const char *path, enum dataset_role role, enum element_type type,
                             size_t count, unsigned seed)
{
    static const char *const channels[] = { "t1", "t1ce" };
    struct error err;
    struct dataset_writer writer;
    struct dataset_format format = { .role = role,
                                     .channels = 2,
                                     .height = SET_SIDE,
                                     .width = SET_SIDE,
                                     .channel_names = channels,
                                     .type = type,
                                     .masks = true };
    assert_ok(dataset_writer_open(&writer, path, &format, &err), err);
    for (size_t i = 0; i < count; i++) {
        uint8_t mask[SET_SIDE * SET_SIDE] = { 0 };
        uint16_t image[2 * SET_SIDE * SET_SIDE]; /* room for either type */
        char name[32];
        for (size_t j = 0; j < sizeof image; j++) {
            seed = seed * 1664525u + 1013904223u;
            ((uint8_t *)image)[j] = (uint8_t)(seed >> 24);
        }
        if (type == ELEMENT_FLOAT16)
            for (size_t j = 0; j < 2 * SET_SIDE * SET_SIDE; j++)
                image[j] = half_from_float((float)(image[j] % 1000) / 999 * set_white);
        mask[i % sizeof mask] = (uint8_t)(1 + i % 2);
        snprintf(name, sizeof name, role == ROLE_REAL ? "Patient_%04zu" : "sample-%08zu", i);
        struct dataset_image row = { .subject = name,
                                     .split = role == ROLE_REAL ? SPLIT_TRAIN : SPLIT_NONE,
                                     .source = "source",
                                     .sha256 = "" };
        assert_ok(dataset_writer_append(&writer, image, mask, &row, &err), err);
    }
    assert_ok(dataset_writer_commit(&writer, json_new_object(), true, &err), err);
}

static inline struct json *files_of(const char *store)
{
    static const char *const names[] = { "dataset.json", "images.npy", "index.csv", "masks.npy" };
    struct json *files = json_new_array(), *set = json_new_object();
    for (size_t i = 0; i < 4; i++) {
        char path[600], hex[DIGEST_HEX];
        struct digest digest;
        struct error err;
        snprintf(path, sizeof path, "%s/%s", store, names[i]);
        assert_ok(digest_file(path, &digest, &err), err);
        struct json *file = json_new_object();
        json_put_string(file, "path", names[i]);
        json_put_string(file, "sha256", digest_hex(&digest, hex));
        json_push(files, file);
    }
    json_put(set, "files", files);
    return set;
}

/* What an audit over these stores would record; `flagged`: the places of flagged images. */
static inline struct json *audit_record(const char *synthetic, const char *train,
                                        const struct digest *policy, size_t count,
                                        const size_t *flagged, size_t flagged_count)
{
    struct json *root = json_new_object(), *counts = json_new_object();
    struct json *found = json_new_object(), *images = json_new_array(),
                *thresholds = json_new_object(), *correlation = json_new_object(),
                *preparation = json_new_object(), *means = json_new_object(),
                *digests = json_new_object();
    char hex[DIGEST_HEX];
    json_put_string(root, "schema", "lethe/memorization/1");
    json_put_string(root, "policy_sha256", digest_hex(policy, hex));
    json_put_integer(counts, "synthetic", (int64_t)count);
    json_put(root, "counts", counts);
    for (size_t i = 0; i < flagged_count; i++)
        json_push_integer(images, (int64_t)flagged[i]);
    json_put_integer(found, "count", (int64_t)flagged_count);
    json_put_real(found, "fraction", (double)flagged_count / (double)count);
    json_put_real(found, "lower95", 0);
    json_put_real(found, "upper95", 0.009);
    json_put(found, "images", images);
    json_put(root, "flagged", found);
    json_put_bool(correlation, "supported", true);
    json_put(thresholds, "correlation", correlation);
    json_put(root, "thresholds", thresholds);
    json_put_bool(means, "alike", true);
    json_put(preparation, "mean_images", means);
    json_put(root, "preparation", preparation);
    json_put(digests, "synthetic", files_of(synthetic));
    if (train)
        json_put(digests, "train", files_of(train));
    json_put(root, "inputs", digests);
    return root;
}

#endif
