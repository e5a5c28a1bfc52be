#!/usr/bin/env python3
"""lethe membership: killed and resumed it ends with the bytes of a run in one go, of any number of
threads; an image's score does not depend on which others are asked about; its numbers are those of
its tables; a model that learnt next to nothing tells nobody; one whose training images are all alike
knows them.

    membership_check.py LETHE
"""
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-membership-"))
NAMES = ["membership.json", "scores.csv", "subjects.csv"]
SIDE, PEOPLE, SLICES = 8, 8, 3


def store(name, images):
    """The first half of the people train, two neighbours of each other's rows are one person."""
    folder = HERE / (name + ".npy.d")
    folder.mkdir()
    np.save(folder / "images.npy", images)
    rows = [f"person-{i // SLICES:02d}" for i in range(len(images))]
    (folder / "subjects.csv").write_text(
        "file,subject\n" + "".join(f"images.npy,{who}\n" for who in rows))
    (folder / "split.csv").write_text("subject,split\n" + "".join(
        f"person-{p:02d},{'train' if p < PEOPLE // 2 else 'holdout'}\n" for p in range(PEOPLE)))
    lethe("ingest", "--layout", "npy", "--source", folder, "--out", name, "--intensity", "none",
          "--canvas", SIDE, "--keep-share", "0", "--keep-above", "0", "--channels", "image",
          "--subjects-file", folder / "subjects.csv", "--split-file", folder / "split.csv")


def lethe(*arguments):
    subprocess.run([LETHE, *map(str, arguments), "--quiet"], cwd=HERE, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def train(model, data, images, *more):
    small = {"ddpm": ["--base", "32", "--mult", "1", "--blocks", "1", "--attention", "0", "--heads",
                      "1", "--dropout", "0"],
             "stylegan2": ["--z-width", "8", "--w-width", "8", "--mapping-layers", "2",
                           "--channel-base", "64", "--channel-max", "8"]}
    out = f"{model}-{data}"
    lethe("train", "--model", model, "--dataset", data, "--out", out, "--batch", "8", "--images",
          images, "--threads", "1", *small[model], *more)
    return out


def start(model, data, out, *more):
    return subprocess.Popen([LETHE, "membership", "--from", model, "--dataset", data, "--out", out,
                             "--bootstrap", "120", "--quiet", *more],
                            cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ask(model, data, out, *more):
    process = start(model, data, out, *more)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert sorted(p.name for p in (HERE / out).iterdir()) == NAMES, list((HERE / out).iterdir())
    return [(HERE / out / name).read_bytes() for name in NAMES]


def table(out, name):
    with open(HERE / out / name) as file:
        return list(csv.DictReader(file))


def area(rows):
    scores = {side: np.array([float(row["score"]) for row in rows if row["set"] == side])
              for side in ("train", "holdout")}
    a, b = scores["train"][:, None], scores["holdout"][None]
    return ((a > b) + (a == b) / 2).mean()


random = np.random.default_rng(1)
store("noise", random.integers(0, 256, (PEOPLE * SLICES, SIDE, SIDE), dtype=np.uint8))
ddpm = train("ddpm", "noise", 16)
whole = ask(ddpm, "noise", "whole", "--threads", "1", "--draws", "2")

process = start(ddpm, "noise", "out", "--threads", "1", "--draws", "2")
while not list((HERE / "out").glob("scores.drawn/batch-*")) and process.poll() is None:
    time.sleep(0.002)
assert process.poll() is None, "it ended before it could be killed"
process.kill()
process.communicate()
assert not (HERE / "out" / "membership.json").exists()
assert ask(ddpm, "noise", "out", "--threads", "2", "--draws", "2") == whole

document = json.loads(whole[0])
images, subjects = table("whole", "scores.csv"), table("whole", "subjects.csv")
assert abs(document["images"]["auc"]["value"] - area(images)) < 1e-9
assert abs(document["subjects"]["auc"]["value"] - area(subjects)) < 1e-9
for row in subjects:
    own = [float(image["score"]) for image in images if image["subject"] == row["subject"]]
    assert abs(np.mean(own) - float(row["score"])) < 1e-6 and len(own) == int(row["images"])
losses = [key for key in images[0] if key.startswith("loss_at_")]
for row in images:
    mean = -np.mean(np.log([float(row[key]) for key in losses]))
    assert abs(mean - float(row["score"])) < 1e-6

ask(ddpm, "noise", "some", "--threads", "1", "--draws", "2", "--images", "7")
some = table("some", "scores.csv")
assert len(some) == 14
assert all(row in images for row in some), "a score depends on others"

for model in (ddpm, train("stylegan2", "noise", 16)):
    said = json.loads(ask(model, "noise", "nothing-" + model, "--threads", "1", "--draws", "1")[0])
    for unit in ("images", "subjects"):
        auc = said[unit]["auc"]
        assert auc["lower95"] <= 0.5 <= auc["upper95"], (model, unit, auc)
        assert not said[unit]["tells_apart"], (model, unit, auc)
    assert not any("tells images that it was trained on" in line for line in said["warnings"])

# Training images of one kind, held-out ones of another: whatever was learnt, these are known better.
y, x = np.mgrid[0:SIDE, 0:SIDE]
others = random.integers(0, 256, (PEOPLE * SLICES // 2, SIDE, SIDE))
alike = np.repeat((30 * x)[None], PEOPLE * SLICES // 2, 0) + random.integers(0, 9, others.shape)
store("alike", np.concatenate([alike, others]).astype(np.uint8))
for model, count in (("ddpm", 96), ("stylegan2", 240)):
    name = train(model, "alike", count, "--rate", "3e-3")
    said = json.loads(ask(name, "alike", "known-" + model, "--threads", "1", "--draws", "1")[0])
    assert said["images"]["auc"]["value"] > 0.9, (model, said["images"])
    assert said["images"]["tells_apart"], (model, said["images"])
    assert any("tells images that it was trained on" in line for line in said["warnings"])
    assert any("differ by themselves" in line for line in said["warnings"]), said["warnings"]

subprocess.run(["rm", "-rf", HERE], check=True)
print("the same bytes after a kill; scores of their own; numbers of the tables; who is known")
