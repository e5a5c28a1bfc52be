"""StyleGAN 2 (Karras et al. 2020, arXiv 1912.04958; lazily regularised and without progressive
growing). Parameter and buffer names and layouts are those of NVlabs/stylegan2-ada-pytorch, whose
weights load unchanged: skip generator, residual discriminator.

Width at resolution r: c(r) = min(channel_base / r, channel_max). Every weight is drawn N(0,1) and
scaled when used by 1/sqrt(fan-in) (equalised learning rate); the mapping's also by its learning
rate multiplier .01, and it is stored divided by that. Activation: leaky ReLU .2 times sqrt 2, then
clamped to +-256 (times the layer's gain) where `clamp` is set.

Generator, styles ws (N,L,w), L = 2 log2(R) - 2:

    b4    const (c4,4,4) -> conv1[ws 0] -> x;             img  = torgb[ws 1](x)
    b8    conv0 up[ws 1] -> conv1[ws 2] -> x;             img  = up(img) + torgb[ws 3](x)
    b16   conv0 up[ws 3] -> conv1[ws 4] -> x;             img  = up(img) + torgb[ws 5](x)   ...

Discriminator, from R down to 8: x = fromrgb(img) first (1x1), then

    bR    x = skip(x) sqrt .5 + conv1(conv0(x)) sqrt .5   (skip 1x1 without bias or activation and
          conv1 3x3 halve the resolution)
    b4    minibatch stddev, conv 3x3, fc (c4*16 -> c4), out (c4 -> 1)

Not built, as no preset uses them: class labels, the "orig" and "resnet"/"skip" variants, Freeze-D.
"""
import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

SQRT2 = math.sqrt(2)


def device_of(arguments):
    """"cpu" or "cuda", of the first tensor."""
    return next(a for a in arguments if isinstance(a, torch.Tensor)).device.type


def full_precision(function):
    """Keeps autocast out: what sets scales (styles, demodulation, filters) stays in the type of
    its inputs, as in the official mixed precision."""
    def wrapped(*arguments):
        with torch.autocast(device_of(arguments), enabled=False):
            return function(*arguments)
    return functools.wraps(function)(wrapped)


