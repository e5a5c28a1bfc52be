/* The training cases; see case.h and cases.py. */
#include "case.h"

#include "base/random.h"
#include "models/progan.h"
#include "models/stylegan.h"
#include "models/stylegan2.h"
#include "models/stylegan3.h"
#include "nn/style.h"
#include "train/segment_recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY_STEPS = 100000 };

/* ---- settings -------------------------------------------------------------------------------- */

static bool integers(const struct json *settings, int count, const char *const *keys,
                     int64_t *const *values, struct error *err)
{
    for (int i = 0; i < count; i++)
        if (!json_get_integer(settings, keys[i], values[i], err))
            return false;
    return true;
}
#define INTEGERS(settings, err, keys, ...)                                                         \
    integers(settings, (int)(sizeof(keys) / sizeof *(keys)), keys,                                 \
             (int64_t *const[]){ __VA_ARGS__ }, err)

static double rate_of(const struct case_options *options, double usual)
{
    return usual * (options->rate != 0 ? options->rate : 1);
}

/* A list of whole numbers as they are, and as settings have them. */
static bool numbers(const struct json *settings, const char *key, int *out, size_t most,
                    struct error *err)
{
    const struct json *array = json_get_array(settings, key, err);
    for (size_t i = 0; array && i < json_length(array) && i < most; i++) {
        int64_t value = 0;
        CHECK(json_as_integer(json_at(array, i), &value), "a list of integers");
        out[i] = (int)value;
    }
    return array;
}

static bool list(const struct json *settings, const char *key, struct arena *arena,
                 struct yaml_strings *out, struct error *err)
{
    int values[TRAIN_LIST];
    if (!numbers(settings, key, values, TRAIN_LIST, err))
        return false;
    out->count = json_length(json_get_array(settings, key, err));
    out->items = arena_array(arena, const char *, out->count);
    for (size_t i = 0; i < out->count; i++)
        out->items[i] = arena_format(arena, "%d", values[i]);
    return true;
}

static void add_output(struct parity_case *of, const char *name, struct node *value)
{
    of->outputs[of->output_count++] = (struct named_output){ name, value };
}

/* The leaf of an input or of a first draw. */
static struct node *find(const struct parity_case *of, const char *name)
{
    const struct graph *graph = of->training.graph;
    for (size_t id = 0; id < graph_size(graph); id++) {
        struct node *node = graph_node(graph, id);
        bool named = node->op == OP_INPUT || node->op == OP_NORMAL || node->op == OP_UNIFORM;
        if (named && strcmp(node->leaf.name, name) == 0)
            return node;
    }
    BUG("no input \"%s\"", name);
}

/* ---- segmenters ------------------------------------------------------------------------------ */

/* With settings of the model alone. */
static void open_segmenter(struct parity_case *of, const struct case_options *options,
                           struct segmentation *segmentation, int64_t side, int64_t channels,
                           int64_t classes)
{
    struct segment_settings *settings = &segmentation->settings;
    settings->batch = options->batch;
    settings->images = options->batch * (options->steps ? options->steps : MANY_STEPS);
    segmentation->channels = (int)channels;
    segmentation->classes = (int)classes;
    segmentation->height = segmentation->width = side;
    segmentation_train(segmentation, &of->training);
    of->bare = true;
    add_output(of, "output/y", of->training.output);
}

static bool open_unet(struct parity_case *of, const struct json *json,
                      const struct case_options *options, struct error *err)
{
    static const char *const keys[] = { "size", "channels", "classes", "base", "levels" };
    struct segmentation segmentation = { .settings = { .model = SEGMENT_UNET,
                                                       .rate = rate_of(options, 0.01) } };
    int64_t side, channels, classes;
    if (!INTEGERS(json, err, keys, &side, &channels, &classes, &segmentation.settings.base,
                  &segmentation.settings.levels))
        return false;
    open_segmenter(of, options, &segmentation, side, channels, classes);
    return true;
}

