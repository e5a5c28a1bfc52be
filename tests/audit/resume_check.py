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
KILLS = 12


def make(name, seed, count):
    subprocess.run([sys.executable, MAKE, HERE / name, str(seed), str(count), "1", "48"], check=True)


def command(out):
    return [LETHE, "audit", "--train", "train.npy", "--synthetic", "synthetic.npy", "--holdout",
            "holdout.npy", "--out", out, "--bootstrap", "200", "--quiet"]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


for name, seed, count in [("train", 1, 1500), ("synthetic", 2, 1100), ("holdout", 3, 600)]:
    make(f"{name}.npy", seed, count)
started = time.monotonic()
subprocess.run(command("whole"), cwd=HERE, check=True, capture_output=True)
whole = time.monotonic() - started

random.seed(5)
kills = resumed = 0
while True:
    process = subprocess.Popen(command("out"), cwd=HERE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    if kills < KILLS:
        time.sleep(random.uniform(0.02, 0.2 * whole))
        process.send_signal(signal.SIGKILL)
    code = process.wait()
    if code == 0:
        break
    assert code == -signal.SIGKILL, (code, process.stderr.read())
    assert not (HERE / "out").exists()
    resumed += (HERE / "out.work").exists() and any((HERE / "out.work").iterdir())
    kills += 1
assert kills >= 4 and resumed >= 1, (kills, resumed, whole)
assert files(HERE / "whole") == files(HERE / "out")
left = sorted(p.name for p in HERE.iterdir())
assert left == ["holdout.npy", "out", "synthetic.npy", "train.npy", "whole"], left
subprocess.run(["rm", "-r", str(HERE)], check=True)
print(f"{kills} kills, {resumed} with shards left: the same bytes")
