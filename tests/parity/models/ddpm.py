"""Denoising diffusion with guided-diffusion's U-Net (Ho et al. 2020; Nichol and Dhariwal 2021;
Dhariwal and Nichol 2021). Parameter names and layouts are those of openai/guided-diffusion, whose
weights load unchanged.

Widths w_l = mult_l * base, E = 4 base, embedding of time e (N,E):

    input_blocks.0        conv 3x3, C -> w_0
    input_blocks.*        per level: `blocks` x [ResBlock to w_l, attention if at this resolution],
                          then (but for the last level) a stride-2 conv 3x3
    middle_block          ResBlock, attention, ResBlock
    output_blocks.*       per level, last first: `blocks`+1 x [concat with the matching input
                          block's output; ResBlock to w_l, attention]; the last of a level (but
                          for level 0) ends in nearest x2 and conv 3x3
    out                   GroupNorm, SiLU, conv 3x3 to C, or to 2C when variances are learned

`attention` names resolutions of the feature map in pixels, e.g. (16, 8). Not built, as no preset
uses them: class labels, resblock_updown, the new attention order.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class GroupNorm32(nn.GroupNorm):
    """32 groups, eps 1e-5, always computed in the parameters' precision."""

    def __init__(self, channels):
        super().__init__(32, channels)

    def forward(self, x):
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


