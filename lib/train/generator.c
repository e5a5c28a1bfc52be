/* A trained generator; see generator.h. */
#include "train/generator.h"

#include "base/file.h"
#include "base/text.h"
#include "nn/resample.h"
#include "tensor/device.h"
#include "train/checkpoint.h"
#include "train/recipe.h"

#include <stdlib.h>
#include <string.h>

struct generator {
    struct generator_format format;
    struct sampling sampling, validation; /* the second without a graph where there is none */
    struct store *store;
};

/* Sampling wants "model.x"; trained parameters are taken from "average.model.x". Of discriminators
 * there are no averages. */
static const char *name_in_training(const void *context, const char *tensor, struct arena *arena)
{
    const struct graph *graph = context;
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op == OP_PARAMETER && strcmp(node->leaf.name, tensor) == 0)
            return node->leaf.trainable && !text_starts_with(tensor, "D.")
                       ? arena_format(arena, "average.%s", tensor)
                       : tensor;
    }
    BUG("no parameter \"%s\"", tensor);
}

static bool find_checkpoint(struct generator *generator, const char *from, struct error *err)
{
    struct arena *arena = &generator->sampling.arena;
    const char **path = &generator->format.checkpoint;
    *path = from;
    if (path_kind(from) != PATH_FOLDER)
        return true;
    const char *folder = path_join(arena, from, "checkpoints");
    if (generator->sampling.options.weights == WEIGHTS_BEST) {
        *path = checkpoint_best(folder, arena);
        return *path || error_set(err,
                                  "%s: no best checkpoint; one is kept where diffusion is trained "
                                  "with --validate on a store that has images held out",
                                  from);
    }
    if (!checkpoint_latest(folder, arena, path, err))
        return false;
    return *path || error_set(err, "%s: no checkpoint; train into it first", from);
}

/* The stage of growth that ended in so many steps. Imported weights have grown; one without weights
 * begins so too, as that takes most memory. */
static void take_stage(struct sampling *sampling, const struct checkpoint_record *record,
                       bool without_weights)
{
    struct growth growth = recipe_growth(&sampling->settings, (int)record->size);
    bool grown = without_weights || strcmp(record->dataset, CHECKPOINT_IMPORTED) == 0;
    sampling->stage = grown ? growth_last_stage(&growth)
                            : growth_stage(&growth, record->step ? record->step - 1 : 0);
    sampling->share = growth_alpha(&growth, &sampling->stage, growth_images(&growth, record->step));
}

/* The format of a record; its strings, and those of the settings, are the caller's. */
static bool take_record(struct generator *generator, const struct train_settings *settings,
                        const struct checkpoint_record *record, bool without_weights,
                        struct error *err)
{
    struct sampling *sampling = &generator->sampling;
    struct generator_format *format = &generator->format;
    sampling->settings = *settings;
    if (!train_settings_resolve(&sampling->settings, (int)record->size, err) ||
        !recipe_check(&sampling->settings, (int)record->channel_count, (int)record->size, err))
        return false;
    take_stage(sampling, record, without_weights);
    format->model = model_names[settings->model];
    format->channels = record->channel_count;
    format->size = record->size;
    format->masks = record->masks;
    format->step = sampling->step = record->step;
    format->mirror = settings->mirror;
    format->side = (size_t)sampling->stage.side;
    format->channel_names = checkpoint_channel_names(record, &sampling->arena);
    sampling->channels = (int)format->channels;
    sampling->size = (int)format->size;
    return true;
}

static bool read_settings(struct generator *generator, struct error *err)
{
    struct checkpoint_record record;
    struct train_settings settings;
    struct arena *arena = &generator->sampling.arena;
    const char *path = generator->format.checkpoint;
    if (!checkpoint_read(path, &record, arena, err) ||
        !train_settings_parse(record.settings, path, &settings, arena, err))
        return false;
    generator->format.dataset = record.dataset;
    generator->format.reference = record.reference;
    generator->format.half = record.half;
    return take_record(generator, &settings, &record, false, err) || error_prefix(err, "%s", path);
}

static bool set_aside(struct sampling *sampling, struct error *err)
{
    for (int i = 0; i <= sampling->input_count; i++) {
        const struct node *node =
            i < sampling->input_count ? sampling->inputs[i] : sampling->output;
        sampling->values[i] = /* every dtype here takes four bytes */
            memory_allocate(shape_count(node->shape), sizeof(float), "a batch of images", err);
        if (!sampling->values[i])
            return false;
    }
    return true;
}

static void release_network(struct sampling *sampling)
{
    for (int i = 0; i <= RECIPE_INPUTS; i++) {
        memory_free(sampling->values[i]);
        sampling->values[i] = NULL;
    }
    plan_free(sampling->plan);
    graph_free(sampling->graph);
    diffusion_release(&sampling->diffusion);
    sampling->plan = NULL;
    sampling->graph = NULL;
    sampling->input_count = 0;
}

