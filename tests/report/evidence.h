/* A small run to report about: two stores, an audit, a utility document, a training's metrics.
 *
 * Subjects and sources have names that nothing else holds, so that finding one in a report means
 * that it leaked.
 */
#ifndef TESTS_REPORT_EVIDENCE_H
#define TESTS_REPORT_EVIDENCE_H

#include "scratch.h"

#include "data/dataset.h"
#include "report/report.h"

enum { EVIDENCE_REAL = 12, EVIDENCE_SYNTHETIC = 10, EVIDENCE_SIDE = 16 };

static struct error evidence_err;

static inline const char *evidence_subject(int i)
{
    static const char *const names[] = { "Quillfeather", "Umbrascale", "Vexholm", "Ytterdal" };
    return names[i % 4];
}

static inline void evidence_store(const char *path, enum dataset_role role, int count)
{
    static const char *const channels[] = { "t1", "flair" };
    struct dataset_format format = { role,          2,   EVIDENCE_SIDE, EVIDENCE_SIDE, channels,
                                     ELEMENT_UINT8, true };
    struct dataset_writer writer;
    assert_ok(dataset_writer_open(&writer, path, &format, &evidence_err), evidence_err);
    for (int i = 0; i < count; i++) {
        unsigned char image[2 * EVIDENCE_SIDE * EVIDENCE_SIDE];
        uint8_t mask[EVIDENCE_SIDE * EVIDENCE_SIDE];
        char source[100];
        for (size_t p = 0; p < sizeof image; p++)
            image[p] = (unsigned char)(p * 7 + (size_t)i * 31 + (role == ROLE_REAL ? 0 : 11));
        for (size_t p = 0; p < sizeof mask; p++)
            mask[p] = p % 16 < 3 ? 1 : 0;
        snprintf(source, sizeof source, "Hiddenvault/%s_t1.nii.gz", evidence_subject(i));
        struct dataset_image row = {
            .subject = role == ROLE_REAL ? evidence_subject(i)
                                         : arena_format(&writer.arena, "synthetic-%d", i),
            .slice = i,
            .split = role != ROLE_REAL ? SPLIT_NONE
                     : i % 4 == 3      ? SPLIT_HOLDOUT
                                       : SPLIT_TRAIN,
            .source = role == ROLE_REAL ? source : "sample",
            .sha256 = "00",
        };
        assert_ok(dataset_writer_append(&writer, image, mask, &row, &evidence_err), evidence_err);
    }
    struct json *origin = json_new_object();
    if (role == ROLE_REAL) {
        json_put_string(origin, "source", "/data/Hiddenvault");
    } else {
        json_put_string(origin, "weights", "abc123");
        json_put_integer(origin, "trained_steps", 500);
    }
    assert_ok(dataset_writer_commit(&writer, origin, true, &evidence_err), evidence_err);
}

/* `flagged`: images that the audit flags. */
static inline void evidence_audit(const char *folder, int flagged)
{
    char path[300], text[6000];
    assert_ok(folder_create(folder, &evidence_err), evidence_err);
    snprintf(path, sizeof path, "%s/memorization.json", folder);
    snprintf(
        text, sizeof text,
        "{\"schema\": \"lethe/memorization/1\", \"engine\": \"certified\",\n"
        "\"counts\": {\"synthetic\": 10, \"train\": 9, \"holdout\": 3, \"subjects\": 3},\n"
        "\"warnings\": [\"the control is <small>\"],\n"
        "\"nearest\": {\"mean\": 0.50004, \"p50\": 0.5, \"p95\": 0.6, \"p99\": 0.7, \"max\": 0.8},\n"
        "\"control\": {\"used\": \"holdout\", \"holdout\": {\"subjects\": 1, \"mean\": 0.5, \"p50\": 0.5, \"p95\": 0.6, \"p99\": 0.7, "
        "\"max\": 0.7}},\n"
        "\"calibration\": {\"supported\": true, \"guaranteed_rate\": 0.05, \"across_subjects\": "
        "{\"images\": {\"count\": 0, \"of\": 0}, \"subjects\": {\"count\": 0, \"of\": 0}}},\n"
        "\"thresholds\": {\"correlation\": {\"value\": 0.75, \"supported\": true}},\n"
        "\"flagged\": {\"count\": %d, \"fraction\": %f, \"lower95\": 0.0, \"upper95\": %f, \"images\": [%s]},\n"
        "\"exposure\": [{\"subject\": \"Quillfeather\", \"flagged\": %d, \"nearest\": 6}],\n"
        "\"companions\": {\"mia\": {\"auc\": {\"value\": 0.51, \"interval\": [0.4, 0.6]},\n"
        "  \"tpr_at_1_percent\": {\"value\": 0, \"interval\": [0, 0], \"supported\": false}},\n"
        "  \"dcr\": {\"fraction\": 0.62, \"lower95\": 0.56, \"upper95\": 0.68, \"expected\": 0.599}},\n"
        "\"preparation\": {\"farther\": {\"value\": 0.97}, \"mean_images\": {\"alike\": %s, "
        "\"change\": \"%s\"}},\n"
        "\"duplicates\": {\"train\": {\"pairs\": 2}},\n"
        "\"pairs\": [{\"synthetic\": 3, \"training\": 4, \"subject\": \"Quillfeather\", \"correlation\": 0.8},\n"
        "            {\"synthetic\": 5, \"training\": 1, \"subject\": \"Umbrascale\", \"correlation\": 0.7}],\n"
        "\"inputs\": {\"train\": {\"name\": \"Hiddenvault\"}},\n"
        "\"histograms\": {\"correlation\": {\"edges\": [0, 0.25, 0.5, 0.75, 1],\n"
        "  \"synthetic\": [0, 4, 5, 1], \"holdout\": [0, 1, 2, 0], \"other_subjects\": [0, 4, 5, 0]}}}\n",
        flagged, flagged / 10.0, flagged ? 0.3 : 0.005, flagged ? "3" : "", flagged,
        flagged ? "false" : "true", flagged ? "rows and columns exchanged" : "none");
    write_text(path, text);
}

