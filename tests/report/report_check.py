#!/usr/bin/env python3
"""Whatever number stands in a report, or on the terminal, is held against the documents that it was
taken from; and what would tell of a patient is looked for in the public page.

    report_check.py LETHE

A table's row is known by its label and a paragraph by its words. What is not known is an error, so
that a number nobody holds against anything cannot come in. A number agrees when it is rounded as it
should be: to the nearest; up, where it bounds from above; down, where it bounds from below.
"""
import base64
import csv
import hashlib
import json
import math
import re
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from html.parser import HTMLParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))
import membership_numbers  # noqa: E402
import numpy as np  # noqa: E402

membership_numbers.DRAWS = 5000  # as exact as what is resampled 4,000 times

LETHE = str(Path(sys.argv[1]).resolve())
HERE = Path(tempfile.mkdtemp(prefix="lethe-report-"))
NEAREST, AT_MOST, AT_LEAST = "nearest", "at most", "at least"


def lethe(*words, fails=(0,)):
    done = subprocess.run([LETHE, *map(str, words)], capture_output=True, text=True, cwd=HERE)
    assert done.returncode in fails, (words, done.returncode, done.stderr)
    return done.stdout


# ---- numbers as they are written -----------------------------------------------------------------


def agrees(shown, value, rounding=NEAREST, percent=False):
    """Whether the text is the value, so rounded. None is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return shown == "–"
    text = shown.replace("\u202f", "").replace("−", "-")
    if percent:
        if not text.endswith(" %"):
            return False
        text, value = text[:-2], 100 * value
    found = re.fullmatch(r"-?\d+(?:\.(\d+))?(?:e([-+]\d+))?", text)
    if not found:
        return False
    step = 10.0 ** (int(found[2] or 0) - len(found[1] or ""))
    off, slack = float(text) - float(value), 1e-9 * max(1, abs(value))
    if not float(value).is_integer() and not percent:  # three digits at least, or four decimals
        assert step <= max(1e-4, 10.0 ** (math.floor(math.log10(abs(value))) - 2)) * 1.0001 or (
            abs(value) >= 1000), (shown, value)
    return {NEAREST: abs(off) <= step / 2 + slack, AT_MOST: -slack <= off < step + slack,
            AT_LEAST: -step - slack < off <= slack}[rounding]


def expect(shown, value, rounding=NEAREST, percent=False, what=""):
    assert agrees(shown, value, rounding, percent), (what, shown, value, rounding)


def at(document, path, default=None):
    for key in path.split("."):
        if not isinstance(document, dict) or document.get(key) is None:
            return default
        document = document[key]
    return document


# ---- the page ------------------------------------------------------------------------------------


class Node:
    def __init__(self, tag, attributes=()):
        self.tag, self.attributes, self.children = tag, dict(attributes), []

    def all(self, tag=None, kind=None):
        for child in self.children:
            if isinstance(child, Node):
                if (tag is None or child.tag == tag) and (
                        kind is None or kind in child.attributes.get("class", "").split()):
                    yield child
                yield from child.all(tag, kind)

    def text(self, without=()):
        return "".join(child if isinstance(child, str) else
                       "" if child.tag in without else child.text(without)
                       for child in self.children)


class Tree(HTMLParser):
    EMPTY = {"meta", "img", "input", "br", "line", "rect", "path"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.root, self.comments = Node("root"), []
        self.open = [self.root]
        self.feed(text)
        assert self.open == [self.root], [node.tag for node in self.open]

    def handle_starttag(self, tag, attributes):
        node = Node(tag, attributes)
        self.open[-1].children.append(node)
        if tag not in self.EMPTY:
            self.open.append(node)

    def handle_startendtag(self, tag, attributes):
        self.open[-1].children.append(Node(tag, attributes))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop().tag == tag, tag

    def handle_data(self, text):
        self.open[-1].children.append(text)

    def handle_comment(self, text):
        self.comments.append(text)


def rows_of(table):
    """(the first cell, its small print, the other cells) of each row of a table's body."""
    for body in table.all("tbody"):
        for row in body.all("tr"):
            cells = [c for c in row.children if isinstance(c, Node) and c.tag in ("th", "td")]
            small = " ".join(s.text() for s in cells[0].all("small"))
            yield cells[0].text(without=("small",)).strip(), small, cells[1:]


def section(page, name):
    (found,) = [node for node in page.root.all("section") if node.attributes["id"] == name]
    return found


def tables(node, caption=None):
    return [table for table in node.all("table")
            if caption is None or any(c.text().startswith(caption) for c in table.all("caption"))]


# ---- what the run says ---------------------------------------------------------------------------


class Run:
    def __init__(self, folder):
        def load(path):
            return json.loads(path.read_text()) if path.is_file() else None

        self.folder = folder
        self.report = load(folder / "report/report.json")
        self.choice = load(folder / "choice/choice.json")
        chosen = folder / "candidates" / self.choice["chosen"] if self.choice else folder
        self.audit = load(chosen / "audit/memorization.json")
        self.utility = load(chosen / "utility/utility.json")
        self.fidelity = load(chosen / "fidelity/fidelity.json")
        self.asked = chosen / "membership"
        self.membership = load(self.asked / "membership.json")
        self.made = chosen / "synthetic"
        if (folder / "sample").is_dir():
            self.made = folder / "sample"
        self.dataset = load(folder / "dataset/dataset.json")
        self.synthetic = load(self.made / "dataset.json")
        self.public = Tree((folder / "report/report.public.html").read_text())
        self.internal = Tree((folder / "report/report.internal.html").read_text())

    def unseen(self):
        return at(self.audit, "control.holdout.subjects", 0)

    def usefulness(self):
        for entry in (self.utility or {}).get("relative_dice", []):
            if entry["source"] == "synthetic":
                return entry["mean"]
        return None


def metric(document, path):
    """The value at a policy's path, and the object that it stands in."""
    value = parent = document
    for step in re.findall(r"([a-z0-9_]+)(?:\[([^\]]*)\])?", path):
        parent, value = value, value[step[0]]
        if step[1].isdigit():
            value = value[int(step[1])]
        elif step[1]:
            wanted = [pair.split("=") for pair in step[1].split(",")]
            (value,) = [v for v in value if all(str(v[k]) == w for k, w in wanted)]
    return value, parent


