#!/usr/bin/env python3
"""How long a whole audit takes: all searches, all statistics, every control image.

    whole_audit.py LETHE FOLDER SUBJECTS IMAGES [THREADS]

Makes so many deformed heads (lethe phantom --template), ingests them as 4 × 256 × 256 with a quarter
of the subjects held out, and audits so many strangers: slices of half of these, moved by up to three
pixels, with a gain, a gamma and noise. FOLDER keeps the store, to be used again. Takes NumPy and
Debian's mricron-data. Prints images, seconds, processor seconds, and peak memory in MB.
"""
import csv
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

LETHE, FOLDER = (Path(word).resolve() for word in sys.argv[1:3])
SUBJECTS, IMAGES = (int(word) for word in sys.argv[3:5])
THREADS = sys.argv[5:6]
TEMPLATE = "/usr/share/mricron/templates/ch2bet.nii.gz"


def lethe(*words):
    subprocess.run([LETHE, *map(str, words), "--quiet"], cwd=FOLDER, check=True)


def make_store():
    if not (FOLDER / "cohort").exists():
        lethe("phantom", "--subjects", SUBJECTS, "--size", 240, "--template", TEMPLATE, "--out",
              "cohort")
    lethe("ingest", "--source", "cohort", "--out", "store", "--holdout", .25)


def make_strangers():
    images = np.load(FOLDER / "store" / "images.npy", mmap_mode="r")
    rows = list(csv.DictReader((FOLDER / "store" / "index.csv").open()))
    held = [i for i, row in enumerate(rows) if row["split"] == "holdout"]
    names = sorted({rows[i]["subject"] for i in held})
    slices = [i for i in held if rows[i]["subject"] in names[len(names) // 2:]]
    random = np.random.default_rng(9)
    made = np.lib.format.open_memmap(FOLDER / "strangers.npy", "w+", np.uint8,
                                     (IMAGES, *images.shape[1:]))
    for i in range(IMAGES):
        image = images[random.choice(slices)].astype(np.float32)
        image = np.roll(image, tuple(random.integers(-3, 4, 2)), (1, 2))
        seen = 255 * random.uniform(.8, 1.2) * (image / 255) ** random.uniform(.85, 1.18)
        seen += random.normal(0, random.uniform(2, 6), image.shape)
        made[i] = np.where(image > 0, np.clip(seen, 0, 255), 0)


FOLDER.mkdir(parents=True, exist_ok=True)
if not (FOLDER / "store").exists():
    make_store()
make_strangers()
subprocess.run(["rm", "-rf", FOLDER / "audit"], check=True)
before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
lethe("audit", "--train", "store", "--synthetic", "strangers.npy", "--out", "audit",
      *(["--threads", *THREADS] if THREADS else []))
after = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{IMAGES} images: {time.time() - started:.0f} s, processor "
      f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.0f} s, "
      f"{after.ru_maxrss / 1000:.0f} MB")