def zeroed(module):
    """The last convolution of a residual branch starts at zero, so the branch starts off."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def time_embedding(t, width, dtype=torch.float32):
    """t (N,) -> (N,width): [cos(t f_i), sin(t f_i)], f_i = 10000^(-i / (width/2)). Even width."""
    half = width // 2
    frequency = torch.exp(-math.log(10000) * torch.arange(half, dtype=dtype) / half)
    angle = t[:, None].to(dtype) * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class Downsample(nn.Module):
    """(N,C,H,W) -> (N,C,H/2,W/2)."""

    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x):
        return self.op(x)


class Upsample(nn.Module):
    """(N,C,H,W) -> (N,C,2H,2W), nearest neighbour before the convolution."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class ResBlock(nn.Module):
    """x (N,I,H,W), e (N,E) -> (N,O,H,W): skip(x) + conv(silu(norm(conv(silu(norm x))) (1+s) + b)),
    with [s, b] (N,2O) = linear(silu(e)): scale first, then shift."""

    def __init__(self, inputs, outputs, embedding, dropout=0.0):
        super().__init__()
        self.in_layers = nn.Sequential(GroupNorm32(inputs), nn.SiLU(),
                                       nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * outputs))
        self.out_layers = nn.Sequential(GroupNorm32(outputs), nn.SiLU(), nn.Dropout(dropout),
                                        zeroed(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.skip_connection = (nn.Identity() if inputs == outputs
                                else nn.Conv2d(inputs, outputs, 1))

    def forward(self, x, e):
        h = self.in_layers(x)
        scale, shift = self.emb_layers(e).to(h.dtype)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[0](h) * (1 + scale) + shift
        return self.skip_connection(x) + self.out_layers[1:](h)


def attend(qkv, heads):
    """(N,heads*3*c,T) -> (N,heads*c,T). Each head's q, k, v lie together (the legacy order); q and
    k are each scaled by c^(-1/4)."""
    n, width, length = qkv.shape
    c = width // (3 * heads)
    q, k, v = qkv.reshape(n * heads, 3 * c, length).split(c, dim=1)
    scale = c ** -0.25
    weight = ((q * scale).transpose(1, 2) @ (k * scale)).softmax(dim=-1)   # (N*heads,T,T)
    return (v @ weight.transpose(1, 2).to(v.dtype)).reshape(n, heads * c, length)


class AttentionBlock(nn.Module):
    """(N,C,H,W) -> (N,C,H,W): x + proj_out(attend(qkv(norm x))), pixels in row order as T = H*W."""

    def __init__(self, channels, heads=1):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm32(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x):
        flat = x.reshape(*x.shape[:2], -1)
        h = attend(self.qkv(self.norm(flat)), self.heads)
        return (flat + self.proj_out(h)).reshape(x.shape)


class Sequence(nn.Sequential):
    """Layers in a row; those that want the time embedding get it."""

    def forward(self, x, e):
        for layer in self:
            x = layer(x, e) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(nn.Module):
    """x (N,channels,size,size), t (N,) -> (N,channels or 2*channels,size,size)."""

    def __init__(self, size=64, channels=5, base=64, mult=(1, 2, 2), blocks=2, attention=(16,),
                 heads=1, learned_variance=False, dropout=0.0):
        super().__init__()
        self.base, self.attention, self.heads = base, attention, heads
        self.residual = lambda inputs, outputs: ResBlock(inputs, outputs, 4 * base, dropout)
        widths = [base * factor for factor in mult]
        self.time_embed = nn.Sequential(nn.Linear(base, 4 * base), nn.SiLU(),
                                        nn.Linear(4 * base, 4 * base))
        kept = self.build_inputs(channels, widths, blocks, size)
        width, lowest = widths[-1], size >> (len(mult) - 1)
        self.middle_block = Sequence(self.residual(width, width), AttentionBlock(width, heads),
                                     self.residual(width, width))
        self.build_outputs(kept, widths, blocks, lowest)
        self.out = nn.Sequential(
            GroupNorm32(widths[0]), nn.SiLU(),
            zeroed(nn.Conv2d(widths[0], channels * (1 + learned_variance), 3, padding=1)))

    def stage(self, inputs, outputs, size):
        """A residual block, and attention where this resolution has it."""
        attention = [AttentionBlock(outputs, self.heads)] if size in self.attention else []
        return [self.residual(inputs, outputs)] + attention

    def build_inputs(self, channels, widths, blocks, size):
        """Sets input_blocks; returns the widths that it keeps for the way up, in order."""
        self.input_blocks = nn.ModuleList([Sequence(nn.Conv2d(channels, widths[0], 3, padding=1))])
        kept = [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(blocks):
                self.input_blocks.append(Sequence(*self.stage(kept[-1], width, size >> level)))
                kept.append(width)
            if level + 1 < len(widths):
                self.input_blocks.append(Sequence(Downsample(width)))
                kept.append(width)
        return kept

    def build_outputs(self, kept, widths, blocks, size):
        """Sets output_blocks; consumes `kept` from its end."""
        self.output_blocks, current = nn.ModuleList(), widths[-1]
        for level in reversed(range(len(widths))):
            for i in range(blocks + 1):
                layers = self.stage(current + kept.pop(), widths[level], size)
                current = widths[level]
                if level and i == blocks:
                    layers.append(Upsample(current))
                self.output_blocks.append(Sequence(*layers))
            size *= 2

    def forward(self, x, t):
        e = self.time_embed(time_embedding(t, self.base, self.time_embed[0].weight.dtype))
        kept = []
        for stage in self.input_blocks:
            x = stage(x, e)
            kept.append(x)
        x = self.middle_block(x, e)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, kept.pop()], dim=1), e)
        return self.out(x)


def linear_betas(steps):
    """(steps,) float64: 1e-4 to .02 for 1000 steps, scaled for others (Ho et al. section 4)."""
    return np.linspace(0.1 / steps, 20 / steps, steps)


def cosine_betas(steps):
    """(steps,) float64: 1 - a(t+1)/a(t), at most .999 (Nichol and Dhariwal, eq. 17)."""
    alpha_bar = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}


