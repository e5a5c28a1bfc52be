/* The training cases on the engine; see case.h and cases.py, which this follows line by line. */
#include "case.h"

#include "models/ddpm.h"
#include "models/stylegan2.h"
#include "models/swin.h"
#include "models/unet.h"
#include "nn/loss.h"
#include "tensor/gradient.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { G_INTERVAL = 4, D_INTERVAL = 16, PARAMETERS_MAX = 4096 };

/* Phases. */

static struct phase *add_phase(struct training *training, const char *name)
{
    CHECK(training->phase_count < CASE_PHASES, "more than %d phases", CASE_PHASES);
    struct phase *phase = &training->phases[training->phase_count++];
    phase->name = name;
    return phase;
}

static void add_term(struct phase *phase, const char *name, struct node *value, double weight)
{
    CHECK(phase->term_count < CASE_TERMS, "more than %d terms", CASE_TERMS);
    phase->terms[phase->term_count++] = (struct term){ name, value, weight };
}

static void add_output(struct training *training, const char *name, struct node *value)
{
    training->outputs[training->output_count++] = (struct named_output){ name, value };
}

/* Gradients of the weighted sum of the terms for all parameters of a network. */
static void differentiate(struct training *training, struct phase *phase, const char *network)
{
    phase->parameters = arena_array(&training->arena, struct node *, PARAMETERS_MAX);
    phase->gradients = arena_array(&training->arena, struct node *, PARAMETERS_MAX);
    phase->parameter_count =
        graph_parameters(training->graph, network, phase->parameters, PARAMETERS_MAX);
    CHECK(phase->parameter_count <= PARAMETERS_MAX, "more than %d parameters", PARAMETERS_MAX);
    struct node *loss = NULL;
    for (int i = 0; i < phase->term_count; i++) {
        struct node *part = t_scale(phase->terms[i].value, phase->terms[i].weight);
        loss = loss ? t_add(loss, part) : part;
    }
    grad(loss, phase->parameters, (int)phase->parameter_count, phase->gradients);
    grad_zeros(phase->parameters, (int)phase->parameter_count, phase->gradients);
}

static struct node *rate(const struct training *training, double usual)
{
    double factor = training->options.rate != 0 ? training->options.rate : 1;
    return nn_number(training->graph, usual * factor);
}

/* A step's random numbers: an input, or a leaf that draws them. */
static struct node *draw(const struct training *training, const char *name, struct shape shape)
{
    return training->options.replay ? t_input(training->graph, name, DTYPE_F32, shape)
                                    : t_normal(training->graph, name, shape);
}

static bool integers(const struct json *settings, int count, const char *const *keys,
                     int *const *values, struct error *err)
{
    for (int i = 0; i < count; i++) {
        int64_t value;
        if (!json_get_integer(settings, keys[i], &value, err))
            return false;
        *values[i] = (int)value;
    }
    return true;
}
#define INTEGERS(settings, err, keys, ...)                                                         \
    integers(settings, (int)(sizeof(keys) / sizeof *(keys)), keys, (int *const[]){ __VA_ARGS__ },  \
             err)

/* The cases. */

static bool build_unet(struct training *training, const struct json *settings, struct error *err)
{
    static const char *const keys[] = { "size", "channels", "classes", "base", "levels" };
    struct unet unet;
    int side, n = training->options.batch;
    if (!INTEGERS(settings, err, keys, &side, &unet.channels, &unet.classes, &unet.base,
                  &unet.levels))
        return false;
    struct graph *graph = training->graph;
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(n, unet.channels, side, side));
    struct node *labels = t_input(graph, "labels", DTYPE_I32, SHAPE(n, side, side));
    graph_push(graph, "model");
    struct node *logits = unet_build(&unet, x);
    graph_pop(graph);
    add_output(training, "output/y", logits);
    struct phase *phase = add_phase(training, "main");
    add_term(phase, "dice", loss_dice(logits, labels), 1);
    add_term(phase, "cross_entropy", loss_cross_entropy(logits, labels), 1);
    differentiate(training, phase, "model.");
    optimise_sgd(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                 rate(training, 0.01), .momentum = 0.99, .weight_decay = 3e-5, .nesterov = true);
    return true;
}

