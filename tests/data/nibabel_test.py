"""Volumes as lib/data reads them, held against nibabel voxel for voxel.

    nibabel_test.py DATA_DUMP

Our canonical axes run left, back and up (LPS): nibabel's closest canonical image (RAS), flipped
along x and y. Values must be equal bit for bit; affines to float32's precision. Exits with 77,
"skipped", where nibabel is not installed; files of other packages that are absent are named as
skipped and passed over.
"""

import glob
import gzip
import itertools
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

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
FOREIGN = [
    os.path.join(os.path.dirname(nibabel.__file__), "tests", "data", "*.nii*"),
    "/usr/share/mricron/templates/*.nii.gz",
]
UNITS = {"meter": 1000, "mm": 1, "micron": 1e-3, "unknown": 1}  # in millimetres


def header_of(version, order):
    return (nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header)(endianness=order)


def orientations():
    """All 48: which world axis each stored axis runs along, and which way."""
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = numpy.zeros((3, 3))
            for stored in range(3):
                matrix[axes[stored], stored] = signs[stored]
            yield matrix


def rotation(degrees):
    result = numpy.eye(3)
    for axis, angle in enumerate(numpy.deg2rad(degrees)):
        turn = numpy.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i] = turn[j, j] = numpy.cos(angle)
        turn[i, j], turn[j, i] = -numpy.sin(angle), numpy.sin(angle)
        result = result @ turn
    return result


def voxels_of(kind, shape, random):
    if kind[0] == "f":
        return random.normal(size=shape) * 10.0 ** random.integers(-20, 20, size=shape)
    info = numpy.iinfo(kind)
    values = random.integers(info.min, info.max, size=shape, dtype=kind, endpoint=True)
    values.flat[:2] = info.min, info.max
    return values


def write(path, shape, kind, order="<", version=1, affine=None, sform=1, qform=0, scaling=None,
          random=None, gap=b"", tail=b"", members=1, unit="mm", second="sec"):
    """A file byte by byte: nibabel's header block, `gap` before the voxels, `tail` after them."""
    header = header_of(version, order)
    header.set_data_shape(shape)
    header.set_data_dtype(numpy.dtype(kind).newbyteorder(order))
    affine = numpy.eye(4) if affine is None else affine
    header.set_qform(affine, code=qform, strip_shears=True)
    header.set_sform(affine, code=sform)
    if not qform and not sform:
        header["pixdim"][1:4] = 2, 3, 4
    header.set_xyzt_units(unit, second)
    header["magic"] = b"n+1" if version == 1 else b"n+2"
    header["vox_offset"] = header.sizeof_hdr + 4 + len(gap)
    if scaling:
        header["scl_slope"], header["scl_inter"] = scaling
    voxels = voxels_of(kind, shape, random).astype(numpy.dtype(kind).newbyteorder(order))
    flag = b"\1\0\0\0" if gap else b"\0\0\0\0"
    content = header.binaryblock + flag + gap + voxels.tobytes(order="F") + tail
    if path.endswith(".gz"):
        cuts = [len(content) * i // members for i in range(members + 1)]
        content = b"".join(gzip.compress(content[a:b], 1) for a, b in zip(cuts, cuts[1:]))
    with open(path, "wb") as file:
        file.write(content)
    return path


def placed(matrix, spacing, origin=(10, -20, 30)):
    affine = numpy.eye(4)
    affine[:3, :3] = matrix * numpy.asarray(spacing)[None, :]
    affine[:3, 3] = origin
    return affine


def generate(folder):
    random = numpy.random.default_rng(5)
    number = itertools.count()

    def add(ending=".nii", **settings):
        settings.setdefault("random", random)
        return write(os.path.join(folder, f"{next(number):04}{ending}"), **settings)

    shape = (3, 4, 5)
    for matrix in orientations():  # every orientation × type × byte order
        for kind, order in itertools.product(TYPES, "<>"):
            turn = int(random.integers(8))
            yield add(shape=shape, kind=kind, order=order, version=1 + turn % 2,
                      ending=".nii.gz" if turn & 2 else ".nii", affine=placed(matrix, (1, 2, 3)),
                      sform=turn < 6, qform=1,
                      scaling=(0.37, -11.5) if turn & 4 else None)
    for matrix in orientations():  # a qform alone, both versions; half of these have qfac -1
        for version in 1, 2:
            yield add(shape=shape, kind="i2", version=version, sform=0, qform=1,
                      affine=placed(matrix, (1, 0.5, 2)))
    for matrix in orientations():  # oblique, by what scanners are tilted
        tilt = rotation(random.uniform(-20, 20, 3))
        shear = numpy.eye(3) + random.uniform(-0.05, 0.05, (3, 3))
        for sform, qform in (1, 0), (0, 1), (2, 1):
            oblique = tilt @ matrix @ (shear if sform else numpy.eye(3))
            yield add(shape=shape, kind="f4", sform=sform, qform=qform,
                      affine=placed(oblique, (0.9, 1.1, 1.3)))
    for kind, order, version in itertools.product(TYPES, "<>", (1, 2)):  # scaling, and none at all
        for scaling in (2.5, 1e-3), (-1, 0), (0, 5), (numpy.nan, 5), (numpy.inf, 0), (1, 7):
            yield add(shape=(2, 3, 2), kind=kind, order=order, version=version, scaling=scaling)
        yield add(shape=shape, kind=kind, order=order, version=version, sform=0, qform=0)
        yield add(shape=shape + (3,), kind=kind, order=order, version=version)
    for shape in (7,), (7, 6), (7, 6, 5, 1), (7, 6, 5, 1, 1), (1, 1, 1), (1, 9, 1):
        yield add(shape=shape, kind="i2")
    gap = (16).to_bytes(4, "little") + (6).to_bytes(4, "little") + b"comment."
    for version in 1, 2:
        yield add(shape=(4, 4, 4), kind="i2", version=version, gap=gap)
        yield add(shape=(4, 4, 4), kind="i2", version=version, tail=b"after the voxels")
    for unit, version, order in itertools.product(UNITS, (1, 2), "<>"):
        for sform, qform in (1, 0), (0, 1), (0, 0):
            yield add(shape=(4, 5, 6), kind="i2", version=version, order=order, unit=unit,
                      second="sec" if sform else "unknown", sform=sform, qform=qform,
                      affine=placed(rotation((5, 7, -9)), (0.9, 1.1, 1.3)))
    for members in 2, 3, 50:
        yield add(shape=(8, 8, 8), kind="f8", ending=".nii.gz", members=members)


def expected_of(path):
    """Canonical (frames,z,y,x) voxels, affine and its tolerance; None where there are more axes."""
    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image):  # CIFTI: matrices, not volumes
        return None
    header = image.header
    unit = UNITS[header.get_xyzt_units()[0]]
    oriented = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    data = numpy.asanyarray(image.dataobj)
    if data.dtype.kind not in "iuf" or len(numpy.squeeze(numpy.ones(data.shape)).shape) > 4:
        return None
    while data.ndim > 4 and data.shape[-1] == 1:
        data = data[..., 0]
    data = data.reshape(data.shape + (1,) * (4 - data.ndim))
    image = nibabel.Nifti1Image(data.astype(numpy.float64), image.affine)
    if oriented:
        image = nibabel.as_closest_canonical(image)
        flip = numpy.diag([-1.0, -1.0, 1.0, 1.0])
        flip[:2, 3] = numpy.array(image.shape[:2]) - 1
        data = numpy.asanyarray(image.dataobj)[::-1, ::-1]
        # A quaternion's first number is the root of 1 - b² - c² - d². Near half a turn nibabel
        # takes that of float32's rounding, about 2.6e-4; the standard's library takes 0.
        tolerance = 1e-5 if header["sform_code"] > 0 else 1e-3
        affine = numpy.diag([unit, unit, unit, 1.0]) @ image.affine @ flip
        sizes = nibabel.affines.voxel_sizes(affine)
        return oriented, data.transpose(3, 2, 1, 0), sizes, affine, tolerance
    sizes = header["pixdim"][1:4] * unit
    return oriented, data.astype(numpy.float64).transpose(3, 2, 1, 0), sizes, None, 0


