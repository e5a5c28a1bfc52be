#!/usr/bin/env python3
"""lethe audit killed at any moment, again and again, ends with the bytes of a run in one go, and
leaves nothing else behind.

    resume_check.py LETHE
"""
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-resume-"))
MAKE = Path(__file__).resolve().parent / "make_set.py"
KILLS = 8


def make(name, seed, count):
    subprocess.run([sys.executable, MAKE, HERE / name, str(seed), str(count), "1", "48"], check=True)


def command(out):
    return [LETHE, "audit", "--train", "train.npy", "--synthetic", "synthetic.npy", "--holdout",
            "holdout.npy", "--out", out, "--bootstrap", "200", "--quiet"]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def shards():
    try:
        return sum(1 for _ in (HERE / "out.work").iterdir())
    except FileNotFoundError:  # not yet, or not any more
        return 0


def wait_for_a_shard(process):
    """Until the run has finished another piece of its work, or ended."""
    before = shards()
    while shards() <= before and process.poll() is None:
        time.sleep(0.002)


def check(sizes, kills_wanted, *more):
    """Kills a run by turns at a random moment and after a piece of work; compares."""
    for name, seed in [("train", 1), ("synthetic", 2), ("holdout", 3)]:
        make(f"{name}.npy", seed, sizes[name])
    started = time.monotonic()
    subprocess.run([*command("whole"), *more], cwd=HERE, check=True, capture_output=True)
    whole = time.monotonic() - started
    kills = resumed = 0
    while True:
        process = subprocess.Popen([*command("out"), *more], cwd=HERE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        if kills < KILLS:
            if kills % 2:
                wait_for_a_shard(process)
            else:
                time.sleep(random.uniform(0.02, 0.2 * whole))
            process.send_signal(signal.SIGKILL)
        code = process.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL, (code, process.stderr.read())
        assert not (HERE / "out").exists()
        resumed += shards() > 0
        kills += 1
    assert kills >= kills_wanted and resumed >= 1, (kills, resumed, whole)
    assert files(HERE / "whole") == files(HERE / "out")
    left = sorted(p.name for p in HERE.iterdir())
    assert left == ["holdout.npy", "out", "synthetic.npy", "train.npy", "whole"], left
    subprocess.run(["rm", "-r", HERE / "out", HERE / "whole"], check=True)
    print(f"{kills} kills, {resumed} with shards left: the same bytes")


random.seed(5)
check({"train": 1500, "synthetic": 1100, "holdout": 600}, 4, "--no-transforms", "--no-tiles")
check({"train": 30, "synthetic": 80, "holdout": 70}, 2)
subprocess.run(["rm", "-r", str(HERE)], check=True)
