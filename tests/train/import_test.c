/* Weights from elsewhere: what fits is taken bit for bit, and every difference is told. Images are
 * compared with PyTorch's in tests/parity/weights.py. */
#include "scratch.h"

#include "base/random.h"
#include "data/safetensors.h"
#include "fixture.h"
#include "models/stylegan3.h"
#include "train/checkpoint.h"
#include "train/generator.h"
#include "train/import.h"

#include <math.h>
#include <stdio.h>

enum { SIDE = 16, MOST = 128 };

static struct train_settings small_gan(void)
{
    struct train_settings settings = fixture_stylegan2();
    settings.stylegan2.mapping_layers = 2;
    return settings;
}

/* A file as docs/weights.md makes it: the names of the official code, buffers too. */
struct official {
    struct tensor_entry entries[MOST];
    size_t count;
    struct arena arena;
};

static void add_tensor(struct official *file, const char *name, int rank, const size_t *shape)
{
    struct tensor_entry *entry = &file->entries[file->count++];
    assert_true(file->count < MOST);
    *entry = (struct tensor_entry){ .name = arena_string(&file->arena, name),
                                    .type = ELEMENT_FLOAT32,
                                    .rank = rank };
    size_t values = 1;
    for (int i = 0; i < rank; i++)
        values *= entry->shape[i] = shape[i];
    float *data = arena_array(&file->arena, float, values);
    random_fill_normal(3, random_stream(name), 0, values, data);
    entry->data = data;
    entry->bytes = values * sizeof *data;
}

static void add_filter(struct official *file, const char *name)
{
    static const float line[] = { 0.125f, 0.375f, 0.375f, 0.125f };
    add_tensor(file, name, 2, (size_t[]){ 4, 4 });
    float *data = (float *)(uintptr_t)file->entries[file->count - 1].data;
    for (int i = 0; i < 16; i++)
        data[i] = line[i / 4] * line[i % 4];
}

/* Every tensor that drawing with these settings asks for. */
static void add_asked(struct official *file, const struct train_settings *settings)
{
    struct error err;
    struct checkpoint_record record = { .channels = "a,b", .channel_count = 2, .size = SIDE };
    struct draw_options options = { .truncation = 0.5, .device = "cpu" };
    *file = (struct official){ .count = 0 };
    arena_init(&file->arena);
    struct generator *generator = generator_beside(settings, &record, &options, &err);
    assert_ok(generator, err);
    const struct store *store = generator_store(generator);
    for (size_t i = 0; i < store_count(store); i++) {
        const struct tensor *tensor = store_tensor(store, i);
        size_t shape[TENSOR_MAX_RANK];
        for (int k = 0; k < tensor->shape.rank; k++)
            shape[k] = (size_t)tensor->shape.size[k];
        assert_true(strncmp(tensor->name, "G.", 2) == 0);
        add_tensor(file, tensor->name + 2, tensor->shape.rank, shape);
    }
    generator_free(generator);
}

static void make_official(struct official *file)
{
    struct train_settings settings = small_gan();
    add_asked(file, &settings);
    add_tensor(file, "synthesis.b8.conv0.noise_const", 2, (size_t[]){ 8, 8 });
    add_filter(file, "synthesis.b8.resample_filter");
}

/* ProGAN's file has the layers that made smaller images, too. */
static void make_official_progan(struct official *file)
{
    struct train_settings settings = fixture_progan();
    add_asked(file, &settings);
    add_tensor(file, "lod", 0, NULL);
    add_tensor(file, "ToRGB_lod2.weight", 4, (size_t[]){ 2, 8, 1, 1 });
}

static void make_official_stylegan(struct official *file)
{
    struct train_settings settings = fixture_stylegan();
    add_asked(file, &settings);
    add_tensor(file, "G_synthesis.noise5", 4, (size_t[]){ 1, 1, 16, 16 });
    add_tensor(file, "G_synthesis.ToRGB_lod2.weight", 4, (size_t[]){ 2, 8, 1, 1 });
}

