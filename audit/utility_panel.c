/* Panels for the eye: image | truth | prediction, a row for each of a few slices. */
#include "audit/utility_grid.h"

#include "data/png.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, COLUMNS = 3 };

/* Of the classes, in turn; told apart by people who do not tell red from green, too. */
static const unsigned char colours[][3] = {
    { 240, 150, 40 }, { 60, 140, 230 }, { 240, 230, 90 }, { 200, 90, 200 }, { 80, 200, 190 },
};

struct candidate {
    size_t slice;   /* of the holdout */
    size_t patient; /* one slice of each comes first */
    size_t shown;   /* pixels that are no background */
};

static int by_shown(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->shown != y->shown)
        return x->shown < y->shown ? 1 : -1;
    return x->slice < y->slice ? -1 : 1;
}

/* The slice with the largest mask of each patient, in order, as evenly spread as there are rows;
 * then, where patients are few, further slices. */
static size_t choose(const struct grid *grid, size_t rows, size_t *slices)
{
    size_t pixels = grid->real.height * grid->real.width, at = 0, found = 0;
    struct candidate *all = memory_grow(NULL, grid->holdout_images, sizeof *all);
    for (size_t p = 0; p < grid->patient_count; p++)
        for (size_t k = 0; k < grid->patients[p].slices; k++, at++) {
            const uint8_t *mask = grid->held->masks + grid->patients[p].rows[k] * pixels;
            all[at] = (struct candidate){ at, p, 0 };
            for (size_t i = 0; i < pixels; i++)
                all[at].shown += mask[i] != 0;
        }
    qsort(all, at, sizeof *all, by_shown);
    for (size_t most = 1; found < rows && most <= at; most *= 2) { /* of one patient */
        found = 0;
        size_t *taken = memory_grow(NULL, grid->patient_count, sizeof *taken);
        memset(taken, 0, grid->patient_count * sizeof *taken);
        for (size_t i = 0; i < at && found < rows; i++)
            if (taken[all[i].patient] < most) {
                taken[all[i].patient]++;
                slices[found++] = all[i].slice;
            }
        free(taken);
    }
    free(all);
    return found;
}

struct panel {
    struct png_image image;
    size_t scale; /* pixels are drawn as squares of this side, so that small images can be seen */
};

static void draw(const struct panel *panel, const struct grid *grid, size_t row, size_t column,
                 const float *plane, float brightest, const uint8_t *labels)
{
    size_t width = grid->real.width, height = grid->real.height, scale = panel->scale;
    unsigned char *pixels = panel->image.pixels;
    for (size_t y = 0; y < height * scale; y++) {
        size_t top = row * (height * scale + GAP) + GAP + y;
        size_t left = column * (width * scale + GAP) + GAP;
        unsigned char *out = pixels + 3 * (top * panel->image.width + left);
        for (size_t x = 0; x < width * scale; x++, out += 3) {
            size_t i = y / scale * width + x / scale;
            float grey = 255 * fminf(fmaxf(plane[i] / brightest, 0), 1);
            uint8_t class = labels ? grid->classes.class_of[labels[i]] : 0;
            const unsigned char *colour =
                class ? colours[(class - 1u) % (sizeof colours / sizeof *colours)] : NULL;
            for (int c = 0; c < 3; c++)
                out[c] = (unsigned char)(colour ? 0.35f * grey + 0.65f * (float)colour[c] : grey);
        }
    }
}

/* The place in its store of a slice of the holdout. */
static size_t row_of(const struct grid *grid, size_t slice)
{
    return grid->patients[0].rows[slice];
}

static void draw_row(const struct panel *panel, const struct grid *grid, size_t row, size_t slice,
                     const uint8_t *labels, float *planes)
{
    size_t pixels = grid->real.height * grid->real.width;
    const float *plane = planes + (grid->real.channels - 1) * pixels; /* flair, in BraTS */
    float brightest = 0;
    example_planes(grid->held, row_of(grid, slice), planes);
    for (size_t i = 0; i < pixels; i++)
        brightest = fmaxf(brightest, plane[i]);
    brightest = brightest > 0 ? brightest : 1;
    draw(panel, grid, row, 0, plane, brightest, NULL);
    draw(panel, grid, row, 1, plane, brightest, grid->held->masks + row_of(grid, slice) * pixels);
    draw(panel, grid, row, 2, plane, brightest, labels + slice * pixels);
}

bool panel_write(const struct grid *grid, const uint8_t *labels, size_t rows, const char *path,
                 struct error *err)
{
    size_t width = grid->real.width, height = grid->real.height;
    size_t *slices = memory_grow(NULL, rows, sizeof *slices);
    struct panel panel = { .scale = width < 128 ? 128 / width : 1 };
    rows = choose(grid, rows, slices);
    panel.image.width = (uint32_t)(COLUMNS * (width * panel.scale + GAP) + GAP);
    panel.image.height = (uint32_t)(rows * (height * panel.scale + GAP) + GAP);
    panel.image.channels = 3;
    panel.image.bits = 8;
    size_t bytes = 3 * (size_t)panel.image.width * panel.image.height;
    panel.image.pixels = memory_allocate(bytes, 1, "a panel", err);
    float *planes = memory_allocate(grid->real.channels * width * height, sizeof *planes,
                                    "a panel's image", err);
    bool ok = panel.image.pixels && planes;
    if (ok)
        memset(panel.image.pixels, 40, bytes);
    for (size_t row = 0; ok && row < rows; row++)
        draw_row(&panel, grid, row, slices[row], labels, planes);
    ok = ok && png_write(path, &panel.image, err);
    memory_free(panel.image.pixels);
    memory_free(planes);
    free(slices);
    return ok;
}