/* Without dropout, which the twin has not. */
static bool open_swin(struct parity_case *of, const struct json *json,
                      const struct case_options *options, struct error *err)
{
    static const char *const keys[] = { "size",   "channels", "classes", "embed",
                                        "window", "patch",    "width" };
    struct swin swin = { 0 };
    struct segmentation segmentation = {
        .settings = { .model = SEGMENT_SWIN, .rate = rate_of(options, 6e-5) }, .swin = &swin
    };
    int64_t side, channels, classes, embed, window, patch, width;
    if (!INTEGERS(json, err, keys, &side, &channels, &classes, &embed, &window, &patch, &width) ||
        !numbers(json, "depths", swin.depths, SWIN_STAGES, err) ||
        !numbers(json, "heads", swin.heads, SWIN_STAGES, err))
        return false;
    swin.embed = (int)embed;
    swin.window = (int)window;
    swin.patch = (int)patch;
    swin.width = (int)width;
    open_segmenter(of, options, &segmentation, side, channels, classes);
    return true;
}

/* ---- generators ------------------------------------------------------------------------------ */

static bool open_generator(struct parity_case *of, struct train_settings *settings,
                           const struct case_options *options, int64_t channels, int64_t size,
                           struct error *err)
{
    settings->batch = options->batch;
    return training_init(&of->training, settings, (int)channels, (int)size, err);
}

static void add_ddpm_outputs(struct parity_case *of)
{
    const struct training *training = &of->training;
    const struct diffusion *diffusion = &training->diffusion;
    struct node *t = t_cast(t_scale(find(of, "t"), diffusion->steps), DTYPE_I32);
    add_output(of, "output/xt", diffusion_noised(diffusion, training->real, t, find(of, "noise")));
    add_output(of, "output/y", training->output);
}

static bool open_ddpm(struct parity_case *of, const struct json *json,
                      const struct case_options *options, struct error *err)
{
    static const char *const keys[] = { "size", "channels", "base", "blocks" };
    struct train_settings settings = train_defaults;
    struct ddpm_settings *ddpm = &settings.ddpm;
    int64_t size, channels;
    ddpm->heads = 1;
    ddpm->dropout = 0;
    ddpm->schedule = SCHEDULE_LINEAR;
    ddpm->learned_variance = options->learned;
    settings.rate = rate_of(options, 1e-4);
    bool ok = INTEGERS(json, err, keys, &size, &channels, &ddpm->base, &ddpm->blocks) &&
              list(json, "mult", &of->arena, &ddpm->mult, err) &&
              list(json, "attention", &of->arena, &ddpm->attention, err) &&
              (!json_has(json, "heads") || json_get_integer(json, "heads", &ddpm->heads, err)) &&
              open_generator(of, &settings, options, channels, size, err);
    if (ok && options->replay)
        add_ddpm_outputs(of);
    return ok;
}

/* Of the latents of the first phase, without mixing, with the constant noise. */
static void add_gan_outputs(struct parity_case *of)
{
    const struct training *training = &of->training;
    const struct stylegan2_settings *from = &training->settings.stylegan2;
    struct stylegan2 config = { .resolution = training->size,
                                .channels = training->channels,
                                .z_width = (int)from->z_width,
                                .w_width = (int)from->w_width,
                                .mapping_layers = (int)from->mapping_layers,
                                .channel_base = (int)from->channel_base,
                                .channel_max = (int)from->channel_max };
    struct graph *graph = training->graph;
    of->layers = stylegan2_styles_count(&config);
    graph_push(graph, "G");
    struct node *styles = stylegan2_styles(&config, stylegan2_map(&config, find(of, "Gmain.z")));
    add_output(of, "output/ws", styles);
    add_output(of, "output/images", stylegan2_synthesize(&config, styles, NULL));
    graph_pop(graph);
    graph_push(graph, "D");
    add_output(of, "output/logits", stylegan2_discriminate(&config, training->real));
    graph_pop(graph);
}

