/* StyleGAN 3's generator; see stylegan3.h. Numbers of sections and appendices are the paper's. */
#include "models/stylegan3.h"

#include "models/stylegan2.h"
#include "nn/lowpass.h"
#include "nn/optimiser.h"
#include "nn/style.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double FIRST_CUTOFF = 2, W_AVERAGE_DECAY = 0.998, OUTPUT_SCALE = 0.25;
enum { CRITICAL = 2, MARGIN = 10, FILTER_SIZE = 6, LEAKY_UP = 2 };

/* ---- the table of layers --------------------------------------------------------------------- */

static int layers_of(const struct stylegan3 *config)
{
    return config->layers ? config->layers : 14;
}

/* Of the output of layer i; the Fourier features have that of layer 0. */
struct band {
    double cutoff, half_width;
    int rate, size, channels;
};

/* Cut-offs and least stop bands are geometric progressions, which end CRITICAL layers before the
 * last: there sampling is critical (3.2). */
static struct band band(const struct stylegan3 *config, int i)
{
    int layers = layers_of(config), side = config->resolution;
    double first_stop = exp2(2.1), last_cutoff = side / 2.0, last_stop = last_cutoff * exp2(0.3);
    double exponent = fmin((double)i / (layers - CRITICAL), 1);
    double cutoff = FIRST_CUTOFF * pow(last_cutoff / FIRST_CUTOFF, exponent);
    double stop = first_stop * pow(last_stop / first_stop, exponent);
    double rate = exp2(ceil(log2(fmin(2 * stop, side))));
    double channels = rint(fmin(config->channel_base / 2.0 / cutoff, config->channel_max));
    return (struct band){ .cutoff = cutoff,
                          .half_width = fmax(stop, rate / 2) - cutoff,
                          .rate = (int)rate,
                          .size = i + 1 < layers ? (int)rate + 2 * MARGIN : side,
                          .channels = i < layers ? (int)channels : config->channels };
}

/* What makes an enlarged, filtered and reduced image out_size wide. The first pixel of an enlarged
 * one lies (up - 1) / 2 before that of the image: it is shifted back (appendix C.3). */
static void set_padding(struct stylegan3_layer *layer)
{
    int total = (layer->out_size - 1) * layer->down + 1;
    total -= (layer->in_size + layer->kernel - 1) * layer->up;
    total += layer->up_taps + layer->down_taps - 2;
    layer->pad[0] = (int)floor((total + layer->up) / 2.0);
    layer->pad[1] = total - layer->pad[0];
}

static struct stylegan3_layer layer_of(const struct stylegan3 *config, int i)
{
    int layers = layers_of(config);
    bool to_rgb = i == layers;
    struct band in = band(config, i > 0 ? i - 1 : 0), out = band(config, i);
    int rate = (in.rate > out.rate ? in.rate : out.rate) * (to_rgb ? 1 : LEAKY_UP);
    struct stylegan3_layer layer = { .in_channels = in.channels,
                                     .out_channels = out.channels,
                                     .in_size = in.size,
                                     .out_size = out.size,
                                     .in_rate = in.rate,
                                     .out_rate = out.rate,
                                     .in_cutoff = in.cutoff,
                                     .out_cutoff = out.cutoff,
                                     .in_half_width = in.half_width,
                                     .out_half_width = out.half_width,
                                     .kernel = to_rgb || config->rotation ? 1 : 3,
                                     .up = rate / in.rate,
                                     .down = rate / out.rate,
                                     .radial = config->rotation && i < layers - CRITICAL };
    layer.up_taps = layer.up > 1 ? FILTER_SIZE * layer.up : 1;
    layer.down_taps = layer.down > 1 ? FILTER_SIZE * layer.down : 1;
    snprintf(layer.name, sizeof layer.name, "L%d_%d_%d", i, out.size, out.channels);
    set_padding(&layer);
    return layer;
}

int stylegan3_layers(const struct stylegan3 *config, struct stylegan3_layer layer[STYLEGAN3_LAYERS])
{
    int layers = layers_of(config), side = config->resolution;
    CHECK(side >= 8 && (side & (side - 1)) == 0, "StyleGAN 3 at resolution %d", side);
    CHECK(layers > CRITICAL && layers < STYLEGAN3_LAYERS, "%d layers", layers);
    for (int i = 0; i <= layers; i++)
        layer[i] = layer_of(config, i);
    return layers + 1;
}

/* Filters stand at the rate of the leaky ReLU. */
static double filter_rate(const struct stylegan3_layer *layer)
{
    return (double)layer->in_rate * layer->up;
}

void stylegan3_up_filter(const struct stylegan3_layer *layer, float taps[STYLEGAN3_FILTER])
{
    lowpass_design(&(struct lowpass){ layer->up_taps, layer->in_cutoff, 2 * layer->in_half_width,
                                      filter_rate(layer) },
                   taps);
}

