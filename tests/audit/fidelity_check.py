#!/usr/bin/env python3
"""lethe fidelity, from images to numbers: killed and resumed it ends with the bytes of a run in one
go, of any number of threads, and takes up the features that were computed; copies of training images
are nearer to training than unseen ones are; what is refused leaves nothing behind.

    fidelity_check.py LETHE
"""
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-fidelity-"))
MAKE = Path(__file__).resolve().parent / "make_set.py"
FEATURES = HERE / "out" / "work" / "features"


def make(name, seed, count):
    subprocess.run([sys.executable, MAKE, HERE / name, str(seed), str(count), "1", "24"], check=True)


def start(*more, train="train.npy", synthetic="synthetic.npy", holdout="holdout.npy", out="out"):
    return subprocess.Popen([LETHE, "fidelity", "--train", train, "--synthetic", synthetic,
                             "--holdout", holdout, "--out", out, "--bootstrap", "40", "--quiet",
                             *more],
                            cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


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


def wait_for_blocks(process, count):
    while len(blocks()) < count:
        assert process.poll() is None, "no more than %s" % blocks()
        time.sleep(0.002)
    return blocks()


def refused(message, *more, **keywords):
    process = start(*more, out="refused", **keywords)
    _, said = process.communicate()
    assert process.returncode == 2 and message in said, (process.returncode, said)
    assert not (HERE / "refused").exists()


for name, seed, count in [("train", 1, 4), ("synthetic", 2, 3), ("holdout", 3, 4)]:
    make(name + ".npy", seed, count)
np.save(HERE / "copies.npy", np.load(HERE / "train.npy")[[1, 0, 3, 2]])
(HERE / "bad.safetensors").write_bytes(b"nothing")

whole = run("--threads", "1", out="whole")

process = start()
before = wait_for_blocks(process, 1)
process.kill()
process.communicate()
before = blocks()  # one, or two
held = os.open(HERE / "out", os.O_RDONLY)  # as by another process that writes there
fcntl.flock(held, fcntl.LOCK_EX)
second = start()
_, said = second.communicate()
assert second.returncode == 2 and "out: another process is writing it" in said, said
assert blocks() == before
os.close(held)
assert len(before) < 3 and not (HERE / "out" / "fidelity.json").exists()
process = start("--threads", "2")
now = wait_for_blocks(process, len(before) + 1)
assert all(now[name] == before[name] for name in before), (before, now)
process.kill()
process.communicate()
next(FEATURES.glob("*.npy")).write_bytes(b"damaged")  # as by a disk: computed again
assert run("--threads", "2") == whole

process = start("--seed", "2", "--images", "2")  # others' features are of no use here
wait_for_blocks(process, 1)
process.kill()
process.communicate()
assert run() == whole

copied = json.loads(run(synthetic="copies.npy", out="copied"))["mean"]
own, others = copied["training"], copied["holdout"]
assert own["fid"]["value"] < 0.7 * own["fid"]["control"], own["fid"]
assert own["fid"]["value"] < 0.7 * others["fid"]["value"], (own["fid"], others["fid"])
assert own["kid"]["value"] < others["kid"]["value"]
assert own["precision"]["value"] == 1

outside = {}  # halves stand for 0 … 1
for name in "train", "synthetic", "holdout":
    values = (np.load(HERE / (name + ".npy"))[:1] / 128.0 - 0.5).astype("f2")
    values[0, 0, 0, :3] = -0.0, 0, 1
    outside[name] = int(((values < 0) | (values > 1)).sum())
    np.save(HERE / (name + "16.npy"), values)
process = start(train="train16.npy", synthetic="synthetic16.npy", holdout="holdout16.npy", out="halves")
_, said = process.communicate()
counts = json.loads((HERE / "halves" / "fidelity.json").read_bytes())["counts"]
assert {name: counts[name]["outside"] for name in outside} == outside, (counts, outside)
for name, words in ("train", "training"), ("synthetic", "synthetic"), ("holdout", "held-out"):
    assert outside[name] and f"of the {words} set's values" in said, said
    assert f"({outside[name]} of {np.load(HERE / (name + '16.npy')).size})" in said, said
assert json.loads(whole)["counts"]["synthetic"]["outside"] == 0

make("more.npy", 4, 6)
noise = np.random.default_rng(5).integers(0, 256, np.load(HERE / "more.npy").shape)
np.save(HERE / "noise.npy", noise.astype(np.uint8))
far = json.loads(run(synthetic="noise.npy", holdout="more.npy", out="far"))["mean"]["holdout"]
assert far["precision"]["value"] == far["density"]["value"] == 0, far
assert far["precision"]["upper95"] > 0.3  # of four images: the exact bound
assert far["density"]["interval"] == [None, None], far["density"]  # no resampling says otherwise

refused("weights: none.safetensors: no such file", "--weights", "none.safetensors")
refused("bad.safetensors", "--weights", "bad.safetensors")
refused("there is no channel \"t1\"", "--channels", "t1")
refused("THE SYNTHETIC SET IS THE TRAINING SET", synthetic="train.npy")
subprocess.run(["rm", "-r", str(HERE)], check=True)
