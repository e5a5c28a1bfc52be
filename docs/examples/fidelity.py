#!/usr/bin/env python3
"""What `lethe fidelity` says of sets whose faults are known.

    fidelity.py LETHE STORE FOLDER [OPTION ...]

STORE: 200 subjects, as ./dev bench audit-power makes them (build/bench/audit-power/heads). The last
channel of 50 is the training set, of 60 the holdout, every tenth slice; the set that is measured is
made of slices of 40 more: as they are, blurred, with noise, of few people, of few heights in the
head; and of copies of training images. Prints a row for each, the control's values in brackets.
Options are those of lethe fidelity, as --network radimagenet, or --weights with an absolute path.
Takes NumPy and SciPy; six minutes on two cores.
"""
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

LETHE, STORE, FOLDER = (Path(word).resolve() for word in sys.argv[1:4])
OPTIONS = sys.argv[4:]
IMAGES = np.load(STORE / "images.npy", mmap_mode="r")
SUBJECT = np.array([row["subject"] for row in csv.DictReader((STORE / "index.csv").open())])
NAMES = sorted(set(SUBJECT))
RANDOM = np.random.default_rng(1)


def rows(first, last, step=1):
    return np.flatnonzero(np.isin(SUBJECT, NAMES[first:last]))[::step]


def write(name, chosen, change=lambda image: image):
    changed = [np.clip(np.round(change(IMAGES[i, -1].astype(float))), 0, 255) for i in chosen]
    np.save(FOLDER / f"{name}.npy", np.stack(changed).astype(np.uint8))
    (FOLDER / f"{name}.csv").write_text("subject\n" + "".join(f"{SUBJECT[i]}\n" for i in chosen))


def of_heights(chosen, share):
    """Those slices of each subject that lie lowest."""
    kept = []
    for name in NAMES:
        of_one = [i for i in chosen if SUBJECT[i] == name]
        kept += of_one[:max(1, int(len(of_one) * share))]
    return kept


def measure():
    out = FOLDER / "out"
    subprocess.run(["rm", "-rf", out], check=True)
    subprocess.run([LETHE, "fidelity", "--train", "train.npy", "--subjects", "train.csv",
                    "--holdout", "holdout.npy", "--holdout-subjects", "holdout.csv",
                    "--synthetic", "synthetic.npy", "--quiet", "--out", out, *OPTIONS],
                   cwd=FOLDER, check=True)
    return json.loads((out / "fidelity.json").read_text())["mean"]


def beside(number):
    """The value and, in brackets, the control's."""
    control = number["control"]
    control = control["value"] if isinstance(control, dict) else control
    return f"{number['value']:.3g} ({control:.3g})"


def kid(number):
    low, high = number["interval"]
    return f"{1e3 * number['value']:.2f} ({1e3 * low:.2f} … {1e3 * high:.2f})"


FOLDER.mkdir(parents=True)
write("train", rows(0, 50, 10))
write("holdout", rows(50, 110, 10))
strangers = rows(160, 200, 8)
sets = [
    ("strangers", strangers, lambda image: image),
    ("blurred by ½ pixel", strangers, lambda image: gaussian_filter(image, 0.5)),
    ("1 pixel", strangers, lambda image: gaussian_filter(image, 1)),
    ("2 pixels", strangers, lambda image: gaussian_filter(image, 2)),
    ("noise of σ 6", strangers, lambda image: image + RANDOM.normal(0, 6, image.shape)),
    ("25", strangers, lambda image: image + RANDOM.normal(0, 25, image.shape)),
    ("of three people", rows(160, 163), lambda image: image),
    ("the lower third of heads", of_heights(rows(160, 200, 3), 1 / 3), lambda image: image),
    ("copies of training images", rows(0, 50, 10)[::2], lambda image: image),
]
print("| set | images | kid · 10³ | fid | precision | recall | coverage | fid against training |")
for name, chosen, change in sets:
    write("synthetic", chosen, change)
    mean = measure()
    of = mean["holdout"]
    print(f"| {name} | {len(chosen)} | {kid(of['kid'])} |",
          " | ".join(beside(of[m]) for m in ["fid", "precision", "recall", "coverage"]), "|",
          beside(mean["training"]["fid"]), "|", flush=True)