def is_of_one(run, row, parent):
    """Whether it is what one patient's images say, which is no measure and not for everybody."""
    name, first = row["metric"].split(".")[:2]
    if name == "memorization" or first in ("settings", "counts", "compared"):
        return False
    if name == "utility":
        people = [run.utility["counts"]["holdout_subjects"]]
        if parent.get("subjects_least") == 1 or parent.get("interval") == [None, None]:
            return True
    elif name == "fidelity":
        sides = ["training"] if ".training." in row["metric"] else ["holdout"]
        people = [v for side in sides for k, v in run.fidelity["compared"][side].items()
                  if k.endswith("_subjects")]
    else:
        people = [run.membership["counts"][side]["subjects"] for side in ("train", "holdout")]
        if ".control." in row["metric"]:
            people.append(people[1] // 2)
    return 1 in people


def measured(run, row, dropped):
    """What a row of the policy is about: evaluated here, from the documents."""
    name, path = row["metric"].split(".", 1)
    document = {"memorization": run.audit, "utility": run.utility, "fidelity": run.fidelity,
                "membership": run.membership}[name]
    if dropped and path == "flagged.count" or dropped and path.startswith("flagged.by_"):
        return 0
    if dropped and path == "flagged.fraction" and row["bound"] == "value":
        return 0
    if dropped and path == "counts.synthetic":
        return run.audit["counts"]["synthetic"] - run.audit["flagged"]["count"]
    try:
        value, parent = metric(document, path)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    if is_of_one(run, row, parent):
        return None
    if row["bound"] != "value":
        holder = value if isinstance(value, dict) else parent
        pair = holder.get("interval") or [None, None]
        value = holder.get(row["bound"], pair[row["bound"] == "upper95"])
    return float(value) if isinstance(value, (int, float, bool)) else None


# ---- section by section --------------------------------------------------------------------------


def check_verdict(run, page, dropped):
    (word,) = page.root.all("strong", "word")
    assert word.text() == ("PASSED" if run.report["passed"] else "NOT PASSED")
    figures = {d.text(): v.text() for d, v in zip(page.root.all("dt"), page.root.all("dd"))}
    flagged, of = figures.pop("synthetic images flagged as too close to a patient").split(" of ")
    expect(flagged, run.audit["flagged"]["count"])
    expect(of, run.audit["counts"]["synthetic"])
    assert run.audit["flagged"]["of"] == run.audit["counts"]["synthetic"]
    bound = figures.pop("share of such images at most, with 95 % confidence")
    expect(bound.removeprefix("≤ "), run.audit["flagged"]["upper95"], AT_MOST, True)
    one = run.utility and run.utility["counts"]["holdout_subjects"] == 1
    hidden = one and page is run.public
    expect(figures.pop("usefulness, where real images are 1"), None if hidden else run.usefulness())
    expect(figures.pop("unseen patients as control"), run.unseen())
    assert not figures

    (table,) = tables(section(page, "verdict"), "The policy")
    judged = []
    for (words, small, cells), row in zip(rows_of(table), run.report["policy"], strict=True):
        path, _, bound = small.partition(", ")
        assert (path, bound or "value") == (row["metric"], row["bound"]), small
        value = measured(run, row, dropped)
        at_most = row["must_be"] == "at_most"
        met = value is not None and (value <= row["limit"] if at_most else value >= row["limit"])
        judged.append(met)
        assert row["verdict"] == ("missing" if value is None else "passed" if met else "failed")
        assert cells[2].text() == ("✓ met" if met else "✗ not met"), row
        limit, shown = cells[0].text().strip(), cells[1].text(without=("small",))
        if value is None:
            assert row["measured"] is None and shown == "not measured"
            continue
        assert math.isclose(row["measured"], value, rel_tol=1e-12, abs_tol=1e-15), row
        if limit in ("yes", "no"):
            assert limit == ("yes" if row["limit"] > 0 else "no")
            assert shown == ("yes" if value > 0 else "no")
            continue
        percent = limit.endswith("%")
        rule, number = re.fullmatch(r"(at most|at least) (.*)", limit).groups()
        assert (rule == "at most") == at_most
        scale = 100 if percent else 1
        assert math.isclose(float(number.removesuffix(" %")), scale * row["limit"], rel_tol=1e-11)
        expect(shown, value, {"upper95": AT_MOST, "lower95": AT_LEAST}.get(row["bound"], NEAREST),
               percent, row["metric"])
        # what is written must not contradict the verdict, or the exact number stands beside it
        written = float(shown.removesuffix(" %")) / scale
        slack = 1e-9 * abs(row["limit"])
        reads = written <= row["limit"] + slack if at_most else written >= row["limit"] - slack
        beside = " ".join(s.text() for s in cells[1].all("small"))
        exact = re.findall(r"exactly (\S+), of (\S+)", beside)
        assert bool(exact) == (reads != met), (row, shown)
        for a, b in exact:
            assert math.isclose(float(a), value, rel_tol=1e-12) and float(b) == row["limit"]
    assert run.report["passed"] == all(judged)
    texts = " ".join(p.text() for p in section(page, "verdict").all("p"))
    left_out = re.findall(r"Of the audited images (\S+) flagged", texts)
    everything = run.audit["flagged"]["count"] == run.audit["counts"]["synthetic"]
    assert left_out == ([str(run.audit["flagged"]["count"])] if dropped and not everything else [])


def check_candidates(run, page):
    found = tables(section(page, "verdict"), "All candidates")
    assert bool(found) == bool(run.choice)
    if not found:
        return
    k = len(run.choice["candidates"])
    (words,) = [p.text() for p in section(page, "verdict").all("p") if "chances" in p.text()]
    numbers = re.findall(r"\d+(?:\.\d+)?(?: %)?", words)
    assert numbers[:4] == [str(k)] * 4 and numbers[4] == "95 %", words
    expect(re.search(r"each with (\S+ %)", words)[1], 1 - 0.05 / k, NEAREST, True)
    candidates = run.choice["candidates"]
    for (name, small, cells), entry in zip(rows_of(found[0]), candidates, strict=True):
        own = run.folder / "candidates" / entry["name"]
        audit = json.loads((own / "audit/memorization.json").read_text())
        made = json.loads((own / "synthetic/dataset.json").read_text())
        flagged = audit["flagged"]
        chosen = entry["name"] == run.choice["chosen"]
        assert name == entry["name"] + (" (this one)" if chosen else "")
        assert small == f"{made['origin']['model']}, {made['origin']['trained_steps']} steps", small
        assert cells[0].text() == f"{flagged['count']} of {flagged['of']}"
        assert flagged["candidates"] == k and math.isclose(flagged["confidence"], 1 - 0.05 / k)
        expect(cells[1].text(), flagged["upper95"], AT_MOST, True)
        useful = None
        if (own / "utility/utility.json").is_file():
            entries = json.loads((own / "utility/utility.json").read_text())["relative_dice"]
            useful = next((e["mean"] for e in entries if e["source"] == "synthetic"), None)
        expect(cells[2].text(), useful)
        met = sum(row["verdict"] == "passed" for row in entry["rows"])
        (small,) = cells[3].all("small")
        assert small.text() == f"{met} of {len(entry['rows'])} met"
        assert entry["passed"] == (met == len(entry["rows"]))
        assert ("not passed" in cells[3].text()) != entry["passed"]


FOUND = {
    "… as a real image itself, unchanged": "flagged.by_identity",
    "… by likeness": "flagged.by_correlation",
    "… by being nearer than strangers are": "flagged.by_local_ratio",
    "… as copies in disguise (mirrored, turned, brighter)": "flagged.by_disguise",
    "… by a part of the image": "flagged.by_tile",
    "… by a lesion": "flagged.by_lesion",
    "Images that only a limit in the plan kept from being flagged": "flagged.spared_by_limits",
    "Control images all but equal to a training image": "control.near_copies.count",
    "Chance that a synthetic image is farther from its nearest training image than an image of the "
    "control is (0.5: no difference)": "preparation.farther.value",
    "Chance that a synthetic image is smoother than an image of the control as it was given (0.5: "
    "no difference)": "smoothness.smoother.value",
    "… than an image of the control as it was changed to be as smooth":
        "control.matched_holdout.smoothness.smoother.value",
    "Pairs of nearly equal synthetic images": "duplicates.synthetic.pairs",
    "Pairs of nearly equal training images": "duplicates.train.pairs",
    "Flagged images that chance alone brings, on average": "flagged.expected_by_chance",
    "Control images": "calibration.control_images",
    "… and how many the rate that was asked for takes": "calibration.control_images_needed",
}
THRESHOLDS = {
    "correlation": "correlation", "local ratio": "local_ratio",
    "correlation in disguise": "disguise_correlation",
    "local ratio in disguise": "disguise_local_ratio",
    "local ratio of a piece": "tile_local_ratio", "local ratio of a lesion": "lesion_local_ratio",
}
COMPANIONS = {
    "C_T (Meehan et al.)": ("ct", "value"),
    "Authenticity (Alaa et al.)": ("authenticity", "fraction"),
    "DCR share": ("dcr", "fraction"), "Carlini's rule": ("carlini", "fraction"),
    "Membership inference, area under the curve": ("mia.auc", "value"),
    "… true-positive rate at 1 % false positives": ("mia.tpr_at_1_percent", "value"),
}
QUANTILES = {"Synthetic": "nearest", "Of unseen patients (control)": "control.holdout",
             "… changed to be as smooth as the synthetic images": "control.matched_holdout",
             "Of one training patient among the others": "control.other_subjects"}


def check_found(audit, label, cell):
    across = at(audit, "calibration.across_subjects")
    alone = re.fullmatch(r"… by (\S+) alone", label)
    if label == "Images flagged":
        assert cell == f"{audit['flagged']['count']} of {audit['counts']['synthetic']}"
    elif label == "Share of flagged images, with 95 % confidence":
        low, high = cell.split(" to ")
        expect(low, audit["flagged"]["lower95"], AT_LEAST, True)
        expect(high, audit["flagged"]["upper95"], AT_MOST, True)
    elif label in FOUND:
        expect(cell, at(audit, FOUND[label]), what=label)
    elif alone:
        expect(cell, audit["flagged"][f"by_channel_{alone[1]}"])
    elif label.startswith("Threshold of the "):
        name = label.removeprefix("Threshold of the ")
        channel = re.fullmatch(r"correlation of (\S+) alone", name)
        key = f"channel_{channel[1]}" if channel else THRESHOLDS[name]
        threshold = audit["thresholds"][key]
        number, _, words = cell.partition(" (")
        expect(number, threshold["value"], what=label)
        assert bool(words) == (not threshold["supported"]), (label, cell)
    elif label.startswith("Images flagged by chance alone, on average"):
        assert label.endswith("at most" if audit["calibration"]["exact"] else "about")
        expect(cell, audit["calibration"]["guaranteed_rate"], percent=True)
    elif label.startswith("… as the plan asks for"):
        expect(cell, audit["calibration"]["false_positive_rate"], percent=True)
    elif label.startswith("… as the control's patients show"):
        words = re.fullmatch(r"(.* %): (\d+) of (\d+) images, of (\d+) of (\d+) patients", cell)
        expect(words[1], across["images"]["fraction"], percent=True)
        assert [int(n) for n in words.groups()[1:]] == [
            across["images"]["count"], across["images"]["of"], across["subjects"]["count"],
            across["subjects"]["of"]], cell
    elif label.startswith("… the true rate"):
        low, high = cell.split(" to ")
        expect(low, audit["calibration"]["rate_interval"][0], AT_LEAST, True)
        expect(high, audit["calibration"]["rate_interval"][1], AT_MOST, True)
    elif label == "Search":
        assert cell == audit["engine"]
    else:
        raise AssertionError(f"nobody knows what this row should say: {label}")


def check_memorisation(run, page):
    audit, part = run.audit, section(page, "memorisation")
    (plain,) = part.all("p", "plain")
    numbers = re.findall(r"\(in number: (\S+)\)", plain.text())
    used = audit["control"]["used"]
    assert numbers == ([str(audit["control"][used]["subjects"])] if used else []), plain.text()
    of, count, bound = re.search(r"Of (\S+) images (\S+) (?:was|were) flagged; .* most (\S+ %) would be",
                                 plain.text()).groups()
    expect(of, audit["counts"]["synthetic"])
    expect(count, audit["flagged"]["count"])
    expect(bound, audit["flagged"]["upper95"], AT_MOST, True)
    seen = set()
    for table in tables(part):
        caption = " ".join(c.text() for c in table.all("caption"))
        heads = [h.text() for head in table.all("thead") for h in head.all("th")]
        for label, small, cells in rows_of(table):
            if caption == "What was found":
                check_found(audit, label, cells[0].text())
                seen.add(label)
            elif caption == "Correlation with the nearest training image":
                summary = at(audit, QUANTILES[label])
                for key, cell in zip(["mean", "p50", "p95", "p99", "max"], cells, strict=True):
                    expect(cell.text(), summary[key], what=(label, key))
            elif heads[:1] == ["Measure"]:
                check_companion(audit, label, small, cells)
                seen.add(label)
            else:
                assert heads[0].startswith(("correlation with", "distance to the nearest")), heads
    for label, path in FOUND.items():  # nothing that was found is passed over
        assert (label in seen) == (at(audit, path, "none") != "none" or label.startswith(
            ("Flagged images that", "… and how many the"))), (label, path)
    thresholds = sum(label.startswith("Threshold of the ") for label in seen)
    assert thresholds == len(audit["thresholds"]), seen
    for key in audit["flagged"]:
        if key.startswith("by_channel_"):
            assert f"… by {key.removeprefix('by_channel_')} alone" in seen, key
    for label, (path, key) in COMPANIONS.items():
        assert (label in seen) == (at(audit, f"companions.{path}.{key}") is not None), label
    for chart, name in zip(part.all("figure", "chart"), ["correlation", "local_ratio"]):
        check_histogram(audit, chart, name)
    warnings = [item.text() for item in part.all("li")]
    assert warnings == audit["warnings"]


def check_companion(audit, label, small, cells):
    path, key = COMPANIONS[label]
    companion = at(audit, f"companions.{path}")
    chance = re.search(r"by chance: (.*)$", small)
    assert bool(chance) == ("expected" in companion)
    if chance:
        expect(chance[1], companion["expected"])
    if companion.get("supported") is False:
        assert cells[0].text() == "too few unseen images" and cells[1].text() == "–"
        return
    expect(cells[0].text(), companion[key], what=label)
    low, high = companion.get("interval") or (companion.get("lower95"), companion.get("upper95"))
    if low is None:
        assert cells[1].text() == "–"
        return
    shown = cells[1].text().split(" to ")
    expect(shown[0], low, AT_LEAST, what=label)
    expect(shown[1], high, AT_MOST, what=label)


def check_histogram(audit, chart, name):
    histogram, keys = audit["histograms"][name], ["synthetic"]
    keys.append("matched_holdout" if audit["control"]["used"] == "matched_holdout" else "holdout")
    keys.append("other_subjects")
    keys = [key for key in keys if histogram.get(key) and sum(histogram[key])]
    (legend,) = chart.all("figcaption")
    totals = [int(re.sub(r"\D", "", s.text())) for s in legend.all("small")]
    assert totals == [sum(histogram[key]) for key in keys], (name, totals)
    bins = [i for i in range(len(histogram["edges"]) - 1) if any(histogram[key][i] for key in keys)]
    (table,) = tables(chart)
    rows = next(table.all("tbody")).all("tr")
    body = [[c for c in row.children if isinstance(c, Node)] for row in rows]
    for cells, i in zip(body, bins, strict=True):
        low, high = cells[0].text().split(" to ")
        expect(low, histogram["edges"][i])
        expect(high, histogram["edges"][i + 1])
        assert [cell.text() for cell in cells[1:]] == [str(histogram[key][i]) for key in keys]


def check_cell(cell, of, interval, distance, public):
    shown = cell.text(without=("small",))
    if public and of["mean"] is not None and interval["interval"][0] is None:
        assert cell.text() == "–fewer than two patients"  # the value of one is not for everybody
        return
    if of["mean"] is None:
        assert shown == "–"
    else:
        words = shown.split(" ± ")
        assert math.isclose(float(words[0]), of["mean"], abs_tol=5.1e-4)
        assert (len(words) == 2) == (of["sd"] is not None)
        assert len(words) == 1 or math.isclose(float(words[1]), of["sd"], abs_tol=5.1e-4)
    small = [s.text() for s in cell.all("small")]
    if interval["interval"][0] is not None:
        low, high = map(float, small.pop(0).split(" to "))
        assert np.allclose([low, high], interval["interval"], atol=5.1e-4)
    if distance and distance["mean"] is not None and not (
            public and distance["subjects_least"] == 1):
        words = small.pop(0).removeprefix("HD95 ").split(" ± ")
        assert math.isclose(float(words[0]), distance["mean"], abs_tol=0.051)
        assert (len(words) == 2) == (distance["sd"] is not None)
    assert not small, small


def check_utility(run, page):
    part = section(page, "utility")
    if not run.utility:
        assert "not measured" in part.text()
        return
    for name in ("nan", "inf"):
        assert not re.search(rf"\b{name}\b", part.text()), name
    shown = [t.text() for t in part.all("text", "value")]
    public = page is run.public
    told = [entry for entry in run.utility["relative_dice"]
            if not public or entry["interval"] != [None, None]]
    for text, entry in zip(shown, told, strict=True):
        expect(text, entry["mean"])
    (table,) = tables(part, "On patients kept apart")
    for (label, small, cells), entry in zip(rows_of(table), run.utility["summary"], strict=True):
        words = {"real": "real images", "synthetic": "synthetic images"}
        assert label == words.get(entry["source"], entry["source"])
        assert small == f"{entry['model']}, augmentation {entry['augmentation']}"
        check_cell(cells[0], entry["dice"], entry["dice"], None, public)
        for cell, kind in zip(cells[1:], entry["classes"], strict=True):
            check_cell(cell, kind["dice"], kind["dice_interval"], kind["hausdorff_95"], public)
    (count,) = re.findall(r"Patients that it was tested on: (\d+)\.", part.text())
    assert int(count) == run.utility["counts"]["holdout_subjects"]
    never = re.findall(r"these patients has (\S+): its", part.text())
    assert never == run.utility["never_in_holdout"]
    weak = [entry["dice"] for entry in run.utility["summary"] if entry["source"] == "real"]
    weak = [dice for dice in weak if dice["mean"] is not None and dice["mean"] < 0.2]
    told = re.findall(r"finds little(?: \(Dice (\S+)\))?,", part.text())
    for shown, dice in zip(told, weak, strict=True):
        if public and dice["interval"] == [None, None]:
            assert not shown
        else:
            expect(shown, dice["mean"])


LIKENESS = ["kid", "fid", "precision", "recall", "density", "coverage"]  # in the report: without classes
TOLD = [*LIKENESS, "inception_score"]


def check_estimate(cell, of):
    """A value, and its interval in small print, rounded so that it bounds."""
    expect(cell.text(without=("small",)), of["value"])
    small = [s.text() for s in cell.all("small")]
    if of["lower95"] is not None:
        low, high = small.pop(0).split(" to ")
        expect(low, of["lower95"], AT_LEAST)
        expect(high, of["upper95"], AT_MOST)
    assert not small, small


def check_likeness(part, compared, mean, table):
    """One comparison: what stands above its table, and the table."""
    counts = [compared[key] for key in ("images", "reference_images", "reference_subjects",
                                        "control_subjects")]
    assert re.search(r"%d synthetic images beside %d images of [a-z ]+ \(%d in number\); the control "
                     r"are as many real images, of [a-z ]+ \(%d in number\)" % tuple(counts),
                     part.text()), (counts, part.text())
    for (label, _, cells), name in zip(rows_of(table), LIKENESS, strict=True):
        assert label.lower() == name
        of = mean[name]
        if name == "fid":
            expect(cells[0].text(), of["value"])
            expect(cells[1].text(), of["control"])
            expect(cells[2].text().removesuffix(" times"), of["ratio"])
        else:
            for cell, side in zip(cells, (of, of["control"], of["difference"]), strict=True):
                check_estimate(cell, side)


def check_fidelity(run, page):
    parts = [node for node in page.root.all("section") if node.attributes["id"] == "fidelity"]
    assert len(parts) == bool(run.fidelity)
    if not parts:
        return
    (part,), mean = parts, run.fidelity["mean"]
    keys = [key for key in ("holdout", "training") if mean[key]]
    bars = [side["value"] for key in keys for name in LIKENESS[2:]
            for side in (mean[key][name], mean[key][name]["control"])]
    for text, value in zip([t.text() for t in part.all("text", "value")],
                           [value for value in bars if value is not None], strict=True):
        expect(text, value)
    for key, table in zip(keys, tables(part, "Mean over channels"), strict=True):
        check_likeness(part, run.fidelity["compared"][key], mean[key], table)
    (table,) = tables(part, "Each channel")
    for (label, _, cells), channel in zip(rows_of(table), run.fidelity["channels"], strict=True):
        assert label == channel["name"]
        for cell, name in zip(cells, LIKENESS, strict=True):
            of = channel[keys[0]][name]
            control = of["control"] if name == "fid" else of["control"]["value"]
            expect(cell.text(without=("small",)), of["value"])
            expect(next(cell.all("small")).text(), control)
    assert run.fidelity["features"]["weights"] in part.text()
    for warning in run.fidelity["warnings"]:
        assert warning in part.text(), warning


RATES = {"AUC": "auc", "Found at 1 %": "tpr_at_1_percent", "Found at 0.1 %": "tpr_at_0_1_percent"}
UNITS = ["images", "subjects"]


def check_membership(run, page):
    """The documents' numbers are computed anew from their tables, the page's are the document's."""
    parts = [node for node in page.root.all("section") if node.attributes["id"] == "membership"]
    assert len(parts) == bool(run.membership)
    if not parts:
        return
    (part,), said, counts = parts, run.membership, run.membership["counts"]
    beside = said.get("calibrated")
    control, controls = control_of(run, page, said), beside and control_of(run, page, beside)
    assert re.search(r"^%d images of %d patients whom the model learned from, %d of %d whom it never" % (
        counts["train"]["scored"], counts["train"]["subjects"], counts["holdout"]["scored"],
        counts["holdout"]["subjects"]), "\n".join(p.text() for p in part.all("p")), re.M)
    told = any(found[unit]["tells_apart"] for unit in UNITS for found in (said, beside or said))
    words = "It does so better than chance explains", "It does so no better than chance explains"
    assert words[not told] in part.text() and words[told] not in part.text()
    bars = [side["auc"]["value"] for unit in UNITS
            for side in [said[unit], *([beside[unit]] if beside else []),
                         *([control[unit]] if control else [])]]
    for text, value in zip([t.text() for t in part.all("text", "value")], bars, strict=True):
        expect(text, value)
    check_guessing(part, "the model;", said, control)
    if beside:
        check_guessing(part, "the model beside others;", beside, controls)
        check_references(said, "\n".join(p.text() for p in part.all("p")))
    assert bool(beside) == bool(tables(part, "Guessing who was in the training set, by the model b"))
    assert [item.text() for item in part.all("li")] == said["warnings"]


def check_references(said, texts):
    """How many there are, for how long they were trained, whom they do not judge."""
    references, left = said["calibrated"]["references"], said["calibrated"]["not_judged"]
    (count,) = re.findall(r"So (\S+) other models? (?:was|were) trained in the same way", texts)
    expect(count, len(references))
    own, steps = said["model"]["step"], [reference["step"] for reference in references]
    alike, unlike = (re.findall(words, texts) for words in (
        r"trained for (\S+) steps, as this one was", r"trained for (\S+) to (\S+) steps, and this one "
        r"for (\S+):"))
    assert (len(alike), len(unlike)) == ((1, 0) if set(steps) == {own} else (0, 1)), texts
    for shown, value in zip([*alike, *sum(unlike, ())],
                            [own] if alike else [min(steps), max(steps), own], strict=True):
        expect(shown, value)
    not_judged = re.findall(r"(\S+) images that the model learned from and (\S+) others were seen by "
                            "all", texts)
    assert len(not_judged) == any(left.values())
    for shown in not_judged:
        expect(shown[0], left["train"])
        expect(shown[1], left["holdout"])


def control_of(run, page, said):
    """In public not where a half is one person."""
    one = page is run.public and said["subjects"]["non_members"] < 4
    return None if one else said["control"]


def check_guessing(part, by, said, control):
    (table,) = tables(part, "Guessing who was in the training set, by " + by)
    labels = []
    for label, _, cells in rows_of(table):
        labels.append(label)
        for cell, unit in zip(cells, UNITS, strict=True):
            if label in RATES:
                check_rate(cell, said[unit][RATES[label]])
            elif label == "By chance":
                expect(cell.text(), said[unit]["by_chance"])
            elif control is None:
                assert cell.text() == "–"
            else:
                check_estimate(cell, control[unit]["auc"])
    assert labels == [*RATES, "By chance", "AUC of the control"]


def check_rate(cell, of):
    """A rate of too few says so below its interval."""
    small = list(cell.all("small"))
    assert (of.get("supported") is False) == any("too few" in s.text() for s in small)
    if of.get("supported") is False:
        cell.children.remove(small.pop())
    check_estimate(cell, of)


def check_making(run, page):
    (table,) = tables(section(page, "made"))
    shown = {label: cells[0].text() for label, _, cells in rows_of(table)}
    real = at(run.dataset, "origin.splits", {})
    assert shown.pop("Name") == run.report["name"]
    expect(shown.pop("Synthetic images"), run.synthetic["images"])
    assert shown.pop("Size") == f"{run.synthetic['height']} × {run.synthetic['width']} pixels"
    expect(shown.pop("Steps of training"), at(run.synthetic, "origin.trained_steps"))
    expect(shown.pop("Seed of the set"), at(run.synthetic, "origin.seed"))
    patients = ["Patients that the generator learned from", "Patients kept apart, as control"]
    images = [label for label in shown if label == "… with images"]
    for label, split in zip(patients, ["train", "holdout"]):
        expect(shown.pop(label), at(real, f"{split}.subjects"))
    last = [cells[0].text() for label, _, cells in rows_of(table) if label == "… with images"]
    for cell, split in zip(last, ["train", "holdout"], strict=True):
        expect(cell, at(real, f"{split}.images"))
    del shown[images[0]]
    assert set(shown) == {"Generator", "Licence", "Intended use", "To be assessed again"}


def check_risks(run, page):
    texts = section(page, "risks").text()
    count, of, bound = re.search(r": (\S+) of (\S+) images flagged; at most (\S+ %)",
                                 texts).groups()
    expect(count, run.audit["flagged"]["count"])
    expect(of, run.audit["counts"]["synthetic"])
    expect(bound, run.audit["flagged"]["upper95"], AT_MOST, True)
    area = re.findall(r"area under the curve (\S+) \(", texts)
    mia = at(run.audit, "companions.mia.auc.value")
    assert len(area) == (mia is not None)
    for shown in area:
        expect(shown, mia)
    assert ("threshold from" in texts) == (run.audit["control"]["used"] is not None)
    unseen = re.findall(r"just (\d+);", section(page, "limits").text())
    assert unseen == ([str(run.unseen())] if 0 < run.unseen() < 20 else [])
    assert ("No patients were kept apart" in section(page, "limits").text()) == (not run.unseen())


def check_internal(run):
    page = run.internal
    rows = [(label, [int(c.text()) for c in cells])
            for table in tables(section(page, "exposure")) for label, _, cells in rows_of(table)]
    assert rows == [(e["subject"] + (" (held out)" if e["held_out"] else ""),
                     [e["flagged"], e["nearest"]]) for e in run.audit["exposure"]]
    shown = list(section(page, "pairs").all("article"))
    assert len(shown) == min(len(run.audit["pairs"]), 24)
    for article, pair in zip(shown, run.audit["pairs"]):
        (badge, correlation, patient) = [s.text() for s in article.all("span")][:3]
        assert badge == ("flagged" if pair["synthetic"] in run.audit["flagged"]["images"] else
                         "not flagged")
        expect(correlation.removeprefix("correlation "), pair["correlation"])
        assert patient == f"patient {pair['subject']}"
        names = [c.text() for c in article.all("figcaption")]
        beside = f"Training image {pair['training']}"
        if "holdout" in pair:
            beside = f"Image of a patient who was held out {pair['holdout']}"
        assert names == [f"Synthetic image {pair['synthetic']}", beside]


# ---- what the public page must not hold ----------------------------------------------------------


def pixels_of(png):
    """Chunks and pixels of a PNG of 8 bits, read here, so that nothing is passed over."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, kinds, data = 8, [], b""
    while place < len(png):
        size, kind = struct.unpack(">I4s", png[place:place + 8])
        kinds.append(kind.decode())
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", png[place + 8:place + 18])
        if kind == b"IDAT":
            data += png[place + 8:place + 8 + size]
        place += 12 + size
    assert place == len(png) and depth == 8
    channels = {0: 1, 2: 3, 6: 4}[colour]
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    out = np.zeros((height, width * channels), np.uint8)
    for y, line in enumerate(raw):
        kind, line = line[0], line[1:].astype(int)
        above = out[y - 1].astype(int) if y else np.zeros(width * channels, int)
        row = np.zeros(width * channels, int)
        for x in range(width * channels):
            left = row[x - channels] if x >= channels else 0
            corner = above[x - channels] if x >= channels else 0
            guess = left + above[x] - corner
            paeth = min((left, above[x], corner), key=lambda v: abs(guess - v))
            row[x] = (line[x] + [0, left, above[x], (left + above[x]) // 2, paeth][kind]) % 256
        out[y] = row
    return kinds, out.reshape(height, width, channels)


def pictures(page):
    for image in page.root.all("img"):
        kind, data = image.attributes["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        yield pixels_of(base64.b64decode(data))


def check_leaks(run, cohort):
    whole = (run.folder / "report/report.public.html").read_text()
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", whole)  # pictures are looked at below
    with open(run.folder / "dataset/index.csv", newline="", encoding="utf-8") as file:
        index = list(csv.DictReader(file))
    secret = {row[key] for row in index for key in ("subject", "source", "sha256")}
    secret |= {Path(row["source"]).name for row in index}
    secret |= {str(HERE), HERE.name, cohort, f" {socket.gethostname()} ", "journal.jsonl", "pepper"}
    secret |= {file["sha256"] for scan in at(run.dataset, "origin.scans", [])
               for file in scan["files"]}
    secret |= set(re.findall(r'"time": ?"([^"]+)"', (run.folder / "journal.jsonl").read_text()))
    pairs = {f"{p['correlation']:.4f}" for p in run.audit["pairs"] if p["correlation"] < 0.99995}
    for word in secret:
        assert word not in text, f"the public page holds {word!r}"
    for word in pairs:
        assert not re.search(rf"(?<![\d.]){re.escape(word)}", text), f"a pair's {word}"
    dates = set(re.findall(r"\b(?:19|20)\d\d-\d\d-\d\d\b", text))
    assert dates <= {"2027-01-01"}, dates  # when it is to be assessed again
    assert not run.public.comments and "<script" not in text and "data-" not in re.sub(
        r"<style>.*?</style>", "", text, flags=re.S)
    allowed = {"class", "id", "href", "scope", "alt", "width", "height", "loading", "src", "role",
               "lang", "charset", "name", "content", "http-equiv", "viewbox", "d", "x", "y", "x1",
               "x2", "y1", "y2", "rx", "text-anchor", "aria-label", "aria-labelledby"}
    for node in run.public.root.all():
        assert set(node.attributes) <= allowed, (node.tag, node.attributes)
    images = np.load(run.made / "images.npy", mmap_mode="r")
    real = np.load(run.folder / "dataset/images.npy", mmap_mode="r")
    side, found = images.shape[-1], []
    sheets = list(pictures(run.public))
    assert bool(sheets) == run.report["passed"]
    patients = {real[i, c].tobytes() for i in range(len(real)) for c in range(real.shape[1])}
    for kinds, sheet in sheets:
        assert set(kinds) == {"IHDR", "IDAT", "IEND"}, kinds
        for top in range(2, sheet.shape[0] - side + 1, side + 2):
            for left in range(2, sheet.shape[1] - side + 1, side + 2):
                tile = sheet[top:top + side, left:left + side]
                if (tile[..., 0] == tile[..., 1]).all() and (tile[..., 0] == tile[..., 2]).all():
                    assert tile[..., 0].tobytes() not in patients or not tile.any()
                    found += [i for i in range(len(images)) if (images[i, 0] == tile[..., 0]).all()]
    if sheets:
        assert found and not set(found) & set(run.audit["flagged"]["images"])
    for kinds, _ in pictures(run.internal):
        assert set(kinds) == {"IHDR", "IDAT", "IEND"}, kinds


# ---- the terminal --------------------------------------------------------------------------------


def check_terminal(run, plan, summaries):
    out, audit = summaries["audit"], run.audit
    found = re.search(r"found:   (\d+) synthetic images? against (\d+) training images? of (\d+) "
                      r"subjects?", out)
    assert [int(n) for n in found.groups()] == [
        audit["counts"][key] for key in ("synthetic", "train", "subjects")]
    medians = re.findall(r"nearest correlation: median (\S+), 99 % (\S+), largest ([\d.-]+)", out)
    used = audit["control"]["used"]
    controls = [audit["control"][used]] if used else []
    for words, of in zip(medians, [audit["nearest"], *controls], strict=True):
        for word, key in zip(words, ["p50", "p99", "max"]):
            assert abs(float(word) - of[key]) <= 0.5001e-4, (word, key)
    if used:
        control = re.search(r"control: (\d+) \S+ images? of (\d+) subjects?", out)
        assert [int(n) for n in control.groups()] == [
            audit["control"][used][key] for key in ("count", "subjects")]
    for name, sign, value in re.findall(r" (\w+) ([<>]) (\S+?)(?= |,|$)", out, re.M):
        threshold = audit["thresholds"][name]
        assert (sign == "<") == (threshold["flags"] == "below")
        assert abs(float(value) - threshold["value"]) <= 0.5001e-4
    flagged = re.search(r"flagged: (\d+) of (\d+) \((\S+) %, (\S+) % interval (\S+) … (\S+) %;",
                        out)
    assert [int(flagged[1]), int(flagged[2])] == [audit["flagged"]["count"],
                                                  audit["flagged"]["of"]]
    assert math.isclose(float(flagged[3]), 100 * audit["flagged"]["fraction"], rel_tol=5.1e-3,
                        abs_tol=1e-12)
    low, high = 100 * audit["flagged"]["lower95"], 100 * audit["flagged"]["upper95"]
    assert 0.989 * low <= float(flagged[5]) <= low + 1e-9
    assert high - 1e-9 <= float(flagged[6]) <= 1.011 * high
    chance = re.search(r"by chance about (\S+) on average", out)
    expected = audit["flagged"]["expected_by_chance"]
    assert bool(chance) == (expected is not None)
    assert not chance or math.isclose(float(chance[1]), expected, rel_tol=5.1e-3)

    if run.utility:
        lines = summaries["utility"].splitlines()
        place = next(i for i, line in enumerate(lines) if line.startswith("source "))
        relative = {tuple(e[k] for k in ("source", "model", "augmentation")): e
                    for e in run.utility["relative_dice"]}
        for line, entry in zip(lines[place + 1:], run.utility["summary"]):
            words = line.replace("…", " ").split()
            kind = tuple(entry[k] for k in ("source", "model", "augmentation"))
            assert tuple(words[:3]) == kind
            wanted = [entry["dice"][k] for k in ("mean", "sd", "lower95", "upper95")]
            if kind in relative:
                wanted += [relative[kind][k] for k in ("mean", "lower95", "upper95")]
            for word, value in zip(words[3:], wanted, strict=True):
                assert (word == "–") == (value is None), line
                assert value is None or abs(float(word) - value) <= 0.5001e-3, line
        counts = run.utility["counts"]
        assert f"tested on {counts['holdout_subjects']} subject" in lines[-1]
        done = re.search(r"(\d+) of (\d+) trainings done", summaries["utility"])
        assert done[1] == done[2] == str(len(run.utility["runs"]))

    if run.fidelity:
        lines = [line for line in summaries["fidelity"].splitlines() if line.split()[0] in TOLD]
        wanted = [(key, name) for key in ("holdout", "training") if run.fidelity["mean"][key]
                  for name in TOLD]
        for line, (key, name) in zip(lines, wanted, strict=True):
            of, words = run.fidelity["mean"][key][name], line.replace("…", " ").split()
            sides = [{"value": of["value"]}, {"value": of["control"]}] if name == "fid" else [
                of, of["control"]]
            assert words.pop(0) == name
            for side in sides:
                shown = words.pop(0)
                assert (shown == "–") == (side["value"] is None), line
                if side["value"] is not None:
                    assert math.isclose(float(shown), side["value"], rel_tol=5.1e-4), line
                if side.get("lower95") is not None:
                    low, high = float(words.pop(0)), float(words.pop(0))
                    slack = 1e-9 + 1.1e-2 * max(abs(side["lower95"]), abs(side["upper95"]))
                    assert side["lower95"] - slack <= low <= side["lower95"] + 1e-9, line
                    assert side["upper95"] - 1e-9 <= high <= side["upper95"] + slack, line
            assert not words, line

    if run.membership:
        check_asked(run.membership, summaries["membership"])

    met = sum(row["verdict"] == "passed" for row in run.report["policy"])
    words = "passed" if run.report["passed"] else "not passed"
    assert f"{words}, {met} of {len(run.report['policy'])} conditions met" in summaries["report"]

    status = json.loads(lethe("status", plan, "--json"))["stages"]
    table = lethe("status", plan).splitlines()[1:]
    for line, entry in zip(table, status, strict=True):
        name = " ".join(filter(None, [entry["stage"], entry.get("candidate")]))
        assert line.startswith(name) and entry["state"] in line, (line, entry)

    for store in (run.folder / "dataset", run.made):
        told, text = json.loads(lethe("inspect", store, "--json")), lethe("inspect", store)
        with open(store / "index.csv", newline="", encoding="utf-8") as file:
            index = list(csv.DictReader(file))
        assert told["images"] == len(index) and f": {len(index)} {told['role']} image" in text
        for split, counts in told["splits"].items():
            mine = [row["subject"] for row in index if row["split"] == split]
            assert [counts["images"], counts["subjects"]] == [len(mine), len(set(mine))]
            assert re.search(rf"{len(mine)} images? of {len(set(mine))} subjects?\b", text), text
        if (store / "masks.npy").is_file():
            masks = np.load(store / "masks.npy")
            labels = dict(zip(*(v.tolist() for v in np.unique(masks, return_counts=True))))
            assert told["label_pixels"] == {str(k): v for k, v in labels.items()}
            for label, share in re.findall(r" (\d+): (\S+) %", text):
                wanted = 100 * labels[int(label)] / masks.size
                assert math.isclose(float(share), wanted, rel_tol=5.1e-3)


def check_asked(said, out):
    """The terminal's table about the model itself."""
    lines, counts = out.splitlines(), said["counts"]
    assert lines[1] == "%d training images of %d subjects against %d held-out images of %d" % (
        counts["train"]["scored"], counts["train"]["subjects"], counts["holdout"]["scored"],
        counts["holdout"]["subjects"])
    end, beside = len(lines) - 1, said.get("calibrated")
    headings = [i for i, line in enumerate(lines) if line.startswith("beside ")]
    assert len(headings) == bool(beside)
    if beside:
        left, count = beside["not_judged"], len(beside["references"])
        (end,) = headings
        words = f"beside {count} reference{'s' * (count > 1)} that left the patient out"
        assert lines[end] == words + (
            f" ({left['train']} and {left['holdout']} images were left out by none)"
            if any(left.values()) else ""), lines[end]
    check_asked_part(said, lines[2:end], said)
    if beside:
        check_asked_part(beside, lines[end + 1:-1], said)


def check_asked_part(part, lines, said):
    confidence = 100 * (1 - 0.05 / said.get("candidates", 1))
    assert lines[0].count(f"{confidence:.3g} % interval") == 2, lines[0]
    shown = {"AUC": [part[unit]["auc"] for unit in UNITS],
             "found, 1 % wrongly": [part[unit]["tpr_at_1_percent"] for unit in UNITS],
             "found, 0.1 % wrongly": [part[unit]["tpr_at_0_1_percent"] for unit in UNITS]}
    if part["control"]:
        shown["AUC of held-out halves"] = [part["control"][unit]["auc"] for unit in UNITS]
    rows = {line[:22].strip(): line[22:] for line in lines[1:]}
    for shown_chance, unit in zip(rows.pop("AUC as high by chance").split(), UNITS, strict=True):
        chance = part[unit]["by_chance"]
        assert shown_chance == ("–" if chance is None else f"{chance:.3g}")
    assert set(rows) == set(shown), rows
    for name, sides in shown.items():
        words, _, few = rows[name].replace("…", " ").partition("too few")
        words, supported = words.split(), [side.get("supported") is not False for side in sides]
        assert bool(few) == (not all(supported)), rows[name]
        for side in sides:
            assert math.isclose(float(words.pop(0)), side["value"], abs_tol=0.5001e-3), rows[name]
            if side["lower95"] is None:
                assert words.pop(0) == "–"
                continue
            low, high = float(words.pop(0)), float(words.pop(0))
            assert low <= side["lower95"] + 1e-9 and high >= side["upper95"] - 1e-9, rows[name]
            assert math.isclose(low, side["lower95"], rel_tol=1.1e-2, abs_tol=1e-9), rows[name]
            assert math.isclose(high, side["upper95"], rel_tol=1.1e-2, abs_tol=1e-9), rows[name]
        assert not words, rows[name]


def check_package(run, out):
    """The table of the gate is the report's."""
    lines = out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("metric "))
    for line, row in zip(lines[place + 1:], run.report["policy"]):
        words = line.split()
        assert words[0] == row["metric"] and (row["bound"] == "value" or words[1] == row["bound"])
        found = re.search(r"(at most|at least) (\S+) +(\S+) +(passed|FAILED|MISSING)", line)
        rule, limit, value, verdict = found.groups()
        assert rule.replace(" ", "_") == row["must_be"] and float(limit) == row["limit"], line
        assert verdict.lower() == row["verdict"], line
        if row["measured"] is None:
            assert value == "-"
            continue
        assert math.isclose(float(value), row["measured"], rel_tol=5.1e-6, abs_tol=1e-12), line
        at_most = row["must_be"] == "at_most"
        reads = float(value) <= row["limit"] if at_most else float(value) >= row["limit"]
        assert reads == (verdict == "passed"), line
    left_out = re.findall(r"(\d+) flagged images? left out", out)
    flagged, of = run.audit["flagged"]["count"], run.audit["counts"]["synthetic"]
    assert left_out in ([], [str(flagged)]) and (not left_out or 0 < flagged < of)
    packed = re.findall(r": (\d+) images?, \d+ files", out)
    assert packed == ([str(of - (flagged if left_out else 0))] if run.report["passed"] else [])


