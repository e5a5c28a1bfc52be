#!/usr/bin/env python3
"""lethe fidelity, from images to numbers: killed and resumed it ends with the bytes of a run in one
go, of any number of threads, and takes up the features that were computed; copies of training images
are nearer to training than unseen ones are; what is refused leaves nothing behind.

    fidelity_check.py LETHE KILL-SHIM
"""
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import kills
import make_set

LETHE = str(Path(sys.argv[1]).resolve())
KILLS = kills.Kills(str(Path(sys.argv[2]).resolve()))
HERE = Path(tempfile.mkdtemp(prefix="lethe-fidelity-"))
FEATURES = HERE / "out" / "work" / "features"


def start(*more, train="train.npy", synthetic="synthetic.npy", holdout="holdout.npy", out="out",
          env=None):
    return subprocess.Popen([LETHE, "fidelity", "--train", train, "--synthetic", synthetic,
                             "--holdout", holdout, "--out", out, "--bootstrap", "40", "--quiet",
                             *more],
                            cwd=HERE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True)


def run(*more, **keywords):
    process = start(*more, **keywords)
    _, said = process.communicate()
    assert process.returncode == 0, said
    out = HERE / keywords.get("out", "out")
    assert [p.name for p in out.iterdir()] == ["fidelity.json"], list(out.iterdir())
    return (out / "fidelity.json").read_bytes()


def blocks():
    try:
        return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in FEATURES.glob("*.npy")}
    except FileNotFoundError:  # all is done, and removed
        return {}


def killed_after_a_block(*more):
    kills.was_killed(start(*more, env=KILLS.placed(1, "*.npy")))
    return blocks()


def refused(message, *more, **keywords):
    process = start(*more, out="refused", **keywords)
    _, said = process.communicate()
    assert process.returncode == 2 and message in said, (process.returncode, said)
    assert not (HERE / "refused").exists()


for name, seed, count in [("train", 1, 4), ("holdout", 3, 4), ("more", 4, 6)]:
    make_set.make(HERE / (name + ".npy"), seed, count, 1, 24)
np.save(HERE / "synthetic.npy", np.load(HERE / "train.npy")[[1, 0, 3]])  # copies
(HERE / "bad.safetensors").write_bytes(b"nothing")

whole = run("--threads", "1", out="whole")

foreign = killed_after_a_block("--seed", "2", "--images", "2")
assert foreign
before = killed_after_a_block()  # others' features are of no use here
assert before and not before.items() & foreign.items()
held = os.open(HERE / "out", os.O_RDONLY)  # as by another process that writes there
fcntl.flock(held, fcntl.LOCK_EX)
second = start()
_, said = second.communicate()
assert second.returncode == 2 and "out: another process is writing it" in said, said
assert blocks() == before
os.close(held)
assert len(before) < 3 and not (HERE / "out" / "fidelity.json").exists()
now = killed_after_a_block("--threads", "2")
assert len(now) > len(before)
assert all(now[name] == before[name] for name in before), (before, now)
next(FEATURES.glob("*.npy")).write_bytes(b"damaged")  # as by a disk: computed again
assert run("--threads", "2") == whole

copied = json.loads(whole)["mean"]
own, others = copied["training"], copied["holdout"]
assert own["fid"]["value"] < 0.7 * own["fid"]["control"], own["fid"]
assert own["fid"]["value"] < 0.7 * others["fid"]["value"], (own["fid"], others["fid"])
assert own["kid"]["value"] < others["kid"]["value"]
assert own["precision"]["value"] == 1

# Noise among images of half precision, which stands for 0 … 1.
noise = np.random.default_rng(5).integers(0, 256, np.load(HERE / "more.npy").shape)
np.save(HERE / "noise.npy", noise.astype(np.uint8))
outside = {}
for role, name in ("train", "train"), ("synthetic", "noise"), ("holdout", "more"):
    values = (np.load(HERE / (name + ".npy")) / 128.0 - 0.5).astype("f2")
    values[0, 0, 0, :3] = -0.0, 0, 1
    outside[role] = int(((values < 0) | (values > 1)).sum()), values.size
    np.save(HERE / (name + "16.npy"), values)
process = start(train="train16.npy", synthetic="noise16.npy", holdout="more16.npy", out="halves")
_, said = process.communicate()
halves = json.loads((HERE / "halves" / "fidelity.json").read_bytes())
for role, words in ("train", "training"), ("synthetic", "synthetic"), ("holdout", "held-out"):
    count, size = outside[role]
    assert count and halves["counts"][role]["outside"] == count, (halves["counts"], outside)
    assert f"of the {words} set's values" in said and f"({count} of {size})" in said, said
assert json.loads(whole)["counts"]["synthetic"]["outside"] == 0
far = halves["mean"]["holdout"]
assert far["precision"]["value"] == far["density"]["value"] == 0, far
assert far["precision"]["upper95"] > 0.3  # of four images: the exact bound
assert far["density"]["interval"] == [None, None], far["density"]  # no resampling says otherwise

refused("weights: none.safetensors: no such file", "--weights", "none.safetensors")
refused("bad.safetensors", "--weights", "bad.safetensors")
refused("there is no channel \"t1\"", "--channels", "t1")
refused("THE SYNTHETIC SET IS THE TRAINING SET", synthetic="train.npy")
subprocess.run(["rm", "-r", str(HERE)], check=True)