static bool open_stylegan2(struct parity_case *of, const struct json *json,
                           const struct case_options *options, struct error *err)
{
    static const char *const keys[] = { "resolution", "channels",     "z_width",
                                        "w_width",    "channel_base", "channel_max" };
    struct train_settings settings = train_defaults;
    struct stylegan2_settings *gan = &settings.stylegan2;
    int64_t size, channels;
    if (!INTEGERS(json, err, keys, &size, &channels, &gan->z_width, &gan->w_width,
                  &gan->channel_base, &gan->channel_max))
        return false;
    settings.model = MODEL_STYLEGAN2;
    settings.rate = rate_of(options, 0.0025);
    gan->gamma = 0.0002 * (double)(size * size) / options->batch;
    gan->path_weight = options->path ? 2 : 0;
    gan->average_kimg = options->batch * 10 / 32.0;
    if (!open_generator(of, &settings, options, channels, size, err))
        return false;
    if (options->replay)
        add_gan_outputs(of);
    return true;
}

/* Sets growth so that a stage of the side, fading in or not, goes on for ever from a step on. */
static uint64_t grow_to(struct train_settings *settings, int64_t side, bool fading)
{
    struct growth_settings *growth = &settings->growth;
    growth->batch_most = 1;
    growth->first_side = fading ? side / 2 : side;
    growth->stable_kimg = fading ? 0.001 : 1e6;
    growth->fade_kimg = 1e6;
    return fading ? 1 : 0;
}

static void add_progan_outputs(struct parity_case *of)
{
    const struct training *training = &of->training;
    const struct progan_settings *from = &training->settings.progan;
    struct progan config = { .resolution = training->size,
                             .channels = training->channels,
                             .z_width = (int)from->z_width,
                             .channel_base = (int)from->channel_base,
                             .channel_max = (int)from->channel_max };
    struct graph *graph = training->graph;
    graph_push(graph, "G");
    add_output(
        of, "output/images",
        progan_generate(&config, find(of, "Gmain.z"), training->stage.side, training->alpha));
    graph_pop(graph);
    graph_push(graph, "D");
    add_output(of, "output/logits", progan_discriminate(&config, training->shown, training->alpha));
    graph_pop(graph);
}

static bool open_progan(struct parity_case *of, const struct json *json,
                        const struct case_options *options, struct error *err)
{
    static const char *const keys[] = { "resolution", "channels",     "side",
                                        "z_width",    "channel_base", "channel_max" };
    struct train_settings settings = train_defaults;
    struct progan_settings *gan = &settings.progan;
    int64_t size, channels, side;
    bool fading;
    if (!INTEGERS(json, err, keys, &size, &channels, &side, &gan->z_width, &gan->channel_base,
                  &gan->channel_max) ||
        !json_get_bool(json, "fading", &fading, err))
        return false;
    settings.model = MODEL_PROGAN;
    settings.rate = rate_of(options, 0.001);
    settings.batch = options->batch;
    uint64_t step = grow_to(&settings, side, fading);
    if (!training_init_at(&of->training, &settings, (int)channels, (int)size, step, err))
        return false;
    if (options->replay)
        add_progan_outputs(of);
    return true;
}

/* Of the latents of the first phase. */
static void add_stylegan3_outputs(struct parity_case *of)
{
    const struct training *training = &of->training;
    const struct stylegan3_settings *from = &training->settings.stylegan3;
    int wider = from->config == STYLEGAN3_R ? 2 : 1;
    struct stylegan3 config = { .rotation = from->config == STYLEGAN3_R,
                                .resolution = training->size,
                                .channels = training->channels,
                                .w_width = (int)from->w_width,
                                .mapping_layers = (int)from->mapping_layers,
                                .layers = (int)from->layers,
                                .channel_base = wider * (int)from->channel_base,
                                .channel_max = wider * (int)from->channel_max };
    struct stylegan2 discriminator = { .resolution = training->size,
                                       .channel_base = (int)from->channel_base,
                                       .channel_max = (int)from->channel_max };
    struct graph *graph = training->graph;
    graph_push(graph, "G");
    struct node *w = stylegan3_map(&config, find(of, "Gmain.z"));
    add_output(of, "output/w", w);
    add_output(of, "output/images", stylegan3_synthesize(&config, w, NULL));
    graph_pop(graph);
    graph_push(graph, "D");
    add_output(of, "output/logits", stylegan2_discriminate(&discriminator, training->real));
    graph_pop(graph);
}

