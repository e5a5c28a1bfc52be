#!/usr/bin/env python3
"""The audit's measures from the literature on sets that strain them: a few images, subjects of one
slice beside subjects of many, images that stand in a set twice. Computed again from their papers'
definitions with NumPy and SciPy, intervals from all resamplings of subjects that there are.

    companions_check.py LETHE
"""
import itertools
import json
import subprocess
import sys
import tempfile
from math import factorial, prod
from pathlib import Path

import numpy as np
from scipy.stats import beta, rankdata

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-companions-"))
RANDOM = np.random.default_rng(11)
SIDE, CELL, DRAWS = 8, 20, 4000


def images(slices, spread, twice=0):
    """So many slices of each subject, alike within one; the first `twice` images stand there again
    at the end, as the last subject's."""
    anatomy = 90 * np.exp(-np.add.outer((np.arange(SIDE) - 3.5)**2, (np.arange(SIDE) - 3)**2) / 9)
    whole, whose = [], []
    for subject, count in enumerate(slices):
        head = anatomy + RANDOM.normal(0, spread, (SIDE, SIDE))
        for _ in range(count):
            whole.append(60 + head + RANDOM.normal(0, 9, (SIDE, SIDE)))
            whose.append(subject)
    whole = np.clip(np.round(whole), 0, 255).astype(np.uint8)
    return np.concatenate([whole, whole[:twice]]), np.array(whose + [whose[-1]] * twice)


def correlations(a, b):
    def unit(x):
        x = x.reshape(len(x), -1).astype(float)
        x -= x.mean(1, keepdims=True)
        return x / np.sqrt((x**2).sum(1, keepdims=True))

    return np.round(unit(a) @ unit(b).T, 12)  # equal ones are equal


def distance(r):
    return np.sqrt(np.maximum(0, 2 - 2 * r))


def close(seen, wanted, what):
    assert abs(seen - wanted) <= 1e-7 * max(1, abs(wanted)), (what, seen, wanted)


def check_share(seen, twice, of, what):
    count = twice // 2
    assert (seen["count"], seen["of"]) == (count, of), (what, seen, count, of)
    close(seen["fraction"], twice / 2 / of, what)
    close(seen["lower95"], beta.ppf(0.025, count, of - count + 1) if count else 0, what)
    close(seen["upper95"], beta.ppf(0.975, count + 1, of - count) if count < of else 1, what)


# ---- C_T and the attack, of weighted images ------------------------------------------------------


def mann_whitney(a, b):
    """z, negative where a's values are the smaller, with the correction for ties."""
    m, n = len(a), len(b)
    ranks = rankdata(np.concatenate([a, b]))
    u = ranks[:m].sum() - m * (m + 1) / 2
    _, ties = np.unique(np.concatenate([a, b]), return_counts=True)
    variance = m * n / 12 * (m + n + 1 - (ties**3 - ties).sum() / ((m + n) * (m + n - 1)))
    return (u - m * n / 2) / np.sqrt(variance) if variance > 0 else 0


def cells_of(first, second):
    """Cells of 20 images of both kinds each; the rest together, where they are as many or alone."""
    names = np.unique(np.concatenate([first, second]))
    large = [c for c in names if min((first == c).sum(), (second == c).sum()) >= CELL]
    rest = [c for c in names if c not in large]
    enough = min(np.isin(first, rest).sum(), np.isin(second, rest).sum()) >= CELL
    return [[c] for c in large] + ([rest] if rest and (enough or not large) or not large else [])


def copying(first, first_cell, second, second_cell, cells, times=(1, 1)):
    total = weight = 0
    for names in cells:
        a = np.repeat(first, np.where(np.isin(first_cell, names), times[0], 0))
        b = np.repeat(second, np.where(np.isin(second_cell, names), times[1], 0))
        if len(a) and len(b):
            total += len(b) * mann_whitney(a, b)
            weight += len(b)
    return total / weight if weight else 0


def attack(members, others, weights=None):
    """Area under the curve, and the rates at 1 % and at 0.1 %."""
    m, n = weights if weights else (np.ones(len(members)), np.ones(len(others)))
    below = (members[:, None] < others[None]) + 0.5 * (members[:, None] == others[None])
    rates = []
    for rate in (0.01, 0.001):
        caught = 0
        for cut in np.unique(np.concatenate([members, others])):
            if n[others <= cut].sum() <= rate * n.sum() * (1 + 1e-12):
                caught = max(caught, m[members <= cut].sum())
        rates.append(caught / m.sum())
    return [m @ below @ n / (m.sum() * n.sum()), *rates]


def resamplings(groups):
    """How often each image is drawn, and how likely that is."""
    names, n = np.unique(groups), len(np.unique(groups))
    for drawn in itertools.combinations_with_replacement(range(n), n):
        times = np.bincount(drawn, minlength=n)
        ways = factorial(n) / prod(factorial(int(k)) for k in times)
        yield times[np.searchsorted(names, groups)], ways / n**n


def check_interval(interval, values, weights, draws, what):
    """Its ends leave 2.5 % on either side, but for what drawing misses."""
    miss = 5 * np.sqrt(0.025 * 0.975 * (1 / DRAWS + (1 / draws if draws else 0)))
    for end, below in zip(interval, (0.025, 0.975)):
        near = 1e-7 * max(1, abs(end))
        less, up_to = weights[values < end - near].sum(), weights[values <= end + near].sum()
        assert less <= below + miss and up_to >= below - miss, (what, interval, less, up_to)


