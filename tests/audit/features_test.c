/* Features: the same numbers whoever computes beside, whatever the number of threads and the type
 * of planes; weights files that do not fit are refused with all differences. What the network
 * computes is held against PyTorch in tests/parity/features.py. */
#include "scratch.h"

#include "audit/features.h"
#include "base/parallel.h"
#include "base/random.h"
#include "data/safetensors.h"
#include "models/inception.h"
#include "models/resnet50.h"

#include <math.h>
#include <stdio.h>

enum { SIDE = 24, PIXELS = SIDE * SIDE, MOST = 600 };

static const struct feature_settings drawn = { NULL, "cpu" };

/* Drawing weights takes long, so most tests ask one network: of `drawn`, for bytes. Three threads
 * drew it, and computed what it says of planes 1 and 2. */
static struct feature_network *common;
static float common_values[2 * FEATURES];

/* ---- planes ---------------------------------------------------------------------------------- */

static void make_plane(uint64_t which, uint8_t *plane)
{
    for (int i = 0; i < PIXELS; i++)
        plane[i] = (uint8_t)random_below(3, which, (uint64_t)i, 256);
}

static struct feature_network *must_open(const struct feature_settings *settings,
                                         enum element_type type)
{
    struct error err;
    struct feature_network *network = feature_network_open(settings, type, SIDE, SIDE, &err);
    assert_ok(network, err);
    return network;
}

/* Features of one plane. */
static void features_of(const struct feature_settings *settings, enum element_type type,
                        const void *plane, float *values)
{
    struct error err;
    struct feature_network *network = must_open(settings, type);
    assert_ok(feature_network_run(network, &plane, 1, values, &err), err);
    feature_network_free(network);
}

/* A disc on black, elsewhere for another number: most of the image is the same. */
static void make_disc(int which, uint8_t *plane)
{
    for (int i = 0; i < PIXELS; i++) {
        int y = i / SIDE - 8 - 2 * which, x = i % SIDE - 9;
        plane[i] = y * y + x * x < 16 ? 150 : 0;
    }
}

/* As deep networks with weights as drawn do not: there the cosine is above .999. Nor do their
 * features grow or vanish from layer to layer. */
static void discs_are_told_apart_by(struct feature_network *network)
{
    struct error err;
    uint8_t planes[2][PIXELS];
    const void *each[] = { planes[0], planes[1] };
    static float values[2 * FEATURES];
    make_disc(0, planes[0]);
    make_disc(3, planes[1]);
    assert_ok(feature_network_run(network, each, 2, values, &err), err);
    double dot = 0, a = 0, b = 0;
    for (int i = 0; i < FEATURES; i++) {
        dot += (double)values[i] * (double)values[FEATURES + i];
        a += (double)values[i] * (double)values[i];
        b += (double)values[FEATURES + i] * (double)values[FEATURES + i];
    }
    assert_true(dot / sqrt(a * b) < 0.99);
    assert_true(a > 0.01 * FEATURES && a < 100 * FEATURES);
}

static void random_weights_do_not_point_all_images_one_way(void **state)
{
    (void)state;
    for (int which = 0; which < FEATURE_NETWORKS; which++) {
        const struct feature_settings settings = { .device = "cpu", .network = which };
        struct feature_network *network =
            which == drawn.network ? common : must_open(&settings, ELEMENT_UINT8);
        assert_string_equal(feature_network_format(network)->network, feature_network_names[which]);
        discs_are_told_apart_by(network);
        if (network != common)
            feature_network_free(network);
    }
}

static void random_weights_say_what_they_are_and_tell_planes_apart(void **state)
{
    (void)state;
    const struct feature_format *format = feature_network_format(common);
    assert_true(format->random);
    assert_string_equal(format->device, "cpu");
    assert_string_equal(format->no_classes, "random weights know no classes");
    assert_null(feature_network_classifier(common));
    assert_true(format->batch > 0);
    assert_int_equal(strlen(format->weights), DIGEST_HEX - 1);
    double difference = 0, size = 0;
    for (int i = 0; i < FEATURES; i++) {
        difference += fabs((double)common_values[i] - (double)common_values[FEATURES + i]);
        size += fabs((double)common_values[i]);
    }
    assert_true(size / FEATURES > 0.1 && size / FEATURES < 10); /* variance is kept */
    assert_true(difference > 0.01 * size);
}