static bool open_stylegan3(struct parity_case *of, const struct json *json,
                           const struct case_options *options, struct error *err)
{
    static const char *const keys[] = { "resolution", "channels",     "z_width",    "w_width",
                                        "layers",     "channel_base", "channel_max" };
    struct train_settings settings = train_defaults;
    struct stylegan3_settings *gan = &settings.stylegan3;
    int64_t size, channels;
    if (!INTEGERS(json, err, keys, &size, &channels, &gan->z_width, &gan->w_width, &gan->layers,
                  &gan->channel_base, &gan->channel_max))
        return false;
    settings.model = MODEL_STYLEGAN3;
    settings.rate = rate_of(options, 0.0025);
    gan->config = options->rotation ? STYLEGAN3_R : STYLEGAN3_T;
    gan->d_rate = rate_of(options, 0.002);
    if (!open_generator(of, &settings, options, channels, size, err))
        return false;
    if (options->replay)
        add_stylegan3_outputs(of);
    return true;
}

/* Of the generator's latents and noise, without mixing. */
static void add_stylegan_outputs(struct parity_case *of)
{
    const struct training *training = &of->training;
    const struct stylegan_settings *from = &training->settings.stylegan;
    struct stylegan config = { .resolution = training->size,
                               .channels = training->channels,
                               .z_width = (int)from->z_width,
                               .w_width = (int)from->w_width,
                               .mapping_layers = (int)from->mapping_layers,
                               .channel_base = (int)from->channel_base,
                               .channel_max = (int)from->channel_max };
    struct stylegan_level level = { training->stage.side, training->alpha };
    struct graph *graph = training->graph;
    struct node *noise[STYLEGAN_LAYERS];
    for (int i = 0; i < of->layers; i++)
        noise[i] = find(of, arena_format(&of->arena, "Gmain.noise.%d", i));
    graph_push(graph, "G");
    struct node *styles = nn_styles(stylegan_map(&config, find(of, "Gmain.z")), of->layers);
    add_output(of, "output/ws", styles);
    add_output(of, "output/images", stylegan_synthesize(&config, level, styles, noise));
    graph_pop(graph);
    graph_push(graph, "D");
    add_output(of, "output/logits", stylegan_discriminate(&config, level, training->shown));
    graph_pop(graph);
}

static bool open_stylegan(struct parity_case *of, const struct json *json,
                          const struct case_options *options, struct error *err)
{
    static const char *const keys[] = { "resolution", "side",         "channels",   "z_width",
                                        "w_width",    "channel_base", "channel_max" };
    struct train_settings settings = train_defaults;
    struct stylegan_settings *gan = &settings.stylegan;
    int64_t size, side, channels;
    bool fading;
    if (!INTEGERS(json, err, keys, &size, &side, &channels, &gan->z_width, &gan->w_width,
                  &gan->channel_base, &gan->channel_max) ||
        !json_get_bool(json, "fading", &fading, err))
        return false;
    settings.model = MODEL_STYLEGAN;
    settings.rate = rate_of(options, 0.001);
    settings.batch = options->batch;
    gan->gamma = 10;
    gan->average_kimg = options->batch * 5 / 1000.0;
    uint64_t step = grow_to(&settings, side, fading);
    if (!training_init_at(&of->training, &settings, (int)channels, (int)size, step, err))
        return false;
    of->layers = stylegan_styles_count((int)side);
    if (options->replay)
        add_stylegan_outputs(of);
    return true;
}

/* ---- replayed draws -------------------------------------------------------------------------- */

/* The t that uniform numbers are made into, rounded down, from the middle of its range. */
static double uniform_of_time(const struct parity_case *of, double t)
{
    return (t + 0.5) / of->training.diffusion.steps;
}