static inline void evidence_utility(const char *folder)
{
    char path[300];
    assert_ok(folder_create(folder, &evidence_err), evidence_err);
    snprintf(path, sizeof path, "%s/utility.json", folder);
    write_text(
        path,
        "{\"schema\": \"lethe/utility/2\", \"classes\": [\"1\"],\n"
        "\"summary\": [{\"source\": \"real\", \"model\": \"unet\", \"augmentation\": \"none\",\n"
        "  \"dice\": {\"mean\": 0.8, \"sd\": 0.01, \"interval\": [0.7, 0.9]},\n"
        "  \"classes\": [{\"name\": \"1\", \"dice\": {\"mean\": 0.8, \"sd\": null}, "
        "\"hausdorff_95\": {\"mean\": null, \"sd\": null}}]}],\n"
        "\"relative_dice\": [{\"source\": \"synthetic+real\", \"model\": \"unet\", \"mean\": 1.1,\n"
        "  \"interval\": [1.05, 1.15]}, {\"source\": \"synthetic\", \"model\": \"unet\", \"mean\": 0.9,\n"
        "  \"interval\": [0.85, null]}, {\"source\": \"untrained\", \"model\": \"unet\", \"mean\": null,\n"
        "  \"interval\": [null, null]}],\n"
        "\"never_in_holdout\": [\"1\"], \"counts\": {\"holdout_subjects\": 1}}\n");
}

/* Not part of every run: the job has to name its folder. What the model gives away about so many
 * people a side; judged: about so many beside references, 0: there are none. */
static inline void evidence_membership(const char *folder, int people, int judged)
{
    static const char half[] = "{\"auc\": {\"value\": %s, \"lower95\": 0.3, \"upper95\": 0.6}}";
    static const char format[] =
        "{\"members\": %d, \"non_members\": %d, \"tells_apart\": true, \"by_chance\": 0.0123, \"auc\": {\"value\": %s, \"lower95\": 0.7, \"upper95\": 0.9},\n"
        "\"tpr_at_1_percent\": {\"value\": 0.25, \"lower95\": 0.1, \"upper95\": 0.4, "
        "\"supported\": true},\n"
        "\"tpr_at_0_1_percent\": {\"value\": 0, \"lower95\": 0, \"upper95\": 0.3, "
        "\"supported\": false}}";
    struct text document = { 0 };
    char found[512], beside[512], own_half[128], half_beside[128];
    snprintf(found, sizeof found, format, people, people, "0.812");
    snprintf(beside, sizeof beside, format, judged, judged, "0.951");
    snprintf(own_half, sizeof own_half, half, "0.437");
    snprintf(half_beside, sizeof half_beside, half, "0.468");
    char path[300];
    text_format(
        &document,
        "{\"schema\": \"lethe/membership/1\", \"model\": {\"score\": \"denoising loss\", \"step\": 900},\n"
        "\"counts\": {\"train\": {\"scored\": 9, \"subjects\": %d},\n"
        "  \"holdout\": {\"scored\": 3, \"subjects\": %d}},\n"
        "\"warnings\": [\"the training set is of few\"],\n"
        "\"images\": %s, \"subjects\": %s,\n"
        "\"control\": {\"images\": %s, \"subjects\": %s},\n"
        "\"inputs\": {\"train\": {\"name\": \"Hiddenvault\"}}",
        people, people, found, found, own_half, own_half);
    if (judged)
        text_format(
            &document,
            ",\n\"calibrated\": {\"references\": [{\"reference\": 1, \"step\": 40}, {\"reference\": 2, \"step\": 900}],\n"
            "\"not_judged\": {\"train\": 0, \"holdout\": 17},\n"
            "\"images\": %s, \"subjects\": %s,\n"
            "\"control\": {\"images\": %s, \"subjects\": %s}}",
            beside, beside, half_beside, half_beside);
    text_add(&document, "}\n");
    assert_ok(folder_create(folder, &evidence_err), evidence_err);
    snprintf(path, sizeof path, "%s/membership.json", folder);
    write_text(path, document.bytes);
    text_release(&document);
}

