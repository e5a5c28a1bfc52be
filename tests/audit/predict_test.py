"""What lethe segment writes, held against its scans in nibabel's millimetres.

    predict_test.py LETHE

A segmenter learns in seconds to find a bright ball, in a cohort of one channel. Then it labels the
same heads stored along other axes, tilted, with thick slices, by a qform alone, and by no transform
at all. A mask is right if, laid over its scan by both files' affines, it covers the ball that was
put there; and lethe score has to pair it with the true mask and to say what NumPy says of the two.
Exits with 77, "skipped", without nibabel.
"""

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

SHAPE = (28, 32, 12)  # left, back, up


def head(random):
    """(voxels, labels) of a soft head with a bright ball in one corner of it, in LPS order."""
    grid = numpy.stack(numpy.meshgrid(*[numpy.arange(n) for n in SHAPE], indexing="ij"))
    middle = (numpy.array(SHAPE) - 1) / 2
    radius = numpy.sqrt((((grid.T - middle) / (middle + 1)) ** 2).sum(-1)).T
    voxels = numpy.clip(1.3 - radius, 0, 0.5) * 800 * random.uniform(0.9, 1.1, SHAPE)
    centre = middle + random.uniform(2, 5, 3) * (1, -1, 0.3)
    ball = (((grid.T - centre) / (4, 4, 3)) ** 2).sum(-1).T < 1
    voxels[ball] = 1000
    return voxels.astype("i2"), ball.astype("u1")


def stored(voxels, axes, signs):
    """The voxels along other axes, and the matrix that leads back to LPS voxels."""
    out, turn = voxels.transpose(axes), numpy.zeros((4, 4))
    turn[3, 3] = 1
    for i in range(3):
        turn[axes[i], i] = signs[i]
        if signs[i] < 0:
            out = numpy.flip(out, i)
            turn[axes[i], 3] = out.shape[i] - 1
    return out, turn


def world(spacing, tilt):
    """LPS voxels to millimetres, tilted about all axes."""
    matrix = numpy.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    for axis in range(3):
        i, j = [k for k in range(3) if k != axis]
        turn = numpy.eye(4)
        turn[i, i] = turn[j, j] = numpy.cos(tilt)
        turn[i, j], turn[j, i] = -numpy.sin(tilt), numpy.sin(tilt)
        matrix = turn @ matrix
    matrix[:3, 3] = 12, -34, 56
    return matrix


def save(path, data, affine, codes, unit="mm"):
    """A file whose header counts in that unit; the affine is in millimetres."""
    header = nibabel.Nifti1Header()
    affine = numpy.diag([1 / UNITS[unit]] * 3 + [1]) @ affine
    header.set_xyzt_units(unit)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_qform(affine, codes[1])
    header.set_sform(affine, codes[0])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, None, header), path)  # with these codes, and no others
    loaded = nibabel.load(path).header
    assert (loaded["sform_code"], loaded["qform_code"]) == codes


