#!/usr/bin/env python3
"""lethe membership: killed and resumed it ends with the bytes of a run in one go, of any number of
threads; an image's score does not depend on which others are asked about; its numbers are those of
its tables (membership_numbers.py); a model that learnt next to nothing tells nobody; one whose
training images are all alike knows them. References calibrate scores, and tell nobody who was held
out. And what makes a verdict wrong: few people, candidates, one
score for all, unlike numbers of images, images in both sets, numbers that overflow.

    membership_check.py LETHE KILL-SHIM
"""
import csv
import hashlib
import json
import math
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import kills
import membership_numbers
import numpy as np

LETHE = str(Path(sys.argv[1]).resolve())
KILLS = kills.Kills(str(Path(sys.argv[2]).resolve()))
HERE = Path(tempfile.mkdtemp(prefix="lethe-membership-"))
NAMES = ["membership.json", "scores.csv", "subjects.csv"]
SIDE, PEOPLE, SLICES = 8, 8, 3


def arrays(name, images, train, holdout):
    """So many images of each person; training's first. Who are all held out are other people."""
    folder, counts = HERE / (name + ".npy.d"), train + holdout
    folder.mkdir()
    np.save(folder / "images.npy", images)
    names = [f"{'person' if train else 'other'}-{p:02d}" for p in range(len(counts))]
    rows = [who for who, count in zip(names, counts) for _ in range(count)]
    assert len(rows) == len(images)
    (folder / "subjects.csv").write_text(
        "file,subject\n" + "".join(f"images.npy,{who}\n" for who in rows))
    (folder / "split.csv").write_text("subject,split\n" + "".join(
        f"{who},{'train' if p < len(train) else 'holdout'}\n" for p, who in enumerate(names)))
    return folder


