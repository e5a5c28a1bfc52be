#!/usr/bin/env python3
"""Adaptive augmentation beside the official code.

    tests/parity/augment.py REPOSITORY          a checkout of NVlabs/stylegan2-ada-pytorch

Gives AugmentPipe the draws of models/ada.py in place of its random numbers, runs it on the CPU, and
compares images, and what reaches them of a random gradient. The engine is held against the same
model by ops_test. Prints a table; exits with 1 where they differ by more than 1e-4.

AugmentPipe extends images by what the batch needs, at most to their full width on each side; the
model always to the full width. Only what lies beyond either shows a difference, so the last image
of a batch is moved so far that AugmentPipe takes all.
"""
import sys
from pathlib import Path

import torch

from models import ada

CASES = [(8, 1, 4), (32, 3, 8), (64, 5, 8)]  # side, channels, images


def queued(values):
    """A stand-in for torch.rand: gives these, in order."""
    values = iter(values)

    def take(shape, device=None):
        value = next(values)
        assert list(value.shape) == list(shape), (value.shape, shape)
        return value
    return take


def official(module, images, d):
    """The output of AugmentPipe, all of whose transformations happen, as drawn."""
    n, _, height, width = images.shape
    pipe = module.AugmentPipe(xflip=1, rotate90=1, xint=1, scale=1, rotate=1, aniso=1, xfrac=1)
    yes, both = torch.zeros(n), torch.zeros(n, 1)
    size = torch.tensor([width, height])
    whole = torch.stack([d["whole_x"], d["whole_y"]], 1) / size
    fraction = torch.stack([d["fraction_x"], d["fraction_y"]], 1) / size
    turned = lambda angle: (angle / torch.pi + 1) / 2
    rand = [d["mirror"] / 2 + 0.1, yes, d["turns"] / 4 + 0.05, yes, (whole * 8 + 1) / 2, both, yes,
            turned(d["before"]), yes, yes, turned(d["after"]), yes, both]
    randn = [d["scale"].log2() / 0.2, d["stretch"].log2() / 0.2, fraction * 8]
    before = torch.rand, torch.randn
    try:
        torch.rand, torch.randn = queued(rand), queued(randn)
        return pipe(images)
    finally:
        torch.rand, torch.randn = before


def compare(module, side, channels, count):
    """Largest difference and largest value of images and of gradients."""
    drawn = ada.draw(count, side, side)
    drawn["fraction_x"][-1] = 2.0 * side
    x = torch.randn(count, channels, side, side)
    results = []
    for function in (lambda y: official(module, y, drawn),
                     lambda y: ada.transform(y, ada.matrix(drawn))):
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        results.append((y.detach(), torch.autograd.grad((y * weight).sum(), leaf)[0]))
    return [(float((a - b).abs().max()), float(a.abs().max())) for a, b in zip(*results)]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    repository = Path(sys.argv[1])
    if not (repository / "training/augment.py").is_file():
        sys.exit(f"{repository}: no training/augment.py in it")
    sys.path.insert(0, str(repository))
    import training.augment as module

    torch.manual_seed(1)
    worst = 0
    for side, channels, count in CASES:
        rows = compare(module, side, channels, count)
        worst = max(worst, *(difference / largest for difference, largest in rows))
        print(f"{side:3}², {channels} channels: images {rows[0][0]:.1e} ({rows[0][1]:.2g}), "
              f"gradients {rows[1][0]:.1e} ({rows[1][1]:.2g})")
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
