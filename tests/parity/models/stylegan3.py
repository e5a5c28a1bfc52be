"""StyleGAN 3 (Karras et al. 2021, arXiv 2106.12423), generator of configurations T and R. Parameter
and buffer names and layouts are those of NVlabs/stylegan3. The discriminator is StyleGAN 2's, and so
are the losses and optimisers.

Layers 0 … L-1 and ToRGB, which is layer L; of each layer's output, with i as an exponent of
e = min(i / (L - 2), 1) and images of side S:

    cutoff     2 (S/4)^e                     stopband  2^2.1 (S/2 2^.3 / 2^2.1)^e
    rate       the power of 2 from min(2 stopband, S) on
    half width max(stopband, rate/2) - cutoff
    size       rate + 20, of the last two S
    channels   min(base / (2 cutoff), maximum), rounded; of ToRGB the image's

The input is channels(0) waves over size(0)² pixels: fixed frequencies within the first cut-off and
phases, turned and moved by 4 numbers that an affine of w gives, then mixed 1x1. A layer is

    x -> modulated conv (3x3, padded by 2; R: 1x1) -> bias -> up -> leaky ReLU sqrt 2, clamp -> down

with weights and styles normalised first, x divided by the root of the running mean of its squares,
up to twice the larger of both rates with the input's low-pass filter, down with the output's. Filters
have 6 taps by factor and side of a pixel: Kaiser-windowed sincs, one an axis; R filters down with
jincs, over both axes at once, but for the last two layers. ToRGB is a modulated 1x1 convolution
without demodulation; images are a quarter of it.

Not built, as no preset uses them: class labels, other numbers of critically sampled layers, the
user's transformation (a buffer that is the identity).
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from models.stylegan2 import Dense, bias_act, full_precision

CRITICAL, MARGIN, SIZE, SQRT2 = 2, 10, 6, math.sqrt(2)


# ---- filters -----------------------------------------------------------------------------------

def kaiser_window(taps, width, rate):
    """Of a filter whose transition is `width` wide, at sampling rate `rate`: (taps,), float64."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    place = torch.linspace(-1, 1, taps, dtype=torch.float64)
    one = torch.tensor(beta, dtype=torch.float64)
    return torch.special.i0(beta * (1 - place.square()).clamp(min=0).sqrt()) / torch.special.i0(one)


def lowpass(taps, cutoff, width, rate, radial=False):
    """(taps,), or where radial (taps,taps): float32, of sum 1; None for a single tap."""
    if taps == 1:
        return None
    window = kaiser_window(taps, width, rate)
    place = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    if radial:
        r = torch.hypot(place[:, None], place)
        f = torch.special.bessel_j1(2 * math.pi * cutoff * r) / (math.pi * r)
        f = f * torch.outer(window, window)
    else:
        f = torch.sinc(2 * cutoff * place) * window
    return (f / f.sum()).float()


def resample(x, f, up=1, down=1, pad=0):
    """x (N,C,H,W): up-1 zeros after each pixel, `pad` = (before, after) of both axes (negative:
    cropped), filtered by f, every down-th pixel kept. f (k) acts along one axis after the other."""
    before, after = pad if pad else (0, 0)
    if f.ndim == 2:
        return FIR.apply(x, f, (up, up), (down, down), ((before, after),) * 2)
    x = FIR.apply(x, f[None], (1, up), (1, down), ((0, 0), (before, after)))
    return FIR.apply(x, f[:, None], (up, 1), (down, 1), ((before, after), (0, 0)))