def check_choice(run, out):
    lines = out.splitlines()
    for line, entry in zip(lines[1:], run.choice["candidates"]):
        found = re.fullmatch(r"(\S+) +(\d+)  (\d+) of (\d+) +(\S+) % +(\S+)  (\d+) of (\d+)"
                             r"(  chosen)?", line)
        name, steps, count, of, bound, useful, met, rows, chosen = found.groups()
        flagged, dice = entry["flagged"], entry.get("relative_dice")
        assert (name, int(steps)) == (entry["name"], entry["trained_steps"])
        assert [int(count), int(of)] == [flagged["count"], flagged["of"]]
        high = 100 * flagged["upper95"]
        assert high - 1e-9 <= float(bound) <= 1.011 * high
        assert abs(float(useful) - dice["mean"]) <= 0.5001e-3 if dice else useful == "-"
        assert [int(met), int(rows)] == [sum(r["verdict"] == "passed" for r in entry["rows"]),
                                         len(entry["rows"])]
        assert bool(chosen) == (name == run.choice["chosen"])


# ---- worlds --------------------------------------------------------------------------------------

POLICY = """
policy:
  quarantine: {quarantine}
  rows:
    - {{ metric: memorization.flagged.count, limit: 0 }}
    - {{ metric: memorization.flagged.fraction, bound: upper95, limit: {limit} }}
    - {{ metric: memorization.flagged.fraction, bound: lower95, must_be: at_most, limit: 0.9 }}
    - {{ metric: memorization.calibration.supported, must_be: at_least, limit: {supported} }}
    - {{ metric: memorization.companions.mia.auc, bound: upper95, limit: 1 }}
    - {{ metric: memorization.counts.holdout_subjects, must_be: at_least, limit: {unseen} }}
    - {{ metric: memorization.flagged.by_identity, limit: 0 }}
    - {{ metric: memorization.nearest.p50, limit: 0.99999 }}
{more}
report:
  {{ salt: pepper, reassess: "2027-01-01", reviewers: [Somebody], contact: who@where.example }}
package: {{ version: "1.0", date: "2026-11-22", format: png }}
"""
SEGMENTER = "training: { images: 32, batch: 8, base: 4, levels: 2, rate: 0.02 }"
UTILITY = """
utility:
  sources: [real, both, shuffled, synthetic, untrained]
  seeds: %d
  bootstrap: 400
  panels: 1
  """ + SEGMENTER


