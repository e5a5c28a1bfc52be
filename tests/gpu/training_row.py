"""One line of JSON on a generator that tests/gpu/run trained: training_row.py MODEL DEVICE RUN AUDIT

RUN is the folder of lethe train, AUDIT that of lethe audit. What was trained in how many seconds, and
what the audit found, in its own numbers.
"""
import json
import statistics
import sys

model, device, run, audit = sys.argv[1:]
with open(f"{run}/metrics.jsonl") as lines:
    rows = [row for row in map(json.loads, lines) if "images_per_second" in row]
with open(f"{audit}/memorization.json") as file:
    found = json.load(file)
flagged, last = found["flagged"], rows[-1]
print(json.dumps({
    "training": model, "on": device, "steps": last["step"], "images": last["images"],
    "kimg": last["images"] / 1000, "seconds": last["seconds"],
    "images_per_second": statistics.median(row["images_per_second"] for row in rows),
    "waited_s": last["waited"], "loss": last["loss"],
    "audit": {"on": found["device"], "synthetic": found["counts"]["synthetic"],
              "train": found["counts"]["train"], "holdout": found["counts"]["holdout"],
              "nearest_median": found["nearest"]["p50"], "nearest_largest": found["nearest"]["max"],
              "flagged": flagged["count"], "lower95": flagged["lower95"],
              "upper95": flagged["upper95"], "by_chance": flagged["expected_by_chance"],
              "warnings": found["warnings"]}}))