static bool import_as(const struct official *file, const struct train_settings *settings,
                      struct import_report *report, struct error *err)
{
    struct import_job job = { scratch("weights.safetensors"), scratch("model"), settings, SIDE,
                              "a,b" };
    assert_ok(safetensors_write(job.weights, file->entries, file->count, NULL, 0, err), *err);
    *report = (struct import_report){ 0 };
    return import_weights(&job, report, err);
}

static bool import(const struct official *file, struct import_report *report, struct error *err)
{
    struct train_settings settings = small_gan();
    return import_as(file, &settings, report, err);
}

static void what_fits_is_taken_bit_for_bit(void **state)
{
    (void)state;
    struct error err;
    struct official file;
    struct import_report report;
    struct safetensors saved;
    make_official(&file);
    assert_ok(import(&file, &report, &err), err);
    assert_int_equal(report.taken, file.count - 2);
    assert_int_equal(report.passed_over, 2);
    assert_ok(
        safetensors_open(&saved, scratch("model/checkpoints/step-000000000000.safetensors"), &err),
        err);
    assert_int_equal(saved.count, file.count - 2);
    for (size_t i = 0; i + 2 < file.count; i++) {
        char name[256];
        bool average = strcmp(file.entries[i].name, "mapping.w_avg") != 0;
        snprintf(name, sizeof name, "%sG.%s", average ? "average." : "", file.entries[i].name);
        const struct tensor_entry *entry = safetensors_find(&saved, name);
        assert_non_null(entry);
        assert_int_equal(entry->bytes, file.entries[i].bytes);
        assert_memory_equal(entry->data, file.entries[i].data, entry->bytes);
    }
    safetensors_close(&saved);
    import_report_release(&report);
    arena_release(&file.arena);
}

static void every_difference_is_told_and_nothing_written(void **state)
{
    (void)state;
    struct error err;
    struct official file;
    struct import_report report;
    make_official(&file);
    struct tensor_entry *changed = NULL;
    for (size_t i = 0; i < file.count; i++) {
        if (strcmp(file.entries[i].name, "mapping.fc0.weight") == 0)
            file.entries[i].name = "mapping.fc9.weight"; /* one is missing, one left over */
        if (strcmp(file.entries[i].name, "synthesis.b4.const") == 0)
            changed = &file.entries[i];
    }
    changed->shape[1] *= changed->shape[2];
    changed->shape[2] = 1;
    float *filter = (float *)(uintptr_t)file.entries[file.count - 1].data;
    filter[5] += 0.01f;
    assert_false(import(&file, &report, &err));
    assert_contains(err.message, "4 differences from what is asked for");
    assert_contains(report.differences.bytes, "mapping.fc0.weight: not in the file\n");
    assert_contains(report.differences.bytes, "mapping.fc9.weight: in the file, not asked for\n");
    assert_contains(report.differences.bytes, "synthesis.b4.const: (8,16,1) in the file, (8,4,4)");
    assert_contains(report.differences.bytes,
                    "synthesis.b8.resample_filter: not the filter [1,3,3,1]\n");
    assert_int_equal(path_kind(scratch("model")), PATH_NOTHING);
    import_report_release(&report);
    arena_release(&file.arena);
}

/* Weights that were imported have grown: they draw images of full size at once. Two tensors of the
 * file are of no use for that. */
static void check_grown(const struct official *made, const struct train_settings *settings)
{
    struct error err;
    struct official file = *made;
    struct import_report report;
    struct draw_options options = { .seed = 1, .truncation = 1, .device = "cpu" };
    static float images[GENERATOR_BATCH * 2 * SIDE * SIDE];
    assert_ok(import_as(&file, settings, &report, &err), err);
    assert_int_equal(report.taken, file.count - 2);
    assert_int_equal(report.passed_over, 2);
    struct generator *generator = generator_open(scratch("model"), &options, &err);
    assert_ok(generator, err);
    assert_int_equal(generator_format(generator)->side, SIDE);
    assert_ok(generator_draw(generator, 0, images, &err), err);
    assert_true(fabsf(images[0] - images[1]) > 1e-6f);
    generator_free(generator);
    import_report_release(&report);
    arena_release(&file.arena);
}

