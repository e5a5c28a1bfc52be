"""ProGAN (Karras et al. 2018, arXiv 1710.10196) at one level of its growth: images of `side`, the
level's own layers fading in by `alpha` where `fading`. Parameter names are those of
tkarras/progressive_growing_of_gans (TensorFlow) with dots for slashes. Layouts are PyTorch's: weights
(O,I,k,k) where the official ones are (k,k,I,O), of Conv0_up (k,k,O,I), and (O,I) where they are (I,O).

Width at side r: c(r) = min(channel_base / r, channel_max). Every weight is drawn N(0,1) and scaled
when used by gain/sqrt(fan-in); the gain is sqrt 2 where leaky ReLU (.2, not scaled) follows, 1
elsewhere, and sqrt 2 / 4 in the generator's dense layer.

Generator, z brought to unit mean square; every layer but ToRGB ends with leaky ReLU and pixel norm:

    4x4    Dense (z -> c4*16, a bias for each of c4 channels) -> Conv -> x
    8x8    Conv0_up -> Conv1 -> x      ...
    image  ToRGB_lodK(x), 1x1; fading: alpha of it, 1 - alpha of the level before's, repeated
           K: how many levels are between this one and the full resolution

Discriminator, from the side down to 8: x = FromRGB_lodK(image) first (1x1), then

    RxR    Conv0 -> Conv1_down; after the first block, fading: alpha of it, 1 - alpha of
           FromRGB_lod(K+1) of the image of half the size
    4x4    minibatch stddev, Conv, Dense0 (c4*16 -> c2), Dense1 (c2 -> 1)

Conv0_up and Conv1_down are strided convolutions with kernels that are summed over 2x2; Conv0_up's act
mirrored. Not built: class labels, the variants without one of these features.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from models.stylegan import Dense, enlarge, fade, levels_of, optimiser, shown, shrink, wide
from models.stylegan2 import channel_width, full_precision, minibatch_stddev

SQRT2 = math.sqrt(2)
__all__ = ["Discriminator", "Generator", "losses", "optimiser", "shown", "update_average"]


@full_precision
def pixel_norm(x):
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class Conv(nn.Module):
    """x (N,I,r,r) -> (N,O,r,r), or of twice or half the side."""

    def __init__(self, inputs, outputs, k=3, activate=True, up=False, down=False):
        super().__init__()
        self.activate, self.up, self.down, self.padding = activate, up, down, k // 2
        self.gain = (SQRT2 if activate else 1) / math.sqrt(inputs * k * k)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, k, k))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        w = self.weight * self.gain
        if self.up:
            x = F.conv_transpose2d(x, wide(w).transpose(0, 1), stride=2, padding=1)
        elif self.down:
            x = F.conv2d(x, wide(w) / 4, stride=2, padding=1)
        else:
            x = F.conv2d(x, w, padding=self.padding)
        x = x + self.bias[:, None, None]
        return F.leaky_relu(x, 0.2) if self.activate else x


class First(nn.Module):
    """z (N,z) -> (N,c,4,4)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.gain = SQRT2 / 4 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(outputs * 16, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, z):
        x = F.linear(z, self.weight * self.gain).reshape(z.shape[0], -1, 4, 4)
        return F.leaky_relu(x + self.bias[:, None, None], 0.2)


class Generator(nn.Module):
    """z (N,z) -> images (N,C,side,side)."""

    def __init__(self, resolution=64, side=None, fading=False, channels=5, z_width=512,
                 channel_base=16384, channel_max=512):
        super().__init__()
        side, width_of = side or resolution, channel_width(channel_base, channel_max)
        self.z_width, self.sides = z_width, [1 << i for i in range(2, side.bit_length())]
        self.rgb = levels_of(resolution, side, fading)
        for r in self.sides:
            c = width_of(r)
            layers = ({"Dense": First(z_width, c), "Conv": Conv(c, c)} if r == 4 else
                      {"Conv0_up": Conv(width_of(r // 2), c, up=True), "Conv1": Conv(c, c)})
            self.add_module(f"{r}x{r}", nn.ModuleDict(layers))
        for k, r in self.rgb.items():
            self.add_module(f"ToRGB_lod{k}", Conv(width_of(r), channels, 1, activate=False))

    def forward(self, z, alpha=None):
        modules, x, y = dict(self.named_children()), {}, pixel_norm(z)
        for r in self.sides:
            for layer in modules[f"{r}x{r}"].values():
                y = pixel_norm(layer(y))
            x[r] = y
        images = [modules[f"ToRGB_lod{k}"](x[r]) for k, r in self.rgb.items()]
        return fade(enlarge(images[1]), images[0], alpha) if len(images) == 2 else images[0]


class Discriminator(nn.Module):
    """Images (N,C,side,side) -> scores (N,1)."""

    def __init__(self, resolution=64, side=None, fading=False, channels=5, channel_base=16384,
                 channel_max=512):
        super().__init__()
        side, width_of = side or resolution, channel_width(channel_base, channel_max)
        self.rgb = levels_of(resolution, side, fading)
        for k, r in self.rgb.items():
            self.add_module(f"FromRGB_lod{k}", Conv(channels, width_of(r), 1))
        self.sides = [1 << i for i in range(side.bit_length() - 1, 2, -1)]
        for r in self.sides:
            self.add_module(f"{r}x{r}", nn.ModuleDict({
                "Conv0": Conv(width_of(r), width_of(r)),
                "Conv1_down": Conv(width_of(r), width_of(r // 2), down=True)}))
        self.add_module("4x4", nn.ModuleDict({
            "Conv": Conv(width_of(4) + 1, width_of(4)),
            "Dense0": Dense(width_of(4) * 16, width_of(2), True),
            "Dense1": Dense(width_of(2), 1)}))

    def forward(self, image, alpha=None):
        modules, names = dict(self.named_children()), [f"FromRGB_lod{k}" for k in self.rgb]
        x = modules[names[0]](image)
        for r in self.sides:
            for layer in modules[f"{r}x{r}"].values():
                x = layer(x)
            if r == self.sides[0] and len(names) == 2:
                x = fade(modules[names[1]](shrink(image)), x, alpha)
        last = modules["4x4"]
        x = last["Conv"](minibatch_stddev(x.to(last["Conv"].weight.dtype)))
        return last["Dense1"](last["Dense0"](x.flatten(1)))


def repeat(x, times):
    """(N,C,r,r) -> (N,C,times r,times r)."""
    return x.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)


def losses(d, real, fake, mix, resolution):
    """WGAN-GP and drift: means of D(fake), of D(real), of (|dD/dx| - 1)^2 at x between the two, and of
    D(real)^2. As officially, the gradient is with respect to images of the full resolution, of which
    the discriminator takes the means over squares."""
    times = resolution // real.shape[2]
    between = repeat(real + (fake - real) * mix, times).detach().requires_grad_()
    score = d(F.avg_pool2d(between, times)).sum()
    slope, = torch.autograd.grad(score, between, create_graph=True)
    norm = slope.square().sum(dim=(1, 2, 3)).sqrt()
    of_real = d(real)
    return {"d_fake": d(fake).mean(), "d_real": of_real.mean(), "penalty": (norm - 1).square().mean(),
            "drift": of_real.square().mean()}


@torch.no_grad()
def update_average(average, model, decay=0.999):
    for ours, theirs in zip(average.parameters(), model.parameters()):
        ours.copy_(theirs.lerp(ours, decay))