void stylegan3_down_filter(const struct stylegan3_layer *layer, float taps[STYLEGAN3_FILTER])
{
    struct lowpass filter = { layer->down_taps, layer->out_cutoff, 2 * layer->out_half_width,
                              filter_rate(layer) };
    if (layer->radial)
        lowpass_design_radial(&filter, taps);
    else
        lowpass_design(&filter, taps);
}

/* ---- mapping --------------------------------------------------------------------------------- */

/* StyleGAN 2's network, of fewer layers. */
static struct stylegan2 mapping(const struct stylegan3 *config)
{
    return (struct stylegan2){ .w_width = config->w_width,
                               .mapping_layers =
                                   config->mapping_layers ? config->mapping_layers : 2 };
}

struct node *stylegan3_map(const struct stylegan3 *config, struct node *z)
{
    struct stylegan2 network = mapping(config);
    return stylegan2_map(&network, z);
}

struct node *stylegan3_w_average(const struct stylegan3 *config, struct graph *graph)
{
    struct stylegan2 network = mapping(config);
    return stylegan2_w_average(&network, graph);
}

/* now + decay · (average - now), where no gradient flows. */
static struct node *follow(struct node *average, struct node *now, double decay)
{
    now = t_reshape(t_detach(now), average->shape);
    return t_add(now, t_scale(t_sub(average, now), decay));
}

struct node *stylegan3_w_average_next(struct node *average, struct node *w)
{
    return follow(average, t_mean(w, AXES(0)), W_AVERAGE_DECAY);
}

/* ---- Fourier features ------------------------------------------------------------------------ */

/* Frequencies drawn from a disc: a normal vector, shortened to exp(-r²/4) · bandwidth. */
static struct node *draw_frequencies(struct graph *graph, int64_t channels, double bandwidth)
{
    struct node *drawn = t_normal(graph, "freqs", SHAPE(channels, 2));
    struct node *square = t_sum(t_square(drawn), AXES(1)); /* (C,1) */
    struct node *length = t_mul(t_sqrt(square), t_exp(t_scale(square, 0.25)));
    return t_scale(t_div(drawn, length), bandwidth);
}

/* w (N,w) → (N,4), (cos, sin, x, y): a rotation and a translation, in sides of the image. They
 * begin as none. Parameters "affine". */
static struct node *transformation(const struct stylegan3 *config, struct node *w)
{
    struct graph *graph = w->graph;
    int64_t width = config->w_width;
    struct node *none = t_constant(graph, SHAPE(4), ((float[]){ 1, 0, 0, 0 }));
    graph_push(graph, "affine");
    struct node *weight = t_parameter(graph, "weight", initial_zeros(graph, SHAPE(4, width)));
    struct node *bias = t_parameter(graph, "bias", none);
    graph_pop(graph);
    weight = t_scale(weight, 1 / sqrt((double)width));
    struct node *t = t_add(t_matmul(w, t_transpose(weight)), bias);
    return t_div(t, t_norm(t_slice(t, 1, 0, 2), AXES(1)));
}

/* Where `size` pixels lie along an axis, from the middle, in sides of the image: (size). */
static struct node *positions(struct graph *graph, int size, int rate)
{
    float at[4096];
    CHECK(size <= 4096, "%d pixels", size);
    for (int i = 0; i < size; i++)
        at[i] = (float)((i + 0.5 - size / 2.0) / rate);
    return t_constant(graph, SHAPE(size), at);
}

/* 2π of x (N,C) as (N,C,1,1). */
static struct node *as_angle(struct node *x)
{
    return t_scale(t_reshape(x, SHAPE(dim(x, 0), dim(x, 1), 1, 1)), 2 * M_PI);
}

/* Column i of x (M,K), as (M,1). */
static struct node *column(struct node *x, int i)
{
    return t_slice(x, 1, i, i + 1);
}

/* w (N,w) → (N,C,size,size): waves of fixed frequencies and phases, turned and moved as w says,
 * and a learned mixture of them (3.2). A turned frequency is as long as it was, so within the band.
 */
static struct node *input(const struct stylegan3 *config, struct node *w)
{
    struct graph *graph = w->graph;
    struct band own = band(config, 0);
    int64_t c = own.channels, size = own.size;
    graph_push(graph, "input");
    struct node *t = transformation(config, w); /* (N,4) */
    struct node *frequency =
        t_state(graph, "freqs", draw_frequencies(graph, c, own.cutoff)); /* (C,2) */
    struct node *phase =
        t_state(graph, "phases", t_shift(t_uniform(graph, "phases", SHAPE(c)), -0.5)); /* (C) */
    struct node *weight = t_parameter(graph, "weight", t_normal(graph, "weight", SHAPE(c, c)));
    graph_pop(graph);