def lethe(*arguments):
    result = subprocess.run([sys.argv[1], *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    assert result.returncode == 0, f"{arguments}: {result.stdout}{result.stderr}"
    return result.stdout


def train(folder, random):
    for subject in range(6):
        voxels, labels = head(random)
        stem = os.path.join(folder, "cohort", f"S{subject}", f"S{subject}")
        save(stem + "_t1.nii", voxels, world((1, 1, 2), 0), (1, 1))
        save(stem + "_seg.nii", labels, world((1, 1, 2), 0), (1, 1))
    store, out = os.path.join(folder, "store"), os.path.join(folder, "utility")
    lethe("ingest", "--source", os.path.join(folder, "cohort"), "--out", store, "--channels", "t1")
    lethe("utility", "--dataset", store, "--out", out, "--sources", "real", "--seeds", "1",
          "--seed", "1", "--images", "1200", "--batch", "8", "--base", "4", "--levels", "2",
          "--rate", "0.02", "--bootstrap", "100", "--panels", "1", "--threads", "1")
    return os.path.join(out, "trials", "real_unet_none_1")


# A name of each layout's own, how axes are stored, spacing in mm, tilt, the codes
# (sform, qform), and what the header counts in.
SCANS = [
    ("BraTS-GLI-00001-000", (0, 1, 2), (1, 1, 1), (1, 1, 2), 0, (1, 1), "mm"),
    ("BraTS-GLI-00001-001", (2, 0, 1), (1, -1, -1), (0.9, 1.1, 6.5), 0, (1, 0), "meter"),
    ("BraTS-GLI-00002-000", (1, 2, 0), (-1, -1, 1), (0.5, 0.5, 4), 0.3, (2, 1), "micron"),
    ("BraTS-GLI-00003-000", (0, 2, 1), (-1, 1, -1), (1, 1.2, 3), -0.2, (0, 1), "unknown"),
    ("BraTS-GLI-00004-000", (0, 1, 2), (1, 1, 1), (1, 1, 2), 0, (0, 0), "mm"),
]
UNITS = {"meter": 1000, "mm": 1, "micron": 1e-3, "unknown": 1}  # in millimetres


def write_scans(folder, random):
    """True masks by name."""
    truth = {}
    for name, axes, signs, spacing, tilt, codes, unit in SCANS:
        voxels, labels = head(random)
        data, turn = stored(voxels, axes, signs)
        truth[name], _ = stored(labels, axes, signs)
        affine = world(spacing, tilt) @ turn
        save(os.path.join(folder, name, name + "-t1n.nii.gz"), data, affine, codes, unit)
        save(os.path.join(folder, name, name + "-seg.nii.gz"), truth[name], affine, codes, unit)
    return truth


def laid_over(mask, scan):
    """The mask's labels at the scan's voxels, by the millimetres that both files give."""
    places = numpy.indices(scan.shape).reshape(3, -1)
    there = nibabel.affines.apply_affine(numpy.linalg.inv(mask.affine) @ scan.affine, places.T)
    nearest = numpy.rint(there).astype(int)
    assert numpy.abs(there - nearest).max() < 0.01, "the grids differ"
    assert len(numpy.unique(nearest, axis=0)) == mask.get_fdata().size == places.shape[1]
    return numpy.asarray(mask.dataobj)[tuple(nearest.T)].reshape(scan.shape)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def check(name, source, predictions, truth):
    scan = nibabel.load(os.path.join(source, name, name + "-t1n.nii.gz"))
    mask = nibabel.load(os.path.join(predictions, name + "_seg.nii.gz"))
    share = dice(laid_over(mask, scan) == 1, truth == 1)
    print(f"{name}: Dice {share:.3f} of {nibabel.aff2axcodes(scan.affine)}")
    assert share > 0.8, "the mask does not lie over what it labels"
    unit = scan.header.get_xyzt_units()[0].replace("unknown", "mm")
    assert mask.header.get_xyzt_units()[0] == unit, "the mask counts in another unit"
    return share


def refuses_what_is_no_number(folder, weights, random):
    """Ingest would refuse it, so no segmenter has learnt what to make of it."""
    voxels, _ = head(random)
    voxels = voxels.astype("f4")
    voxels[1, 2, 3] = numpy.nan
    source, out = os.path.join(folder, "broken"), os.path.join(folder, "none")
    save(os.path.join(source, "X_t1.nii"), voxels, world((1, 1, 2), 0), (1, 1))
    result = subprocess.run([sys.argv[1], "segment", "--weights", weights, "--source", source,
                             "--out", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
    assert result.returncode == 2 and "X_t1.nii: voxel (1, 2, 3) is NaN" in result.stderr, result
    assert not os.path.exists(out) and not os.path.exists(out + ".partial")


def finds_scans_by_a_pattern(folder, weights, random):
    """As nnU-Net names them."""
    voxels, labels = head(random)
    source, out = os.path.join(folder, "nnunet"), os.path.join(folder, "found")
    save(os.path.join(source, "imagesTr", "A_1_0000.nii.gz"), voxels, world((1, 1, 2), 0), (1, 1))
    lethe("segment", "--weights", weights, "--source", source, "--out", out, "--layout", "glob",
          "--channels", "t1=imagesTr/{subject}_0000.nii.gz")
    mask = nibabel.load(os.path.join(out, "A_1_seg.nii.gz"))
    assert dice(numpy.asarray(mask.dataobj) == 1, labels == 1) > 0.8


def main():
    random = numpy.random.default_rng(7)
    with tempfile.TemporaryDirectory() as folder:
        weights = train(folder, random)
        source, predictions = os.path.join(folder, "scans"), os.path.join(folder, "predictions")
        refuses_what_is_no_number(folder, weights, random)
        finds_scans_by_a_pattern(folder, weights, random)
        truth = write_scans(source, random)
        lethe("segment", "--weights", weights, "--source", source, "--out", predictions)
        shares = {name: check(name, source, predictions, truth[name]) for name in truth}
        scored = json.loads(lethe("score", "--truth", source, "--pred", predictions, "--json"))
        assert len(scored["subjects"]) == len(SCANS), "masks did not pair with their scans'"
        for subject in scored["subjects"]:
            found = subject["classes"]["1"]["dice"]
            assert abs(found - shares[subject["subject"]]) < 1e-12, subject
            spacing = {scan[0]: scan[3] for scan in SCANS}[subject["subject"]]
            assert numpy.allclose(subject["spacing"], spacing, rtol=1e-5), subject
    return 0


if __name__ == "__main__":
    sys.exit(main())