def world(name, plan, passes, more="", quarantine="drop", limit=0.9, supported=0, unseen=1):
    """Runs a plan stage by stage, and holds all that it tells against its documents."""
    path = HERE / f"{name}.yaml"
    path.write_text(f"name: {name}\nseed: 3\nrun: run-{name}\n" + plan + POLICY.format(
        quarantine=quarantine, limit=limit, supported=supported, unseen=unseen, more=more))
    summaries = {}
    for stage in ("ingest", "train", "sample", "audit", "utility", "fidelity", "references",
                  "membership", "choose", "report", "package"):
        wanted = {"train": "train:" in plan, "utility": "utility:" in plan,
                  "fidelity": "fidelity:" in plan, "membership": "membership:" in plan,
                  "references": "references:" in plan,
                  "choose": "candidates:" in plan}.get(stage, True)
        if wanted:
            summaries[stage] = lethe(stage, path, "--threads", "1", fails=(
                0 if passes or stage != "package" else 1,))
    run = Run(HERE / f"run-{name}")
    assert run.report["passed"] == passes, (name, run.report["policy"])
    dropped = quarantine == "drop" and run.audit["flagged"]["count"] > 0 and (
        run.audit["flagged"]["count"] < run.audit["counts"]["synthetic"])
    for page in (run.public, run.internal):
        check_verdict(run, page, dropped)
        check_candidates(run, page)
        check_memorisation(run, page)
        check_utility(run, page)
        check_fidelity(run, page)
        check_membership(run, page)
        check_making(run, page)
        check_risks(run, page)
    if run.membership:
        membership_numbers.check(run.asked, run.folder / "dataset")
    check_internal(run)
    check_leaks(run, "cohort")
    check_package(run, summaries["package"])
    if run.choice:
        check_choice(run, summaries["choose"])
    else:
        check_terminal(run, path, summaries)
    return run


