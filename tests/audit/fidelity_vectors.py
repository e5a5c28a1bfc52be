#!/usr/bin/env python3
"""Measures of fidelity of made-up features: tests/golden/fidelity.txt, a line a case, its sets and
then kid, fid, precision, recall, density, coverage and the inception score of a classifier of made-up
weights.

    fidelity_vectors.py            holds the file against NumPy (what ctest does)
    fidelity_vectors.py --write    writes it

Written from the papers' definitions, pair by pair; images of one person (`slices` in a row) are no
pair and no neighbours. With one slice each these are the published definitions, in which torch-
fidelity's and prdc's numbers agree.
"""
import sys
from pathlib import Path

import numpy as np
from scipy.linalg import sqrtm

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "fidelity.txt"
# images, images of a person: of the set, then of the reference; features; spread, shift of the set
CASES = [
    (12, 1, 11, 1, 4, 1.0, 0.0),
    (40, 1, 36, 3, 16, 1.0, 0.25),
    (37, 2, 41, 4, 64, 0.5, 0.1),
    (300, 1, 270, 5, 8, 1.0, 0.05),
    (9, 1, 300, 10, 32, 0.25, 0.5),
    (260, 4, 20, 1, 16, 0.8, 0.0),
]
CLASSES = 7


def features(first, count, width):
    """Uniform in [0, 1), from a hash of the place: the same in C."""
    x = np.arange(first * width, (first + count) * width, dtype=np.uint64) & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint64(shift)
        x = (x * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    return ((x >> np.uint64(8)).astype(np.float32) / np.float32(1 << 24)).reshape(count, width)


def kernel(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


def kid(x, px, y, py):
    def within(a, people):
        others = people[:, None] != people[None, :]
        return kernel(a, a)[others].mean()

    return within(x, px) + within(y, py) - 2 * kernel(x, y).mean()


def root(a):
    values, vectors = np.linalg.eigh(a)
    return vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T


def fid(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    between = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a) + np.trace(b)
    together = np.linalg.svd((x - x.mean(0)) @ (y - y.mean(0)).T, compute_uv=False).sum()
    together /= np.sqrt((len(x) - 1) * (len(y) - 1))
    half = root(a)  # as others compute it: good to half the digits where a or b is singular
    usual = np.sqrt(np.clip(np.linalg.eigvalsh(half @ b @ half), 0, None)).sum()
    assert abs(together - usual) < 1e-7, (together, usual)
    if min(len(x), len(y)) > 2 * x.shape[1]:  # where the first of all ways has no trouble
        usual = np.trace(sqrtm(a @ b)).real
        assert abs(together - usual) < 1e-9, (together, usual)
    return between - 2 * together


def distances(a, b):
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(2))


def radius(a, people, k):
    d = distances(a, a)
    d[people[:, None] == people[None, :]] = np.inf
    return np.sort(d, axis=1)[:, k - 1]


def inception_score(x, weights):
    """As the official code's, of one split."""
    logits = x @ weights.T
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())


def measures(n, n_slices, m, m_slices, width, spread, shift):
    x = (features(0, n, width) * np.float32(spread) + np.float32(shift)).astype(np.float64)
    y = features(n, m, width).astype(np.float64)
    px, py = np.arange(n) // n_slices, np.arange(m) // m_slices
    weights = (features(n + m, CLASSES, width) * np.float32(8) - np.float32(4)).astype(np.float64)
    d = distances(x, y)
    return (
        kid(x, px, y, py),
        fid(x, y),
        (d <= radius(y, py, 3)[None, :]).any(1).mean(),
        (d <= radius(x, px, 3)[:, None]).any(0).mean(),
        (d <= radius(y, py, 5)[None, :]).sum(1).mean() / 5,
        (d.min(0) <= radius(y, py, 5)).mean(),
        inception_score(x, weights),
    )


rows = [(case, measures(*case)) for case in CASES]
if sys.argv[1:] == ["--write"]:
    GOLDEN.write_text("".join("%d %d %d %d %d %g %g" % case + "".join(" %.15g" % v for v in values) +
                              "\n" for case, values in rows))
lines = [line.split() for line in GOLDEN.read_text().splitlines()]
assert len(lines) == len(CASES)
for words, (case, values) in zip(lines, rows):
    for word, value in zip(words, case + values):
        assert abs(float(word) - value) <= 1e-9, (words, case, values)