static bool make_plan(struct generator *generator, struct sampling *sampling, struct error *err)
{
    sampling->plan = plan_create(generator->store, &sampling->output, 1, NULL, 0, err);
    return sampling->plan && set_aside(sampling, err);
}

/* The layers that training would do in bf16. */
static bool set_precision(struct generator *generator, struct error *err)
{
    const struct sampling *sampling = &generator->sampling;
    const struct recipe *recipe = recipe_of(&sampling->settings);
    int64_t context =
        recipe->bf16_context ? recipe->bf16_context(&sampling->settings, sampling->size) : 0;
    if (recipe->accepts_bf16)
        store_set_precision_where(generator->store, recipe->accepts_bf16, context);
    return store_set_precision(generator->store, (enum precision)sampling->options.precision, err);
}

/* A store on the device, and the plan of the graph that was built. */
static bool build_plan(struct generator *generator, struct error *err)
{
    struct sampling *sampling = &generator->sampling;
    const char *device = sampling->options.device ? sampling->options.device : "auto";
    const struct backend *backend = device_backend(device, err);
    if (!backend)
        return false;
    generator->format.device = backend->name;
    generator->store = store_new(backend);
    return set_precision(generator, err) && make_plan(generator, sampling, err);
}

static bool build(struct generator *generator, struct error *err)
{
    struct sampling *sampling = &generator->sampling;
    sampling->batch = GENERATOR_BATCH;
    sampling->graph = graph_new();
    recipe_of(&sampling->settings)->build_sampling(sampling);
    while (dim(sampling->output, 2) < sampling->size)
        sampling->output = nn_nearest2(sampling->output);
    generator->format.steps = sampling->options.steps;
    return build_plan(generator, err);
}

static bool build_scoring(struct generator *generator, int64_t draws, struct error *err)
{
    struct sampling *scoring = &generator->sampling;
    const struct recipe *recipe = recipe_of(&scoring->settings);
    if (recipe->score_by_discriminator &&
        strcmp(generator->format.dataset, CHECKPOINT_IMPORTED) == 0)
        return error_set(err,
                         "%s: weights of a generator that were imported, without the discriminator "
                         "that would be asked about an image; it takes a checkpoint of training",
                         generator->format.checkpoint);
    scoring->draws = draws;
    scoring->graph = graph_new();
    recipe->build_scoring(scoring);
    return build_plan(generator, err);
}

/* A second graph over the same weights. */
static bool build_validation(struct generator *generator, struct error *err)
{
    struct sampling *validation = &generator->validation;
    const struct sampling *sampling = &generator->sampling;
    if (!recipe_of(&sampling->settings)->build_validation)
        return true;
    validation->settings = sampling->settings;
    validation->channels = sampling->channels;
    validation->size = sampling->size;
    validation->batch = GENERATOR_BATCH;
    validation->options.seed = sampling->options.seed;
    validation->graph = graph_new();
    recipe_of(&sampling->settings)->build_validation(validation);
    return make_plan(generator, validation, err);
}

static struct generator *generator_new(const struct draw_options *options)
{
    struct generator *generator = memory_grow(NULL, 1, sizeof *generator);
    *generator = (struct generator){ .sampling = { .options = *options } };
    arena_init(&generator->sampling.arena);
    arena_init(&generator->validation.arena);
    return generator;
}

static bool load(struct generator *generator, struct error *err)
{
    return checkpoint_load_some(generator->format.checkpoint, generator->store, name_in_training,
                                generator->sampling.graph, &generator->format.weights, err);
}

static bool may_draw(const struct generator *generator, struct error *err)
{
    return !generator->format.reference ||
           error_set(err,
                     "%s: a reference, which learnt from held-out people, too; nothing is drawn "
                     "from it: it is for lethe membership --reference",
                     generator->format.checkpoint);
}

struct generator *generator_open(const char *from, const struct draw_options *options,
                                 struct error *err)
{
    struct generator *generator = generator_new(options);
    if (find_checkpoint(generator, from, err) && read_settings(generator, err) &&
        may_draw(generator, err) && build(generator, err) && load(generator, err))
        return generator;
    generator_free(generator);
    return NULL;
}

struct generator *generator_open_to_score(const char *from, const struct draw_options *options,
                                          int64_t draws, struct error *err)
{
    struct generator *generator = generator_new(options);
    if (find_checkpoint(generator, from, err) && read_settings(generator, err) &&
        build_scoring(generator, draws, err) && load(generator, err))
        return generator;
    generator_free(generator);
    return NULL;
}