def resampling_filter():
    """[1,3,3,1] as an outer product with sum 1: (4,4)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64


def upfirdn(x, f, up=1, down=1, pad=(0, 0, 0, 0), flip=False, gain=1.0):
    """x (N,C,H,W), f (h,w) -> (N,C,(up H + pad - h) // down + 1, ...).

    Puts up-1 zeros after each pixel, pads by pad = (left, right, top, bottom) with zeros or, where
    negative, crops, convolves (flip: correlates) with gain*f, keeps every down-th pixel.
    """
    return UpFirDn.apply(x, f, up, down, tuple(pad), flip, gain)


class UpFirDn(torch.autograd.Function):
    """Written with its own adjoint, which is again an upfirdn: any order of derivative, and
    PyTorch never computes gradients for the constant filter."""

    @staticmethod
    @full_precision
    def forward(ctx, x, f, up, down, pad, flip, gain):
        n, c, h, w = x.shape
        if up > 1:
            x = F.pad(x.reshape(n, c, h, 1, w, 1), [0, up - 1, 0, 0, 0, up - 1])
            x = x.reshape(n, c, h * up, w * up)
        if any(pad):
            x = F.pad(x, pad)
        taps = (f if flip else f.flip([0, 1])).to(x.dtype) * gain
        y = F.conv2d(x, taps.expand(c, 1, *f.shape), stride=down, groups=c)
        ctx.save_for_backward(f)
        ctx.case = (up, down, pad, flip, gain, (h, w), y.shape[2:])
        return y

    @staticmethod
    def backward(ctx, g):
        (f,) = ctx.saved_tensors
        up, down, pad, flip, gain, (h, w), (oh, ow) = ctx.case
        fh, fw = f.shape
        adjoint = (fw - 1 - pad[0], w * up - ow * down + pad[0] - up + 1,
                   fh - 1 - pad[2], h * up - oh * down + pad[2] - up + 1)
        return upfirdn(g, f, down, up, adjoint, not flip, gain), None, None, None, None, None, None


def upsample(x, f):
    """(N,C,H,W) -> (N,C,2H,2W)."""
    return upfirdn(x, f, up=2, pad=(2, 1, 2, 1), gain=4)


class TransposedConv(torch.autograd.Function):
    """x (N,I,H,W), w (I,O,3,3) -> (N,O,2H+1,2W+1), what F.conv_transpose2d(x, w, stride=2) gives.

    On CPUs asked for as the input gradient of a strided convolution, because PyTorch 1.13 has a fast
    kernel for that, and only a slow one for transposed convolutions: 16 instead of 433 ms
    forward for (16,128,32,32) -> 64 channels; with the slow one, 70 % of a step went there.
    """

    @staticmethod
    def forward(ctx, x, w):
        if torch.is_autocast_cpu_enabled():
            x, w = x.to(torch.bfloat16), w.to(torch.bfloat16)
        ctx.save_for_backward(x, w)
        n, _, height, width = x.shape
        shape = (n, w.shape[1], 2 * height + 1, 2 * width + 1)
        return torch.nn.grad.conv2d_input(shape, w, x, stride=2)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return F.conv2d(g, w, stride=2), torch.nn.grad.conv2d_weight(g, w.shape, x, stride=2)


def transposed_conv(x, w):
    """As TransposedConv."""
    return F.conv_transpose2d(x, w, stride=2) if x.is_cuda else TransposedConv.apply(x, w)


def conv(x, w, f, up=1, down=1):
    """x (N,I,H,W), w (O,I,k,k), k odd -> (N,O,up H/down,up W/down), filtered when resampled.

    up (k = 3): transposed convolution, then filter. down: filter, then strided convolution; for
    k = 1 filter and decimation are one.
    """
    k = w.shape[2]
    if up == 2:
        # The adjoint of a correlation is a convolution: as in the official code, the same w acts
        # mirrored in a layer that upsamples.
        x = transposed_conv(x, w.transpose(0, 1))                     # (N,O,2H+1,2W+1)
        return upfirdn(x, f, pad=(1, 1, 1, 1), gain=4)
    if down == 2 and k == 1:
        return F.conv2d(upfirdn(x, f, down=2, pad=(1, 1, 1, 1)), w)
    if down == 2:
        return F.conv2d(upfirdn(x, f, pad=(2, 2, 2, 2)), w, stride=2)
    return F.conv2d(x, w, padding=k // 2)


def bias_act(x, bias, activate, gain=1.0, clamp=None):
    """x (N,C,...) + bias (C,), leaky ReLU .2 and sqrt 2 if activate, times gain, clamped."""
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2))
    if activate:
        x, gain = F.leaky_relu(x, 0.2), gain * SQRT2
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def modulated_conv(x, w, style, f, up=1, demodulate=True):
    """x (N,I,H,W), w (O,I,k,k), style (N,I) -> (N,O,up H,up W) (section 2.2, eq. 1-3).

    Scales activations before and after a shared convolution, which equals scaling the weights per
    image, as the official code does while training.
    """
    y = conv(x * style.to(x.dtype)[:, :, None, None], w, f, up=up)
    if not demodulate:
        return y
    return y * demodulation(w, style).to(y.dtype)[:, :, None, None]


@full_precision
def demodulation(w, style):
    """w (O,I,k,k), style (N,I) -> (N,O): 1 / sqrt(sum over I,k,k of (w s)^2 + 1e-8)."""
    return (style.square() @ w.square().sum(dim=(2, 3)).T + 1e-8).rsqrt()


class Dense(nn.Module):
    """(N,I) -> (N,O). weight (O,I) and bias are stored divided by `rate` (bias: not divided, but
    multiplied by it when used)."""

    def __init__(self, inputs, outputs, activate=False, rate=1.0, bias=0.0):
        super().__init__()
        self.activate, self.rate, self.gain = activate, rate, rate / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full([outputs], float(bias)))

    @full_precision
    def forward(self, x):
        return bias_act(F.linear(x, self.weight * self.gain), self.bias * self.rate, self.activate)


class Mapping(nn.Module):
    """z (N,z) -> w (N,w): `layers` dense layers over z scaled to unit mean square."""

    def __init__(self, z_width, w_width, layers=8):
        super().__init__()
        self.layers = layers
        for i in range(layers):
            setattr(self, f"fc{i}", Dense(w_width if i else z_width, w_width, True, rate=0.01))
        self.register_buffer("w_avg", torch.zeros(w_width))

    def forward(self, z, track=False):
        """track: moves w_avg (decay .995) towards this batch's mean."""
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.layers):
            x = getattr(self, f"fc{i}")(x)
        if track:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, 0.995))
        return x