static void progan_that_has_grown_elsewhere_draws_in_full_size(void **state)
{
    (void)state;
    struct official file;
    struct train_settings settings = fixture_progan();
    make_official_progan(&file);
    check_grown(&file, &settings);
}

static void stylegan_that_has_grown_elsewhere_draws_in_full_size(void **state)
{
    (void)state;
    struct official file;
    struct train_settings settings = fixture_stylegan();
    make_official_stylegan(&file);
    check_grown(&file, &settings);
}

/* As the official StyleGAN 3 saves them: filters, which we work out, and a transformation. */
static void make_official_stylegan3(struct official *file, struct train_settings settings)
{
    struct stylegan3 config = { .rotation = settings.stylegan3.config == STYLEGAN3_R,
                                .resolution = SIDE,
                                .channels = 2,
                                .layers = (int)settings.stylegan3.layers,
                                .channel_base = (int)settings.stylegan3.channel_base,
                                .channel_max = (int)settings.stylegan3.channel_max };
    struct stylegan3_layer layer[STYLEGAN3_LAYERS];
    int count = stylegan3_layers(&config, layer);
    float taps[STYLEGAN3_FILTER];
    char name[80];
    add_asked(file, &settings);
    for (int i = 0; i + 1 < count; i++)
        for (int down = 0; down < 2; down++) {
            size_t length = (size_t)(down ? layer[i].down_taps : layer[i].up_taps);
            bool radial = down && layer[i].radial;
            snprintf(name, sizeof name, "synthesis.%s.%s_filter", layer[i].name,
                     down ? "down" : "up");
            add_tensor(file, name, radial ? 2 : 1, (size_t[]){ length, length });
            (down ? stylegan3_down_filter : stylegan3_up_filter)(&layer[i], taps);
            memcpy((void *)(uintptr_t)file->entries[file->count - 1].data, taps,
                   (radial ? length * length : length) * sizeof *taps);
        }
    add_tensor(file, "synthesis.input.transform", 2, (size_t[]){ 3, 3 });
    float *transform = (float *)(uintptr_t)file->entries[file->count - 1].data;
    for (int i = 0; i < 9; i++)
        transform[i] = i % 4 == 0;
}

static void buffers_of_stylegan3_must_be_what_the_settings_make(void **state)
{
    (void)state;
    struct error err;
    struct official file;
    struct import_report report;
    struct train_settings settings = fixture_stylegan3();
    settings.stylegan3.config = STYLEGAN3_R;
    make_official_stylegan3(&file, settings);
    assert_ok(import_as(&file, &settings, &report, &err), err);
    assert_int_equal(report.passed_over, 2 * 3 + 1);
    assert_int_equal(report.taken, file.count - 7);
    import_report_release(&report);
    assert_ok(folder_remove(scratch("model"), &err), err);
    ((float *)(uintptr_t)file.entries[file.count - 1].data)[2] = 0.1F; /* moved by a tenth */
    ((float *)(uintptr_t)file.entries[file.count - 2].data)[5] += 1e-3F;
    assert_false(import_as(&file, &settings, &report, &err));
    assert_contains(err.message, "2 differences from what is asked for");
    assert_contains(report.differences.bytes, "synthesis.input.transform: not the identity\n");
    assert_contains(report.differences.bytes,
                    "synthesis.L2_16_4.down_filter: not the filter that follows");
    import_report_release(&report);
    arena_release(&file.arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_fits_is_taken_bit_for_bit),
        TEST(progan_that_has_grown_elsewhere_draws_in_full_size),
        TEST(stylegan_that_has_grown_elsewhere_draws_in_full_size),
        TEST(every_difference_is_told_and_nothing_written),
        TEST(buffers_of_stylegan3_must_be_what_the_settings_make),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