static struct node *swin_dice(struct node *logits, struct node *labels)
{
    int classes = (int)dim(logits, 1);
    struct node *p = t_slice(t_softmax(logits, 1), 1, 1, classes);
    struct node *y = t_permute(t_one_hot(labels, classes), 0, 3, 1, 2);
    y = t_slice(y, 1, 1, classes);
    struct node *both = t_sum(t_mul(p, y), AXES(2, 3));
    struct node *all = t_sum(t_add(t_square(p), y), AXES(2, 3));
    return t_affine(t_mean_all(t_div(t_affine(both, 2, 1e-5), t_shift(all, 1e-5))), -1, 1);
}

static void list(const struct json *array, int *values);

static bool build_swin(struct training *training, const struct json *settings, struct error *err)
{
    static const char *const keys[] = { "size",   "channels", "classes", "embed",
                                        "window", "patch",    "width" };
    struct swin swin = { 0 };
    struct updates follow = { 0 };
    int side, channels, n = training->options.batch;
    const struct json *depths = json_get_array(settings, "depths", err);
    const struct json *heads = json_get_array(settings, "heads", err);
    if (!depths || !heads ||
        !INTEGERS(settings, err, keys, &side, &channels, &swin.classes, &swin.embed, &swin.window,
                  &swin.patch, &swin.width))
        return false;
    list(depths, swin.depths);
    list(heads, swin.heads);
    struct graph *graph = training->graph;
    struct node *x = t_input(graph, "x", DTYPE_F32, SHAPE(n, channels, side, side));
    struct node *labels = t_input(graph, "labels", DTYPE_I32, SHAPE(n, side, side));
    graph_push(graph, "model");
    struct swin_logits y = swin_build(&swin, x, &follow);
    graph_pop(graph);
    add_output(training, "output/y", y.main);
    struct phase *phase = add_phase(training, "main");
    phase->updates = follow;
    add_term(phase, "dice", swin_dice(y.main, labels), 1);
    add_term(phase, "cross_entropy", loss_cross_entropy(y.main, labels), 1);
    add_term(phase, "auxiliary",
             t_add(swin_dice(y.auxiliary, labels), loss_cross_entropy(y.auxiliary, labels)), 0.4);
    differentiate(training, phase, "model.");
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  rate(training, 6e-5), .weight_decay = 0.01, .decoupled = true);
    return true;
}

static void list(const struct json *array, int *values)
{
    for (size_t i = 0; i < json_length(array) && i < DDPM_LEVELS; i++) {
        int64_t value = 0;
        CHECK(json_as_integer(json_at(array, i), &value), "a list of integers");
        values[i] = (int)value;
    }
}

static bool ddpm_settings(struct ddpm *ddpm, const struct json *settings, struct error *err)
{
    static const char *const keys[] = { "size", "channels", "base", "blocks" };
    const struct json *mult = json_get_array(settings, "mult", err);
    const struct json *attention = mult ? json_get_array(settings, "attention", err) : NULL;
    *ddpm = (struct ddpm){ .heads = 1 };
    if (!attention ||
        !INTEGERS(settings, err, keys, &ddpm->size, &ddpm->channels, &ddpm->base, &ddpm->blocks))
        return false;
    list(mult, ddpm->mult);
    list(attention, ddpm->attention);
    ddpm->levels = (int)json_length(mult);
    if (!json_has(settings, "heads"))
        return true;
    static const char *const heads[] = { "heads" };
    return INTEGERS(settings, err, heads, &ddpm->heads);
}

/* Times 0 … steps-1, i32 (N). */
static struct node *draw_times(const struct training *training, int n)
{
    if (training->options.replay)
        return t_input(training->graph, "t", DTYPE_I32, SHAPE(n));
    struct node *u = t_uniform(training->graph, "t", SHAPE(n));
    return t_cast(t_scale(u, training->diffusion.steps), DTYPE_I32);
}