static void a_planes_values_do_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    struct error err;
    size_t batch = feature_network_format(common)->batch, count = batch + 1;
    uint8_t *planes = memory_grow(NULL, 2 * PIXELS, 1);
    const void **each = memory_grow(NULL, count, sizeof *each);
    float *values = memory_grow(NULL, count * FEATURES, sizeof *values);
    make_plane(1, planes);
    make_plane(2, planes + PIXELS);
    for (size_t i = 0; i < count; i++)
        each[i] = planes + (i % 3 == 1 || i == batch ? 0 : PIXELS);
    assert_ok(feature_network_run(common, each, count, values, &err), err);
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(values + i * FEATURES,
                            common_values + (each[i] == planes ? 0 : FEATURES),
                            FEATURES * sizeof *values);
    assert_memory_not_equal(common_values, common_values + FEATURES, FEATURES * sizeof *values);
    free(planes);
    free(each);
    free(values);
}

/* Neither those of weights, drawn anew, nor those of features. */
static void bits_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    uint8_t plane[PIXELS];
    static float values[FEATURES];
    int before = parallel_threads();
    make_plane(1, plane);
    parallel_set_threads(1);
    features_of(&drawn, ELEMENT_UINT8, plane, values);
    parallel_set_threads(before);
    assert_memory_equal(values, common_values, sizeof values);
}

static void types_stand_for_the_same_greys(void **state)
{
    (void)state;
    uint8_t bytes[PIXELS];
    uint16_t wide[PIXELS], half[PIXELS];
    static float of_wide[FEATURES], of_half[FEATURES];
    make_plane(1, bytes);
    for (int i = 0; i < PIXELS; i++) {
        wide[i] = (uint16_t)(bytes[i] * 257);
        half[i] = half_from_double(bytes[i] / 255.0);
    }
    features_of(&drawn, ELEMENT_UINT16, wide, of_wide);
    features_of(&drawn, ELEMENT_FLOAT16, half, of_half);
    assert_memory_equal(common_values, of_wide, sizeof of_wide);
    double error = 0, size = 0;
    for (int i = 0; i < FEATURES; i++) {
        double difference = (double)of_half[i] - (double)common_values[i];
        error += difference * difference;
        size += (double)common_values[i] * (double)common_values[i];
    }
    assert_true(error < 5e-4 * size); /* of 256 for 255 it would be 1e-2 */
}

static void a_plane_that_is_not_finite_is_named(void **state)
{
    (void)state;
    struct error err;
    uint16_t planes[2][PIXELS] = { { 0 } };
    const void *each[] = { planes[0], planes[1] };
    static float values[2 * FEATURES];
    struct feature_network *network = must_open(&drawn, ELEMENT_FLOAT16);
    planes[1][PIXELS - 1] = 0x7e00;
    assert_false(feature_network_run(network, each, 2, values, &err));
    assert_contains(err.message, "plane 1 of 2 holds NaN or infinity");
    feature_network_free(network);
}

/* ---- weights --------------------------------------------------------------------------------- */

/* A file as docs/weights.md makes it, the classifier and the counters with it. */
struct official {
    struct tensor_entry entries[MOST];
    size_t count;
    struct arena arena;
};

static float *add(struct official *file, const char *name, struct shape shape)
{
    struct tensor_entry *entry = &file->entries[file->count++];
    size_t values = shape_count(shape);
    assert_true(file->count < MOST);
    float *data = arena_array(&file->arena, float, values);
    *entry = (struct tensor_entry){ .name = arena_string(&file->arena, name),
                                    .type = ELEMENT_FLOAT32,
                                    .rank = shape.rank,
                                    .bytes = values * sizeof *data,
                                    .data = data };
    for (int i = 0; i < shape.rank; i++)
        entry->shape[i] = (size_t)shape.size[i];
    for (size_t i = 0; i < values; i++)
        data[i] = 1;
    return data;
}