/* Not part of every run: the job has to name its folder. classes: the network knows some, so that
 * there is an inception score. */
static inline void evidence_fidelity(const char *folder, int people, bool classes)
{
    static const char splits[] = "\"splits\": {\"count\": 10, \"mean\": 1.375, \"sd\": 0.0625}";
    static const char estimate[] = "\"value\": %g, \"lower95\": %g, \"upper95\": %g";
    static const char *const names[] = { "kid", "precision", "recall", "density", "coverage" };
    struct text likeness = { 0 }, document = { 0 };
    char path[300], value[100];
    for (int m = 0; m < 5; m++) {
        double v = 0.1 * (m + 1);
        snprintf(value, sizeof value, estimate, v, v - 0.04, v + 0.04);
        text_format(&likeness, "\"%s\": {%s, \"control\": {%s}, \"difference\": {%s}}, ", names[m],
                    value, value, value);
    }
    text_add(&likeness, "\"fid\": {\"value\": 12.5, \"control\": 5, \"ratio\": 2.5}, ");
    snprintf(value, sizeof value, estimate, 1.75, 1.5, 2.25);
    text_format(&likeness,
                "\"inception_score\": {%s, %s, \"control\": {%s, %s}, \"difference\": {%s}}", value,
                splits, value, splits, value);
    text_format(
        &document,
        "{\"schema\": \"lethe/fidelity/2\", \"features\": {\"backbone\": \"ResNet-50\",\n"
        " \"side\": 224, \"preparation\": \"as told\", \"random\": %s, %s \"weights\": \"abcd\", \"device\": \"cpu\", \"count\": 2048},\n"
        "\"compared\": {\"holdout\": {\"images\": 10, \"reference_images\": 3,\n"
        " \"reference_subjects\": %d, \"control_subjects\": 3}},\n"
        "\"warnings\": [\"the held-out set is of few\"],\n"
        "\"mean\": {\"holdout\": {%s}, \"training\": null},\n"
        "\"channels\": [{\"name\": \"t1\", \"holdout\": {%s}, \"training\": null},\n"
        " {\"name\": \"flair\", \"holdout\": {%s}, \"training\": null}],\n"
        "\"inputs\": {\"train\": {\"name\": \"Hiddenvault\"}}}\n",
        classes ? "false" : "true", classes ? "" : "\"no_classes\": \"random weights know none\",",
        people, likeness.bytes, likeness.bytes, likeness.bytes);
    assert_ok(folder_create(folder, &evidence_err), evidence_err);
    snprintf(path, sizeof path, "%s/fidelity.json", folder);
    write_text(path, document.bytes);
    text_release(&likeness);
    text_release(&document);
}

static inline void evidence_make(int flagged)
{
    evidence_store(scratch("dataset"), ROLE_REAL, EVIDENCE_REAL);
    evidence_store(scratch("synthetic"), ROLE_SYNTHETIC, EVIDENCE_SYNTHETIC);
    evidence_audit(scratch("audit"), flagged);
    evidence_utility(scratch("utility"));
    assert_ok(folder_create(scratch("model"), &evidence_err), evidence_err);
    write_text(scratch("model/metrics.jsonl"),
               "{\"step\": 1, \"images\": 4, \"loss\": {\"main\": {\"mse\": 1.0}}}\n"
               "{\"step\": 2, \"images\": 8, \"loss\": {\"main\": {\"mse\": 0.5}}}\n");
}

/* A job about it; strings live in static memory. */
static inline struct report_job evidence_job(void)
{
    static char paths[7][200];
    static const char *const names[] = { "dataset", "model",       "synthetic", "audit",
                                         "utility", "review.json", "report" };
    static struct report_settings settings;
    settings = report_defaults;
    settings.salt = "pepper-and-salt";
    for (int i = 0; i < 7; i++)
        snprintf(paths[i], sizeof paths[i], "%s", scratch(names[i]));
    return (struct report_job){ .name = "An <exemplary> release",
                                .plan_sha256 = "1234",
                                .dataset = paths[0],
                                .model = paths[1],
                                .synthetic = paths[2],
                                .audit = paths[3],
                                .utility = paths[4],
                                .review = paths[5],
                                .generator = "stylegan2",
                                .train_settings = "batch: 4\n",
                                .settings = &settings,
                                .policy = &policy_defaults,
                                .journal_length = 7,
                                .journal_head = "feed",
                                .out = paths[6] };
}

#endif