static bool build_ddpm(struct training *training, const struct json *settings, struct error *err)
{
    struct ddpm ddpm;
    int n = training->options.batch;
    if (!ddpm_settings(&ddpm, settings, err))
        return false;
    ddpm.learned_variance = training->options.learned;
    diffusion_init(&training->diffusion, SCHEDULE_LINEAR, 1000);
    struct graph *graph = training->graph;
    struct shape images = SHAPE(n, ddpm.channels, ddpm.size, ddpm.size);
    struct node *x = t_input(graph, "x", DTYPE_F32, images);
    struct node *noise = draw(training, "noise", images), *t = draw_times(training, n);
    struct node *xt = diffusion_noised(&training->diffusion, x, t, noise);
    graph_push(graph, "model");
    struct node *output = ddpm_build(&ddpm, xt, t);
    graph_pop(graph);
    add_output(training, "output/xt", xt);
    add_output(training, "output/y", output);
    struct diffusion_terms terms = diffusion_loss(&training->diffusion, x, xt, t, noise, output);
    struct phase *phase = add_phase(training, "main");
    add_term(phase, "mse", terms.mse, 1);
    if (terms.bound)
        add_term(phase, "vb", terms.bound, 1);
    differentiate(training, phase, "model.");
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  rate(training, 1e-4), .decoupled = true);
    average_parameters(&phase->updates, phase->parameters, phase->parameter_count,
                       nn_number(graph, 0.9999));
    return true;
}

/* StyleGAN 2. */

struct gan {
    struct training *training;
    struct stylegan2 config;
    struct node *real;
};

/* Where style mixing begins: layers beyond it get the other style. With probability .9 the first
 * of these is 1 … L-1; else there is none. */
static struct node *draw_cutoff(const struct gan *gan, const char *name)
{
    struct graph *graph = gan->training->graph;
    int layers = stylegan2_styles_count(&gan->config);
    if (gan->training->options.replay)
        return t_shift(t_input(graph, name, DTYPE_F32, SHAPE()), -0.5);
    struct node *mixes = t_greater(nn_number(graph, 0.9), t_uniform(graph, name, SHAPE()));
    struct node *first = t_scale(t_uniform(graph, name, SHAPE()), layers - 1); /* from 0 */
    return t_where(mixes, first, nn_number(graph, layers));
}

static const char *text(const struct gan *gan, const char *phase, const char *name)
{
    return arena_format(&gan->training->arena, "%s.%s", phase, name);
}

/* Images of a phase's draws, and their styles (N,L,w). Its update moves the average of w. */
static struct node *generate(struct gan *gan, struct phase *phase, int n, struct node **styles)
{
    struct graph *graph = gan->training->graph;
    const struct stylegan2 *config = &gan->config;
    struct shape shape = SHAPE(n, config->z_width);
    struct node *z = draw(gan->training, text(gan, phase->name, "z"), shape);
    struct node *other = draw(gan->training, text(gan, phase->name, "other"), shape);
    struct node *cutoff = draw_cutoff(gan, text(gan, phase->name, "cutoff"));
    struct node *noise[STYLEGAN2_LAYERS];
    for (int i = 0; i + 1 < stylegan2_styles_count(config); i++) {
        int r = 4 << (i + 1) / 2;
        const char *name = arena_format(&gan->training->arena, "%s.noise.%d", phase->name, i);
        noise[i] = draw(gan->training, name, SHAPE(n, 1, r, r));
    }
    graph_push(graph, "G");
    struct node *w = stylegan2_map(config, z), *average = stylegan2_w_average(config, graph);
    updates_add(&phase->updates, average, stylegan2_w_average_next(average, w));
    *styles = stylegan2_mix(config, w, stylegan2_map(config, other), cutoff);
    struct node *images = stylegan2_synthesize(config, *styles, noise);
    graph_pop(graph);
    return images;
}

static struct node *discriminate(const struct gan *gan, struct node *x)
{
    graph_push(gan->training->graph, "D");
    struct node *logits = stylegan2_discriminate(&gan->config, x);
    graph_pop(gan->training->graph);
    return logits;
}