def check_review(name):
    """Marks are counted in the internal report; the public one tells of a copy that was taken back,
    and of nobody who marked."""
    path, folder = HERE / f"{name}.yaml", HERE / f"run-{name}"

    def review(who, marks, passed):
        audit = (folder / "audit/memorization.json").read_bytes()
        entries = [{"synthetic": pair["synthetic"], "training": pair["training"], "mark": mark,
                    "note": "a secret note"}
                   for pair, mark in zip(json.loads(audit)["pairs"], marks)]
        (HERE / "marks.json").write_text(json.dumps({
            "schema": "lethe/review/1", "memorization_sha256": hashlib.sha256(audit).hexdigest(),
            "reviewer": who, "marks": entries}))
        lethe("review", path, "--import", HERE / "marks.json", fails=(0, 1))
        lethe("report", path)
        run, counts = Run(folder), json.loads((folder / "review.json").read_text())["counts"]
        assert run.report["passed"] == passed
        told = re.search(r"by (\D+): (\d+) marked as a copy, (\d+) as not a copy, (\d+) unsure, "
                         r"(\d+) not marked", section(run.internal, "pairs").text())
        assert told[1] == who and [int(n) for n in told.groups()[1:]] == [
            counts[key] for key in ("copy", "not_a_copy", "unsure", "unmarked")]
        assert [counts[key] for key in ("copy", "not_a_copy", "unsure")] == [
            marks.count(key) for key in ("copy", "not_a_copy", "unsure")]
        public = (folder / "report/report.public.html").read_text()
        assert not any(word in public for word in ("A. Reviewer", "B. Reviewer", "secret note"))
        return run

    flagged = json.loads((folder / "audit/memorization.json").read_text())["flagged"]["images"]
    pairs = json.loads((folder / "audit/memorization.json").read_text())["pairs"]
    kept = [pair["synthetic"] not in flagged for pair in pairs]
    first = ["copy" if free else "unsure" for free in kept]
    assert "copy" in first
    review("A. Reviewer", first, False)
    run = review("B. Reviewer", ["not_a_copy"] * len(pairs), True)
    (count,) = re.findall(r"note (\d+) of these images (?:was|were) once marked as a copy",
                          run.public.root.text())
    assert int(count) == first.count("copy")


