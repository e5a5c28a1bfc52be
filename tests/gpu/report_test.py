"""tests/gpu/report on made-up results: no figure here was measured anywhere."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

REPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report")
HEAD = {"device": "GPU ok Made-up 1000", "on": "cuda", "date": "2000-01-01", "commit": "0000000"}
FAST = {"bench": "engine", "case": "made-up-bf16", "unit": "images/s", "ours": 1234.5, "peer": 600.0,
        "peer_name": "PyTorch 0.0", "ratio": 2.0575, "goal": 1.5}
SLOW = dict(FAST, case="made-up-f32", ours=500.0, ratio=0.8333)
ALONE = dict(FAST, case="made-up-alone", peer=None, peer_name="", ratio=None, goal=None)
SEARCH = {"benchmark": "gpu_audit", "queries": 20000, "certified_device_s": 1.25, "flat_gpu": None}
AUDIT = {"on": "cuda", "synthetic": 400, "train": 1560, "holdout": 390, "nearest_median": 0.8,
         "nearest_largest": 0.9, "flagged": 1, "lower95": 0.0001, "upper95": 0.0138,
         "by_chance": 0.4, "warnings": []}
TRAINED = {"training": "stylegan2", "on": "cuda", "steps": 10, "images": 1600, "kimg": 1.6,
           "seconds": 60.2, "images_per_second": 26.6, "waited_s": 0.1, "loss": {}, "audit": AUDIT}


def part(name, verdict, why=""):
    return {"part": name, "verdict": verdict, "seconds": 3, "why": why}


class Report(unittest.TestCase):
    def run_on(self, *runs, options=()):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for i, lines in enumerate(runs):
                paths.append(os.path.join(folder, f"{i}.json"))
                with open(paths[-1], "w") as file:
                    file.writelines(json.dumps(line) + "\n" for line in lines)
            return subprocess.run([sys.executable, REPORT, *paths, *options], capture_output=True,
                                  text=True)

    def test_says_what_it_was_run_on(self):
        done = self.run_on([HEAD, part("operations", "passed")])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2000-01-01, commit 0000000", done.stdout)
        self.assertIn("GPU ok Made-up 1000", done.stdout)

    def test_says_which_goals_are_met_and_missed(self):
        text = self.run_on([HEAD, FAST, SLOW, ALONE]).stdout
        self.assertIn("| made-up-bf16 | images/s | 1,234 | 600 | PyTorch 0.0 | 2.06 | 1.5 (met) |",
                      text)
        self.assertIn("| 0.833 | 1.5 (**missed**) |", text)
        self.assertIn("| made-up-alone | images/s | 1,234 | – | – | – | – |", text)

    def test_shows_searches_and_trainings(self):
        text = self.run_on([HEAD, SEARCH, TRAINED]).stdout
        self.assertIn("| certified_device_s | 1.25 |", text)
        self.assertIn("| flat_gpu | – |", text)
        self.assertIn("| stylegan2 | 1.6 | 60.2 | 26.6 | 400 / 1,560 | 0.8000 | 0.9000 | 1 | "
                      "0.01 … 1.38 % | 0.4 |", text)

    def test_a_failure_is_told_and_is_the_exit_code(self):
        for verdict in ("FAILED", "timed out"):
            done = self.run_on([HEAD, part("models", verdict, "exit code 3")])
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"| models | {verdict} | 3 | exit code 3 |", done.stdout)
            self.assertIn("**Not passed: models.**", done.stdout)

    def test_a_second_run_replaces_what_was_skipped_and_nothing_else(self):
        done = self.run_on([HEAD, part("a", "skipped", "no time is left"), part("b", "FAILED")],
                           [HEAD, part("a", "passed"), part("b", "skipped")])
        self.assertIn("| a | passed |", done.stdout)
        self.assertIn("| b | FAILED |", done.stdout)
        self.assertNotIn("no time is left", done.stdout)

    def test_runs_of_other_commits_are_refused(self):
        done = self.run_on([HEAD, FAST], [dict(HEAD, commit="1111111"), FAST])
        self.assertEqual(done.returncode, 2)
        self.assertIn("more than one commit", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_a_rehearsal_is_refused_unless_it_is_asked_for(self):
        rehearsal = [dict(HEAD, on="cpu"), TRAINED]
        done = self.run_on(rehearsal)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("no figure here is of a GPU",
                      self.run_on(rehearsal, options=["--rehearsal"]).stdout)

    def test_what_is_no_result_is_refused(self):
        self.assertEqual(self.run_on([FAST]).returncode, 2)
        self.assertEqual(self.run_on([]).returncode, 2)


if __name__ == "__main__":
    unittest.main()