/* Adam(0, .99) at .0025, rate and betas corrected for the lazy term's interval k by k/(k+1). */
static void finish(const struct gan *gan, struct phase *phase, const char *network)
{
    bool generator = strcmp(network, "G.") == 0;
    int interval = generator ? G_INTERVAL : D_INTERVAL;
    double share = interval / (interval + 1.0);
    differentiate(gan->training, phase, network);
    optimise_adam(&phase->updates, phase->parameters, phase->gradients, phase->parameter_count,
                  rate(gan->training, 0.0025 * share), .beta2 = pow(0.99, share),
                  .name = generator ? "adam_G" : "adam_D");
}

static void add_path_phase(struct gan *gan)
{
    struct graph *graph = gan->training->graph;
    struct phase *phase = add_phase(gan->training, "Gpl");
    struct node *styles, *images = generate(gan, phase, gan->training->options.batch / 2, &styles);
    struct node *direction = draw(gan->training, "Gpl.direction", images->shape);
    struct node *state = t_state(graph, "path_mean", nn_number(graph, 0)), *mean = state;
    struct node *lengths = path_lengths(images, styles, direction);
    add_term(phase, "path", penalty_path(lengths, &mean, 0.01), 2 * G_INTERVAL);
    updates_add(&phase->updates, state, mean);
    finish(gan, phase, "G.");
}

/* The moving average of the generator, as a phase of its own. */
static void add_average_phase(struct gan *gan, const struct phase *of)
{
    struct graph *graph = gan->training->graph;
    struct phase *phase = add_phase(gan->training, "average");
    struct node *decay = t_input(graph, "decay", DTYPE_F32, SHAPE());
    average_parameters(&phase->updates, of->parameters, of->parameter_count, decay);
}

static void add_gan_outputs(struct gan *gan, int n)
{
    struct graph *graph = gan->training->graph;
    struct node *z = t_input(graph, "Gmain.z", DTYPE_F32, SHAPE(n, gan->config.z_width));
    graph_push(graph, "G");
    struct node *styles = stylegan2_styles(&gan->config, stylegan2_map(&gan->config, z));
    add_output(gan->training, "output/ws", styles);
    add_output(gan->training, "output/images", stylegan2_synthesize(&gan->config, styles, NULL));
    graph_pop(graph);
    add_output(gan->training, "output/logits", discriminate(gan, gan->real));
}

static bool build_stylegan2(struct training *training, const struct json *settings,
                            struct error *err)
{
    static const char *const keys[] = { "resolution", "channels",     "z_width",
                                        "w_width",    "channel_base", "channel_max" };
    struct gan gan = { .training = training };
    struct stylegan2 *c = &gan.config;
    int n = training->options.batch;
    if (!INTEGERS(settings, err, keys, &c->resolution, &c->channels, &c->z_width, &c->w_width,
                  &c->channel_base, &c->channel_max))
        return false;
    gan.real = t_input(training->graph, "x", DTYPE_F32,
                       SHAPE(n, c->channels, c->resolution, c->resolution));
    struct node *styles;
    struct phase *g_main = add_phase(training, "Gmain");
    struct node *fake = discriminate(&gan, generate(&gan, g_main, n, &styles));
    add_term(g_main, "g", loss_real(fake), 1);
    finish(&gan, g_main, "G.");
    if (training->options.path)
        add_path_phase(&gan);
    struct phase *d_main = add_phase(training, "Dmain");
    add_term(d_main, "d_fake", loss_fake(discriminate(&gan, generate(&gan, d_main, n, &styles))),
             1);
    add_term(d_main, "d_real", loss_real(discriminate(&gan, gan.real)), 1);
    finish(&gan, d_main, "D.");
    struct phase *d_r1 = add_phase(training, "Dr1");
    double gamma = 0.0002 * c->resolution * c->resolution / n;
    add_term(d_r1, "r1", penalty_r1(discriminate(&gan, gan.real), gan.real),
             gamma / 2 * D_INTERVAL);
    finish(&gan, d_r1, "D.");
    add_average_phase(&gan, g_main);
    if (training->options.replay)
        add_gan_outputs(&gan, n);
    return true;
}

