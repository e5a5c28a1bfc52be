"""Stores that lethe ingest writes, held against the protocol in NumPy and nibabel.

    protocol_test.py LETHE

A cohort of small volumes of several types and orientations is ingested with each plane, element
type, scaling and size, by 1, 2 and 3 threads: the stores must be equal byte for byte, and their
images those of the twenty lines of NumPy below. Exits with 77, "skipped", without nibabel.
"""

import csv
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile

try:
    import nibabel
    import numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

CHANNELS = ["t1", "t1ce", "t2", "flair"]
SHAPE = (44, 58, 37)  # left, back, up
SUBJECTS = 7


# ---- the cohort ----------------------------------------------------------------------------------


def head(random):
    """A soft ball, so that the keep rule keeps some planes and not others."""
    grid = numpy.stack(numpy.meshgrid(*[numpy.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    radius = numpy.sqrt((grid**2).sum(0)) / random.uniform(0.8, 1.0)
    return numpy.clip(1.2 - radius, 0, 1) * random.uniform(0.6, 1, SHAPE)


def save(path, voxels, matrix):
    """Voxels in LPS order, stored along the axes of a signed permutation."""
    lps = numpy.diag([-1.0, -1.0, 1.0, 1.0])
    axes = numpy.argmax(numpy.abs(matrix), axis=0)
    signs = [matrix[axes[i], i] for i in range(3)]
    affine, stored = lps, voxels.transpose(axes)
    turn = numpy.zeros((4, 4))
    turn[3, 3] = 1
    for i in range(3):
        turn[axes[i], i] = signs[i]
        if signs[i] < 0:
            stored = numpy.flip(stored, i)
            turn[axes[i], 3] = stored.shape[i] - 1
    nibabel.save(nibabel.Nifti1Image(stored, affine @ turn), path)


def canonical(path):
    data = numpy.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    return data[::-1, ::-1].astype(numpy.float64)


def cohort(folder):
    random = numpy.random.default_rng(11)
    kinds = ["u1", "i2", "u2", "f4", "f8", "i4"]
    turns = [numpy.eye(3)[list(axes)] * signs for axes in itertools.permutations(range(3))
             for signs in itertools.product((1, -1), repeat=3)]
    for subject in range(SUBJECTS):
        name = f"Case_{subject:03}"
        os.makedirs(os.path.join(folder, name))
        turn = turns[random.integers(len(turns))]
        for channel in CHANNELS:
            kind = kinds[random.integers(len(kinds))]
            top = 255 if kind == "u1" else random.integers(300, 4000)
            values = (head(random) * top).astype(kind)
            save(os.path.join(folder, name, f"{name}_{channel}.nii.gz"), values, turn)
        labels = numpy.zeros(SHAPE, "u1")
        corner = random.integers(8, 20, 3)
        box = tuple(slice(c, c + 12) for c in corner)
        labels[box] = random.choice([0, 1, 2, 4], (12, 12, 12))
        save(os.path.join(folder, name, f"{name}_seg.nii.gz"), labels, turn)


# ---- the protocol --------------------------------------------------------------------------------


def planes(volume, plane):
    """(planes, rows, columns) of (left, back, up): the top up, the front up in axial planes."""
    if plane == "axial":
        return volume.transpose(2, 1, 0)
    if plane == "coronal":
        return volume.transpose(1, 2, 0)[:, ::-1]
    return volume.transpose(0, 2, 1)[:, ::-1]


def padded(stack, canvas):
    out = numpy.zeros((len(stack), canvas, canvas), stack.dtype)
    top, left = (canvas - stack.shape[1]) // 2, (canvas - stack.shape[2]) // 2
    out[:, top:top + stack.shape[1], left:left + stack.shape[2]] = stack
    return out


def cover(canvas, size):
    """(size, canvas): the parts of each canvas pixel under each output pixel, in 1/size pixels."""
    weights = numpy.zeros((size, canvas), int)
    for i, k in itertools.product(range(size), range(canvas)):
        weights[i, k] = max(0, min((i + 1) * canvas, (k + 1) * size) - max(i * canvas, k * size))
    return weights


def top_of(volume, settings):
    if settings["intensity"] == "maximum":
        return volume.max()
    positive = numpy.sort(volume[volume > 0])
    return positive[int(numpy.ceil(settings["percentile"] / 100 * positive.size)) - 1]


def scaled(volume, settings):
    return numpy.clip(volume * 255 / top_of(volume, settings), 0, 255)


def shrunk(stack, settings):
    size, canvas = settings["size"], settings["canvas"]
    if size == canvas:
        return stack
    weights = cover(canvas, size).astype(float)
    return weights @ stack @ weights.T / canvas**2


def labels_of(stack, settings):
    size, canvas = settings["size"], settings["canvas"]
    weights = cover(canvas, size)
    area = numpy.stack([weights @ (stack == label).astype(int) @ weights.T for label in range(5)])
    return area.argmax(0).astype("u1")  # the first of equals: the smaller label


def quantised(values, kind):
    if kind == "uint8":
        return numpy.floor(values + 0.5).astype("u1")
    if kind == "uint16":
        return numpy.floor(numpy.minimum(values * 257, 65535) + 0.5).astype("u2")
    return (values / 255).astype("f2")


def expected(folder, subject, settings):
    name = f"Case_{subject:03}"
    stem = os.path.join(folder, name, name)
    bright = planes(scaled(canonical(f"{stem}_t1.nii.gz"), settings), settings["plane"])
    share = (padded(bright, settings["canvas"]) > settings["keep_above"]).mean((1, 2))
    kept = numpy.flatnonzero(share > settings["keep_share"])
    channels = [shrunk(padded(planes(scaled(canonical(f"{stem}_{c}.nii.gz"), settings),
                                     settings["plane"])[kept], settings["canvas"]), settings)
                for c in CHANNELS]
    masks = planes(canonical(f"{stem}_seg.nii.gz"), settings["plane"])[kept].astype("u1")
    return kept, numpy.stack(channels, 1), labels_of(padded(masks, settings["canvas"]), settings)


# ---- the comparison ------------------------------------------------------------------------------


def ingest(lethe, source, out, threads, settings):
    options = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
    subprocess.run([lethe, "ingest", "--source", source, "--out", out, "--quiet",
                    f"--threads={threads}"] + options, check=True, stdout=subprocess.DEVNULL)


def content(store):
    result = {}
    for name in sorted(os.listdir(store)):
        with open(os.path.join(store, name), "rb") as file:
            result[name] = file.read()
    return result


def check_images(found, values, settings):
    """Equal, or where sums in another order fall on the two sides of a tie, its other side."""
    if numpy.array_equal(found, quantised(values, settings["type"])):
        return
    assert settings["size"] != settings["canvas"], "images differ"
    low = quantised(values * (1 - 1e-13), settings["type"])
    high = quantised(numpy.minimum(values * (1 + 1e-13), 255), settings["type"])
    ties = low != high
    assert ties.mean() < 1e-3, "too many ties"
    assert numpy.array_equal(found[~ties], low[~ties]), "images differ"
    assert ((found == low) | (found == high)).all(), "images differ at ties"


def check(source, store, settings):
    images, masks = (numpy.load(os.path.join(store, f"{n}.npy")) for n in ("images", "masks"))
    with open(os.path.join(store, "index.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(os.path.join(store, "dataset.json"), encoding="utf-8") as file:
        record = json.load(file)
    assert str(images.dtype) == settings["type"] and len(rows) == len(images) == len(masks)
    at = 0
    for subject, scan in zip(range(SUBJECTS), record["origin"]["scans"]):
        kept, values, labels = expected(source, subject, settings)
        mine = slice(at, at + len(kept))
        at += len(kept)
        assert [int(row["slice"]) for row in rows[mine]] == list(kept), "other slices are kept"
        assert {row["subject"] for row in rows[mine]} == {f"Case_{subject:03}"}
        assert {row["split"] for row in rows[mine]} == {scan["split"]}
        check_images(images[mine], values, settings)
        assert numpy.array_equal(masks[mine], labels), "masks differ"
        for entry in scan["files"]:
            with open(os.path.join(source, entry["path"]), "rb") as file:
                assert hashlib.sha256(file.read()).hexdigest() == entry["sha256"]
    assert at == len(images), f"{len(images)} images, expected {at}"
    return at


def cases():
    usual = {"plane": "axial", "type": "uint8", "canvas": 64, "size": 64, "intensity": "maximum",
             "keep_share": 0.15, "keep_above": 50, "percentile": 99.5}
    for plane, kind in itertools.product(("axial", "coronal", "sagittal"),
                                         ("uint8", "uint16", "float16")):
        yield {**usual, "plane": plane, "type": kind}
    for size, kind in itertools.product((32, 48, 33, 8), ("uint8", "uint16", "float16")):
        yield {**usual, "size": size, "type": kind}
    yield {**usual, "canvas": 59, "size": 59}
    yield {**usual, "canvas": 61, "size": 60}
    yield {**usual, "intensity": "percentile"}
    yield {**usual, "intensity": "percentile", "percentile": 50, "type": "float16"}
    yield {**usual, "keep_share": 0, "keep_above": 0}
    yield {**usual, "keep_share": 0.2, "keep_above": 60}


def main():
    lethe = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "scans")
        cohort(source)
        for number, settings in enumerate(cases()):
            stores = [os.path.join(folder, f"{number}-{threads}") for threads in (1, 2, 3)]
            for threads, store in enumerate(stores):
                ingest(lethe, source, store, threads + 1, settings)
            first = content(stores[0])
            for store in stores[1:]:
                assert content(store) == first, f"{settings}: depends on the number of threads"
            try:
                images = check(source, stores[0], settings)
            except AssertionError as problem:
                print(f"{settings}: {problem}")
                return 1
            print(f"{images:4} images, the same by 1, 2 and 3 threads: {settings}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
