#!/usr/bin/env python3
"""Exact binomial intervals: tests/golden/binomial.txt, a line "hits trials confidence low high".

    statistics_vectors.py            holds the file against SciPy (what ctest does)
    statistics_vectors.py --write    writes it: SciPy's values, refined with 50 digits (needs mpmath)

The C code is tested against this file to 1e-12. SciPy 1.10 itself is off by up to 9.5e-13.
"""
import sys
from pathlib import Path

from scipy.stats import beta

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "binomial.txt"
CASES = [
    (0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (1, 100), (50, 100), (99, 100), (0, 900), (1, 900),
    (25, 900), (899, 900), (7, 1999), (0, 10000), (3, 10000), (10, 10000), (5000, 10000),
    (9999, 10000), (0, 100000), (12, 100000), (100, 100000), (99950, 100000), (1, 1000000),
    (1000, 1000000), (500000, 1000000),
]


def scipy_root(n, k, tail):
    """The p with P(X >= k) = tail for X ~ Bin(n, p)."""
    return float(beta.ppf(tail, k, n - k + 1))


def refined_root(n, k, tail):
    import mpmath

    mpmath.mp.dps = 50
    p = mpmath.mpf(scipy_root(n, k, tail))
    for _ in range(4):
        log = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
        probability = term = mpmath.exp(log + k * mpmath.log(p) + (n - k) * mpmath.log1p(-p))
        total, j = term, k
        while j < n and (j <= n * p or term > total * mpmath.mpf(10) ** -40):
            term *= mpmath.mpf(n - j) / (j + 1) * p / (1 - p)
            total += term
            j += 1
        p -= (total - tail) / (k / p * probability)
    return float(p)


def rows(root):
    for hits, trials in CASES:
        for confidence in (0.95, 0.99):
            side = (1 - confidence) / 2
            low = root(trials, hits, side) if hits else 0.0
            high = root(trials, hits + 1, 1 - side) if hits < trials else 1.0
            yield hits, trials, confidence, low, high


if sys.argv[1:] == ["--write"]:
    GOLDEN.write_text("".join("%d %d %.17g %.17g %.17g\n" % row for row in rows(refined_root)))
lines = [line.split() for line in GOLDEN.read_text().splitlines()]
assert len(lines) == 2 * len(CASES)
for words, row in zip(lines, rows(scipy_root)):
    for word, value in zip(words, row):
        assert abs(float(word) - value) <= 2e-12 * abs(value), (words, row)
