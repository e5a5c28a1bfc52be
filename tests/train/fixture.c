/* Data sets for tests; see fixture.h. */
#include "fixture.h"

#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = { "t1", "t1ce", "t2", "flair" };

bool fixture_held_out(const struct fixture *fixture, size_t image)
{
    return fixture->no_train || image % 3 == 1;
}

unsigned fixture_value(size_t image, size_t channel, size_t y, size_t x)
{
    return (unsigned)(image * 37 + channel * 11 + y * 5 + x * 3) % 256;
}

unsigned fixture_label(size_t image, size_t y, size_t x)
{
    static const unsigned labels[] = { 0, 1, 2, 4 };
    return labels[(image + y + x) % 4];
}

static bool append(const struct fixture *fixture, struct dataset_writer *writer, size_t i,
                   struct error *err)
{
    uint8_t narrow[4096], mask[1024];
    uint16_t wide[4096];
    char subject[32];
    size_t at = 0, pixel = 0;
    for (size_t c = 0; c < fixture->channels; c++)
        for (size_t y = 0; y < fixture->height; y++)
            for (size_t x = 0; x < fixture->width; x++, at++) {
                narrow[at] = (uint8_t)fixture_value(i, c, y, x);
                wide[at] = (uint16_t)(narrow[at] * 257);
            }
    for (size_t y = 0; y < fixture->height; y++)
        for (size_t x = 0; x < fixture->width; x++)
            mask[pixel++] = (uint8_t)fixture_label(i, y, x);
    if (fixture->strange && i == 2)
        mask[3] = 7;
    snprintf(subject, sizeof subject, "s%zu", i);
    struct dataset_image row = { .subject = subject,
                                 .split =
                                     fixture_held_out(fixture, i) ? SPLIT_HOLDOUT : SPLIT_TRAIN,
                                 .source = subject,
                                 .sha256 = "" };
    return dataset_writer_append(writer, fixture->wide ? (const void *)wide : narrow,
                                 fixture->masks ? mask : NULL, &row, err);
}

bool fixture_write(const struct fixture *fixture, const char *path, struct error *err)
{
    struct dataset_writer writer;
    struct dataset_format format = { .role = ROLE_REAL,
                                     .channels = fixture->channels,
                                     .height = fixture->height,
                                     .width = fixture->width,
                                     .channel_names = names,
                                     .type = fixture->wide ? ELEMENT_UINT16 : ELEMENT_UINT8,
                                     .masks = fixture->masks };
    CHECK(fixture->channels * fixture->height * fixture->width <= 4096 &&
              fixture->height * fixture->width <= 1024,
          "a fixture too large");
    if (!dataset_writer_open(&writer, path, &format, err))
        return false;
    for (size_t i = 0; i < fixture->count; i++)
        if (!append(fixture, &writer, i, err))
            return false;
    return dataset_writer_commit(&writer, json_new_object(), false, err);
}

static unsigned char *read_array(const char *path, const char *name, size_t *size,
                                 struct error *err)
{
    struct arena arena;
    struct npy array;
    arena_init(&arena);
    unsigned char *bytes = NULL;
    if (npy_open(&array, path_join(&arena, path, name), err)) {
        *size = array.count * element_info[array.type].bytes;
        bytes = memory_allocate(*size, 1, "an array", err);
        if (bytes)
            memcpy(bytes, array.data, *size);
        npy_close(&array);
    }
    arena_release(&arena);
    return bytes;
}

unsigned char *fixture_images(const char *path, size_t *size, struct error *err)
{
    return read_array(path, "images.npy", size, err);
}

unsigned char *fixture_masks(const char *path, size_t *size, struct error *err)
{
    return read_array(path, "masks.npy", size, err);
}

struct train_settings fixture_ddpm(void)
{
    static const char *one[] = { "1" }, *none[] = { "0" };
    struct train_settings settings = train_defaults;
    settings.ddpm.base = 32;
    settings.ddpm.blocks = settings.ddpm.heads = 1;
    settings.ddpm.dropout = 0;
    settings.ddpm.mult = (struct yaml_strings){ one, 1 };
    settings.ddpm.attention = (struct yaml_strings){ none, 1 };
    return settings;
}

struct train_settings fixture_stylegan2(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN2;
    settings.stylegan2.z_width = settings.stylegan2.w_width = 8;
    settings.stylegan2.channel_base = 64;
    settings.stylegan2.channel_max = 8;
    return settings;
}

struct train_settings fixture_progan(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_PROGAN;
    settings.progan.z_width = 8;
    settings.progan.channel_base = 64;
    settings.progan.channel_max = 8;
    return settings;
}

struct train_settings fixture_stylegan3(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN3;
    settings.stylegan3.z_width = settings.stylegan3.w_width = 8;
    settings.stylegan3.layers = 3;
    settings.stylegan3.channel_base = 64;
    settings.stylegan3.channel_max = 4;
    return settings;
}

struct train_settings fixture_stylegan(void)
{
    struct train_settings settings = train_defaults;
    settings.model = MODEL_STYLEGAN;
    settings.stylegan.z_width = settings.stylegan.w_width = 8;
    settings.stylegan.mapping_layers = 2;
    settings.stylegan.channel_base = 64;
    settings.stylegan.channel_max = 8;
    return settings;
}
