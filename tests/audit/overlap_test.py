"""Overlap, distances and the distance transform, held against SciPy's.

    overlap_test.py OVERLAP_DUMP [PAIRS]

The metrics are written down here a second time, from their definitions, on SciPy's erosion and
distance transform and NumPy's percentile. Exits with 77, "skipped", where SciPy is not installed.
"""

import sys

try:
    import numpy
    import scipy
    from scipy import ndimage
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

import masks


def surface(mask):
    return mask ^ ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1))


def expected(truth, prediction, spacing):
    both = float((truth & prediction).sum())
    t, p = float(truth.sum()), float(prediction.sum())
    with numpy.errstate(invalid="ignore", divide="ignore"):
        result = {
            "dice": numpy.float64(2 * both) / (t + p),
            "precision": numpy.float64(both) / p,
            "recall": numpy.float64(both) / t,
            "volume_difference": (p - t) * numpy.prod(spacing) / 1000,
            "hausdorff_max": numpy.nan,
            "hausdorff_95": numpy.nan,
        }
    if t and p:
        a, b = surface(truth), surface(prediction)
        distances = numpy.concatenate([
            ndimage.distance_transform_edt(~b, sampling=spacing)[a],
            ndimage.distance_transform_edt(~a, sampling=spacing)[b],
        ])
        result["hausdorff_max"] = distances.max()
        result["hausdorff_95"] = numpy.percentile(distances, 95)
    return result


def compare(cases, program):
    bad = worst = 0
    for (truth, prediction, spacing), (found, transform) in zip(cases, masks.dump(program, cases)):
        wanted = expected(truth, prediction, spacing)
        for metric in masks.METRICS:
            if not masks.equal(found[metric], wanted[metric]):
                bad += 1
                print(f"{truth.shape} {spacing} {metric}: {found[metric]}, SciPy {wanted[metric]}")
        if not truth.any():
            bad += not numpy.isinf(transform).all()
            continue
        difference = numpy.abs(transform - ndimage.distance_transform_edt(~truth, sampling=spacing))
        worst = max(worst, difference.max())
        bad += difference.max() > 1e-6
    return bad, worst


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    cases, bad, worst = list(masks.pairs(7, count)), 0, 0.0
    for first in range(0, count, 200):
        more, most = compare(cases[first:first + 200], program)
        bad, worst = bad + more, max(worst, most)
    print(f"{count} pairs of masks, SciPy {scipy.__version__}: {bad} differ; distance transforms "
          f"agree to {worst:.1e} mm")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
