#!/usr/bin/env python3
"""lethe audit killed at any moment, again and again, ends with the bytes of a run in one go, and
leaves nothing else behind.

    resume_check.py LETHE [KILLS]
"""
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import make_set

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-resume-"))
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 8


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


def wait_for_the_folder(process):
    """Until the run has put its folder in place, or ended."""
    while not (HERE / "out").exists() and process.poll() is None:
        pass


def remove(*names):
    subprocess.run(["rm", "-rf", *(HERE / name for name in names)], check=True)


def start(more):
    return subprocess.Popen([*command("out"), *more], cwd=HERE, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


def end_of_a_run():
    """A run is over: its folder is whole. The next audit starts with nothing."""
    assert files(HERE / "whole") == files(HERE / "out")
    remove("out")


def killed_when_done(more):
    """The kill came after the folder was in place: a run refuses to go over it, and says why."""
    again = start(more)
    _, said = again.communicate()
    assert again.returncode == 2 and b"out: exists already" in said, (again.returncode, said)
    if (HERE / "out.work").exists():
        assert b"out.work" in said, said
    remove("out.work")
    end_of_a_run()


def check(side, sizes, *more):
    """Kills runs by turns at a random moment, after a piece of work, and when all but done; compares
    what they end in."""
    for name, seed in [("train", 1), ("synthetic", 2), ("holdout", 3)]:
        make_set.make(HERE / f"{name}.npy", seed, sizes[name], 1, side)
    started = time.monotonic()
    subprocess.run([*command("whole"), *more], cwd=HERE, check=True, capture_output=True)
    whole = time.monotonic() - started
    moments = [lambda _: time.sleep(random.uniform(0.02, 0.2 * whole)), wait_for_a_shard,
               wait_for_the_folder]
    kills = resumed = late = runs = 0
    while kills < KILLS:
        assert runs < 10 * KILLS, (kills, runs, whole)
        process = start(more)
        moments[runs % len(moments)](process)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        runs += 1
        if process.returncode == 0:  # before the kill
            end_of_a_run()
            continue
        assert process.returncode == -signal.SIGKILL, (process.returncode, said)
        kills += 1
        if (HERE / "out").exists():
            killed_when_done(more)
            late += 1
        resumed += shards() > 0
    assert resumed >= 1, (kills, runs, whole)
    process = start(more)
    _, said = process.communicate()
    assert process.returncode == 0, (process.returncode, said)
    end_of_a_run()
    left = sorted(p.name for p in HERE.iterdir())
    assert left == ["holdout.npy", "synthetic.npy", "train.npy", "whole"], left
    remove("whole")
    print(f"{kills} kills in {runs} runs, {resumed} with shards left, {late} when done: the same bytes")


random.seed(5)
check(48, {"train": 700, "synthetic": 600, "holdout": 300}, "--no-transforms", "--no-tiles",
      "--control", "matched_holdout")
check(32, {"train": 20, "synthetic": 14, "holdout": 12})  # these searches take long
subprocess.run(["rm", "-r", str(HERE)], check=True)