def compare(path, line, dumped):
    """What differs, or None."""
    expected = expected_of(path)
    if expected is None:
        return None if line.startswith("refused ") else "more than four axes, and not refused"
    if not line.startswith("ok "):
        return line
    oriented, voxels, sizes, affine, tolerance = expected
    words = line.split()
    numbers = numpy.array([float(word) for word in words[3:]])
    if bool(int(words[1])) != oriented:
        return "oriented or not?"
    found = numpy.load(dumped)
    if found.shape != voxels.shape:
        return f"shape {found.shape}, nibabel {voxels.shape}"
    if found.tobytes() != numpy.ascontiguousarray(voxels).tobytes():
        different = (found != voxels) & ~(numpy.isnan(found) & numpy.isnan(voxels))
        if different.any():
            return f"{different.sum()} of {found.size} voxels differ"
    if not numpy.allclose(numbers[:3], numpy.where(sizes == 0, 1, numpy.abs(sizes)), rtol=1e-5):
        return f"spacing {numbers[:3]}, nibabel {sizes}"
    if not oriented:
        return None
    far = numpy.abs(sizes * voxels.shape[:0:-1]).max()  # what a small turn moves most
    if not numpy.allclose(numbers[3:].reshape(3, 4), affine[:3], rtol=0, atol=tolerance * far):
        return f"affine {numbers[3:]}, nibabel {affine[:3].ravel()}"
    return None


def compare_some(files, folder):
    """How many differ; what was dumped of them is removed."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        result = subprocess.run([sys.argv[1], "volume", out] + files, stdout=subprocess.PIPE,
                                check=True, text=True)
        lines = result.stdout.splitlines()
        assert len(lines) == len(files), f"{len(lines)} lines for {len(files)} files"
        bad = 0
        for i, (path, line) in enumerate(zip(files, lines)):
            with numpy.errstate(all="ignore"):
                what = compare(path, line, os.path.join(out, f"{i}.npy"))
            if what:
                bad += 1
                print(f"{path}: {what}")
        return bad


def main():
    files = []
    for pattern in FOREIGN:
        found = sorted(glob.glob(pattern))
        print(f"{pattern}: {len(found)} files" if found else f"skipped: no {pattern}")
        files += found
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # every file written is synced
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        files += list(generate(folder))
        bad = sum(compare_some(files[i:i + 8], folder) for i in range(0, len(files), 8))
        print(f"{len(files)} volumes, {bad} differ")
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
