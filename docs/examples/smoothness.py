#!/usr/bin/env python3
"""What an audit flags when all synthetic images are smoother, or noisier, than real ones.

    smoothness.py LETHE STORE FOLDER

STORE: 200 subjects, as ./dev bench audit-power makes them (build/bench/audit-power/heads). The last
channel of 50 is the training set, of 60 the control; slices of 40 more are strangers, and a hundred
training images are copies, all blurred or with noise. Each such set is audited against the control
as it is and against one made as smooth (--control matched_holdout). Prints a row for each.
Takes NumPy and SciPy; whole images only (--no-transforms --no-tiles), a few minutes.
"""
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

LETHE, STORE, FOLDER = (Path(word).resolve() for word in sys.argv[1:])
IMAGES = np.load(STORE / "images.npy", mmap_mode="r")
SUBJECT = np.array([row["subject"] for row in csv.DictReader((STORE / "index.csv").open())])
NAMES = sorted(set(SUBJECT))
RANDOM = np.random.default_rng(1)


def rows(first, last):
    return np.flatnonzero(np.isin(SUBJECT, NAMES[first:last]))


def whole(values):
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def plain(image, _):
    return image


def blur(image, sigma):
    return whole(gaussian_filter(image.astype(float), sigma))


def noise(image, sigma):
    return whole(image + RANDOM.normal(0, sigma, image.shape))


def write(name, chosen, change=plain, sigma=0):
    np.save(FOLDER / f"{name}.npy", np.stack([change(IMAGES[i, -1], sigma) for i in chosen]))
    (FOLDER / f"{name}.csv").write_text("subject\n" + "".join(f"{SUBJECT[i]}\n" for i in chosen))


def audit(control):
    out = FOLDER / "out"
    subprocess.run(["rm", "-rf", out], check=True)
    subprocess.run([LETHE, "audit", "--train", "train.npy", "--subjects", "train.csv", "--holdout",
                    "holdout.npy", "--holdout-subjects", "holdout.csv", "--synthetic",
                    "synthetic.npy", "--control", control, "--no-transforms", "--no-tiles",
                    "--pairs", "0", "--quiet", "--out", out], cwd=FOLDER, check=True,
                   capture_output=True)
    return json.loads((out / "memorization.json").read_text())


FOLDER.mkdir(parents=True)
write("train", rows(0, 50))
write("holdout", rows(50, 110))
kinds = {"strangers": rows(160, 200)[::2], "copies": rows(0, 50)[::26][:100]}
changes = [(plain, 0), (blur, 0.5), (blur, 1), (blur, 2), (noise, 6), (noise, 12), (noise, 25), (noise, 50)]
print("images, change, sigma, smoother, flagged against the holdout, against the matched holdout")
for kind, chosen in kinds.items():
    for change, sigma in changes:
        write("synthetic", chosen, change, sigma)
        one, two = audit("holdout"), audit("matched_holdout")
        print(f"{len(chosen)} {kind}, {change.__name__}, {sigma}, "
              f"{one['smoothness']['smoother']['value']:.3f}, {one['flagged']['count']}, "
              f"{two['flagged']['count']}", flush=True)
