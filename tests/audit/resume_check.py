#!/usr/bin/env python3
"""lethe audit killed at any call that changes a file, again and again, ends with the bytes of a run in one go, and
leaves nothing else behind.

    resume_check.py LETHE KILL-SHIM [KILLS]
"""
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import kills
import make_set

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-resume-"))
SHIM = kills.Kills(str(Path(sys.argv[2]).resolve()))
KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 8


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


def remove(*names):
    subprocess.run(["rm", "-rf", *(HERE / name for name in names)], check=True)


def start(more, env=None):
    return subprocess.Popen([*command("out"), *more], cwd=HERE, env=env, stdout=subprocess.DEVNULL,
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
    """Kills runs by turns at a call that chance chose, after a piece of work, and when the folder is
    in place; compares what they end in."""
    for name, seed in [("train", 1), ("synthetic", 2), ("holdout", 3)]:
        make_set.make(HERE / f"{name}.npy", seed, sizes[name], 1, side)
    subprocess.run([*command("whole"), *more], cwd=HERE, env=SHIM.counting(HERE / "calls"), check=True,
                   capture_output=True)
    calls = int((HERE / "calls").read_text())
    (HERE / "calls").unlink()
    moments = [lambda: SHIM.at(random.randint(1, max(1, calls // 3))),
               lambda: SHIM.placed(1, "out.work/*"), lambda: SHIM.placed(1, "out")]
    done = resumed = late = runs = 0
    while done < KILLS:
        assert runs < 10 * KILLS, (done, runs, calls)
        process = start(more, moments[runs % len(moments)]())
        _, said = process.communicate()
        runs += 1
        if process.returncode == 0:  # before the kill
            end_of_a_run()
            continue
        assert process.returncode == -signal.SIGKILL, (process.returncode, said)
        done += 1
        if (HERE / "out").exists():
            killed_when_done(more)
            late += 1
        resumed += shards() > 0
    assert resumed >= 1 and late >= 1, (done, resumed, late, runs, calls)
    process = start(more)
    _, said = process.communicate()
    assert process.returncode == 0, (process.returncode, said)
    end_of_a_run()
    left = sorted(p.name for p in HERE.iterdir())
    assert left == ["holdout.npy", "synthetic.npy", "train.npy", "whole"], left
    remove("whole")
    print(f"{done} kills in {runs} runs, {resumed} with shards left, {late} when done: the same bytes")


random.seed(5)
check(48, {"train": 700, "synthetic": 600, "holdout": 300}, "--no-transforms", "--no-tiles",
      "--control", "matched_holdout")
check(32, {"train": 20, "synthetic": 14, "holdout": 12})  # these searches take long
subprocess.run(["rm", "-r", str(HERE)], check=True)