/* Whether styles are mixed at all, and the first layer that gets the other one: 1 … L-1; the twin
 * draws L for none. */
static double uniform_of_mixing(const struct parity_case *of, double cutoff)
{
    return cutoff < of->layers ? 0 : 1;
}

static double uniform_of_cutoff(const struct parity_case *of, double cutoff)
{
    return cutoff < of->layers ? (cutoff - 0.5) / (of->layers - 1) : 0;
}

/* Inputs that the twin has under another name, or in another form; by the ends of their names. */
static const struct replay {
    const char *input, *drawn;
    double (*uniform)(const struct parity_case *of, double value);
} replays[] = {
    { "real", "x", NULL },
    { "image", "x", NULL },
    { "t", "t", uniform_of_time },
    { ".cutoff", ".cutoff", uniform_of_mixing },
    { ".cutoff#1", ".cutoff", uniform_of_cutoff },
};

static const struct replay *replay_of(const char *name)
{
    for (size_t i = 0; i < sizeof replays / sizeof *replays; i++) {
        const char *end = replays[i].input;
        size_t length = strlen(name), tail = strlen(end);
        bool whole = *end != '.';
        if (tail <= length && strcmp(name + length - tail, end) == 0 && (!whole || tail == length))
            return &replays[i];
    }
    return NULL;
}

const char *case_draw_name(const struct node *input, char name[256])
{
    const struct replay *replay = replay_of(input->leaf.name);
    size_t start = replay ? strlen(input->leaf.name) - strlen(replay->input) : 0;
    snprintf(name, 256, "%.*s%s", (int)start, input->leaf.name,
             replay ? replay->drawn : input->leaf.name);
    return name;
}

double case_draw(const struct parity_case *of, const struct node *input, double value)
{
    const struct replay *replay = replay_of(input->leaf.name);
    return replay && replay->uniform ? replay->uniform(of, value) : value;
}

/* The first value of a parameter is drawn under the parameter's name. */
static bool is_first_value(const struct graph *graph, const char *name)
{
    for (size_t id = 0; id < graph_size(graph); id++)
        if (graph_node(graph, id)->op == OP_PARAMETER &&
            strcmp(graph_node(graph, id)->leaf.name, name) == 0)
            return true;
    return false;
}

/* A step's random leaves become inputs; the second of a name is called NAME#1, as in its stream. */
static void make_inputs(struct parity_case *of)
{
    struct graph *graph = of->training.graph;
    for (size_t id = 0; id < graph_size(graph); id++) {
        struct node *node = graph_node(graph, id);
        if ((node->op != OP_NORMAL && node->op != OP_UNIFORM) ||
            is_first_value(graph, node->random.name))
            continue;
        const char *name = node->random.name;
        if (node->random.stream != random_stream(name))
            name = arena_format(&of->arena, "%s#1", name);
        node->op = OP_INPUT;
        node->leaf.name = name;
        node->leaf.initial = NULL;
        node->leaf.trainable = 0;
    }
}

