/* Features of images; see features.h. A network is a row of the table below. */
#include "audit/features.h"

#include "base/text.h"
#include "models/inception.h"
#include "models/resnet50.h"
#include "tensor/cpu.h"
#include "tensor/device.h"
#include "tensor/plan.h"
#include "train/foreign.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Planes computed at once, where memory suffices: enough for all cores of a processor, and more for
 * a GPU. Fixed otherwise, since libraries may sum in another order for another number. */
enum { BATCH_CPU = 8, BATCH_DEVICE = 64 };

enum { RANDOM_SEED = 1 };

/* ---- networks -------------------------------------------------------------------------------- */

/* Another beginning of tensors' names that files may have. */
struct alias {
    const char *ours, *theirs;
};

/* RadImageNet's are of the layers in a row, as of nn.Sequential. */
static const struct alias radimagenet_aliases[] = {
    { "conv1.", "backbone.0." },
    { "bn1.", "backbone.1." },
    { "layer1.", "backbone.4." },
    { "layer2.", "backbone.5." },
    { "layer3.", "backbone.6." },
    { "layer4.", "backbone.7." },
    { NULL, NULL },
};
static const struct alias no_aliases[] = { { NULL, NULL } };

const char *const feature_network_names[FEATURE_NETWORKS + 1] = {
    [FEATURES_INCEPTION] = "inception", [FEATURES_RADIMAGENET] = "radimagenet"
};

static const struct network_info {
    const char *backbone, *preparation;
    int side;
    struct node *(*prepare)(struct node *planes);
    struct node *(*build)(struct node *x);
    const struct alias *aliases;
    const char *no_classes; /* why no weights of it have a classifier; NULL: they may */
    const char *recipe;     /* of random weights: their digest stands for them */
} networks[FEATURE_NETWORKS] = {
    [FEATURES_INCEPTION] = {
        .backbone = "Inception v3",
        .preparation = "antialiased bicubic interpolation, cut to 0 … 255, (x - 128) / 128",
        .side = INCEPTION_SIDE,
        .prepare = inception_prepare,
        .build = inception_build,
        .aliases = no_aliases,
        .recipe = "Inception v3 (models/inception.h); weights normal of variance 2/fan-in by "
                  "random_fill_normal, seed 1, from the streams of their names; all filters but "
                  "the first layer's centred, times sqrt(1 / (1 - 1/pi)); batch normalisation at "
                  "its beginning",
    },
    [FEATURES_RADIMAGENET] = {
        .backbone = "ResNet-50",
        .preparation = "bilinear interpolation without antialiasing, cut to 0 … 255, "
                       "(x - 127.5) / 127.5",
        .side = RESNET50_SIDE,
        .prepare = resnet50_prepare,
        .build = resnet50_build,
        .aliases = radimagenet_aliases,
        .no_classes = "RadImageNet's weights are published without their classifier",
        .recipe = "ResNet-50 (models/resnet50.h); weights normal of variance 2/fan-in by "
                  "random_fill_normal, seed 1, from the streams of their names; all filters but "
                  "the first layer's centred, times sqrt(1 / (1 - 1/pi)); batch normalisation at "
                  "its beginning, with a running variance of 1 for each value summed",
    },
};

struct feature_network {
    const struct network_info *info;
    struct feature_format format;
    enum element_type type;
    size_t pixels; /* of a plane */
    struct graph *graph;
    struct node *planes, *features;
    struct store *store;
    struct plan *plan;
    float *batch, *values; /* of one batch */
    float *classifier;     /* or NULL */
};

/* ---- weights --------------------------------------------------------------------------------- */

/* What is left of a classifier, and how many batches a training saw. */
static bool is_of_no_use(const struct tensor_entry *entry, const void *context,
                         struct text *differences)
{
    (void)context, (void)differences;
    return text_ends_with(entry->name, ".num_batches_tracked") ||
           strcmp(entry->name, "fc.weight") == 0 || strcmp(entry->name, "fc.bias") == 0;
}

static bool is_negative_variance(const struct tensor *tensor, const float *values)
{
    bool negative = false;
    if (text_ends_with(tensor->name, ".running_var"))
        for (size_t i = 0; i < shape_count(tensor->shape); i++)
            negative = negative || values[i] < 0;
    return negative;
}

/* What the file calls a tensor: what we do, where it has neither. */
static const char *name_in(struct foreign *foreign, const struct alias *alias, const char *name)
{
    for (; alias->ours; alias++)
        if (text_starts_with(name, alias->ours)) {
            const char *other =
                arena_format(&foreign->arena, "%s%s", alias->theirs, name + strlen(alias->ours));
            return safetensors_find(&foreign->file, other) ? other : name;
        }
    return name;
}

