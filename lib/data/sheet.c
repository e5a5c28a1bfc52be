/* Contact sheets; see sheet.h. */
#include "data/sheet.h"

#include "data/png.h"

#include <math.h>
#include <string.h>

enum { GAP = 2 };

/* Colours of the labels that BraTS uses; others take a turn of the last three. */
static const unsigned char colours[][3] = {
    { 0, 0, 0 },      { 220, 60, 60 },  { 70, 190, 90 },  { 90, 130, 240 },
    { 240, 200, 60 }, { 200, 90, 220 }, { 60, 200, 210 },
};

static const unsigned char *colour_of(uint8_t label)
{
    size_t count = sizeof colours / sizeof *colours;
    return colours[label < count ? label : 4 + label % 3];
}

struct sheet {
    const struct dataset *dataset;
    struct png_image image;
};

static double value_at(const struct dataset *dataset, size_t image, size_t channel, size_t pixel)
{
    size_t pixels = dataset->height * dataset->width;
    size_t at = (image * dataset->channels + channel) * pixels + pixel;
    if (dataset->type == ELEMENT_UINT8)
        return dataset->images[at];
    const uint16_t *wide = (const uint16_t *)(const void *)dataset->images;
    return dataset->type == ELEMENT_UINT16 ? wide[at] / 257.0 : half_to_float(wide[at]) * 255.0;
}

static unsigned char *tile(const struct sheet *sheet, size_t row, size_t column, size_t y)
{
    size_t top = row * (sheet->dataset->height + GAP) + GAP + y;
    size_t left = column * (sheet->dataset->width + GAP) + GAP;
    return (unsigned char *)sheet->image.pixels + 3 * (top * sheet->image.width + left);
}

static void draw_tile(const struct sheet *sheet, size_t row, size_t column, size_t image,
                      size_t channel, const uint8_t *mask)
{
    const struct dataset *dataset = sheet->dataset;
    for (size_t y = 0; y < dataset->height; y++) {
        unsigned char *out = tile(sheet, row, column, y);
        for (size_t x = 0; x < dataset->width; x++, out += 3) {
            double grey =
                fmin(fmax(value_at(dataset, image, channel, y * dataset->width + x), 0), 255);
            uint8_t label = mask ? mask[y * dataset->width + x] : 0;
            for (int c = 0; c < 3; c++)
                out[c] = (unsigned char)(label ? 0.4 * grey + 0.6 * colour_of(label)[c] : grey);
        }
    }
}

static size_t tiles_of(const struct dataset *dataset)
{
    return dataset->channels + (dataset->masks != NULL);
}

/* Images side by side, for so many rows. */
static size_t across_of(const struct dataset *dataset, size_t rows)
{
    size_t across = (2 * rows + tiles_of(dataset)) / (2 * tiles_of(dataset));
    return across ? across : 1;
}

size_t sheet_rows(const struct dataset *dataset, size_t images)
{
    size_t rows = 1;
    while (rows * across_of(dataset, rows) < images)
        rows++;
    return rows;
}

static void draw_image(const struct sheet *sheet, size_t row, size_t column, size_t image)
{
    const struct dataset *dataset = sheet->dataset;
    size_t pixels = dataset->height * dataset->width;
    const uint8_t *mask = dataset->masks ? dataset->masks + image * pixels : NULL;
    for (size_t c = 0; c < dataset->channels; c++)
        draw_tile(sheet, row, column + c, image, c, NULL);
    if (mask)
        draw_tile(sheet, row, column + dataset->channels, image, 0, mask);
}

bool sheet_draw(const struct dataset *dataset, const size_t *images, size_t count, size_t across,
                struct png_image *image, struct error *err)
{
    struct sheet sheet = { .dataset = dataset };
    size_t tiles = tiles_of(dataset), rows = across ? (count + across - 1) / across : 0;
    size_t width = across * tiles * (dataset->width + GAP) + GAP,
           height = rows * (dataset->height + GAP) + GAP;
    if (!rows || width > PNG_LARGEST_SIDE || height > PNG_LARGEST_SIDE)
        return error_set(err, "a sheet of %zu × %zu pixels cannot be drawn", width, height);
    sheet.image = (struct png_image){ (uint32_t)width, (uint32_t)height, 3, 8, NULL };
    sheet.image.pixels = memory_allocate(width * height, 3, "a contact sheet", err);
    if (!sheet.image.pixels)
        return false;
    memset(sheet.image.pixels, 40, 3 * width * height);
    for (size_t i = 0; i < count; i++)
        draw_image(&sheet, i / across, i % across * tiles, images[i]);
    *image = sheet.image;
    return true;
}

bool sheet_write(const struct dataset *dataset, size_t rows, const char *path, struct error *err)
{
    struct arena arena;
    struct png_image image;
    size_t across = across_of(dataset, rows);
    across = across < dataset->count ? across : dataset->count;
    size_t needed = across ? (dataset->count + across - 1) / across : 0;
    rows = rows < needed ? rows : needed;
    size_t shown = rows * across < dataset->count ? rows * across : dataset->count;
    arena_init(&arena);
    size_t *images = arena_array(&arena, size_t, shown + 1);
    for (size_t i = 0; i < shown; i++)
        images[i] = (2 * i + 1) * dataset->count / (2 * shown);
    bool ok =
        sheet_draw(dataset, images, shown, across, &image, err) || error_prefix(err, "%s", path);
    if (ok) {
        ok = png_write(path, &image, err);
        memory_free(image.pixels);
    }
    arena_release(&arena);
    return ok;
}
