"""The study's segmentation U-Net (Usman Akbar et al. 2024, after Ronneberger et al. 2015).

N images of C channels, side S divisible by 2^(levels-1); widths b_i = base * 2^i:

    down_path[0]          (N,C,S,S)      -> (N,b_0,S,S)        block, kept as bridge 0
    max-pool 2, [1]       (N,b_0,S/2,S/2)-> (N,b_1,S/2,S/2)    block, kept as bridge 1
    ...                                                        the last block has no bridge
    up_path[0]            bilinear x2, conv 1x1 to b_{L-2}; concat [up, bridge]; block
    ...
    output_layers.{L-2}   conv 1x1, no bias: (N,b_0,S,S) -> (N,classes,S,S) logits
    output_layers.{L-2-i} of level i > 0, but of the coarsest: the same at S/2^i, then bilinear x2^i

block = twice: conv 3x3 (padding 1, bias) -> LeakyReLU(0.01) -> InstanceNorm (affine, eps 1e-5,
biased variance over H,W of each image and channel). Parameter names follow the study's public
code: down_path.I.block.{0,2,3,5}, up_path.I.up.1, up_path.I.conv_block.block.{0,2,3,5},
output_layers.N (N.0 where an enlargement follows). The coarsest level's output is left out: its
weight in the loss is 0.
"""
import torch
import torch.nn.functional as F
from torch import nn

SMOOTH = 1e-5  # of the Dice ratio


def block(inputs, outputs):
    """(N,inputs,H,W) -> (N,outputs,H,W)."""
    layers = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.LeakyReLU(0.01),
                   nn.InstanceNorm2d(outputs, affine=True)]
    return nn.Sequential(*layers)


class Down(nn.Module):
    """One level of the contracting path; holds only its block, for the names' sake."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.block = block(inputs, outputs)

    def forward(self, x):
        return self.block(x)


class Up(nn.Module):
    """(N,inputs,H,W) and bridge (N,outputs,2H,2W) -> (N,outputs,2H,2W)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        # Half-pixel centres, edges clamped: weights 3/4 and 1/4 of the two nearest pixels.
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                                nn.Conv2d(inputs, outputs, 1))
        self.conv_block = Down(inputs, outputs)

    def forward(self, x, bridge):
        return self.conv_block(torch.cat([self.up(x), bridge], dim=1))


class UNet(nn.Module):
    """(N,channels,S,S) -> [logits (N,classes,S,S)] of each level, the finest first."""

    def __init__(self, channels=4, classes=4, base=32, levels=4):
        super().__init__()
        widths = [base << level for level in range(levels)]
        self.down_path = nn.ModuleList(map(Down, [channels] + widths[:-1], widths))
        self.up_path = nn.ModuleList(map(Up, widths[:0:-1], widths[-2::-1]))
        # The study numbers its outputs from the coarsest.
        self.names = [str(levels - 2 - level) for level in range(max(levels - 2, 1))]
        self.output_layers = nn.ModuleDict()
        for level, name in enumerate(self.names):
            conv = nn.Conv2d(widths[level], classes, 1, bias=False)
            self.output_layers[name] = nn.Sequential(conv, nn.Upsample(
                scale_factor=2 ** level, mode="bilinear", align_corners=False)) if level else conv

    def forward(self, x):
        bridges = []
        for level, down in enumerate(self.down_path):
            x = down(F.max_pool2d(x, 2) if level else x)
            bridges.append(x)
        bridges.pop()
        features = []
        for up in self.up_path:
            x = up(x, bridges.pop())
            features.insert(0, x)
        return [self.output_layers[name](x) for name, x in zip(self.names, features)]


def loss_terms(logits, labels):
    """logits (N,K,H,W), labels (N,H,W) int64 -> {"dice": ..., "cross_entropy": ...}, scalars.

    Soft Dice over the whole batch, background included: with p = softmax(logits) and one-hot y,
    dice = -mean_k (2 sum p_k y_k + s) / (sum p_k + sum y_k + s). The loss is the terms' sum.
    """
    probability = logits.softmax(dim=1)
    one_hot = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    overlap = (probability * one_hot).sum(dim=(0, 2, 3))
    total = probability.sum(dim=(0, 2, 3)) + one_hot.sum(dim=(0, 2, 3))
    dice = (2 * overlap + SMOOTH) / (total + SMOOTH)
    return {"dice": -dice.mean(), "cross_entropy": F.cross_entropy(logits, labels)}


def deep_terms(outputs, labels):
    """Of the finest level "dice" and "cross_entropy"; "loss": both terms' sum over the levels,
    level i weighted by 2^-i, of weights that sum up to 1. It alone is minimised."""
    terms = [loss_terms(logits, labels) for logits in outputs]
    weights = [2.0 ** -level for level in range(len(outputs))]
    loss = sum(weight * sum(each.values()) for weight, each in zip(weights, terms)) / sum(weights)
    return terms[0] | {"loss": loss}


def schedule(share):
    """The rate's factor when a share of all steps is done."""
    return (1 - share) ** 0.9


def optimiser(model, rate=0.01):
    """v = .99 v + (g + 3e-5 p); p -= rate (g + 3e-5 p + .99 v), v starting as the first term."""
    return torch.optim.SGD(model.parameters(), rate, momentum=0.99, weight_decay=3e-5,
                           nesterov=True)
