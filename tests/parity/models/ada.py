"""Adaptive discriminator augmentation's geometric part (Karras et al. 2020), for given draws.

    matrix(drawn) -> (N,2,3)            all transformations as one
    transform(x, matrix) -> like x      x (N,C,H,W)

A matrix takes pixel o of the result to pixel M (o, 1) of the image, both counted from the centre,
in pixels. Images are extended by reflection to their full width on each side, doubled in size with
the filter sym6, sampled bilinearly with zeros beyond, and halved with the same filter.
`augment.py` beside this folder holds it against the official code.
"""
import torch
import torch.nn.functional as F

from models.stylegan2 import upfirdn

SYM6 = [0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
        0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
        -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148]
BORDER = len(SYM6) // 4


def sym6(gain, like):
    """The filter along one axis, rounded to float32 as every implementation has it."""
    taps = torch.tensor(SYM6, dtype=torch.float64) * gain * 0.5 ** 0.5
    return torch.outer(*2 * [taps.float().to(like)])


def grid(x, matrix, height, width):
    """What grid_sample takes, whose pixels lie in [-1,1]."""
    image, result = x.new_tensor([x.shape[3], x.shape[2]]) / 2, x.new_tensor([width, height]) / 2
    theta = torch.cat([matrix[:, :, :2] * result / image[:, None], matrix[:, :, 2:] / image[:, None]], 2)
    return F.affine_grid(theta, [len(x), 1, height, width], align_corners=False)


def warp(x, matrix, height, width):
    return Warp.apply(x, grid(x, matrix, height, width))


class Warp(torch.autograd.Function):
    """grid_sample with a second derivative: it is linear in x, and so is its gradient."""

    @staticmethod
    def forward(ctx, x, at):
        ctx.save_for_backward(at)
        ctx.size = x.shape[2:]
        return F.grid_sample(x, at, align_corners=False)

    @staticmethod
    def backward(ctx, g):
        return Spread.apply(g, *ctx.saved_tensors, ctx.size), None


class Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, g, at, size):
        ctx.save_for_backward(at)
        with torch.enable_grad():
            x = g.new_zeros(*g.shape[:2], *size).requires_grad_()
            y = F.grid_sample(x, at, align_corners=False)
        return torch.autograd.grad(y, x, g)[0]

    @staticmethod
    def backward(ctx, gg):
        return Warp.apply(gg, *ctx.saved_tensors), None, None


def transform(x, matrix):
    height, width = x.shape[2:]
    x = F.pad(x, [width - 1, width - 1, height - 1, height - 1], mode="reflect")
    x = upfirdn(x, sym6(2, x), up=2, pad=(6, 5, 6, 5))
    linear, shift = matrix[:, :, :2], matrix[:, :, 2:]
    doubled = torch.cat([linear, 2 * shift + linear.sum(2, keepdim=True) / 2 - 0.5], 2)
    x = warp(x, doubled, 2 * (height + 2 * BORDER), 2 * (width + 2 * BORDER))
    return upfirdn(x, sym6(1, x), down=2, pad=(-1, -1, -1, -1), flip=True)


def scaling(across, down):
    zero, one = torch.zeros_like(across), torch.ones_like(across)
    return torch.stack([across, zero, zero, zero, down, zero, zero, zero, one], 1).reshape(-1, 3, 3)


def rotation(angle):
    c, s, zero, one = angle.cos(), angle.sin(), 0 * angle, torch.ones_like(angle)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], 1).reshape(-1, 3, 3)


def translation(x, y):
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([one, zero, x, zero, one, y, zero, zero, one], 1).reshape(-1, 3, 3)


def matrix(drawn):
    """From the result back to the image: the first transformation stands leftmost, each inverted."""
    d = drawn
    steps = [scaling(1 - 2 * d["mirror"], torch.ones_like(d["mirror"])),
             rotation(d["turns"] * torch.pi / 2), translation(-d["whole_x"], -d["whole_y"]),
             scaling(1 / d["scale"], 1 / d["scale"]), rotation(d["before"]),
             scaling(1 / d["stretch"], d["stretch"]), rotation(d["after"]),
             translation(-d["fraction_x"], -d["fraction_y"])]
    product = steps[0]
    for step in steps[1:]:
        product = product @ step
    return product[:, :2]


def draw(n, height, width, generator=None):
    """All transformations for each of n images, as strong as in training; float32."""
    uniform = lambda: torch.rand(n, generator=generator)
    normal = lambda: torch.randn(n, generator=generator)
    return {"mirror": (uniform() * 2).floor(), "turns": (uniform() * 4).floor(),
            "whole_x": ((uniform() * 2 - 1) * width / 8).round(),
            "whole_y": ((uniform() * 2 - 1) * height / 8).round(),
            "scale": 2 ** (normal() * 0.2), "before": (uniform() * 2 - 1) * torch.pi,
            "stretch": 2 ** (normal() * 0.2), "after": (uniform() * 2 - 1) * torch.pi,
            "fraction_x": normal() * width / 8, "fraction_y": normal() * height / 8}