static const struct {
    const char *name;
    bool (*build)(struct training *, const struct json *settings, struct error *);
    struct {
        const char *settings;
        int batch;
    } benchmark, small;
} cases[] = {
    { "unet",
      build_unet,
      { "{\"size\": 128, \"channels\": 4, \"classes\": 4, \"base\": 32, \"levels\": 4}", 8 },
      { "{\"size\": 24, \"channels\": 4, \"classes\": 4, \"base\": 4, \"levels\": 3}", 2 } },
    { "swin",
      build_swin,
      { "{\"size\": 64, \"channels\": 4, \"classes\": 4, \"embed\": 32, \"depths\": [2, 2, 2, 2], "
        "\"heads\": [2, 4, 8, 16], \"window\": 4, \"patch\": 2, \"width\": 64}",
        8 },
      { "{\"size\": 32, \"channels\": 4, \"classes\": 4, \"embed\": 8, \"depths\": [2, 2, 2, 2], "
        "\"heads\": [1, 2, 2, 4], \"window\": 3, \"patch\": 2, \"width\": 8}",
        2 } },
    { "ddpm",
      build_ddpm,
      { "{\"size\": 64, \"channels\": 5, \"base\": 64, \"mult\": [1, 2, 2], \"blocks\": 2, "
        "\"attention\": [16]}",
        16 },
      { "{\"size\": 8, \"channels\": 5, \"base\": 64, \"mult\": [1, 1], \"blocks\": 1, "
        "\"attention\": [4], \"heads\": 2}",
        2 } },
    { "stylegan2",
      build_stylegan2,
      { "{\"resolution\": 64, \"channels\": 5, \"z_width\": 512, \"w_width\": 512, "
        "\"channel_base\": 4096, \"channel_max\": 256}",
        16 },
      { "{\"resolution\": 16, \"channels\": 5, \"z_width\": 16, \"w_width\": 16, "
        "\"channel_base\": 128, \"channel_max\": 16}",
        8 } },
};

static int find_case(const char *name)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].name, name) == 0)
            return (int)i;
    return -1;
}

const char *training_benchmark(const char *name, int *batch)
{
    int i = find_case(name);
    if (i < 0)
        return NULL;
    *batch = cases[i].benchmark.batch;
    return cases[i].benchmark.settings;
}

const char *training_small(const char *name, int *batch)
{
    int i = find_case(name);
    if (i < 0)
        return NULL;
    *batch = cases[i].small.batch;
    return cases[i].small.settings;
}

bool training_init(struct training *training, const char *name, const struct json *settings,
                   const struct case_options *options, struct error *err)
{
    int i = find_case(name);
    if (i < 0)
        return error_set(err, "no case \"%s\"; there are unet, ddpm, stylegan2", name);
    *training = (struct training){ .graph = graph_new(), .options = *options };
    arena_init(&training->arena);
    if (cases[i].build(training, settings, err))
        return true;
    training_release(training);
    return false;
}

void training_release(struct training *training)
{
    for (int i = 0; i < training->phase_count; i++)
        updates_release(&training->phases[i].updates);
    diffusion_release(&training->diffusion);
    graph_free(training->graph);
    arena_release(&training->arena);
}

struct plan *training_plan(const struct training *training, int phase, struct store *store,
                           struct error *err)
{
    const struct phase *of = &training->phases[phase];
    struct node *terms[CASE_TERMS];
    for (int i = 0; i < of->term_count; i++)
        terms[i] = of->terms[i].value;
    return plan_create(store, terms, (size_t)of->term_count, of->updates.items, of->updates.count,
                       err);
}

struct plan *training_plan_initial(const struct training *training, struct store *store,
                                   struct error *err)
{
    size_t count = 0, nodes = graph_size(training->graph);
    struct node **leaves = memory_grow(NULL, nodes, sizeof *leaves);
    for (size_t id = 0; id < nodes; id++)
        if (graph_node(training->graph, id)->op == OP_PARAMETER)
            leaves[count++] = graph_node(training->graph, id);
    struct plan *plan = plan_initial(store, leaves, count, err);
    free(leaves);
    return plan;
}

/* Half-life of batch·10/32 kimg, at most .05 of the images seen so far. */
float training_next_decay(struct training *training)
{
    double batch = training->options.batch, half_life = batch * 10 / 32 * 1000;
    double life = fmax(fmin(half_life, 0.05 * training->images_seen), 1e-8);
    training->images_seen += batch;
    return (float)pow(0.5, batch / life);
}