class Diffusion:
    """The forward process q and the training loss. t runs from 0 to steps-1; t = 0 is the least
    noise. Tables are float64 and rounded when they are looked up."""

    def __init__(self, schedule="linear", steps=1000):
        self.beta = SCHEDULES[schedule](steps)
        self.steps = steps
        self.alpha_bar = np.cumprod(1 - self.beta)
        previous = np.append(1, self.alpha_bar[:-1])
        self.posterior_variance = self.beta * (1 - previous) / (1 - self.alpha_bar)
        # The variance at t = 0 is zero, so its logarithm is taken from t = 1.
        posterior_log = np.log(np.append(self.posterior_variance[1], self.posterior_variance[1:]))
        # From float64 tables: in float32, 1 - alpha_bar loses half its digits at small t. On the
        # default device, so that they need not be sent there at each step.
        self.tables = {name: torch.tensor(table) for name, table in {
            "signal": np.sqrt(self.alpha_bar), "noise": np.sqrt(1 - self.alpha_bar),
            "scale": np.sqrt(1 / self.alpha_bar), "shift": np.sqrt(1 / self.alpha_bar - 1),
            "mean_x0": self.beta * np.sqrt(previous) / (1 - self.alpha_bar),
            "mean_xt": (1 - previous) * np.sqrt(1 - self.beta) / (1 - self.alpha_bar),
            "posterior_log": posterior_log, "log_beta": np.log(self.beta)}.items()}

    def at(self, name, t, like):
        """The table's values at t as (N,1,1,1) in like's type."""
        return self.tables[name][t].to(like.dtype)[:, None, None, None]

    def noised(self, x0, t, noise):
        """x_t ~ q(x_t | x_0), all (N,C,H,W) (Ho et al., eq. 4)."""
        return self.at("signal", t, x0) * x0 + self.at("noise", t, x0) * noise

    def loss_terms(self, model, x0, t, noise):
        """{"mse": scalar[, "vb": scalar]}; the loss is the sum. "vb" is there when the model gives
        2C channels: L_hybrid with lambda = steps/1000 of the bound in bits a dimension, its
        gradient stopped at the mean (Nichol and Dhariwal, section 3.1)."""
        xt = self.noised(x0, t, noise)
        output = model(xt, t).to(x0.dtype)
        epsilon, fraction = output[:, :x0.shape[1]], output[:, x0.shape[1]:]
        terms = {"mse": (noise - epsilon).square().mean()}
        if fraction.shape[1]:
            bound = self.bound(x0, xt, t, epsilon.detach(), fraction)
            terms["vb"] = bound.mean() * self.steps / 1000
        return terms

    def bound(self, x0, xt, t, epsilon, fraction):
        """(N,) term of the variational bound in bits a dimension: the KL of the posteriors, at
        t = 0 the discretised likelihood. The predicted x0 is not clipped."""
        guess = self.at("scale", t, x0) * xt - self.at("shift", t, x0) * epsilon
        mean = lambda x: self.at("mean_x0", t, x0) * x + self.at("mean_xt", t, x0) * xt
        low, high = self.at("posterior_log", t, x0), self.at("log_beta", t, x0)
        log_variance = (fraction + 1) / 2 * high + (1 - fraction) / 2 * low
        divergence = 0.5 * (log_variance - low - 1 + (low - log_variance).exp()
                            + (mean(x0) - mean(guess)).square() * (-log_variance).exp())
        likelihood = discretised_log_likelihood(x0, mean(guess), 0.5 * log_variance)
        flat = lambda x: x.flatten(1).mean(dim=1) / math.log(2)
        return torch.where(t == 0, flat(-likelihood), flat(divergence))


def discretised_log_likelihood(x, mean, log_sigma):
    """log P of the 1/255-wide bin around x in [-1,1] under N(mean, sigma), elementwise; the outer
    bins are open. The normal's distribution by its tanh approximation, clamped at 1e-12."""
    cdf = lambda v: 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v ** 3)))
    log = lambda v: v.clamp(min=1e-12).log()
    upper = cdf((x - mean + 1 / 255) * (-log_sigma).exp())
    lower = cdf((x - mean - 1 / 255) * (-log_sigma).exp())
    return torch.where(x < -0.999, log(upper),
                       torch.where(x > 0.999, log(1 - lower), log(upper - lower)))


def optimiser(model, rate=1e-4):
    """AdamW without decay: betas .9, .999, eps 1e-8."""
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=0.0)


@torch.no_grad()
def update_average(average, model, step, decay=0.9999):
    """average = decay * average + (1 - decay) * model, for every parameter; the decay is less in
    the first steps, (1 + step) / (10 + step)."""
    decay = min(decay, (1 + step) / (10 + step))
    theirs = [parameter.detach() for parameter in model.parameters()]
    ours = list(average.parameters())
    torch._foreach_mul_(ours, decay)
    torch._foreach_add_(ours, theirs, alpha=1 - decay)
