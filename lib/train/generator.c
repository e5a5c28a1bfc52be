/* A trained generator; see generator.h. */
#include "train/generator.h"

#include "base/file.h"
#include "tensor/cpu.h"
#include "train/checkpoint.h"
#include "train/recipe.h"

#include <stdlib.h>
#include <string.h>

struct generator {
    struct generator_format format;
    struct sampling sampling;
    struct store *store;
};

/* Sampling wants "model.x"; trained parameters are taken from "average.model.x". */
static const char *name_in_file(const void *context, const char *tensor, struct arena *arena)
{
    const struct graph *graph = context;
    for (size_t id = 0; id < graph_size(graph); id++) {
        const struct node *node = graph_node(graph, id);
        if (node->op == OP_PARAMETER && strcmp(node->leaf.name, tensor) == 0)
            return node->leaf.trainable ? arena_format(arena, "average.%s", tensor) : tensor;
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
    if (!checkpoint_latest(path_join(arena, from, "checkpoints"), arena, path, err))
        return false;
    return *path || error_set(err, "%s: no checkpoint; train into it first", from);
}

static bool read_settings(struct generator *generator, struct error *err)
{
    struct checkpoint_record record;
    struct sampling *sampling = &generator->sampling;
    struct generator_format *format = &generator->format;
    const char *path = format->checkpoint;
    if (!checkpoint_read(path, &record, &sampling->arena, err) ||
        !train_settings_parse(record.settings, path, &sampling->settings, &sampling->arena, err))
        return false;
    if (!train_settings_resolve(&sampling->settings, (int)record.size, err) ||
        !recipe_of(&sampling->settings)
             ->check(&sampling->settings, (int)record.channel_count, (int)record.size, err))
        return error_prefix(err, "%s", path);
    format->model = model_names[sampling->settings.model];
    format->channels = record.channel_count;
    format->size = record.size;
    format->masks = record.masks;
    format->step = record.step;
    format->channel_names = arena_array(&sampling->arena, const char *, format->channels);
    const char *name = record.channels;
    for (size_t c = 0; c < format->channels; c++) {
        size_t length = strcspn(name, ",");
        format->channel_names[c] = arena_substring(&sampling->arena, name, length);
        name += length + 1;
    }
    sampling->channels = (int)format->channels;
    sampling->size = (int)format->size;
    return true;
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

static bool build(struct generator *generator, struct error *err)
{
    struct sampling *sampling = &generator->sampling;
    sampling->batch = GENERATOR_BATCH;
    sampling->graph = graph_new();
    recipe_of(&sampling->settings)->build_sampling(sampling);
    generator->format.steps = sampling->options.steps;
    generator->store = store_new(&cpu_backend);
    sampling->plan = plan_create(generator->store, &sampling->output, 1, NULL, 0, err);
    return sampling->plan && set_aside(sampling, err) &&
           checkpoint_load_some(generator->format.checkpoint, generator->store, name_in_file,
                                sampling->graph, &generator->format.weights, err);
}

struct generator *generator_open(const char *from, const struct draw_options *options,
                                 struct error *err)
{
    struct generator *generator = memory_grow(NULL, 1, sizeof *generator);
    *generator = (struct generator){ .sampling = { .options = *options } };
    arena_init(&generator->sampling.arena);
    if (find_checkpoint(generator, from, err) && read_settings(generator, err) &&
        build(generator, err))
        return generator;
    generator_free(generator);
    return NULL;
}

void generator_free(struct generator *generator)
{
    if (!generator)
        return;
    struct sampling *sampling = &generator->sampling;
    for (int i = 0; i <= RECIPE_INPUTS; i++)
        memory_free(sampling->values[i]);
    plan_free(sampling->plan);
    store_free(generator->store);
    graph_free(sampling->graph);
    diffusion_release(&sampling->diffusion);
    arena_release(&sampling->arena);
    free(generator);
}

const struct generator_format *generator_format(const struct generator *generator)
{
    return &generator->format;
}

bool generator_draw(struct generator *generator, uint64_t batch, float *images, struct error *err)
{
    struct sampling *sampling = &generator->sampling;
    return recipe_of(&sampling->settings)->draw(sampling, batch * GENERATOR_BATCH, images, err);
}
