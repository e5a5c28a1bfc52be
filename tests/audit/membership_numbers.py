"""What membership.json says, computed anew from its tables and the stores, by NumPy and SciPy.

    check(folder, train_store, holdout_store=None)

Values are compared exactly, up to the digits of the tables; intervals and chance, which are drawn at
random, with as many draws of other random numbers; and where nothing varies, with SciPy's exact ones.
"""
import csv
import hashlib
import itertools
import json
import math
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small, and tests run side by side
import numpy as np  # noqa: E402
from scipy.stats import beta  # noqa: E402

DRAWS = 1000  # of a rate, which takes longer, a tenth
LOOKS = ("mean", "contrast", "roughness")


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def close(a, b, digits=1e-9):
    return (a is None and b is None) or (a is not None and b is not None and abs(a - b) <= digits)


# ---- two samples ---------------------------------------------------------------------------------


class Sides:
    """Values of training and of holdout, high where they speak for training, and whose they are."""

    def __init__(self, values, people):
        self.values = [np.asarray(v, float) for v in values]
        names = [sorted(set(p)) for p in people]
        self.whose = [np.array([n.index(who) for who in p]) for n, p in zip(names, people)]
        self.people = [len(n) for n in names]

    def wins(self):
        """(people of both sides twice): pairs of images of two people that the first one wins; and
        how many images each has."""
        value = np.concatenate(self.values)
        whose = np.concatenate([self.whose[0], self.whose[1] + self.people[0]])
        above = (value[:, None] > value) + (value[:, None] == value) / 2
        member = np.eye(sum(self.people))[whose]
        return member.T @ above @ member, member.sum(0)

    def area(self):
        first, second = self.values
        return ((first[:, None] > second) + (first[:, None] == second) / 2).mean()

    def rate(self, wrongly):
        """Of training as many as can be found where at most so many of the others are: those above
        the first of the others who would be one too many."""
        first, second = self.values
        too_many = math.floor(wrongly * len(second) + 1e-9)
        return (first > np.sort(second)[-1 - too_many]).mean()

    def draw(self, random):
        """Whole people, as many as there are, with their images."""
        drawn = [random.integers(0, n, n) for n in self.people]
        return [np.concatenate([v[w == p] for p in d])
                for v, w, d in zip(self.values, self.whose, drawn)]


def areas_of_draws(sides, random):
    wins, images = sides.wins()
    first, second = sides.people
    a = random.multinomial(first, np.full(first, 1 / first), DRAWS)
    b = random.multinomial(second, np.full(second, 1 / second), DRAWS)
    return (a @ wins[:first, first:] * b).sum(1) / (a @ images[:first] * (b @ images[first:]))