/* ---- the cases ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool (*open)(struct parity_case *, const struct json *, const struct case_options *,
                 struct error *);
    struct {
        const char *settings;
        int batch;
    } usual[CASE_SIZES];
} cases[] = {
    { "unet",
      open_unet,
      { [CASE_BENCHMARK] = { "{\"size\": 128, \"channels\": 4, \"classes\": 4, \"base\": 32, "
                             "\"levels\": 4}",
                             8 },
        [CASE_SMALL] = { "{\"size\": 24, \"channels\": 4, \"classes\": 4, \"base\": 4, "
                         "\"levels\": 4}",
                         2 },
        [CASE_LARGE] = { "{\"size\": 256, \"channels\": 4, \"classes\": 4, \"base\": 64, "
                         "\"levels\": 6}",
                         32 } } },
    { "swin",
      open_swin,
      { [CASE_BENCHMARK] = { "{\"size\": 64, \"channels\": 4, \"classes\": 4, \"embed\": 32, "
                             "\"depths\": [2, 2, 2, 2], \"heads\": [2, 4, 8, 16], \"window\": 4, "
                             "\"patch\": 2, \"width\": 64}",
                             8 },
        [CASE_SMALL] = { "{\"size\": 32, \"channels\": 4, \"classes\": 4, \"embed\": 8, "
                         "\"depths\": [2, 2, 2, 2], \"heads\": [1, 2, 2, 4], \"window\": 3, "
                         "\"patch\": 2, \"width\": 8}",
                         2 },
        [CASE_LARGE] = { "{\"size\": 256, \"channels\": 4, \"classes\": 4, \"embed\": 128, "
                         "\"depths\": [2, 2, 18, 2], \"heads\": [4, 8, 16, 32], \"window\": 7, "
                         "\"patch\": 4, \"width\": 512}",
                         16 } } },
    { "ddpm",
      open_ddpm,
      { [CASE_BENCHMARK] = { "{\"size\": 64, \"channels\": 5, \"base\": 64, \"mult\": [1, 2, 2], "
                             "\"blocks\": 2, \"attention\": [16]}",
                             16 },
        [CASE_SMALL] = { "{\"size\": 8, \"channels\": 5, \"base\": 64, \"mult\": [1, 1], "
                         "\"blocks\": 1, \"attention\": [4], \"heads\": 2}",
                         2 },
        [CASE_LARGE] = { "{\"size\": 256, \"channels\": 5, \"base\": 128, "
                         "\"mult\": [1, 1, 2, 2, 4, 4], \"blocks\": 2, \"attention\": [16, 8], "
                         "\"heads\": 4}",
                         16 } } },
    { "progan",
      open_progan,
      { [CASE_BENCHMARK] = { "{\"resolution\": 64, \"side\": 64, \"fading\": false, "
                             "\"channels\": 5, \"z_width\": 512, \"channel_base\": 4096, "
                             "\"channel_max\": 256}",
                             16 },
        [CASE_SMALL] = { "{\"resolution\": 32, \"side\": 16, \"fading\": true, "
                         "\"channels\": 5, \"z_width\": 16, \"channel_base\": 128, "
                         "\"channel_max\": 16}",
                         8 },
        [CASE_LARGE] = { "{\"resolution\": 256, \"side\": 256, \"fading\": false, "
                         "\"channels\": 5, \"z_width\": 512, \"channel_base\": 16384, "
                         "\"channel_max\": 512}",
                         8 } } },
    { "stylegan",
      open_stylegan,
      { [CASE_BENCHMARK] = { "{\"resolution\": 64, \"side\": 64, \"fading\": false, "
                             "\"channels\": 5, \"z_width\": 512, \"w_width\": 512, "
                             "\"channel_base\": 4096, \"channel_max\": 256}",
                             16 },
        [CASE_SMALL] = { "{\"resolution\": 32, \"side\": 16, \"fading\": true, "
                         "\"channels\": 5, \"z_width\": 16, \"w_width\": 16, "
                         "\"channel_base\": 128, \"channel_max\": 16}",
                         8 },
        [CASE_LARGE] = { "{\"resolution\": 256, \"side\": 256, \"fading\": false, "
                         "\"channels\": 5, \"z_width\": 512, \"w_width\": 512, "
                         "\"channel_base\": 16384, \"channel_max\": 512}",
                         8 } } },
    { "stylegan2",
      open_stylegan2,
      { [CASE_BENCHMARK] = { "{\"resolution\": 64, \"channels\": 5, \"z_width\": 512, "
                             "\"w_width\": 512, \"channel_base\": 4096, \"channel_max\": 256}",
                             16 },
        [CASE_SMALL] = { "{\"resolution\": 16, \"channels\": 5, \"z_width\": 16, "
                         "\"w_width\": 16, \"channel_base\": 128, \"channel_max\": 16}",
                         8 },
        [CASE_LARGE] = { "{\"resolution\": 256, \"channels\": 5, \"z_width\": 512, "
                         "\"w_width\": 512, \"channel_base\": 16384, \"channel_max\": 512}",
                         16 } } },
    { "stylegan3",
      open_stylegan3,
      { [CASE_BENCHMARK] = { "{\"resolution\": 64, \"channels\": 5, \"z_width\": 512, "
                             "\"w_width\": 512, \"layers\": 14, \"channel_base\": 2048, "
                             "\"channel_max\": 64}",
                             4 },
        [CASE_SMALL] = { "{\"resolution\": 32, \"channels\": 5, \"z_width\": 16, "
                         "\"w_width\": 16, \"layers\": 4, \"channel_base\": 128, "
                         "\"channel_max\": 8}",
                         4 },
        [CASE_LARGE] = { "{\"resolution\": 256, \"channels\": 5, \"z_width\": 512, "
                         "\"w_width\": 512, \"layers\": 14, \"channel_base\": 16384, "
                         "\"channel_max\": 512}",
                         16 } } },
};

/* Those of cases.py that are another one with an option. */
static const struct {
    const char *name;
    struct case_options with;
} variants[] = {
    { "ddpm-learned", { .learned = true } },
    { "stylegan2-path", { .path = true } },
    { "stylegan3-r", { .rotation = true } },
};