class SynthesisLayer(nn.Module):
    """x (N,I,r/up,r/up), w (N,w) -> (N,O,r,r): modulated 3x3, noise, bias, leaky ReLU."""

    def __init__(self, inputs, outputs, w_width, resolution, up=1, clamp=None):
        super().__init__()
        self.up, self.clamp = up, clamp
        self.register_buffer("resample_filter", resampling_filter())
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.affine = Dense(w_width, inputs, bias=1)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x, w, noise):
        """noise: (N,1,r,r), or None for the constant noise_const (r,r)."""
        x = modulated_conv(x, self.weight, self.affine(w), self.resample_filter, self.up)
        noise = (self.noise_const if noise is None else noise) * self.noise_strength
        return bias_act(x + noise.to(x.dtype), self.bias, True, clamp=self.clamp)


class ToRGB(nn.Module):
    """x (N,I,r,r), w (N,w) -> (N,O,r,r): modulated 1x1 without demodulation; its weight gain is
    applied to the style."""

    def __init__(self, inputs, outputs, w_width, clamp=None):
        super().__init__()
        self.gain, self.clamp = 1 / math.sqrt(inputs), clamp
        self.affine = Dense(w_width, inputs, bias=1)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x, w):
        x = modulated_conv(x, self.weight, self.affine(w) * self.gain, None, demodulate=False)
        return bias_act(x, self.bias, False, clamp=self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution r: x (N,I,r/2,r/2), img (N,C,r/2,r/2) -> x (N,O,r,r), img (N,C,r,r)."""

    def __init__(self, inputs, outputs, w_width, resolution, channels, clamp=None):
        super().__init__()
        self.register_buffer("resample_filter", resampling_filter())
        self.first = inputs == 0
        if self.first:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, w_width, resolution, 2, clamp)
        self.conv1 = SynthesisLayer(outputs, outputs, w_width, resolution, 1, clamp)
        self.torgb = ToRGB(outputs, channels, w_width, clamp)

    def forward(self, x, img, ws, noise):
        """ws: (w of conv0, conv1, torgb), without conv0's in the first block; noise likewise."""
        if self.first:
            x = self.const.expand(ws[0].shape[0], -1, -1, -1)
        else:
            x = self.conv0(x, ws[0], noise[0])
        x = self.conv1(x, ws[-2], noise[-1])
        y = self.torgb(x, ws[-1]).to(self.torgb.bias.dtype)
        return x, y if img is None else upsample(img, self.resample_filter) + y


class Synthesis(nn.Module):
    """ws (N,L,w) -> images (N,C,R,R)."""

    def __init__(self, w_width, resolution, channels, width_of, clamp=None):
        super().__init__()
        self.resolutions = [1 << i for i in range(2, resolution.bit_length())]
        self.layers = 2 * len(self.resolutions)
        for r in self.resolutions:
            inputs = width_of(r // 2) if r > 4 else 0
            block = SynthesisBlock(inputs, width_of(r), w_width, r, channels, clamp)
            setattr(self, f"b{r}", block)

    def noise(self, batch, generator=None):
        """Fresh noise for every layer in order: one (N,1,4,4), then two (N,1,r,r) per block."""
        draw = lambda r: torch.randn(batch, 1, r, r, generator=generator)
        return [draw(r) for r in self.resolutions for _ in range(1 if r == 4 else 2)]

    def forward(self, ws, noise=None):
        """noise: the list that noise() gives, or None for each layer's constant noise."""
        noise = noise or [None] * (self.layers - 1)
        x = img = None
        position = 0   # of the block's first style and noise; torgb's style is the next block's
        for r in self.resolutions:
            convs = 1 if r == 4 else 2
            styles = ws[:, position:position + convs + 1].unbind(dim=1)
            x, img = getattr(self, f"b{r}")(x, img, styles, noise[position:position + convs])
            position += convs
        return img


def channel_width(base, maximum):
    """c(r), see the top."""
    return lambda r: min(base // r, maximum)


class Generator(nn.Module):
    """z (N,z) -> images (N,C,R,R)."""

    def __init__(self, resolution=64, channels=5, z_width=512, w_width=512, layers=8,
                 channel_base=4096, channel_max=256, clamp=None):
        super().__init__()
        self.z_width = z_width
        width_of = channel_width(channel_base, channel_max)
        self.synthesis = Synthesis(w_width, resolution, channels, width_of, clamp)
        self.mapping = Mapping(z_width, w_width, layers)

    def styles(self, z, truncation=1.0, track=False):
        """(N,z) -> (N,L,w): w_avg + truncation (w - w_avg), the same for each layer."""
        w = self.mapping(z, track)
        if truncation != 1:
            w = self.mapping.w_avg.lerp(w, truncation)
        return w[:, None].expand(-1, self.synthesis.layers, -1)

    def mixed_styles(self, z, other, cutoff):
        """Style mixing: layers from `cutoff` on get the styles of `other`; z's are tracked."""
        ws = self.styles(z, track=True)
        if cutoff >= self.synthesis.layers:
            return ws
        return torch.cat([ws[:, :cutoff], self.styles(other)[:, cutoff:]], dim=1)

    def forward(self, z, noise=None, truncation=1.0):
        return self.synthesis(self.styles(z, truncation), noise)


class Conv(nn.Module):
    """x (N,I,r,r) -> (N,O,r/down,r/down)."""

    def __init__(self, inputs, outputs, k, bias=True, activate=True, down=1, clamp=None):
        super().__init__()
        self.activate, self.down, self.clamp = activate, down, clamp
        self.gain = 1 / math.sqrt(inputs * k * k)
        self.register_buffer("resample_filter", resampling_filter())
        self.weight = nn.Parameter(torch.randn(outputs, inputs, k, k))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x, gain=1.0):
        x = conv(x, self.weight * self.gain, self.resample_filter, down=self.down)
        clamp = None if self.clamp is None else self.clamp * gain
        return bias_act(x, self.bias, self.activate, gain, clamp)


class DiscriminatorBlock(nn.Module):
    """x (N,M,r,r), for the first block the images, -> (N,O,r/2,r/2)."""

    def __init__(self, channels, width, outputs, first, clamp=None):
        super().__init__()
        self.register_buffer("resample_filter", resampling_filter())
        if first:
            self.fromrgb = Conv(channels, width, 1, clamp=clamp)
        self.conv0 = Conv(width, width, 3, clamp=clamp)
        self.conv1 = Conv(width, outputs, 3, down=2, clamp=clamp)
        self.skip = Conv(width, outputs, 1, bias=False, activate=False, down=2)

    def forward(self, x):
        x = self.fromrgb(x) if hasattr(self, "fromrgb") else x
        half = math.sqrt(0.5)
        return self.skip(x, half) + self.conv1(self.conv0(x), half)


def minibatch_stddev(x, group=4):
    """(N,C,H,W) -> (N,C+1,H,W): the mean over C,H,W of the standard deviation (eps 1e-8 under the
    root) over each group {i, i + N/G, i + 2N/G, ...} of G = min(group, N) images, as a channel."""
    n, c, h, w = x.shape
    y = x.reshape(min(group, n), -1, c, h, w)                    # (G,N/G,C,H,W)
    y = ((y - y.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    y = y.repeat(min(group, n)).reshape(n, 1, 1, 1).expand(-1, -1, h, w)
    return torch.cat([x, y], dim=1)


class Epilogue(nn.Module):
    """x (N,I,4,4) -> (N,1)."""

    def __init__(self, width, clamp=None):
        super().__init__()
        self.conv = Conv(width + 1, width, 3, clamp=clamp)
        self.fc = Dense(width * 16, width, activate=True)
        self.out = Dense(width, 1)

    def forward(self, x):
        x = self.conv(minibatch_stddev(x.to(self.conv.weight.dtype)))
        return self.out(self.fc(x.flatten(1).to(self.fc.weight.dtype)))


class Discriminator(nn.Module):
    """Images (N,C,R,R) -> logits (N,1)."""

    def __init__(self, resolution=64, channels=5, channel_base=4096, channel_max=256, clamp=None):
        super().__init__()
        width_of = channel_width(channel_base, channel_max)
        self.resolutions = [1 << i for i in range(resolution.bit_length() - 1, 2, -1)]
        for r in self.resolutions:
            block = DiscriminatorBlock(channels, width_of(r), width_of(r // 2), r == resolution,
                                       clamp)
            setattr(self, f"b{r}", block)
        self.b4 = Epilogue(width_of(4), clamp)

    def forward(self, x):
        for r in self.resolutions:
            x = getattr(self, f"b{r}")(x)
        return self.b4(x)


def generator_loss(d, images):
    """Non-saturating: mean softplus(-D(G(z)))."""
    return F.softplus(-d(images)).mean()


def discriminator_losses(d, fake, real):
    """(mean softplus(D(fake)), mean softplus(-D(real))), in separate passes: the groups of the
    minibatch stddev don't mix fake and real."""
    return F.softplus(d(fake)).mean(), F.softplus(-d(real)).mean()


def r1_penalty(d, real):
    """mean over images of |dD/dx|^2 at real (Mescheder et al. 2018); the loss is gamma/2 of it."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images, ws, direction):
    """(N,) |J^T y| with y = direction / sqrt(HW): root of the mean over layers of the sum over w
    of squares (section 3.2). images must come from ws."""
    y = direction / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths, mean, decay=0.01):
    """(mean (length - new mean)^2, new mean): the new mean is part of the graph."""
    new = mean + decay * (lengths.mean() - mean)
    return (lengths - new).square().mean(), new.detach()


def optimiser(model, interval, rate=0.0025):
    """Adam(0, .99, eps 1e-8) for a network whose lazy term runs every `interval` steps: rate and
    betas are corrected by k/(k+1). The lazy term's loss is multiplied by k. 0: it has none."""
    share = interval / (interval + 1) if interval else 1
    return torch.optim.Adam(model.parameters(), rate * share, (0.0, 0.99 ** share), 1e-8)


@torch.no_grad()
def update_average(average, model, images_seen, batch, half_life, ramp=0.05):
    """EMA with a half-life in images, at most ramp * images_seen; buffers are copied."""
    decay = 0.5 ** (batch / max(min(half_life, ramp * images_seen), 1e-8))
    for ours, theirs in zip(average.parameters(), model.parameters()):
        ours.copy_(theirs.lerp(ours, decay))
    for ours, theirs in zip(average.buffers(), model.buffers()):
        ours.copy_(theirs)
