"""Segmentation metrics against MedPy, surface-distance and SimpleITK.

    metrics.py OVERLAP_DUMP

MedPy (medpy.metric.binary) has our definitions: every number is equal to 1e-6. surface-distance
gives Dice; its surfaces are meshes between voxels, so its greatest distance may differ from ours
by up to the diagonal of a voxel, at either end. SimpleITK gives Dice and, by Maurer's algorithm,
the distance transform.
"""

import os
import sys
import warnings

import numpy
import SimpleITK
import surface_distance
from medpy.metric import binary

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "audit"))
import masks

warnings.filterwarnings("ignore")


def medpy(truth, prediction, spacing):
    if not truth.any() or not prediction.any():
        return {}
    flat = dict(voxelspacing=spacing)
    return {
        "dice": binary.dc(prediction, truth),
        "precision": binary.precision(prediction, truth),
        "recall": binary.recall(prediction, truth),
        "hausdorff_max": binary.hd(prediction, truth, **flat),
        "hausdorff_95": binary.hd95(prediction, truth, **flat),
    }


def itk(mask, spacing):
    image = SimpleITK.GetImageFromArray(mask.astype("u1"))
    image.SetSpacing(spacing[::-1])
    return image


def compare(truth, prediction, spacing, found, transform):
    """What differs, as text."""
    for metric, value in medpy(truth, prediction, spacing).items():
        if not masks.equal(found[metric], value):
            yield f"{metric} {found[metric]}, MedPy {value}"
    if not truth.any() or not prediction.any():
        return
    dice = surface_distance.compute_dice_coefficient(truth, prediction)
    if not masks.equal(found["dice"], dice):
        yield f"dice {found['dice']}, surface-distance {dice}"
    meshes = surface_distance.compute_surface_distances(truth, prediction, spacing)
    greatest = surface_distance.compute_robust_hausdorff(meshes, 100)
    if abs(greatest - found["hausdorff_max"]) > 2 * numpy.linalg.norm(spacing):
        yield f"hausdorff_max {found['hausdorff_max']}, surface-distance {greatest}"
    measures = SimpleITK.LabelOverlapMeasuresImageFilter()
    measures.Execute(itk(truth, spacing), itk(prediction, spacing))
    if not masks.equal(found["dice"], measures.GetDiceCoefficient()):
        yield f"dice {found['dice']}, SimpleITK {measures.GetDiceCoefficient()}"
    maurer = SimpleITK.SignedMaurerDistanceMap(itk(truth, spacing), insideIsPositive=False,
                                               squaredDistance=False, useImageSpacing=True)
    outside = ~truth  # Maurer's map is signed, and 0 on the surface: outside it is the distance
    difference = numpy.abs(SimpleITK.GetArrayFromImage(maurer)[outside] - transform[outside])
    if difference.size and difference.max() > 1e-4:  # float32 there
        yield f"a distance transform, by {difference.max()} from SimpleITK's"


def main():
    cases, bad = list(masks.pairs(11, 1500)), 0
    for case, (found, transform) in zip(cases, masks.dump(sys.argv[1], cases)):
        for what in compare(*case, found, transform):
            bad += 1
            print(f"{case[0].shape} {case[2]}: {what}")
    print(f"{len(cases)} pairs of masks, {bad} differences")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