static void take(struct feature_network *network, struct foreign *foreign, struct tensor *tensor)
{
    const char *name = name_in(foreign, network->info->aliases, tensor->name);
    float *values = foreign_take(foreign, name, tensor->shape);
    if (values && is_negative_variance(tensor, values))
        text_format(foreign->differences, "%s: holds variances below 0\n", name);
    if (values)
        store_write(network->store, tensor, values);
    free(values);
}

/* What features do not take may be left out of the file. */
static void take_classifier(struct feature_network *network, struct foreign *foreign)
{
    network->format.no_classes = network->info->no_classes
                                     ? network->info->no_classes
                                     : "the file of weights has no classifier (fc.weight)";
    if (network->info->no_classes || !safetensors_find(&foreign->file, "fc.weight"))
        return;
    network->format.no_classes = NULL;
    network->classifier = foreign_take(foreign, "fc.weight", SHAPE(CLASSES, FEATURES));
}

/* The message holds the differences, as many as fit. */
static bool load_weights(struct feature_network *network, const char *path, struct error *err)
{
    struct text differences = { 0 };
    struct foreign foreign;
    bool ok = foreign_open(&foreign, path, &differences, err);
    if (ok) {
        for (size_t i = 0; i < store_count(network->store); i++)
            take(network, &foreign, store_tensor(network->store, i));
        take_classifier(network, &foreign);
        foreign_check_rest(&foreign, is_of_no_use, NULL);
        struct digest digest = digest_of(foreign.file.map.bytes, foreign.file.map.size);
        digest_hex(&digest, network->format.weights);
        ok = foreign_agrees(&foreign, err) ||
             error_set(err, "%s (docs/weights.md tells how the file is made):\n%s", err->message,
                       differences.bytes);
        foreign_close(&foreign);
    }
    text_release(&differences);
    return ok;
}

static struct plan *plan_first_values(struct feature_network *network, struct store *store,
                                      struct error *err)
{
    size_t nodes = graph_size(network->graph), count = 0;
    struct node **parameters = memory_grow(NULL, nodes, sizeof(struct node *));
    for (size_t id = 0; id < nodes; id++)
        if (graph_node(network->graph, id)->op == OP_PARAMETER)
            parameters[count++] = graph_node(network->graph, id);
    struct plan *plan = plan_initial(store, parameters, count, err);
    free(parameters);
    return plan;
}

/* Through tens of layers of ReLU the features of all images come to point one way, as each layer
 * adds to the mean that they share. So filters sum to zero and do not see that mean, all but the
 * first layer's, whose images are not of one sign; what varies keeps its variance by the gain
 * (Brock, De and Smith, ICLR 2021). docs/networks.md has what it brings. */
static void centre_filters(const struct tensor *tensor, float *values)
{
    const struct shape *shape = &tensor->shape;
    if (shape->rank != 4 || shape->size[1] == 3)
        return;
    size_t count = shape_count(*shape) / (size_t)shape->size[0];
    float gain = (float)sqrt(1 / (1 - 1 / M_PI));
    for (float *filter = values; filter < values + shape_count(*shape); filter += count) {
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += (double)filter[i];
        for (size_t i = 0; i < count; i++)
            filter[i] = (filter[i] - (float)(sum / (double)count)) * gain;
    }
}

static bool take_drawn(const struct store *from, struct store *to, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < store_count(from); i++) {
        const struct tensor *tensor = store_tensor(from, i);
        struct tensor *copy = store_require(to, tensor->name, tensor->dtype, tensor->shape, err);
        float *values = memory_grow(NULL, shape_count(tensor->shape), sizeof *values);
        ok = copy;
        if (ok) {
            store_read(from, tensor, values);
            centre_filters(tensor, values);
            store_write(to, copy, values);
        }
        free(values);
    }
    return ok;
}

/* Drawn on the processor whatever the device, so that the values are the same everywhere. */
static bool draw_weights(struct feature_network *network, struct error *err)
{
    struct store *drawn = store_new(&cpu_backend);
    struct plan *plan = plan_first_values(network, drawn, err);
    bool ok = plan && plan_run(plan, 0, RANDOM_SEED, err) && take_drawn(drawn, network->store, err);
    plan_free(plan);
    store_free(drawn);
    struct digest digest = digest_of(network->info->recipe, strlen(network->info->recipe));
    digest_hex(&digest, network->format.weights);
    network->format.no_classes = "random weights know no classes";
    return ok;
}

/* ---- the network ----------------------------------------------------------------------------- */

static bool plan_batch(struct feature_network *network, size_t height, size_t width,
                       struct error *err)
{
    network->graph = graph_new();
    network->planes =
        t_input(network->graph, "planes", DTYPE_F32,
                SHAPE((int64_t)network->format.batch, (int64_t)height, (int64_t)width));
    network->features = network->info->build(network->info->prepare(network->planes));
    network->plan = plan_create(network->store, &network->features, 1, NULL, 0, err);
    if (!network->plan)
        graph_free(network->graph);
    if (!network->plan)
        network->graph = NULL;
    return network->plan;
}

