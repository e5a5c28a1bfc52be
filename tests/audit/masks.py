"""Random and awkward pairs of masks, and what overlap_dump makes of them."""

import itertools
import subprocess

import numpy

METRICS = ["dice", "hausdorff_max", "hausdorff_95", "precision", "recall", "volume_difference"]


def blobs(random, shape):
    """A smooth random field, cut: masks with holes, necks and islands."""
    field = random.normal(size=shape)
    for axis, size in enumerate(shape):
        if size > 2:
            field = field + numpy.roll(field, 1, axis) + numpy.roll(field, -1, axis)
    return field > numpy.quantile(field, random.uniform(0.3, 0.98))


def speckle(random, shape):
    return random.random(shape) < random.choice([0.01, 0.1, 0.5, 0.9])


def cuboid(random, shape):
    mask = numpy.zeros(shape, bool)
    cut = [sorted(random.integers(0, size + 1, 2)) for size in shape]
    mask[tuple(slice(a, b) for a, b in cut)] = True
    return mask


def one_voxel(random, shape):
    mask = numpy.zeros(shape, bool)
    mask[tuple(random.integers(0, size) for size in shape)] = True
    return mask


def border(random, shape):
    """All that touches the border of the volume, and nothing else."""
    mask = numpy.ones(shape, bool)
    mask[tuple(slice(1, -1) for _ in shape)] = False
    return mask


def full(random, shape):
    return numpy.ones(shape, bool)


def empty(random, shape):
    return numpy.zeros(shape, bool)


KINDS = [blobs, speckle, cuboid, one_voxel, border, full, empty]


def pairs(seed, count):
    """(truth, prediction, spacing), arrays (z,y,x), spacing along z, y, x."""
    random = numpy.random.default_rng(seed)
    kinds = itertools.cycle(itertools.product(KINDS, KINDS))
    for turn in range(count):
        shape = tuple(random.integers(2, 15, 3))
        if turn % 16 == 15:
            shape = tuple(random.integers(20, 40, 3))
        spacing = (1.0, 1.0, 1.0) if turn % 3 == 0 else tuple(random.uniform(0.3, 6, 3))
        truth, prediction = (kind(random, shape) for kind in next(kinds))
        if turn % 5 == 0:  # alike: the prediction is the truth, a little moved
            prediction = numpy.roll(truth, random.integers(-1, 2, 3), (0, 1, 2))
        yield truth, prediction, spacing


def dump(program, cases):
    """Of each case a dict of metrics, and the distance transform of the truth."""
    text = b""
    for truth, prediction, spacing in cases:
        text += numpy.array(truth.shape[::-1], "<i4").tobytes()
        text += numpy.array(spacing[::-1], "<f8").tobytes()
        text += truth.astype("u1").tobytes() + prediction.astype("u1").tobytes()
    output = subprocess.run([program], input=text, stdout=subprocess.PIPE, check=True).stdout
    values, at = numpy.frombuffer(output, "<f8"), 0
    for truth, _, _ in cases:
        found = dict(zip(METRICS, values[at:at + len(METRICS)]))
        at += len(METRICS)
        yield found, numpy.sqrt(values[at:at + truth.size]).reshape(truth.shape)
        at += truth.size
    assert at == values.size


def equal(a, b, tolerance=1e-6):
    return (numpy.isnan(a) and numpy.isnan(b)) or abs(a - b) <= tolerance