/* Sets the variant's option, and gives the name of what it is a variant of. */
static const char *take_variant(const char *name, struct case_options *options, char of[32])
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (strcmp(variants[i].name, name) == 0) {
            options->learned |= variants[i].with.learned;
            options->path |= variants[i].with.path;
            options->rotation |= variants[i].with.rotation;
            snprintf(of, 32, "%.*s", (int)strcspn(name, "-"), name);
            return of;
        }
    return name;
}

static int find_case(const char *name, struct error *err)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].name, name) == 0)
            return (int)i;
    error_set(err,
              "no case \"%s\"; there are unet, swin, ddpm, ddpm-learned, progan, stylegan, "
              "stylegan2, stylegan2-path, stylegan3, stylegan3-r",
              name);
    return -1;
}

bool case_open(struct parity_case *of, const char *name, const struct json *settings,
               const struct case_options *options, struct error *err)
{
    char base[32];
    struct case_options whole = *options;
    int i = find_case(take_variant(name, &whole, base), err);
    if (i < 0)
        return false;
    *of = (struct parity_case){ 0 };
    arena_init(&of->arena);
    if (!cases[i].open(of, settings, &whole, err)) {
        arena_release(&of->arena);
        return false;
    }
    if (options->replay)
        make_inputs(of);
    return true;
}

bool case_open_usual(struct parity_case *of, const char *name, enum case_size size,
                     const struct case_options *options, struct error *err)
{
    char base[32];
    struct case_options whole = *options;
    int i = find_case(take_variant(name, &whole, base), err);
    if (i < 0)
        return false;
    const char *text = cases[i].usual[size].settings;
    whole.batch = cases[i].usual[size].batch;
    struct json *settings = json_parse(text, strlen(text), name, err);
    bool ok = settings && case_open(of, name, settings, &whole, err);
    json_free(settings);
    return ok;
}

void case_close(struct parity_case *of)
{
    training_release(&of->training);
    arena_release(&of->arena);
}

/* ---- names ----------------------------------------------------------------------------------- */

bool case_owns(const struct parity_case *of, const char *tensor)
{
    static const char *const networks[] = { "model.", "G.", "D." };
    static const char *const others[] = { "adam.", "sgd." };
    const char *const *list_of = of->bare ? others : networks;
    size_t count = of->bare ? sizeof others / sizeof *others : sizeof networks / sizeof *networks;
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found = found || strncmp(tensor, list_of[i], strlen(list_of[i])) == 0;
    return found != of->bare;
}

const char *case_name(const struct parity_case *of, const char *name)
{
    return of->bare && strncmp(name, "model.", 6) == 0 ? name + 6 : name;
}

const char *case_twin_name(const struct parity_case *of, const char *name, char twin[256])
{
    snprintf(twin, 256, "%s%s", of->bare ? "model." : "", name);
    return twin;
}