def make_sets():
    """Phantoms as patients, others as synthetic images, and a set with copies among them."""
    lethe("phantom", "--subjects", 12, "--size", 32, "--seed", 3, "--out", HERE / "cohort")
    lethe("phantom", "--subjects", 6, "--size", 32, "--seed", 4, "--out", HERE / "others")
    lethe("phantom", "--subjects", 1, "--size", 32, "--seed", 5, "--out", HERE / "alone")
    common = ["--size", 16, "--role", "synthetic", "--quiet"]
    lethe("ingest", "--source", HERE / "others", "--out", HERE / "fresh", *common)
    lethe("ingest", "--source", HERE / "others", "--out", HERE / "plain", "--channels", "flair",
          "--masks", "none", *common)
    lethe("ingest", "--source", HERE / "cohort", "--out", HERE / "patients", "--size", 16)
    mixed = HERE / "mixed-arrays"
    mixed.mkdir()
    for part in ("images", "masks"):
        fresh, real = (np.load(HERE / store / f"{part}.npy") for store in ("fresh", "patients"))
        np.save(mixed / f"{part}.npy", np.concatenate([fresh, real[::25]]))
    lethe("ingest", "--source", mixed, "--out", HERE / "mixed", "--role", "synthetic", "--quiet",
          "--channels", "t1,t1ce,t2,flair")


