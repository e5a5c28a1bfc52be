/* Small cohorts in BraTS naming, in the scratch folder, for the tests of ingest. */
#ifndef TESTS_DATA_COHORT_H
#define TESTS_DATA_COHORT_H

#include "scratch.h"

#include "data/ingest.h"
#include "data/nifti.h"

enum { COHORT_X = 14, COHORT_Y = 12, COHORT_Z = 5 };

static inline void make_folder(const char *name)
{
    struct error err;
    assert_ok(folder_create(scratch(name), &err), err);
}

/* A volume whose every plane is kept: values 100 to 299, different for each `seed`. */
static inline void write_scan(const char *name, int seed)
{
    struct error err;
    int16_t voxels[COHORT_X * COHORT_Y * COHORT_Z];
    struct nifti_output output = {
        { COHORT_X, COHORT_Y, COHORT_Z }, VOXEL_INT16, voxels, { { 0 } }
    };
    for (int i = 0; i < COHORT_X * COHORT_Y * COHORT_Z; i++)
        voxels[i] = (int16_t)(100 + (i * 7 + seed * 13) % 200);
    nifti_lps_affine((double[]){ 1, 1, 1 }, (double[]){ 0, 0, 0 }, output.affine);
    assert_ok(nifti_write(scratch(name), &output, &err), err);
}

static inline void write_mask(const char *name, uint8_t label)
{
    struct error err;
    uint8_t voxels[COHORT_X * COHORT_Y * COHORT_Z] = { 0 };
    struct nifti_output output = {
        { COHORT_X, COHORT_Y, COHORT_Z }, VOXEL_UINT8, voxels, { { 0 } }
    };
    voxels[COHORT_X + 1] = label;
    nifti_lps_affine((double[]){ 1, 1, 1 }, (double[]){ 0, 0, 0 }, output.affine);
    assert_ok(nifti_write(scratch(name), &output, &err), err);
}

/* scans/NAME/NAME_t1.nii … and the mask. */
static inline void write_subject(const char *name, int seed)
{
    static const char *const suffixes[] = { "t1", "t1ce", "t2", "flair" };
    char path[200];
    snprintf(path, sizeof path, "scans/%s", name);
    make_folder(path);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "scans/%s/%s_%s.nii", name, name, suffixes[i]);
        write_scan(path, 4 * seed + i);
    }
    snprintf(path, sizeof path, "scans/%s/%s_seg.nii", name, name);
    write_mask(path, 4);
}

/* Subjects S1 … Scount. */
static inline void write_cohort(int count)
{
    for (int i = 1; i <= count; i++) {
        char name[16];
        snprintf(name, sizeof name, "S%d", i);
        write_subject(name, i);
    }
}

static inline struct ingest_settings cohort_settings(void)
{
    static char source[64 + 8];
    struct ingest_settings settings = ingest_defaults;
    snprintf(source, sizeof source, "%s/scans", scratch_folder);
    settings.source = source;
    return settings;
}

/* Overwrites bytes of a file in place. */
static inline void patch(const char *name, long offset, const void *bytes, size_t size)
{
    FILE *file = fopen(scratch(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

#define PATCH(name, offset, type, value) patch((name), (offset), &(type){ value }, sizeof(type))

/* Ingests into scratch/store; the caller releases the report. */
static inline bool ingest_cohort(const struct ingest_settings *settings,
                                 struct ingest_report *report, struct error *err)
{
    return ingest(settings, scratch("store"), false, report, err);
}

#endif
