"""StyleGAN (Karras et al. 2019, arXiv 1812.04948) at one level of its growth: images of `side`, the
level's own layers fading in by `alpha` where `fading`. Parameter names are those of NVlabs/stylegan
(TensorFlow) with dots for slashes. Layouts are PyTorch's: weights (O,I,k,k) where the official ones
are (k,k,I,O), and (O,I) where they are (I,O).

Width at resolution r: c(r) = min(channel_base / r, channel_max). Every weight is drawn N(0,1) and
scaled when used by gain/sqrt(fan-in); the gain is sqrt 2 where leaky ReLU (.2, not scaled) follows,
1 elsewhere. The mapping's weights are also multiplied by its rate .01, and stored divided by it.

Generator, styles ws (N,L,w), L = 2 log2(side) - 2. Every layer ends with: + noise times a strength
for each channel, + bias, leaky ReLU, instance norm, times (style + 1) plus another style.

    4x4    Const (1,c4,4,4) [ws 0] -> Conv [ws 1] -> x
    8x8    enlarge, Conv0_up, blur [ws 2] -> Conv1 [ws 3] -> x      ...
    image  ToRGB_lodK(x), 1x1; fading: alpha of it, 1 - alpha of the level before's, repeated
           K: how many levels are between this one and the full resolution

Discriminator, from the side down to 8: x = FromRGB_lodK(image) first (1x1), then

    RxR    Conv0 -> blur, Conv1_down, shrink; after the first block, fading: alpha of it, 1 - alpha
           of FromRGB_lod(K+1) of the image of half the size
    4x4    minibatch stddev, Conv, Dense0 (c4*16 -> c2), Dense1 (c2 -> 1)

enlarge repeats pixels before the convolution, shrink takes the means of 2x2 after it. From 128 on
both are one strided convolution with a kernel that is summed over 2x2; enlarging, it acts mirrored.

Not built, as no preset uses them: class labels, constant noise, the variants of the paper's tables.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from models.stylegan2 import channel_width, full_precision, minibatch_stddev

SQRT2 = math.sqrt(2)
FUSED = 128   # the first resolution at which resampling and convolution are one operation


def blur(x):
    """[1,2,1] along both axes, its sum 1; zeros beyond the edges."""
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def enlarge(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def shrink(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean(dim=(3, 5))


def wide(w):
    """Kernels (..,3,3) -> (..,4,4): sums of four shifts."""
    w = F.pad(w, (1, 1, 1, 1))
    return w[..., 1:, 1:] + w[..., :-1, 1:] + w[..., 1:, :-1] + w[..., :-1, :-1]


def conv_up(x, w):
    if 2 * x.shape[2] >= FUSED:
        return F.conv_transpose2d(x, wide(w).transpose(0, 1), stride=2, padding=1)
    return F.conv2d(enlarge(x), w, padding=1)


def conv_down(x, w):
    if x.shape[2] >= FUSED:
        return F.conv2d(x, wide(w) / 4, stride=2, padding=1)
    return shrink(F.conv2d(x, w, padding=1))


@full_precision
def instance_norm(x):
    x = x - x.mean(dim=(2, 3), keepdim=True)
    return x * (x.square().mean(dim=(2, 3), keepdim=True) + 1e-8).rsqrt()


class Dense(nn.Module):
    """(N,I) -> (N,O)."""

    def __init__(self, inputs, outputs, activate=False, rate=1.0):
        super().__init__()
        self.activate, self.rate = activate, rate
        self.gain = (SQRT2 if activate else 1) / math.sqrt(inputs) * rate
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))

    @full_precision
    def forward(self, x):
        x = x.to(self.weight.dtype)
        x = F.linear(x, self.weight * self.gain) + self.bias * self.rate
        return F.leaky_relu(x, 0.2) if self.activate else x


class Mapping(nn.Module):
    """z (N,z) -> w (N,w)."""

    def __init__(self, z_width, w_width, layers=8):
        super().__init__()
        self.layers = layers
        for i in range(layers):
            setattr(self, f"Dense{i}", Dense(w_width if i else z_width, w_width, True, rate=0.01))

    def forward(self, z):
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.layers):
            x = getattr(self, f"Dense{i}")(x)
        return x


class Noise(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))


class Styled(nn.Module):
    """What ends every layer of the synthesis: x (N,C,r,r), w (N,w), noise (N,1,r,r)."""

    def __init__(self, channels, w_width):
        super().__init__()
        self.Noise = Noise(channels)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.StyleMod = Dense(w_width, 2 * channels)

    def finish(self, x, w, noise):
        x = x + noise.to(x.dtype) * self.Noise.weight[:, None, None].to(x.dtype)
        x = F.leaky_relu(x + self.bias[:, None, None].to(x.dtype), 0.2)
        style = self.StyleMod(w).reshape(len(x), 2, -1, 1, 1)
        return instance_norm(x.to(style.dtype)) * (style[:, 0] + 1) + style[:, 1]


class Const(Styled):
    def __init__(self, channels, w_width):
        super().__init__(channels, w_width)
        self.const = nn.Parameter(torch.ones(1, channels, 4, 4))

    def forward(self, w, noise):
        return self.finish(self.const.expand(len(w), -1, -1, -1), w, noise)


class StyledConv(Styled):
    """x (N,I,r/up,r/up) -> (N,O,r,r)."""

    def __init__(self, inputs, outputs, w_width, up=False):
        super().__init__(outputs, w_width)
        self.up, self.gain = up, SQRT2 / math.sqrt(inputs * 9)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))

    def forward(self, x, w, noise):
        weight = self.weight * self.gain
        x = blur(conv_up(x, weight)) if self.up else F.conv2d(x, weight, padding=1)
        return self.finish(x, w, noise)


class Conv(nn.Module):
    """x (N,I,r,r) -> (N,O,r,r), or half the size with a blur before."""

    def __init__(self, inputs, outputs, k, activate=True, down=False):
        super().__init__()
        self.down, self.activate = down, activate
        self.gain = (SQRT2 if activate else 1) / math.sqrt(inputs * k * k)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, k, k))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        w = self.weight * self.gain
        x = conv_down(blur(x), w) if self.down else F.conv2d(x, w, padding=w.shape[2] // 2)
        x = x + self.bias[:, None, None].to(x.dtype)
        return F.leaky_relu(x, 0.2) if self.activate else x


class Block(nn.Module):
    """Layers of one resolution, by name."""

    def __init__(self, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)


def levels_of(resolution, side, fading):
    """{K: side} of the layers to and from images."""
    last = resolution.bit_length() - side.bit_length()
    return {last: side} | ({last + 1: side // 2} if fading else {})


def fade(before, now, alpha):
    return before + (now - before) * alpha


class Synthesis(nn.Module):
    """ws (N,L,w) -> images (N,C,side,side)."""

    def __init__(self, w_width, resolution, side, fading, channels, width_of):
        super().__init__()
        self.sides = [1 << i for i in range(2, side.bit_length())]
        self.layers, self.rgb = 2 * len(self.sides), levels_of(resolution, side, fading)
        for r in self.sides:
            c = width_of(r)
            block = (Block(Const=Const(c, w_width), Conv=StyledConv(c, c, w_width)) if r == 4 else
                     Block(Conv0_up=StyledConv(width_of(r // 2), c, w_width, up=True),
                           Conv1=StyledConv(c, c, w_width)))
            self.add_module(f"{r}x{r}", block)
        for k, r in self.rgb.items():
            self.add_module(f"ToRGB_lod{k}", Conv(width_of(r), channels, 1, activate=False))

    def noise(self, batch):
        return [torch.randn(batch, 1, r, r) for r in self.sides for _ in range(2)]

    def forward(self, ws, noise, alpha=None):
        modules, x = dict(self.named_children()), {}
        for i, r in enumerate(self.sides):
            first, second = modules[f"{r}x{r}"].children()
            if i == 0:
                y = first(ws[:, 0], noise[0])
            else:
                y = first(y, ws[:, 2 * i], noise[2 * i])
            x[r] = y = second(y, ws[:, 2 * i + 1], noise[2 * i + 1])
        images = [modules[f"ToRGB_lod{k}"](x[r]) for k, r in self.rgb.items()]
        return fade(enlarge(images[1]), images[0], alpha) if len(images) == 2 else images[0]


class Generator(nn.Module):
    """z (N,z) -> images (N,C,side,side)."""

    def __init__(self, resolution=64, side=None, fading=False, channels=5, z_width=512, w_width=512,
                 layers=8, channel_base=16384, channel_max=512):
        super().__init__()
        self.z_width, width_of = z_width, channel_width(channel_base, channel_max)
        self.G_mapping = Mapping(z_width, w_width, layers)
        self.register_buffer("dlatent_avg", torch.zeros(w_width))
        self.G_synthesis = Synthesis(w_width, resolution, side or resolution, fading, channels,
                                     width_of)

    def styles(self, z, truncation=1.0, cutoff=8, track=False):
        """(N,z) -> (N,L,w): average + truncation (w - average) for the first `cutoff` layers. track:
        moves the average (decay .995) towards this batch's."""
        w, layers = self.G_mapping(z), self.G_synthesis.layers
        if track:
            self.dlatent_avg.copy_(w.detach().mean(dim=0).lerp(self.dlatent_avg, 0.995))
        factors = torch.tensor([truncation if i < cutoff else 1.0 for i in range(layers)]).to(w)
        return self.dlatent_avg.lerp(w[:, None].expand(-1, layers, -1), factors[:, None])

    def mixed_styles(self, z, other, cutoff):
        """Layers from `cutoff` on get the styles of `other`; z's are tracked."""
        ws, cutoff = self.styles(z, track=True), int(cutoff)
        return torch.cat([ws[:, :cutoff], self.styles(other)[:, cutoff:]], dim=1)

    def forward(self, z, noise, alpha=None, truncation=1.0, cutoff=8):
        return self.G_synthesis(self.styles(z, truncation, cutoff), noise, alpha)


