"""What lethe reads and writes, held against independent implementations.

usage: formats.py LETHE SAFETENSORS_COPY

NIfTI against SimpleITK (ITK's own reader and writer) and nibabel, .npy against NumPy, PNG against
Pillow, safetensors against its official package. Each check prints one line; any that does not hold
ends the run with exit code 1.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy
import SimpleITK
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

lethe, safetensors_copy = sys.argv[1:3]


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True)


def ok(*arguments):
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def check_phantoms_in_itk(folder):
    """ITK sees the same voxels and the same geometry in our files as nibabel does."""
    ok(lethe, "phantom", "--subjects", 2, "--size", 64, "--out", folder / "cohort")
    for file in sorted((folder / "cohort").rglob("*.nii.gz")):
        image, ours = SimpleITK.ReadImage(str(file)), nibabel.load(file)
        assert numpy.array_equal(SimpleITK.GetArrayFromImage(image).T, numpy.asarray(ours.dataobj))
        assert numpy.allclose(image.GetSpacing(), ours.header.get_zooms())
        assert nibabel.aff2axcodes(ours.affine) == ("L", "P", "S")
        assert numpy.allclose(image.GetDirection(), numpy.eye(3).ravel())
        assert numpy.allclose(ours.get_sform(), ours.get_qform(), atol=1e-4)


def check_itk_volumes_into_a_store(folder):
    """A cohort that ITK wrote, in an orientation of its own, gives the same store as ours."""
    itk = folder / "itk"
    for file in sorted((folder / "cohort").rglob("*.nii.gz")):
        turned = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(file)), "RAI" if "t2" in file.name else "SPL")
        target = itk / file.relative_to(folder / "cohort")
        target.parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(turned, str(target))
    stores = []
    for source in ("cohort", "itk"):
        store = folder / f"store_{source}"
        ok(lethe, "ingest", "--source", folder / source, "--out", store)
        stores.append([numpy.load(store / name) for name in ("images.npy", "masks.npy")])
    assert all(numpy.array_equal(a, b) for a, b in zip(*stores))


def check_npy(folder):
    """NumPy's own reader opens our arrays; ours takes NumPy's."""
    images = numpy.random.default_rng(1).integers(0, 256, (7, 3, 16, 16), dtype=numpy.uint8)
    masks = numpy.random.default_rng(2).choice([0, 1, 2, 4], (7, 16, 16)).astype(numpy.uint8)
    source = folder / "arrays"
    source.mkdir()
    numpy.save(source / "images.npy", images)
    numpy.save(source / "masks.npy", masks)
    ok(lethe, "ingest", "--source", source, "--role", "synthetic", "--out", folder / "store_npy")
    assert numpy.array_equal(numpy.load(folder / "store_npy/images.npy"), images)
    assert numpy.array_equal(numpy.load(folder / "store_npy/masks.npy"), masks)
    assert json.load(open(folder / "store_npy/dataset.json"))["role"] == "synthetic"


def check_png(folder):
    """PNGs that Pillow wrote arrive pixel for pixel; Pillow opens our contact sheet."""
    source = folder / "png"
    source.mkdir()
    images = numpy.random.default_rng(3).integers(0, 256, (5, 32, 32), dtype=numpy.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(source / f"{i}.png")
    ok(lethe, "ingest", "--source", source, "--role", "synthetic", "--out", folder / "store_png")
    assert numpy.array_equal(numpy.load(folder / "store_png/images.npy")[:, 0], images)
    ok(lethe, "inspect", folder / "store_png", "--png", folder / "sheet.png", "--rows", 5)
    sheet = numpy.asarray(Image.open(folder / "sheet.png"))
    assert numpy.array_equal(sheet[2:34, 2:34, 0], images[0])


def check_safetensors(folder):
    """What the official package wrote passes through our reader and writer unchanged."""
    rng = numpy.random.default_rng(4)
    tensors = {
        "float": rng.normal(size=(3, 5)).astype(numpy.float32),
        "double": rng.normal(size=(2, 1, 4)),
        "half": rng.normal(size=7).astype(numpy.float16),
        "bytes": rng.integers(0, 256, (4, 4), dtype=numpy.uint8),
        "long": rng.integers(-9, 9, 3),
        "scalar": numpy.array(2.5, dtype=numpy.float32),
        "empty": numpy.zeros((0, 3), dtype=numpy.float32),
        "name with spaces, ünïcode and \"quotes\"": numpy.ones(2, dtype=numpy.int32),
    }
    save_file(tensors, folder / "official.safetensors", metadata={"format": "pt", "note": "ä\n"})
    ok(safetensors_copy, folder / "official.safetensors", folder / "ours.safetensors")
    copied = load_file(folder / "ours.safetensors")
    assert copied.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert copied[name].dtype == tensor.dtype and numpy.array_equal(copied[name], tensor), name
    with safe_open(folder / "ours.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt", "note": "ä\n"}


def check_safetensors_refusals(folder):
    """Whatever the official package refuses, ours refuses."""
    good = (folder / "official.safetensors").read_bytes()
    refused = 0
    rng = numpy.random.default_rng(5)
    length = int.from_bytes(good[:8], "little")
    for _ in range(400):
        bad = bytearray(good)
        at = int(rng.integers(0, 8 + length))
        bad[at] = int(rng.integers(0, 256))
        (folder / "bad.safetensors").write_bytes(bad)
        try:
            load_file(folder / "bad.safetensors")
        except Exception:
            refused += 1
            result = run(safetensors_copy, folder / "bad.safetensors", folder / "out.safetensors")
            assert result.returncode == 2, f"accepted byte {at} = {bad[at]}"
    assert refused > 100


def main():
    with tempfile.TemporaryDirectory() as folder:
        for check in (check_phantoms_in_itk, check_itk_volumes_into_a_store, check_npy, check_png,
                      check_safetensors, check_safetensors_refusals):
            check(pathlib.Path(folder))
            print(f"ok: {check.__doc__.splitlines()[0]}")


main()