/* The largest batch that the memory holds. */
static bool plan_largest(struct feature_network *network, size_t height, size_t width,
                         struct error *err)
{
    bool processor = store_backend(network->store) == &cpu_backend;
    for (size_t batch = processor ? BATCH_CPU : BATCH_DEVICE; batch > 0; batch /= 2) {
        network->format.batch = batch;
        if (plan_batch(network, height, width, err))
            return true;
    }
    return false;
}

static bool begin(struct feature_network *network, const struct feature_settings *settings,
                  size_t height, size_t width, struct error *err)
{
    const struct backend *backend =
        device_backend(settings->device ? settings->device : "auto", err);
    if (!backend)
        return false;
    network->format.device = backend->name;
    network->pixels = height * width;
    network->store = store_new(backend);
    if (!plan_largest(network, height, width, err))
        return false;
    network->batch = memory_allocate(network->format.batch * network->pixels, sizeof(float),
                                     "a batch of planes", err);
    network->values = memory_allocate(network->format.batch * FEATURES, sizeof(float),
                                      "the features of a batch", err);
    return network->batch && network->values &&
           (network->format.random ? draw_weights(network, err)
                                   : load_weights(network, settings->weights, err));
}

struct feature_network *feature_network_open(const struct feature_settings *settings,
                                             enum element_type type, size_t height, size_t width,
                                             struct error *err)
{
    struct feature_network *network = memory_grow(NULL, 1, sizeof *network);
    const struct network_info *info = &networks[settings->network];
    bool given = settings->weights && *settings->weights;
    *network = (struct feature_network){
        .info = info,
        .type = type,
        .format = { .network = feature_network_names[settings->network],
                    .backbone = info->backbone,
                    .preparation = info->preparation,
                    .side = info->side,
                    .random = !given },
    };
    if (begin(network, settings, height, width, err))
        return network;
    feature_network_free(network);
    return NULL;
}

void feature_network_free(struct feature_network *network)
{
    if (!network)
        return;
    plan_free(network->plan);
    store_free(network->store);
    if (network->graph)
        graph_free(network->graph);
    memory_free(network->batch);
    memory_free(network->values);
    free(network->classifier);
    free(network);
}

const struct feature_format *feature_network_format(const struct feature_network *network)
{
    return &network->format;
}

const float *feature_network_classifier(const struct feature_network *network)
{
    return network->classifier;
}

/* ---- planes ---------------------------------------------------------------------------------- */

static void read_uint8(const void *from, size_t count, float *out)
{
    const uint8_t *value = from;
    for (size_t i = 0; i < count; i++)
        out[i] = value[i];
}

static void read_uint16(const void *from, size_t count, float *out)
{
    const uint16_t *value = from;
    for (size_t i = 0; i < count; i++)
        out[i] = (float)value[i] / 257;
}

static void read_float16(const void *from, size_t count, float *out)
{
    const uint16_t *value = from;
    for (size_t i = 0; i < count; i++)
        out[i] = half_to_float(value[i]) * 255;
}

/* Values of 0 … 255. False where one is not finite. */
static bool read_plane(const struct feature_network *network, const void *plane, float *out)
{
    static void (*const read[ELEMENT_TYPE_COUNT])(const void *, size_t, float *) = {
        [ELEMENT_UINT8] = read_uint8,
        [ELEMENT_UINT16] = read_uint16,
        [ELEMENT_FLOAT16] = read_float16,
    };
    CHECK(read[network->type], "features of planes of %s", element_info[network->type].name);
    bool finite = true;
    read[network->type](plane, network->pixels, out);
    for (size_t i = 0; i < network->pixels; i++)
        finite = finite && isfinite(out[i]);
    return finite;
}

bool feature_network_run(struct feature_network *network, const void *const *planes, size_t count,
                         float *values, struct error *err)
{
    size_t most = network->format.batch;
    for (size_t first = 0; first < count; first += most) {
        size_t some = count - first < most ? count - first : most;
        for (size_t i = 0; i < some; i++)
            if (!read_plane(network, planes[first + i], network->batch + i * network->pixels))
                return error_set(err, "plane %zu of %zu holds NaN or infinity", first + i, count);
        memset(network->batch + some * network->pixels, 0,
               (most - some) * network->pixels * sizeof(float));
        plan_write(network->plan, network->planes, network->batch);
        if (!plan_run(network->plan, 0, 0, err))
            return false;
        plan_read(network->plan, network->features, network->values);
        if (!plan_check(network->plan, err))
            return false;
        memcpy(values + first * FEATURES, network->values, some * FEATURES * sizeof(float));
    }
    return true;
}
