/* One scan of the ingest: its files read, checked, sliced and scaled. Internal to lib/data. */
#ifndef DATA_SCAN_H
#define DATA_SCAN_H

#include "base/digest.h"
#include "data/ingest.h"
#include "data/npy.h"

struct scan_options {
    const char *source;
    const char *const *channels;
    size_t channel_count, keep_channel;
    bool masks;
    bool label_allowed[256];
    enum plane plane;
    enum intensity intensity; /* never auto */
    double percentile;        /* 0 … 1 */
    double keep_share;        /* < 0: keep every slice */
    double keep_above;
    int64_t canvas, size;
    struct plane_shape flat; /* rows and columns of every image; 0: they may differ, as scans do */
    enum element_type type;
    struct npy images, mask_array; /* layout npy: the arrays, open */
};

/* Opens what all scans share. Close also after a failure. */
bool scan_options_open(struct scan_options *options, const struct scan_list *list,
                       struct error *err) MUST_USE;
void scan_options_close(struct scan_options *options);

/* Rows and columns of a scan's planes, from its first file that can be read. */
bool scan_plane_shape(const struct scan_options *options, const struct scan *scan,
                      struct plane_shape *shape, struct error *err) MUST_USE;

struct scan_result {
    struct problem *problems; /* subject is not set */
    size_t problem_count;
    size_t kept;
    int64_t *slices;       /* kept: the planes' indices */
    unsigned char *images; /* (kept, channels, size, size) */
    uint8_t *masks;        /* (kept, size, size), or NULL */
    int64_t shape[3];
    double spacing[3];
    double pixel[2]; /* mm down the rows and along the columns; 0: the files do not say */
    bool oriented;
    double below; /* how far the least value lies below 0, as a share of what becomes 255 */
    double deep;  /* the largest value, of 0 … 255, of a PNG of 16 bits that is taken as it is */
    struct digest_entry *files; /* channels, then the mask if there is one */
    size_t file_count;
    struct arena arena; /* problems, slices, files */
};

/* Reads a scan. What is wrong with it goes into result->problems, all of it. With `wanted` false
 * the scan is only checked and no images are made. */
void scan_read(const struct scan_options *options, const struct scan *scan, bool wanted,
               struct scan_result *result);
void scan_result_release(struct scan_result *result);

#endif