class FIR(torch.autograd.Function):
    """By axis; filters are symmetric. Its adjoint is one again, so that there is any order of
    derivative and none of the constant filter."""

    @staticmethod
    @full_precision
    def forward(ctx, x, f, up, down, pad):
        n, c, h, w = x.shape
        if up != (1, 1):
            x = F.pad(x.reshape(n, c, h, 1, w, 1), [0, up[1] - 1, 0, 0, 0, up[0] - 1])
            x = x.reshape(n, c, h * up[0], w * up[1])
        if pad != ((0, 0), (0, 0)):
            x = F.pad(x, [*pad[1], *pad[0]])
        y = F.conv2d(x, f.to(x.dtype).expand(c, 1, *f.shape), stride=down, groups=c)
        ctx.save_for_backward(f)
        ctx.case = (up, down, pad, (h, w), y.shape[2:])
        return y

    @staticmethod
    def backward(ctx, g):
        (f,) = ctx.saved_tensors
        up, down, pad, size, out = ctx.case
        adjoint = tuple((f.shape[a] - 1 - pad[a][0],
                         size[a] * up[a] - out[a] * down[a] + pad[a][0] - up[a] + 1)
                        for a in range(2))
        return FIR.apply(g, f, down, up, adjoint), None, None, None, None


# ---- the network -------------------------------------------------------------------------------

class Band:
    """Of the output of layer i: cutoff, half_width, rate, size, channels; see the top."""

    def __init__(self, i, layers, side, channels, base, maximum):
        e = min(i / (layers - CRITICAL), 1)
        self.cutoff = 2 * (side / 4) ** e
        stopband = 2 ** 2.1 * (side / 2 * 2 ** 0.3 / 2 ** 2.1) ** e
        self.rate = 2 ** math.ceil(math.log2(min(2 * stopband, side)))
        self.half_width = max(stopband, self.rate / 2) - self.cutoff
        self.size = self.rate + 2 * MARGIN if i < layers - 1 else side
        self.channels = round(min(base / 2 / self.cutoff, maximum)) if i < layers else channels


class Mapping(nn.Module):
    """z (N,z) -> w (N,w), as StyleGAN 2's; w_avg's decay is .998."""

    def __init__(self, z_width, w_width, layers=2):
        super().__init__()
        self.layers = layers
        for i in range(layers):
            setattr(self, f"fc{i}", Dense(w_width if i else z_width, w_width, True, rate=0.01))
        self.register_buffer("w_avg", torch.zeros(w_width))

    def forward(self, z, track=False):
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for i in range(self.layers):
            x = getattr(self, f"fc{i}")(x)
        if track:
            self.w_avg.copy_(x.detach().mean(dim=0).lerp(self.w_avg, 0.998))
        return x


class Input(nn.Module):
    """w (N,w) -> (N,C,size,size). A frequency f that is turned by (cos, sin) is
    (fx cos + fy sin, fy cos - fx sin); its phase moves back by its product with the translation."""

    def __init__(self, w_width, band):
        super().__init__()
        self.size, self.rate = band.size, band.rate
        f = torch.randn(band.channels, 2)
        square = f.square().sum(dim=1, keepdim=True)
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        self.affine = Dense(w_width, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", band.cutoff * f / (square.sqrt() * (square / 4).exp()))
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)

    @full_precision
    def forward(self, w):
        t = self.affine(w)
        cosine, sine, right, below = (t / t[:, :2].norm(dim=1, keepdim=True)).T[..., None]  # (N,1)
        fx, fy = self.freqs.T
        fx, fy = fx * cosine + fy * sine, fy * cosine - fx * sine                           # (N,C)
        phase = self.phases - fx * right - fy * below
        at = (torch.arange(self.size, dtype=w.dtype, device=w.device) + 0.5 - self.size / 2) / self.rate
        angle = (fx[..., None, None] * at + fy[..., None, None] * at[:, None]
                 + phase[..., None, None])                                     # (N,C,size,size)
        mixing = self.weight / math.sqrt(self.weight.shape[1])
        return F.conv2d(torch.sin(2 * math.pi * angle), mixing[:, :, None, None])


@full_precision
def normalised(x, dims):
    return x * x.square().mean(dim=dims, keepdim=True).rsqrt()


@full_precision
def demodulation(w, style):
    """w (O,I,k,k), style (N,I) -> (N,O)."""
    return (style.square() @ w.square().sum(dim=(2, 3)).T + 1e-8).rsqrt()