/* Every tensor of a network. */
static void make_file(struct official *file, struct node *(*build)(struct node *x), int side)
{
    struct graph *graph = graph_new();
    *file = (struct official){ .count = 0 };
    arena_init(&file->arena);
    build(t_input(graph, "x", DTYPE_F32, SHAPE(1, 3, side, side)));
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op != OP_PARAMETER)
            continue;
        float *data = add(file, node->leaf.name, node->shape);
        size_t count = shape_count(node->shape);
        if (node->shape.rank == 4) {
            random_fill_normal(2, random_stream(node->leaf.name), 0, count, data);
            for (size_t i = 0; i < count; i++)
                data[i] *= (float)sqrt(2 * (double)node->shape.size[0] / (double)count);
        }
    }
    graph_free(graph);
}

static void make_official(struct official *file)
{
    make_file(file, inception_build, INCEPTION_SIDE);
    add(file, "fc.weight", SHAPE(CLASSES, FEATURES));
    add(file, "fc.bias", SHAPE(1008));
    add(file, "Conv2d_1a_3x3.bn.num_batches_tracked", SHAPE(1));
}

static struct tensor_entry *entry_of(struct official *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return &file->entries[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static float *values_of(struct official *file, const char *name)
{
    return (float *)(uintptr_t)entry_of(file, name)->data;
}

static const char *save(const struct official *file)
{
    struct error err;
    const char *path = scratch("weights.safetensors");
    assert_ok(safetensors_write(path, file->entries, file->count, NULL, 0, &err), err);
    return path;
}

static void weights_of_a_file_are_used_and_told_by_their_digest(void **state)
{
    (void)state;
    struct error err;
    struct official file;
    struct digest digest;
    char hex[DIGEST_HEX];
    uint8_t plane[PIXELS];
    static float first[FEATURES], shifted[FEATURES];
    make_official(&file);
    make_plane(1, plane);
    struct feature_settings settings = { save(&file), "cpu" };
    struct feature_network *network = must_open(&settings, ELEMENT_UINT8);
    assert_false(feature_network_format(network)->random);
    assert_ok(digest_file(settings.weights, &digest, &err), err);
    assert_string_equal(feature_network_format(network)->weights, digest_hex(&digest, hex));
    assert_null(feature_network_format(network)->no_classes);
    assert_memory_equal(feature_network_classifier(network), values_of(&file, "fc.weight"),
                        CLASSES * FEATURES * sizeof(float));
    feature_network_free(network);
    features_of(&settings, ELEMENT_UINT8, plane, first);
    /* A bias of the last block's first branch: 320 features move, no other. */
    float *bias = values_of(&file, "Mixed_7c.branch1x1.bn.bias");
    for (int i = 0; i < 320; i++)
        bias[i] += 0.5f;
    entry_of(&file, "fc.weight")->name = "fc.num_batches_tracked"; /* which is passed over */
    save(&file);
    network = must_open(&settings, ELEMENT_UINT8);
    assert_null(feature_network_classifier(network));
    assert_contains(feature_network_format(network)->no_classes, "no classifier (fc.weight)");
    assert_ok(feature_network_run(network, &(const void *){ plane }, 1, shifted, &err), err);
    feature_network_free(network);
    assert_memory_equal(first + 320, shifted + 320, (FEATURES - 320) * sizeof *first);
    int moved = 0;
    for (int i = 0; i < 320; i++)
        moved += shifted[i] > first[i];
    assert_in_range(moved, 300, 320);
    arena_release(&file.arena);
}

static void every_difference_of_a_weights_file_is_told(void **state)
{
    (void)state;
    struct error err;
    struct official file;
    make_official(&file);
    entry_of(&file, "Mixed_5b.branch1x1.conv.weight")->name = "Mixed_5b.branch1x1.weight";
    struct tensor_entry *turned = entry_of(&file, "Mixed_6b.branch7x7_2.conv.weight");
    turned->shape[2] = 7;
    turned->shape[3] = 1;
    entry_of(&file, "Mixed_7b.branch1x1.bn.weight")->type = ELEMENT_INT32;
    values_of(&file, "Mixed_7c.branch1x1.bn.bias")[3] = NAN;
    values_of(&file, "Conv2d_1a_3x3.bn.running_var")[7] = -1;
    entry_of(&file, "fc.weight")->shape[0] = 1000; /* as of torchvision's own */
    entry_of(&file, "fc.weight")->bytes = (size_t)1000 * FEATURES * sizeof(float);
    struct feature_settings settings = { save(&file), "cpu" };
    assert_null(feature_network_open(&settings, ELEMENT_UINT8, SIDE, SIDE, &err));
    assert_contains(err.message, "weights.safetensors: 7 differences from what is asked for");
    assert_contains(err.message, "Mixed_5b.branch1x1.conv.weight: not in the file\n");
    assert_contains(err.message, "Mixed_5b.branch1x1.weight: in the file, not asked for");
    assert_contains(err.message, "Mixed_6b.branch7x7_2.conv.weight: (128,128,7,1) in the file, "
                                 "(128,128,1,7) asked for\n");
    assert_contains(err.message, "Mixed_7b.branch1x1.bn.weight: of type int32; float32 or float16");
    assert_contains(err.message, "Mixed_7c.branch1x1.bn.bias: holds NaN or infinity\n");
    assert_contains(err.message, "Conv2d_1a_3x3.bn.running_var: holds variances below 0\n");
    assert_contains(err.message, "fc.weight: (1000,2048) in the file, (1008,2048) asked for\n");
    arena_release(&file.arena);
}

/* RadImageNet numbers the layers, torchvision names them: either is taken. Weights that come from
 * Keras are another network's, and their convolutions have a bias. */
static void radimagenets_names_are_known(void **state)
{
    (void)state;
    static const char *const stems[][2] = {
        { "conv1.", "0." },  { "bn1.", "1." },    { "layer1.", "4." },
        { "layer2.", "5." }, { "layer3.", "6." }, { "layer4.", "7." },
    };
    struct error err;
    struct official file;
    make_file(&file, resnet50_build, RESNET50_SIDE);
    add(&file, "conv1.bias", SHAPE(64));
    for (size_t i = 0; i < file.count; i++)
        for (size_t s = 0; s < 6; s++)
            if (i % 2 && strncmp(file.entries[i].name, stems[s][0], strlen(stems[s][0])) == 0) {
                file.entries[i].name = arena_format(&file.arena, "backbone.%s%s", stems[s][1],
                                                    file.entries[i].name + strlen(stems[s][0]));
                break;
            }
    struct feature_settings settings = { save(&file), "cpu", FEATURES_RADIMAGENET };
    assert_null(feature_network_open(&settings, ELEMENT_UINT8, SIDE, SIDE, &err));
    assert_contains(err.message, "weights.safetensors: 1 differences from what is asked for");
    assert_contains(err.message, ".bias: in the file, not asked for\n");
    arena_release(&file.arena);
}

static void a_file_that_is_none_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct feature_settings settings = { scratch("weights.pth"), "cpu" };
    assert_null(feature_network_open(&settings, ELEMENT_UINT8, SIDE, SIDE, &err));
    assert_contains(err.message, "weights.pth");
    write_text(settings.weights, "PK\3\4 a pickle in an archive");
    assert_null(feature_network_open(&settings, ELEMENT_UINT8, SIDE, SIDE, &err));
    assert_contains(err.message, "weights.pth");
}

static int open_common(void **state)
{
    (void)state;
    struct error err;
    uint8_t planes[2][PIXELS];
    const void *each[] = { planes[0], planes[1] };
    make_plane(1, planes[0]);
    make_plane(2, planes[1]);
    int before = parallel_threads();
    parallel_set_threads(3);
    common = must_open(&drawn, ELEMENT_UINT8);
    assert_ok(feature_network_run(common, each, 2, common_values, &err), err);
    parallel_set_threads(before);
    return 0;
}

static int close_common(void **state)
{
    (void)state;
    feature_network_free(common);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_weights_do_not_point_all_images_one_way),
        cmocka_unit_test(random_weights_say_what_they_are_and_tell_planes_apart),
        cmocka_unit_test(a_planes_values_do_not_depend_on_its_neighbours),
        cmocka_unit_test(bits_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(types_stand_for_the_same_greys),
        cmocka_unit_test(a_plane_that_is_not_finite_is_named),
        TEST(weights_of_a_file_are_used_and_told_by_their_digest),
        TEST(every_difference_of_a_weights_file_is_told),
        TEST(radimagenets_names_are_known),
        TEST(a_file_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, open_common, close_common);
}