# ---- one world -----------------------------------------------------------------------------------


def write(name, pixels, whose):
    np.save(HERE / f"{name}.npy", pixels)
    (HERE / f"{name}.csv").write_text("subject\n" + "".join(f"{name}{w}\n" for w in whose))


def audit(neighbours):
    out = HERE / "out"
    subprocess.run(["rm", "-rf", str(out)], check=True)
    words = [LETHE, "audit", "--train", HERE / "train.npy", "--subjects", HERE / "train.csv",
             "--holdout", HERE / "holdout.npy", "--holdout-subjects", HERE / "holdout.csv",
             "--synthetic", HERE / "synthetic.npy", "--out", out, "--no-transforms", "--no-tiles",
             "--pairs", "0", "--bootstrap", DRAWS, "--neighbours", neighbours, "--quiet"]
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    return json.loads((out / "memorization.json").read_text())


def check(train_slices, held_slices, made_slices, spread=16, twice=0, copies=0):
    what = (train_slices, held_slices, made_slices)
    train, whose = images(train_slices, spread, twice)
    held, held_whose = images(held_slices, spread)
    made, _ = images(made_slices, spread)
    if copies:
        made[:copies] = train[RANDOM.choice(len(train), copies)]
    write("train", train, whose)
    write("holdout", held, held_whose)
    np.save(HERE / "synthetic.npy", made)
    document = audit(min(6, len(train)))
    companions = document["companions"]

    def nearest(r):
        order = np.lexsort((np.broadcast_to(np.arange(r.shape[1]), r.shape), -r), axis=-1)
        return order[:, 0]

    to_train, from_held = correlations(made, train), correlations(held, train)
    near, held_near = distance(to_train.max(1)), distance(from_held.max(1))
    unseen = from_held.max(1) < 1
    within = correlations(train, train)
    within[whose[:, None] == whose[None]] = -3
    if len(set(whose)) > 1:
        reach = distance(within.max(1))[nearest(to_train)]
        check_share(companions["authenticity"], 2 * int((near > reach).sum()), len(made), what)
    to_held = distance(correlations(made, held).max(1))
    twice_below = 2 * int((near < to_held).sum()) + int((near == to_held).sum())
    check_share(companions["dcr"], twice_below, len(made), what)
    close(companions["dcr"]["expected"], len(train) / (len(train) + len(held)), what)

    # C_T
    cell, held_cell = whose[nearest(to_train)], whose[nearest(from_held)][unseen]
    seen, cells = companions["ct"], cells_of(cell, held_cell)
    parts = (near, cell, held_near[unseen], held_cell)
    assert seen["cells"] == len(cells), (what, seen, cells)
    close(seen["value"], copying(*parts, cells), what)
    close(seen["z_without_cells"], mann_whitney(near, held_near[unseen]), what)
    subjects = held_whose[unseen]
    if len(made) < 2 or len(set(subjects)) < 2:
        assert seen["interval"] == [None, None], (what, seen)
    else:
        drawn = []
        for _ in range(1500):
            own = np.bincount(RANDOM.integers(0, len(made), len(made)), minlength=len(made))
            whom = RANDOM.choice(np.unique(subjects), len(set(subjects)))
            drawn.append(copying(*parts, cells, (own, (subjects[:, None] == whom).sum(1))))
        check_interval(seen["interval"], np.array(drawn), np.full(1500, 1 / 1500), 1500, what)

    # the attack
    members = distance(correlations(train, made).max(1))
    others = distance(correlations(held, made).max(1))
    mia = companions["mia"]
    assert (mia["members"], mia["non_members"]) == (len(train), len(held))
    seen = [mia["auc"], mia["tpr_at_1_percent"], mia["tpr_at_0_1_percent"]]
    assert [s["supported"] for s in seen[1:]] == [len(held) >= 100, len(held) >= 1000]
    for part, value in zip(seen, attack(members, others)):
        close(part["value"], value, what)
    if len(set(whose)) < 2 or len(set(held_whose)) < 2:
        assert all(part["interval"] == [None, None] for part in seen), (what, seen)
        return document
    every = [(attack(members, others, (m, n)), p * q)
             for m, p in resamplings(whose) for n, q in resamplings(held_whose)]
    weights = np.array([weight for _, weight in every])
    for number, part in enumerate(seen):
        values = np.array([numbers[number] for numbers, _ in every])
        check_interval(part["interval"], values, weights, 0, (what, number))
    return document


def main():
    check([9, 1, 1], [1, 7, 1, 2], [3, 1])
    check([1, 1], [1, 1], [1])  # an image each
    check([2, 30, 1, 1], [25, 1, 1], [40], twice=5, copies=3)
    check([60, 3, 1], [45, 30, 2], [90, 20], spread=24, twice=2, copies=20)
    check([70, 65], [50, 55, 40], [60, 60], spread=30)  # cells of their own
    one = check([12, 3], [30], [25, 25])  # one unseen subject alone
    across = one["calibration"]["across_subjects"]["subjects"]
    assert across["of"] == 0 and across["fraction"] is None, across
    assert one["preparation"]["farther"]["interval"] == [None, None]
    assert one["smoothness"]["smoother"]["interval"] == [None, None]
    check([40], [5, 6, 2], [8, 8])  # one training subject alone
    subprocess.run(["rm", "-r", str(HERE)], check=True)
    print("every measure agrees")


main()