SCANS = "ingest: {{ source: cohort, size: 16{more} }}\n"
FROM = "sample: {{ made_elsewhere: {store} }}\n"
AUDIT = "audit: {{ quantile: 0.9, bootstrap: 200, pairs: 3, {more} }}\n"
ASKED = "\nmembership: { bootstrap: 4000 }\n"
PLAIN = "transforms: false, tiles: false"


def main():
    make_sets()
    held = SCANS.format(more=", holdout: 0.4")
    useful = """
    - { metric: "utility.relative_dice[source=synthetic].mean", bound: lower95, limit: 0 }
    - { metric: "utility.relative_dice[source=synthetic].difference.mean", must_be: at_least,
        limit: -1 }
"""
    near = held + FROM.format(store="fresh") + AUDIT.format(more=PLAIN)
    run = world("passes", near + UTILITY % 2, True, useful)
    bound = run.audit["flagged"]["upper95"]
    assert run.audit["flagged"]["count"] > 0 and run.usefulness() is not None
    # limits that the bound misses, or keeps, by less than is shown
    world("near-yes", near, True, limit=f"{bound + 1e-3:.3f}")
    world("reviewed", near.replace("pairs: 3", "pairs: 9"), True)
    check_review("reviewed")
    world("near-no", near, False, limit=f"{bound - 1e-7:.9f}")
    world("refused", held + FROM.format(store="mixed") + AUDIT.format(more="seed: 1") + UTILITY % 1,
          False, quarantine="refuse", supported=1)
    matched = PLAIN + ", control: matched_holdout, per_channel: true"
    like = """
    - { metric: fidelity.mean.holdout.fid.ratio, limit: 1000 }
    - { metric: "fidelity.channels[name=flair].holdout.coverage", bound: lower95, limit: 0 }
"""
    run = world("left-out", held + FROM.format(store="mixed") + AUDIT.format(more=matched) +
                "fidelity: { images: 8, seed: 1, bootstrap: 100, channels: [t1, flair] }\n", True, like,
                limit=1)
    assert run.fidelity["mean"]["holdout"]["coverage"]["lower95"] is not None
    run = world("no-holdout", SCANS.format(more=", holdout: 0") + FROM.format(store="fresh") +
                AUDIT.format(more=PLAIN), False)
    assert run.audit["control"]["used"] == "other_subjects" and not run.unseen()
    (HERE / "one.csv").write_text("subject,split\n" + "".join(
        f"{name},{'holdout' if i == 4 else 'train'}\n" for i, name in enumerate(
            sorted(path.name for path in (HERE / "cohort").iterdir()))))
    scans = SCANS.format(more=", split_file: one.csv")
    run = world("one-unseen", scans + FROM.format(store="fresh") + AUDIT.format(more=PLAIN) +
                UTILITY % 1, False, useful)
    assert run.unseen() == 1 and run.utility["summary"][0]["dice"]["lower95"] is None
    assert run.audit["calibration"]["exact"] is False
    run = world("nobody", "ingest: { source: alone, size: 16, holdout: 0 }\n" +
                FROM.format(store="fresh") + AUDIT.format(more=PLAIN), False)
    assert run.audit["control"]["used"] is None
    plain = "ingest: { source: cohort, size: 16, holdout: 0.4, channels: [flair], masks: none }\n"
    world("no-masks", plain + FROM.format(store="plain") + AUDIT.format(more=PLAIN), True, limit=1)
    train = """
train:
  model: stylegan2
  batch: 4
  images: 24
  checkpoint: 4
  samples: 0
  stylegan2: { z_width: 8, w_width: 8, channel_base: 128, channel_max: 8 }
  candidates: [{ name: early, images: 12 }, { name: end }]
sample: { count: 12 }
"""
    asked = """
    - { metric: membership.subjects.auc, bound: upper95, limit: 1 }
    - { metric: membership.images.auc, bound: upper95, limit: %s }
    - { metric: membership.images.auc, bound: lower95, must_be: at_most, limit: 0.9 }
    - { metric: membership.subjects.tells_apart, limit: 0 }
"""
    run = world("tried", held + train + AUDIT.format(more=PLAIN) + UTILITY % 1 + ASKED, False,
                useful + asked % 1, limit=0.0001)
    assert len(run.choice["candidates"]) == 2 and run.membership["candidates"] == 2
    alone = re.sub(r"  candidates:.*\n", "", held + train + AUDIT.format(more=PLAIN) + ASKED)
    asked += "    - { metric: membership.calibrated.subjects.auc, bound: upper95, limit: 1 }\n"
    run = world("asked", alone + "references: { count: 2 }\n", True, asked % 1, limit=1)
    assert run.membership["calibrated"] and run.membership["control"]
    bound, path = run.membership["images"]["auc"]["upper95"], HERE / "asked.yaml"
    path.write_text(path.read_text().replace(  # one that it misses by less than is shown
        "membership.images.auc, bound: upper95, limit: 1 ",
        f"membership.images.auc, bound: upper95, limit: {bound - 1e-7:.9f} "))
    lethe("report", path)
    run = Run(run.folder)
    assert not run.report["passed"]
    for page in (run.public, run.internal):
        check_verdict(run, page, run.audit["flagged"]["count"] > 0)
    subprocess.run(["rm", "-r", str(HERE)], check=True)
    print("every number agrees, and the public pages tell of nobody")


main()
