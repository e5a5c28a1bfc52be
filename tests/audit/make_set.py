#!/usr/bin/env python3
"""A small set of smooth images for tests of commands; with "nan", image 3 has a NaN.

    make_set.py FILE.npy SEED COUNT CHANNELS SIDE [TYPE [nan]]

"""
import sys

import numpy as np


def make(path, seed, count, channels, side, kind="uint8", nan=False):
    y, x = np.mgrid[0:side, 0:side] / side
    random = np.random.default_rng(seed)
    w = random.normal(size=(count, channels, 4, 4, 1, 1))
    waves = w[:, :, :, 0] * np.cos(
        2 * np.pi * (w[:, :, :, 1] * x + w[:, :, :, 2] * y) + w[:, :, :, 3])
    a = 110 + 30 * waves.sum(2) + random.normal(0, 4, (count, channels, side, side))
    a = np.clip(a, 0, 255).round().astype(kind)
    if nan:
        a[3, 0, 1, 2] = np.nan
    np.save(path, a)


if __name__ == "__main__":
    make(sys.argv[1], *map(int, sys.argv[2:6]), *sys.argv[6:7], nan=sys.argv[7:] == ["nan"])