def store(name, images, train=[SLICES] * (PEOPLE // 2), holdout=[SLICES] * (PEOPLE // 2)):
    folder = arrays(name, images, train, holdout)
    lethe("ingest", "--layout", "npy", "--source", folder, "--out", name, "--intensity", "none",
          "--canvas", SIDE, "--keep-share", "0", "--keep-above", "0", "--channels", "image",
          "--subjects-file", folder / "subjects.csv", "--split-file", folder / "split.csv")


def noise(count):
    return random.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8)


def alike(count):
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return np.repeat((30 * x)[None], count, 0).astype(np.uint8) + random.integers(
        0, 9, (count, SIDE, SIDE), dtype=np.uint8)


def lethe(*arguments):
    subprocess.run([LETHE, *map(str, arguments), "--quiet"], cwd=HERE, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def train(model, data, images, *more, out=None):
    small = {"ddpm": ["--base", "32", "--mult", "1", "--blocks", "1", "--attention", "0", "--heads",
                      "1", "--dropout", "0"],
             "stylegan2": ["--z-width", "8", "--w-width", "8", "--mapping-layers", "2",
                           "--channel-base", "64", "--channel-max", "8"]}
    out = out or f"{model}-{data}"
    lethe("train", "--model", model, "--dataset", data, "--out", out, "--batch", "8", "--images",
          images, "--threads", "1", *small[model], *more)
    return out


def start(model, data, out, *more, env=None):
    return subprocess.Popen([LETHE, "membership", "--from", model, "--dataset", data, "--out", out,
                             "--bootstrap", "120", "--quiet", *more],
                            cwd=HERE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True)


def ask(model, data, out, *more):
    process = start(model, data, out, *more)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert sorted(p.name for p in (HERE / out).iterdir()) == NAMES, list((HERE / out).iterdir())
    return [(HERE / out / name).read_bytes() for name in NAMES]


def told(model, data, out, beside=None):
    """What it says, which is what its tables say; beside: a store of other people, held out."""
    ask(model, data, out, "--threads", "1", "--draws", "1", *(["--holdout", beside] if beside else []))
    return membership_numbers.check(HERE / out, HERE / data, beside and HERE / beside)


def refused(words, model, data, *more):
    process = start(model, data, "refused", *more)
    _, said = process.communicate()
    assert process.returncode == 2 and words in said, said
    assert not (HERE / "refused").exists() or not (HERE / "refused/membership.json").exists()


def change(model, out, **tensors):
    """A copy of a training whose tensors are numbers, or functions of what they were."""
    (HERE / out / "checkpoints").mkdir(parents=True)
    for path in (HERE / model / "checkpoints").iterdir():
        whole = bytearray(path.read_bytes())
        start = 8 + struct.unpack("<Q", whole[:8])[0]
        for name, entry in json.loads(whole[8:start]).items():
            for key, to in tensors.items():
                if name == "D.b4." + key.replace("_", "."):
                    begin, end = (start + at for at in entry["data_offsets"])
                    was = np.frombuffer(bytes(whole[begin:end]), "<f4")
                    now = to(was) if callable(to) else np.full(was.shape, to)
                    whole[begin:end] = now.astype("<f4").tobytes()
        (HERE / out / "checkpoints" / path.name).write_bytes(whole)
    return out


def digest_of(data):
    """The one by which a checkpoint names a store: of those that dataset.json states."""
    files = json.loads((HERE / data / "dataset.json").read_text())["files"]
    lines = "".join(f"{name} {files[name]}\n" for name in files)
    return hashlib.sha256(lines.encode()).hexdigest().encode()


def adopt(model, digest, out):
    """A copy of a training that says that it was made on another store."""
    (HERE / out / "checkpoints").mkdir(parents=True)
    for path in (HERE / model / "checkpoints").glob("step-*"):
        whole = path.read_bytes()
        was = head(whole)["__metadata__"]["dataset"].encode()
        (HERE / out / "checkpoints" / path.name).write_bytes(whole.replace(was, digest, 1))
    return out


def head(whole):
    return json.loads(whole[8:8 + struct.unpack("<Q", whole[:8])[0]])


def warned(said, words):
    return any(words in line for line in said["warnings"])


def table(out, name):
    with open(HERE / out / name) as file:
        return list(csv.DictReader(file))


random = np.random.default_rng(1)
store("noise", noise(PEOPLE * SLICES))
ddpm = train("ddpm", "noise", 16)
whole = ask(ddpm, "noise", "whole", "--threads", "1", "--draws", "2")

kills.was_killed(start(ddpm, "noise", "out", "--threads", "1", "--draws", "2",
                       env=KILLS.placed(1, "*/scores.drawn/batch-*")))
assert list((HERE / "out").glob("scores.drawn/batch-*"))
assert not (HERE / "out" / "membership.json").exists()
assert ask(ddpm, "noise", "out", "--threads", "2", "--draws", "2") == whole

membership_numbers.check(HERE / "whole", HERE / "noise")
images = table("whole", "scores.csv")

ask(ddpm, "noise", "some", "--threads", "1", "--draws", "2", "--images", "7")
some = table("some", "scores.csv")
assert len(some) == 14
assert all(row in images for row in some), "a score depends on others"

for model in (ddpm, train("stylegan2", "noise", 16)):
    said = told(model, "noise", "nothing-" + model)
    for unit in ("images", "subjects"):
        auc = said[unit]["auc"]
        assert auc["lower95"] <= 0.5 <= auc["upper95"], (model, unit, auc)
        assert not said[unit]["tells_apart"], (model, unit, auc)
    assert not any("tells images that it was trained on" in line for line in said["warnings"])

# Training images of one kind, held-out ones of another: whatever was learnt, these are known better.
half = PEOPLE * SLICES // 2
both = np.concatenate([alike(half), noise(half)])
store("alike", both)
for model, count in (("ddpm", 96), ("stylegan2", 240)):
    name = train(model, "alike", count, "--rate", "3e-3")
    said = told(name, "alike", "known-" + model)
    assert said["images"]["auc"]["value"] > 0.9, (model, said["images"])
    assert said["images"]["tells_apart"], (model, said["images"])
    assert warned(said, "tells images that it was trained on")
    assert warned(said, "differ by themselves"), said["warnings"]

# With two candidates such luck is had twice as often: of eight people one order in 70 is not enough.
assert said["images"]["auc"]["value"] == 1 and 0.025 / 2 < 1 / math.comb(PEOPLE, PEOPLE // 2) < 0.025
folder = HERE / "alike.npy.d"
plan = f"""
name: two
run: two
ingest: {{ layout: npy, source: {folder}, intensity: none, canvas: {SIDE}, keep_share: 0,
  keep_above: 0, channels: [image], subjects_file: {folder}/subjects.csv,
  split_file: {folder}/split.csv }}
train:
  model: stylegan2
  batch: 8
  images: 128
  rate: 3e-3
  samples: 0
  stylegan2: {{ z_width: 8, w_width: 8, mapping_layers: 2, channel_base: 64, channel_max: 8 }}
  candidates: [{{ name: a, images: 120 }}, {{ name: b }}]
references: {{ count: 2 }}
membership: {{ bootstrap: 120 }}
"""
(HERE / "plan.yaml").write_text(plan)
(HERE / "whole.yaml").write_text(plan.replace("run: two", "run: whole-two"))
for stage in ("ingest", "train"):
    lethe(stage, "plan.yaml", "--threads", "1")
(HERE / "whole-two").mkdir()
(HERE / "whole-two" / "dataset").symlink_to(HERE / "two" / "dataset")
lethe("references", "whole.yaml", "--threads", "1")
for number in (1, 2):  # killed in each of them, they end in the same weights
    kills.was_killed(subprocess.Popen(
        [LETHE, "references", "plan.yaml", "--threads", "1", "--quiet"], cwd=HERE,
        env=KILLS.placed(1, f"*two/references/{number}/checkpoints/step-*"),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    assert not (HERE / "two/references/stage.json").exists()
lethe("references", "plan.yaml", "--threads", "1")
for path in HERE.glob("whole-two/references/*/checkpoints/step-*"):
    again = HERE / "two" / path.relative_to(HERE / "whole-two")
    assert again.read_bytes() == path.read_bytes(), path
lethe("membership", "plan.yaml", "--threads", "1")
for name in "ab":
    said = membership_numbers.check(HERE / f"two/candidates/{name}/membership", HERE / "two/dataset")
    assert said["candidates"] == 2 and said["images"]["auc"]["value"] == 1, said["images"]["auc"]
    assert not said["images"]["tells_apart"] and not said["subjects"]["tells_apart"]

# Of four people beside three chance tells all apart in one of 35 orders, so almost all are no proof,
# however narrow an interval resamplings of so few have.
store("three", np.concatenate([alike(1), noise(17)]), [], [6] * 3)
said = told("stylegan2-alike", "alike", "of-three", "three")
assert 0.5 < said["images"]["auc"]["lower95"] and 0.9 < said["images"]["auc"]["value"] < 1, said
assert said["images"]["by_chance"] > 0.025 and not said["images"]["tells_apart"]
assert not warned(said, "tells images that it was trained on")

# One score for all tells nobody, whatever the means of how many are rounded to; and nothing is known
# as well as the interval of resamplings that are all alike would have it.
store("sixes", noise(4 * 6), [], [6] * 4)
constant = change("stylegan2-noise", "constant", out_weight=0, out_bias=0.1)
said = told(constant, "noise", "one-score", "sixes")
for unit in ("images", "subjects"):
    auc = said[unit]["auc"]
    assert auc["value"] == 0.5 and auc["lower95"] < 0.25 and auc["upper95"] > 0.75, auc
    assert said[unit]["by_chance"] == 1 and not said[unit]["tells_apart"]
    assert said[unit]["tpr_at_1_percent"]["value"] == 0
assert warned(said, "unlike numbers of images") and not warned(said, "tells images that")
refused("not finite", change("stylegan2-noise", "overflowing", fc_weight=1e30, out_weight=3e38),
        "noise")
store("one", noise(2), [], [2])
said = told("stylegan2-noise", "noise", "one-said", "one")
assert said["images"]["auc"]["lower95"] is None and said["images"]["by_chance"] is None

# Who is in both sets was not held out: that would hide that the others are known.
both[half + SLICES:half + 3 * SLICES] = both[:2 * SLICES]
store("both", both[half:], [], [SLICES] * 4)
said = told("stylegan2-alike", "alike", "both-said", "both")
assert said["counts"]["holdout"] == {"images": half, "identical": 2 * SLICES, "scored": 2 * SLICES,
                                     "subjects": 2}
assert said["images"]["auc"]["value"] == 1, said["images"]["auc"]
store("same", both[half - 1::-1], [], [SLICES] * 4)
refused("every held-out image", "stylegan2-alike", "alike", "--holdout", "same")

# Held-out people whom the model knows better than those whom it learnt from tell of the sets.
store("many", np.concatenate([alike(20), noise(20)]), [1] * 20, [1] * 20)
known = train("stylegan2", "many", 120, "--rate", "3e-3")
assert not warned(told(known, "many", "many-said"), "score lower than held-out")
said = told(change(known, "turned", out_weight=lambda was: -was), "many", "turned-said")
assert said["images"]["auc"]["upper95"] < 0.5 and warned(said, "score lower than held-out"), said

# ---- references ----------------------------------------------------------------------------------

def beside(model, data, references, out):
    return ask(model, data, out, "--threads", "1", "--draws", "1", "--reference",
               ",".join(references))


def references(data, images, *more):
    """A pair, each trained on the half that the other leaves out."""
    return [train("ddpm", data, images, *more, "--reference", number, out=f"{data}-{number}")
            for number in (1, 2)]


def calibrated_of(out):
    return {row["image"]: row["calibrated"] for row in table(out, "scores.csv")}


# Killed while the second reference is asked, it ends with the same bytes.
pair = references("noise", 64, "--rate", "3e-3")
trained = train("ddpm", "noise", 64, "--rate", "3e-3", out="trained")
whole = beside(trained, "noise", pair, "beside")
said = membership_numbers.check(HERE / "beside", HERE / "noise")
assert said["calibrated"]["not_judged"] == {"train": 0, "holdout": 0}
kills.was_killed(start(trained, "noise", "killed", "--threads", "1", "--draws", "1", "--reference",
                       ",".join(pair), env=KILLS.placed(4, "*/scores.drawn/batch-*")))
assert beside(trained, "noise", pair, "killed") == whole

# One alone leaves half of the people without anybody to be compared with; they are counted.
beside(trained, "noise", pair[:1], "alone")
said = membership_numbers.check(HERE / "alone", HERE / "noise")
assert sum(said["calibrated"]["not_judged"].values()) == PEOPLE * SLICES // 2

# A person under two names was not left out by a reference that learnt from the other one; both of a
# pair know who has a name in each half.
twice = noise(PEOPLE * SLICES)
twice[SLICES:2 * SLICES] = twice[:SLICES]      # all images, of training
twice[-1 - SLICES] = twice[-1 - 2 * SLICES]  # one image of people held out, who are in one half
twice[half] = twice[half - 1]                  # held out, and in training
store("twice", twice)
beside(train("ddpm", "twice", 8, out="of-twice"), "twice", references("twice", 8), "twice-said")
said = membership_numbers.check(HERE / "twice-said", HERE / "twice")
assert warned(said, "4 subjects have images that are") and said["counts"]["holdout"]["identical"] == 1
assert sum(said["calibrated"]["not_judged"].values()), said["calibrated"]["not_judged"]

# Without a memory in the model a calibrated score knows nothing of who was held out, however much
# references remember of their halves: the same weights, asked about the same people of whom others
# are held out, give everybody the very same score. So the AUC of such a model is that of people who
# were shared out at random, and what chance explains is exact.
blank = train("ddpm", "alike", 8, "--rate", "3e-3", out="blank")
seen = []
for split in range(3):
    folder = HERE / "noise.npy.d"
    people = sorted({row["subject"] for row in table("noise", "index.csv")})
    held = set(np.array(people)[random.permutation(PEOPLE)[:PEOPLE // 2]])
    (folder / "split.csv").write_text("subject,split\n" + "".join(
        f"{who},{'holdout' if who in held else 'train'}\n" for who in people))
    lethe("ingest", "--layout", "npy", "--source", folder, "--out", f"split-{split}", "--intensity",
          "none", "--canvas", SIDE, "--keep-share", "0", "--keep-above", "0", "--channels", "image",
          "--subjects-file", folder / "subjects.csv", "--split-file", folder / "split.csv")
    digest = digest_of(f"split-{split}")
    models = [adopt(name, digest, f"{name}-of-{split}") for name in (blank, *pair)]
    beside(models[0], f"split-{split}", models[1:], f"null-{split}")
    seen.append(calibrated_of(f"null-{split}"))
    assert {row["subject"] for row in table(f"null-{split}", "scores.csv")
            if row["set"] == "holdout"} == held
membership_numbers.check(HERE / "null-0", HERE / "split-0")
assert seen[0] == seen[1] == seen[2] and len(set(seen[0].values())) == PEOPLE * SLICES


# Where one person's images are harder than another's for any model, that hides by raw scores that the
# model knows its people; beside references it shows.
contrast = np.repeat([4, 100, 20, 200, 8, 150, 30, 60], SLICES)[:, None, None] / 256
store("hard", (128 + (noise(PEOPLE * SLICES) - 128.0) * contrast).astype(np.uint8))
options = ["--rate", "3e-3", "--average", "0.99", "--samples", "0", "--validate", "0"]
model, pair = train("ddpm", "hard", 400, *options), references("hard", 400, *options)
beside(model, "hard", pair, "hard-said")
said = json.loads((HERE / "hard-said" / "membership.json").read_text())
raw, calibrated = (of["images"]["auc"]["value"] for of in (said, said["calibrated"]))
assert raw < 0.6 and calibrated > raw + 0.1, (raw, calibrated)

subprocess.run(["rm", "-rf", HERE], check=True)
print("the same bytes after a kill; scores of their own; numbers of the tables; who is known, and "
      "who is not")