class Discriminator(nn.Module):
    """Images (N,C,side,side) -> logits (N,1)."""

    def __init__(self, resolution=64, side=None, fading=False, channels=5, channel_base=16384,
                 channel_max=512):
        super().__init__()
        side, width_of = side or resolution, channel_width(channel_base, channel_max)
        self.rgb = levels_of(resolution, side, fading)
        for k, r in self.rgb.items():
            self.add_module(f"FromRGB_lod{k}", Conv(channels, width_of(r), 1))
        self.sides = [1 << i for i in range(side.bit_length() - 1, 2, -1)]
        for r in self.sides:
            self.add_module(f"{r}x{r}", Block(
                Conv0=Conv(width_of(r), width_of(r), 3),
                Conv1_down=Conv(width_of(r), width_of(r // 2), 3, down=True)))
        self.add_module("4x4", Block(
            Conv=Conv(width_of(4) + 1, width_of(4), 3),
            Dense0=Dense(width_of(4) * 16, width_of(2), True), Dense1=Dense(width_of(2), 1)))

    def forward(self, image, alpha=None):
        modules, names = dict(self.named_children()), [f"FromRGB_lod{k}" for k in self.rgb]
        x = modules[names[0]](image)
        for r in self.sides:
            block = modules[f"{r}x{r}"]
            x = block.Conv1_down(block.Conv0(x))
            if r == self.sides[0] and len(names) == 2:
                x = fade(modules[names[1]](shrink(image)), x, alpha)
        last = modules["4x4"]
        x = last.Conv(minibatch_stddev(x.to(last.Conv.weight.dtype)))
        return last.Dense1(last.Dense0(x.flatten(1)))


def shown(x, side, alpha=None):
    """Images (N,C,R,R) as a level is shown them: shrunk to the side, and while it fades in mixed
    with what the level before was shown, repeated."""
    while x.shape[2] > side:
        x = shrink(x)
    return x if alpha is None else fade(enlarge(shrink(x)), x, alpha)


def r1_weight(gamma, resolution, side):
    """Of the penalty on the gradient for the images of `side`. The official one is for the images
    that the networks take, which are of the full resolution always, each pixel repeated: it is
    spread over (resolution/side)^2 pixels, of each of which the square counts."""
    return gamma / 2 * (side / resolution) ** 2


def optimiser(model, rate=0.001):
    """Adam(0, .99, eps 1e-8). TensorFlow's adds its epsilon before it corrects for the bias of the
    second moment, which counts where gradients are as small as 1e-8."""
    return torch.optim.Adam(model.parameters(), rate, (0.0, 0.99), 1e-8)


@torch.no_grad()
def update_average(average, model, batch, half_life=10000):
    """EMA with a half-life in images; buffers are copied."""
    decay = 0.5 ** (batch / half_life)
    for ours, theirs in zip(average.parameters(), model.parameters()):
        ours.copy_(theirs.lerp(ours, decay))
    for ours, theirs in zip(average.buffers(), model.buffers()):
        ours.copy_(theirs)