class Layer(nn.Module):
    """x (N,I,in,in), w (N,w) -> (N,O,out,out)."""

    def __init__(self, w_width, band, out, rgb, critical, rotation, clamp, decay):
        super().__init__()
        self.rgb, self.clamp, self.decay = rgb, clamp, decay
        kernel = 1 if rgb or rotation else 3
        rate = max(band.rate, out.rate) * (1 if rgb else 2)
        self.up, self.down = rate // band.rate, rate // out.rate
        up_taps, down_taps = (SIZE * n if n > 1 else 1 for n in (self.up, self.down))
        self.affine = Dense(w_width, band.channels, bias=1)
        self.weight = nn.Parameter(torch.randn(out.channels, band.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out.channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.register_buffer("up_filter", lowpass(up_taps, band.cutoff, 2 * band.half_width, rate))
        self.register_buffer("down_filter", lowpass(down_taps, out.cutoff, 2 * out.half_width, rate,
                                                    rotation and not critical))
        total = ((out.size - 1) * self.down + 1 - (band.size + kernel - 1) * self.up
                 + up_taps + down_taps - 2)
        before = (total + self.up) // 2
        self.pad = (before, total - before)

    def forward(self, x, w, track=False):
        """track: moves magnitude_ema towards this batch's mean square first."""
        if track:
            square = x.detach().to(self.magnitude_ema.dtype).square().mean()
            self.magnitude_ema.copy_(square.lerp(self.magnitude_ema, self.decay))
        style, weight = self.affine(w), self.weight
        if self.rgb:
            style = style / math.sqrt(weight.shape[1])
        else:
            weight, style = normalised(weight, (1, 2, 3)), normalised(style, (0, 1))
        scaled = style * self.magnitude_ema.rsqrt()
        y = F.conv2d(x * scaled.to(x.dtype)[:, :, None, None], weight, padding=weight.shape[2] - 1)
        if self.rgb:
            return bias_act(y, self.bias, False, clamp=self.clamp)
        y = bias_act(y * demodulation(weight, style).to(y.dtype)[:, :, None, None], self.bias, False)
        y = resample(y, self.up_filter * self.up, up=self.up, pad=self.pad)
        y = bias_act(y, None, True, clamp=self.clamp)
        return resample(y, self.down_filter, down=self.down)


class Synthesis(nn.Module):
    """w (N,w) -> images (N,C,R,R)."""

    def __init__(self, w_width, resolution, channels, base, maximum, layers, rotation, clamp, decay):
        super().__init__()
        bands = [Band(i, layers, resolution, channels, base, maximum) for i in range(layers + 1)]
        self.input = Input(w_width, bands[0])
        self.names = []
        for i, out in enumerate(bands):
            layer = Layer(w_width, bands[max(i - 1, 0)], out, i == layers, i >= layers - CRITICAL,
                          rotation, clamp, decay)
            self.names.append(f"L{i}_{out.size}_{out.channels}")
            setattr(self, self.names[-1], layer)

    def forward(self, w, track=False):
        x = self.input(w)
        for name in self.names:
            x = getattr(self, name)(x, w, track)
        return 0.25 * x.to(w.dtype)


class Generator(nn.Module):
    """z (N,z) -> images (N,C,R,R). channel_base and channel_max are those of the official options:
    R doubles them. magnitude_decay: .5^(batch / 20000)."""

    def __init__(self, resolution=64, channels=5, z_width=512, w_width=512, mapping_layers=2,
                 layers=14, channel_base=16384, channel_max=512, rotation=False, clamp=None,
                 magnitude_decay=0.999):
        super().__init__()
        self.z_width = z_width
        wider = 2 if rotation else 1
        self.synthesis = Synthesis(w_width, resolution, channels, wider * channel_base,
                                   wider * channel_max, layers, rotation, clamp, magnitude_decay)
        self.mapping = Mapping(z_width, w_width, mapping_layers)

    def forward(self, z, truncation=1.0, track=False):
        w = self.mapping(z, track)
        if truncation != 1:
            w = self.mapping.w_avg.lerp(w, truncation)
        return self.synthesis(w, track)


def blur(x, sigma):
    """Gaussian of which half is left at sigma pixels, cut at three sigma; zeros beyond the edges."""
    reach = math.floor(3 * sigma)
    if reach == 0:
        return x
    f = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device).div(sigma).square().neg().exp2()
    return resample(x, f / f.sum(), pad=(reach, reach))
