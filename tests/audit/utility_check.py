#!/usr/bin/env python3
"""lethe utility, and lethe score, against an independent implementation: cohorts are written with
nibabel, predictions by lethe segment, and measured with SciPy; and every number of utility.json is
computed again from the table of scores, intervals from all resamplings that there are.

    utility_check.py LETHE
"""
import csv
import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import nibabel
    import numpy as np
    from scipy import ndimage
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-utility-"))
RANDOM = np.random.default_rng(5)
SIDE = 16
METRICS = ["dice", "hausdorff_max", "hausdorff_95", "precision", "recall", "volume_difference"]
SETS = {"1": (1,), "2": (2,), "4": (4,), "whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}
DRAWS = 10000
QUICK = ["--images", "640", "--batch", "8", "--base", "4", "--levels", "2", "--rate", "0.05",
         "--panels", "1", "--bootstrap", str(DRAWS), "--threads", "1", "--quiet"]


def lethe(*words):
    return subprocess.run([LETHE, *map(str, words)], check=True, capture_output=True, text=True)


# ---- cohorts -------------------------------------------------------------------------------------


def scan(depth, kept, lesions):
    """Bright noise on the planes that shall be kept, dark on the others; a lesion is (label,
    planes, top, left, side): brighter the higher its label."""
    image = np.zeros((SIDE, SIDE, depth))
    mask = np.zeros((SIDE, SIDE, depth), np.uint8)
    for z in kept:
        image[:, :, z] = RANDOM.integers(90, 120, (SIDE, SIDE))
    for label, planes, top, left, side in lesions:
        for z in planes:
            box = np.s_[left:left + side, top:top + side, z]
            mask[box] = label
            if z in kept:
                image[box] += 30 * label
    image[0, 0, kept] = 255  # what becomes 255 is 255: voxels stay as they are
    return image.astype(np.int16), mask


def lesion(label, planes):
    side = int(RANDOM.integers(3, 7))
    return (label, planes, *RANDOM.integers(1, SIDE - side - 1, 2), side)


def cohort():
    """Subject, session: scan. Training subjects have 1, 2, 4 and 8 planes, so that their number
    tells which subjects a share of them is. Among those held out: two sessions, gaps between
    planes, one plane alone, no lesion, and one that lies where no plane is kept."""
    scans = {}
    for i in range(4):
        kept = list(range(2, 2 + 2**i))
        scans[f"T{i}", ""] = scan(12, kept, [lesion(label, kept) for label in (2, 1, 4)])
    gaps = [1, 2, 5, 6, 7, 10]
    scans["Ha", ""] = scan(12, gaps, [lesion(2, gaps[1:]), lesion(1, gaps[2:5])])
    for session in "12":
        kept = list(range(3, 9))
        scans["Hb", session] = scan(12, kept, [lesion(1, kept[1:4])])
    scans["Hc", ""] = scan(12, [4, 5, 6], [])
    scans["Hd", ""] = scan(12, [6], [lesion(1, [5, 6, 7])])
    scans["He", ""] = scan(12, [2, 3], [lesion(1, [8, 9])])
    return scans


def write_cohort(folder, scans, spacing, order=(0, 1, 2)):
    """As BIDS. `order`: which axes of the scan lie along left, back and up; of planes that are not
    axial the first row is at the top of the head."""
    for (subject, session), arrays in scans.items():
        parts = [f"sub-{subject}"] + ([f"ses-{session}"] if session else [])
        place = folder.joinpath(*parts, "anat")
        place.mkdir(parents=True)
        # left, back, up as the array counts them: what is turned here is turned back on reading
        affine = np.diag([-spacing[subject][0], -spacing[subject][1], spacing[subject][2], 1.0])
        for suffix, array in [("T1w", arrays[0]), ("ce-gd_T1w", arrays[0]), ("T2w", arrays[0]),
                              ("FLAIR", arrays[0]), ("dseg", arrays[1])]:
            lies = np.transpose(array, order)[:, :, ::1 if order[2] == 2 else -1]
            nibabel.save(nibabel.Nifti1Image(lies, affine),
                         place / f"{'_'.join(parts)}_{suffix}.nii.gz")


def split_file(path, subjects):
    path.write_text("subject,split\n" + "".join(
        f"{name},{'train' if name.removeprefix('sub-').startswith('T') else 'holdout'}\n"
        for name in subjects))


# ---- measuring -----------------------------------------------------------------------------------


def surface(mask):
    flat = np.squeeze(mask)  # a plane alone is an image
    edge = flat ^ ndimage.binary_erosion(flat, ndimage.generate_binary_structure(flat.ndim, 1))
    return edge.reshape(mask.shape)


def measured(truth, prediction, spacing):
    t, p, both = (float(x.sum()) for x in (truth, prediction, truth & prediction))
    row = dict.fromkeys(METRICS, np.nan)
    row["volume_difference"] = (p - t) * np.prod(spacing) / 1000
    if t or p:
        row["dice"] = 2 * both / (t + p)
    if p:
        row["precision"] = both / p
    if t:
        row["recall"] = both / t
    if t and p:
        a, b = surface(truth), surface(prediction)
        away = np.concatenate([ndimage.distance_transform_edt(~b, sampling=spacing)[a],
                               ndimage.distance_transform_edt(~a, sampling=spacing)[b]])
        row["hausdorff_max"], row["hausdorff_95"] = away.max(), np.percentile(away, 95)
    return {"truth_voxels": t, "prediction_voxels": p, **row}


def same(a, b):
    return (np.isnan(a) and np.isnan(b)) or abs(a - b) <= 1e-6 * max(1, abs(b))  # mm of 32 bits


def read_rows(path):
    number = lambda cell: float(cell) if cell else np.nan
    keys = ["truth_voxels", "prediction_voxels", *METRICS]
    with open(path, newline="", encoding="utf-8") as file:
        return [{**row, **{key: number(row[key]) for key in keys}} for row in csv.DictReader(file)]


def check_scores(out, store, source, spacing, through=2):
    """Each row of utility.csv against the masks that lethe segment writes for the same scans, held
    to the planes that the store kept. How often each metric was defined, and was not."""
    rows = read_rows(out / "utility.csv")
    with open(store / "index.csv", newline="", encoding="utf-8") as file:
        index = [line for line in csv.DictReader(file) if line["split"] == "holdout"]
    masks, planes = np.load(store / "masks.npy"), {}
    for line in index:
        planes.setdefault((line["subject"], line["source"]), []).append(line)
    trials, defined = {}, {metric: [0, 0] for metric in METRICS}
    for row in rows:
        key = "_".join(row[k] for k in ("source", "model", "augmentation", "seed"))
        trials.setdefault(key, []).append(row)
    for name, trial in trials.items():
        labelled = HERE / f"labelled-{out.name}-{name}"
        lethe("segment", "--weights", out / "trials" / name, "--source", source, "--out", labelled,
              "--threads", 1, "--quiet")
        at = iter(trial)
        for (subject, path), lines in planes.items():
            session = "".join(f"{part[4:]}" for part in Path(path).parts if part[:4] == "ses-")
            (file,) = labelled.glob(f"{subject}*{session}_seg.nii.gz")
            volume = np.asarray(nibabel.load(file).dataobj)
            slices = [int(line["slice"]) for line in lines]
            shape = (SIDE, SIDE, max(slices) - min(slices) + 1)
            truth, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
            for line, z in zip(lines, slices):
                truth[:, :, z - min(slices)] = masks[int(line["image"])].T
                prediction[:, :, z - min(slices)] = volume[:, :, z]
            mm = spacing[subject.replace("sub-", "")]
            mm = [mm[i] for i in range(3) if i != through] + [mm[through]]
            earlier = [path for whose, path in planes if whose == subject].index(path)
            for kind, labels in SETS.items():
                row = next(at)
                assert int(row["scan"]) == 1 + earlier, (row, path)
                assert (row["subject"], row["class"]) == (subject, kind), (row, subject, kind)
                wanted = measured(np.isin(truth, labels), np.isin(prediction, labels), mm)
                for key, value in wanted.items():
                    assert same(row[key], value), (name, subject, kind, key, row[key], value)
                for metric in METRICS:
                    defined[metric][int(np.isnan(row[metric]))] += 1
        assert next(at, None) is None
    return defined


def check_folders(truth, predicted, spacing):
    """lethe score of whole volumes: table, summary and terminal."""
    table = HERE / "scores.csv"
    words = ["score", "--truth", truth, "--pred", predicted, "--csv", table, "--threads", 1]
    document = json.loads(lethe(*words, "--json").stdout)
    printed = lethe(*words).stdout.splitlines()
    rows, by_class = read_rows(table), {}
    assert {row["subject"] for row in rows} == {entry["subject"] for entry in document["subjects"]}
    for row in rows:
        name = row["subject"]
        masks = [np.asarray(nibabel.load(next(folder.rglob(f"{name}_*seg.nii.gz"))).dataobj)
                 for folder in (truth, predicted)]
        labels = SETS[row["class"]]
        wanted = measured(*(np.isin(mask, labels) for mask in masks),
                          spacing[name.split("_")[0].removeprefix("sub-")])
        (entry,) = [e for e in document["subjects"] if e["subject"] == name]
        for key, value in wanted.items():
            told = entry["classes"][row["class"]][key]
            for seen in (row[key], np.nan if told is None else told):
                assert same(seen, value), (name, row["class"], key, seen, value)
        by_class.setdefault(row["class"], []).append(row)
    assert printed[0].startswith(f"{len(document['subjects'])} subjects")
    for entry, line in zip(document["classes"] + document["regions"], printed[2:], strict=True):
        mine, empty = by_class[entry["name"]], entry["empty"]
        assert empty == empties(mine) and entry["subjects"] == len(mine)
        assert entry["occurs_in_truth"] == any(row["truth_voxels"] for row in mine)
        cells = re.split(r"  +", line.strip())
        assert cells[0] == entry["name"]
        assert cells[-1] == "/".join(str(empty[key]) for key in ("both", "truth", "prediction"))
        for metric, cell in zip(METRICS, cells[1:-1], strict=True):
            values = [row[metric] for row in mine]
            assert entry[metric]["count"] == int(np.isfinite(values).sum())
            close(entry[metric]["mean"], mean(values), metric)
            close(entry[metric]["sd"], deviation(values), metric)
            shown = [entry[metric][key] for key in ("mean", "sd") if entry[metric][key] is not None]
            assert cell == (" ± ".join(f"{value:.3f}" for value in shown) or "–"), (cell, shown)


# ---- summing up ----------------------------------------------------------------------------------


def close(seen, wanted, what=""):
    if seen is None or np.isnan(wanted):
        assert seen is None and np.isnan(wanted), (what, seen, wanted)
    else:
        assert abs(seen - wanted) <= 1e-7 * max(1, abs(wanted)), (what, seen, wanted)


def mean(values):
    values = [v for v in values if not np.isnan(v)]
    return np.mean(values) if values else np.nan


def deviation(values):
    values = [v for v in values if not np.isnan(v)]
    return np.std(values, ddof=1) if len(values) > 1 else np.nan


def empties(rows):
    return {"both": sum(not r["truth_voxels"] and not r["prediction_voxels"] for r in rows),
            "truth": sum(not r["truth_voxels"] and r["prediction_voxels"] > 0 for r in rows),
            "prediction": sum(r["truth_voxels"] > 0 and not r["prediction_voxels"] for r in rows)}


class Scores:
    """The rows of one table, by kind, seed and class: a row a subject, of what its scans are on
    average."""

    def __init__(self, out):
        self.rows = read_rows(out / "utility.csv")
        self.kinds = list(dict.fromkeys((r["source"], r["model"], r["augmentation"])
                                        for r in self.rows))
        self.names = list(dict.fromkeys(r["class"] for r in self.rows))
        self.seeds = list(dict.fromkeys(r["seed"] for r in self.rows))
        self.subjects = sorted({r["subject"] for r in self.rows})
        self.classes = [name for name in self.names if name.isdigit()]
        self.of = {}
        for r in self.rows:
            kind = (r["source"], r["model"], r["augmentation"])
            self.of.setdefault((kind, r["seed"], r["class"]), []).append(r)
        self.of = {key: [self.of_subject(s, [r for r in rows if r["subject"] == s])
                         for s in self.subjects] for key, rows in self.of.items()}

    @staticmethod
    def of_subject(subject, scans):
        voxels = {key: sum(r[key] for r in scans) for key in ("truth_voxels", "prediction_voxels")}
        return {"subject": subject, **voxels, **{m: mean([r[m] for r in scans]) for m in METRICS}}

    def held(self, name, subjects):
        first = self.of[self.kinds[0], self.seeds[0], name]
        return {r["subject"] for r in first if r["truth_voxels"] and r["subject"] in subjects}

    def dice(self, kind, seed, name, times):
        """Over subjects, each as often as it was drawn."""
        rows = self.of[kind, seed, name]
        return mean([v for r in rows for v in [r["dice"]] * times.get(r["subject"], 0)])

    def over_classes(self, kind, seed, times):
        drawn = {s for s, n in times.items() if n}
        return mean([self.dice(kind, seed, name, times) for name in self.classes
                     if self.held(name, drawn)])

    def number(self, kind, name, times):
        """Over seeds, of a class or, None, of their mean."""
        return mean([self.over_classes(kind, seed, times) if name is None
                     else self.dice(kind, seed, name, times) for seed in self.seeds])

    def resamplings(self):
        n = len(self.subjects)
        for drawn in itertools.combinations_with_replacement(range(n), n):
            times = np.bincount(drawn, minlength=n)
            ways = float(math.factorial(n)) / np.prod([math.factorial(k) for k in times])
            yield dict(zip(self.subjects, times)), ways / n**n


def check_interval(entry, values, weights, holders, what):
    """The ends lie where all resamplings together say that 2.5 % are left on either side, but for
    what drawing some of them misses."""
    low, high = entry["interval"]
    assert entry["lower95"] == low and entry["upper95"] == high, what
    defined = ~np.isnan(values)
    if holders < 2 or not defined.any():
        assert low is None and high is None, (what, entry)
        return
    values, share = values[defined], weights[defined].sum()
    weights, miss = weights[defined] / share, 5 * np.sqrt(0.025 * 0.975 / (DRAWS * share))
    for end, below in ((low, 0.025), (high, 0.975)):
        end = np.inf if end is None else end  # a ratio to 0 is beyond any number
        near = 1e-6 * max(1, abs(end)) if np.isfinite(end) else 0
        less = weights[values < end - near].sum()
        up_to = weights[values <= end + near].sum()
        assert less <= below + miss and up_to >= below - miss, (what, end, less, up_to)


def check_sums(out):
    scores, document = Scores(out), json.loads((out / "utility.json").read_text())
    everybody = dict.fromkeys(scores.subjects, 1)
    resamplings = list(scores.resamplings())
    weights = np.array([weight for _, weight in resamplings])
    never = [name for name in scores.names if not scores.held(name, scores.subjects)]
    assert document["never_in_holdout"] == never, document["never_in_holdout"]
    assert document["counts"]["holdout_subjects"] == len(scores.subjects)
    holders = {name: len(scores.held(name, scores.subjects)) for name in scores.classes}
    holders[None] = len(set().union(*(scores.held(n, scores.subjects) for n in scores.classes)))

    runs = iter(document["runs"])
    for kind, seed in itertools.product(scores.kinds, scores.seeds):
        run = next(runs)
        assert (run["source"], run["model"], run["augmentation"], str(run["seed"])) == (*kind, seed)
        close(run["dice"], scores.over_classes(kind, seed, everybody), "a run's Dice")
        for entry in run["classes"] + run["regions"]:
            rows = scores.of[kind, seed, entry["name"]]
            assert entry["subjects"] == len(rows) and entry["empty"] == empties(rows)
            for metric in METRICS:
                values = [r[metric] for r in rows]
                assert entry[metric]["count"] == int(np.isfinite(values).sum())
                close(entry[metric]["mean"], mean(values), metric)
                close(entry[metric]["sd"], deviation(values), metric)

    drawn = {}
    for kind in scores.kinds:
        for name in [None, *scores.classes]:
            drawn[kind, name] = np.array([scores.number(kind, name, times)
                                          for times, _ in resamplings])
    for entry, kind in zip(document["summary"], scores.kinds):
        assert (entry["source"], entry["model"], entry["augmentation"]) == kind
        means = [scores.over_classes(kind, seed, everybody) for seed in scores.seeds]
        close(entry["dice"]["mean"], mean(means))
        close(entry["dice"]["sd"], deviation(means))
        check_interval(entry["dice"], drawn[kind, None], weights, holders[None], kind)
        for part in entry["classes"] + entry["regions"]:
            rows = [scores.of[kind, seed, part["name"]] for seed in scores.seeds]
            assert part["empty"] == empties(sum(rows, []))
            for metric in METRICS:
                means = [mean([r[metric] for r in trial]) for trial in rows]
                counts = [int(np.isfinite([r[metric] for r in trial]).sum()) for trial in rows]
                assert part[metric]["seeds"] == int(np.isfinite(means).sum())
                assert part[metric]["subjects_least"] == min(counts)
                close(part[metric]["mean"], mean(means), metric)
                close(part[metric]["sd"], deviation(means), metric)
        for part in entry["classes"]:
            close(part["dice_interval"]["mean"], scores.number(kind, part["name"], everybody))
            check_interval(part["dice_interval"], drawn[kind, part["name"]], weights,
                           holders[part["name"]], (kind, part["name"]))

    others = [kind for kind in scores.kinds if kind[0] != "real"]
    assert len(document["relative_dice"]) == len(others)
    with np.errstate(divide="ignore", invalid="ignore"):
        for entry, kind in zip(document["relative_dice"], others):
            real = ("real", *kind[1:])
            for name, part in [(None, entry)] + [(p["name"], p) for p in entry["classes"]]:
                ends = [np.float64(scores.number(k, name, everybody)) for k in (kind, real)]
                ratio = ends[0] / ends[1]
                close(part["mean"], ratio if np.isfinite(ratio) else np.nan, "relative")
                check_interval(part, drawn[kind, name] / drawn[real, name], weights, holders[name],
                               (kind, name, "relative"))
            difference = drawn[kind, None] - drawn[real, None]
            close(entry["difference"]["mean"], scores.number(kind, None, everybody) -
                  scores.number(real, None, everybody))
            check_interval(entry["difference"], difference, weights, holders[None], "difference")
    return document


# ---- worlds --------------------------------------------------------------------------------------

SPACING = {"T0": (1, 1, 1), "T1": (1, 1, 1), "T2": (1, 1, 1), "T3": (1, 1, 1),
           "Ha": (0.9, 1.3, 4.0), "Hb": (1.5, 0.5, 2.5), "Hc": (1, 2, 3), "Hd": (0.8, 1.1, 5),
           "He": (1, 1, 1)}


def ingest(source, store, *more):
    lethe("ingest", "--source", source, "--out", store, "--canvas", SIDE, "--size", SIDE,
          "--quiet", *more)


def check_volumes():
    """Axial planes, and the same scans lying so that the same planes are coronal."""
    scans = cohort()
    names = [f"sub-{name}" for name in SPACING]
    write_cohort(HERE / "axial", scans, SPACING)
    split_file(HERE / "split.csv", names)
    try:
        ingest(HERE / "axial", HERE / "store", "--split-file", HERE / "split.csv")
    except subprocess.CalledProcessError as failed:
        raise SystemExit(failed.stderr)
    ingest(HERE / "axial", HERE / "theirs", "--role", "synthetic")
    lethe("utility", "--dataset", HERE / "store", "--synthetic", HERE / "theirs", "--out",
          HERE / "volumes", "--sources", "real,synthetic,0.25,0.5,0.75,shuffled,untrained",
          "--seeds", 2, *QUICK)
    defined = check_scores(HERE / "volumes", HERE / "store", HERE / "axial", SPACING)
    assert all(min(defined[metric]) > 0 for metric in METRICS[:5]), defined  # both happened
    check_folders(HERE / "axial", HERE / "labelled-volumes-real_unet_none_1", SPACING)
    document = check_sums(HERE / "volumes")
    assert document["counts"]["holdout_scans"] == 6 and document["regions"] == [
        "whole", "core", "enhancing"]
    theirs = len(np.load(HERE / "theirs/images.npy", mmap_mode="r"))
    shares = [run["images"] - theirs for run in document["runs"] if "+0." in run["source"]][::2]
    assert [bin(images).count("1") for images in shares] == [1, 2, 3], shares  # subjects
    assert shares[0] & shares[1] == shares[0] and shares[1] & shares[2] == shares[1]  # nested

    for plane, through, order in (("coronal", 1, (0, 2, 1)), ("sagittal", 0, (2, 0, 1))):
        turned = {name: [mm[axis] for axis in order] for name, mm in SPACING.items()}
        write_cohort(HERE / plane, scans, turned, order)
        ingest(HERE / plane, HERE / f"{plane}-store", "--split-file", HERE / "split.csv", "--plane",
               plane)
        out = HERE / f"{plane}-utility"
        lethe("utility", "--dataset", HERE / f"{plane}-store", "--out", out, "--sources",
              "real,untrained", "--seeds", 1, *QUICK)
        check_scores(out, HERE / f"{plane}-store", HERE / "axial", turned, through)
        document = check_sums(out)
        assert document["summary"][0]["dice"]["sd"] is None  # of one seed there is none


def check_single_images():
    """Images of an array, several of a subject: each is a plane of its own."""
    folder, counts = HERE / "array", [3, 4, 2, 5, 1, 3]
    folder.mkdir()
    masks = np.zeros((sum(counts), SIDE, SIDE), np.uint8)
    for mask in masks[::2]:
        top, left = RANDOM.integers(0, SIDE - 5, 2)
        mask[top:top + 5, left:left + 4] = 1
    images = np.clip(RANDOM.normal(90, 12, masks.shape) + 70 * masks, 0, 255).astype(np.uint8)
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", masks)
    subjects = [f"{'T' if i < 3 else 'H'}{i}" for i, n in enumerate(counts) for _ in range(n)]
    (HERE / "whose.csv").write_text("subject\n" + "\n".join(subjects) + "\n")
    split_file(HERE / "array.csv", sorted(set(subjects)))
    ingest(folder, HERE / "single", "--subjects-file", HERE / "whose.csv", "--split-file",
           HERE / "array.csv", "--channels", "flair")
    lethe("utility", "--dataset", HERE / "single", "--out", HERE / "images", "--sources",
          "real,shuffled", "--seeds", 2, *QUICK)
    document = check_sums(HERE / "images")
    counts = document["counts"]
    assert (counts["holdout_subjects"], counts["holdout_scans"], counts["spacing_assumed"]) == (
        3, 9, 9), counts
    for trial in range(4):  # each image stands there, with its own mask
        rows = read_rows(HERE / "images/utility.csv")[9 * trial:9 * trial + 9]
        assert [r["truth_voxels"] for r in rows] == list(masks[-9:].sum((1, 2)))


check_volumes()
check_single_images()
subprocess.run(["rm", "-r", str(HERE)], check=True)
print("every number agrees")