struct generator *generator_beside(const struct train_settings *settings,
                                   const struct checkpoint_record *record,
                                   const struct draw_options *options, struct error *err)
{
    struct generator *generator = generator_new(options);
    if (take_record(generator, settings, record, true, err) && build(generator, err) &&
        build_validation(generator, err))
        return generator;
    generator_free(generator);
    return NULL;
}

/* Makes its network anew where training has grown. */
static bool follow_growth(struct generator *generator, uint64_t step, struct error *err)
{
    struct sampling *sampling = &generator->sampling;
    struct growth growth = recipe_growth(&sampling->settings, sampling->size);
    struct stage stage = growth_stage(&growth, step ? step - 1 : 0);
    sampling->share = growth_alpha(&growth, &stage, growth_images(&growth, step));
    if (stage.number == sampling->stage.number)
        return true;
    release_network(sampling);
    store_free(generator->store);
    generator->store = NULL;
    sampling->stage = stage;
    generator->format.side = (size_t)stage.side;
    return build(generator, err);
}

bool generator_follow(struct generator *generator, const struct store *training, uint64_t step,
                      struct error *err)
{
    struct arena arena;
    if (!follow_growth(generator, step, err))
        return false;
    arena_init(&arena);
    for (size_t i = 0; i < store_count(generator->store); i++) {
        struct tensor *to = store_tensor(generator->store, i);
        const char *name = name_in_training(generator->sampling.graph, to->name, &arena);
        const struct tensor *from = store_find(training, name);
        CHECK(from && shape_equal(from->shape, to->shape), "training has no tensor %s", name);
        void *host = memory_grow(NULL, shape_count(to->shape), dtype_bytes(to->dtype));
        store_read(training, from, host);
        store_write(generator->store, to, host);
        free(host);
    }
    arena_release(&arena);
    return true;
}

const struct store *generator_store(const struct generator *generator)
{
    return generator->store;
}

const char *generator_name_in_training(const struct generator *generator, const char *tensor,
                                       struct arena *arena)
{
    return name_in_training(generator->sampling.graph, tensor, arena);
}

bool generator_validates(const struct generator *generator)
{
    return generator->validation.graph;
}

bool generator_validate(struct generator *generator, const float *images, size_t count,
                        double *loss, struct error *err)
{
    struct sampling *validation = &generator->validation;
    const struct recipe *recipe = recipe_of(&validation->settings);
    size_t values = generator->format.channels * generator->format.size * generator->format.size;
    float losses[GENERATOR_BATCH];
    float *batch = memory_grow(NULL, GENERATOR_BATCH * values, sizeof *batch);
    bool ok = true;
    *loss = 0;
    for (size_t first = 0; ok && first < count; first += GENERATOR_BATCH) {
        for (size_t i = 0; i < GENERATOR_BATCH; i++) { /* the last batch repeats its last image */
            size_t image = first + i < count ? first + i : count - 1;
            memcpy(batch + i * values, images + image * values, values * sizeof *batch);
        }
        ok = recipe->validate(validation, first, batch, losses, err);
        for (size_t i = 0; ok && i < GENERATOR_BATCH && first + i < count; i++)
            *loss += (double)losses[i] / (double)count;
    }
    free(batch);
    return ok;
}

static void release_sampling(struct sampling *sampling)
{
    release_network(sampling);
    arena_release(&sampling->arena);
}

void generator_free(struct generator *generator)
{
    if (!generator)
        return;
    release_sampling(&generator->sampling);
    release_sampling(&generator->validation);
    store_free(generator->store);
    free(generator);
}

const struct generator_format *generator_format(const struct generator *generator)
{
    return &generator->format;
}

/* The share that new layers have while a model grows. */
static void set_alpha(struct sampling *sampling)
{
    if (sampling->stage.fading)
        *sampling->values[sampling->alpha] = (float)sampling->share;
}

bool generator_draw(struct generator *generator, uint64_t batch, float *images, struct error *err)
{
    struct sampling *sampling = &generator->sampling;
    set_alpha(sampling);
    return recipe_of(&sampling->settings)->draw(sampling, batch * GENERATOR_BATCH, images, err);
}

size_t generator_score_count(const struct generator *generator)
{
    const struct sampling *scoring = &generator->sampling;
    return recipe_of(&scoring->settings)->score_count(scoring);
}

const int *generator_score_times(const struct generator *generator, int *steps)
{
    *steps = generator->sampling.diffusion.steps;
    return generator->sampling.times;
}

bool generator_score(struct generator *generator, const float *image, double *scores,
                     struct error *err)
{
    struct sampling *scoring = &generator->sampling;
    set_alpha(scoring);
    return recipe_of(&scoring->settings)->score(scoring, image, scores, err);
}