def rates_of_draws(sides, wrongly, random):
    whole = Sides.__new__(Sides)
    rates = []
    for _ in range(DRAWS // 10):
        whole.values = sides.draw(random)
        rates.append(whole.rate(wrongly))
    return np.array(rates)


def chance(sides, random):
    """The share of orders of the people, as many on each side, with an area as large: all of them
    where they are few, else as many as are drawn, and what the deviation of that is."""
    wins, images = sides.wins()
    first, everybody = sides.people[0], sum(sides.people)
    few = math.comb(everybody, first) <= DRAWS
    orders = (np.array(list(itertools.combinations(range(everybody), first))) if few else
              random.random((DRAWS, everybody)).argsort(1)[:, :first])
    of_first = np.zeros((len(orders), everybody))
    np.put_along_axis(of_first, orders, 1, 1)
    areas = (of_first @ wins * (1 - of_first)).sum(1) / (
        (of_first @ images) * ((1 - of_first) @ images))
    share = (areas >= sides.area() - 1e-12).mean()
    return share, 0 if few else math.sqrt(max(share * (1 - share), 1 / DRAWS) / DRAWS)


def exact(value, people, confidence):
    """People as trials, none of which came out otherwise."""
    otherwise = beta.ppf(1 - (1 - confidence) / 2, 1, people)
    return value * (1 - otherwise), value * (1 - otherwise) + otherwise


def check_interval(said, sides, draws, people, resamplings, confidence):
    """Its ends lie where as many draws of other random numbers have theirs."""
    low, high = said["interval"]
    assert [said["lower95"], said["upper95"]] == [low, high]
    if min(sides.people) < 2:
        assert low is None and high is None, said
        return
    side, of = (1 - confidence) / 2, len(draws)
    if np.ptp(draws) < 1e-12:
        assert np.allclose([low, high], exact(said["value"], people, confidence), atol=1e-9), (
            said, people)
        return
    slack = 4 * math.sqrt(side * (1 - side) * (1 / of + 1 / resamplings)) + 2 / resamplings
    assert 0 <= low <= high <= 1, said
    for end, below, upto in ((low, (draws < low - 1e-9), (draws <= low + 1e-9)),
                             (high, (draws > high + 1e-9), (draws >= high - 1e-9))):
        assert below.mean() <= side + slack and upto.mean() >= side - slack, (
            said, end, below.mean(), upto.mean(), side, slack)


def check_found(said, sides, resamplings, candidates, random):
    """images, or subjects."""
    confidence = 1 - 0.05 / candidates
    members, others = (len(v) for v in sides.values)
    assert [said["members"], said["non_members"]] == [members, others]
    assert close(said["auc"]["value"], sides.area()), (said["auc"], sides.area())
    check_interval(said["auc"], sides, areas_of_draws(sides, random), min(sides.people), resamplings,
                   confidence)
    for key, wrongly, least in (("tpr_at_1_percent", 0.01, 100), ("tpr_at_0_1_percent", 0.001, 1000)):
        assert close(said[key]["value"], sides.rate(wrongly)), (key, said[key])
        assert said[key]["supported"] == (others >= least)
        check_interval(said[key], sides, rates_of_draws(sides, wrongly, random), sides.people[0],
                       resamplings, confidence)
    if min(sides.people) < 2:
        assert said["by_chance"] is None and said["tells_apart"] is False
        return
    share, deviation = chance(sides, random)
    if said["auc"]["value"] == 1:
        assert math.isclose(said["by_chance"], 1 / math.comb(sum(sides.people), sides.people[0]),
                            rel_tol=1e-9), said["by_chance"]
    else:
        own = math.sqrt(max(share * (1 - share), 1 / resamplings) / resamplings)
        assert abs(said["by_chance"] - share) <= 5 * math.hypot(own, deviation) + 2 / resamplings, (
            said["by_chance"], share)
    assert said["tells_apart"] == (said["by_chance"] < 0.025 / candidates), said


# ---- what stands in the stores -------------------------------------------------------------------


def geary(image):
    """Half the mean squared difference of neighbours, over the variance, sums over channels."""
    moments = ((image - image.mean((1, 2), keepdims=True)) ** 2).sum()
    pairs = sum(step.size for step in (np.diff(image[0], axis=0), np.diff(image[0], axis=1)))
    steps = sum((np.diff(image, axis=axis) ** 2).sum() for axis in (1, 2))
    return (image[0].size - 1) * steps / (2 * pairs * moments) if moments else math.nan


def looks_of(image):
    return image.mean(), image.std(), geary(image)


class Store:
    def __init__(self, folder, split):
        index = rows_of(Path(folder) / "index.csv")
        splits = {row["split"] for row in index}
        self.index = index
        self.rows = [i for i, row in enumerate(index)
                     if row["split"] == split or split not in splits]
        self.images = np.load(Path(folder) / "images.npy", mmap_mode="r")

    def subjects(self):
        return {self.index[i]["subject"] for i in self.rows}

    def pixels(self, who):
        """Of the images of one person; of those of one grey alone nothing can be said."""
        return {self.images[i].tobytes() for i in self.rows
                if self.index[i]["subject"] == who and np.ptp(self.images[i])}


def check(folder, train, holdout=None):
    random = np.random.default_rng(7)
    document = json.loads((Path(folder) / "membership.json").read_text())
    table, people = (rows_of(Path(folder) / name) for name in ("scores.csv", "subjects.csv"))
    stores = {"train": Store(train, "train"), "holdout": Store(holdout or train, "holdout")}
    resamplings, candidates = document["settings"]["bootstrap"], document.get("candidates", 1)
    images = {side: [row for row in table if row["set"] == side] for side in stores}
    subjects = {side: [row for row in people if row["set"] == side] for side in stores}
    assert len(table) == sum(map(len, images.values()))
    check_counts(document, images, subjects, stores)
    check_tables(images, subjects, stores)

    def sides(rows, value):
        return Sides([[value(row) for row in rows[side]] for side in stores],
                     [[row["subject"] for row in rows[side]] for side in stores])

    by_image = sides(images, lambda row: float(row["score"]))
    by_subject = sides(subjects, lambda row: float(row["score"]))
    check_found(document["images"], by_image, resamplings, candidates, random)
    check_found(document["subjects"], by_subject, resamplings, candidates, random)
    told = document["images"]["tells_apart"] or document["subjects"]["tells_apart"]
    aucs = tuple(document[unit]["auc"]["value"] for unit in ("images", "subjects"))
    words = "AUC %.3f of images, %.3f of subjects" % aucs
    assert any(line.startswith("the model tells images that it was trained on") and words in line
               for line in document["warnings"]) == told
    check_control(document["control"], images["holdout"], subjects["holdout"], resamplings, random)
    check_calibrated(document, images, subjects, stores, np.random.default_rng(8))
    check_difference(document, images, stores, resamplings, random)
    assert len(document.get("times", [])) == sum(key.startswith("loss_at_") for key in table[0])
    for time in document.get("times", []):
        alone = sides(images, lambda row: -float(row[f"loss_at_{time['time']}"]))
        assert close(time["auc"], alone.area()), time
    return document


def check_calibrated(document, images, subjects, stores, random):
    """The score, less the mean of what references say that left the person out, each brought to the
    model's level on all that it left out. Of each pair of references one did. Who is in a half is told by a digest of the names."""
    said, rows = document.get("calibrated"), [row for side in stores for row in images[side]]
    columns = [key for key in rows[0] if key.startswith("reference_")]
    assert (said is None) == (not columns)
    if said is None:
        return
    numbers = [reference["reference"] for reference in said["references"]]
    assert columns == [f"reference_{number}" for number in numbers]
    pixels = {who: store.pixels(who) for store in stores.values() for who in store.subjects()}
    known = check_halves(document, said["references"], rows, pixels)
    for odd in (number for number in numbers if number % 2 and number + 1 in numbers):
        for row in rows:
            left_out = [row[f"reference_{number}"] != "" for number in (odd, odd + 1)]
            assert sum(left_out) == 1 or (row["subject"] in known and not any(left_out)), row
    told = [line for line in document["warnings"] if "nobody under two names" in line]
    assert len(told) == bool(known) and all(line.startswith(f"{len(known)} ") for line in told), told

    level = {column: np.mean([float(row["score"]) - float(row[column])
                              for row in rows if row[column] != ""]) for column in columns}

    def beside(row):
        others = [float(row[column]) + level[column] for column in columns if row[column] != ""]
        return float(row["score"]) - np.mean(others) if others else None

    for side in stores:
        for row in images[side]:
            value = beside(row)
            assert (row["calibrated"] == "") == (value is None)
            assert value is None or math.isclose(float(row["calibrated"]), value, rel_tol=1e-6,
                                                 abs_tol=1e-7), row
        kept_apart = [float(row["calibrated"]) for row in subjects["holdout"] if row["calibrated"]]
        for row in subjects[side]:
            own = [float(r["calibrated"]) for r in images[side]
                   if r["subject"] == row["subject"] and r["calibrated"]]
            assert (row["calibrated"] == "") == (not own)
            if own:
                score, others = float(row["calibrated"]), len(kept_apart) - (side == "holdout")
                assert math.isclose(score, np.mean(own), rel_tol=1e-7, abs_tol=1e-8)
                below = sum(other < score for other in kept_apart) / others if others else math.nan
                assert not others or abs(
                    float(row["calibrated_held_out_below"]) - below) <= 0.5001e-4, row
    judged = {side: [row for row in images[side] if row["calibrated"]] for side in stores}
    people = {side: [row for row in subjects[side] if row["calibrated"]] for side in stores}
    assert said["not_judged"] == {side: len(images[side]) - len(judged[side]) for side in stores}
    resamplings, candidates = document["settings"]["bootstrap"], document.get("candidates", 1)
    for unit, of in (("images", judged), ("subjects", people)):
        sides = Sides([[float(row["calibrated"]) for row in of[side]] for side in stores],
                      [[row["subject"] for row in of[side]] for side in stores])
        check_found(said[unit], sides, resamplings, candidates, random)
    check_control(said["control"], judged["holdout"], people["holdout"], resamplings, random,
                  "calibrated")
    told = said["images"]["tells_apart"] or said["subjects"]["tells_apart"]
    assert any(line.startswith("beside references the model tells images that it was trained on")
               for line in document["warnings"]) == told
    left = sum(len(subjects[side]) - len(people[side]) for side in stores)
    assert any("not judged by calibrated" in line for line in document["warnings"]) == bool(left)


def check_halves(document, references, rows, pixels):
    """Whom a reference learnt from is told by a digest of their names. It has no score of these, nor
    of whoever has an image of theirs, but of everybody else. Returns these others, of all."""
    copies = {who for who in pixels
              if any(pixels[who] & pixels[other] for other in pixels if other != who)}
    wanted = document["settings"]["images"] or math.inf
    whole = all(wanted >= document["counts"][side]["images"] for side in ("train", "holdout"))
    everybody, known = {row["subject"] for row in rows}, set()
    for reference in references:
        empty = {row["subject"] for row in rows if row[f"reference_{reference['reference']}"] == ""}
        assert all((row[f"reference_{reference['reference']}"] == "") == (row["subject"] in empty)
                   for row in rows), "half of a person's images"
        if not whole:
            continue
        # those with copies are in the half, or only known: one way to share them out has the digest
        unsure = sorted(who for who in copies if who in empty or who not in everybody)
        halves = [(empty - copies) | set(some) for count in range(len(unsure) + 1)
                  for some in itertools.combinations(unsure, count)]
        (half,) = [half for half in halves if reference["half"] == hashlib.sha256(
            "".join(name + "\n" for name in sorted(half, key=str.encode)).encode()).hexdigest()]
        assert reference["subjects"] == len(half)
        of_half = set().union(*(pixels[who] for who in half))
        others = {who for who in pixels if pixels[who] & of_half} - half
        assert empty == (half | others) & everybody, (empty, half, others)
        known |= others
    return known


def check_counts(document, images, subjects, stores):
    known = {stores["train"].images[i].tobytes() for i in stores["train"].rows
             if np.ptp(stores["train"].images[i])}
    seen = {i for i in stores["holdout"].rows if stores["holdout"].images[i].tobytes() in known}
    wanted = document["settings"]["images"] or math.inf
    for side, store in stores.items():
        counts, there = document["counts"][side], len(store.rows)
        assert counts["images"] == there
        if side == "holdout":
            assert counts["identical"] == len(seen), (counts, len(seen))
            assert not seen & {int(row["image"]) for row in images[side]}
            there -= len(seen)
        assert counts["scored"] == len(images[side]) == min(there, wanted)
        assert counts["subjects"] == len(subjects[side])
    assert any("pixel by pixel" in line for line in document["warnings"]) == bool(seen)
    medians = [sorted(int(row["images"]) for row in subjects[side])[len(subjects[side]) // 2]
               for side in stores]
    assert any("unlike numbers of images" in line for line in document["warnings"]) == (
        max(medians) >= 2 * min(medians))


def check_tables(images, subjects, stores):
    """A score is that of its losses; a patient's the mean; who is known better than which share."""
    kept_apart = [float(row["score"]) for row in subjects["holdout"]]
    for side, store in stores.items():
        places = [int(row["image"]) for row in images[side]]
        assert places == sorted(set(places)) and set(places) <= set(store.rows)
        for row, place in zip(images[side], places):
            assert [row["subject"], row["slice"]] == [store.index[place][k]
                                                      for k in ("subject", "slice")]
            losses = [float(value) for key, value in row.items() if key.startswith("loss_at_")]
            if losses:
                assert close(float(row["score"]), -np.log(losses).mean(), 1e-7), row
        names = [row["subject"] for row in subjects[side]]
        assert names == sorted({row["subject"] for row in images[side]}, key=str.encode)
        for row in subjects[side]:
            own = [float(r["score"]) for r in images[side] if r["subject"] == row["subject"]]
            score, others = float(row["score"]), len(kept_apart) - (side == "holdout")
            assert int(row["images"]) == len(own)
            assert math.isclose(score, np.mean(own), rel_tol=1e-8, abs_tol=1e-8)
            if others:
                below = sum(other < score for other in kept_apart) / others
                assert abs(float(row["held_out_below"]) - below) <= 0.5001e-4, row
            else:
                assert row["held_out_below"] == "nan", row


def check_control(said, images, subjects, resamplings, random, key="score"):
    """One of the ways to halve those who were held out, the same of images and of people."""
    names = [row["subject"] for row in subjects]
    if len(names) < 2:
        assert said is None
        return
    values = [said[unit]["auc"]["value"] for unit in ("images", "subjects")]
    if math.comb(len(names), len(names) // 2) > DRAWS:
        return

    def halved(rows, half):
        parts = [[row for row in rows if (row["subject"] in half) == first] for first in (1, 0)]
        return Sides([[float(row[key]) for row in part] for part in parts],
                     [[row["subject"] for row in part] for part in parts])

    found = []
    for half in itertools.combinations(names, len(names) // 2):
        units = [halved(rows, half) for rows in (images, subjects)]
        if all(close(value, unit.area()) for value, unit in zip(values, units)):
            found.append(units)
    assert found, values
    if len(found) == 1:
        for unit, sides in zip(("images", "subjects"), found[0]):
            check_interval(said[unit]["auc"], sides, areas_of_draws(sides, random),
                           len(names) // 2, resamplings, 0.95)


def check_difference(document, images, stores, resamplings, random):
    found = {side: np.array([looks_of(store.images[int(row["image"])].astype(float))
                             for row in images[side]]) for side, store in stores.items()}
    people = [len({row["subject"] for row in images[side]}) for side in stores]
    for i, look in enumerate(LOOKS):
        kept = {side: ~np.isnan(found[side][:, i]) for side in stores}
        sides = Sides([-found[side][kept[side], i] for side in stores],
                      [[row["subject"] for row, keep in zip(images[side], kept[side]) if keep]
                       for side in stores])
        said = document["difference"][look]
        assert close(said["value"], sides.area()), (look, said, sides.area())
        check_interval(said, sides, areas_of_draws(sides, random), min(people), resamplings,
                       1 - 0.05 / 3)
        warned = any("differ by themselves" in line and f"their {look} alone" in line
                     for line in document["warnings"])
        low, high = said["interval"]
        if low is not None and (low > 0.5 or high < 0.5):
            assert warned, (look, said)
        if low is None or low < 0.5 < high and 0 < said["value"] < 1:
            assert not warned, (look, said)