    struct node *fx = t_reshape(column(frequency, 0), SHAPE(1, c));
    struct node *fy = t_reshape(column(frequency, 1), SHAPE(1, c));
    struct node *cosine = column(t, 0), *sine = column(t, 1);                           /* (N,1) */
    struct node *across = t_add(t_mul(fx, cosine), t_mul(fy, sine));                    /* (N,C) */
    struct node *down = t_sub(t_mul(fy, cosine), t_mul(fx, sine));                      /* (N,C) */
    struct node *moved = t_add(t_mul(across, column(t, 2)), t_mul(down, column(t, 3))); /* (N,C) */
    struct node *at = positions(graph, own.size, own.rate);                             /* (size) */
    struct node *angle = t_add(t_mul(as_angle(across), at), as_angle(t_sub(phase, moved)));
    angle =
        t_add(angle, t_mul(as_angle(down), t_reshape(at, SHAPE(size, 1)))); /* (N,C,size,size) */
    weight = t_scale(t_reshape(weight, SHAPE(c, c, 1, 1)), 1 / sqrt((double)c));
    return t_conv(t_sin(angle), weight);
}

/* ---- layers ---------------------------------------------------------------------------------- */

/* 1 / √(the running average of x's mean square), a scalar. */
static struct node *input_gain(const struct stylegan3 *config, struct node *x,
                               struct updates *updates)
{
    struct graph *graph = x->graph;
    struct node *state = t_state(graph, "magnitude_ema", nn_number(graph, 1)), *average = state;
    if (updates) {
        average = follow(state, t_mean(t_square(x), AXES_ALL), config->magnitude_decay);
        updates_add(updates, state, average);
    }
    return t_rsqrt(average);
}

/* Low-pass filters as constants, (taps) or (taps,taps), the first times `up` along each axis, for
 * the zeros that stand between pixels. */
static struct node *up_filter(struct graph *graph, const struct stylegan3_layer *layer)
{
    float taps[STYLEGAN3_FILTER];
    stylegan3_up_filter(layer, taps);
    for (int i = 0; i < layer->up_taps; i++)
        taps[i] *= (float)layer->up; /* a power of 2 */
    return t_constant(graph, SHAPE(layer->up_taps), taps);
}

static struct node *down_filter(struct graph *graph, const struct stylegan3_layer *layer)
{
    float taps[STYLEGAN3_FILTER];
    int count = layer->down_taps;
    stylegan3_down_filter(layer, taps);
    return t_constant(graph, layer->radial ? SHAPE(count, count) : SHAPE(count), taps);
}

/* Bias, then leaky ReLU at a higher rate, where what it adds beyond the band can be filtered off
 * (3.1, figure 4b). x (N,O,H,W) → (N,O,out_size,out_size). */
static struct node *filtered_lrelu(const struct stylegan3 *config,
                                   const struct stylegan3_layer *layer, struct node *x,
                                   struct node *bias)
{
    int before = layer->pad[0], after = layer->pad[1];
    x = nn_bias_act(x, .bias = bias);
    x = t_upfirdn(x, up_filter(x->graph, layer), .up = layer->up,
                  .pads = { { before, after }, { before, after } });
    x = nn_bias_act(x, .lrelu = true, .clamp = config->clamp);
    return t_upfirdn(x, down_filter(x->graph, layer), .down = layer->down);
}

/* x divided by the root of its mean square over the axes. */
static struct node *normalised(struct node *x, unsigned axes)
{
    return t_mul(x, t_rsqrt(t_mean(t_square(x), axes)));
}

/* x (N,I,in_size,in_size), w (N,w) → (N,O,out_size,out_size). */
static struct node *synthesis_layer(const struct stylegan3 *config,
                                    const struct stylegan3_layer *layer, struct node *x,
                                    struct node *w, struct updates *updates)
{
    struct graph *graph = x->graph;
    int64_t i = layer->in_channels, o = layer->out_channels, k = layer->kernel;
    graph_push(graph, "%s", layer->name);
    struct node *gain = input_gain(config, x, updates);
    struct node *style = nn_dense(w, "affine", i, .bias = 1); /* (N,I) */
    struct node *weight =
        t_parameter(graph, "weight", t_normal(graph, "weight", SHAPE(o, i, k, k)));
    struct node *bias = t_parameter(graph, "bias", initial_zeros(graph, SHAPE(o)));
    bool to_rgb = layer->up == 1;
    if (to_rgb) {
        style = t_scale(style, 1 / sqrt((double)i));
        x = nn_modulated_conv(x, weight, style, .plain = true, .gain = gain);
        x = nn_bias_act(x, .bias = bias, .clamp = config->clamp);
    } else {
        weight = normalised(weight, AXES(1, 2, 3));
        style = normalised(style, AXES_ALL); /* together: demodulation takes any scale back */
        x = nn_modulated_conv(x, weight, style, .pad = (int)k - 1, .gain = gain);
        x = filtered_lrelu(config, layer, x, bias);
    }
    graph_pop(graph);
    return x;
}

struct node *stylegan3_synthesize(const struct stylegan3 *config, struct node *w,
                                  struct updates *updates)
{
    struct stylegan3_layer layer[STYLEGAN3_LAYERS];
    int count = stylegan3_layers(config, layer);
    graph_push(w->graph, "synthesis");
    struct node *x = input(config, w);
    for (int i = 0; i < count; i++)
        x = synthesis_layer(config, &layer[i], x, w, updates);
    graph_pop(w->graph);
    return t_scale(x, OUTPUT_SCALE);
}
